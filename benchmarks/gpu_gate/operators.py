"""Each op of the encoder beside PyTorch's, inside CUDA graphs, on the sizes of real passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu_gate.ceilings import products
from benchmarks.gpu_gate.context import Context, read_records
from benchmarks.gpu_gate.inputs import pair_lengths, read_request
from benchmarks.gpu_gate.timing import kernel_us
from zen_fast import kernels
from zen_fast.backends.linear_choices import LinearChoices, LinearShape, LinearTiming
from zen_fast.backends.vendor_linear import vendor_linear
from zen_fast.bench.models import open_model
from zen_fast.spec import EncoderSpec

_FEW_ROWS = 1024
"""Of a short list of documents, besides the rows of the workloads."""

_DTYPE = torch.float16


def measure_operators(context: Context) -> None:
    """Attention, norms and products of every shape; a width that two shapes share is done once."""
    seen: set[tuple[object, ...]] = set()
    for shape in context.scale.shapes:
        model = open_model(context.model_folder(shape), shape, random_weights=True)
        spec = model.spec
        all_lengths = [
            pair_lengths(model.pair_tokenizer, read_request(context, shape, workload))
            for workload in context.scale.workloads
        ]
        for lengths in all_lengths:
            for measure, key in (
                (_measure_attention, (spec.num_heads, spec.head_dim, len(lengths), sum(lengths))),
                (_measure_rowwise, (spec.hidden_size, sum(lengths))),
            ):
                if (measure, *key) not in seen and not context.is_late:
                    seen.add((measure, *key))
                    measure(context, spec, lengths)
        rows = [*map(sum, all_lengths), _FEW_ROWS] if context.scale.repeats > 1 else [33]
        for num_rows in rows:
            if ("linear", spec.hidden_size, num_rows) in seen or context.is_late:
                continue
            seen.add(("linear", spec.hidden_size, num_rows))
            for linear in _linear_shapes(spec):
                _measure_linear(context, linear, num_rows)
                if num_rows == rows[0]:
                    _measure_eight_bits(context, linear, num_rows)


def measured_choices(context: Context) -> LinearChoices | None:
    """What this run has measured of whose products are faster here; None if it has not yet."""
    records = read_records(context.records.parent)
    timings = [LinearTiming.from_dict(each) for each in records if each["kind"] == "linear"]
    return LinearChoices(timings) if timings else None


def _linear_shapes(spec: EncoderSpec) -> Iterator[LinearShape]:
    """A layer's projections with the epilogues that the graph gives them."""
    hidden, ffn = spec.hidden_size, spec.intermediate_size
    for in_width, out_width, activation, residual in (
        (hidden, 3 * hidden, False, False),
        (hidden, hidden, False, True),
        (hidden, ffn, True, False),
        (ffn, hidden, False, True),
    ):
        yield LinearShape("fp16", in_width, out_width, activation, residual)


def _measure_linear(context: Context, shape: LinearShape, rows: int) -> None:
    device = context.scale.device
    x, weight, bias, residual = _linear_inputs(shape, rows, device)
    activation = "gelu" if shape.activation else None
    half_bias = bias.to(_DTYPE)
    ours = kernel_us(lambda: kernels.linear(x, weight, bias, activation, residual), device)
    vendor = kernel_us(lambda: vendor_linear(x, weight, half_bias, activation, residual), device)
    timing = LinearTiming(shape, rows, ours, vendor)
    flops = 2.0 * rows * shape.in_width * shape.out_width
    context.record("linear", flops=flops, **asdict(timing))


def _measure_eight_bits(context: Context, shape: LinearShape, rows: int) -> None:
    """Our 8-bit products with everything around them, beside the vendor's bare products."""
    device = context.scale.device
    x, weight, bias, residual = _linear_inputs(shape, rows, device)
    activation = "gelu" if shape.activation else None
    values = torch.randint(-63, 64, weight.shape, dtype=torch.int8, device=device)
    scales = torch.rand(len(values), device=device)
    sums = values.sum(dim=1, dtype=torch.int32)
    quantized = kernels.QuantizedWeight(values, scales, sums)
    quantized_rows = kernels.quantize_rows(x)

    def int8() -> Tensor:
        return kernels.quantized_linear(
            quantized_rows, quantized, _DTYPE, bias, activation, residual
        )

    rows8, weight8 = kernels.float8_rows(x), kernels.float8_weight(weight)

    def fp8() -> Tensor:
        return kernels.float8_linear(rows8, weight8, _DTYPE, bias, activation, residual)

    vendor = products(max(rows, 17), shape.out_width, shape.in_width, device)
    for precision, ours, quantize in (
        ("int8", int8, lambda: kernels.quantize_rows(x)),
        ("fp8", fp8, lambda: kernels.float8_rows(x)),
    ):
        context.record(
            "eight_bits",
            shape=asdict(shape) | {"precision": precision},
            rows=rows,
            flops=2.0 * rows * shape.in_width * shape.out_width,
            ours_us=kernel_us(ours, device),
            quantize_us=kernel_us(quantize, device),
            vendor_bare_us=_or_none(vendor[precision], device),
        )


def _linear_inputs(
    shape: LinearShape, rows: int, device: str
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    x = torch.randn(rows, shape.in_width, device=device, dtype=_DTYPE)
    weight = torch.randn(shape.out_width, shape.in_width, device=device, dtype=_DTYPE)
    bias = torch.randn(shape.out_width, device=device)
    residual = torch.randn(rows, shape.out_width, device=device, dtype=_DTYPE)
    return x, weight, bias, residual if shape.residual else None


def _measure_attention(context: Context, spec: EncoderSpec, lengths: list[int]) -> None:
    device, heads, width = context.scale.device, spec.num_heads, spec.hidden_size
    qkv = torch.randn(sum(lengths), 3 * width, device=device, dtype=_DTYPE)
    query, key, value = qkv.split(width, dim=1)
    cu_seqlens = torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32)).to(device)
    blocks = torch.tensor(
        [
            [sequence, first]
            for sequence, length in enumerate(lengths)
            for first in range(0, length, kernels.QUERY_BLOCK)
        ],
        dtype=torch.int32,
        device=device,
    )
    ours = kernel_us(
        lambda: kernels.attention(query, key, value, cu_seqlens, blocks, heads, spec.score_scale),
        device,
    )
    context.record(
        "attention",
        num_heads=heads,
        head_dim=spec.head_dim,
        sequences=len(lengths),
        tokens=sum(lengths),
        flops=4.0 * width * sum(length * length for length in lengths),
        ours_us=ours,
        torch_varlen_us=_or_none(_torch_varlen(qkv, heads, cu_seqlens, max(lengths)), device),
        torch_padded_us=_or_none(_torch_padded(lengths, heads, spec.head_dim, device), device),
    )


def _torch_varlen(
    qkv: Tensor, heads: int, cu_seqlens: Tensor, longest: int
) -> Callable[[], object] | None:
    """PyTorch's flash attention of packed sequences; None in versions that have none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    query, key, value = (each.unflatten(1, (heads, -1)) for each in qkv.chunk(3, dim=1))
    return lambda: varlen_attn(query, key, value, cu_seqlens, cu_seqlens, longest, longest)


def _torch_padded(
    lengths: list[int], heads: int, head_dim: int, device: str
) -> Callable[[], object]:
    """SDPA over the padded batch without a mask: what flash can do at best with padding."""
    size = (len(lengths), heads, max(lengths), head_dim)
    query, key, value = (torch.randn(size, device=device, dtype=_DTYPE) for _ in range(3))
    return lambda: functional.scaled_dot_product_attention(query, key, value)


def _measure_rowwise(context: Context, spec: EncoderSpec, lengths: list[int]) -> None:
    """Ops that only move memory, with the bytes that they must."""
    device, width, tokens = context.scale.device, spec.hidden_size, sum(lengths)
    x = torch.randn(tokens, width, device=device, dtype=_DTYPE)
    weight, bias = torch.ones(2, width, device=device)
    half = weight.to(_DTYPE)
    ids = torch.randint(spec.vocab_size, (tokens,), dtype=torch.int32, device=device)
    table = torch.randn(spec.vocab_size, width, device=device, dtype=_DTYPE)
    for name, ours, theirs, num_bytes in (
        (
            "layer_norm",
            lambda: kernels.norm(x, weight, bias, 1e-12),
            lambda: functional.layer_norm(x, (width,), half, half, 1e-12),
            4 * x.numel(),
        ),
        ("quantize_rows", lambda: kernels.quantize_rows(x), None, 3 * x.numel()),
        (
            "embed",
            lambda: kernels.embed([(table, ids)], _DTYPE),
            lambda: functional.embedding(ids, table),
            4 * x.numel(),
        ),
    ):
        context.record(
            "rowwise",
            op=name,
            rows=tokens,
            width=width,
            bytes=num_bytes,
            ours_us=kernel_us(ours, device),
            torch_us=_or_none(theirs, device),
        )


def _or_none(function: Callable[[], object] | None, device: str) -> float | None:
    """Microseconds, or None where this GPU or this build of torch cannot."""
    if function is None:
        return None
    try:
        return kernel_us(function, device)
    except (RuntimeError, NotImplementedError) as error:
        print(f"PyTorch cannot: {error}")
        return None
