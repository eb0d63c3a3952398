"""Structures of a nonlinear state space that compete by their out-of-fold error, and the networks that start them.

Every structure contains the linear model: half of its restarts start as one, with hidden weights drawn at
random, and the others are drawn wholly at random, because an even nonlinearity has no linear start. The linear model of
each fold is identified without the blocks of the fold.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from lddn_jax import models
from lddn_jax.data.fold_blocks import Folds
from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import LDDNError
from lddn_jax.identification.declared import Declared
from lddn_jax.identification.frames import masked
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.moesp import subspace
from lddn_jax.linear.network_weights import STATE
from lddn_jax.losses import error_weights
from lddn_jax.network.initializers import FromLinear
from lddn_jax.network.network import Network
from lddn_jax.network.signals import Signals
from lddn_jax.simulation.delays import DelayState
from lddn_jax.topology.topology import Topology

FEWEST_WITH_RANDOM = 4  # restarts
SHARE_AT_RANDOM = 0.5  # of the restarts
SAMPLES_OF_A_FIRST_STATE = 400  # at most, that the first state of a sequence is estimated from
LARGEST_RADIUS = 0.9995  # of the poles of a linear start


@dataclasses.dataclass(frozen=True, order=True)
class Structure:
    """Sizes of a network of `lddn_jax.models.state_space`, ordered by their number of states, then of neurons.

    Attributes:
        states: Number of states.
        hidden: Neurons of the state equation.
        output_hidden: Neurons of the output equation.
        feedthrough: Whether inputs act on outputs without delay.
        one_step: Whether networks start from ones that were fitted one step ahead, and not from linear models and at
            random; see `one_step_starts`.
    """

    states: int
    hidden: int
    output_hidden: int
    feedthrough: bool = False
    one_step: bool = False

    def topology(self, record: Record) -> Topology:
        """Returns the topology for the inputs and targets of a record."""
        sizes = record.sizes
        return models.state_space(
            sizes["inputs"],
            sizes["targets"],
            states=self.states,
            hidden=self.hidden,
            output_hidden=self.output_hidden,
            feedthrough=self.feedthrough,
        )

    @property
    def alone(self) -> "Structure":
        """What it is trained as without others in its frame."""
        return dataclasses.replace(self, one_step=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the sizes as plain values for `json.dump`."""
        return dataclasses.asdict(self)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of the layers by name, 0 for layers that it does not have."""
        return {STATE: self.states, "hidden": self.hidden, "output_hidden": self.output_hidden}

    @property
    def linear(self) -> bool:
        """Whether there is no hidden layer."""
        return not self.hidden and not self.output_hidden

    def __str__(self):
        parts = [f"{self.states} state" + ("s" if self.states > 1 else "")]
        parts += [f"{self.hidden} hidden"] if self.hidden else []
        parts += [f"{self.output_hidden} hidden at the output"] if self.output_hidden else []
        parts += ["feedthrough"] if self.feedthrough else []
        parts += ["linear"] if self.linear else []
        return ", ".join([*parts, *(["started one step ahead"] if self.one_step else [])])


Tried: TypeAlias = Structure | Declared


def common_frame(structures: Sequence[Structure]) -> Structure:
    """Returns the smallest structure that contains all of these.

    Raises:
        LDDNError: If some have a feedthrough and others have none.
    """
    if len({s.feedthrough for s in structures}) > 1:
        raise LDDNError(
            "common_frame: structures with and without a feedthrough were given, and a feedthrough of zero would be "
            "trained. Make a frame of each."
        )
    return Structure(
        max(s.states for s in structures),
        max(s.hidden for s in structures),
        max(s.output_hidden for s in structures),
        structures[0].feedthrough,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class LinearStarts:
    """Linear models of the folds, and one of all records, of each number of states.

    Attributes:
        folds: The folds, in scaled units.
        feedthrough: Whether models have a feedthrough.
        constant: Elements of inputs that do not vary, by input; networks ignore them.
    """

    folds: Folds
    feedthrough: bool = False
    constant: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def _known(self) -> dict[tuple[int, int | None], LinearModel]:
        return {}

    def model(self, states: int, fold: int | None) -> LinearModel:
        """Returns the linear model of the training stretches of a fold, or of all records (None), with stable poles."""
        if (states, fold) not in self._known:
            records = list(self.folds.records) if fold is None else self.folds.training(fold)
            found = subspace(records, states, feedthrough=self.feedthrough, stabilize=True)
            slow = np.abs(found.poles).max(initial=0) >= LARGEST_RADIUS
            self._known[states, fold] = found.stabilized(LARGEST_RADIUS) if slow else found
        return self._known[states, fold]

    def networks(
        self, structure: Structure, fold: int | None, restarts: int, key: PRNGKeyArray, frame: Structure | None = None
    ) -> Network:
        """Returns the networks of a fold to start from, stacked if there are several, in the frame if there is one."""
        frame = structure if frame is None else frame
        topology = frame.topology(self.folds.records[0])
        given = self._padded(structure, fold, frame)
        if restarts == 1 and frame.linear:  # nothing to draw, so nothing to compile
            return masked(
                Network(topology, init=FromLinear(_Given(*given)), key=key, dtype="float64"),
                structure.sizes,
                self.constant,
            )
        linear, random = _drawn(topology, jax.random.split(key, restarts), *given)
        from_linear = np.arange(restarts) < restarts - at_random(restarts)

        def chosen(a, b):
            found = np.where(from_linear.reshape(-1, *(1,) * (a.ndim - 1)), np.asarray(a), np.asarray(b))
            return found if restarts > 1 else found[0]

        return masked(jax.tree.map(chosen, linear, random), structure.sizes, self.constant)

    def _padded(self, structure: Structure, fold: int | None, frame: Structure) -> tuple[Mapping, Mapping]:
        """Weights and biases of a linear model, with as many states as the frame."""
        more = frame.states - structure.states
        linear, ends = self.model(structure.states, fold), {STATE: more}
        weights = {
            (to, source): np.pad(weight, ((0, 0), (0, ends.get(to, 0)), (0, ends.get(source, 0))))
            for (to, source), weight in linear.weights().items()
        }
        return weights, {name: np.pad(bias, (0, ends.get(name, 0))) for name, bias in linear.biases().items()}

    def first_states(
        self, structure: Structure, fold: int | None, restarts: int, data: Sequences, frame: Structure | None = None
    ) -> DelayState:
        """Returns the first states of all sequences: those of the linear model, and zeros for networks at random."""
        found = first_states_of(self.model(structure.states, fold), data)
        found = np.pad(found, ((0, 0), (0, (frame or structure).states - structure.states)))
        if restarts == 1:
            return {STATE: jnp.asarray(found[:, None])}
        linear = (np.arange(restarts) < restarts - at_random(restarts))[:, None, None, None]
        return {STATE: jnp.asarray(np.where(linear, found[:, None], 0.0))}


@dataclasses.dataclass(frozen=True, eq=False)
class _Given:
    """Weights and biases of a linear model."""

    of_weights: Mapping[tuple[str, str], Any]
    of_biases: Mapping[str, Any]

    def weights(self) -> Mapping[tuple[str, str], Any]:
        return self.of_weights

    def biases(self) -> Mapping[str, Any]:
        return self.of_biases


# Optimizing the program would take longer than all of its calls.
@functools.partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def _drawn(
    topology: Topology, keys: Key[Array, " restarts"], weights: Mapping, biases: Mapping
) -> tuple[Network, Network]:
    """Networks that start as a linear model and networks drawn at random, one of each for every key."""

    def one(key):
        random = Network(topology, key=key, dtype="float64")

        def as_drawn(key, layer, shapes, dtype):  # once for both, since drawing takes long to compile
            weights = random.IW | random.LW
            return {source: weights[layer.name, source] for source in shapes}, random.b[layer.name]

        start = FromLinear(_Given(weights, biases), hidden=as_drawn)
        return Network(topology, key=key, init=start, dtype="float64"), random

    return jax.vmap(one)(keys)


def at_random(restarts: int) -> int:
    """Number of the restarts that are drawn wholly at random."""
    return round(SHARE_AT_RANDOM * restarts) if restarts >= FEWEST_WITH_RANDOM else 0


def first_states_of(linear: LinearModel, data: Sequences) -> Float[np.ndarray, "sequences states"]:
    """Estimates the states before the first step of each sequence from the first targets that have weight.

    Args:
        linear: A linear model in the units of the sequences.
        data: Sequences whose delay state holds the last inputs before the first step.
    """
    inputs = {name: np.asarray(signal) for name, signal in cast(Signals, data.inputs or {}).items()}
    targets = {name: np.asarray(signal) for name, signal in cast(Signals, data.targets).items()}
    weights = {name: np.asarray(w) for name, w in error_weights(data.weights, targets).items()}
    before = {name: np.asarray(line)[:, -1:] for name, line in dict(data.state or {}).items()}
    steps = min(data.steps, SAMPLES_OF_A_FIRST_STATE)
    found = np.zeros((data.batch[0], linear.states))
    for k in range(data.batch[0]):
        y = {
            name: np.where(weights[name][k, :steps] > 0, target[k, :steps], np.nan) for name, target in targets.items()
        }
        if all(np.isnan(line).all() for line in y.values()):
            continue
        u = {
            name: np.concatenate([before.get(name, signal[:, :1])[k], signal[k, :steps]])
            for name, signal in inputs.items()
        }
        gap = {name: np.full((1, line.shape[1]), np.nan) for name, line in y.items()}
        record = Record(u, {name: np.concatenate([gap[name], line]) for name, line in y.items()}, missing="mask")
        found[k] = linear.first_states(record)[0]
    return found
