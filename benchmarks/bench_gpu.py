"""From which batch, or from how many networks at once, is the GPU faster than the CPU beside it?

Each half runs in its own process, so that each has its own default backend and environment. Both compute in full
precision and must agree to a relative 1e-3, except for the TF32 variant. Without a GPU only the CPU half runs, at tiny
sizes, as a test of this program.
"""

import argparse
import math
import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks import harness

TOLERANCE = 1e-3
FULL = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}  # the plain scan would run in TF32 otherwise
# What the environment of each half adds. The first is measured first, and tables divide by its BPTT.
HALVES = {
    "GPU": FULL,
    "CPU": FULL | {"JAX_PLATFORMS": "cpu"},
    "GPU, loops as command buffers": FULL | {"XLA_FLAGS": "--xla_gpu_enable_command_buffer=+WHILE"},
    "GPU, TF32": {"JAX_DEFAULT_MATMUL_PRECISION": "tensorfloat32"},
}
VARIANTS = tuple(HALVES)[2:]  # only BPTT is measured for these


def arguments() -> argparse.ArgumentParser:
    """Returns the options of the user, and the internal ones for running one half."""
    parser = harness.arguments(__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing written")
    for name in ("--half", "--to"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    for name in ("--tiny", "--bptt-only"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(cores=_all_cores())
    return parser


def run_half(name: str, options, folder: str, tiny: bool) -> dict | None:
    """Measures one half in a new process; returns None if there is no such device or the process failed."""
    environment = os.environ | HALVES[name]
    if "XLA_FLAGS" in HALVES[name]:
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {HALVES[name]['XLA_FLAGS']}".strip()
    to = Path(folder) / "half"
    to.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.bench_gpu", "--half", name, "--to", str(to), "--only", options.only]
    command += ["--cores", str(options.cores), "--rounds", str(min(options.rounds, 2) if tiny else options.rounds)]
    command += ["--tiny"] * tiny + ["--bptt-only"] * (name in VARIANTS)
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode or not to.exists():
        print(f"The half {name!r} failed with exit status {done.returncode}.", flush=True)
        return None
    half = pickle.loads(to.read_bytes())
    return half if name == "CPU" or half["machine"]["platform"] != "cpu" else None


def crossover(cpu: Mapping[float, float], gpu: Mapping[float, float]) -> float | None:
    """Returns the size from which on the GPU is faster.

    Between two measured sizes the logarithm of cpu/gpu is taken to be linear in that of the size.

    Args:
        cpu: Seconds by size.
        gpu: Seconds by size.

    Returns:
        The size; the smallest measured if the GPU is always faster; None if it is not at the largest.

    Example:
        >>> crossover({1: 1.0, 100: 100.0}, {1: 10.0, 100: 10.0})  # rises with the batch, and is steady
        10.0
    """
    sizes = sorted(cpu.keys() & gpu.keys())
    leads = [math.log(cpu[size] / gpu[size]) for size in sizes]
    if not sizes or leads[-1] <= 0:
        return None
    behind = [k for k, lead in enumerate(leads) if lead <= 0]
    if not behind:
        return sizes[0]
    k = behind[-1]
    share = leads[k] / (leads[k] - leads[k + 1])
    return round(sizes[k] * (sizes[k + 1] / sizes[k]) ** share, 6)


def crossovers(rows: list[dict]) -> list[dict]:
    """Returns the crossover by contender, for each family and growing quantity."""
    found = []
    for family, grows in dict.fromkeys((row["family"], row["grows"]) for row in rows):
        mine = [row for row in rows if (row["family"], row["grows"]) == (family, grows)]
        gpu, cpu = (_by_contender(mine, half) for half in ("GPU", "CPU"))
        sizes = {contender: crossover(cpu[contender], gpu[contender]) for contender in gpu if contender in cpu}
        found.append({"family": family, "grows": grows, "from": sizes})
    return found


def merge(halves: Mapping[str, dict]) -> list[dict]:
    """Returns a row for each case: seconds by half and contender, and the difference from the CPU's gradient."""
    from benchmarks.peers import (
        difference,
    )  # only now: this process keeps off JAX, and so off the GPU, until all is run

    rows: dict[str, dict] = {}
    by_cpu = halves["CPU"]["results"] if "CPU" in halves else {}
    for half, content in halves.items():
        for row in content["rows"]:
            merged = rows.setdefault(row["case"], row | {"seconds": {}, "difference": {}})
            for contender, seconds in row["seconds"].items():
                merged["seconds"][f"{contender} on {half}"] = seconds
                key = row["case"], contender
                if half != "CPU" and key in by_cpu:
                    parts = zip(by_cpu[key], content["results"][key], strict=True)
                    merged["difference"][f"{contender} on {half}"] = float(np.max([difference(*p) for p in parts]))
    return list(rows.values())


def disagreements(rows: list[dict]) -> Iterator[str]:
    """Yields the gradients that differ from the CPU's by more than the tolerance, without the TF32 variant."""
    for row in rows:
        for name, apart in row["difference"].items():
            if "TF32" not in name and not apart <= TOLERANCE:
                yield f"{row['case']}: {name} differs from the CPU by a relative {apart:.1e}"


def main(options) -> int:
    """Runs the benchmark; returns 1 if gradients disagree or there are none of the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        gpu = run_half("GPU", options, folder, options.smoke)
        if gpu is None:
            print("No GPU to compare with. The CPU half follows at tiny sizes, as a test of this program.", flush=True)
            run_half("CPU", options, folder, tiny=True)
            return 0
        names = [n for n in HALVES if n != "GPU" and (n not in VARIANTS or gpu["machine"]["platform"] == "gpu")]
        halves = {"GPU": gpu} | {name: run_half(name, options, folder, options.smoke) for name in names}
    halves = {name: half for name, half in halves.items() if half is not None}
    rows = merge(halves)
    for found in crossovers(rows):
        print(f"{found['family']}, {found['grows']}: the GPU is faster from {found['from']} on")
    wrong = list(disagreements(rows)) if "CPU" in halves else ["The gradients were not compared: no CPU half."]
    print("\n".join(wrong) or f"All gradients agree with the CPU's to a relative {TOLERANCE:g}, TF32 aside.")
    if not options.smoke:
        name = options.name or "gpu_" + re.sub(r"\W+", "_", gpu["machine"]["device"]).strip("_").lower()
        machines = {half: content["machine"] | {"environment": HALVES[half]} for half, content in halves.items()}
        more = {"crossover": crossovers(rows), "tolerance": TOLERANCE, "halves": machines}
        print("wrote", harness.write(name, " ".join(__doc__.split("\n\n")[0].split()), options.cores, rows, **more))
    return int(bool(wrong))


def _by_contender(rows: list[dict], half: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        for name, seconds in row["seconds"].items():
            contender, _, where = name.partition(" on ")
            if where == half:
                found.setdefault(contender, {})[row["size"]] = seconds["median"]
    return found


def _all_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    options = arguments().parse_args()
    harness.pin(options.cores)
    if options.half:
        from benchmarks import gpu_half

        gpu_half.measure(options)
    else:
        sys.exit(main(options))
