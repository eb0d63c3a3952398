"""Outputs of a model on whole records, with what a committee knows beyond them: its spread, and members left out.

σ(t)² = spread(t)² + noise²        of a measurement; a single network has no σ of its own
"""

import logging
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from lddn_jax.network.committee import Committee, Model
from lddn_jax.network.signals import Signals, SignalsLike, StateLike
from lddn_jax.prediction.error_bars import Prediction
from lddn_jax.simulation.simulate import predict, predict_members

_logger = logging.getLogger("lddn_jax")


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of a network or committee, `(*batch, time, size)` by output layer, in the units of the network.

    Attributes:
        mean: The outputs; of a committee, those of its members combined.
        bars: Outputs of a committee with its spread and noise; None for a network.
        notes: Members that were left out.
    """

    mean: Signals
    bars: Prediction | None = None
    notes: tuple[str, ...] = field(default=())


def outputs_of(model: Model, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> ModelOutputs:
    """Predicts with a network or a committee; arguments as in `lddn_jax.predict`."""
    if not isinstance(model, Committee):
        return ModelOutputs(predict(model, inputs, state, steps=steps))
    outputs = predict_members(model, inputs, state, steps=steps)
    mean, spread = model.combined(outputs), model.spread(outputs)
    noise = {
        name: jnp.broadcast_to(model.noise[name], a.shape) if model.noise else jnp.zeros_like(a)
        for name, a in mean.items()
    }
    notes = _left_out(np.asarray(model.kept(outputs)))
    for note in notes:
        _logger.warning("%s", note)
    return ModelOutputs(mean, Prediction(mean, spread, noise), notes)


def _left_out(kept: np.ndarray) -> tuple[str, ...]:
    """Says which members were left out, and of how many sequences."""
    kept = kept.reshape(kept.shape[0], -1)
    missing = {k: int(np.sum(~row)) for k, row in enumerate(kept) if not row.all()}
    if not missing:
        return ()
    total = kept.shape[1]
    each = ", ".join(
        str(k) + (f" (in {count} of {total} records)" if total > 1 else "") for k, count in missing.items()
    )
    few = f"member{'s' if len(missing) > 1 else ''} {each} of {kept.shape[0]}"
    return (
        f"committee: {few} left out, because {'they' if len(missing) > 1 else 'it'} became NaN or infinite, or exploded"
        + ("" if kept.any(axis=0).all() else "; no member is left, so there is no prediction"),
    )
