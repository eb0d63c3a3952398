"""How fast is the hand-written Jacobian, and how much memory do the sums take that Levenberg-Marquardt makes of it?

The Jacobian ∂(outputs)/∂(parameters) by real-time recurrent learning, compared with JAX on a plain scan; then JᵀJ, Jᵀe
and eᵀe, summed over the record as in `gauss_newton`, compared with the products of a stored Jacobian; and the same on a
long record, in a new process for each contender.
"""

from benchmarks import harness

if __name__ == "__main__":
    parser = harness.arguments(__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing written")
    parser.add_argument("--steps", type=int, default=200_000, help="steps of the long record (default 200000)")
    parser.add_argument("--one", default="", help="measure this contender in this process, and print it as JSON")
    options = parser.parse_args()
    harness.pin(options.cores)

import dataclasses
import json
import math
import sys

import jax
import jax.numpy as jnp

import lddn_jax as lddn
from benchmarks import bench_memory, peers
from benchmarks.networks import Case, closed_narx, elman

CASES = (
    Case("Elman delay 1 (10, 1, 4000)", elman(10, (1,)), 1, 4000),
    Case("Elman delays 1, 2 (10, 1, 4000)", elman(10, (1, 2)), 1, 4000),
    Case("closed NARX (20, 1, 4000)", closed_narx(20), 1, 4000),
    Case("three recurrent layers (5, 1, 1000)", elman(5, (1,), layers=3), 1, 1000),
    Case("Elman delay 1 (10, 1, 200)", elman(10, (1,)), 1, 200),
    Case("closed NARX (20, 1, 200)", closed_narx(20), 1, 200),
)
# Backward methods take a pullback, through all steps before, for each of the record's elements.
SHORT = 1000
LONG = closed_narx(20)  # 121 parameters
LIMIT = 2**30  # bytes that a process may hold which sums over the long record
SUMS = {
    "gauss_newton": peers.gauss_newton,
    "dense, RTRL": peers.dense_gauss_newton,
    "dense, jacfwd of a plain scan": peers.plain_scan_gauss_newton,
}


def jacobians(net: lddn.Network, data: lddn.Sequences) -> dict[str, peers.Program]:
    """Returns the contenders; RTRL comes first, because tables divide by it."""
    found = {method.name: peers.jacobian(net, data, method) for method in (lddn.RTRL(), lddn.Autodiff())}
    found["jacfwd of a plain scan"] = peers.plain_scan_jacobian(net, data)
    if data.steps <= SHORT:
        found["BPTT"] = peers.jacobian(net, data, lddn.BPTT())
        found["jacrev of a plain scan"] = peers.plain_scan_jacobian(net, data, jax.jacrev)
    return found


def sums(net: lddn.Network, data: lddn.Sequences) -> dict[str, peers.Program]:
    """Returns the contenders; the sums over the record come first."""
    return {name: make(net, data) for name, make in SUMS.items()}


def long_name(steps: int) -> str:
    """Returns the name of the long record in tables."""
    return f"closed NARX (20, 1, {steps}), a process each"


def on_a_long_record(options) -> dict:
    """Returns a row: time and memory of each contender, in its own process."""
    row = {"case": long_name(options.steps), "dtype": "float64"}
    row |= {"each": "JᵀJ, Jᵀe and eᵀe", "bytes": {}, "seconds": {}}
    for name in SUMS:
        arguments = ["--one", name, "--steps", str(options.steps), "--cores", str(options.cores)]
        arguments += ["--rounds", str(min(options.rounds, 5))]
        found = bench_memory.in_a_fresh_process("benchmarks.bench_jacobian", *arguments)
        if found is None:
            print(f"{row['case']} {name}: failed", flush=True)
            continue
        row["bytes"][name], row["seconds"][name] = found["bytes"], found["seconds"]
        print(f"{row['case']} {name:<32} {bench_memory.mebibytes(found)}", flush=True)
    return row


def main(options) -> int:
    """Runs the benchmark; returns 1 if the sums over the long record exceed the memory limit."""
    if options.smoke:
        options.rounds, options.steps = 1, 1000
    rows = []
    for each, make in (("one Jacobian", jacobians), ("JᵀJ, Jᵀe and eᵀe", sums)):
        for case in CASES:
            if options.only not in case.name:
                continue
            if options.smoke:
                case = dataclasses.replace(case, steps=case.steps // 20)
            net, data = case.draw(jnp.float64)
            found = make(net, data)
            times = harness.compare({name: peer.run for name, peer in found.items()}, options.rounds)
            peers.agree(found, 1e-9)  # after timing, so that the first call measured is the one that compiles
            name = f"{case.name}, P = {net.parameter_count}"
            rows.append({"case": name, "dtype": "float64", "each": each, "seconds": times})
            print(harness.line(name, times), flush=True)
    long = [on_a_long_record(options)] if options.only in long_name(options.steps) else []
    taken = [row["bytes"].get("gauss_newton", {}).get("process", math.inf) for row in long]
    for size in taken:
        print(f"gauss_newton took {size / 2**20:.0f} of the {LIMIT / 2**20:.0f} MiB that it may take")
    if options.name and not options.smoke:
        question = " ".join(__doc__.split())
        limits = {"gauss_newton": LIMIT}
        print("wrote", harness.write(options.name, question, options.cores, rows + long, limits=limits))
    return int(any(size > LIMIT for size in taken))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    if options.one:

        def make(steps: int) -> peers.Program:
            return SUMS[options.one](*Case("", LONG, 1, steps).draw(jnp.float64))

        print(json.dumps(bench_memory.measured(make, options.steps, options.rounds)))
    else:
        sys.exit(main(options))
