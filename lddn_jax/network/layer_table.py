"""The layers of a network as a table: size, transfer function, sources and number of parameters."""

import math

import jax.numpy as jnp
from jax.typing import DTypeLike

from lddn_jax.numerics.text_table import aligned
from lddn_jax.topology.topology import Connection, Topology
from lddn_jax.topology.trained_weights import parameter_count, trained_count

SUMMARY_COLUMNS = 80  # of the sources of a layer in a summary; more continue on the next line


def layer_table(topology: Topology, dtype: DTypeLike, axes: tuple[int, ...]) -> str:
    """Returns a table of the layers with their sources and numbers of parameters.

    Args:
        topology: The topology.
        dtype: The dtype of the network.
        axes: Leading axes of stacked networks.
    """
    rows = [("layer", "size", "transfer", "fed by", "parameters")]
    feeding: dict[str, list[Connection]] = {layer.name: [] for layer in topology.layers}
    for connection in topology.connections:
        feeding[connection.to].append(connection)
    for layer in topology.layers:
        fed = feeding[layer.name]
        count = sum(trained_count(topology, (c.to, c.source)) for c in fed)
        name = layer.name + (" (output)" if layer.name in topology.outputs else "")
        sources = [" ".join([c.source, str(list(c.delays)), *c.properties]) for c in fed] + ["bias"] * layer.bias
        total = count + layer.size * layer.bias
        if layer.net_input == "product":
            sources[0] = f"product of {sources[0]}"
        first, *others = _wrapped(sources) or ["-"]
        rows.append((name, str(layer.size), layer.transfer, first, str(total)))
        rows += [("", "", "", line, "") for line in others]
    lines = aligned(rows, "<")
    stacked = f", for each of {' x '.join(map(str, axes))} stacked networks" if axes else ""
    shapes = topology.weight_shapes
    held = sum(math.prod(shapes[pair]) for pair, c in topology.connected.items() if not c.trained)
    fixed = f" and {held} fixed weights" if held else ""
    inputs = _wrapped([f"{i.name} ({i.size})" for i in topology.inputs]) or ["none"]
    return "\n".join(
        [
            "\n        ".join([f"inputs: {inputs[0]}", *inputs[1:]]),
            lines[0],
            "-" * max(map(len, lines)),
            *lines[1:],
            f"{parameter_count(topology)} parameters{fixed}, {jnp.dtype(dtype).name}{stacked}",
        ]
    )


def _wrapped(parts: list[str]) -> list[str]:
    """Joins parts with commas to lines of limited width; a part is never divided."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 2 <= SUMMARY_COLUMNS:
            lines[-1] += f", {part}"
        else:
            lines += [part]
    return [line + "," * (k < len(lines) - 1) for k, line in enumerate(lines)]
