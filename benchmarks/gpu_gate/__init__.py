"""One command for a machine with a GPU: build, test, measure, report.

    python -m benchmarks.gpu_gate --out DIR

Run from the root of a checkout, on a machine that has torch, triton, transformers,
sentence-transformers, pybind11, cmake and a compiler, and needs no network. It takes at most eight
minutes: every phase has a budget of its own. What a phase has measured before it fails or its time
is up is kept.
"""
