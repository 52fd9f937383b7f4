"""Whole checkpoints in miniature: a random stock model beside a real tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_tokenizers import SAVERS

MAX_LENGTH = 64


def save_reranker(
    folder: Path, kind: str = "bert", num_labels: int = 1, seed: int = 0, **config_entries: Any
) -> Path:
    """A model of `kind` (a key of SAVERS) with random weights large enough to spread the logits.

    `config_entries` go into config.json after the model is saved.
    """
    model_type = {"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}[kind]
    SAVERS[kind](folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    tokenizer.model_max_length = MAX_LENGTH
    offset = 2 if kind == "roberta" else 0
    config = getattr(transformers, f"{model_type}Config")(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_attention_heads=4,
        num_hidden_layers=2,
        intermediate_size=48,
        max_position_embeddings=MAX_LENGTH + offset,
        num_labels=num_labels,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    torch.manual_seed(seed)
    model = getattr(transformers, f"{model_type}ForSequenceClassification")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=2.0 * parameter.shape[1] ** -0.5)
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config_entries))
    tokenizer.save_pretrained(str(folder))
    return folder
