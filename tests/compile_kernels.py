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
from pathlib import Path
from typing import Any

import triton
from kernel_cases import Case, cases
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


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
        for case in cases(capability):
            print(json.dumps(compile_case(case, capability)), flush=True)


if __name__ == "__main__":
    main()
