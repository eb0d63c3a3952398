"""Columns of forward derivatives: the elements x, and which of them each layer can depend on.

x is the flat parameters, in the order of `net.ravel()`, optionally followed by the elements of one delay state. Layer m
depends on a parameter of layer k only if there is a path from k to m, of any delays; for all others ∂a^m/∂x = 0 at all
times. So each layer carries only the columns that it can depend on: in a chain of recurrent layers about half of them,
and none of a read-out layer's in the layers before it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lddn_jax.numerics.contraction import einsum
from lddn_jax.simulation.delays import state_sizes
from lddn_jax.topology.plan import Pair, plan
from lddn_jax.topology.product_factors import factored_topology
from lddn_jax.topology.topology import Topology
from lddn_jax.topology.trained_weights import trained_count, trained_places

AnyArray = TypeVar("AnyArray", Array, np.ndarray)
Key = tuple[str, Any]  # ("IW" or "LW", (to, source)), ("b", layer), ("state", source)


def parameters_of(topology: Topology, pair: Pair, weights: AnyArray, axis: int = -1) -> AnyArray:
    """Returns those of the flattened weights of a connection, on one axis, that are parameters."""
    places = trained_places(topology).get(pair)
    return weights if places is None else weights[(slice(None),) * (axis % weights.ndim) + (places,)]


@dataclass(frozen=True)
class Columns:
    """The elements of x that each layer and input can depend on.

    Attributes:
        widths: Number of elements of every block of parameters or delay state, in the order of x.
        of: The blocks that a layer or input can depend on, in the order of x.
    """

    widths: Mapping[Key, int]
    of: Mapping[str, tuple[Key, ...]]

    @classmethod
    def reaching(cls, topology: Topology, with_state: bool) -> "Columns":
        """Finds the columns by the paths of the topology; factors of products are layers too."""
        topology = factored_topology(topology)
        upstream = plan(topology).upstream
        widths: dict[Key, int] = {}
        enters: dict[Key, frozenset[str]] = {}  # the layers that a block affects directly
        for kind in ("IW", "LW"):
            for to, source in topology.weight_shapes:
                count = trained_count(topology, (to, source))
                if count and (source in topology.input_names) == (kind == "IW"):
                    widths[kind, (to, source)] = count
                    enters[kind, (to, source)] = frozenset([to])
        for layer in sorted(topology.layers, key=lambda layer: layer.name):
            if layer.bias:
                widths["b", layer.name] = layer.size
                enters["b", layer.name] = frozenset([layer.name])
        of: dict[str, tuple[Key, ...]] = {}
        if with_state:
            for name, (longest, size) in sorted(state_sizes(topology).items()):
                widths["state", name] = longest * size
                readers = (to for (to, source), delays in topology.delays.items() if source == name and delays[-1] > 0)
                # A value of the state is also an element of its source's own delay line.
                enters["state", name] = frozenset([*readers, *({name} - topology.input_names)])
        for name in topology.input_names:
            of[name] = (("state", name),) if ("state", name) in widths else ()
        for name, layers in upstream.items():
            of[name] = tuple(key for key in widths if enters[key] & layers)
        return cls(widths, of)

    @property
    def with_state(self) -> bool:
        """Whether x includes a delay state."""
        return any(kind == "state" for kind, _ in self.widths)

    @property
    def count(self) -> int:
        """Number of elements of x."""
        return sum(self.widths.values())

    def width(self, keys: Sequence[Key]) -> int:
        """Returns the number of elements of some blocks."""
        return sum(self.widths[key] for key in keys)

    def moved(
        self, value: Float[Array, "*rows _"], have: Sequence[Key], want: Sequence[Key]
    ) -> Float[Array, "*rows _"]:
        """Converts columns `have` on the last axis to columns `want`, with zeros for missing ones."""
        if tuple(have) == tuple(want):
            return value
        start, places = 0, {}
        for key in have:
            places[key] = value[..., start : start + self.widths[key]]
            start += self.widths[key]
        zeros = {
            key: jnp.zeros((*value.shape[:-1], self.widths[key]), value.dtype) for key in want if key not in places
        }
        pieces = [(places | zeros)[key] for key in want]
        return jnp.concatenate(pieces, axis=-1) if pieces else value[..., :0]

    def all(self, name: str, value: Float[Array, "*rows columns"]) -> Float[Array, "*rows x"]:
        """Converts the columns of a layer to those of all of x."""
        return self.moved(value, self.of[name], tuple(self.widths))

    def own(self, topology: Topology, name: str) -> Float[np.ndarray, "neurons columns"]:
        """Returns ones where ∂ᵉnᵢ^m/∂x is not zero, `(neurons, columns)`; each parameter acts on one neuron."""
        size = topology.sizes[name]
        pieces = []
        for key in self.of[name]:
            kind, where = key
            piece = np.zeros((size, self.widths[key]))
            if kind == "b" and where == name:
                piece = np.eye(size)
            elif kind in ("IW", "LW") and where[0] == name:
                delays, _, *from_ = topology.weight_shapes[where]
                piece = np.tile(np.repeat(np.eye(size), math.prod(from_), axis=1), delays)
                piece = parameters_of(topology, where, piece)
            pieces.append(piece)
        return np.concatenate(pieces, axis=1) if pieces else np.zeros((size, 0))

    def of_all_sequences(
        self,
        rows: Float[Array, "*rows sequences x"],
        trained: Sequence[str],
        sequence: Int[Array, " sequences"],
        count: int,
    ) -> Float[Array, "*rows sequences _"]:
        """Expands columns of each sequence's own delay state to those of the delay states of all sequences.

        Args:
            rows: `(*rows, sequences here, x)`.
            trained: The layers whose delay lines are parameters; the columns of others are dropped.
            sequence: Indices of these sequences among all, `(sequences here,)`.
            count: The number of all sequences.

        Returns:
            `(*rows, sequences here, parameters and, by layer, the delay lines of all sequences)`.
        """
        mine = (sequence[:, None] == jnp.arange(count)[None]).astype(rows.dtype)
        start, pieces = 0, []
        for (kind, where), width in self.widths.items():
            own = rows[..., start : start + width]
            start += width
            if kind != "state":
                pieces.append(own)
            elif where in trained:
                spread = einsum("...bx,bk->...bkx", own, mine)
                pieces.append(spread.reshape(*own.shape[:-1], count * width))
        return jnp.concatenate(pieces, axis=-1)
