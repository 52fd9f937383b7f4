from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zen_fast.weights import Array

_View = tuple[int, int, int]

def available_isas() -> list[str]: ...
def row_stride(width: int) -> int: ...
def quantized_row_floats(width: int) -> int: ...
def kernel_gmacs(isa: str, num_threads: int) -> dict[str, float]: ...

class Program:
    def __init__(self, isa: str, num_threads: int, max_length: int) -> None: ...
    @property
    def isa(self) -> str: ...
    def op_seconds(self) -> list[float]: ...
    def add_slot(self, axis: str, offset: int, width: int) -> int: ...
    def embed(self, tables: Sequence[tuple[str, Array, float]], out: _View) -> None: ...
    def linear(
        self,
        x: _View,
        out: _View,
        weight: Array,
        bias: Array | None,
        activation: str | None,
        residual: _View | None = None,
    ) -> None: ...
    def quantize(self, x: _View, out: _View, input_scales: Array | None) -> None: ...
    def quantized_linear(
        self,
        x: _View,
        out: _View,
        values: Array,
        scales: Array,
        bias: Array | None,
        activation: str | None,
        residual: _View | None = None,
    ) -> None: ...
    def norm(
        self,
        x: _View,
        out: _View,
        weight: Array,
        bias: Array | None,
        eps: float,
        centred: bool,
        residual: _View | None = None,
    ) -> None: ...
    def gate(self, x: _View, out: _View, activation: str, activate_first: bool) -> None: ...
    def rotary(
        self, x: _View, out: _View, num_heads: int, inverse_frequencies: Sequence[float]
    ) -> None: ...
    def attention(
        self,
        query: _View,
        key: _View,
        value: _View,
        out: _View,
        layer: int,
        num_heads: int,
        num_kv_heads: int,
        scale: float,
        cap: float,
        causal: bool,
        query_independent: bool,
        window: int | None,
        in_shorts: bool,
        relative_keys: Array | None,
        relative_queries: Array | None,
        bucket_of_distance: Array | Sequence[int],
        position_bias: Array | None,
    ) -> None: ...
    def pool(self, x: _View, out: _View, pooling: str) -> None: ...
    def neighbours(self, x: _View, out: _View, count: int) -> None: ...
    def pause(self, x: _View) -> int: ...
    def begin_tail(self, rows: Sequence[_View]) -> None: ...
    def output(self, x: _View) -> None: ...
    def run(
        self,
        token_ids: NDArray[np.int32],
        token_type_ids: NDArray[np.int32],
        position_ids: NDArray[np.int32],
        cu_seqlens: NDArray[np.int32],
        head_lengths: NDArray[np.int32],
        prefixes: Sequence[NDArray[np.float32] | None] = (),
        from_pause: int | None = None,
        to_pause: int | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]: ...
    def keys_values(
        self,
        token_ids: NDArray[np.int32],
        token_type_ids: NDArray[np.int32],
        position_ids: NDArray[np.int32],
        cu_seqlens: NDArray[np.int32],
        head_lengths: NDArray[np.int32],
        prefixes: Sequence[NDArray[np.float32] | None] = (),
    ) -> list[NDArray[np.float32]]: ...
