"""Figures of the benchmark against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from zen_fast.bench.flops import useful_flops
from zen_fast.bench.gate import TOLERANCES, refusal, require_tolerance
from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.metrics import kendall_tau, ndcg_at_10, percentiles, top_overlap
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec


def test_percentiles_interpolate_between_neighbours() -> None:
    assert percentiles([10.0, 20.0, 30.0, 40.0, 50.0]) == pytest.approx(
        {"p50_ms": 30.0, "p95_ms": 48.0, "p99_ms": 49.6}
    )


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 2, 4, 3], 4 / 6),  # five pairs agree, one does not
        ([1, 1, 2], [1, 2, 3], 2 / math.sqrt(2 * 3)),  # tau-b: one tie on the left
        ([5.0], [7.0], 1.0),
    ],
)
def test_kendall_tau_equals_hand_count(first: list[float], second: list[float], tau: float) -> None:
    assert kendall_tau(first, second) == pytest.approx(tau)


def test_top_overlap_counts_common_members_of_the_best() -> None:
    assert top_overlap([4, 3, 2, 1], [4, 1, 3, 2], k=2) == 0.5
    assert top_overlap([2, 1], [1, 2], k=10) == 1.0


def test_ndcg_equals_hand_count() -> None:
    judgements = {"q": {"a": 1, "b": 1}, "unasked": {"a": 1}}
    run = {"q": {"a": 3.0, "x": 2.0, "b": 1.0}}
    ideal = 1 + 1 / math.log2(3)
    assert ndcg_at_10(judgements, run) == pytest.approx((1 + 1 / math.log2(4)) / ideal)


def _bert(num_layers: int, pooling: str = "first", **changes: object) -> EncoderSpec:
    sizes: dict[str, object] = {
        "architecture": "bert",
        "vocab_size": 100,
        "hidden_size": 4,
        "num_heads": 2,
        "intermediate_size": 8,
        "max_length": 16,
        "layers": (LayerSpec(),) * num_layers,
        "head": HeadSpec(num_labels=1, pooling=pooling),  # type: ignore[arg-type]
    }
    return EncoderSpec(**(sizes | changes))  # type: ignore[arg-type]


def test_useful_flops_of_one_layer_counts_the_first_row_only() -> None:
    # 3 tokens of width 4: query of 1 row, keys and values of 3; 1 x 3 scores and their sum;
    # output, up and down of 1 row; dense 4 x 4 and classifier 4 x 1.
    query_key_value = 2 * 4 * 4 * (1 + 3 + 3)
    attention = 2 * 3 * 4 * 2
    output_and_ffn = 2 * 4 * 4 + 2 * 4 * 8 * 2
    head = 2 * 4 * 4 + 2 * 4
    assert useful_flops(_bert(1), [3]) == query_key_value + attention + output_and_ffn + head


def test_useful_flops_of_an_inner_layer_counts_every_row() -> None:
    one, two = useful_flops(_bert(1), [3]), useful_flops(_bert(2), [3])
    linear = 2 * 3 * (4 * 4 * 4 + 4 * 8 * 2)
    attention = 2 * 2 * 3 * 3 * 4
    assert two - one == linear + attention


def test_useful_flops_of_mean_pooling_counts_every_row_of_the_last_layer() -> None:
    head = 2 * 4 * 4 + 2 * 4
    full_layer = useful_flops(_bert(2), [3]) - useful_flops(_bert(1), [3])
    assert useful_flops(_bert(1, pooling="mean"), [3]) == full_layer + head


def test_useful_flops_of_a_window_counts_the_neighbours_it_reaches() -> None:
    layers = (LayerSpec(window=1), LayerSpec())
    saved_scores = 5 * 5 - (2 + 3 + 3 + 3 + 2)
    everywhere = useful_flops(_bert(2), [5])
    assert everywhere - useful_flops(_bert(2, layers=layers), [5]) == 2 * 2 * 4 * saved_scores


def test_useful_flops_add_up_over_sequences() -> None:
    spec = _bert(2, gate="activate_first")
    assert useful_flops(spec, [3, 7]) == useful_flops(spec, [3]) + useful_flops(spec, [7])


REFERENCE = [[0.0, 1.0], [10.0]]


def test_gate_names_a_precision_that_has_no_tolerance() -> None:
    require_tolerance("int8", "Engine")
    with pytest.raises(InvalidArgumentError, match="Engine says that its precision is 'int7'"):
        require_tolerance("int7", "Engine")


def test_gate_accepts_differences_within_the_tolerance() -> None:
    assert refusal([[0.0009, 1.0], [10.0]], REFERENCE, TOLERANCES["fp32"]) is None
    assert refusal([[0.5, 1.0], [10.0]], REFERENCE, TOLERANCES["int8"]) is None


@pytest.mark.parametrize("wrong", [0.0011, math.nan, math.inf])
def test_gate_refuses_differences_beyond_the_tolerance(wrong: float) -> None:
    message = refusal([[wrong, 1.0], [10.0]], REFERENCE, TOLERANCES["fp32"])
    assert message is not None
    assert "exceeds 0.001" in message
