"""Reading config.json: what each architecture accepts, defaults to and refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zen_fast.architectures import ARCHITECTURES, encoder_spec
from zen_fast.architectures.rotary import inverse_frequencies, ntk_inverse_frequencies
from zen_fast.errors import UnsupportedModelError


@pytest.mark.parametrize("model_type", ["gpt2", None])
def test_unknown_architecture_lists_the_supported(model_type: str | None) -> None:
    with pytest.raises(
        UnsupportedModelError, match=r"accepted: .*bert.*deberta-v2.*new.*xlm-roberta"
    ):
        encoder_spec({"model_type": model_type})


@pytest.mark.parametrize("model_type", sorted({*ARCHITECTURES} - {"t5", "mt5"}))
def test_config_of_defaults_is_accepted(model_type: str) -> None:
    spec = encoder_spec({"model_type": model_type})
    assert spec.head.num_labels == 2
    assert spec.num_layers > 0


@pytest.mark.parametrize("model_type", ["t5", "mt5"])
def test_t5_has_to_say_that_it_answers(model_type: str) -> None:
    config = {"model_type": model_type, "architectures": ["T5ForConditionalGeneration"]}
    spec = encoder_spec(config)
    assert spec.decoder is not None
    assert spec.decoder.num_layers == spec.num_layers
    for other in ([], ["T5EncoderModel"]):
        with pytest.raises(UnsupportedModelError, match="ForConditionalGeneration"):
            encoder_spec({**config, "architectures": other})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("relative_attention_num_buckets", 3),
        ("relative_attention_max_distance", 8),
        ("decoder_start_token_id", 32128),
        ("feed_forward_proj", "gated-silu"),
    ],
)
def test_t5_settings_that_cannot_be_are_refused(name: str, value: object) -> None:
    config = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], name: value}
    with pytest.raises(UnsupportedModelError, match=name):
        encoder_spec(config)


def test_query_independent_pattern_reads_the_last_token() -> None:
    config = {"model_type": "bert", "attention_pattern": "query_independent"}
    spec = encoder_spec(config)
    assert spec.query_independent
    assert spec.head.pooling == "last"
    assert not encoder_spec({"model_type": "bert", "attention_pattern": "full"}).query_independent
    with pytest.raises(UnsupportedModelError, match=r"attention_pattern='local'.*'full' or"):
        encoder_spec({"model_type": "bert", "attention_pattern": "local"})
    with pytest.raises(UnsupportedModelError, match="'full' for a model of type llama"):
        encoder_spec({**config, "model_type": "llama"})


@pytest.mark.parametrize(
    ("settings", "num_labels"),
    [
        ({}, 2),
        ({"num_labels": 1}, 1),
        ({"id2label": {"0": "LABEL_0"}}, 1),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 5}, 3),
        ({"id2label": None, "num_labels": 4}, 4),
    ],
)
def test_num_labels_as_transformers_counts_them(settings: dict[str, Any], num_labels: int) -> None:
    assert encoder_spec({"model_type": "bert", **settings}).head.num_labels == num_labels


@pytest.mark.parametrize(
    ("model_type", "setting", "value"),
    [
        ("bert", "position_embedding_type", "relative_key"),
        ("bert", "is_decoder", True),
        ("bert", "add_cross_attention", True),
        ("bert", "hidden_act", "quick_gelu"),
        ("bert", "hidden_size", "768"),
        ("bert", "layer_norm_eps", "tiny"),
        ("bert", "num_attention_heads", 0),
        ("bert", "pruned_heads", {"0": [1]}),
        ("bert", "quantization_config", {"bits": 4}),
        ("roberta", "position_embedding_type", "relative_key_query"),
        ("distilbert", "activation", "mish"),
        ("modernbert", "classifier_pooling", "max"),
        ("modernbert", "layer_types", ["full_attention"]),
        ("modernbert", "rope_scaling", {"type": "linear", "factor": 2}),
        ("modernbert", "rope_parameters", {"rope_type": "default", "rope_theta": 1e4}),
        ("modernbert", "norm_bias", "yes"),
        ("deberta-v2", "pos_att_type", "c2p|p2p"),
        ("deberta-v2", "attention_head_size", 32),
        ("deberta-v2", "pooler_hidden_size", 32),
        ("deberta-v2", "conv_kernel_size", 4),
        ("new", "logn_attention_scale", True),
        ("new", "layer_norm_type", "rms_norm"),
        ("new", "position_embedding_type", "absolute"),
        ("gte", "head_dim", 32),
        ("gemma2", "use_bidirectional_attention", True),
        ("gemma2", "attn_logit_softcapping", "50"),
        ("llama", "partial_rotary_factor", 0.5),
        ("mistral", "sliding_window", 0),
        ("qwen2", "layer_types", ["full_attention"]),
        ("qwen3", "layer_types", ["sliding_attention"] * 32),  # and no window
    ],
)
def test_unsupported_setting_is_named(model_type: str, setting: str, value: object) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"{setting}=.*; accepted: "):
        encoder_spec({"model_type": model_type, setting: value})


@pytest.mark.parametrize(
    ("model_type", "outer", "value", "setting"),
    [
        ("modernbert", "rope_parameters", {"full_attention": {"rope_type": "yarn"}}, "rope_type"),
        ("gte", "rope_parameters", {"rope_type": "yarn", "factor": 2.0}, "rope_type"),
        ("gte", "rope_parameters", {"rope_type": "linear"}, "factor"),
        ("new", "rope_scaling", {"type": "yarn", "factor": 2.0}, "type"),
        ("new", "rope_scaling", {"type": "ntk", "factor": 0.5}, "factor"),
        ("llama", "rope_scaling", {"rope_type": "longrope"}, "rope_type"),
        ("llama", "rope_scaling", {"rope_type": "llama3", "factor": 8}, "low_freq_factor"),
        ("qwen2", "rope_scaling", {"type": "yarn", "factor": "4"}, "factor"),
    ],
)
def test_unsupported_nested_setting_is_named(
    model_type: str, outer: str, value: dict[str, Any], setting: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"{setting}=.*; accepted: "):
        encoder_spec({"model_type": model_type, outer: value})


def test_unsupported_bucket_count_is_named() -> None:
    settings = {"relative_attention": True, "pos_att_type": ["c2p"], "position_buckets": 1}
    with pytest.raises(UnsupportedModelError, match="position_buckets=1"):
        encoder_spec({"model_type": "deberta-v2", **settings})


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [("bert", {"hidden_size": 50}), ("modernbert", {"hidden_size": 36})],
)
def test_heads_that_do_not_fit_are_refused(model_type: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError, match="heads"):
        encoder_spec({"model_type": model_type, "num_attention_heads": 12, **settings})


def test_heads_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="12 heads cannot be shared out among 5"):
        encoder_spec({"model_type": "qwen3", "num_attention_heads": 12, "num_key_value_heads": 5})


def test_language_model_without_classifier_has_one_label() -> None:
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "num_labels": 5}
    head = encoder_spec(config).head
    assert (head.num_labels, head.is_generative, head.skipped_id) == (1, True, None)


@pytest.mark.parametrize(
    ("model_type", "settings", "max_length"),
    [
        ("bert", {"max_position_embeddings": 512}, 512),
        ("roberta", {"max_position_embeddings": 514}, 512),
        ("xlm-roberta", {"max_position_embeddings": 8194, "pad_token_id": 1}, 8192),
        ("camembert", {"max_position_embeddings": 514, "pad_token_id": 5}, 508),
        ("modernbert", {}, 8192),
        ("deberta-v2", {"position_biased_input": False}, 512),
        ("new", {"max_position_embeddings": 8192}, 8192),
    ],
)
def test_max_length_is_what_positions_allow(
    model_type: str, settings: dict[str, Any], max_length: int
) -> None:
    assert encoder_spec({"model_type": model_type, **settings}).max_length == max_length


@pytest.mark.parametrize("head_dim", [2, 12, 64])
def test_inverse_frequencies_fall_geometrically(head_dim: int) -> None:
    pairs = np.arange(head_dim // 2)
    expected = 160_000.0 ** (-2 * pairs / head_dim) / 3
    frequencies = inverse_frequencies(head_dim, 160_000.0, divisor=3.0)
    np.testing.assert_allclose(frequencies, expected, rtol=1e-6)


def test_fixed_ntk_stretches_the_slowest_turn_by_the_factor() -> None:
    plain = np.array(inverse_frequencies(64, 20_000.0))
    stretched = np.array(ntk_inverse_frequencies(64, 20_000.0, 8.0, mixed_b=None))
    stretch = plain / stretched
    np.testing.assert_allclose(stretch[-1], 8.0, rtol=1e-5)
    np.testing.assert_allclose(stretch[0], 8.0 ** (2 / 64), rtol=1e-5)


def test_mixed_ntk_stretches_by_the_exponential_of_the_power() -> None:
    plain = np.array(inverse_frequencies(64, 20_000.0))
    stretched = np.array(ntk_inverse_frequencies(64, 20_000.0, 8.0, mixed_b=0.625))
    share = (np.arange(1, 33) / 32) ** 0.625
    np.testing.assert_allclose(plain / stretched, 8.0**share, rtol=1e-5)
