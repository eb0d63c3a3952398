"""Topology of a network: its inputs, layers, connections with their delays, and outputs.

A Layered Digital Dynamic Network is a set of layers joined by connections, each with its own tapped
delay line (De Jesús & Hagan, IEEE Transactions on Neural Networks 18(1), 2007, eq. 1-2):

    n^m(t) = Σ_l Σ_{d ∈ DL_{m,l}} LW^{m,l}(d) a^l(t−d) + Σ_l Σ_{d ∈ DI_{m,l}} IW^{m,l}(d) p^l(t−d) + b^m
    a^m(t) = f^m(n^m(t))

or, with `net_input="product"`, n^m(t) is the elementwise product of what its connections contribute.

A topology is data: frozen, hashable, and equal by value regardless of the order of declaration. It is validated when it
is created, so that all other code can rely on it. Methods for editing return a new topology.
"""

import functools
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lddn_jax.checks import expect
from lddn_jax.errors import TopologyError, shown
from lddn_jax.topology.parts import Connection, Input, Layer, Mask, as_data, check_keys, items, unknown
from lddn_jax.topology.validation import TopologyWarning, check, warn_of_idle_parts

__all__ = ["Connection", "Input", "Layer", "Topology", "TopologyError", "TopologyWarning"]


@dataclass(frozen=True, eq=False)
class Topology:
    """Inputs, layers, connections and outputs of a network.

    Two topologies are equal if they declare the same parts, in any order; the order of declaration only
    determines the order in `summary()` and in figures.

    Args:
        inputs: The external signals; may be empty (an autonomous network).
        layers: The layers, at least one.
        connections: The connections, at most one for each pair (to, source); it has a list of delays.
        outputs: Names of the output layers, at least one. Any layer may be an output.

    Raises:
        TopologyError: If the declaration does not describe a network that can run. The message names the
            layers and the fix.

    Warns:
        TopologyWarning: If no path leads from a layer or input to an output, or from any input to a layer.

    Example:
        >>> topology = Topology(
        ...     inputs=[Input("u", 1)],
        ...     layers=[Layer("hidden", 3), Layer("y", 1, transfer="linear")],
        ...     connections=[
        ...         Connection("u", to="hidden", delays=(0, 1)),
        ...         Connection("y", to="hidden", delays=(1, 2)),
        ...         Connection("hidden", to="y"),
        ...     ],
        ...     outputs=["y"],
        ... )
        >>> topology == Topology.from_dict(topology.to_dict())
        True

    De Jesús & Hagan (2007), section II; Hagan et al., *Neural Network Design*, 2nd ed., ch. 14.
    """

    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    connections: tuple[Connection, ...]
    outputs: tuple[str, ...]

    def __init__(
        self,
        inputs: Iterable[Input],
        layers: Iterable[Layer],
        connections: Iterable[Connection],
        outputs: Iterable[str],
    ):
        for field, given, kind in (
            ("inputs", inputs, Input),
            ("layers", layers, Layer),
            ("connections", connections, Connection),
            ("outputs", outputs, str),
        ):
            object.__setattr__(self, field, items(field, given, kind))
        declared = self.inputs, self.layers, self.connections, self.outputs
        check(*declared)
        warn_of_idle_parts(*declared)

    def __eq__(self, other):
        return isinstance(other, Topology) and self._canonical == other._canonical

    def __hash__(self):
        return self._hash

    def __getstate__(self):
        # Without cached values: hashes of strings differ between processes.
        return {field: getattr(self, field) for field in self.__dataclass_fields__}

    @functools.cached_property
    def _canonical(self) -> tuple:
        return (
            frozenset(self.inputs),
            frozenset(self.layers),
            frozenset(self.connections),
            frozenset(self.outputs),
        )

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self._canonical)

    @functools.cached_property
    def sizes(self) -> dict[str, int]:
        """Number of elements of every input and layer, by name."""
        return {node.name: node.size for node in (*self.inputs, *self.layers)}

    @functools.cached_property
    def input_names(self) -> frozenset[str]:
        """Names of the inputs."""
        return frozenset(i.name for i in self.inputs)

    @functools.cached_property
    def delays(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """Delays of every connection, by `(to, source)`, sorted by that pair."""
        return {pair: c.delays for pair, c in self.connected.items()}

    @functools.cached_property
    def connected(self) -> dict[tuple[str, str], Connection]:
        """The connections by `(to, source)`, sorted by that pair."""
        return {(c.to, c.source): c for c in sorted(self.connections, key=lambda c: (c.to, c.source))}

    @functools.cached_property
    def weight_shapes(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """Shapes of the weights by `(to, source)`: `(delay, to, from)`, or `(delay, size)` if they are diagonal.

        Connections with "identity" have no weights.
        """
        return {
            pair: (len(c.delays), self.sizes[c.to], *((self.sizes[c.source],) if c.weights == "dense" else ()))
            for pair, c in self.connected.items()
            if c.weights != "identity"
        }

    def layer(self, name: str) -> Layer:
        """Returns the layer with that name.

        Raises:
            TopologyError: If there is no such layer; the message lists all layers and the closest name.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise TopologyError(unknown("layer", name, [layer.name for layer in self.layers]))

    def with_connection(
        self,
        source: str,
        to: str,
        delays: tuple[int, ...] = (0,),
        weights: str = "dense",
        *,
        trained: bool = True,
        mask: Mask | None = None,
    ) -> "Topology":
        """Returns a topology with one more connection.

        Args:
            source: Name of the source, an input or a layer.
            to: Name of the target layer.
            delays: Delays of the new connection, ascending.
            weights: "dense", "diagonal" or "identity"; see `Connection`.
            trained: Whether the weights are parameters.
            mask: 0 where weights are zero and no parameters; see `Connection`.

        Raises:
            TopologyError: If the pair is already connected (use `with_delays`), or the result is not a valid network.

        Example:
            >>> fir = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", "y")], ["y"])
            >>> print(fir.with_connection("y", to="y", delays=(1, 2)).connections[-1])
            y -> y delay 1, 2
        """
        if (to, source) in self.delays:
            raise TopologyError(
                f"with_connection: {source!r} -> {to!r} exists already, with delays {self.delays[to, source]}. Write "
                f"topology.with_delays({source!r}, {to!r}, ...) with all its delays."
            )
        return replace(self, connections=(*self.connections, Connection(source, to, delays, weights, trained, mask)))

    def without_connection(self, source: str, to: str) -> "Topology":
        """Returns a topology without a connection; see `with_connection` for the arguments.

        Raises:
            TopologyError: If there is no such connection.
        """
        self._check_connected("without_connection", source, to)
        return replace(self, connections=[c for c in self.connections if (c.to, c.source) != (to, source)])

    def with_delays(self, source: str, to: str, delays: tuple[int, ...]) -> "Topology":
        """Returns a topology in which a connection has other delays; see `with_connection` for the arguments.

        Raises:
            TopologyError: If there is no such connection, or the result is not a valid network.

        Example:
            >>> fir = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", "y")], ["y"])
            >>> print(fir.with_delays("u", "y", (0, 1, 2)).connections[0])
            u -> y delay 0, 1, 2
        """
        self._check_connected("with_delays", source, to)
        new = replace(self.connected[to, source], delays=delays)
        return replace(self, connections=[new if (c.to, c.source) == (to, source) else c for c in self.connections])

    def with_layer(self, layer: Layer, connections: Iterable[Connection] = ()) -> "Topology":
        """Returns a topology with one more layer and the connections that join it to other layers.

        A layer of the same name is replaced and keeps its connections; this changes a size, a transfer function or a
        bias.

        Args:
            layer: The new layer.
            connections: Connections to add; a new layer needs some to have an effect.

        Raises:
            TopologyError: If an input has that name, or the result is not a valid network.

        Example:
            >>> fir = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", "y")], ["y"])
            >>> fir.with_layer(Layer("y", 1, "linear")).layer("y").transfer
            'linear'
            >>> deeper = fir.with_layer(Layer("h", 3), [Connection("u", "h"), Connection("h", "y", (1,))])
            >>> print(*deeper.connections, sep="; ")
            u -> y delay 0; u -> h delay 0; h -> y delay 1
        """
        if not isinstance(layer, Layer):
            raise TopologyError(
                f"with_layer: {layer!r} is not a Layer. Write with_layer(Layer({layer!r}, size), connections)."
            )
        names = [known.name for known in self.layers]
        layers = [layer if known.name == layer.name else known for known in self.layers]
        layers += [] if layer.name in names else [layer]
        return replace(self, layers=layers, connections=(*self.connections, *connections))

    def without_layer(self, name: str) -> "Topology":
        """Returns a topology without a layer and without its connections; it is also removed from the outputs.

        Raises:
            TopologyError: If there is no such layer, or if it is the only output.
        """
        self.layer(name)
        if self.outputs == (name,):
            raise TopologyError(
                f"without_layer: {name!r} is the only output, and a network needs at least one. "
                "Declare another output first: dataclasses.replace(topology, outputs=[...])."
            )
        return replace(
            self,
            layers=[layer for layer in self.layers if layer.name != name],
            connections=[c for c in self.connections if name not in (c.source, c.to)],
            outputs=[output for output in self.outputs if output != name],
        )

    def _check_connected(self, verb: str, source: str, to: str):
        if (to, source) not in self.delays:
            connected = "; ".join(f"{c.source!r} -> {c.to!r}" for c in self.connections) or "none"
            raise TopologyError(f"{verb}: there is no connection {source!r} -> {to!r}; there are {connected}.")

    def to_dict(self) -> dict[str, Any]:
        """Returns the declaration as plain lists and dicts, ready for `json.dump`."""
        return {
            "inputs": [as_data(i) for i in self.inputs],
            "layers": [as_data(layer) for layer in self.layers],
            "connections": [as_data(c) for c in self.connections],
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_dict(cls, declaration: Mapping[str, Any]) -> "Topology":
        """Returns the topology that `to_dict` returned as a dict.

        Args:
            declaration: A dict with lists under "inputs", "layers", "connections" and "outputs". The entries of the
                first three are dicts with the arguments of `Input`, `Layer` and `Connection`.

        Raises:
            TopologyError: If a key is missing or unknown, or the topology is invalid.

        Example:
            >>> import json
            >>> text = '''{"inputs": [{"name": "u", "size": 1}], "layers": [{"name": "y", "size": 2}],
            ...           "connections": [{"source": "u", "to": "y", "delays": [0, 2]}], "outputs": ["y"]}'''
            >>> print(Topology.from_dict(json.loads(text)).connections[0])
            u -> y delay 0, 2
        """
        parts = {"inputs": Input, "layers": Layer, "connections": Connection}
        if not isinstance(declaration, Mapping):
            raise TopologyError(f"a topology must be a dict with keys {[*parts, 'outputs']}, not {shown(declaration)}.")
        check_keys("a topology", declaration, required=[*parts, "outputs"], known=[*parts, "outputs"])
        built: dict[str, list] = {}
        for field, kind in parts.items():
            known = list(kind.__dataclass_fields__)
            required = known[:2]  # name and size; of a connection, source and to
            built[field] = []
            if isinstance(declaration[field], (str, Mapping)) or not isinstance(declaration[field], Iterable):
                raise TopologyError(
                    f"{field} is {shown(declaration[field])}; it must be a list of dicts with keys {known}."
                )
            for k, entry in enumerate(declaration[field]):
                if not isinstance(entry, Mapping):
                    raise TopologyError(f"{field}[{k}] is {shown(entry)}; it must be a dict with keys {known}.")
                check_keys(f"{field}[{k}]", entry, required=required, known=known)
                built[field].append(kind(**entry))
        return cls(**built, outputs=declaration["outputs"])

    def to_mermaid(self) -> str:
        """Returns a Mermaid flowchart with positive delays and kinds of weights at its edges, dotted if not trained.

        ⊗ marks a layer that multiplies what it reads.
        """
        node = {name: f"n{k}" for k, name in enumerate(self.sizes)}
        lines = ["flowchart LR"]
        lines += [f'    {node[i.name]}(["{_label(i.name)} ({i.size})"])' for i in self.inputs]
        for layer in self.layers:
            words = ", ".join([str(layer.size), layer.transfer, *["⊗"] * (layer.net_input == "product")])
            left, right = ("[[", "]]") if layer.name in self.outputs else ("[", "]")
            lines.append(f'    {node[layer.name]}{left}"{_label(layer.name)} ({words})"{right}')
        for c in self.connections:
            taps = [] if c.delays == (0,) else [f"z⁻{_superscript(d)}" for d in c.delays]
            words = ", ".join([*taps, *c.properties])
            label = f'|"{words}"|' if words else ""
            lines.append(f"    {node[c.source]} {'-->' if c.trained else '-.->'}{label} {node[c.to]}")
        return "\n".join(lines)


def check_topology(given: object, call: str) -> None:
    """Raises a TopologyError unless `given` is a topology; see `expect`."""
    make = "Write Topology(inputs, layers, connections, outputs), or Topology.from_dict(declaration)."
    fix = "Write net.topology." if hasattr(given, "topology") else make
    expect(Topology, "topology", given, call, "a Topology", error=TopologyError, fix=fix)


def with_longer_input_delays(topology: Topology, steps: int) -> Topology:
    """Returns a topology in which `steps` (may be negative) is added to the delays of all connections from inputs."""
    connections = [
        replace(c, delays=tuple(d + steps for d in c.delays)) if c.source in topology.input_names else c
        for c in topology.connections
    ]
    with warnings.catch_warnings():  # the user has already been warned of idle parts
        warnings.simplefilter("ignore", TopologyWarning)
        return replace(topology, connections=connections)


def _label(name: str) -> str:
    return name.replace('"', "#quot;")


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
