"""Triton kernels against plain PyTorch, at odd sizes, with outputs that begin as NaN."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from triton_device import DEVICE

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from zen_fast import kernels  # noqa: E402
from zen_fast.errors import InvalidArgumentError  # noqa: E402
from zen_fast.kernels.product import ProductConfig  # noqa: E402
from zen_fast.spec import Pooling  # noqa: E402

RELATIVE_ERROR = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Of the largest value."""
# The interpreter does not multiply bf16.
DTYPES = [each for each in RELATIVE_ERROR if DEVICE == "cuda" or each != torch.bfloat16]
ACTIVATIONS = {
    None: lambda x: x,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


@pytest.fixture(autouse=True)
def _single_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel leaves unwritten is NaN, or a byte that no test expects."""
    plain = torch.empty

    def poisoned(*arguments: object, **options: object) -> Tensor:
        tensor = plain(*arguments, **options)
        return tensor.fill_(float("nan") if tensor.is_floating_point() else 113)

    monkeypatch.setattr(torch, "empty", poisoned)


def _random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape).to(DEVICE, dtype)


def _strided(rows: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Columns out of the middle of a wider matrix."""
    return _random(rows, width + 7, dtype=dtype)[:, 3 : width + 3]


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


def _assert_close(result: Tensor, expected: Tensor, dtype: torch.dtype = torch.float32) -> None:
    assert result.dtype == dtype
    assert result.shape == expected.shape
    limit = RELATIVE_ERROR[dtype] * max(1.0, float(expected.abs().max()))
    assert float((result.float() - expected.float()).abs().max()) <= limit


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 16, 1), (7, 48, 33), (70, 130, 65)], ids=str)
def test_linear(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, depth, columns = shape
    x, residual = _strided(rows, depth, dtype), _strided(rows, columns, dtype)
    weight, bias = _random(columns, depth, dtype=dtype), _random(columns)
    expected = functional.gelu(x.float() @ weight.float().T + bias) + residual.float()
    _assert_close(kernels.linear(x, weight, bias, "gelu", residual), expected, dtype)


@pytest.mark.parametrize("in_turn", [0, 1, 3])
@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("depth", [64, 80, 65])  # the last is too odd for tensor maps
def test_linear_however_it_is_cut(depth: int, parts: int, in_turn: int) -> None:
    x, residual = _random(70, depth, dtype=torch.float16), _strided(70, 96, torch.float16)
    weight, bias = _random(96, depth, dtype=torch.float16), _random(96)
    config = ProductConfig(16, 32, 32, num_warps=4, num_stages=2, in_turn=in_turn, parts=parts)
    expected = functional.gelu(x.float() @ weight.float().T + bias) + residual.float()
    result = kernels.linear(x, weight, bias, "gelu", residual, config)
    _assert_close(result, expected, torch.float16)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_activations(activation: str | None) -> None:
    x, weight = 3 * _random(5, 32), _random(20, 32)
    expected = ACTIVATIONS[activation](x @ weight.T)
    _assert_close(kernels.linear(x, weight, None, activation), expected)


def test_gelu_in_16_bits_is_as_good_as_its_rounding() -> None:
    dtype = torch.float16
    x = torch.linspace(-12, 12, 4801, dtype=dtype, device=DEVICE)[:, None]
    one = torch.ones(1, 1, dtype=dtype, device=DEVICE)
    result = kernels.linear(x, one, activation="gelu")[:, 0].double()
    expected = functional.gelu(x[:, 0].double())
    half_ulp = torch.finfo(dtype).eps / 2
    assert bool((result - expected).abs().le(5e-5 + half_ulp * expected.abs()).all())
    assert bool(kernels.linear(x[:1] * float("nan"), one, activation="gelu").isnan().all())


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: list[int],
    num_heads: int,
    window: int | None,
    bias: Tensor | None = None,
    causal: bool = False,
    prefixes: list[tuple[Tensor, Tensor]] | None = None,
    cap: float = 0.0,
    head_lengths: list[int] | None = None,
) -> Tensor:
    """Softmax attention of one query row per key row, or of one per sequence, in fp64.

    `prefixes` are keys and values that come before each sequence's own.
    """
    reads_last = causal or head_lengths is not None
    contexts, begin, head_dim = [], 0, query.shape[1] // num_heads
    for sequence, length in enumerate(lengths):
        rows = slice(begin, begin + length)
        one_row = len(query) == len(lengths)
        own = query[sequence : sequence + 1] if one_row else query[rows]
        before = prefixes[sequence] if prefixes is not None else (key[:0], value[:0])
        shared = len(before[0])
        q, k, v = (
            x.double().reshape(len(x), -1, head_dim).transpose(0, 1)
            for x in (
                own,
                torch.cat((before[0], key[rows])),
                torch.cat((before[1], value[rows])),
            )
        )
        k, v = (x.repeat_interleave(num_heads // len(x), dim=0) for x in (k, v))
        scores = q @ k.transpose(1, 2)
        if bias is not None:
            scores = scores + bias[:, : q.shape[1], :length]
        first_place = length - 1 if one_row and reads_last else 0
        places = torch.arange(first_place, first_place + q.shape[1])
        distance = places[:, None] - torch.arange(-shared, length)
        scores = scores * 0.3
        if cap:
            scores = (scores / cap).tanh() * cap
        if causal:
            scores = scores.masked_fill((distance < 0).to(DEVICE), -torch.inf)
        if window is not None:
            scores = scores.masked_fill((distance.abs() > window).to(DEVICE), -torch.inf)
        if head_lengths is not None:
            head_length = head_lengths[sequence]
            beyond = torch.arange(length) >= head_length
            hidden = (places[:, None] < head_length) & beyond
            scores = scores.masked_fill(hidden.to(DEVICE), -torch.inf)
        context = scores.softmax(dim=-1) @ v
        contexts.append(context.transpose(0, 1).flatten(1))
        begin += length
    return torch.cat(contexts)


def _cu_seqlens(lengths: list[int]) -> Tensor:
    return _integers([0, *torch.tensor(lengths).cumsum(0).tolist()])


def _query_blocks(lengths: list[int], one_row_each: bool = False) -> Tensor:
    blocks = [
        [sequence, first]
        for sequence, length in enumerate(lengths)
        for first in range(0, 1 if one_row_each else length, kernels.QUERY_BLOCK)
    ]
    return torch.tensor([*blocks, [-1, -1]], dtype=torch.int32, device=DEVICE)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("window", [None, 0, 9])
@pytest.mark.parametrize("head_dim", [16, 20, 72])
def test_attention(dtype: torch.dtype, window: int | None, head_dim: int) -> None:
    lengths, num_heads = [1, 17, 64, 130], 3
    rows, width = sum(lengths), num_heads * head_dim
    query, key, value = (_strided(rows, width, dtype) for _ in range(3))
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths),
        num_heads,
        0.3,
        window=window,
    )
    _assert_close(result, _attention(query, key, value, lengths, num_heads, window), dtype)


@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
def test_attention_causal_with_fewer_heads_of_keys(num_kv_heads: int, window: int | None) -> None:
    lengths, num_heads, head_dim = [1, 17, 64, 130], 6, 20
    rows, kv_width = sum(lengths), num_kv_heads * head_dim
    query, key, value = (_strided(rows, each) for each in (num_heads * head_dim, *2 * (kv_width,)))
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths),
        num_heads,
        0.3,
        window=window,
        causal=True,
        num_kv_heads=num_kv_heads,
    )
    expected = _attention(query, key, value, lengths, num_heads, window, causal=True)
    _assert_close(result, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("causal", "window"), [(True, None), (False, None), (True, 20)])
def test_attention_with_a_shared_prefix(
    causal: bool, window: int | None, dtype: torch.dtype
) -> None:
    lengths, prefix_lengths, of_sequence = [1, 67, 5], [33, 3], [1, 0, 0]
    num_heads, num_kv_heads, head_dim = 4, 2, 16
    query = _strided(sum(lengths), num_heads * head_dim, dtype)
    key, value = (_strided(sum(lengths), num_kv_heads * head_dim, dtype) for _ in range(2))
    both = _random(sum(prefix_lengths), 2 * num_kv_heads * head_dim, dtype=dtype)
    keys, values = (each.split(prefix_lengths) for each in both.chunk(2, dim=1))
    prefix = kernels.SharedPrefix(
        *both.chunk(2, dim=1), _cu_seqlens(prefix_lengths), _integers(of_sequence)
    )
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths),
        num_heads,
        0.3,
        window=window,
        causal=causal,
        num_kv_heads=num_kv_heads,
        prefix=prefix,
    )
    prefixes = [(keys[each], values[each]) for each in of_sequence]
    expected = _attention(
        query, key, value, lengths, num_heads, window, causal=causal, prefixes=prefixes
    )
    _assert_close(result, expected, dtype)


@pytest.mark.parametrize("one_row_each", [False, True])
@pytest.mark.parametrize("window", [None, 9])
def test_attention_of_heads_that_see_only_themselves(
    one_row_each: bool, window: int | None
) -> None:
    lengths, head_lengths, num_heads = [1, 17, 64, 130], [0, 5, 64, 70], 2
    key, value = _strided(sum(lengths), 32), _strided(sum(lengths), 32)
    query = _random(len(lengths) if one_row_each else sum(lengths), 32)
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths, one_row_each),
        num_heads,
        0.3,
        one_row_each=one_row_each,
        window=window,
        head_lengths=_integers(head_lengths),
    )
    expected = _attention(query, key, value, lengths, num_heads, window, head_lengths=head_lengths)
    _assert_close(result, expected)


def test_attention_with_a_position_bias() -> None:
    lengths, num_heads, max_length = [1, 17, 70], 2, 90
    query, key, value = (_strided(sum(lengths), 32) for _ in range(3))
    bias = _random(num_heads, 2 * max_length - 1)
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths),
        num_heads,
        0.3,
        position_bias=bias,
    )
    places = torch.arange(max_length)
    by_pair = bias.double()[:, places - places[:, None] + max_length - 1]
    expected = _attention(query, key, value, lengths, num_heads, None, bias=by_pair)
    _assert_close(result, expected)


def test_attention_refuses_heads_that_cannot_be_shared_out() -> None:
    x = _random(3, 32)
    arguments = (x, x, x, _cu_seqlens([3]), _query_blocks([3]), 4, 0.3)
    with pytest.raises(InvalidArgumentError, match="num_kv_heads=3 does not divide num_heads=4"):
        kernels.attention(*arguments, num_kv_heads=3)
    prefix = kernels.SharedPrefix(x, x, _cu_seqlens([3]), _integers([0]))
    relative = kernels.RelativeScores(None, None, _integers([0, 0, 0, 0, 0]))
    with pytest.raises(InvalidArgumentError, match="relative scores"):
        kernels.attention(*arguments, prefix=prefix, relative=relative)


@pytest.mark.parametrize("window", [None, 4])
def test_attention_of_first_rows(window: int | None) -> None:
    lengths, num_heads = [5, 1, 70], 2
    key, value = _strided(sum(lengths), 32), _strided(sum(lengths), 32)
    query = _random(len(lengths), 32)
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths, one_row_each=True),
        num_heads,
        0.3,
        one_row_each=True,
        window=window,
    )
    _assert_close(result, _attention(query, key, value, lengths, num_heads, window))


@pytest.mark.parametrize(("window", "cap"), [(None, 0.0), (4, 1.5)])
def test_attention_of_last_rows(window: int | None, cap: float) -> None:
    lengths, num_heads, num_kv_heads = [5, 1, 70], 4, 2
    key, value = _strided(sum(lengths), 32), _strided(sum(lengths), 32)
    query = _random(len(lengths), 64)
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths, one_row_each=True),
        num_heads,
        0.3,
        one_row_each=True,
        window=window,
        cap=cap,
        causal=True,
        num_kv_heads=num_kv_heads,
    )
    expected = _attention(query, key, value, lengths, num_heads, window, causal=True, cap=cap)
    _assert_close(result, expected)


@pytest.mark.parametrize("terms", ["by_query", "by_key", "both"])
def test_attention_with_relative_scores(terms: str) -> None:
    lengths, num_heads, num_rows = [70], 2, 11
    query, key, value = (_strided(70, 32) for _ in range(3))
    by_query = _random(70, num_heads, num_rows) if terms != "by_key" else None
    by_key = _random(70, num_heads, num_rows) if terms != "by_query" else None
    buckets = torch.arange(-99, 100, device=DEVICE).div(20, rounding_mode="floor") + 5
    i, j = torch.meshgrid(torch.arange(70), torch.arange(70), indexing="ij")
    bucket = buckets[(i - j + 99).to(DEVICE)]  # (queries, keys)
    bias = torch.zeros(num_heads, 70, 70, device=DEVICE)
    for head in range(num_heads):
        if by_query is not None:
            bias[head] += by_query[:, head].gather(1, bucket)
        if by_key is not None:
            bias[head] += by_key[:, head].gather(1, bucket.T).T
    result = kernels.attention(
        query,
        key,
        value,
        _cu_seqlens(lengths),
        _query_blocks(lengths),
        num_heads,
        0.3,
        relative=kernels.RelativeScores(by_query, by_key, buckets.int()),
    )
    _assert_close(result, _attention(query, key, value, lengths, num_heads, None, bias))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
def test_layer_norm(dtype: torch.dtype, has_bias: bool) -> None:
    x = 1000 + _strided(5, 50) if dtype == torch.float32 else _strided(5, 50, dtype)
    weight, bias = _random(50), _random(50) if has_bias else None
    expected = functional.layer_norm(x.double(), (50,), weight.double(), None, 1e-5)
    expected = expected if bias is None else expected + bias
    result = kernels.norm(x, weight, bias, 1e-5)
    limit = 1e-3 if dtype == torch.float32 else None  # 1000 + x has 14 bits of x
    if limit is None:
        _assert_close(result, expected, dtype)
    else:
        assert float((result - expected).abs().max()) <= limit


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rms_norm(dtype: torch.dtype) -> None:
    x, weight = 3 + _strided(5, 50, dtype), _random(50)
    scale = (x.double().square().mean(dim=1, keepdim=True) + 1e-5).rsqrt()
    _assert_close(
        kernels.norm(x, weight, None, 1e-5, centred=False), x.double() * scale * weight, dtype
    )


@pytest.mark.parametrize("num_tables", [1, 2, 3])
def test_embed_sums_rows_of_every_table(num_tables: int) -> None:
    tables = [
        (_random(9, 20, dtype=torch.float16), torch.randint(9, (6,)).int().to(DEVICE))
        for _ in range(num_tables)
    ]
    expected = sum(rows[ids.long()].float() for rows, ids in tables)
    _assert_close(kernels.embed(tables, torch.float32), expected)


@pytest.mark.parametrize("activate_first", [True, False])
def test_gate(activate_first: bool) -> None:
    x = _strided(4, 60)
    first, second = x.chunk(2, dim=1)
    expected = (
        functional.silu(first) * second if activate_first else first * functional.silu(second)
    )
    _assert_close(kernels.gate(x, "silu", activate_first), expected)


def test_rotary() -> None:
    num_heads, half = 3, 5
    x, positions = _strided(6, num_heads * 2 * half), _integers([0, 1, 2, 0, 1, 7])
    angles = torch.arange(8)[:, None] * torch.rand(half)
    cosines, sines = angles.cos().to(DEVICE), angles.sin().to(DEVICE)
    first, second = x.reshape(6, num_heads, -1).chunk(2, dim=-1)
    cos, sin = cosines[positions.long()][:, None], sines[positions.long()][:, None]
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    _assert_close(kernels.rotary(x, positions, cosines, sines, num_heads), turned.flatten(1))


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_pool(pooling: Pooling) -> None:
    x, bounds = _strided(9, 40), [0, 1, 6, 9]
    rows = [x[begin:end] for begin, end in pairwise(bounds)]
    expected = torch.stack(
        [
            each.mean(dim=0) if pooling == "mean" else each[0 if pooling == "first" else -1]
            for each in rows
        ]
    )
    # The empty sequence behind the last one is nobody's, and must not be read out of bounds.
    _assert_close(kernels.pool(x, _integers([*bounds, 9]), pooling)[:3], expected)


@pytest.mark.parametrize("count", [3, 4])
def test_neighbours(count: int) -> None:
    x, lengths = _strided(6, 10), [1, 3, 2]
    before, expected = count // 2, []
    for rows in x.split(lengths):
        padded = functional.pad(rows, (0, 0, before, count - 1 - before))
        expected.append(torch.cat([padded[n : n + len(rows)] for n in range(count)], dim=1))
    sequence_of_row = _integers([0, 1, 1, 1, 2, 2])
    _assert_close(kernels.neighbours(x, sequence_of_row, count), torch.cat(expected))


def test_quantize_rows_keep_zero_and_the_ends_of_their_range() -> None:
    x = torch.tensor([[0.0, 1.0, -3.0, 0.5], [0.0, 0.0, 0.0, 0.0], [2.0, 4.0, 1.0, 8.0]]).to(DEVICE)
    rows = kernels.quantize_rows(x)
    restored = rows.steps[:, None] * (rows.values.float() - rows.zeros[:, None])
    assert float((restored - x).abs().max()) <= 0.501 * float(rows.steps.max())
    assert restored[1].tolist() == [0.0] * 4
    assert (restored[x == 0] == 0).all()
    assert rows.values[0].tolist()[1:3] == [127, -128]
    assert rows.values[2].tolist()[3] == 127


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_quantize_rows_never_hide_what_is_not_finite(value: float) -> None:
    x = _random(2, 20)
    x[1, 3] = value
    steps = kernels.quantize_rows(x).steps
    assert torch.isfinite(steps).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(1, 16, 1), (5, 48, 33), (70, 200, 65)], ids=str)
def test_quantized_linear_sums_are_exact(shape: tuple[int, int, int]) -> None:
    num_rows, depth, columns = shape
    x, residual = _strided(num_rows, depth), _strided(num_rows, columns)
    input_scales, bias, scales = torch.rand(depth) + 0.5, _random(columns), torch.rand(columns)
    input_scales, scales = input_scales.to(DEVICE), scales.to(DEVICE)
    values = torch.randint(-63, 64, (columns, depth), dtype=torch.int8).to(DEVICE)
    weight = kernels.QuantizedWeight(values, scales, values.sum(dim=1, dtype=torch.int32))
    rows = kernels.quantize_rows(x, input_scales)
    centred = rows.values.double() - rows.zeros[:, None].double()
    sums = centred @ values.double().T
    expected = sums * (rows.steps[:, None] * scales) + bias
    result = kernels.quantized_linear(rows, weight, torch.float32, bias, "relu", residual)
    _assert_close(result, functional.relu(expected).float() + residual)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e4])
def test_float8_rows_round_to_the_nearest(scale: float) -> None:
    # Of 1 to 2**-17 times the largest: normal and subnormal values, and what rounds to zero.
    x = scale * _random(3, 200) * torch.exp2(-torch.arange(200) % 18).to(DEVICE)
    x[2] = 0.0
    rows = kernels.float8_rows(x)
    assert rows.values.dtype == torch.float8_e4m3fn
    assert rows.scales[:2].tolist() == pytest.approx((x[:2].abs().amax(dim=1) / 448).tolist())
    expected = (x * (448.0 / x.abs().amax(dim=1, keepdim=True).clamp_min(1e-30))).clamp(-448, 448)
    assert torch.equal(rows.values.float(), expected.to(torch.float8_e4m3fn).float())
    assert rows.values[2].float().tolist() == [0.0] * 200


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_float8_rows_never_hide_what_is_not_finite(value: float) -> None:
    x = _random(2, 20)
    x[1, 3] = value
    assert torch.isfinite(kernels.float8_rows(x).scales).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(1, 16, 1), (5, 48, 33), (70, 200, 65)], ids=str)
def test_float8_linear(shape: tuple[int, int, int]) -> None:
    num_rows, depth, columns = shape
    x, residual, bias = _strided(num_rows, depth), _strided(num_rows, columns), _random(columns)
    rows, weight = kernels.float8_rows(x), kernels.float8_weight(_random(columns, depth))
    dense = [each.values.double() * each.scales[:, None].double() for each in (rows, weight)]
    expected = functional.relu(dense[0] @ dense[1].T + bias) + residual
    result = kernels.float8_linear(rows, weight, torch.float32, bias, "relu", residual)
    assert result.dtype == torch.float32
    # Of a sum's mantissa Hopper's fp8 units keep 14 bits, cut off at each of the few additions.
    limit = 2.0**-11 if DEVICE == "cuda" else RELATIVE_ERROR[torch.float32]
    assert float((result - expected).abs().max()) <= limit * float(expected.abs().max())


def test_float8_weight_is_within_half_a_step_of_the_weight() -> None:
    weight = _random(20, 33) * torch.rand(20, 1).to(DEVICE)
    weight[3] = 0.0
    matrix = kernels.float8_weight(weight)
    restored = matrix.values.float() * matrix.scales[:, None]
    # Three bits behind the point: half a step is a sixteenth, or less than the smallest value.
    limit = (weight.abs() / 16).maximum(matrix.scales[:, None] * 2**-10)
    assert ((restored - weight).abs() <= 1.001 * limit).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_layer_norm_emits_the_rows_that_its_result_would_give(dtype: torch.dtype) -> None:
    x, weight, bias = _strided(5, 50, dtype), _random(50), _random(50)
    normed = kernels.norm(x, weight, bias, 1e-5)
    result, rows = kernels.norm_quantized(x, weight, bias, 1e-5)
    expected = kernels.quantize_rows(normed)
    assert torch.equal(result, normed)
    for name in ("values", "steps", "zeros"):
        assert torch.equal(getattr(rows, name), getattr(expected, name))
    result, float8 = kernels.norm_float8(x, weight, bias, 1e-5)
    expected8 = kernels.float8_rows(normed)
    assert torch.equal(result, normed)
    assert torch.equal(float8.values.float(), expected8.values.float())
    assert torch.equal(float8.scales, expected8.scales)
