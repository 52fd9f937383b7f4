"""The CPU of the machine that the GPU is in: which of our kernels it runs, and how fast."""

from __future__ import annotations

import json

from benchmarks.gpu_gate.context import Context
from zen_fast.backends.cpu import available_isas
from zen_fast.bench.options import parse_options
from zen_fast.bench.run import run

_REPORTING_SECONDS = 10.0


def measure_cpu(context: Context) -> None:
    """The benchmark of zen_fast.bench for as long as there is time.

    Raises:
        SystemExit: an engine was refused.
    """
    context.record("cpu_isas", isas=available_isas())
    report = context.work / "cpu-bench.json"
    rehearsal = context.scale.repeats == 1
    arguments = [
        *("--model", context.scale.shapes[0], "--workload", "short"),
        *("--engines", "transformers,zen", "--precision", "fp32,int8"),
        *("--candidates", str(context.scale.num_documents), "--json", str(report)),
        *(
            ("--queries", "1", "--threads", "1")
            if rehearsal
            else ("--seconds", str(context.seconds_left - _REPORTING_SECONDS))
        ),
    ]
    status = run(parse_options(arguments), arguments)
    context.record("cpu_bench", report=json.loads(report.read_text(encoding="utf-8")))
    if status:
        raise SystemExit("an engine was refused")
