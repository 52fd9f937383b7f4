"""Setting torch up to train."""

from __future__ import annotations

import torch

from zen_fast.errors import UnsupportedDeviceError


def set_up_torch(device: str, num_threads: int | None) -> None:
    """Get ready for "cpu" or "cuda"; `num_threads` None or 0 leaves it to torch.

    Raises:
        UnsupportedDeviceError: there is no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedDeviceError("--device cuda: PyTorch finds no GPU here; use --device cpu")
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)  # an eighth faster: AdamW's moments fade into denormals
    # cuDNN's attention plans anew for every shape, and each batch has another one.
    torch.backends.cuda.enable_cudnn_sdp(False)
