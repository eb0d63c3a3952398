"""Networks under stress: whether their outputs stay bounded outside of the range that they were trained in.

A network is simulated from states of zero with the inputs of its training as they are, scaled by 1.5, −1.5 and 2, and
reversed in time. It is bounded if

    max_t |y(t)| ≤ 10 · max_t |target(t)|        for every output, with signals scaled to a mean near zero

A small error in held-out blocks does not show this: there the first states are trained, or follow from the samples
before, and the inputs are those of the same experiment.
"""

import dataclasses
from collections.abc import Mapping
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from lddn_jax.data.sequences import Sequences
from lddn_jax.losses import error_weights
from lddn_jax.network.network import Network
from lddn_jax.network.signals import Signals
from lddn_jax.simulation.delays import DelayState
from lddn_jax.trainers.cross_validated import outputs_of_members

STRESSES = ((1.0, 1), (1.5, 1), (-1.5, 1), (2.0, 1), (1.0, -1))  # factor of the inputs, and direction of time
LARGEST_OUTPUT = 10.0  # under stress, in the largest measured value


def bounded_under_stress(
    nets: Network, data: Sequences, states: DelayState | None = None
) -> Bool[np.ndarray, " members"]:
    """Returns which of some stacked networks stay bounded; all of them without inputs.

    Args:
        nets: The networks.
        data: Sequences of the training.
        states: Delay states of layers, one set for each network, of which only the shapes are used.
    """
    inputs = cast(Signals, data.inputs or {})
    if not inputs:
        return np.ones(jax.tree.leaves(nets)[0].shape[0], bool)
    largest = _largest_targets(data)
    zero = {name: jnp.zeros_like(line) for name, line in (states or {}).items()}
    bounded = []
    for factor, way in STRESSES:
        stressed = {name: jnp.asarray(factor * np.asarray(signal)[:, ::way]) for name, signal in inputs.items()}
        outputs = outputs_of_members(nets, dataclasses.replace(data, inputs=stressed), zero)
        for name, y in outputs.items():
            size = np.nan_to_num(np.abs(np.asarray(y)), nan=np.inf).max(axis=(1, 2))
            bounded.append((size <= LARGEST_OUTPUT * largest[name]).all(axis=-1))
    return np.all(bounded, axis=0)


def _largest_targets(data: Sequences) -> Mapping[str, Float[np.ndarray, " size=_"]]:
    """The largest size of the measured values of each output."""
    targets = cast(Signals, data.targets)
    weights = error_weights(data.weights, targets)
    known = {
        name: np.where(np.broadcast_to(np.asarray(weights[name]) > 0, np.shape(target)), np.asarray(target), 0.0)
        for name, target in targets.items()
    }
    return {name: np.abs(np.nan_to_num(line)).max(axis=(0, 1)) for name, line in known.items()}
