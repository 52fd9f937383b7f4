"""Recording: the graph becomes a flat list of instructions, and these a C++ program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from zen_fast import _C
from zen_fast.backends.memory_plan import MemoryPlan
from zen_fast.ops import AttentionPattern, EmbeddingTable, GatedHalf
from zen_fast.spec import Activation, Pooling
from zen_fast.weights import Array, Linear, Norm, QuantizedMatrix

Axis = Literal["tokens", "sequences"]


@dataclass(frozen=True)
class Matrix:
    """A matrix that the recorded program will hold, or a range of its columns."""

    buffer: int
    axis: Axis
    column: int
    width: int


@dataclass
class Instruction:
    """One op of the program, with symbolic matrices."""

    name: str
    inputs: dict[str, Matrix]
    output: Matrix | None
    options: dict[str, Any] = field(default_factory=dict)
    overwritable: Matrix | None = None
    """An input whose place the output may take over, if nothing reads it later."""

    def matrices(self) -> tuple[Matrix, ...]:
        """All that it reads or writes."""
        return (*self.inputs.values(), *(() if self.output is None else (self.output,)))

    def describe(self) -> str:
        """Name, kind of rows and widths, as in "linear tokens 384 -> 1536 gelu"."""
        x = next(iter(self.inputs.values()), None)
        rows = self.output or x
        words = [self.name, "" if rows is None else rows.axis]
        if x is not None:
            quantized = self.options.get("values")  # (out, in); x is wider by its scales
            words.append(str(x.width if quantized is None else quantized.shape[1]))
        if self.output is not None and self.name != "quantize":
            words.append(f"-> {self.output.width}")
        words.append(self.options.get("activation") or "")
        return " ".join(filter(None, words))


class Recorder:
    """Ops that write down what they are asked to do (implements `Ops[Matrix]`)."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._quantized_rows: dict[Matrix, Matrix] = {}
        self._num_buffers = 0

    def _new(self, axis: Axis, width: int) -> Matrix:
        self._num_buffers += 1
        return Matrix(self._num_buffers - 1, axis, 0, width)

    def _record(
        self,
        name: str,
        inputs: dict[str, Matrix],
        output: Matrix,
        overwritable: Matrix | None = None,
        **options: Any,
    ) -> Matrix:
        self.instructions.append(Instruction(name, inputs, output, options, overwritable))
        return output

    def embed(self, tables: Sequence[EmbeddingTable]) -> Matrix:
        sources = [(each.index, np.ascontiguousarray(each.rows), each.scale) for each in tables]
        output = self._new("tokens", tables[0].rows.shape[1])
        return self._record("embed", {}, output, tables=sources)

    def linear(
        self,
        x: Matrix,
        layer: Linear,
        activation: Activation | None = None,
        residual: Matrix | None = None,
    ) -> Matrix:
        weight = layer.weight
        options: dict[str, Any] = {"bias": layer.bias, "activation": activation}
        if isinstance(weight, QuantizedMatrix):
            name, x = "quantized_linear", self._quantized(x, weight.input_scales)
            options |= {"values": weight.values, "scales": weight.scales}
        else:
            name = "linear"
            options["weight"] = weight
        inputs = {"x": x} if residual is None else {"x": x, "residual": residual}
        return self._record(name, inputs, self._new(x.axis, layer.out_width), **options)

    def _quantized(self, x: Matrix, input_scales: Array | None) -> Matrix:
        if input_scales is not None:
            return self._quantize(x, input_scales)
        if x not in self._quantized_rows:  # several projections may read the same rows
            self._quantized_rows[x] = self._quantize(x, None)
        return self._quantized_rows[x]

    def _quantize(self, x: Matrix, input_scales: Array | None) -> Matrix:
        output = self._new(x.axis, _C.quantized_row_floats(x.width))
        return self._record("quantize", {"x": x}, output, input_scales=input_scales)

    def norm(self, x: Matrix, norm: Norm, residual: Matrix | None = None) -> Matrix:
        return self._record(
            "norm",
            {"x": x} if residual is None else {"x": x, "residual": residual},
            self._new(x.axis, x.width),
            overwritable=x,
            weight=norm.weight,
            bias=norm.bias,
            eps=norm.eps,
            centred=norm.centred,
        )

    def split(self, x: Matrix, widths: Sequence[int]) -> tuple[Matrix, ...]:
        starts = [x.column + sum(widths[:index]) for index in range(len(widths))]
        return tuple(
            Matrix(x.buffer, x.axis, start, width)
            for start, width in zip(starts, widths, strict=True)
        )

    def rotary(self, x: Matrix, num_heads: int, inverse_frequencies: Sequence[float]) -> Matrix:
        return self._record(
            "rotary",
            {"x": x},
            self._new(x.axis, x.width),
            num_heads=num_heads,
            inverse_frequencies=inverse_frequencies,
        )

    def attention(
        self, query: Matrix, key: Matrix, value: Matrix, pattern: AttentionPattern
    ) -> Matrix:
        relative = pattern.relative
        return self._record(
            "attention",
            {"query": query, "key": key, "value": value},
            self._new(query.axis, query.width),
            layer=pattern.layer,
            num_heads=pattern.num_heads,
            num_kv_heads=pattern.num_kv_heads,
            scale=pattern.scale,
            cap=pattern.cap,
            causal=pattern.causal,
            query_independent=pattern.query_independent,
            window=pattern.window,
            in_shorts=pattern.rounded,
            relative_keys=None if relative is None else relative.keys,
            relative_queries=None if relative is None else relative.queries,
            bucket_of_distance=() if relative is None else relative.bucket_of_distance,
            position_bias=pattern.position_bias,
        )

    def gate(self, x: Matrix, activation: Activation, activated: GatedHalf) -> Matrix:
        return self._record(
            "gate",
            {"x": x},
            self._new(x.axis, x.width // 2),
            activation=activation,
            activate_first=activated == "first",
        )

    def pool(self, x: Matrix, pooling: Pooling) -> Matrix:
        return self._record("pool", {"x": x}, self._new("sequences", x.width), pooling=pooling)

    def neighbours(self, x: Matrix, count: int) -> Matrix:
        output = self._new(x.axis, x.width * count)
        return self._record("neighbours", {"x": x}, output, count=count)

    def pause(self, states: Matrix) -> None:
        """Mark a place where a run may stop and another continue, `states` being all it needs."""
        self.instructions.append(Instruction("pause", {"x": states}, None))

    def finish(self, logits: Matrix) -> None:
        """Mark the matrix whose rows are the program's result."""
        self.instructions.append(Instruction("output", {"x": logits}, None))


def lower(instructions: Sequence[Instruction], program: _C.Program) -> None:
    """Give every matrix a place in the arena and hand the ops to C++ in order."""
    last_read = {
        matrix.buffer: index
        for index, instruction in enumerate(instructions)
        for matrix in instruction.inputs.values()
    }
    plans: dict[Axis, MemoryPlan] = {"tokens": MemoryPlan(), "sequences": MemoryPlan()}
    whole = {instruction.output for instruction in instructions}  # not views of some columns
    slots: dict[int, int] = {}  # buffer → slot
    offsets: dict[int, int] = {}  # buffer → offset of its slot, while it lives

    def place(instruction: Instruction, output: Matrix, index: int) -> None:
        source = instruction.overwritable
        if source is not None and source in whole and last_read[source.buffer] == index:
            slots[output.buffer] = slots[source.buffer]
            offsets[output.buffer] = offsets.pop(source.buffer)
            return
        offset = plans[output.axis].take(_C.row_stride(output.width))
        slots[output.buffer] = program.add_slot(output.axis, offset, output.width)
        offsets[output.buffer] = offset

    tail = _tail_start(instructions)
    for index, instruction in enumerate(instructions):
        if index == tail:
            rows = _read_across(instructions, tail)
            program.begin_tail([(slots[row.buffer], row.column, row.width) for row in rows])
        if instruction.output is not None:
            place(instruction, instruction.output, index)
        matrices = dict(instruction.inputs)
        if instruction.output is not None:
            matrices["out"] = instruction.output
        views = {
            name: (slots[matrix.buffer], matrix.column, matrix.width)
            for name, matrix in matrices.items()
        }
        getattr(program, instruction.name)(**views, **instruction.options)
        for matrix in instruction.inputs.values():
            if last_read[matrix.buffer] == index and matrix.buffer in offsets:
                plans[matrix.axis].release(offsets.pop(matrix.buffer))


def _tail_start(instructions: Sequence[Instruction]) -> int:
    """The first instruction from which on all know only rows of sequences."""
    touching_tokens = [
        index
        for index, instruction in enumerate(instructions)
        if any(matrix.axis == "tokens" for matrix in instruction.matrices())
    ]
    return touching_tokens[-1] + 1


def _read_across(instructions: Sequence[Instruction], start: int) -> tuple[Matrix, ...]:
    """What instructions from `start` on read of those before."""
    made_later = {
        instruction.output.buffer
        for instruction in instructions[start:]
        if instruction.output is not None
    }
    read = (
        matrix
        for instruction in instructions[start:]
        for matrix in instruction.inputs.values()
        if matrix.buffer not in made_later
    )
    return tuple(dict.fromkeys(read))
