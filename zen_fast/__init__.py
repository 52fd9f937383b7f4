"""zen_fast: the fastest way to run a cross-encoder reranker, with the scores of the stock model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zen_fast.documents import RankedDocument
    from zen_fast.embedder import ZenEmbedder
    from zen_fast.errors import (
        CheckpointError,
        InvalidArgumentError,
        InvalidTypeError,
        MissingDependencyError,
        ModelNotFoundError,
        OutOfDeviceMemoryError,
        UnsupportedDeviceError,
        UnsupportedModelError,
        ZenError,
    )
    from zen_fast.prompts import PromptTemplate
    from zen_fast.reranker import ZenReranker
    from zen_fast.retrieval import Candidate, TwoStagePipeline, ZenRetriever

__version__ = "0.1.0"

_MODULE_OF = {
    "ZenReranker": "zen_fast.reranker",
    "ZenEmbedder": "zen_fast.embedder",
    "ZenRetriever": "zen_fast.retrieval",
    "Candidate": "zen_fast.retrieval",
    "TwoStagePipeline": "zen_fast.retrieval",
    "PromptTemplate": "zen_fast.prompts",
    "RankedDocument": "zen_fast.documents",
    "ZenError": "zen_fast.errors",
    "InvalidArgumentError": "zen_fast.errors",
    "InvalidTypeError": "zen_fast.errors",
    "ModelNotFoundError": "zen_fast.errors",
    "CheckpointError": "zen_fast.errors",
    "UnsupportedModelError": "zen_fast.errors",
    "OutOfDeviceMemoryError": "zen_fast.errors",
    "UnsupportedDeviceError": "zen_fast.errors",
    "MissingDependencyError": "zen_fast.errors",
}
"""Public name → its module, imported on first use: `import zen_fast` does no work."""

__all__ = [
    "Candidate",
    "CheckpointError",
    "InvalidArgumentError",
    "InvalidTypeError",
    "MissingDependencyError",
    "ModelNotFoundError",
    "OutOfDeviceMemoryError",
    "PromptTemplate",
    "RankedDocument",
    "TwoStagePipeline",
    "UnsupportedDeviceError",
    "UnsupportedModelError",
    "ZenEmbedder",
    "ZenError",
    "ZenReranker",
    "ZenRetriever",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'zen_fast' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
