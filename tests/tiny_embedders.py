"""Whole bi-encoders in miniature, saved by sentence-transformers itself.

It is imported where it is called, not before: it imports Triton, whose functions are interpreted
or not from then on, and other tests choose that (triton_device).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_rerankers import save_reranker

if importlib.util.find_spec("sentence_transformers") is None:
    pytest.skip("sentence-transformers is not installed", allow_module_level=True)


def save_embedder(
    folder: Path,
    kind: str = "bert",
    *,
    pooling: str = "mean",
    normalize: bool = True,
    dense_width: int | None = None,
    dense_activation: torch.nn.Module | None = None,
    seed: int = 0,
    **settings: Any,
) -> Any:
    """A random model of `kind` (as `save_reranker` makes it, head and all) below `folder`.

    Args:
        settings: arguments of SentenceTransformer, such as prompts.

    Returns:
        The stock SentenceTransformer, loaded from where it was saved.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

    body = Transformer(str(save_reranker(folder / "body", kind, seed=seed)))
    width = body.get_embedding_dimension()
    modules: list[torch.nn.Module] = [body, Pooling(width, pooling_mode=pooling)]
    if dense_width is not None:
        activation = dense_activation or torch.nn.Identity()
        modules.append(Dense(width, dense_width, activation_function=activation))
    if normalize:
        modules.append(Normalize())
    SentenceTransformer(modules=modules, device="cpu", **settings).save(str(folder))
    return SentenceTransformer(str(folder), device="cpu")
