"""Compiles every Triton kernel and configuration without a GPU; prints what each one takes.

A program of its own, because a process whose kernels are interpreted cannot compile them:
`python tests/compile_kernels.py 80 90` prints one JSON line for each kernel and target.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from zen_fast.kernels.attention import QUERY_BLOCK, attention_kernel, choose_config
from zen_fast.kernels.linear import FP32_CONFIGS, HALF_CONFIGS, LinearConfig, linear_kernel
from zen_fast.kernels.quantized import (
    CONFIGS,
    quantize_rows_kernel,
    quantized_linear_kernel,
)
from zen_fast.kernels.rowwise import embed_kernel, gate_kernel, layer_norm_kernel, rotary_kernel
from zen_fast.kernels.sequences import neighbours_kernel, pool_kernel

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
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


def cases() -> Iterator[Case]:
    """Every kernel, with every configuration that a launch may choose."""
    for kind, configs in ((_HALF, HALF_CONFIGS), (_SINGLE, FP32_CONFIGS)):
        for config in configs:
            yield _linear_case(kind, config)
    for config in CONFIGS:
        yield _quantized_linear_case(config)
    for kind in (_HALF, _SINGLE):
        for head_dim in (32, 64, 128):
            yield _attention_case(f"attention {kind} {head_dim}", kind, head_dim)
        yield _attention_case(f"attention {kind} window", kind, 64, WINDOW=64)
        yield _attention_case(f"attention {kind} first rows", kind, 64, FIRST_ROWS_ONLY=True)
        yield _attention_case(
            f"attention {kind} relative", kind, 64, HAS_BY_QUERY=True, HAS_BY_KEY=True
        )
    yield from _rowwise_cases()


def _linear_case(kind: str, config: LinearConfig) -> Case:
    pointer = f"*{kind}"
    types: dict[str, str | None] = {
        "x": pointer,
        "weight": pointer,
        "bias": "*fp32",
        "residual": pointer,
        "out": pointer,
        **dict.fromkeys(("rows", "columns", "depth", "x_stride", "residual_stride"), "i32"),
    }
    return Case(
        f"linear {kind} {config.block_m}x{config.block_n}x{config.block_k}",
        linear_kernel,
        types,
        {"HAS_BIAS": True, "HAS_RESIDUAL": True, "ACTIVATION": "gelu", **_blocks(config)},
        _options(config),
        tensor_rows=config.block_m if kind == _HALF else 0,
    )


def _quantized_linear_case(config: LinearConfig) -> Case:
    types: dict[str, str | None] = {
        "x": "*i8",
        "steps": "*fp32",
        "zeros": "*fp32",
        "weight": "*i8",
        "scales": "*fp32",
        "sums": "*i32",
        "bias": "*fp32",
        "residual": "*fp16",
        "out": "*fp16",
        **dict.fromkeys(("rows", "columns", "depth", "residual_stride"), "i32"),
    }
    return Case(
        f"quantized_linear {config.block_m}x{config.block_n}x{config.block_k}",
        quantized_linear_kernel,
        types,
        {"HAS_BIAS": True, "HAS_RESIDUAL": True, "ACTIVATION": "gelu", **_blocks(config)},
        _options(config),
        tensor_rows=config.block_m,
    )


def _attention_case(name: str, kind: str, head_dim: int, **changes: Any) -> Case:
    relative = changes.get("HAS_BY_QUERY", False)
    config = choose_config(_DTYPES[kind], head_dim, relative)
    constants = {
        "NUM_HEADS": 12,
        "HEAD_DIM": head_dim,
        "BLOCK_D": head_dim,
        "WINDOW": -1,
        "FIRST_ROWS_ONLY": False,
        "HAS_BY_QUERY": False,
        "HAS_BY_KEY": False,
        "PARTS": 1 if changes.get("FIRST_ROWS_ONLY") else QUERY_BLOCK // config.rows,
        "BLOCK_M": 16 if changes.get("FIRST_ROWS_ONLY") else config.rows,
        "BLOCK_N": config.keys,
        **changes,
    }
    types: dict[str, str | None] = {
        **dict.fromkeys(("query", "key", "value", "out"), f"*{kind}"),
        "cu_seqlens": "*i32",
        "query_blocks": "*i32",
        "by_query": f"*{kind}" if relative else None,
        "by_key": f"*{kind}" if relative else None,
        "bucket_of_distance": "*i32" if relative else None,
        "scale": "fp32",
        **dict.fromkeys(("query_stride", "key_stride", "value_stride", "out_stride"), "i32"),
        "num_buckets": "i32",
    }
    return Case(
        name,
        attention_kernel,
        types,
        constants,
        {"num_warps": config.num_warps, "num_stages": 2},
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
        "layer_norm",
        layer_norm_kernel,
        {
            "x": half,
            "weight": "*fp32",
            "bias": "*fp32",
            "out": half,
            **width,
            "x_stride": "i32",
            "eps": "fp32",
        },
        {"HAS_BIAS": True, "BLOCK": 1024},
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
    for mean in (True, False):
        yield Case(
            f"pool {'mean' if mean else 'first'}",
            pool_kernel,
            {
                "x": half,
                "cu_seqlens": "*i32",
                "out": half,
                "rows": "i32",
                **width,
                "x_stride": "i32",
            },
            {"MEAN": mean, "BLOCK": 256},
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
    yield Case(
        "quantize_rows",
        quantize_rows_kernel,
        {
            "x": half,
            "input_scales": "*fp32",
            "values": "*i8",
            "steps": "*fp32",
            "zeros": "*fp32",
            **width,
            "x_stride": "i32",
        },
        {"HAS_INPUT_SCALES": True, "BLOCK": 4096},
    )


def _blocks(config: LinearConfig) -> dict[str, Any]:
    return {
        "EVEN_K": True,
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
        "BLOCK_K": config.block_k,
    }


def _options(config: LinearConfig) -> dict[str, int]:
    return {"num_warps": config.num_warps, "num_stages": config.num_stages}


def compile_case(case: Case, capability: int) -> dict[str, Any]:
    """Registers, spilled bytes, shared memory, and whether the tensor cores are used."""
    signature, constants, divisible = {}, dict(case.constants), {}
    for index, name in enumerate(case.kernel.arg_names):
        kind = case.types.get(name)
        signature[name] = kind or "constexpr"
        if kind is None:
            constants.setdefault(name, None)
        elif kind.startswith("*") or kind == "i32":  # as the launcher finds them on real shapes
            divisible[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=case.kernel, signature=signature, constexprs=constants, attrs=divisible)
    target = GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target=target, options=case.options)
    assembly = compiled.asm["ptx"]
    registers, local = _resources(compiled.asm["cubin"])
    return {
        "kernel": case.name,
        "capability": capability,
        "registers": registers,
        "local_bytes": local,
        "shared_bytes": compiled.metadata.shared,
        "wgmma": "wgmma" in assembly,
        "mma": "mma.sync" in assembly or "wgmma" in assembly,
        "tensor_rows": case.tensor_rows,
    }


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of local memory, to which registers are spilled, of each thread."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(_TOOLS / "cuobjdump"), "--dump-resource-usage", file.name]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", report)
    registers, stack, local = map(int, found[-1])
    return registers, stack + local


def main() -> None:
    for capability in map(int, sys.argv[1:]):
        for case in cases():
            print(json.dumps(compile_case(case, capability)), flush=True)


if __name__ == "__main__":
    main()
