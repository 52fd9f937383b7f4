"""Checkpoints of random weights: enough to measure speed and agreement without a download."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from zen_fast.architectures import architecture_of, encoder_spec
from zen_fast.weights import Array, parameter_shapes

_MAX_LENGTH = 512
_SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def _bert(
    num_layers: int, hidden_size: int, num_heads: int, intermediate_size: int
) -> dict[str, Any]:
    """config.json of a BERT cross-encoder."""
    return {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "vocab_size": 30522,
        "hidden_size": hidden_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "intermediate_size": intermediate_size,
        "max_position_embeddings": _MAX_LENGTH,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }


SHAPES = {
    "tiny": _bert(2, 64, 2, 128),
    "minilm-l6": _bert(6, 384, 12, 1536),
    "minilm-l12": _bert(12, 384, 12, 1536),
    "base": _bert(12, 768, 12, 3072),
    "large": _bert(24, 1024, 16, 4096),
}
"""Name on the command line → config.json."""


def write_random_model(
    folder: Path, config: dict[str, Any], texts: Iterable[str], seed: int
) -> None:
    """Save a checkpoint of `config` with random weights and a WordPiece tokenizer of `texts`."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_random_tensors(config, seed), folder / "model.safetensors", {"format": "pt"})
    tokenizer = _train_tokenizer(texts, config["vocab_size"])
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _MAX_LENGTH,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        **_SPECIAL_TOKENS,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config), encoding="utf-8")


def _random_tensors(config: dict[str, Any], seed: int) -> dict[str, Array]:
    """The checkpoint's tensors under its own names, fp32."""
    rng = np.random.default_rng(seed)
    architecture = architecture_of(config)
    tensors: dict[str, Array] = {}
    for name, shape in parameter_shapes(encoder_spec(config)).items():
        sources = architecture.sources(name, ())
        parts = np.split(_random_tensor(rng, name, shape), len(sources))
        tensors.update(zip(sources, parts, strict=True))
    return tensors


def _random_tensor(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    if name.endswith("norm.weight"):
        return np.ones(shape, dtype=np.float32)
    if name.endswith(".bias"):
        return np.zeros(shape, dtype=np.float32)
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(_gain(name, shape))


def _gain(name: str, shape: tuple[int, ...]) -> float:
    """Standard deviation of a weight: documents must tell, or rounding is all that logits show.

    Unit gain where BERT begins with 0.02; little from what all documents share, positions and token
    types; and much of what attention brings to the first token's row, where it is a mean of many.
    """
    if name.startswith("embeddings."):
        return 1.0 if name == "embeddings.token" else 0.25
    gain = 4.0 if name.endswith("attention.output.weight") else 1.0
    return gain * float(shape[-1] ** -0.5)


def _train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=list(_SPECIAL_TOKENS.values()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    special_ids = {token: index for index, token in enumerate(_SPECIAL_TOKENS.values())}
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", special_ids["[SEP]"]), ("[CLS]", special_ids["[CLS]"])
    )
    return tokenizer
