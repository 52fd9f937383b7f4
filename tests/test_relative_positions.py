"""DeBERTa's and T5's buckets against the stock models' own, where one bit decides a bucket."""

from __future__ import annotations

import numpy as np
import pytest

from zen_fast.relative_positions import bucket_of_distance, bucket_of_offset
from zen_fast.spec import PositionBiasSpec, RelativeAttentionSpec

torch = pytest.importorskip("torch")
modeling_deberta_v2 = pytest.importorskip("transformers.models.deberta_v2.modeling_deberta_v2")
modeling_t5 = pytest.importorskip("transformers.models.t5.modeling_t5")


def _stock_rows(num_buckets: int, max_distance: int, length: int) -> np.ndarray:
    """Table row of each query (rows) and key (columns): (length, length)."""
    states = torch.zeros(1, length, 1)
    relative = modeling_deberta_v2.build_relative_position(
        states, states, bucket_size=num_buckets, max_position=max_distance
    )
    return torch.clamp(relative[0] + num_buckets, 0, 2 * num_buckets - 1).numpy()


@pytest.mark.parametrize("max_distance", [40, 80, 257, 512, 1024])
@pytest.mark.parametrize("num_buckets", [2, 3, 8, 10, 31, 32, 64])
def test_logarithmic_buckets_equal_stock(num_buckets: int, max_distance: int) -> None:
    length = max_distance + 3
    relative = RelativeAttentionSpec(num_buckets, True, max_distance, True, True, True, False)
    rows = bucket_of_distance(relative, length)
    assert rows.dtype == np.int32
    assert (np.diff(rows) >= 0).all()
    index = np.arange(length)
    distance = index[:, None] - index
    np.testing.assert_array_equal(
        rows[distance + length - 1], _stock_rows(num_buckets, max_distance, length)
    )


def test_released_deberta_v3_buckets_equal_stock() -> None:
    relative = RelativeAttentionSpec(256, True, 512, True, True, True, True)
    index = np.arange(512)
    rows = bucket_of_distance(relative, 512)[index[:, None] - index + 511]
    np.testing.assert_array_equal(rows, _stock_rows(256, 512, 512))


def test_plain_distances_clip_at_the_ends_of_the_table() -> None:
    relative = RelativeAttentionSpec(3, False, 3, True, True, True, False)
    assert bucket_of_distance(relative, 6).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5]


@pytest.mark.parametrize("max_distance", [20, 97, 128, 400, 1000])
@pytest.mark.parametrize("num_buckets", [4, 10, 32, 64])
def test_t5_buckets_equal_stock(num_buckets: int, max_distance: int) -> None:
    length = 600
    offsets = torch.arange(1 - length, length)
    stock = modeling_t5.T5Attention._relative_position_bucket(
        offsets, num_buckets=num_buckets, max_distance=max_distance
    )
    rows = bucket_of_offset(PositionBiasSpec(num_buckets, max_distance), length)
    np.testing.assert_array_equal(rows, stock.numpy())
