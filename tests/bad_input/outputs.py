"""Folders where output files should be, long delays on the command line, and networks where topologies are needed."""

import json

import jax

import lddn_jax as lddn

FIT = "fit {csv} --inputs u --targets y"
LINES = {
    "a folder for the network": (
        f"{FIT} --out {{taken_network}}",
        "network.npz is a folder.*Move it, or choose.*--out",
    ),
    "a folder for the results": (f"{FIT} --out {{taken_results}}", "results.json is a folder.*Move it, or choose"),
    "a folder for a comparison": ("compare {csv} --targets y --out {taken_comparison}", "comparison.json is a folder"),
    "a folder for its network": ("compare {csv} --targets y --out {taken_network}", "network.npz is a folder"),
    "delays beyond the record": (f"{FIT} --delays 100000 --out {{folder}}/out", "shorter delays.*--division records"),
    "a check of long delays": ("check {far_delays}", "delays up to 1,900,000,000, and their gradients.*Use shorter"),
}


def rows():
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}), key=jax.random.key(0))
    yield (
        "diagram: of a network",
        (lambda k: lddn.plots.diagram(net), lddn.TopologyError, "diagram takes a Topology. Write net.topology"),
    )


def lines():
    yield from ((f"outputs: {name}", row) for name, row in LINES.items())


def files(folder):
    """Folders that are in the way, and a topology with a long delay."""
    made = {}
    for name in ("network.npz", "results.json", "comparison.json"):
        made[f"taken_{name.partition('.')[0]}"] = taken = folder / f"taken_{name.partition('.')[0]}"
        (taken / name).mkdir(parents=True)
    made["far_delays"] = folder / "far_delays.json"
    layers = [{"name": "y", "size": 100, "transfer": "linear"}]
    connections = [{"source": "u", "to": "y", "delays": [0, 1_900_000_000]}]
    topology = {"inputs": [{"name": "u", "size": 100}], "layers": layers, "connections": connections, "outputs": ["y"]}
    made["far_delays"].write_text(json.dumps(topology))
    return made
