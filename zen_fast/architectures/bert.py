"""BERT and the families that keep its body: RoBERTa, CamemBERT, XLM-RoBERTa, ELECTRA."""

from __future__ import annotations

from dataclasses import replace

from zen_fast.architectures.architecture import Architecture, Naming
from zen_fast.architectures.settings import Settings
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec


def _bert_spec(settings: Settings) -> EncoderSpec:
    settings.require("position_embedding_type", "absolute", "absolute")
    settings.require("is_decoder", False, False)
    settings.require("add_cross_attention", False, False)
    num_positions = settings.count("max_position_embeddings", 512)
    return EncoderSpec(
        architecture="bert",
        vocab_size=settings.count("vocab_size", 30522),
        hidden_size=settings.count("hidden_size", 768),
        num_heads=settings.count("num_attention_heads", 12),
        intermediate_size=settings.count("intermediate_size", 3072),
        max_length=num_positions,
        layers=(LayerSpec(),) * settings.count("num_hidden_layers", 12),
        head=HeadSpec(num_labels=settings.num_labels()),
        num_token_types=settings.integer("type_vocab_size", 2),
        num_positions=num_positions,
        norm_eps=settings.number("layer_norm_eps", 1e-12),
        activation=settings.activation("hidden_act", "gelu"),
    )


def _roberta_spec(settings: Settings) -> EncoderSpec:
    spec = _bert_spec(settings)
    padding_id = settings.integer("pad_token_id", 1)
    return replace(
        spec,
        architecture="roberta",
        max_length=spec.num_positions - padding_id - 1,
        position_offset=padding_id + 1,
        padding_id=padding_id,
    )


def _electra_spec(settings: Settings) -> EncoderSpec:
    spec = _bert_spec(settings)
    return replace(
        spec,
        architecture="electra",
        hidden_size=settings.count("hidden_size", 256),
        num_heads=settings.count("num_attention_heads", 4),
        intermediate_size=settings.count("intermediate_size", 1024),
        embedding_size=settings.count("embedding_size", 128),
        head=replace(spec.head, activation="gelu"),
    )


def _body_naming(prefix: str) -> Naming:
    layer = f"{prefix}encoder.layer.*"
    attention = f"{layer}.attention.self"
    return {
        "embeddings.token": f"{prefix}embeddings.word_embeddings.weight",
        "embeddings.position": f"{prefix}embeddings.position_embeddings.weight",
        "embeddings.token_type": f"{prefix}embeddings.token_type_embeddings.weight",
        "embeddings.norm": f"{prefix}embeddings.LayerNorm",
        "layers.*.attention.qkv": (
            f"{attention}.query",
            f"{attention}.key",
            f"{attention}.value",
        ),
        "layers.*.attention.output": f"{layer}.attention.output.dense",
        "layers.*.attention.norm": f"{layer}.attention.output.LayerNorm",
        "layers.*.ffn.up": f"{layer}.intermediate.dense",
        "layers.*.ffn.down": f"{layer}.output.dense",
        "layers.*.ffn.norm": f"{layer}.output.LayerNorm",
    }


_TWO_LAYER_HEAD: Naming = {
    "head.dense": "classifier.dense",
    "head.classifier": "classifier.out_proj",
}

BERT = Architecture(
    encoder_spec=_bert_spec,
    prefixes=("bert.",),
    naming={
        **_body_naming("bert."),
        "head.dense": "bert.pooler.dense",
        "head.classifier": "classifier",
    },
)

ROBERTA = Architecture(
    encoder_spec=_roberta_spec,
    prefixes=("roberta.",),
    naming={**_body_naming("roberta."), **_TWO_LAYER_HEAD},
    ignorable=(r"pooler\.dense\.(weight|bias)",),
)

ELECTRA = Architecture(
    encoder_spec=_electra_spec,
    prefixes=("electra.",),
    naming={
        **_body_naming("electra."),
        "embeddings.projection": "electra.embeddings_project",
        **_TWO_LAYER_HEAD,
    },
)
