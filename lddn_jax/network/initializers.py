"""Initializers of weights and biases, called for one layer at a time.

An initializer gets a layer with the shapes of all connections into it, because the spread that suits a
neuron depends on all elements that it sums. It is a function

    initializer(key, layer, shapes, dtype) -> (weights by source, bias)

with `shapes[source] = (delay, to, from)`; diagonal weights are `(delay, to, 1)`, since a neuron reads one element. Keys
are derived from layer names, so the result does not depend on the order of declaration. Pass the name of an
initializer, or a function, as `Network(..., init=...)`:

    >>> def small(key, layer, shapes, dtype):
    ...     weights, bias = glorot(key, layer, shapes, dtype)
    ...     return {source: 0.1 * w for source, w in weights.items()}, bias
"""

import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from lddn_jax.checks import did_you_mean, is_number
from lddn_jax.errors import TopologyError
from lddn_jax.network import transfer
from lddn_jax.topology.topology import Layer

Shapes = Mapping[str, tuple[int, int, int]]
Drawn: TypeAlias = tuple[dict[str, Float[Array, "delays=_ to=_ from=_"]], Float[Array, " neurons"]]
Initializer: TypeAlias = Callable[[PRNGKeyArray | None, Layer, Shapes, DTypeLike], Drawn]


class DiagonalShape(tuple[int, int, int]):
    """`(delay, size, 1)`, the shape of diagonal weights: neuron k reads element k of the source."""


def zeros(key: PRNGKeyArray | None, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:
    """Sets all weights and biases to zero; needs no key."""
    # Created by NumPy, so that nothing is compiled, also when a file is loaded.
    return {source: _zeros(shape, dtype) for source, shape in shapes.items()}, _zeros((layer.size,), dtype)


def uniform(key: PRNGKeyArray, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:
    """Draws weights and biases uniformly from (−0.5, 0.5)."""

    def draw(source, shape):
        return jax.random.uniform(_key(key, source), shape, dtype, -0.5, 0.5)

    return {source: draw(source, shape) for source, shape in shapes.items()}, draw("", (layer.size,))


def glorot(key: PRNGKeyArray, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:
    """Draws weights uniformly from ±√(6 / (fan in + fan out)), with fan in over all delays and sources; zero biases.

    Glorot & Bengio, AISTATS 2010, eq. 16.
    """
    fan_in = sum(delays * from_ for delays, _, from_ in shapes.values())
    limit = (6.0 / max(fan_in + layer.size, 1)) ** 0.5
    weights = {
        source: jax.random.uniform(_key(key, source), shape, dtype, -limit, limit) for source, shape in shapes.items()
    }
    return weights, jnp.zeros(layer.size, dtype)


def orthogonal(key: PRNGKeyArray, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:
    """Glorot, with orthogonal matrices for the layer's connection to itself, scaled to gain 1 over all its delays.

    Saxe, McClelland & Ganguli, ICLR 2014.
    """
    weights, bias = glorot(key, layer, shapes, dtype)
    delays, size, from_ = shapes.get(layer.name, (0, 0, 1))
    if size == from_:  # diagonal weights are already orthogonal
        drawn = jax.random.orthogonal(_key(key, layer.name), size, (delays,), dtype)
        weights[layer.name] = drawn / delays**0.5
    return weights, bias


def nguyen_widrow(key: PRNGKeyArray, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:
    """Spreads the active regions of the layer's neurons evenly over inputs in [−1, 1].

    With S neurons and R elements summed (over sources and delays), each row of weights has a random direction and the
    length 0.7 S^(1/R); biases are spaced evenly over ± that length, with the sign of the row's first
    weight. Both are then mapped from [−1, 1] to the active range of the transfer function. Layers whose function
    has no bounded active range get Glorot weights.

    Nguyen & Widrow, IJCNN 1990; MATLAB's `initnw`.
    """
    active = transfer.get(layer.transfer).active
    if active is None or not shapes:
        return glorot(key, layer, shapes, dtype)
    width = sum(delays * from_ for delays, _, from_ in shapes.values())
    length = 0.7 * layer.size ** (1.0 / width)
    rows = jnp.concatenate(
        [
            jnp.moveaxis(jax.random.uniform(_key(key, source), shape, dtype, -1.0, 1.0), 0, 1).reshape(layer.size, -1)
            for source, shape in shapes.items()
        ],
        axis=1,
    )
    rows = length * rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    spread = jnp.linspace(-1.0, 1.0, layer.size, dtype=dtype) if layer.size > 1 else jnp.zeros(1, dtype)
    half, middle = (active[1] - active[0]) / 2, (active[1] + active[0]) / 2
    rows, bias = half * rows, half * length * spread * jnp.where(rows[:, 0] < 0, -1, 1).astype(dtype) + middle
    weights, start = {}, 0
    for source, (delays, size, from_) in shapes.items():
        block = rows[:, start : start + delays * from_].reshape(size, delays, from_)
        weights[source] = jnp.moveaxis(block, 1, 0)
        start += delays * from_
    return weights, bias


@dataclass(frozen=True)
class Ignoring:
    """An initializer that gives weight zero to some elements of inputs, and draws the others as if these were absent.

    An element that does not vary in training has a scaled value of zero there, so its weights get no gradient, stay at
    zero, and the network ignores it ever after (MATLAB's `removeconstantrows`).

    Attributes:
        init: The initializer of all other weights.
        elements: The ignored elements by input.
    """

    init: "str | Initializer"
    elements: tuple[tuple[str, tuple[int, ...]], ...]

    def __call__(self, key: PRNGKeyArray | None, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:  # noqa: D102
        ignored = dict(self.elements)
        diagonal = {s for s, shape in shapes.items() if isinstance(shape, DiagonalShape)}
        kept = {
            s: [k for k in range(shape[-1]) if s in diagonal or k not in ignored.get(s, ())]
            for s, shape in shapes.items()
        }
        smaller = {source: (*shapes[source][:-1], len(places)) for source, places in kept.items() if places}
        drawn, bias = get(self.init)(key, layer, smaller, dtype)
        weights = {}
        for source, shape in shapes.items():
            whole = len(kept[source]) == shape[-1]
            weights[source] = drawn[source] if whole else _zeros(shape, dtype)
            if kept[source] and not whole:
                weights[source] = weights[source].at[..., np.array(kept[source])].set(drawn[source])
            if source in diagonal and ignored.get(source):
                weights[source] = weights[source].at[:, np.array(ignored[source])].set(0)
        return weights, bias


@dataclass(frozen=True)
class Gated:
    """An initializer of networks with gates, such as `lddn_jax.models.lstm`, that lets them remember from the start.

    With small weights a gate is open by σ(bias), so what a cell keeps decays with a time constant of 1 / (1 − σ(bias))
    steps. The gates that keep get the bias `forget_bias`; or with `memory` = T the biases of the *chrono*
    initialization, whose time constants are spread evenly from 2 to T steps,

        b_f = log(τ − 1),  τ = 2 + (T − 2) (k + ½) / size for neuron k,        b_i = −b_f

    so that a cell writes as much as it forgets. All other weights and biases are those of `init`.

    Attributes:
        init: Initializer of all weights, and of other biases.
        forget_bias: First bias of the gates that keep.
        memory: The longest time to remember, in steps, for the chrono initialization; None for `forget_bias`.
        keeping: Layers of gates that keep; those with numbers, such as `forget_gate_1`, are meant too.
        writing: Layers of gates that write; only the chrono initialization sets their biases.

    Raises:
        TopologyError: If `forget_bias` is not a number, or `memory` is less than 2.

    Example:
        >>> import lddn_jax as lddn
        >>> topology = lddn.models.lstm({"u": 1}, {"y": 1}, hidden=2)
        >>> lddn.Network(topology, key=jax.random.key(0), init=Gated()).b["forget_gate"].tolist()
        [1.0, 1.0]

    Jozefowicz, Zaremba & Sutskever (2015), ICML, for the bias of 1; Tallec & Ollivier (2018), ICLR, section 2, for the
    chrono initialization, with time constants that they draw at random.
    """

    init: "str | Initializer" = "glorot"
    forget_bias: float = 1.0
    memory: int | None = None
    keeping: tuple[str, ...] = ("forget_gate", "update_gate")
    writing: tuple[str, ...] = ("input_gate",)

    def __post_init__(self):
        if not is_number(self.forget_bias):
            raise TopologyError(f"Gated: forget_bias={self.forget_bias!r} is not a number; write forget_bias=1.0.")
        if self.memory is not None and not is_number(self.memory, at_least=2):
            raise TopologyError(
                f"Gated: memory={self.memory!r} is not a number of steps, at least 2; write memory=200 for what acts "
                "for up to 200 steps."
            )

    def __call__(self, key: PRNGKeyArray | None, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:  # noqa: D102
        weights, bias = get(self.init)(key, layer, shapes, dtype)
        name = layer.name.rstrip("0123456789").removesuffix("_")
        if name in self.keeping:
            return weights, jnp.asarray(self._keeping(layer.size), dtype)
        if name in self.writing and self.memory is not None:
            return weights, jnp.asarray(-self._keeping(layer.size), dtype)
        return weights, bias

    def _keeping(self, size: int) -> Float[np.ndarray, " neurons"]:
        if self.memory is None:
            return np.full(size, self.forget_bias)
        return np.log(1 + (self.memory - 2) * (np.arange(size) + 0.5) / size)


@runtime_checkable
class LinearStart(Protocol):
    """What `FromLinear` starts from, such as a `lddn_jax.linear.LinearModel`; hashable by value."""

    def weights(self) -> Mapping[tuple[str, str], Float[np.ndarray, "delays=_ to=_ from=_"]]:
        """Returns weights by layer and source."""
        ...

    def biases(self) -> Mapping[str, Float[np.ndarray, " neurons"]]:
        """Returns biases by layer."""
        ...


@dataclass(frozen=True)
class FromLinear:
    """An initializer by which a network starts as a linear model.

    Layers that the linear model has get its weights and biases, and weights of zero for all other sources. All other
    layers are hidden; they get the weights and biases of `hidden` times `spread`, so that each neuron is active
    over 1 / `spread` times its range. The weights from hidden layers to layers of the linear model are zero, so the
    network computes what the linear model does, whatever the hidden weights are.

    Attributes:
        linear: A linear model in the units of the network, such as from `lddn_jax.linear.subspace` of scaled records
            for `lddn_jax.models.state_space`, or from `lddn_jax.linear.arx` for `lddn_jax.models.narx`.
        spread: Factor of the weights and biases of hidden layers.
        hidden: Initializer of the hidden layers.

    Raises:
        TopologyError: If `spread` is not positive, a layer or a connection of the linear model is missing in the
            network, or has another size.

    Schoukens & Toth (2020), "On the initialization of nonlinear LFR model identification with the best linear
    approximation", IFAC-PapersOnLine 53(2).
    """

    linear: LinearStart
    spread: float = 0.3
    hidden: "str | Initializer" = "nguyen-widrow"

    def __post_init__(self):
        if not is_number(self.spread, above=0):
            raise TopologyError(f"FromLinear: spread={self.spread!r} is not a positive number; write spread=0.3.")

    def check(self, layers: Collection[str]) -> None:
        """Raises a TopologyError if a network with these layers lacks one of the linear model."""
        needed = dict.fromkeys(to for to, _ in self.linear.weights())
        missing = [name for name in needed if name not in layers]
        if missing:
            raise TopologyError(
                f"FromLinear: the linear model has the layers {list(needed)}, and the network with the layers "
                f"{list(layers)} has no {missing[0]!r}. Declare it with the outputs of the linear model, as "
                "lddn.models.state_space for states or lddn.models.narx for an ARX model."
            )

    def __call__(self, key: PRNGKeyArray | None, layer: Layer, shapes: Shapes, dtype: DTypeLike) -> Drawn:  # noqa: D102
        own = {source: weight for (to, source), weight in self.linear.weights().items() if to == layer.name}
        if not own:
            drawn, bias = get(self.hidden)(key, layer, shapes, dtype)
            factor = jnp.asarray(self.spread, dtype)
            return {source: factor * weight for source, weight in drawn.items()}, factor * bias
        for source, weight in own.items():
            if shapes.get(source) != weight.shape:
                has = f"has weights {shapes[source]}" if source in shapes else "is missing"
                raise TopologyError(
                    f"FromLinear: the connection {source} -> {layer.name} of the network {has}, and that of the linear "
                    f"model has weights {weight.shape}, (delays, to, from). Declare the network with the states and "
                    "delays of the linear model."
                )
        weights = {
            source: jnp.asarray(own[source], dtype) if source in own else _zeros(shape, dtype)
            for source, shape in shapes.items()
        }
        bias = self.linear.biases().get(layer.name)
        return weights, _zeros((layer.size,), dtype) if bias is None else jnp.asarray(bias, dtype)


_INITIALIZERS = {
    "nguyen-widrow": nguyen_widrow,
    "glorot": glorot,
    "orthogonal": orthogonal,
    "uniform": uniform,
    "zeros": zeros,
}


def get(init: str | Initializer) -> Initializer:
    """Returns the initializer of that name; a function is returned unchanged.

    Args:
        init: "nguyen-widrow", "glorot", "orthogonal", "uniform", "zeros", or a function.

    Raises:
        TopologyError: If there is no initializer of that name.
    """
    if callable(init):
        return init
    if not isinstance(init, str) or init not in _INITIALIZERS:
        raise TopologyError(
            f"there is no initializer {init!r}; known are {list(_INITIALIZERS)}.{did_you_mean(init, _INITIALIZERS)}"
        )
    return _INITIALIZERS[init]


def _zeros(shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    return jnp.asarray(np.zeros(shape, dtype), dtype)


def _key(key: PRNGKeyArray, name: str) -> PRNGKeyArray:
    return jax.random.fold_in(key, name_number(name))


def name_number(name: str) -> int:
    """Returns a number for deriving a key from a name, the same on every machine."""
    return zlib.crc32(name.encode())
