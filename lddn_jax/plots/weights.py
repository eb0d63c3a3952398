"""Color map of all weights and biases of a network, similar to a Hinton diagram."""

from typing import Any

import numpy as np

from lddn_jax.errors import ShapeError
from lddn_jax.network.network import Network, check_network, matrices
from lddn_jax.plots.axes import axes_or_new, shortened


def weights_map(net: Network, *, ax: Any = None) -> Any:
    """Plots all weights and biases as a color map: red is positive, blue negative, white zero.

    Rows are neurons of the receiving layers. Columns are elements of each source at each delay, and the bias. Blocks
    without a connection are hatched.

    Args:
        net: The network.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.

    Raises:
        ShapeError: If the network has no parameters.
    """
    check_network(net, "weights_map(net)")
    blocks, rows, columns = _blocks(net)
    if not blocks:
        raise ShapeError("weights_map: the network has no weights and no biases to draw.")
    ax = axes_or_new(ax)
    shape = tuple(list(places.values())[-1][1] for places in (rows, columns))
    table = np.full(shape, np.nan)
    for (to, column), block in blocks.items():
        table[slice(*rows[to]), slice(*columns[column])] = block
    reach = np.nanmax(np.abs(table)) or 1.0
    ax.set_facecolor("0.93")
    ax.patch.set(hatch="////", edgecolor="0.8")
    edges = [np.arange(count + 1) - 0.5 for count in shape[::-1]]
    image = ax.pcolormesh(*edges, np.ma.masked_invalid(table), cmap="RdBu_r", vmin=-reach, vmax=reach)
    ax.figure.colorbar(image, ax=ax, label="weight", pad=0.02)
    for _, stop in rows.values():
        ax.axhline(stop - 0.5, color="black", linewidth=1.0)
    sources = [source for source, _ in columns]
    for k, (_, stop) in enumerate(columns.values()):
        new_source = k + 1 == len(sources) or sources[k + 1] != sources[k]
        ax.axvline(stop - 0.5, color="black", linewidth=1.0 if new_source else 0.3)
    ax.set_yticks([(start + stop - 1) / 2 for start, stop in rows.values()], [shortened(name, 24) for name in rows])
    names = ["bias" if delay is None else f"{shortened(source, 24)}, delay {delay}" for source, delay in columns]
    places = [(start + stop - 1) / 2 for start, stop in columns.values()]
    ax.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))
    return ax


def _blocks(net: Network) -> tuple[dict, dict, dict]:
    """Returns blocks `(to, from)` by layer and column, and the ranges `(start, stop)` of rows and columns."""
    topology = net.topology
    order = [*(i.name for i in topology.inputs), *(layer.name for layer in topology.layers)]
    blocks = {}
    given = matrices(net)
    for to, source in net.IW | net.LW:
        for delay, block in zip(topology.delays[to, source], np.asarray(given[to, source]), strict=True):
            blocks[to, (source, delay)] = block
    blocks |= {(to, ("", None)): np.asarray(bias)[:, None] for to, bias in net.b.items()}
    used = {column for _, column in blocks}
    columns = sorted(used - {("", None)}, key=lambda column: (order.index(column[0]), column[1]))
    columns += [("", None)] if ("", None) in used else []
    layers = [layer.name for layer in topology.layers if any(to == layer.name for to, _ in blocks)]
    sizes = {column: 1 if column[1] is None else topology.sizes[column[0]] for column in columns}
    return blocks, _places({to: topology.sizes[to] for to in layers}), _places(sizes)


def _places(sizes: dict) -> dict:
    stops = np.cumsum(list(sizes.values())).tolist()
    return {name: (stop - size, stop) for (name, size), stop in zip(sizes.items(), stops, strict=True)}
