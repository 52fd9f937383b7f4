"""Where the gate ran: CPU and its instruction sets, GPU, versions, commit."""

from __future__ import annotations

import importlib.metadata

import torch

from benchmarks.gpu_gate.context import Context
from zen_fast.machine import describe_machine, describe_versions, git_commit


def record_machine(context: Context) -> None:
    """One record; the host's name is not in it."""
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    context.record(
        "machine",
        machine=describe_machine(),
        gpus=[
            {
                "name": gpu.name,
                "capability": f"{gpu.major}.{gpu.minor}",
                "memory_bytes": gpu.total_memory,
                "multiprocessors": gpu.multi_processor_count,
            }
            for gpu in gpus
        ],
        versions=describe_versions()
        | {"triton": importlib.metadata.version("triton"), "cuda": torch.version.cuda},
        git_commit=git_commit(),
    )
