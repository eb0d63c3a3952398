"""Declarations to build topologies from: a small one to spoil, and random ones that are all valid."""

import dataclasses
import warnings

from hypothesis import strategies as st

from lddn_jax import Connection, Input, Layer, Topology, TopologyWarning

PARTS = ("inputs", "layers", "connections", "outputs")


def declaration(**changes):
    """A NARX network as keyword arguments of `Topology`, some of them changed."""
    return {
        "inputs": [Input("current", 1), Input("measured", 1)],
        "layers": [Layer("hidden", 3), Layer("position", 1, transfer="linear")],
        "connections": [
            Connection("current", to="hidden", delays=(0, 1)),
            Connection("measured", to="hidden", delays=(1, 2)),
            Connection("hidden", to="position"),
        ],
        "outputs": ["position"],
    } | changes


def quiet(**parts):
    """Builds a topology without warnings of idle parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TopologyWarning)
        return Topology(**parts)


@st.composite
def declarations(draw):
    """Keyword arguments of a valid `Topology`: 1 to 6 layers, any delays, zero ones only forwards."""
    names = draw(st.permutations(["a", "b", "c", "d", "e", "f"]))[: draw(st.integers(1, 6))]
    inputs = [Input(name, draw(st.integers(1, 3))) for name in ("u", "v")[: draw(st.integers(0, 2))]]
    layers = [
        Layer(name, draw(st.integers(1, 3)), draw(st.sampled_from(["tanh", "linear", "relu"])), draw(st.booleans()))
        for name in names
    ]
    sources = [*(i.name for i in inputs), *names]
    sizes = {part.name: part.size for part in (*inputs, *layers)}
    connections = []
    for to in names:
        for source in sources:
            if draw(st.integers(0, 2)) == 0:
                least = 0 if sources.index(source) < sources.index(to) else 1
                delays = draw(st.sets(st.integers(least, 5), min_size=1, max_size=3))
                same_size = sizes[source] == sizes[to]
                kind = draw(st.sampled_from(["dense", "diagonal", "identity"])) if same_size else "dense"
                trained = kind == "identity" or draw(st.integers(0, 3)) > 0
                mask = None
                if kind == "dense" and draw(st.integers(0, 3)) == 0:
                    row = st.lists(st.integers(0, 1), min_size=sizes[source], max_size=sizes[source])
                    mask = draw(st.lists(row, min_size=sizes[to], max_size=sizes[to]))
                connections.append(Connection(source, to, tuple(sorted(delays)), kind, trained, mask))
    read = [c.to for c in connections]
    layers = [
        dataclasses.replace(layer, bias=False, net_input="product")
        if read.count(layer.name) > 1 and draw(st.integers(0, 3)) == 0
        else layer
        for layer in layers
    ]
    outputs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True))
    return {"inputs": inputs, "layers": layers, "connections": connections, "outputs": outputs}
