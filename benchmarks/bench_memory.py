"""How much memory do a value and its gradient need, and how does that grow with the number of steps?

Two measures: the bytes that the compiled program asks for beside arguments and results (exact), and the most that a
process has resident, in a fresh process for each point.
"""

from benchmarks import harness

if __name__ == "__main__":
    parser = harness.arguments(__doc__.split("\n")[0])
    parser.add_argument("--steps", default="100,1000,10000,100000,1000000", help="numbers of steps")
    parser.add_argument("--one", default="", help="measure this contender in this process, and print it as JSON")
    parser.add_argument("--float64", action="store_true", help="with --one: double precision")
    options = parser.parse_args()
    harness.pin(options.cores)

import contextlib
import ctypes
import gc
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import lddn_jax as lddn
from benchmarks import figures, peers
from benchmarks.networks import Case, elman

METHODS = {
    "BPTT": lddn.BPTT(),
    'checkpoint="sqrt"': lddn.BPTT(checkpoint="sqrt"),
    "checkpoint=100": lddn.BPTT(checkpoint=100),
    "truncation=100": lddn.BPTT(truncation=100),
    "plain scan": None,
}
NETWORK = elman(10, (1,))  # one sequence of it


def program(contender: str, dtype, steps: int) -> peers.Program:
    """Returns value and gradient of a contender as a program."""
    net, data = Case("", NETWORK, 1, steps).draw(dtype)
    method = METHODS[contender]
    return peers.hand_written(net, data, method) if method else peers.plain_scan(net, data)


def measured(make: Callable[[int], peers.Program], steps: int, rounds: int) -> dict[str, dict[str, float]]:
    """Measures a program in this process, which should be new.

    Args:
        make: Returns the program for a number of steps.
        steps: Number of steps.
        rounds: Rounds of the timing.

    Returns:
        `bytes`: `temporaries` of the program, what the `run` added to the resident memory, and the peak of the whole
        `process`, Python, JAX and compilation included. `seconds` as `harness.compare` has them.
    """
    make(10).run()  # loads libraries that any run needs
    made = make(steps)
    start = time.perf_counter()
    compiled = made.function.lower(*made.arguments).compile()
    compilation = time.perf_counter() - start

    def run():
        return jax.block_until_ready(compiled(*made.arguments))

    run_added, process = resident(run)
    seconds = harness.compare({"run": run}, rounds)["run"]
    temporaries = compiled.memory_analysis().temp_size_in_bytes
    return {
        "bytes": {"temporaries": temporaries, "run": run_added, "process": process},
        "seconds": seconds | {"first": compilation + seconds["first"]},
    }


def resident(run: Callable[[], Any]) -> tuple[int, int]:
    """Returns the largest resident memory in bytes during a run, in addition to that before it, and of the process."""
    highest = _peak()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # pages kept by glibc would hide the memory of a run
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):  # Linux can reset the peak to the current resident memory
        Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    run()
    after = _peak()
    return after - before, max(highest, after)


def _peak() -> int:
    """Returns the peak resident memory; `ru_maxrss` only as a fallback, because on Linux it starts at the parent's."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status)[1])


def in_a_fresh_process(module: str, *arguments: str) -> dict[str, dict[str, float]] | None:
    """Returns the result of `measured` in a new process; None if it failed, for example for lack of memory."""
    command = [sys.executable, "-m", module, *arguments]
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}  # the one arena of glibc that `malloc_trim` empties
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def mebibytes(found: dict[str, dict[str, float]]) -> str:
    """Formats the measurements of a contender in one line."""
    sizes = "  ".join(f"{name} {size / 2**20:.4g}" for name, size in found["bytes"].items())
    return f"MiB: {sizes}  {1e3 * found['seconds']['median']:.3f} ms"


def panels(rows: list[dict]) -> list[figures.Panel]:
    """Returns panels of temporaries and resident memory against steps, in single precision."""
    rows = [row for row in rows if row["dtype"] == "float32"]

    def curves(measure):
        found: dict[str, list] = {contender: [] for contender in METHODS}
        for row in rows:
            for contender, sizes in row["bytes"].items():
                if sizes[measure] > 0:  # a small run may fit into existing pages
                    found[contender].append((row["steps"], sizes[measure]))
        return {contender: points for contender, points in found.items() if points}

    guides = {1.0: "BPTT", 0.5: 'checkpoint="sqrt"'}
    return [
        figures.Panel("steps", "bytes", curves("temporaries"), "temporaries of the program", guides),
        figures.Panel("steps", "bytes", curves("run"), "resident memory that a run adds", guides),
    ]


def main(options) -> None:
    steps = [int(t) for t in options.steps.split(",")]
    exact = {name: program(name, jnp.float32, 1000) for name, m in METHODS.items() if not (m and m.truncation)}
    peers.agree(exact, tolerance=2e-3)
    rows = []
    for dtype, t in [("float32", t) for t in steps] + [("float64", max(steps))]:
        row = {"case": f"{t:,} steps", "dtype": dtype, "steps": t, "bytes": {}, "seconds": {}}
        for contender in METHODS:
            if options.only not in contender:
                continue
            arguments = ["--one", contender, "--steps", str(t), "--rounds", str(options.rounds)]
            arguments += ["--cores", str(options.cores), *["--float64"] * (dtype == "float64")]
            found = in_a_fresh_process("benchmarks.bench_memory", *arguments)
            if found is None:
                print(f"{row['case']:<18} {dtype} {contender:<18} failed", flush=True)
                continue
            for kind, numbers in found.items():
                row[kind][contender] = numbers
            print(f"{row['case']:<18} {dtype} {contender:<18} {mebibytes(found)}", flush=True)
        rows.append(row)
    if options.name:
        path = harness.write(options.name, " ".join(__doc__.split()), options.cores, rows)
        print("wrote", path, figures.draw(path.with_suffix(".png"), panels(rows)) or "but no figure: no matplotlib")


if __name__ == "__main__":
    if options.one:
        jax.config.update("jax_enable_x64", options.float64)
        dtype = jnp.float64 if options.float64 else jnp.float32
        print(json.dumps(measured(partial(program, options.one, dtype), int(options.steps), options.rounds)))
    else:
        main(options)
