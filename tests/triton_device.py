"""Where Triton kernels run in the tests: on a GPU, else under the interpreter.

Imported before Triton, whose own library of functions is interpreted or not from then on.
"""

from __future__ import annotations

import importlib.util
import os

import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: pip install 'zen-fast[gpu]'", allow_module_level=True)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"
