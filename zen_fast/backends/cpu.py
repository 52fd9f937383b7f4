"""The CPU backend: the graph recorded once into a flat program that C++ replays without the GIL."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from zen_fast import _C, rounded_attention
from zen_fast.backends.recording import Recorder, lower
from zen_fast.batching import Int32Array, PackedBatch
from zen_fast.encoder import Encoder
from zen_fast.errors import InvalidArgumentError, UnsupportedDeviceError
from zen_fast.processors import usable_cores

ISA_VARIABLE = "ZEN_FAST_CPU_ISA"

MAX_THREADS = 1024
"""More than any machine's cores: beyond it the number is a mistake."""


def available_isas() -> list[str]:
    """Kernel sets this machine can run, slowest first."""
    return _C.available_isas()


def choose_isa() -> str:
    """The fastest kernel set here, or the one that ZEN_FAST_CPU_ISA names.

    Raises UnsupportedDeviceError where the variable names one that this machine cannot run.
    """
    isas = available_isas()
    forced = os.environ.get(ISA_VARIABLE)
    if forced is None:
        return isas[-1]
    return _checked_isa(forced, f"{ISA_VARIABLE}={forced}")


def _checked_isa(isa: str, origin: str) -> str:
    if isa not in available_isas():
        raise UnsupportedDeviceError(
            f"{origin}: this machine runs {', '.join(available_isas())}; "
            f"choose one of these, or leave it unset for the fastest"
        )
    return isa


class CpuBackend:
    """An encoder on this machine's processor; needs neither torch nor transformers."""

    name = "cpu"

    def __init__(
        self, encoder: Encoder, num_threads: int | None = None, isa: str | None = None
    ) -> None:
        """Record and pack `encoder` for `num_threads` threads (default: every usable core).

        `isa` is one of `available_isas()`; by default the fastest, or what ZEN_FAST_CPU_ISA says.
        """
        self.num_threads = usable_cores() if num_threads is None else num_threads
        if not 1 <= self.num_threads <= MAX_THREADS:
            raise InvalidArgumentError(
                f"num_threads is {num_threads}; give 1 to {MAX_THREADS}, "
                "or None for every usable core"
            )
        self.precision = encoder.weights.precision
        self.isa = choose_isa() if isa is None else _checked_isa(isa, f"isa={isa!r}")
        self.arithmetic = f"cpu {self.isa}{rounded_attention.suffix(encoder.rounds_attention)}"
        self._program = _C.Program(self.isa, self.num_threads, encoder.spec.max_length)
        recorder = Recorder()
        _record(encoder, recorder)
        lower(recorder.instructions, self._program)
        self._op_names = [
            instruction.describe()
            for instruction in recorder.instructions
            if instruction.name != "pause"
        ]

    def forward(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Logits of each sequence, (num_sequences, num_labels) fp32; safe under threads."""
        return self._run(batch, 0, None, None)

    def keys_values(self, batch: PackedBatch) -> list[NDArray[np.float32]]:
        """What later tokens read of each sequence's own ones; safe under threads."""
        return self._program.keys_values(*_arrays(batch))

    def advance(
        self, batch: PackedBatch, states: NDArray[np.float32] | None, layers: range
    ) -> NDArray[np.float32]:
        """Token states after `layers`; see `PausingBackend`."""
        return self._run(batch, layers.start, layers.stop, states)

    def finish(
        self, batch: PackedBatch, states: NDArray[np.float32], first_layer: int
    ) -> NDArray[np.float32]:
        """Logits from the token states before `first_layer`; see `PausingBackend`."""
        return self._run(batch, first_layer, None, states)

    def _run(
        self,
        batch: PackedBatch,
        first_layer: int,
        last_layer: int | None,
        states: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        return self._program.run(
            *_arrays(batch),
            from_pause=first_layer - 1 if first_layer else None,
            to_pause=None if last_layer is None else last_layer - 1,
            states=states,
        )

    def seconds_by_op(self) -> list[tuple[str, float]]:
        """Seconds that each recorded op has taken so far, as if all threads had shared it."""
        seconds = (each / self.num_threads for each in self._program.op_seconds())
        return list(zip(self._op_names, seconds, strict=True))


def _record(encoder: Encoder, recorder: Recorder) -> None:
    """The whole graph, with a pause after every layer but the last, whose rows are the head's."""
    states = encoder.embed(recorder)
    for index in range(encoder.spec.num_layers - 1):
        states = encoder.advance(recorder, states, range(index, index + 1))
        recorder.pause(states)
    recorder.finish(encoder.finish(recorder, states, encoder.spec.num_layers - 1))


def _arrays(
    batch: PackedBatch,
) -> tuple[
    Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, list[NDArray[np.float32] | None]
]:
    prefixes = [None if prefix is None else prefix.keys_values for prefix in batch.prefixes]
    return (
        batch.token_ids,
        batch.token_type_ids,
        batch.position_ids,
        batch.cu_seqlens,
        batch.head_lengths,
        prefixes,
    )
