"""Free-run simulation of a network with its loop closed: error and divergence."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from lddn_jax.data.sequences import Sequences
from lddn_jax.losses import counted, error_weights
from lddn_jax.network.committee import Model
from lddn_jax.network.signals import RealSignal, Signals, WeightsLike, as_signals
from lddn_jax.simulation.delays import started
from lddn_jax.simulation.simulate import predict

DIVERGED_RANGES = 100.0  # distance from the middle of the targets, in units of their range, that counts as divergence
LEAST_RELATIVE_RANGE = 1e-3  # smallest range of the targets, relative to their largest value, that is used as a scale


def diverged_at(
    predicted: Mapping[str, RealSignal],
    targets: Mapping[str, RealSignal],
    weights: WeightsLike = None,
    *,
    ranges: Mapping[str, float] | None = None,
) -> int | None:
    """Returns the first step, over all sequences, at which an output is not finite or far outside the targets, or None.

    Far is 100 times the range of the targets, or 0.1 times their largest value if that is more, so that a small error
    in a target that stands still is not a divergence. A constant target has no range: without `ranges`, only NaN and
    infinity count for it.

    Args:
        predicted: `(*batch, time, size)` by output layer.
        targets: `(*batch, time, size)` by output layer; NaN where missing.
        weights: Error weights as in a loss; steps with weight 0 are ignored.
        ranges: Usual range by output layer, such as that of the training targets; used where it is larger than that of
            the targets.

    Example:
        >>> import jax.numpy as jnp
        >>> diverged_at({"y": jnp.array([[0.1], [2.0], [1e6]])}, {"y": jnp.array([[0.0], [1.0], [1.0]])})
        2
    """
    first = []
    full = None if weights is None else error_weights(weights, targets)
    for name, target in counted(targets, weights).items():
        target, found = np.asarray(target), np.asarray(predicted[name])
        low, high = np.nanmin(target), np.nanmax(target)
        width = 0.0 if ranges is None else ranges.get(name, 0.0)
        if high > low:
            width = max(width, high - low, LEAST_RELATIVE_RANGE * max(abs(low), abs(high)))
        reach = DIVERGED_RANGES * width if width > 0 else np.inf
        gone = ~np.isfinite(found) | (np.abs(found - (low + high) / 2) > reach)
        if full is not None:
            gone &= np.asarray(full[name]) > 0
        steps = np.flatnonzero(gone.any(axis=tuple(k for k in range(gone.ndim) if k != gone.ndim - 2)))
        first += [int(steps[0])] if steps.size else []
    return min(first, default=None)


def error_of(net: Model, data: Sequences) -> tuple[float, Signals]:
    """Returns the mean over outputs of the RMSE, in the units of the network, and the outputs.

    This number is used wherever networks are compared by one number. Outputs are scaled, so all contribute equally;
    errors in the units of the record are never pooled, because outputs may have different units.

    Args:
        net: The network.
        data: Targets that are NaN or have weight 0 are ignored; other weights have no effect.
    """
    outputs = predict(net, data.inputs, started(net.topology, data), steps=data.steps)
    sizes = {name: net.topology.sizes[name] for name in net.topology.outputs}
    targets = counted(as_signals("target", data.targets, sizes, net.dtype), data.weights)
    with np.errstate(over="ignore"):  # by a diverging free run
        errors = [
            np.sqrt(np.nanmean(np.square(np.asarray(target - outputs[name])))) for name, target in targets.items()
        ]
        return float(np.mean(errors)), outputs


def free_run(net: Model, whole: Sequences, ranges: Mapping[str, float] | None = None) -> tuple[float, int | None]:
    """Returns the error of a free run by `error_of` (NaN if it diverged), and the first diverged step or None.

    Args:
        net: The network with its loop closed.
        whole: Whole records, one per sequence.
        ranges: As in `diverged_at`.
    """
    error, outputs = error_of(net, whole)
    diverged = diverged_at(outputs, cast(Signals, whole.targets), whole.weights, ranges=ranges)
    return float("nan") if diverged is not None else error, diverged


def least_divergent(runs: Sequence[tuple[float, int | None]]) -> int:
    """Returns the index of the free run with the smallest error; if all diverged, of the one that did so last.

    Args:
        runs: Error and first diverged step (None if it did not diverge) of each run.

    Example:
        >>> least_divergent([(0.5, None), (0.1, None), (float("nan"), 7)])
        1
        >>> least_divergent([(float("nan"), 3), (float("nan"), 7)])
        1
    """
    if all(step is not None for _, step in runs):
        return int(np.argmax([step for _, step in runs]))
    return int(np.argmin([np.inf if step is not None or np.isnan(error) else error for error, step in runs]))
