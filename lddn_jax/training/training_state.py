"""`TrainingState`: the complete state of a training run between two steps.

It is immutable: the loop makes a new one at every step, callbacks read it, and a checkpoint is one saved to disk. Key
and epoch determine the order of the mini-batches: step t draws from `jax.random.fold_in(key, t)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from lddn_jax.network.network import Network
from lddn_jax.simulation.delays import DelayState
from lddn_jax.training.fingerprint import Identity
from lddn_jax.training.history import History, Row
from lddn_jax.training.non_finite import NonFinite
from lddn_jax.training.state_parameters import Trained, network_of
from lddn_jax.training.stop_reason import StopReason


@dataclass(frozen=True)
class Kept:
    """The best networks so far, one per restart.

    Attributes:
        trained: The network, or several stacked.
        epochs: Number of steps after which each was reached, `(restarts,)`.
        values: Loss of each, `(restarts,)`; infinite if unknown.
    """

    trained: Trained
    epochs: Int[np.ndarray, " restarts"]
    values: Float[np.ndarray, " restarts"]

    def where(
        self,
        chosen: Bool[np.ndarray, " restarts"],
        trained: Trained,
        epochs: int | Int[np.ndarray, " restarts"],
        values: Float[np.ndarray, " restarts"],
    ) -> "Kept":
        """Replaces the chosen entries."""
        return Kept(
            merged(chosen, trained, self.trained),
            np.where(chosen, epochs, self.epochs),
            np.where(chosen, values, self.values),
        )


@dataclass(frozen=True)
class TrainingState:
    """The state of a run between two steps; passed to callbacks and saved in checkpoints.

    Attributes:
        trained: The network in training, or several stacked; `Started` if initial states are trained.
        trainer: Trainer state: moments, μ, α, β, γ …
        key: Random key for mini-batches and restarts.
        epoch: Number of steps taken.
        epochs: Maximum number of steps.
        restarts: Number of networks.
        lowest: Networks with the smallest training loss so far.
        best: Networks with the smallest validation loss so far; None without validation.
        stop_reasons: Why each network stopped; None while it trains.
        ends: Number of steps after which each network stopped.
        rows: Recorded quantities of each epoch; only the first `epoch` rows belong to this state.
        seconds: Training time, including the time before a run was resumed.
        limits: `goal` and `max_fail`, which may change when a run resumes.
        identity: Fingerprint of topology, data and settings, which may not change.
        delay_lines: Delay state of the data if initial states are trained, else None.
        stop_reason: Why the run ended for networks that were still training; None before the end.
        values: Training losses after the last step, `(restarts,)`; None before the end.
        scores: Scores that restarts are ranked by, `(restarts,)`, smaller is better; None before the end.
        non_finite: Places where networks became NaN or infinite.
        flags: Names of `lddn_jax.training.stop_reason.Flag`.
        notes: Sentences on the data and the result, by name of their flag.
    """

    trained: Trained
    trainer: PyTree
    key: PRNGKeyArray
    epoch: int
    epochs: int
    restarts: int
    lowest: Kept
    best: Kept | None
    stop_reasons: tuple[StopReason | None, ...]
    ends: tuple[int, ...]
    rows: list[Row]
    seconds: float
    limits: Mapping[str, float | None]
    identity: Identity
    delay_lines: DelayState | None = None
    stop_reason: StopReason | None = None
    values: Float[np.ndarray, " restarts"] | None = None
    scores: Float[np.ndarray, " restarts"] | None = None
    non_finite: tuple[NonFinite, ...] = ()
    flags: frozenset[str] = field(default_factory=frozenset)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def active(self) -> Bool[np.ndarray, " restarts"]:
        """True for networks still in training, `(restarts,)`."""
        return np.array([reason is None for reason in self.stop_reasons])

    @property
    def all_stop_reasons(self) -> tuple[StopReason, ...]:
        """Why each network stopped, including those still in training when the run ended or was saved."""
        return tuple(reason or self.stop_reason or StopReason.UNFINISHED for reason in self.stop_reasons)

    @property
    def history(self) -> History:
        """Recorded quantities as arrays over epochs."""
        return History.of_rows(self.rows[: self.epoch])

    @property
    def last(self) -> dict[str, float]:
        """Quantities of the last epoch, for the network with the smallest loss; empty before the first step."""
        if not self.epoch:
            return {}
        row = self.rows[self.epoch - 1]
        k = self._leader
        return {name: float(value[k]) if isinstance(value, np.ndarray) else value for name, value in row.items()}

    @property
    def net(self) -> Network:
        """The network after the last step; with restarts the one with the smallest loss."""
        return network_of(self._one(self.trained, self._leader))

    @property
    def best_net(self) -> Network:
        """The best network so far, by validation loss, or by training loss without validation."""
        kept = self.lowest if self.best is None else self.best
        return network_of(self._one(kept.trained, int(np.argmin(kept.values))))

    @property
    def best_value(self) -> float:
        """The smallest validation loss so far, or the smallest training loss without validation."""
        return float(np.min((self.lowest if self.best is None else self.best).values))

    @property
    def _leader(self) -> int:
        if self.restarts == 1 or not self.epoch:
            return 0
        losses = self.rows[self.epoch - 1]["loss"]
        return 0 if np.isnan(losses).all() else int(np.nanargmin(losses))

    def _one(self, trained: Trained, k: int) -> Trained:
        return trained if self.restarts == 1 else jax.tree.map(lambda leaf: leaf[k], trained)


def merged(chosen: Bool[np.ndarray, " restarts"], new: Any, old: Any) -> Any:
    """Returns the new networks where `chosen` is True, the old ones elsewhere."""
    if chosen.all():
        return new
    return _merged(chosen, new, old) if chosen.any() else old


@eqx.filter_jit
def _merged(chosen: Bool[Array | np.ndarray, " restarts"], new: Any, old: Any) -> Any:
    def one(new, old):
        return jnp.where(jnp.reshape(chosen, (-1, *(1,) * (new.ndim - 1))), new, old)

    return jax.tree.map(one, new, old)
