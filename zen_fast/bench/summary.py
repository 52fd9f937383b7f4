"""From raw measurements to one row of figures for each engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from zen_fast.bench.flops import useful_flops
from zen_fast.bench.gate import logit_spread
from zen_fast.bench.measure import EngineMeasurement, Measurement
from zen_fast.bench.models import BenchModel
from zen_fast.candidates import Request
from zen_fast.eval.metrics import (
    kendall_tau,
    max_abs_difference,
    ndcg_at_10,
    percentiles,
    top_overlap,
)

Judgements = Mapping[str, Mapping[str, int]]


def summarize(
    measurement: Measurement, model: BenchModel, judgements: Judgements | None
) -> dict[str, Any]:
    """`inputs`, `ceilings` and `rows`, ready for JSON; `judgements` None leaves nDCG out."""
    lengths = [
        model.pair_lengths(request.query, request.documents) for request in measurement.requests
    ]
    num_tokens = sum(map(sum, lengths))
    num_documents = sum(map(len, lengths))
    gflop = 1e-9 * useful_flops(model.spec, (each for row in lengths for each in row))
    totals = {"documents": num_documents, "tokens": num_tokens, "gflop": gflop}
    ceilings = {
        precision: median(samples) for precision, samples in measurement.ceilings_gflops.items()
    }
    reference = measurement.engines[0]
    inputs = {
        "num_queries": len(measurement.requests),
        "num_documents": num_documents,
        "tokens_per_pair": num_tokens / num_documents,
        "useful_gflop_per_query": gflop / len(measurement.requests),
        "logit_spread": logit_spread(reference.logits),
        "first_stage_ndcg_at_10": _ndcg(
            judgements,
            measurement.requests,
            [range(len(request.documents), 0, -1) for request in measurement.requests],
        ),
    }
    rows = [
        _row(engine, measurement, totals, ceilings, judgements) for engine in measurement.engines
    ]
    return {
        "inputs": inputs,
        "ceilings": {"gflops": ceilings, "samples": measurement.ceilings_gflops},
        "rows": rows,
    }


def _row(
    engine: EngineMeasurement,
    measurement: Measurement,
    totals: Mapping[str, float],
    ceilings: Mapping[str, float],
    judgements: Judgements | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "engine": engine.row.name,
        "precision": engine.row.precision,
        "settings": engine.settings,
        "refused": engine.refusal,
        "load_seconds": engine.load_seconds,
        "cold_start_seconds": engine.cold_start_seconds,
        "peak_rss_bytes": engine.peak_rss_bytes,
        "seconds_by_op": engine.seconds_by_op,
    }
    if row["refused"] is None:
        row |= _speed(engine, totals, ceilings)
        row["speedup_over"] = {
            other.row.name: _speedup(engine, other)
            for other in measurement.engines
            if other.refusal is None
        }
        row |= _agreement(engine, measurement.engines[0])
        row["ndcg_at_10"] = _ndcg(judgements, measurement.requests, engine.logits)
        row["latencies_ms"] = [1000 * seconds for seconds in engine.latencies_seconds]
    return row


def _speed(
    engine: EngineMeasurement, totals: Mapping[str, float], ceilings: Mapping[str, float]
) -> dict[str, Any]:
    seconds = sum(engine.latencies_seconds)
    gflops = totals["gflop"] / seconds
    ceiling = ceilings.get(engine.row.precision)
    return {
        **percentiles([1000 * each for each in engine.latencies_seconds]),
        "documents_per_second": totals["documents"] / seconds,
        "useful_tokens_per_second": totals["tokens"] / seconds,
        "useful_gflops": gflops,
        "share_of_ceiling": None if ceiling is None else gflops / ceiling,
    }


def _speedup(engine: EngineMeasurement, other: EngineMeasurement) -> float:
    """How many times as fast as `other`: the median over queries, each a ratio of its own."""
    pairs = zip(engine.latencies_seconds, other.latencies_seconds, strict=True)
    return median(theirs / ours for ours, theirs in pairs)


def _agreement(engine: EngineMeasurement, reference: EngineMeasurement) -> dict[str, float]:
    pairs = list(zip(engine.logits, reference.logits, strict=True))
    return {
        "max_abs_logit_difference": max_abs_difference(engine.logits, reference.logits),
        "kendall_tau": fmean(kendall_tau(ours, theirs) for ours, theirs in pairs),
        "top_10_overlap": fmean(top_overlap(ours, theirs) for ours, theirs in pairs),
    }


def _ndcg(
    judgements: Judgements | None, requests: Sequence[Request], scores: Sequence[Sequence[float]]
) -> float | None:
    if judgements is None:
        return None
    run = {
        request.query_id: {
            document_id: float(score)
            for document_id, score in zip(request.document_ids, row, strict=True)
        }
        for request, row in zip(requests, scores, strict=True)
    }
    return ndcg_at_10(judgements, run)
