"""A network's declaration: which layers exist, and who feeds whom through which delays.

A Layered Digital Dynamic Network is a set of layers joined by connections, each with its own tapped
delay line (De Jesús & Hagan, IEEE Transactions on Neural Networks 18(1), 2007, eq. 1-2):

    n^m(t) = Σ_l Σ_{d ∈ DL_{m,l}} LW^{m,l}(d) a^l(t−d) + Σ_l Σ_{d ∈ DI_{m,l}} IW^{m,l}(d) p^l(t−d) + b^m
    a^m(t) = f^m(n^m(t))

A declaration is data: frozen, hashable, equal by value whatever the order it was written in, and
checked in full when it is made, so that nothing later has to ask whether it makes sense.
"""

import difflib
import functools
import operator
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from lddn_jax.errors import TopologyError


class TopologyWarning(UserWarning):
    """A declaration that runs, but with a part that can have no effect."""


@dataclass(frozen=True)
class Input:
    """An external signal `p` of `size` elements.

    Args:
        name: Unique among all inputs and layers.
        size: Number of elements, at least 1.
    """

    name: str
    size: int

    def __post_init__(self):
        _check_name("input", self.name)
        object.__setattr__(self, "size", _whole(self.size, f"the size of input {self.name!r}", least=1))


@dataclass(frozen=True)
class Layer:
    """A layer `a = f(n)` of `size` neurons.

    Args:
        name: Unique among all inputs and layers.
        size: Number of neurons, at least 1.
        transfer: Name of its transfer function; see `lddn_jax.transfer`.
        bias: Whether the layer has a bias `b`.
    """

    name: str
    size: int
    transfer: str = "tanh"
    bias: bool = True

    def __post_init__(self):
        _check_name("layer", self.name)
        object.__setattr__(self, "size", _whole(self.size, f"the size of layer {self.name!r}", least=1))
        if not isinstance(self.transfer, str):
            raise TopologyError(
                f"the transfer function of layer {self.name!r} is {self.transfer!r}, but a topology is data "
                "and names it. Register the function with lddn.transfer.register(name, function) and write "
                f"Layer({self.name!r}, {self.size}, transfer=name)."
            )
        if not isinstance(self.bias, bool):
            raise TopologyError(f"layer {self.name!r}: bias is {self.bias!r}; write bias=True or bias=False.")


@dataclass(frozen=True)
class Connection:
    """Weights from `source` (an input or a layer) into layer `to`, one matrix for each delay.

    Args:
        source: Name of the input or layer that is read.
        to: Name of the layer that is fed.
        delays: Delays of the tapped delay line in samples, ascending, without repetition. `(0,)` is a
            plain connection within one time step.
    """

    source: str
    to: str
    delays: tuple[int, ...] = (0,)

    def __post_init__(self):
        label = f"connection {self.source!r} -> {self.to!r}"
        _check_name("source of a connection", self.source)
        _check_name("target of a connection", self.to)
        if isinstance(self.delays, str) or not isinstance(self.delays, Iterable):
            example = f"({self.delays},)" if isinstance(self.delays, int) else "(0,) or delays=(1, 2)"
            raise TopologyError(
                f"{label}: delays={self.delays!r}, but they are a tuple of whole numbers. Write delays={example}."
            )
        delays = tuple(_whole(d, f"a delay of {label}", least=0) for d in self.delays)
        if not delays:
            raise TopologyError(
                f"{label} has an empty delay list, so it would carry nothing. "
                "Write delays=(0,) for a plain connection, or leave the connection out."
            )
        if list(delays) != sorted(set(delays)):
            raise TopologyError(
                f"{label}: delays {delays} must ascend without repetition, because weights follow their "
                f"order. Write delays={tuple(sorted(set(delays)))}."
            )
        object.__setattr__(self, "delays", delays)

    def __str__(self):
        return f"{self.source} -> {self.to} delay {', '.join(map(str, self.delays))}"


@dataclass(frozen=True, eq=False)
class Topology:
    """Inputs, layers, connections and outputs of a network.

    Two topologies are equal if they declare the same things, in whatever order; the order of
    declaration only decides the order in which `summary()` and figures list them.

    Args:
        inputs: The external signals; may be empty (an autonomous network).
        layers: At least one.
        connections: At most one for each pair (to, source); its delays are a list.
        outputs: Names of the layers whose outputs leave the network, at least one. Any layer may be one.

    Raises:
        TopologyError: If the declaration describes no network that could run. The message names the
            layers and the fix.

    Warns:
        TopologyWarning: If a layer or input reaches no output, or is reached by no input.

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
            object.__setattr__(self, field, _items(field, given, kind))
        self._check_names()
        self._check_connections()
        self._check_outputs()
        self._check_zero_delay_loops()
        self._warn_of_idle_parts()

    def __eq__(self, other):
        return isinstance(other, Topology) and self._canonical == other._canonical

    def __hash__(self):
        return self._hash

    def __getstate__(self):
        # Without what is cached: the hash of a string is another one in another process.
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
        return {(c.to, c.source): c.delays for c in sorted(self.connections, key=lambda c: (c.to, c.source))}

    def layer(self, name: str) -> Layer:
        """Returns the layer of that name.

        Raises:
            TopologyError: If there is none; the message lists all and the closest.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise TopologyError(_unknown("layer", name, [layer.name for layer in self.layers]))

    def to_dict(self) -> dict[str, Any]:
        """Returns the declaration as plain lists and dicts, ready for `json.dump`."""
        return {
            "inputs": [asdict(i) for i in self.inputs],
            "layers": [asdict(layer) for layer in self.layers],
            "connections": [asdict(c) | {"delays": list(c.delays)} for c in self.connections],
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_dict(cls, declaration: Mapping[str, Any]) -> "Topology":
        """Builds a topology from what `to_dict` returns.

        Args:
            declaration: A dict with lists under "inputs", "layers", "connections" and "outputs". The entries of the
                first three are dicts with the arguments of `Input`, `Layer` and `Connection`.

        Raises:
            TopologyError: If a key is missing, unknown or misspelt, or the topology is invalid.

        Example:
            >>> import json
            >>> text = '''{"inputs": [{"name": "u", "size": 1}], "layers": [{"name": "y", "size": 2}],
            ...           "connections": [{"source": "u", "to": "y", "delays": [0, 2]}], "outputs": ["y"]}'''
            >>> print(Topology.from_dict(json.loads(text)).connections[0])
            u -> y delay 0, 2
        """
        parts = {"inputs": Input, "layers": Layer, "connections": Connection}
        if not isinstance(declaration, Mapping):
            raise TopologyError(f"a topology is written as a dict with {[*parts, 'outputs']}, not {declaration!r}.")
        _check_keys("a topology", declaration, required=[*parts, "outputs"], known=[*parts, "outputs"])
        built: dict[str, list] = {}
        for field, kind in parts.items():
            known = list(kind.__dataclass_fields__)
            required = known[:2]  # name and size; of a connection, source and to
            built[field] = []
            if isinstance(declaration[field], (str, Mapping)) or not isinstance(declaration[field], Iterable):
                raise TopologyError(f"{field} is {declaration[field]!r}; needed is a list of dicts with keys {known}.")
            for k, entry in enumerate(declaration[field]):
                if not isinstance(entry, Mapping):
                    raise TopologyError(f"{field}[{k}] is {entry!r}; needed is a dict with keys {known}.")
                _check_keys(f"{field}[{k}]", entry, required=required, known=known)
                built[field].append(kind(**entry))
        return cls(**built, outputs=declaration["outputs"])

    def to_mermaid(self) -> str:
        """Returns a Mermaid flowchart; positive delays label their edges."""
        node = {name: f"n{k}" for k, name in enumerate(self.sizes)}
        lines = ["flowchart LR"]
        lines += [f'    {node[i.name]}(["{_label(i.name)} ({i.size})"])' for i in self.inputs]
        for layer in self.layers:
            left, right = ("[[", "]]") if layer.name in self.outputs else ("[", "]")
            lines.append(f'    {node[layer.name]}{left}"{_label(layer.name)} ({layer.size}, {layer.transfer})"{right}')
        for c in self.connections:
            label = "" if c.delays == (0,) else f'|"{", ".join(f"z⁻{_superscript(d)}" for d in c.delays)}"|'
            lines.append(f"    {node[c.source]} -->{label} {node[c.to]}")
        return "\n".join(lines)

    def _check_names(self):
        if not self.layers:
            raise TopologyError("a network needs at least one layer, such as Layer('y', 1, transfer='linear').")
        seen: set[str] = set()
        for node in (*self.inputs, *self.layers):
            if node.name in seen:
                raise TopologyError(
                    f"the name {node.name!r} is repeated; connections refer to inputs and layers by name, so each "
                    f"needs its own. Rename one, for example to {node.name + '_2'!r}."
                )
            seen.add(node.name)

    def _check_connections(self):
        layers = [layer.name for layer in self.layers]
        pairs: set[tuple[str, str]] = set()
        for c in self.connections:
            if c.source not in self.sizes:
                raise TopologyError(f"{c}: {_unknown('source', c.source, list(self.sizes))}")
            if c.to in self.input_names:
                raise TopologyError(
                    f"{c}: {c.to!r} is an input, and nothing feeds an input. Connect {c.source!r} to a layer, or "
                    f"declare Layer({c.to!r}, {self.sizes[c.to]}) in place of the input."
                )
            if c.to not in layers:
                raise TopologyError(f"{c}: {_unknown('target layer', c.to, layers)}")
            if (c.to, c.source) in pairs:
                merged = sorted({d for e in self.connections if (e.to, e.source) == (c.to, c.source) for d in e.delays})
                raise TopologyError(
                    f"there is a second connection {c.source!r} -> {c.to!r}; a pair has one connection with all its "
                    f"delays. Write Connection({c.source!r}, to={c.to!r}, delays={tuple(merged)})."
                )
            pairs.add((c.to, c.source))

    def _check_outputs(self):
        layers = [layer.name for layer in self.layers]
        if not self.outputs:
            raise TopologyError(
                "the network has no outputs, so it could not be trained or read. "
                f"Write outputs=[{layers[-1]!r}] or name another layer."
            )
        for name in self.outputs:
            if name in self.input_names:
                raise TopologyError(f"output {name!r} is an input; outputs are layers: one of {layers}.")
            if name not in layers:
                raise TopologyError(_unknown("output layer", name, layers))
        if len(set(self.outputs)) != len(self.outputs):
            raise TopologyError(f"outputs {list(self.outputs)} repeat a name; list each layer once.")

    def _check_zero_delay_loops(self):
        graph: dict[str, list[str]] = {layer.name: [] for layer in sorted(self.layers, key=lambda x: x.name)}
        for (to, source), delays in self.delays.items():
            if delays[0] == 0 and source not in self.input_names:
                graph[to].append(source)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = error.args[1][:-1]
            start = cycle.index(min(cycle))
            cycle = [*cycle[start:], *cycle[:start], cycle[start]]
            source, to = cycle[-2], cycle[-1]
            raise TopologyError(
                f"the zero-delay loop {' -> '.join(cycle)} has no first layer to compute: each one waits for another "
                "within the same time step. Give one connection of the loop positive delays only, for example "
                f"Connection({source!r}, to={to!r}, delays=(1,))."
            ) from None

    def _warn_of_idle_parts(self):
        forward: dict[str, set[str]] = {name: set() for name in self.sizes}
        backward: dict[str, set[str]] = {name: set() for name in self.sizes}
        for c in self.connections:
            forward[c.source].add(c.to)
            backward[c.to].add(c.source)
        useful = _reach(backward, self.outputs)
        for name in self.sizes:
            if name not in useful:
                kind = "input" if name in self.input_names else "layer"
                warnings.warn(
                    f"{kind} {name!r} reaches no output, so it has no effect and its gradient is zero. "
                    f"Connect it towards {list(self.outputs)}, or leave it out.",
                    TopologyWarning,
                    stacklevel=3,
                )
        if self.inputs:
            driven = _reach(forward, self.input_names)
            for layer in self.layers:
                if layer.name not in driven:
                    warnings.warn(
                        f"layer {layer.name!r} is reached by no input, so nothing from outside can change it. Connect "
                        "an input or a driven layer to it, or leave it out.",
                        TopologyWarning,
                        stacklevel=3,
                    )


def _items(field: str, given: Any, kind: type) -> tuple:
    noun = "layer names" if kind is str else f"{kind.__name__} objects"
    if isinstance(given, (str, kind)) or not isinstance(given, Iterable):
        raise TopologyError(f"{field}={given!r} must be a list of {noun}: write {field}=[{given!r}].")
    items = tuple(given)
    for item in items:
        if not isinstance(item, kind):
            raise TopologyError(f"{field} holds {item!r}, but needs {noun}.")
    return items


def _check_name(what: str, name: Any):
    if not isinstance(name, str) or not name.strip():
        raise TopologyError(f"the name of a {what} is {name!r}; it must be a non-empty string such as 'hidden'.")


def _whole(value: Any, what: str, least: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TopologyError(f"{what} is {value!r}; it must be a whole number, at least {least}.") from None
    if number < least:
        raise TopologyError(f"{what} is {number}; it must be at least {least}.")
    return number


def _unknown(what: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else "Declare it first, or use one of these."
    return f"there is no {what} {name!r}; known are {known}. {hint}"


def _check_keys(what: str, entry: Mapping, required: list[str], known: list[str]):
    for key in entry:
        if key not in known:
            raise TopologyError(f"{what}: {_unknown('key', str(key), known)}")
    for key in required:
        if key not in entry:
            raise TopologyError(f"{what} lacks the key {key!r}; it has {list(entry)} and needs {required}.")


def _reach(edges: Mapping[str, set[str]], start: Iterable[str]) -> set[str]:
    seen, waiting = set(start), list(start)
    while waiting:
        for following in edges[waiting.pop()] - seen:
            seen.add(following)
            waiting.append(following)
    return seen


def _label(name: str) -> str:
    return name.replace('"', "#quot;")


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
