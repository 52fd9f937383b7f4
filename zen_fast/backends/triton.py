"""The Triton backend: the graph captured once per batch size, replayed without launch gaps."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import zen_fast.kernels as kernels
from zen_fast.backends.device_batch import BatchSize, distinct_prefixes, lay_out
from zen_fast.backends.linear_choices import LinearChoices, read_linear_choices
from zen_fast.backends.triton_ops import Parameters, TritonOps
from zen_fast.batching import PackedBatch
from zen_fast.encoder import Encoder
from zen_fast.errors import OutOfDeviceMemoryError

Wanted = Literal["logits", "keys_values"]
"""What a pass is run for."""

MAX_GRAPHS = 32
"""Captured graphs kept; the one longest unused goes first."""


class TritonBackend:
    """An encoder on one GPU, or under Triton's interpreter on the CPU (TRITON_INTERPRET=1)."""

    name = "triton"

    def __init__(
        self,
        encoder: Encoder,
        device: str,
        precision: str,
        choices: LinearChoices | None = None,
    ) -> None:
        """`choices` None reads what was measured on this GPU."""
        self._encoder = encoder
        self._device = torch.device(device)
        self.precision = precision
        self.arithmetic = f"triton {precision} {self._device.type}"
        if choices is None:
            on_gpu = self._device.type == "cuda"
            choices = (
                read_linear_choices(torch.cuda.get_device_name(self._device))
                if on_gpu
                else LinearChoices()
            )
        self._parameters = Parameters(
            self._device,
            precision,
            encoder.weights.is_quantized,
            encoder.spec.max_length,
            choices,
        )
        self._graphs: OrderedDict[tuple[BatchSize, Wanted], _Forward] = OrderedDict()
        self._lock = threading.Lock()
        self._pool: Any = None

    def forward(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Logits of each sequence, (num_sequences, num_labels) fp32; safe under threads."""
        return self._run(batch, "logits")[: batch.num_sequences]

    def keys_values(self, batch: PackedBatch) -> list[NDArray[np.float32]]:
        """What later tokens read of each sequence's own ones; safe under threads."""
        rows = self._run(batch, "keys_values")
        return [rows[start:end] for start, end in pairwise(batch.cu_seqlens)]

    def _run(self, batch: PackedBatch, wanted: Wanted) -> NDArray[np.float32]:
        size = BatchSize.of(batch, kernels.QUERY_BLOCK)
        with self._lock, torch.inference_mode(), self._on_device():
            try:
                return self._forward(size, wanted).run(batch)
            except torch.OutOfMemoryError as error:
                self._free()
                raise OutOfDeviceMemoryError(
                    f"{self._device}: a batch of {batch.num_tokens} tokens does not fit into the "
                    "memory that is left; free some, choose another device or a smaller precision"
                ) from error

    def _on_device(self) -> AbstractContextManager[object]:
        """Kernels are launched, and memory taken, on the thread's current GPU."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

    def _free(self) -> None:
        """Let go of all that can be had again: graphs and their memory."""
        self._graphs.clear()
        self._pool = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def seconds_by_op(self) -> list[tuple[str, float]]:
        """Nothing: the ops of a replayed graph are not timed."""
        return []

    def _forward(self, size: BatchSize, wanted: Wanted) -> _Forward:
        forward = self._graphs.pop((size, wanted), None)
        if forward is None:
            while len(self._graphs) >= MAX_GRAPHS:
                self._graphs.popitem(last=False)
            forward = _Forward(self._encoder, self._parameters, size, wanted, self._device)
            if self._device.type == "cuda":
                self._pool = forward.capture(self._pool)
        self._graphs[size, wanted] = forward
        return forward


class _Forward:
    """One forward pass at a fixed size, replayed from a captured graph on a GPU."""

    def __init__(
        self,
        encoder: Encoder,
        parameters: Parameters,
        size: BatchSize,
        wanted: Wanted,
        device: torch.device,
    ) -> None:
        self._encoder = encoder
        self._parameters = parameters
        self._size = size
        self._wanted: Wanted = wanted
        on_gpu = device.type == "cuda"
        self._host = torch.zeros(size.num_integers, dtype=torch.int32, pin_memory=on_gpu)
        self._integers = torch.zeros(size.num_integers, dtype=torch.int32, device=device)
        width = encoder.spec.floats_kept_per_token
        self._prefix_rows = torch.zeros(
            (size.num_prefix_tokens, width), dtype=parameters.dtype, device=device
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Tensor | None = None

    def capture(self, pool: Any) -> Any:
        """Capture the pass into a graph that shares `pool`'s memory; returns the pool."""
        stream = torch.cuda.Stream(self._integers.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._compute()  # compiles the kernels, uploads the parameters
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Another thread may be taking memory of another GPU meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            self._result = self._compute()
        self._graph = graph
        return graph.pool()

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Logits (size.num_sequences, num_labels), or the keys and values of every token.

        Rows beyond the batch mean nothing.
        """
        lay_out(batch, self._size, kernels.QUERY_BLOCK, self._host.numpy())
        self._integers.copy_(self._host, non_blocking=True)
        start = 0
        for prefix in distinct_prefixes(batch)[0]:
            rows = torch.from_numpy(prefix.keys_values)
            self._prefix_rows[start : start + len(prefix)].copy_(rows)
            start += len(prefix)
        if self._graph is None:
            self._result = self._compute()
        else:
            self._graph.replay()
        assert self._result is not None
        result: NDArray[np.float32] = self._result.cpu().numpy()
        return result

    def _compute(self) -> Tensor:
        self._parameters.rewind()
        keeps = self._wanted == "keys_values"
        ops = TritonOps(self._integers, self._size, self._parameters, self._prefix_rows, keeps)
        logits = self._encoder.logits(ops)
        return torch.cat(ops.keys_values, dim=1).float() if keeps else logits.float()
