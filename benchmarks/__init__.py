"""Benchmarks: each module opens with its question; `python -m benchmarks.bench_gradients` and so on."""
