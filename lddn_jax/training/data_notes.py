"""Notes on training data that make a result doubtful: what does not vary, cannot be reached, or is too little.

Each note is a `Flag` with a sentence that names the signals and the numbers. Notes never stop a training.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lddn_jax.losses import AbstractLeastSquares
from lddn_jax.network import transfer
from lddn_jax.network.network import Network
from lddn_jax.network.signals import is_traced
from lddn_jax.training.state_parameters import Trained, network_of
from lddn_jax.training.stop_reason import Flag
from lddn_jax.training.trainer import Problem

SIGNAL_RATIO = 1e4  # of the sizes of two inputs, above which one step size does not suit the weights of both
SEQUENCE_RATIO = 1e6  # of the sizes of two sequences, above which the smaller one is invisible
FEWEST_STEPS = 20  # of a sequence that has a size: a short one may lie at a zero crossing

Counted: TypeAlias = Mapping[str, Float[np.ndarray, "sequences time size=_"]]


def data_notes(trained: Trained, problem: Problem) -> dict[str, str]:
    """Returns the notes on the data of a training, a sentence by flag.

    Args:
        trained: The network before training, or several stacked networks.
        problem: The data.
    """
    if any(map(is_traced, (*problem.inputs.values(), *problem.targets.values()))):
        return {}
    net, targets = network_of(trained), counted_targets(problem)
    inputs = {name: np.asarray(x) for name, x in problem.inputs.items()}
    notes = {
        Flag.CONSTANT_INPUT: _constant_inputs(inputs, {name: np.asarray(x) for name, x in problem.state.items()}),
        Flag.CONSTANT_TARGET: _constant_targets(targets),
        Flag.FEW_TARGETS: _few_targets(net, targets),
        Flag.UNREACHABLE_TARGETS: _unreachable(net, targets),
        Flag.UNEQUAL_SCALES: _unequal_scales(inputs, targets),
    }
    return {str(flag): note for flag, note in notes.items() if note}


def counted_targets(problem: Problem) -> dict[str, Float[np.ndarray, "sequences time size=_"]]:
    """Returns the targets by output layer, with NaN where one is missing or has error weight 0."""
    found = {name: np.asarray(y) for name, y in problem.targets.items()}
    if problem.weights is None:
        return found
    return {name: np.where(np.asarray(problem.weights[name]) > 0, y, np.nan) for name, y in found.items()}


def loss_of_mean(problem: Problem) -> float | None:
    """Returns the loss of a prediction of each target by its mean: the variance of the targets, for a mean of squares.

    None if the loss is no sum of squares or has weight decay, and if all targets are constant.
    """
    loss = problem.loss
    if not isinstance(loss, AbstractLeastSquares) or loss.regularization:
        return None
    total, count, factors = 0.0, 0, dict(loss.output_weights)
    for name, y in counted_targets(problem).items():
        known = ~np.isnan(y)
        weight = known * (1.0 if problem.weights is None else np.asarray(problem.weights[name]))
        filled = np.where(known, y, 0)
        sums = np.maximum(weight.sum(axis=(0, 1)), np.finfo(float).tiny)
        mean = (weight * filled).sum(axis=(0, 1)) / sums
        factor = factors.get(name, 1.0)
        total += factor * float((weight * (filled - mean) ** 2).sum())
        count += int((factor * weight > 0).sum())
    return total * float(loss.scale(jnp.ones(()), count)) if total > 0 else None  # `total` may overflow in float32


def _constant_inputs(inputs: Counted, state: Mapping[str, np.ndarray]) -> str:
    names = []
    for name, x in inputs.items():
        before = [state[name]] if name in state and state[name].shape[0] == x.shape[0] else []
        columns = np.concatenate([*before, x], axis=1).reshape(-1, x.shape[-1])
        names += _named(name, np.ptp(columns, axis=0) == 0) if len(columns) > 1 else []
    if not names:
        return ""
    return (
        f"{_listed('input', names)} not vary in the training data, so nothing is learned about the effect of a change; "
        "train on records in which it varies, or leave it out"
    )


def _constant_targets(targets: Counted) -> str:
    names = [each for name, y in targets.items() for each in _named(name, _spread(y) == 0)]
    if not names:
        return ""
    return f"{_listed('target', names)} not vary in the training data, so the network learns a constant there"


def _few_targets(net: Network, targets: Counted) -> str:
    count = sum(int((~np.isnan(y)).sum()) for y in targets.values())
    if net.parameter_count <= count:
        return ""
    return (
        f"{net.parameter_count} weights and biases for {count} measured target{'s' if count != 1 else ''}: the data do "
        "not determine them; use fewer neurons or delays, or longer records"
    )


def _unreachable(net: Network, targets: Counted) -> str:
    for layer in net.topology.layers:
        if layer.name not in targets:
            continue
        low, high = transfer.get(layer.transfer).reach
        y = targets[layer.name]
        outside = int((y < low).sum() + (y > high).sum())
        if outside:
            shown = f"[{low:g}, {high:g}]".replace("inf]", "∞)").replace("[-inf", "(−∞")
            return (
                f"{outside} of {int((~np.isnan(y)).sum())} targets {layer.name!r} lie outside of {shown}, which the "
                f"transfer function {layer.transfer!r} cannot leave (they range from {np.nanmin(y):.4g} to "
                f"{np.nanmax(y):.4g}); use a linear output layer, or scale the targets"
            )
    return ""


def _unequal_scales(inputs: Counted, targets: Counted) -> str:
    sizes = {}
    for name, x in inputs.items():
        one = x.shape[-1] == 1
        each = enumerate(_size(x, axis=(0, 1)))
        sizes |= {repr(name) if one else f"element {k} of {name!r}": size for k, size in each if size > 0}
    if sizes:
        small, large = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        if sizes[large] > SIGNAL_RATIO * sizes[small]:
            return (
                f"input {small} is about {sizes[small]:.1g} and input {large} about {sizes[large]:.1g}: one step "
                "size does not suit the weights of both; scale the signals"
            )
    for kind, signals in (("target", targets), ("input", inputs)):
        for name, x in signals.items():
            each = _size(x, axis=(1, 2))
            each = each[each > 0]
            if x.shape[1] >= FEWEST_STEPS and each.size > 1 and each.max() > SEQUENCE_RATIO * each.min():
                return (
                    f"{kind} {name!r} is about {each.max():.1g} in one sequence and {each.min():.1g} in another: under "
                    "one scale the smaller one is invisible; train a network for each, or take logarithms"
                )
    return ""


def _named(name: str, chosen: np.ndarray) -> list[str]:
    """The channels of a signal for which `chosen` is True, by name."""
    if chosen.all():
        return [repr(name)]
    return [f"element {k} of {name!r}" for k in np.flatnonzero(chosen)]


def _listed(kind: str, names: list[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{kind} {shown} does" if len(names) == 1 else f"{kind}s {shown} do"


def _spread(y: Float[np.ndarray, "sequences time size"]) -> Float[np.ndarray, " size"]:
    """The range of each channel; infinite for one with fewer than two measured values."""
    known = ~np.isnan(y)
    high, low = (np.where(known, y, end).reshape(-1, y.shape[-1]) for end in (-math.inf, math.inf))
    return np.where(known.sum(axis=(0, 1)) > 1, high.max(axis=0) - low.min(axis=0), math.inf)


def _size(x: np.ndarray, axis) -> Float[np.ndarray, "..."]:
    """The root mean square of the known values."""
    known = ~np.isnan(x)
    with np.errstate(over="ignore"):
        total = np.where(known, np.square(np.where(known, x, 0).astype(float)), 0).sum(axis=axis)
    return np.sqrt(total / np.maximum(known.sum(axis=axis), 1))
