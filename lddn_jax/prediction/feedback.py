"""A model and its feedback: loops through its outputs closed and opened, and the record that it reads."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from lddn_jax.data.reading import Reading
from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import DataError
from lddn_jax.network.committee import Model
from lddn_jax.network.rewiring import closed_over, measured_loops, open_loop
from lddn_jax.network.signals import Signals, measured_name
from lddn_jax.prediction.horizons import shortest_delay
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.delays import state_sizes


def loop_opened(model: Scaled) -> Scaled:
    """Returns a model whose loops through its outputs are open, so that it reads measured outputs."""
    topology = model.net.topology
    if measured_loops(topology):
        return model
    net, scalers = model.net, dict(model.scalers)
    for name in topology.outputs:
        late = [c.to for c in topology.connections if c.source == name and c.delays[0] > 0]
        if late and measured_name(name) not in topology.sizes:
            net = open_loop(net, output=name, input=measured_name(name), to=late)
            scalers[measured_name(name)] = scalers[name]
    return dataclasses.replace(model, net=net, scalers=scalers) if net is not model.net else model


def loop_closed(model: Scaled) -> tuple[Model, dict[str, str]]:
    """Returns the network with its loops closed, and the output of each feedback input.

    Raises:
        DataError: If a feedback input is read without delay.
    """
    topology = model.net.topology
    loops = measured_loops(topology)
    at_once = [c for c in topology.connections if c.source in loops and c.delays[0] == 0]
    if at_once:
        raise DataError(
            f"{at_once[0]}: the network reads {at_once[0].source!r} without delay, as after lddn.remove_delay, so its "
            "outputs are later values than those in the same row. Undo that and forecast the later values: "
            "forecast(lddn.Scaled(lddn.add_delay(model.net), model.scalers), source, steps=1)."
        )
    return closed_over(model.net, loops), loops


def least_ahead(net: Model, loops: Mapping[str, str]) -> int:
    """Returns how many steps ahead a network predicts with its loop open: the smallest delay of measured outputs.

    A delay of 0, as after `remove_delay`, counts as 1: the targets are later values than those measured.
    """
    return max(shortest_delay(net.topology, loops) or 1, 1)


def output_ranges(model: Scaled) -> dict[str, float]:
    """Returns twice the unit of each element of an output: the training range with `MinMax`, else two deviations."""
    scales = {name: 2 * np.asarray(model.scalers[name].error_scale()) for name in model.net.topology.outputs}
    return {name: float(scale[0, 0]) for name, scale in channels({k: v[None] for k, v in scales.items()}).items()}


def exogenous(model: Scaled) -> list[str]:
    """Returns the names of the inputs that are not feedback inputs."""
    loops = measured_loops(model.net.topology)
    return [i.name for i in model.net.topology.inputs if i.name not in loops]


def record_for(model: Scaled, source: Any, missing: str = "error", reading: Reading | None = None) -> Record:
    """Builds the record of a network's inputs and outputs from a source; a `Record` is returned unchanged.

    Args:
        model: A network with its loop open.
        source: As in `Record.of`; a column `time` that is not a signal gives the sampling instants.
        missing: As in `Record`.
        reading: How a file is read.
    """
    if isinstance(source, Record):
        needed, held = (*exogenous(model), *model.net.topology.outputs), {**source.inputs, **source.targets}
        for name in needed:
            if name not in held:
                raise DataError(f"{source} has no {name!r}; the network needs all of {list(needed)}.")
        return source
    outputs = list(model.net.topology.outputs)
    return Record.of(source, exogenous(model), outputs, missing=missing, reading=reading)


def same_network(one: Model, other: Model) -> bool:
    """Returns whether two networks have the same topology and weights."""
    if one.topology != other.topology or type(one) is not type(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def opened(net: Model, run: Sequences, loops: Mapping[str, str]) -> Sequences:
    """Converts data for a closed loop to data for the open loop, with the targets as feedback inputs.

    Args:
        net: The network with its loop open.
        run: Data of the closed loop, without gaps.
        loops: Output layer by name of its feedback input.
    """
    inputs, targets, before = (cast(Signals, part) for part in (run.inputs, run.targets, run.state or {}))
    lines = {name: (before[loops.get(name, name)], held) for name, (held, _) in state_sizes(net.topology).items()}
    state = {name: line[..., line.shape[-2] - held :, :] for name, (line, held) in lines.items()}
    measured = {input: targets[output] for input, output in loops.items()}
    return dataclasses.replace(run, inputs={**inputs, **measured}, state=state)
