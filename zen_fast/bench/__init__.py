"""Measure zen_fast beside stock engines: latency, throughput, memory, agreement and quality."""
