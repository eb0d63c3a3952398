"""One half of `bench_gpu`: the measurements on the backend set in the environment."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp

import lddn_jax as lddn
from benchmarks import harness, peers
from benchmarks.networks import Case, closed_narx, elman, ten_layers

FAMILIES = {  # by name: topology and steps
    "Elman delay 1 (64)": (elman, (64, (1,)), 200),
    "closed NARX (10)": (closed_narx, (10,), 100),
    "ten layers": (ten_layers, (), 50),
}
BATCHES, NETWORKS, BATCH_OF_MANY = (1, 8, 64, 512, 4096), (1, 16, 256), 8
TINY_BATCHES, TINY_NETWORKS, TINY_STEPS = (1, 4), (2,), 10


def points(tiny: bool) -> Iterator[tuple[dict, Case]]:
    """Yields all points, each with the labels of its row: `grows` is the varied quantity, `size` its value."""
    for name, (make, arguments, steps) in FAMILIES.items():
        steps = TINY_STEPS if tiny else steps
        family = f"{name}, {steps} steps"
        sizes = [("batch", b) for b in (TINY_BATCHES if tiny else BATCHES)]
        sizes += [("networks", k) for k in (TINY_NETWORKS if tiny else NETWORKS)]
        for grows, size in sizes:
            batch = size if grows == "batch" else BATCH_OF_MANY
            name = f"{family}, batch {batch}" + (f", {size} networks" if grows == "networks" else "")
            case = Case(name, make(*arguments), batch, steps)
            yield {"case": name, "family": family, "grows": grows, "size": size, "dtype": "float32"}, case


def contenders(net: lddn.Network, data: lddn.Sequences, networks: int | None) -> dict[str, peers.Program]:
    """Returns the contenders, BPTT first, for several networks at once, or for one without `vmap`."""
    found = {method.name: peers.hand_written(net, data, method) for method in (lddn.BPTT(), lddn.Autodiff())}
    found["plain scan"] = peers.plain_scan(net, data)
    return found if networks is None else {name: program.many(networks) for name, program in found.items()}


def measure(options) -> None:
    """Pickles the machine, a row for each point, and the results by case and contender.

    A point that fails, for example for lack of device memory, is reported and left out.

    Args:
        options: Of `bench_gpu`; `half` is a name in its HALVES, `to` the file.
    """
    rows, results = [], {}
    found_nothing = options.half != "CPU" and jax.default_backend() == "cpu"
    for row, case in points(options.tiny):
        if found_nothing or options.only not in case.name:
            continue
        try:
            found = contenders(*case.draw(jnp.float32), row["size"] if row["grows"] == "networks" else None)
            if options.bptt_only:
                found = {"BPTT": found["BPTT"]}
            times = harness.compare({name: program.run for name, program in found.items()}, options.rounds)
            results |= {(case.name, name): program.result() for name, program in found.items()}
        except jax.errors.JaxRuntimeError as error:
            print(f"{options.half}: {case.name} failed: {str(error).splitlines()[0]}", flush=True)
            continue
        rows.append(row | {"seconds": times})
        print(f"{options.half}: {harness.line(case.name, times)}", flush=True)
    content = {"machine": harness.machine(options.cores), "rows": rows, "results": results}
    Path(options.to).write_bytes(pickle.dumps(content))
