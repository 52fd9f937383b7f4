"""Where Triton kernels run in the tests: on a GPU, else under the interpreter.

Imported before `zen_fast.kernels`, which reads the environment when its kernels are defined.
"""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="Triton is not installed: pip install zen-fast[gpu]")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"
