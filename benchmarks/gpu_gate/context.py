"""What the phases of a gate share: sizes, folders, the time that is left, and the records."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


@dataclass(frozen=True)
class Scale:
    """How much is measured, and on what."""

    device: str
    shapes: tuple[str, ...]
    """Keys of zen_fast.bench.random_model.SHAPES."""
    workloads: tuple[str, ...]
    """Keys of zen_fast.bench.workloads.CUT_TEXT."""
    precisions: tuple[str, ...]
    """The first ones matter most: time may end before the last."""
    num_documents: int
    repeats: int
    """Timed passes of a model."""
    saturation_tokens: int
    """Tokens of a batch that fills the GPU."""
    matrix: int
    """Rows, columns and depth of the products that measure the ceilings."""
    copied_bytes: int


FULL = Scale(
    device="cuda",
    shapes=("minilm-l6", "minilm-l12", "base", "large"),
    workloads=("short", "long"),
    precisions=("fp16", "int8", "fp8", "bf16", "fp32"),
    num_documents=100,
    repeats=30,
    saturation_tokens=65536,
    matrix=8192,
    copied_bytes=1 << 30,
)
REHEARSAL = Scale(
    device="cpu",
    shapes=("tiny",),
    workloads=("short",),
    precisions=("fp16", "int8"),
    num_documents=1,
    repeats=1,
    saturation_tokens=100,
    matrix=64,
    copied_bytes=1 << 12,
)
"""Every phase under Triton's interpreter: its figures mean nothing, that it runs does."""


@dataclass(frozen=True)
class Context:
    """One phase's surroundings."""

    work: Path
    scale: Scale
    deadline: float
    """time.perf_counter() after which nothing new should be begun."""
    records: Path
    """One JSON line for each figure, written as soon as it is known."""

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return self.deadline - time.perf_counter()

    @property
    def is_late(self) -> bool:
        """Whether the time is up."""
        return self.seconds_left < 0

    def model_folder(self, shape: str) -> Path:
        """Where the checkpoint of `shape` lies."""
        return self.work / "models" / shape

    def record(self, kind: str, **fields: Any) -> None:
        """Keep one figure, whatever becomes of the phase."""
        with self.records.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **fields}) + "\n")


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Every record of every phase; a line that a killed phase left unfinished is dropped."""
    records = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                records.append(json.loads(line))
    return records
