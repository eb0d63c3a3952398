"""A network that the user declares, in place of the state spaces of a competition.

It is trained on the same folds, with all restarts drawn by its initializer, and returns a committee as they do. A graph
that reads measured outputs is not for this: it is trained one step ahead and then over growing horizons (`recipes`).
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from lddn_jax.checks import did_you_mean
from lddn_jax.data.fold_blocks import Folds
from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import TopologyError
from lddn_jax.network.initializers import Initializer
from lddn_jax.network.network import Network
from lddn_jax.network.signals import measured_name
from lddn_jax.simulation.delays import DelayState
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology


@dataclasses.dataclass(frozen=True)
class Declared:
    """A declared network as an entry of a competition; see `structures.Structure`.

    Attributes:
        graph: Its topology.
    """

    graph: Topology
    linear = False
    one_step = False

    def topology(self, record: Record) -> Topology:
        """Returns the topology, for any record."""
        return self.graph

    @property
    def alone(self) -> "Declared":
        """What it is trained as."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns the declaration as plain values for `json.dump`."""
        return {"declared": self.graph.to_dict()}

    def __str__(self):
        layers = ", ".join(f"{layer.name}:{layer.size}" for layer in self.graph.layers)
        return f"declared layers {layers}"


@dataclasses.dataclass(frozen=True, eq=False)
class DeclaredStarts:
    """Networks of the folds to start from, drawn at random.

    Attributes:
        folds: The folds, in scaled units.
        init: Initializer of the weights.
    """

    folds: Folds
    init: str | Initializer

    def networks(self, structure: Declared, fold: int, restarts: int, key: PRNGKeyArray, frame: Declared) -> Network:
        """Returns one network of a fold, beside which the trainer draws the others."""
        return Network(structure.graph, key=key, init=self.init, dtype="float64")

    def first_states(
        self, structure: Declared, fold: int, restarts: int, data: Sequences, frame: Declared
    ) -> DelayState:
        """Returns the first states of all sequences, for every network: those that the sequences have."""
        inputs = structure.graph.input_names
        return {name: jnp.asarray(line) for name, line in (data.state or {}).items() if name not in inputs}


def remembers(topology: Topology) -> bool:
    """Whether a layer is read through a delay, so that a sequence has a first state."""
    return any(name not in topology.input_names for name in plan(topology).longest_delays)


def reads_outputs(topology: Topology) -> bool:
    """Whether an output has an input with its measured past, `measured_y`."""
    return any(measured_name(name) in topology.input_names for name in topology.outputs)


def check_signals(topology: Topology, inputs: dict[str, int], targets: dict[str, int]) -> None:
    """Raises a TopologyError unless a network has these inputs and targets, of these sizes."""
    sizes, measured = topology.sizes, {measured_name(name): size for name, size in targets.items()}
    wanted = {"input": inputs, "output": targets}
    own = {
        "input": {name: sizes[name] for name in topology.input_names if name not in measured},
        "output": {name: sizes[name] for name in topology.outputs},
    }
    for kind, given in wanted.items():
        for name in own[kind].keys() - given.keys():
            called = "inputs" if kind == "input" else "targets"
            raise TopologyError(
                f"model: the network has the {kind} {name!r}, which is not among the {called} {list(given)}."
                f"{did_you_mean(name, given)} Name it in {called}, or rename it in the declaration."
            )
        for name, size in given.items():
            if name not in own[kind]:
                raise TopologyError(
                    f"model: the record has the {kind} {name!r}, and the network has {sorted(own[kind])}. "
                    "Declare it, or leave it out."
                )
            if own[kind][name] != size:
                raise TopologyError(
                    f"model: {kind} {name!r} has size {own[kind][name]} in the network and {size} in the record."
                )
    for name in topology.input_names:
        if name in measured and sizes[name] != measured[name]:
            raise TopologyError(
                f"model: input {name!r} has size {sizes[name]}, and the target that it measures {measured[name]}."
            )
