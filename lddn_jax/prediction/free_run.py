"""How a network with its loop closed does by itself: the error of its free run, and where that diverges."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from lddn_jax.data.sequences import Sequences
from lddn_jax.losses import counted, error_weights
from lddn_jax.network.network import Network
from lddn_jax.network.signals import RealSignal, Signals, WeightsLike, as_signals
from lddn_jax.simulation.simulate import predict

DIVERGED_RANGES = 100.0  # times the range of the targets: a free run that far off has left what it models


def diverged_at(
    predicted: Mapping[str, RealSignal], targets: Mapping[str, RealSignal], weights: WeightsLike = None
) -> int | None:
    """Returns the first step at which an output is not finite or far outside of the targets, in any sequence.

    Args:
        predicted: `(*batch, time, size)` by output layer.
        targets: Likewise; NaN where missing.
        weights: Error weights, as those of a loss; what has weight 0 is not looked at.

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
        reach = DIVERGED_RANGES * max(high - low, np.finfo(target.dtype).tiny)
        gone = ~np.isfinite(found) | (np.abs(found - (low + high) / 2) > reach)
        if full is not None:
            gone &= np.asarray(full[name]) > 0
        steps = np.flatnonzero(gone.any(axis=tuple(k for k in range(gone.ndim) if k != gone.ndim - 2)))
        first += [int(steps[0])] if steps.size else []
    return min(first, default=None)


def error_of(net: Network, data: Sequences) -> tuple[float, Signals]:
    """Returns the mean over outputs of the root mean squared error, in the units of the network, and the outputs.

    Networks that are compared by one number are compared by this one. Outputs are scaled, so each counts the same;
    errors in the units of the record are never summed up, since outputs may differ in units.

    Args:
        net: The network.
        data: Targets that are NaN, or of weight zero, are don't-cares; other weights play no part.
    """
    outputs = predict(net, data.inputs, data.state, steps=data.steps)
    sizes = {name: net.topology.sizes[name] for name in net.topology.outputs}
    targets = counted(as_signals("target", data.targets, sizes, net.dtype), data.weights)
    with np.errstate(over="ignore"):  # of a free run that explodes
        errors = [
            np.sqrt(np.nanmean(np.square(np.asarray(target - outputs[name])))) for name, target in targets.items()
        ]
        return float(np.mean(errors)), outputs


def free_run(net: Network, whole: Sequences) -> tuple[float, int | None]:
    """Returns the error of a free run as `error_of` has it, NaN if it diverged, and the step where it did.

    Args:
        net: The network with its loop closed.
        whole: Records in one piece each.
    """
    error, outputs = error_of(net, whole)
    diverged = diverged_at(outputs, cast(Signals, whole.targets), whole.weights)
    return float("nan") if diverged is not None else error, diverged


def smallest(errors: Sequence[float]) -> int:
    """Where the smallest error is; NaN is that of a run that diverged."""
    return int(np.argmin(np.nan_to_num(errors, nan=np.inf)))
