"""Whole models: ours in every precision beside the stock engines, speed and agreement in a row."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from benchmarks.gpu_gate.context import Context
from benchmarks.gpu_gate.inputs import read_request
from benchmarks.gpu_gate.operators import measured_choices
from benchmarks.gpu_gate.stock import BATCH_SIZES, StockModel
from benchmarks.gpu_gate.timing import peak_bytes, wall_ms
from zen_fast import placement
from zen_fast.backends.triton import TritonBackend
from zen_fast.batching import TokenizedPair, pack, schedule
from zen_fast.bench.engines import EngineOptions
from zen_fast.bench.engines.sentence_transformers import CrossEncoderHalf
from zen_fast.bench.engines.transformers import TransformersHalf
from zen_fast.bench.flops import useful_flops
from zen_fast.bench.gate import logit_spread, refusal, tolerances
from zen_fast.bench.models import BenchModel, open_model
from zen_fast.bench.roofline import expected_seconds
from zen_fast.candidates import Request
from zen_fast.checkpoint import load_checkpoint
from zen_fast.encoder import Encoder
from zen_fast.engine import Engine
from zen_fast.eval.metrics import max_abs_difference, percentiles, top_overlap
from zen_fast.processors import usable_cores
from zen_fast.quantization import at_precision
from zen_fast.tokenization import PairTokenizer
from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer

_CACHE_BYTES = 1 << 28


class _Task:
    """One shape with its requests, tokenized, and the reference's logits for them."""

    def __init__(self, context: Context, shape: str) -> None:
        self.context = context
        self.shape = shape
        self.model: BenchModel = open_model(context.model_folder(shape), shape, random_weights=True)
        self.requests: dict[str, Request] = {
            workload: read_request(context, shape, workload) for workload in context.scale.workloads
        }
        self.pairs: dict[str, list[TokenizedPair]] = {
            workload: self.model.pair_tokenizer.encode_pairs(
                [request.query] * len(request.documents), request.documents
            )
            for workload, request in self.requests.items()
        }
        self.reference: dict[str, list[float]] = {}

    def record(
        self,
        workload: str,
        engine: str,
        precision: str,
        logits: Sequence[float],
        times: dict[str, list[float]],
        **more: Any,
    ) -> None:
        """One row: `times` is name → milliseconds of each pass."""
        lengths = [len(pair) for pair in self.pairs[workload]]
        reference = self.reference[workload]
        share = tolerances(random_weights=True)[precision]
        self.context.record(
            "model",
            shape=self.shape,
            workload=workload,
            engine=engine,
            precision=precision,
            num_documents=len(lengths),
            num_tokens=sum(lengths),
            flops=useful_flops(self.model.spec, lengths),
            expected_ms=1000 * expected_seconds(self.model.spec, lengths, precision),
            times={name: percentiles(each) for name, each in times.items()},
            max_abs_logit_difference=max_abs_difference([logits], [reference]),
            logit_spread=logit_spread([reference]),
            top_10_overlap=top_overlap(logits, reference),
            refused=refusal([logits], [reference], share),
            **more,
        )


def measure_models(context: Context, shape: str) -> None:
    """Every row of one shape, the most telling first; those that time leaves out are missing."""
    task = _Task(context, shape)
    _measure_reference(task)
    precisions = context.scale.precisions
    steps: list[Callable[[], None]] = [
        lambda: _measure_zen(task, precisions[0]),
        lambda: _measure_stock(task),
        *(lambda each=each: _measure_zen(task, each) for each in precisions[1:]),  # type: ignore[misc]
        # Last: they pay for tokenization in every pass.
        lambda: _measure_from_strings(task, "transformers", TransformersHalf),
        lambda: _measure_from_strings(task, "sentence-transformers", CrossEncoderHalf),
    ]
    for step in steps:
        if context.is_late:
            return
        step()
        gc.collect()
        if context.scale.device != "cpu":
            torch.cuda.empty_cache()


def measure_compiled(context: Context) -> None:
    """The stock model under torch.compile, last because compiling takes the longest."""
    for shape in context.scale.shapes:
        if context.is_late:
            return
        task = _Task(context, shape)
        _measure_reference(task)
        stock = StockModel(context.model_folder(shape), context.scale.device, torch.float16)
        stock.compile()
        for workload, pairs in task.pairs.items():
            _measure_stock_model(task, stock, workload, pairs, "transformers-compiled", (32, 128))


def warm_up(context: Context, shape: str) -> None:
    """Compile the kernels of one shape into Triton's cache, beside other phases that compile."""
    task = _Task(context, shape)
    for precision in context.scale.precisions:
        if context.is_late:
            return
        backend = _backend(task, precision)
        for pairs in task.pairs.values():
            backend.forward(pack(pairs, task.model.spec))


def _measure_reference(task: _Task) -> None:
    """Logits of the stock model in fp32, which every row is held to."""
    context = task.context
    stock = StockModel(context.model_folder(task.shape), context.scale.device, torch.float32)
    for workload, pairs in task.pairs.items():
        task.reference[workload] = stock.logits(pairs, 32)


def _backend(task: _Task, precision: str) -> TritonBackend:
    checkpoint = load_checkpoint(task.model.folder)
    weights = at_precision(checkpoint.weights, checkpoint.spec, precision)
    return TritonBackend(
        Encoder(checkpoint.spec, weights),
        task.context.scale.device,
        precision,
        measured_choices(task.context),
    )


def _tokenizer(task: _Task, cache_bytes: int) -> PairTokenizer:
    checkpoint = load_checkpoint(task.model.folder)
    stock = load_stock_tokenizer(checkpoint.folder, checkpoint.config, checkpoint.tokenizer_config)
    return stock.pair_tokenizer(
        longest_supported=task.model.spec.max_length,
        max_length=task.model.pair_tokenizer.max_length,
        cache_bytes=cache_bytes,
    )


def _measure_zen(task: _Task, precision: str) -> None:
    scale, spec = task.context.scale, task.model.spec
    backend = _backend(task, precision)
    engines = {
        name: Engine(backend, _tokenizer(task, cache_bytes), spec, placement.GPU_TOKENS)
        for name, cache_bytes in (("end_to_end", 0), ("cached", _CACHE_BYTES))
    }
    for workload, request in task.requests.items():
        pairs, queries = task.pairs[workload], [request.query] * len(request.documents)
        batch = pack(pairs, spec)
        peak_bytes(scale.device)
        times = {"model": wall_ms(lambda b=batch: backend.forward(b), scale.device, scale.repeats)}  # type: ignore[misc]
        for name, engine in engines.items():
            times[name] = wall_ms(
                lambda e=engine, q=queries, r=request: e.logits(q, r.documents),  # type: ignore[misc]
                scale.device,
                scale.repeats,
            )
        task.record(
            workload,
            "zen",
            precision,
            [float(each) for each in backend.forward(batch)[:, 0]],
            times,
            peak_bytes=peak_bytes(scale.device),
            **_saturated(task, backend, pairs),
        )


def _saturated(
    task: _Task, backend: TritonBackend, pairs: Sequence[TokenizedPair]
) -> dict[str, float]:
    """Speed of a batch that fills the GPU: the request's pairs over and over."""
    scale, spec = task.context.scale, task.model.spec
    tokens = sum(map(len, pairs))
    many = list(pairs) * max(1, scale.saturation_tokens // tokens)
    (first, *_) = schedule([len(pair) for pair in many], placement.GPU_TOKENS)
    chosen = [many[index] for index in first]
    batch = pack(chosen, spec)
    seconds = median(wall_ms(lambda: backend.forward(batch), scale.device, scale.repeats)) / 1000
    return {
        "saturated_documents_per_second": len(chosen) / seconds,
        "saturated_flops_per_second": useful_flops(spec, map(len, chosen)) / seconds,
    }


def _measure_stock(task: _Task) -> None:
    context = task.context
    stock = StockModel(context.model_folder(task.shape), context.scale.device, torch.float16)
    for workload, pairs in task.pairs.items():
        _measure_stock_model(task, stock, workload, pairs, "transformers", BATCH_SIZES)


def _measure_stock_model(
    task: _Task,
    stock: StockModel,
    workload: str,
    pairs: Sequence[TokenizedPair],
    engine: str,
    batch_sizes: Sequence[int],
) -> None:
    """The model alone, at its best batch size."""
    scale = task.context.scale
    peak_bytes(scale.device)
    times: dict[int, list[float]] = {}
    for size in batch_sizes:
        batches = stock.batches(pairs, size)
        times[size] = wall_ms(lambda b=batches: stock.run(b), scale.device, scale.repeats)  # type: ignore[misc]
    best = min(times, key=lambda size: median(times[size]))
    seconds = median(times[best]) / 1000
    lengths = [len(pair) for pair in pairs]
    task.record(
        workload,
        engine,
        "fp16",
        stock.logits(pairs, best),
        {"model": times[best]},
        batch_size=best,
        peak_bytes=peak_bytes(scale.device),
        saturated_documents_per_second=len(pairs) / seconds,
        saturated_flops_per_second=useful_flops(task.model.spec, lengths) / seconds,
    )


def _measure_from_strings(
    task: _Task, engine: str, make: type[TransformersHalf] | type[CrossEncoderHalf]
) -> None:
    """A stock engine end to end, through its adapter of zen_fast.bench."""
    scale = task.context.scale
    running = make(
        EngineOptions(
            str(task.model.folder),
            num_threads=usable_cores(),
            device=scale.device,
            precision="fp16",
            max_length=task.model.pair_tokenizer.max_length,
        )
    )
    for workload, request in task.requests.items():
        running.tune(request.query, request.documents)
        peak_bytes(scale.device)
        times = wall_ms(
            lambda r=request: running.logits(r.query, r.documents),  # type: ignore[misc]
            scale.device,
            scale.repeats,
        )
        task.record(
            workload,
            f"{engine} from strings",
            "fp16",
            running.logits(request.query, request.documents),
            {"end_to_end": times},
            peak_bytes=peak_bytes(scale.device),
        )
