"""How long does a simulation take, and how does that grow with steps, batch, neurons, layers and delays?"""

from benchmarks import harness

if __name__ == "__main__":
    options = harness.arguments(__doc__).parse_args()
    harness.pin(options.cores)

from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp

from benchmarks import figures, peers
from benchmarks.networks import Case, elman


@dataclass(frozen=True)
class Point:
    """Sizes of one measurement; the defaults are the baseline, and one quantity at a time differs from it."""

    steps: int = 1000
    batch: int = 32
    neurons: int = 10
    layers: int = 1
    delays: tuple[int, ...] = (1,)

    def case(self, name: str) -> Case:
        """Returns a network of this size with its data: self-recurrent hidden layers in series."""
        return Case(name, elman(self.neurons, self.delays, self.layers), self.batch, self.steps)


# Functions from size to point, by quantity (… is the size) and by series.
SWEEPS: dict[str, dict[str, dict[int, Point]]] = {
    "steps …": {f"batch {b}": {t: Point(steps=t, batch=b) for t in (100, 1000, 10_000, 100_000)} for b in (32, 1)},
    "batch …": {"": {b: Point(batch=b) for b in (1, 4, 16, 64, 256, 1024)}},
    "neurons …": {"": {n: Point(neurons=n) for n in (4, 8, 16, 32, 64, 128, 256, 512)}},
    "layers …": {"": {k: Point(layers=k) for k in (1, 2, 4, 8, 16)}},
    "delays 1 to …": {"": {d: Point(delays=tuple(range(1, d + 1))) for d in (1, 2, 4, 8, 16, 32, 64)}},
    "delays 1 and …": {"": {d: Point(delays=(1, d)) for d in (2, 10, 50, 250)}},
}


def cases() -> Iterator[tuple[dict, Case]]:
    """Yields all points, each with the labels of its row."""
    for quantity, sweep in SWEEPS.items():
        for series, points in sweep.items():
            for size, point in points.items():
                case = point.case(quantity.replace("…", f"{size:,}") + (f", {series}" if series else ""))
                yield {"case": case.name, "quantity": quantity, "series": series, "size": size}, case


def panels(rows: list[dict]) -> list[figures.Panel]:
    """Returns a panel for each quantity, with a curve for each series and contender."""
    found: dict[str, dict[str, list]] = {}
    for row in rows:
        curves = found.setdefault(row["quantity"], {})
        for contender, seconds in row["seconds"].items():
            name = ", ".join(filter(None, (contender, row["series"])))
            curves.setdefault(name, []).append((row["size"], 1e3 * seconds["median"]))
    return [figures.Panel(quantity, "ms for one run", curves) for quantity, curves in found.items()]


def main(options) -> None:
    rows = []
    for row, case in cases():
        if options.only not in case.name:
            continue
        net, data = case.draw(jnp.float32)
        found = {"predict": peers.predict(net, data), "plain scan": peers.plain_scan_forward(net, data)}
        times = harness.compare({name: peer.run for name, peer in found.items()}, options.rounds)
        peers.agree(found, tolerance=1e-4)  # after timing, so that the first call measured is the one that compiles
        rows.append(row | {"dtype": "float32", "seconds": times})
        print(harness.line(case.name, times), flush=True)
    if options.name:
        path = harness.write(options.name, __doc__, options.cores, rows)
        print("wrote", path, figures.draw(path.with_suffix(".png"), panels(rows)) or "but no figure: no matplotlib")


if __name__ == "__main__":
    main(options)
