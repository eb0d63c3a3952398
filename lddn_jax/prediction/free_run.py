"""How a network with its loop closed does by itself: the error of its free run, and where that diverges."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from lddn_jax.data.sequences import Sequences
from lddn_jax.losses import counted, error_weights
from lddn_jax.network.network import Network
from lddn_jax.network.signals import RealSignal, Signals, WeightsLike
from lddn_jax.training.trainer import rmse

EXPLODED = 100.0  # times the range of the targets: a free run that far off has left what it models


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
        reach = EXPLODED * max(high - low, np.finfo(target.dtype).tiny)
        gone = ~np.isfinite(found) | (np.abs(found - (low + high) / 2) > reach)
        if full is not None:
            gone &= np.asarray(full[name]) > 0
        steps = np.flatnonzero(gone.any(axis=tuple(k for k in range(gone.ndim) if k != gone.ndim - 2)))
        first += [int(steps[0])] if steps.size else []
    return min(first, default=None)


def free_run(net: Network, whole: Sequences) -> tuple[float, int | None]:
    """Returns the RMSE of a free run, NaN if it diverged, and the step where it did.

    Args:
        net: The network with its loop closed.
        whole: Records in one piece each.
    """
    error, outputs = rmse(net, whole)
    diverged = diverged_at(outputs, cast(Signals, whole.targets), whole.weights)
    return float("nan") if diverged is not None else error, diverged


def smallest(errors: Sequence[float]) -> int:
    """Where the smallest error is; NaN is that of a run that diverged."""
    return int(np.argmin(np.nan_to_num(errors, nan=np.inf)))
