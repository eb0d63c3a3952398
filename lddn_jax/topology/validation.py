"""Validation of a whole topology: errors if it cannot run, warnings for parts without an effect."""

import dataclasses
import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np

from lddn_jax.errors import TopologyError, shown
from lddn_jax.topology.parts import Connection, Input, Layer, unknown

MOST_PARTS = 100_000  # inputs and layers, or connections


class TopologyWarning(UserWarning):
    """Warning about a part of a topology that has no effect."""


def check(
    inputs: Sequence[Input], layers: Sequence[Layer], connections: Sequence[Connection], outputs: Sequence[str]
) -> None:
    """Raises a TopologyError that names the layers and the fix, unless the topology is valid."""
    _check_count(inputs, layers, connections)
    _check_names(inputs, layers)
    _check_connections(inputs, layers, connections)
    _check_products(layers, connections)
    _check_outputs(inputs, layers, outputs)
    _check_zero_delay_loops(layers, connections)


def warn_of_idle_parts(
    inputs: Sequence[Input], layers: Sequence[Layer], connections: Sequence[Connection], outputs: Sequence[str]
) -> None:
    """Warns about parts without a path to an output, and layers without a path from an input."""
    forward: dict[str, set[str]] = {node.name: set() for node in (*inputs, *layers)}
    backward: dict[str, set[str]] = {name: set() for name in forward}
    for c in connections:
        forward[c.source].add(c.to)
        backward[c.to].add(c.source)
    useful = reached(backward, outputs)
    for kind, nodes in (("input", inputs), ("layer", layers)):
        for node in nodes:
            if node.name not in useful:
                warnings.warn(
                    f"{kind} {node.name!r} has no path to an output, so it has no effect and its gradient is zero. "
                    f"Connect it to {list(outputs)}, directly or through other layers, or leave it out.",
                    TopologyWarning,
                    stacklevel=_calls_up_to_the_user(),
                )
    if inputs:
        driven = reached(forward, [i.name for i in inputs])
        for layer in layers:
            if layer.name not in driven:
                warnings.warn(
                    f"layer {layer.name!r} has no path from an input, so no input has an effect on it. Connect "
                    "an input or a driven layer to it, or leave it out.",
                    TopologyWarning,
                    stacklevel=_calls_up_to_the_user(),
                )


def reached(edges: Mapping[str, set[str]], start: Iterable[str]) -> set[str]:
    """Returns all names that can be reached from `start`, including `start`."""
    seen, waiting = set(start), list(start)
    while waiting:
        for following in edges[waiting.pop()] - seen:
            seen.add(following)
            waiting.append(following)
    return seen


def _calls_up_to_the_user() -> int:
    """Returns the `stacklevel` with which a warning points to the first line outside of the package."""
    inside = (str(Path(__file__).parent), dataclasses.__file__)
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_code.co_filename.startswith(inside):
        frame, level = frame.f_back, level + 1
    return level


def _check_count(inputs, layers, connections):
    for what, given in (("inputs and layers", len(inputs) + len(layers)), ("connections", len(connections))):
        if given > MOST_PARTS:
            raise TopologyError(
                f"the topology has {given} {what}; at most {MOST_PARTS} can be compiled. Use fewer, larger layers."
            )


def _check_names(inputs, layers):
    if not layers:
        raise TopologyError("a network needs at least one layer, such as Layer('y', 1, transfer='linear').")
    seen: set[str] = set()
    for node in (*inputs, *layers):
        if node.name in seen:
            raise TopologyError(
                f"the name {node.name!r} is used twice; connections refer to inputs and layers by name, so each "
                f"needs its own. Rename one, for example to {node.name + '_2'!r}."
            )
        seen.add(node.name)


def _check_connections(inputs, layers, connections):
    sizes, names = {node.name: node.size for node in (*inputs, *layers)}, {layer.name: layer for layer in layers}
    pairs: set[tuple[str, str]] = set()
    for c in connections:
        if c.source not in sizes:
            raise TopologyError(f"{c}: {unknown('source', c.source, list(sizes))}")
        if c.to in sizes and c.to not in names:
            raise TopologyError(
                f"{c}: {c.to!r} is an input; a connection must lead to a layer. Connect {c.source!r} to a layer, or "
                f"declare Layer({c.to!r}, {sizes[c.to]}) in place of the input."
            )
        if c.to not in names:
            raise TopologyError(f"{c}: {unknown('target layer', c.to, list(names))}")
        if (c.to, c.source) in pairs:
            merged = sorted({d for e in connections if (e.to, e.source) == (c.to, c.source) for d in e.delays})
            raise TopologyError(
                f"there is a second connection {c.source!r} -> {c.to!r}; a pair has one connection with all its "
                f"delays. Write Connection({c.source!r}, to={c.to!r}, delays={tuple(merged)})."
            )
        pairs.add((c.to, c.source))
        if c.weights != "dense" and sizes[c.source] != sizes[c.to]:
            raise TopologyError(
                f"{c}: {c.weights} weights need equal sizes, but {c.source!r} has {sizes[c.source]} elements and "
                f"{c.to!r} has {sizes[c.to]}. Write weights='dense', or give both the same size."
            )
        if c.mask is not None:
            needed, given = (len(c.delays), sizes[c.to], sizes[c.source]), np.shape(np.asarray(c.mask))
            if given not in (needed, needed[1:]):
                raise TopologyError(
                    f"{c}: the mask has shape {given}; it must be {needed[1:]}, (to, from), or {needed}, (delay, to, "
                    "from)."
                )


def _check_products(layers, connections):
    sources: dict[str, list[str]] = {layer.name: [] for layer in layers if layer.net_input == "product"}
    for c in connections:
        if c.to in sources:
            sources[c.to].append(c.source)
    for name, read in sources.items():
        if len(read) < 2:
            has = f"one connection, {read[0]} -> {name}" if read else "no connection"
            raise TopologyError(
                f"layer {name!r} with net_input='product' multiplies at least two connections, but has {has}. Connect "
                f"another source: Connection(source, to={name!r}); or write net_input='sum'."
            )


def _check_outputs(inputs, layers, outputs):
    names, of_inputs = {layer.name: layer for layer in layers}, {i.name for i in inputs}
    if not outputs:
        last = next(reversed(names))
        raise TopologyError(
            f"the network has no outputs, so it cannot be trained. Write outputs=[{last!r}] or name another layer."
        )
    for name in outputs:
        if name in of_inputs:
            raise TopologyError(f"output {name!r} is an input; outputs are layers: one of {shown(list(names))}.")
        if name not in names:
            raise TopologyError(unknown("output layer", name, list(names)))
    if len(set(outputs)) != len(outputs):
        raise TopologyError(f"outputs {shown(list(outputs))} repeat a name; list each layer once.")


def _check_zero_delay_loops(layers, connections):
    graph: dict[str, list[str]] = {name: [] for name in sorted(layer.name for layer in layers)}
    # Sorted, so that the loop that is reported does not depend on the order of declaration.
    for c in sorted(connections, key=lambda c: (c.to, c.source)):
        if c.delays[0] == 0 and c.source in graph:
            graph[c.to].append(c.source)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = error.args[1][:-1]
        start = cycle.index(min(cycle))
        cycle = [*cycle[start:], *cycle[:start], cycle[start]]
        source, to = cycle[-2], cycle[-1]
        raise TopologyError(
            f"the zero-delay loop {_path(cycle)} cannot be computed: each layer needs the output of another "
            "at the same time step. Give one connection of the loop positive delays only, for example "
            f"Connection({source!r}, to={to!r}, delays=(1,))."
        ) from None


def _path(names: Sequence[str]) -> str:
    """Returns the names of a path; of a long one its ends."""
    return " -> ".join(names if len(names) <= 12 else [*names[:6], "…", *names[-6:]])
