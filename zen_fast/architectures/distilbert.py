"""DistilBERT: BERT without token types, with a ReLU head."""

from __future__ import annotations

from zen_fast.architectures.architecture import Architecture
from zen_fast.architectures.settings import Settings
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec


def _distilbert_spec(settings: Settings) -> EncoderSpec:
    num_positions = settings.count("max_position_embeddings", 512)
    return EncoderSpec(
        architecture="distilbert",
        vocab_size=settings.count("vocab_size", 30522),
        hidden_size=settings.count("dim", 768),
        num_heads=settings.count("n_heads", 12),
        intermediate_size=settings.count("hidden_dim", 3072),
        max_length=num_positions,
        layers=(LayerSpec(),) * settings.count("n_layers", 6),
        head=HeadSpec(num_labels=settings.num_labels(), activation="relu"),
        num_positions=num_positions,
        activation=settings.activation("activation", "gelu"),
    )


_LAYER = "distilbert.transformer.layer.*"

DISTILBERT = Architecture(
    encoder_spec=_distilbert_spec,
    prefixes=("distilbert.",),
    naming={
        "embeddings.token": "distilbert.embeddings.word_embeddings.weight",
        "embeddings.position": "distilbert.embeddings.position_embeddings.weight",
        "embeddings.norm": "distilbert.embeddings.LayerNorm",
        "layers.*.attention.qkv": (
            f"{_LAYER}.attention.q_lin",
            f"{_LAYER}.attention.k_lin",
            f"{_LAYER}.attention.v_lin",
        ),
        "layers.*.attention.output": f"{_LAYER}.attention.out_lin",
        "layers.*.attention.norm": f"{_LAYER}.sa_layer_norm",
        "layers.*.ffn.up": f"{_LAYER}.ffn.lin1",
        "layers.*.ffn.down": f"{_LAYER}.ffn.lin2",
        "layers.*.ffn.norm": f"{_LAYER}.output_layer_norm",
        "head.dense": "pre_classifier",
        "head.classifier": "classifier",
    },
)
