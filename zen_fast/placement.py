"""Which backend runs a model: what is asked for, what can be had, and what `auto` means."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

from zen_fast.backends import Backend
from zen_fast.encoder import Encoder
from zen_fast.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    UnsupportedDeviceError,
)
from zen_fast.extras import install

logger = logging.getLogger(__name__)

TOKENS_PER_THREAD = 4096
"""Some ten chunks of sequences for each thread, so that all end at about the same time."""

REFERENCE_TOKENS = 8192

GPU_TOKENS = 65536
"""Tokens of one packed batch on a GPU: enough to fill it, some hundreds of MB of activations."""

BACKENDS = ("auto", "cpu", "triton", "reference")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "cuda:N,M")
CPU_PRECISIONS = ("fp32", "int8")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8", "fp8")

_CAPABILITIES = {"fp8": (8, 9), "bf16": (8, 0)}
"""What a GPU must be for its matrix units to take a precision."""

MakeBackend = Callable[[Encoder], tuple[Backend, int]]
"""Encoder → backend, and the tokens of one packed batch for it."""


def split_devices(device: str) -> list[str]:
    """The devices of `device`, which may name several GPUs: "cuda:0,1" → "cuda:0", "cuda:1".

    Raises:
        InvalidArgumentError: a GPU is named twice.
        InvalidTypeError: it is no text.
    """
    _require_text("device", device, DEVICES)
    if re.fullmatch(r"cuda:\d+(,\d+)+", device) is None:
        return [device]
    numbers = [int(each) for each in device.removeprefix("cuda:").split(",")]
    if len(set(numbers)) < len(numbers):
        raise InvalidArgumentError(f"device={device!r}: each GPU may be named once")
    return [f"cuda:{number}" for number in numbers]


def device_names(devices: Sequence[str]) -> frozenset[str]:
    """What PyTorch may call the devices that `split_devices` gave."""
    names = set(devices)
    if "auto" in names:
        names = {"cpu"}
    elif "cpu" not in names:
        names |= {"cuda", "cuda:0"} if "cuda" in names else {"cuda"}
    return frozenset(names)


def make_backend(backend: str, device: str, precision: str, num_threads: int | None) -> MakeBackend:
    """Check the choice before any model is loaded, and say how to make the backend.

    Raises:
        InvalidArgumentError: a name that is not known, or an option that the backend does not have.
        InvalidTypeError: something that is no name.
        UnsupportedDeviceError: the device or precision cannot be had here.
    """
    _require_text("backend", backend, BACKENDS)
    _require_text("device", device, DEVICES)
    _require_text("precision", precision, PRECISIONS)
    if backend not in BACKENDS:
        raise InvalidArgumentError(f"backend={backend!r}: accepted are {_listed(BACKENDS)}")
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", device) is None:
        raise UnsupportedDeviceError(f"device={device!r}: accepted are {_listed(DEVICES)}")
    if precision not in PRECISIONS:
        raise UnsupportedDeviceError(
            f"precision={precision!r} is not in this release; accepted are {_listed(PRECISIONS)}"
        )
    if backend == "triton" or device.startswith("cuda"):
        return _triton_maker(backend, device, precision, num_threads)
    if precision not in ("auto", *CPU_PRECISIONS):
        raise UnsupportedDeviceError(
            f"precision={precision!r} needs a GPU; the CPU takes {_listed(CPU_PRECISIONS)}"
        )
    if backend == "reference":
        _refuse_threads(num_threads, "for backend='reference' call torch.set_num_threads")
        return _make_reference

    def make_cpu(encoder: Encoder) -> tuple[Backend, int]:
        try:
            from zen_fast.backends.cpu import CpuBackend
        except ImportError as error:
            raise MissingDependencyError(
                f"the compiled extension does not load ({error}); install the package "
                "(pip install .) or choose backend='reference'"
            ) from error
        running = CpuBackend(encoder, num_threads)
        if "auto" in (backend, device, precision):
            logger.info(
                "chose the cpu backend: %s, %s kernels, %d threads",
                running.precision,
                running.isa,
                running.num_threads,
            )
        return running, TOKENS_PER_THREAD * running.num_threads

    return make_cpu


def _triton_maker(
    backend: str, device: str, precision: str, num_threads: int | None
) -> MakeBackend:
    if backend not in ("auto", "triton"):
        raise InvalidArgumentError(f"backend={backend!r} runs on the CPU, not on {device!r}")
    if device == "cpu":
        raise InvalidArgumentError("backend='triton' runs on a GPU; use device='cuda'")
    _refuse_threads(num_threads, "a GPU has its own")
    try:
        import torch

        from zen_fast.backends.triton import TritonBackend
    except ImportError as error:
        raise MissingDependencyError(f"a GPU needs {error.name}: {install('gpu')}") from error
    place = "cuda" if device == "auto" else device
    index = int(place.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        raise UnsupportedDeviceError(
            f"device={place!r}: PyTorch finds {torch.cuda.device_count()} GPUs here; "
            "use device='cpu' or a number below that"
        )

    require_capability(precision, place, torch.cuda.get_device_capability(index))

    def make_triton(encoder: Encoder) -> tuple[Backend, int]:
        chosen = precision
        if precision == "auto":
            chosen = "int8" if encoder.weights.is_quantized else "fp16"
        running = TritonBackend(encoder, place, chosen)
        if "auto" in (backend, device, precision):
            logger.info("chose the triton backend: %s on %s", chosen, place)
        return running, GPU_TOKENS

    return make_triton


def require_capability(precision: str, place: str, capability: tuple[int, int]) -> None:
    """Raises UnsupportedDeviceError where a GPU of this capability lacks the precision."""
    if precision in _CAPABILITIES and capability < _CAPABILITIES[precision]:
        have, need = (".".join(map(str, each)) for each in (capability, _CAPABILITIES[precision]))
        raise UnsupportedDeviceError(
            f"precision={precision!r} needs compute capability {need}; {place} has {have}: use "
            "precision='int8' or 'fp16'"
        )


def _refuse_threads(num_threads: int | None, remedy: str) -> None:
    if num_threads is not None:
        raise InvalidArgumentError(f"num_threads belongs to the cpu backend; {remedy}")


def _make_reference(encoder: Encoder) -> tuple[Backend, int]:
    try:
        from zen_fast.backends.reference import ReferenceBackend
    except ImportError as error:
        raise MissingDependencyError(
            "backend='reference' needs PyTorch: pip install torch"
        ) from error
    return ReferenceBackend(encoder), REFERENCE_TOKENS


def _require_text(name: str, value: object, accepted: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise InvalidTypeError(
            f"{name} is a {type(value).__name__}; pass one of {_listed(accepted)}"
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
