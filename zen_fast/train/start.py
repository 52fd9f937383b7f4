"""A BERT cross-encoder that training begins with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from zen_fast.checkpoint.location import locate
from zen_fast.errors import InvalidArgumentError
from zen_fast.train.vocabulary import load_tokenizer


def load_cross_encoder(
    model: str, dtype: torch.dtype | str = torch.float32
) -> tuple[BertForSequenceClassification, Tokenizer]:
    """A BERT with one label, of either attention pattern, and its tokenizer.

    Args:
        model: an embedded model, a folder or a hub id.
        dtype: of the weights; "auto" for that of the file.

    Raises:
        ModelNotFoundError: there is no such model.
        InvalidArgumentError: it is something else.
    """
    folder = locate(model)
    if not _is_cross_encoder(folder):
        raise InvalidArgumentError(
            f"{model} is not a BERT cross-encoder with one label that reads queries with their "
            "documents; others cannot be trained yet"
        )
    if not (folder / "tokenizer.json").is_file():
        raise InvalidArgumentError(f"{model} has no tokenizer.json, which training reads")
    loaded: Any = BertForSequenceClassification.from_pretrained(
        str(folder), dtype=dtype, attn_implementation="sdpa"
    )
    return loaded, load_tokenizer(folder / "tokenizer.json")


def _is_cross_encoder(folder: Path) -> bool:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    num_labels = config.get("num_labels", len(config.get("id2label", (0, 1))))
    architectures = config.get("architectures") or []
    return (
        config.get("model_type") == "bert"
        and "BertForSequenceClassification" in architectures
        and num_labels == 1
    )
