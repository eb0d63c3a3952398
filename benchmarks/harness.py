"""Timing of the benchmarks.

One pinned core, compilation timed separately, every contender warmed up, then rounds in which each contender in turn
runs once untimed and then for a few milliseconds, so that changes of the machine's speed affect all contenders equally.
A time is the median over rounds; its spread is the distance between quartiles. Ratios are formed within one process
only.

`pin()` must come before JAX or PyTorch is imported.
"""

import argparse
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
CUDA = ("jax-cuda12-plugin", "jax-cuda13-plugin")  # whichever is installed
PEERS = ("pyrenn", "optimistix", "scipy")


def pin(cores: int = 1) -> None:
    """Pins this process and its threads to the last `cores` cores."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(cores)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])


def arguments(question: str) -> argparse.ArgumentParser:
    """Returns a parser with the options of all benchmarks."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--rounds", type=int, default=15, help="rounds to take the median over (default 15)")
    parser.add_argument("--only", default="", help="only cases whose name holds this text")
    parser.add_argument("--name", default="", help="file in benchmarks/results to write, without .json")
    parser.add_argument("--cores", type=int, default=1, help="cores to pin to (default 1)")
    return parser


def some_of(*known: str) -> Callable[[str], list[str]]:
    """Returns the `type` of an option that takes some of these names, separated by commas."""

    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return names

    return parse


def compare(
    contenders: Mapping[str, Callable[[], Any]], rounds: int, least: float = 0.02
) -> dict[str, dict[str, float]]:
    """Times contenders in turn.

    Args:
        contenders: Functions that run once and wait for the result.
        rounds: Number of rounds.
        least: Minimum seconds for a contender in a round.

    Returns:
        Seconds per run by name: `median`, `quartiles` (their distance), and `first`, the first call, which compiles.
    """
    counts, firsts = {}, {}
    for name, run in contenders.items():
        start = time.perf_counter()
        run()
        firsts[name] = time.perf_counter() - start
        run()
        start = time.perf_counter()
        run()
        counts[name] = max(1, round(least / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, run in contenders.items():
                run()  # untimed: caches and memory are in the state left by the previous contender
                start = time.perf_counter()
                for _ in range(counts[name]):
                    run()
                times[name].append((time.perf_counter() - start) / counts[name])
    finally:
        gc.enable()
    return {
        name: {"median": statistics.median(values), "quartiles": _spread(values), "first": firsts[name]}
        for name, values in times.items()
    }


def shared(times: Mapping[str, float], count: float) -> dict[str, float]:
    """Returns the time of one of `count` equal parts of a run; the first call, which compiles, is not divided."""
    return {name: value if name == "first" else value / count for name, value in times.items()}


def line(case: str, times: Mapping[str, Mapping[str, float]]) -> str:
    """Formats the medians of a case in one line, each with its ratio to the first."""
    medians = {name: t["median"] for name, t in times.items()}
    yardstick = next(iter(medians.values()))
    return f"{case:<36} " + "  ".join(f"{name} {1e3 * t:.3f} ms ({t / yardstick:.2f})" for name, t in medians.items())


def machine(cores: int) -> dict[str, Any]:
    """Returns a description of the machine and the versions."""
    import jax

    versions = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", *CUDA, "numpy", "torch", "optax", "equinox", *PEERS):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": cores,
        "device": str(jax.devices()[0].device_kind),
        "platform": jax.default_backend(),
        "runtime": jax.devices()[0].client.platform_version,
        "versions": versions,
        "command": " ".join(["python -m", _module(), *sys.argv[1:]]),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def write(name: str, question: str, cores: int, rows: list[dict[str, Any]], **more: Any) -> Path:
    """Writes results and further values as JSON, for `python -m benchmarks.table`.

    Exits with an error if there are no results, or if the file holds those of another benchmark.
    """
    path = RESULTS / f"{name}.json"
    if not rows:
        sys.exit(f"no case was measured (see --only), so {path} was not written")
    if path.exists():
        other = json.loads(path.read_text())["machine"]["command"].split()[2]
        if other != _module():
            sys.exit(
                f"{path} holds results of {other}, so those of {_module()} were not written: choose another --name"
            )
    RESULTS.mkdir(exist_ok=True)
    content = {"question": question, "machine": machine(cores), "rows": rows} | more
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _spread(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return high - low


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
