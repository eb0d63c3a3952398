"""A network: a topology with its weights and biases, as a pytree.

`IW[to, source]` and `LW[to, source]` are `(delay, to, from)`, or `(delay, size)` if they are diagonal; `b[layer]` is
`(neurons,)`; the topology is static. A
gradient is a Network too, so `gradient.LW["y", "hidden"]` is the derivative with respect to that matrix, and optax,
`jax.vmap` and `equinox.apply_updates` work on networks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from lddn_jax.checks import called, check_key, expect, floating_dtype
from lddn_jax.errors import PrecisionError, ShapeError, TopologyError, shown
from lddn_jax.network import initializers, transfer
from lddn_jax.network.layer_table import layer_table
from lddn_jax.network.signals import as_array, is_traced
from lddn_jax.numerics.connection_product import ConnectionWeights, as_matrices
from lddn_jax.numerics.memory import check_memory
from lddn_jax.topology.topology import Topology, check_topology
from lddn_jax.topology.trained_weights import masks, parameter_count, trained_places

# By (to, source) and by layer. Networks made with `vmap` have leading axes.
Weights: TypeAlias = dict[tuple[str, str], Float[Array, "... delays=_ to=_ from=_"] | Float[Array, "... delays=_ to=_"]]
Biases: TypeAlias = dict[str, Float[Array, "... neurons=_"]]
# The same, as a user may give them.
WeightsGiven: TypeAlias = Mapping[
    tuple[str, str],
    Shaped[ArrayLike, "... delays=_ to=_ from=_"] | Shaped[ArrayLike, "... delays=_ to=_"] | Sequence[Any],
]
BiasesGiven: TypeAlias = Mapping[str, Shaped[ArrayLike, "... neurons=_"] | Sequence[Any]]


class Network(eqx.Module):
    """Weights and biases of a topology.

    Args:
        topology: The declaration.
        key: A JAX key, such as `jax.random.key(0)`; may be left out when `init` is "zeros".
        init: "nguyen-widrow" (for functions with a bounded active range; Glorot elsewhere), "glorot",
            "orthogonal", "uniform", "zeros", or a function; see `lddn_jax.network.initializers`.
        dtype: The dtype of all arrays and of every computation with the network; None: JAX's default float.

    Attributes:
        IW: Input weights by `(to, source)`, each `(delay, to, from)` in the order of the connection's delays, or
            `(delay, size)` if they are diagonal; connections with weights "identity" have none.
        LW: Layer weights by `(to, layer)`, likewise.
        b: Biases by layer, each `(neurons,)`; layers declared with `bias=False` have none.

    Raises:
        TopologyError: If a transfer function or the initializer is unknown or does not suit the topology, or a key is
            missing.
        ShapeError: If a custom initializer returns weights of the wrong names or shapes.
        PrecisionError: If the dtype is float64 while JAX is set to float32.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> topology = Topology([Input("u", 1)], [Layer("y", 2)], [Connection("u", to="y", delays=(0, 3))], ["y"])
        >>> net = Network(topology, key=jax.random.key(0))
        >>> net.IW["y", "u"].shape, net.b["y"].shape
        ((2, 2, 1), (2,))
    """

    topology: Topology = eqx.field(static=True)
    IW: Weights
    LW: Weights
    b: Biases

    def __init__(
        self,
        topology: Topology,
        *,
        key: PRNGKeyArray | None = None,
        init: str | initializers.Initializer = "nguyen-widrow",
        dtype: DTypeLike | None = None,
    ):
        check_topology(topology, "Network(topology, key=..., init=...)")
        initializer = initializers.get(init)
        _check_key(key, initializer)
        if isinstance(initializer, initializers.FromLinear):
            initializer.check([layer.name for layer in topology.layers])
        dtype = _float_dtype(dtype)
        self.topology, self.IW, self.LW, self.b = topology, {}, {}, {}
        transfer.check_known(topology)
        weights = sum(math.prod(shape) for shape in topology.weight_shapes.values())
        _check_fits(topology, weights + sum(layer.size for layer in topology.layers if layer.bias), dtype)
        shapes_into: dict[str, dict[str, tuple[int, int, int]]] = {layer.name: {} for layer in topology.layers}
        for (to, source), (delays, size, *from_) in topology.weight_shapes.items():
            # A neuron with diagonal weights reads one element of its source.
            shape = (delays, size, from_[0]) if from_ else initializers.DiagonalShape((delays, size, 1))
            shapes_into[to][source] = shape
        for layer in topology.layers:
            shapes = shapes_into[layer.name]
            folded = None if key is None else jax.random.fold_in(key, initializers.name_number(layer.name))
            weights, bias = _drawn(initializer, folded, layer, shapes, dtype)
            for source, shape in shapes.items():
                where = self.IW if source in topology.input_names else self.LW
                given = jnp.asarray(weights[source], dtype)
                _check_shape(f"initial weights of {source!r} -> {layer.name!r}", given, shape)
                diagonal = len(topology.weight_shapes[layer.name, source]) == 2
                where[layer.name, source] = where_unmasked(
                    topology, (layer.name, source), given[..., 0] if diagonal else given
                )
            if layer.bias:
                self.b[layer.name] = jnp.asarray(bias, dtype)
                _check_shape(f"initial bias of {layer.name!r}", self.b[layer.name], (layer.size,))

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the network's arrays and of every computation with it."""
        leaves = jax.tree.leaves(self)
        return jnp.result_type(*leaves) if leaves else jnp.result_type(float)

    @property
    def parameter_count(self) -> int:
        """Number of trained weights and biases; of a single network where arrays have batch axes of `vmap`."""
        return parameter_count(self.topology)

    def with_weights(
        self,
        IW: WeightsGiven | None = None,
        LW: WeightsGiven | None = None,
        b: BiasesGiven | None = None,
    ) -> "Network":
        """Returns a network with some arrays replaced.

        Args:
            IW: Some input weights by `(to, source)`, each `(delay, to, from)`.
            LW: Some layer weights by `(to, layer)`, each `(delay, to, from)`.
            b: Some biases by layer.

        Raises:
            ShapeError: If a name is unknown, a shape differs, or a weight is not zero where its mask is.
            DataError: If an array does not hold real numbers.

        Example:
            >>> from lddn_jax import Connection, Input, Layer, Topology
            >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", to="y")], ["y"])
            >>> net = Network(topology, init="zeros").with_weights(b={"y": [0.5]})
            >>> float(net.b["y"][0])
            0.5
        """
        new: dict[str, dict] = {}
        for field, given in (("IW", IW), ("LW", LW), ("b", b)):
            old = getattr(self, field)
            new[field] = dict(old)
            if not isinstance(given, Mapping | None):
                example = f"{{{next(iter(old))!r}: array}}" if old else "{}"
                raise ShapeError(f"{field} is {called(given)}, but must be arrays by name: {field}={example}.")
            for name, value in (given or {}).items():
                if name not in old:
                    raise ShapeError(f"{field}[{name!r}] does not exist in this network; it has {list(old)}.")
                array = as_array(f"{field}[{name!r}]", value, self.dtype)
                _check_shape(f"{field}[{name!r}]", array, old[name].shape)
                if field != "b":
                    pair = cast(tuple[str, str], name)
                    _check_masked(f"{field}[{name!r}]", array, masks(self.topology).get(pair))
                    array = where_unmasked(self.topology, pair, array)
                new[field][name] = array
        return assemble(self.topology, **new)

    def ravel(self) -> tuple[Float[Array, " parameters"], Callable[[Float[Array, " parameters"]], "Network"]]:
        """Returns all parameters as one vector `(parameters,)`, and the function that converts it back.

        Parameters are the weights and biases that are trained, without those that a mask sets to zero; the function
        takes the others from this network.

        Raises:
            ShapeError: If it is several stacked networks.

        The order is the same as in `parameter_names` and on the last axis of every Jacobian.

        Example:
            >>> from lddn_jax import Connection, Input, Layer, Topology
            >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", to="y")], ["y"])
            >>> flat, unravel = Network(topology, init="zeros").ravel()
            >>> float(unravel(flat + 1).b["y"][0])
            1.0
        """
        check_single(self, "net.ravel()", "Map it over them: flat = jax.vmap(lambda net: net.ravel()[0])(nets).")
        if trained_places(self.topology):
            return self._ravel_parameters()
        flat, unravel = ravel_pytree(self)
        return flat.astype(self.dtype), unravel  # without parameters, JAX would return float32

    def parameter_arrays(self) -> list[Any]:
        """Returns the arrays of all parameters; those of a connection that is partly trained are flattened."""
        places = trained_places(self.topology)
        if not places:
            return jax.tree.leaves(self)
        fields = [(pair, w) for blocks in (self.IW, self.LW) for pair, w in sorted(blocks.items())]
        weights = [w.reshape(-1)[places[pair]] if pair in places else w for pair, w in fields]
        return [w for w in weights if w.size] + [self.b[name] for name in sorted(self.b)]

    def _ravel_parameters(self):
        places = trained_places(self.topology)
        flat = jnp.concatenate([jnp.zeros(0, self.dtype), *(array.reshape(-1) for array in self.parameter_arrays())])

        def unravel(flat: Float[Array, " parameters"]) -> "Network":
            start, new = 0, {"IW": dict(self.IW), "LW": dict(self.LW), "b": dict(self.b)}
            for field, blocks in new.items():
                for name, old in sorted(blocks.items()):
                    trained = places.get(name) if field != "b" else None
                    count = old.size if trained is None else len(trained)
                    piece, start = flat[start : start + count], start + count
                    if trained is None:
                        blocks[name] = piece.reshape(old.shape)
                    elif count:
                        blocks[name] = old.reshape(-1).at[trained].set(piece).reshape(old.shape)
            return assemble(self.topology, **new)

        return flat, unravel

    def parameter_names(self) -> list[str]:
        """Returns a readable name for every element of the flat vector, in the order of `ravel`."""
        names = []
        for field, blocks in (("IW", self.IW), ("LW", self.LW)):
            for to, source in sorted(blocks):
                found = [
                    f"{field}[{to!r}, {source!r}] delay {d} {list(place)}"
                    for d in self.topology.delays[to, source]
                    for place in np.ndindex(*self.topology.weight_shapes[to, source][1:])
                ]
                trained = trained_places(self.topology).get((to, source))
                names += found if trained is None else [found[k] for k in trained]
        return names + [f"b[{name!r}] [{i}]" for name in sorted(self.b) for i in range(self.topology.sizes[name])]

    def summary(self) -> str:
        """Returns a table of the layers with their sources and numbers of parameters."""
        return layer_table(self.topology, self.dtype, stack_axes(self))


def assemble(
    topology: Topology, IW: dict[tuple[str, str], Any], LW: dict[tuple[str, str], Any], b: dict[str, Any]
) -> Network:
    """Returns a network, or a gradient, of exactly these arrays, without checks; internal."""
    net = object.__new__(Network)
    for field, value in (("topology", topology), ("IW", dict(IW)), ("LW", dict(LW)), ("b", dict(b))):
        object.__setattr__(net, field, value)
    return net


def where_unmasked(topology: Topology, pair: tuple[str, str], weights: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns weights with zeros where the mask of their connection is 0."""
    mask = masks(topology).get(pair)
    return weights if mask is None else jnp.where(mask, weights, jnp.zeros((), weights.dtype))


def _check_masked(what: str, weights: Float[Array, "..."], mask: Bool[np.ndarray, "delays to from"] | None) -> None:
    if mask is not None and not is_traced(weights):
        others = np.argwhere(np.where(mask, 0, np.asarray(weights)))
        if len(others):
            where = tuple(others[0].tolist())[-3:]
            raise ShapeError(
                f"{what} is not zero at {where} (delay, to, from), where the mask of its connection is 0. Give zero "
                "there, or change the mask."
            )


def _check_fits(topology: Topology, parameters: int, dtype: jnp.dtype) -> None:
    """Raises a TopologyError if the parameters alone take more memory than there is."""
    largest = max(topology.layers, key=lambda layer: layer.size)
    check_memory(
        parameters * dtype.itemsize,
        f"the network has {parameters:,} weights and biases, which",
        f"Use fewer neurons (layer {shown(largest.name)} has {largest.size:,}), inputs or delays.",
        error=TopologyError,
    )


def _check_key(key, initializer):
    if key is None and initializer is not initializers.zeros:
        raise TopologyError(
            "random initial weights need a key: write Network(topology, key=jax.random.key(0)), or init='zeros'."
        )
    if key is not None:
        check_key(key, error=TopologyError)


def stack_axes(net: Network) -> tuple[int, ...]:
    """Returns the leading axes of stacked networks, as `jax.vmap` makes them; () for a single network."""
    for bias in net.b.values():
        return tuple(jnp.shape(bias)[:-1])
    for pair, weights in (net.IW | net.LW).items():
        return tuple(jnp.shape(weights)[: -len(net.topology.weight_shapes[pair])])
    return ()


def matrices(net: Network) -> dict[tuple[str, str], Float[Array, "delays=_ to=_ from=_"]]:
    """Returns the weights of every connection as matrices, also those that are diagonal or the identity."""
    topology = net.topology
    return {
        pair: as_matrices(weights, len(topology.delays[pair]), topology.sizes[pair[0]], net.dtype)
        for pair, weights in connection_weights(net).items()
    }


def connection_weights(net: Network) -> dict[tuple[str, str], ConnectionWeights]:
    """Returns the weights of every connection by `(to, source)`; None for the identity."""
    given = {pair: where_unmasked(net.topology, pair, weights) for pair, weights in (net.IW | net.LW).items()}
    return given | dict.fromkeys(pair for pair in net.topology.delays if pair not in given)


def check_single(net: Network, call: str, fix: str = "", *, mapped: bool = False) -> None:
    """Raises a ShapeError for stacked networks, outside of `jax.vmap`.

    Args:
        net: The network.
        call: The signature shown in the error.
        fix: What to write; by default how to take one of them.
        mapped: Whether the call works under `jax.vmap`, which the error then shows, too.
    """
    axes = stack_axes(net)
    if axes:
        many = " x ".join(map(str, axes))
        first = "Take one, net = jax.tree.map(lambda leaf: leaf[0], nets)"
        fix = fix or first + (f"; or map the call over them: jax.vmap(lambda net: {call})(nets)." if mapped else ".")
        raise ShapeError(f"net is {many} stacked networks, but {call} takes one. {fix}")


def check_network(given: object, call: str, *, several: bool = False, mapped: bool = False) -> None:
    """Raises an LDDNError unless `given` is a network, and a ShapeError if it is several that are not expected.

    Args:
        given: The argument.
        call: The signature shown in the error.
        several: Whether stacked networks are expected.
        mapped: Whether the call works under `jax.vmap`.
    """
    name, fix = type(given).__name__.lower(), ""
    if hasattr(given, "scalers"):
        fix = f"Write {name}.net, in scaled units; or {name}.predict(inputs), in the units of the record."
    elif hasattr(given, "net"):
        fix = f"Write {name}.net."
    elif hasattr(given, "networks"):
        fix = f"Write {name}.member(0) for one of its members, or call it for each of {name}.networks."
    elif isinstance(given, Topology):
        fix = "Write lddn.Network(topology, key=jax.random.key(0))."
    expect(Network, "net", given, call, "a lddn.Network", fix=fix)
    if isinstance(given, Network) and not several:
        check_single(given, call, mapped=mapped)


def _drawn(initializer, key, layer, shapes, dtype) -> tuple[Mapping[str, Any], Any]:
    """Returns the first weights and bias of a layer; each factor of a product is drawn like the sum of a layer."""
    if layer.net_input == "sum":
        return _check_drawn(initializer(key, layer, shapes, dtype), layer, shapes)
    weights: dict[str, Any] = {}
    for source, shape in shapes.items():
        one = {source: shape}
        weights |= _check_drawn(initializer(key, layer, one, dtype), layer, one)[0]
    return weights, None


def _check_drawn(drawn, layer, shapes) -> tuple[Mapping[str, Any], Any]:
    if not (isinstance(drawn, tuple) and len(drawn) == 2 and isinstance(drawn[0], Mapping)):
        raise ShapeError(
            f"the initializer returned {type(drawn).__name__} for layer {layer.name!r}; it must return a tuple "
            f"(weights, bias) with weights[source] for {list(shapes)}."
        )
    missing = [source for source in shapes if source not in drawn[0]]
    if missing:
        raise ShapeError(
            f"the initializer returned no weights for {missing[0]!r} -> {layer.name!r}; it was called with "
            f"shapes for {list(shapes)} and returned {list(drawn[0])}."
        )
    return drawn


def _float_dtype(dtype) -> jnp.dtype:
    if dtype is None:
        return jnp.result_type(float)
    dtype = floating_dtype("Network", dtype, error=PrecisionError)
    if dtype == jnp.float64 and jnp.result_type(float) != jnp.float64:
        raise PrecisionError(
            "dtype=float64 was requested while JAX is set to 32 bits. Put "
            'jax.config.update("jax_enable_x64", True) before the first array is created.'
        )
    return dtype


def _check_shape(what: str, array: Shaped[Array, "..."], shape: tuple[int, ...]):
    if tuple(array.shape) != tuple(shape):
        axes = {2: " (delay, size)", 3: " (delay, to, from)"}.get(len(shape), "")
        raise ShapeError(f"{what}: shape {tuple(array.shape)} was given, {tuple(shape)}{axes} is needed.")
