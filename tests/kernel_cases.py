"""Every Triton kernel with the types and constants of its launches, to compile without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from zen_fast.kernels.attention import QUERY_BLOCK, attention_kernel, choose_config
from zen_fast.kernels.float8 import (
    CAPABILITY,
    float8_rows_kernel,
)
from zen_fast.kernels.linear import FP32_CONFIGS, HALF_CONFIGS
from zen_fast.kernels.norm import norm_kernel
from zen_fast.kernels.product import EIGHT_BIT_CONFIGS, TENSOR_MAPS, ProductConfig, product_kernel
from zen_fast.kernels.quantized import (
    quantize_rows_kernel,
)
from zen_fast.kernels.row_blocks import RowBlocks
from zen_fast.kernels.rowwise import embed_kernel, gate_kernel, rotary_kernel
from zen_fast.kernels.sequences import neighbours_kernel, pool_kernel

_HALF, _SINGLE = "fp16", "fp32"
_DTYPES = {_HALF: torch.float16, _SINGLE: torch.float32}


@dataclass(frozen=True)
class Case:
    """One kernel with the types of its arguments, None for one that is not given."""

    name: str
    kernel: Any
    types: dict[str, str | None]
    constants: dict[str, Any]
    options: dict[str, int] = field(default_factory=dict)
    tensor_rows: int = 0
    """Rows of its products on tensor cores, 0 where it has none; wgmma takes 64 at least."""


def cases(capability: int) -> Iterator[Case]:
    """Every kernel of that GPU, with every configuration that a launch may choose."""
    yield from _product_cases(capability)
    if _has_float8(capability):
        yield _float8_rows_case()
    for kind in (_HALF, _SINGLE):
        for head_dim in (32, 64, 128):
            yield _attention_case(f"attention {kind} {head_dim}", kind, head_dim)
        yield _attention_case(f"attention {kind} window", kind, 64, WINDOW=64)
        yield _attention_case(f"attention {kind} first rows", kind, 64, ONE_ROW_EACH=True)
        yield _attention_case(
            f"attention {kind} relative", kind, 64, HAS_BY_QUERY=True, HAS_BY_KEY=True
        )
        yield _attention_case(
            f"attention {kind} last rows, cap",
            kind,
            128,
            ONE_ROW_EACH=True,
            CAUSAL=True,
            HAS_CAP=True,
            WINDOW=64,
        )
        yield _attention_case(f"attention {kind} position bias", kind, 64, HAS_BIAS=True)
        yield _attention_case(f"attention {kind} heads", kind, 64, HAS_HEADS=True)
        for head_dim in (64, 128):
            yield _attention_case(
                f"attention {kind} {head_dim} causal", kind, head_dim, CAUSAL=True, GROUP=4
            )
            yield _attention_case(
                f"attention {kind} {head_dim} causal, prefix",
                kind,
                head_dim,
                CAUSAL=True,
                GROUP=4,
                HAS_PREFIX=True,
            )
    yield from _rowwise_cases()
    yield from _norm_cases(capability)


def _product_cases(capability: int) -> Iterator[Case]:
    """Each configuration through pointers, and through tensor maps where there are some."""
    kinds = [
        (_HALF, "float", HALF_CONFIGS),
        (_SINGLE, "float", FP32_CONFIGS),
        ("i8", "int8", EIGHT_BIT_CONFIGS),
    ]
    if _has_float8(capability):
        kinds.append(("fp8e4nv", "float8", EIGHT_BIT_CONFIGS))
    for kind, operands, configs in kinds:
        for config in configs:
            # A residual takes the most registers; pointers are a last resort where there are maps.
            yield _product_case(kind, operands, config, False, "none", residual=True)
            described = _has_tensor_maps(capability)
            yield _product_case(kind, operands, config, described, "gelu", residual=False)
            if described:
                yield _product_case(kind, operands, config, True, "none", residual=True)


def _product_case(
    kind: str,
    operands: str,
    config: ProductConfig,
    described: bool,
    activation: str,
    residual: bool,
) -> Case:
    blocks = {"x": config.block_m, "weight": config.block_n}
    out = f"*{kind}" if operands == "float" else "*fp16"
    integer = operands == "int8"
    types: dict[str, str | None] = {
        **{
            name: f"tensordesc<{kind}[{rows}, {config.block_k}]>" if described else f"*{kind}"
            for name, rows in blocks.items()
        },
        "row_scales": None if operands == "float" else "*fp32",
        "row_zeros": "*fp32" if integer else None,
        "column_scales": None if operands == "float" else "*fp32",
        "column_sums": "*i32" if integer else None,
        "bias": "*fp32",
        "residual": out if residual else None,
        "out": out,
        **dict.fromkeys(("rows", "columns", "depth", "x_stride", "residual_stride"), "i32"),
    }
    constants = {
        "OPERANDS": operands,
        "DESCRIBED": described,
        "HAS_BIAS": True,
        "HAS_RESIDUAL": residual,
        "ACTIVATION": activation,
        "EVEN_K": True,
        "IN_TURN": config.in_turn > 0,
        "PARTS": config.parts,
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
        "BLOCK_K": config.block_k,
    }
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    if described and config.max_registers is not None:
        options["maxnreg"] = config.max_registers
    return Case(
        f"product {kind} {config} {activation}{' described' if described else ''}",
        product_kernel,
        types,
        constants,
        options,
        tensor_rows=0 if kind == _SINGLE else config.block_m,
    )


def _float8_rows_case() -> Case:
    types: dict[str, str | None] = {"x": "*fp16", "values": "*fp8e4nv", "steps": "*fp32"}
    types |= {"rows": "i32", "width": "i32", "x_stride": "i32"}
    return Case("float8_rows", float8_rows_kernel, types, *_row_blocks(4096))


def _attention_case(name: str, kind: str, head_dim: int, **changes: Any) -> Case:
    relative = changes.get("HAS_BY_QUERY", False)
    has_prefix = changes.get("HAS_PREFIX", False)
    adds_terms = relative or changes.get("HAS_BIAS", False)
    extras = has_prefix or changes.get("ONE_ROW_EACH", False)
    config = choose_config(_DTYPES[kind], head_dim, adds_terms, extras)
    constants = {
        "NUM_HEADS": 12,
        "HEAD_DIM": head_dim,
        "BLOCK_D": head_dim,
        "WINDOW": -1,
        "ONE_ROW_EACH": False,
        "HAS_BY_QUERY": False,
        "HAS_BY_KEY": False,
        "HAS_CAP": False,
        "CAUSAL": False,
        "GROUP": 1,
        "HAS_PREFIX": False,
        "HAS_BIAS": False,
        "HAS_HEADS": False,
        "PARTS": 1 if changes.get("ONE_ROW_EACH") else QUERY_BLOCK // config.rows,
        "BLOCK_M": 16 if changes.get("ONE_ROW_EACH") else config.rows,
        "BLOCK_N": config.keys,
        **changes,
    }
    types: dict[str, str | None] = {
        **dict.fromkeys(("query", "key", "value", "out"), f"*{kind}"),
        "cu_seqlens": "*i32",
        "query_blocks": "*i32",
        "by_query": "*fp32" if relative else None,
        "by_key": "*fp32" if relative else None,
        "bucket_of_distance": "*i32" if relative else None,
        "scale": "fp32",
        "cap": "fp32",
        **dict.fromkeys(("query_stride", "key_stride", "value_stride", "out_stride"), "i32"),
        "num_buckets": "i32",
        "prefix_stride": "i32",
        "position_bias": "*fp32" if changes.get("HAS_BIAS") else None,
        "bias_stride": "i32",
        "head_lengths": "*i32" if changes.get("HAS_HEADS") else None,
    }
    if has_prefix:
        types |= dict.fromkeys(("prefix_key", "prefix_value"), f"*{kind}")
        types |= dict.fromkeys(("prefix_cu_seqlens", "prefix_of_sequence"), "*i32")
    return Case(
        name,
        attention_kernel,
        types,
        constants,
        {"num_warps": config.num_warps, "num_stages": config.num_stages},
        tensor_rows=constants["BLOCK_M"] if kind == _HALF else 0,
    )


def _rowwise_cases() -> Iterator[Case]:
    half, width = "*fp16", {"width": "i32"}
    ids = {f"ids_{index}": "*i32" for index in range(3)}
    tables = {f"rows_{index}": half for index in range(3)}
    yield Case(
        "embed",
        embed_kernel,
        {**tables, **ids, "out": half, **width},
        {"NUM_TABLES": 3, "BLOCK": 1024},
    )
    yield Case(
        "gate",
        gate_kernel,
        {"x": half, "out": half, **width, "x_stride": "i32"},
        {"ACTIVATION": "gelu", "ACTIVATE_FIRST": True, "BLOCK": 1024},
    )
    yield Case(
        "rotary",
        rotary_kernel,
        {
            "x": half,
            "positions": "*i32",
            "cosines": "*fp32",
            "sines": "*fp32",
            "out": half,
            "num_heads": "i32",
            "half": "i32",
            "x_stride": "i32",
        },
        {"BLOCK_HEADS": 16, "BLOCK_HALF": 32},
    )
    for pooling in ("mean", "first", "last"):
        yield Case(
            f"pool {pooling}",
            pool_kernel,
            {
                "x": half,
                "cu_seqlens": "*i32",
                "out": half,
                "rows": "i32",
                **width,
                "x_stride": "i32",
            },
            {"POOLING": pooling, "BLOCK": 256},
        )
    yield Case(
        "neighbours",
        neighbours_kernel,
        {
            "x": half,
            "sequence_of_row": "*i32",
            "out": half,
            "rows": "i32",
            **width,
            "x_stride": "i32",
        },
        {"COUNT": 3, "BLOCK": 1024},
    )
    blocks, options = _row_blocks(4096)
    yield Case(
        "quantize_rows",
        quantize_rows_kernel,
        {
            "x": half,
            "input_scales": "*fp32",
            "values": "*i8",
            "steps": "*fp32",
            "zeros": "*fp32",
            "rows": "i32",
            **width,
            "x_stride": "i32",
        },
        {"HAS_INPUT_SCALES": True, **blocks},
        options,
    )


def _norm_cases(capability: int) -> Iterator[Case]:
    for name, centred, emitted in (
        ("layer_norm", True, None),
        ("rms_norm", False, None),
        ("norm_quantized", True, ("int8", "*i8")),
        ("norm_float8", True, ("float8", "*fp8e4nv")),
    ):
        if name == "norm_float8" and not _has_float8(capability):
            continue
        emit, values = emitted or ("none", None)
        types: dict[str, str | None] = {
            **dict.fromkeys(("x", "out"), "*fp16"),
            "weight": "*fp32",
            "bias": "*fp32" if centred else None,
            "values_8": values,
            "steps": None if values is None else "*fp32",
            "zeros": "*fp32" if emit == "int8" else None,
            **dict.fromkeys(("rows", "width", "x_stride"), "i32"),
            "eps": "fp32",
        }
        for width in (384, 1024, 4096):
            blocks, options = _row_blocks(width)
            constants = {"CENTRED": centred, "HAS_BIAS": centred, "EMIT": emit, **blocks}
            yield Case(f"{name} {width}", norm_kernel, types, constants, options)


def _row_blocks(width: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Constants and options of a kernel that treats rows of that width."""
    blocks = RowBlocks.of(width)
    return {"ROWS": blocks.rows, "BLOCK": blocks.columns}, {"num_warps": blocks.num_warps}


def _has_float8(capability: int) -> bool:
    return (capability // 10, capability % 10) >= CAPABILITY


def _has_tensor_maps(capability: int) -> bool:
    return (capability // 10, capability % 10) >= TENSOR_MAPS
