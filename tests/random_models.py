"""Tiny random stock models of every architecture: the oracles of the parity tests.

Weights, and the norms' epsilon, are far larger than a fresh model's, and biases and norms random
too, so that every term of the mathematics shows in the logits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from zen_fast.checkpoint import Checkpoint, load_checkpoint

VOCAB_SIZE = 97
MAX_LENGTH = 80


@dataclass(frozen=True)
class RandomModel:
    """A recipe: a stock class, its config, and changes to the files that it saves."""

    name: str
    stock: str
    """Prefix of the transformers classes, as in `BertConfig`."""
    settings: Mapping[str, Any]
    saved_settings: Mapping[str, Any] = field(default_factory=dict)
    """Entries of config.json that replace what the stock model writes; None removes one."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of tensor names that change in the saved file."""

    @property
    def task(self) -> str:
        """What the stock class is for, as in `BertForSequenceClassification`."""
        return "SequenceClassification"

    def logits(self, model: Any, sequences: list[Sequence]) -> np.ndarray:
        """What the stock model scores the sequences: (num_sequences, num_labels)."""
        return stock_logits(model, sequences)

    def load(self, folder: Path) -> Checkpoint:
        """What zen_fast makes of the saved files."""
        return load_checkpoint(folder)

    def build(self, seed: int = 0) -> torch.nn.Module:
        """The stock model in eval mode with eager attention."""
        if not hasattr(transformers, f"{self.stock}Config"):
            pytest.skip(f"transformers {transformers.__version__} has no {self.stock} models")
        config = getattr(transformers, f"{self.stock}Config")(
            vocab_size=VOCAB_SIZE, attn_implementation="eager", **self.settings
        )
        model = getattr(transformers, f"{self.stock}For{self.task}")(config).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(_random_parameter(name, parameter, generator))
        return model

    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """Write config.json and model.safetensors as this recipe has them."""
        model.save_pretrained(folder)
        config_path, weights_path = folder / "config.json", folder / "model.safetensors"
        config = json.loads(config_path.read_text()) | self.saved_settings
        removed = {name for name, value in self.saved_settings.items() if value is None}
        config = {name: value for name, value in config.items() if name not in removed}
        config_path.write_text(json.dumps(config))
        if self.renamed:
            tensors = load_file(weights_path)
            save_file({self._renamed(name): tensors[name] for name in tensors}, weights_path)

    def _renamed(self, name: str) -> str:
        for old, new in self.renamed.items():
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name


@dataclass(frozen=True)
class Sequence:
    """One input of a stock model."""

    token_ids: np.ndarray
    """(length,) int32"""
    token_type_ids: np.ndarray
    """(length,) int32"""
    num_head_tokens: int
    """Tokens before what stands for a document."""


def random_sequences(
    lengths: list[int], num_token_types: int, vocab_size: int = VOCAB_SIZE, seed: int = 0
) -> list[Sequence]:
    """Sequences of the given lengths, any token anywhere, <pad> included."""
    rng = np.random.default_rng(seed)
    return [
        Sequence(
            rng.integers(0, vocab_size, length).astype(np.int32),
            rng.integers(0, max(num_token_types, 1), length).astype(np.int32),
            num_head_tokens=length // 3,
        )
        for length in lengths
    ]


def stock_logits(model: Any, sequences: list[Sequence]) -> np.ndarray:
    """Logits of each sequence run alone, without padding: (num_sequences, num_labels)."""
    logits = []
    for sequence in sequences:
        inputs = {"input_ids": torch.tensor(sequence.token_ids)[None].long()}
        if getattr(model.config, "type_vocab_size", 0):
            inputs["token_type_ids"] = torch.tensor(sequence.token_type_ids)[None].long()
        mask = torch.ones_like(inputs["input_ids"])
        with torch.inference_mode():
            logits.append(model(**inputs, attention_mask=mask).logits[0].numpy())
    return np.stack(logits)


def _random_parameter(
    name: str, parameter: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    values = torch.randn(parameter.shape, generator=generator)
    if "norm" in name.lower() or "_ln" in name:
        return 1 + 0.3 * values if name.endswith("weight") else 0.3 * values
    if parameter.dim() == 1:
        return 0.3 * values
    if "embeddings" in name:
        return 0.7 * values
    return values * 1.5 * parameter[0].numel() ** -0.5


def _bert_like(hidden: int, heads: int, layers: int, intermediate: int, **more: Any) -> dict:
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "intermediate_size": intermediate,
        "max_position_embeddings": MAX_LENGTH,
        "num_labels": 1,
        "layer_norm_eps": 0.02,
        **more,
    }


def _modernbert(hidden: int, heads: int, layers: int, intermediate: int, **more: Any) -> dict:
    special_ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    special_ids |= {"cls_token_id": 1, "sep_token_id": 2}
    return _bert_like(hidden, heads, layers, intermediate, norm_eps=0.02, **special_ids, **more)


def _deberta(hidden: int, heads: int, layers: int, intermediate: int, **more: Any) -> dict:
    return _bert_like(
        hidden,
        heads,
        layers,
        intermediate,
        **{
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            **more,
        },
    )


_DEBERTA_V3 = {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
_NTK_FACTOR, _NTK_THETA, _NTK_HEAD_DIM = 8.0, 500.0, 12

RANDOM_MODELS = (
    RandomModel("bert", "Bert", _bert_like(48, 4, 2, 37)),
    RandomModel("bert-3-labels", "Bert", _bert_like(60, 5, 3, 101, num_labels=3)),
    RandomModel("bert-1-layer-gelu-new", "Bert", _bert_like(72, 3, 1, 7, hidden_act="gelu_new")),
    RandomModel(
        "bert-relu-2-labels", "Bert", _bert_like(21, 7, 2, 5, hidden_act="relu", num_labels=2)
    ),
    RandomModel("roberta", "Roberta", _bert_like(60, 3, 2, 61, type_vocab_size=1)),
    RandomModel("roberta-2-types", "Roberta", _bert_like(48, 3, 1, 50, num_labels=3)),
    RandomModel("camembert", "Camembert", _bert_like(48, 4, 1, 33, type_vocab_size=1)),
    RandomModel(
        "xlm-roberta",
        "XLMRoberta",
        _bert_like(72, 4, 3, 45, type_vocab_size=1),
    ),
    RandomModel("electra", "Electra", _bert_like(60, 5, 2, 77, embedding_size=28)),
    RandomModel(
        "electra-unprojected", "Electra", _bert_like(48, 3, 1, 53, embedding_size=48, num_labels=3)
    ),
    RandomModel(
        "distilbert",
        "DistilBert",
        {
            "dim": 60,
            "n_heads": 3,
            "n_layers": 2,
            "hidden_dim": 83,
            "max_position_embeddings": MAX_LENGTH,
            "num_labels": 1,
        },
    ),
    RandomModel(
        "distilbert-sinusoidal",
        "DistilBert",
        {
            "dim": 48,
            "n_heads": 4,
            "n_layers": 1,
            "hidden_dim": 41,
            "max_position_embeddings": MAX_LENGTH,
            "sinusoidal_pos_embds": True,
            "activation": "relu",
            "num_labels": 3,
        },
    ),
    RandomModel("modernbert", "ModernBert", _modernbert(48, 4, 4, 35, local_attention=16)),
    RandomModel(
        "modernbert-mean-biased",
        "ModernBert",
        _modernbert(
            60,
            5,
            3,
            43,
            local_attention=7,
            classifier_pooling="mean",
            classifier_bias=True,
            classifier_activation="silu",
            norm_bias=True,
            mlp_bias=True,
            attention_bias=True,
            num_labels=3,
        ),
    ),
    RandomModel(
        "modernbert-old-keys",
        "ModernBert",
        _modernbert(
            72,
            3,
            3,
            29,
            local_attention=10,
            layer_types=["full_attention", "sliding_attention", "full_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "default", "rope_theta": 700.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 90.0},
            },
        ),
        saved_settings={
            "layer_types": None,
            "rope_parameters": None,
            "global_attn_every_n_layers": 2,
            "global_rope_theta": 700.0,
            "local_rope_theta": 90.0,
        },
    ),
    RandomModel(
        "modernbert-1-local-layer",
        "ModernBert",
        _modernbert(48, 4, 1, 31, local_attention=12, layer_types=["sliding_attention"]),
    ),
    RandomModel("deberta-v3", "DebertaV2", _deberta(48, 4, 3, 55, **_DEBERTA_V3)),
    RandomModel(
        "deberta-v3-1-layer-3-labels",
        "DebertaV2",
        _deberta(60, 5, 1, 49, **_DEBERTA_V3, num_labels=3, pooler_hidden_act="tanh"),
    ),
    RandomModel(
        "deberta-v2-xlarge",
        "DebertaV2",
        _deberta(
            72, 3, 2, 51, **_DEBERTA_V3, conv_kernel_size=3, conv_act="gelu", type_vocab_size=2
        ),
    ),
    RandomModel(
        "deberta-convolution-1-layer",
        "DebertaV2",
        _deberta(48, 3, 1, 39, **_DEBERTA_V3, conv_kernel_size=5),
    ),
    RandomModel("deberta-unshared", "DebertaV2", _deberta(60, 4, 2, 65, position_buckets=6)),
    RandomModel("deberta-c2p", "DebertaV2", _deberta(48, 4, 2, 40, pos_att_type="c2p")),
    RandomModel(
        "deberta-p2c-short-range",
        "DebertaV2",
        _deberta(48, 3, 2, 40, pos_att_type=["p2c"], max_relative_positions=11),
    ),
    RandomModel(
        "deberta-c2p-shared",
        "DebertaV2",
        _deberta(48, 3, 2, 40, pos_att_type=["c2p"], share_att_key=True),
    ),
    RandomModel(
        "deberta-no-terms", "DebertaV2", _deberta(48, 4, 1, 40, pos_att_type=[], position_buckets=8)
    ),
    RandomModel(
        "deberta-absolute",
        "DebertaV2",
        _deberta(
            60,
            3,
            2,
            31,
            relative_attention=False,
            position_biased_input=True,
            embedding_size=20,
            type_vocab_size=3,
        ),
    ),
    RandomModel("gte", "Gte", _bert_like(48, 4, 2, 35, type_vocab_size=1)),
    RandomModel("gte-new-prefix", "Gte", _bert_like(60, 5, 1, 21), renamed={"gte.": "new."}),
    RandomModel(
        "new",
        "Gte",
        _bert_like(
            60,
            3,
            2,
            47,
            type_vocab_size=2,
            num_labels=3,
            rope_parameters={"rope_type": "default", "rope_theta": 300.0},
        ),
        saved_settings={"model_type": "new", "rope_parameters": None, "rope_theta": 300.0},
        renamed={"gte.": "new."},
    ),
    RandomModel(
        "new-ntk-unprefixed",
        "Gte",
        _bert_like(
            4 * _NTK_HEAD_DIM,
            4,
            3,
            33,
            type_vocab_size=0,
            # Fixed NTK scaling, said in the terms of transformers' own linear scaling.
            rope_parameters={
                "rope_type": "linear",
                "rope_theta": _NTK_THETA * _NTK_FACTOR,
                "factor": _NTK_FACTOR ** (2 / _NTK_HEAD_DIM),
            },
        ),
        saved_settings={
            "model_type": "new",
            "rope_parameters": None,
            "rope_theta": _NTK_THETA,
            "rope_scaling": {"type": "ntk", "factor": _NTK_FACTOR},
        },
        renamed={"gte.": ""},
    ),
)
