"""Benchmarks; each module starts with its question. Run one by `python -m benchmarks.bench_gradients`."""
