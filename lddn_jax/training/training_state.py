"""A run between two steps: all that the next step depends on, and all that is known so far.

A `TrainingState` is made of values: the loop makes a new one of it at every step, callbacks read it, a checkpoint is
one on disk. The order in which mini-batches are drawn is in it by its key and its epoch: step t draws from
`jax.random.fold_in(key, t)`.
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
    """Networks worth keeping, one for each restart.

    Attributes:
        trained: The networks; stacked where there are several.
        epochs: Steps that led to each, `(restarts,)`.
        values: Losses of each, `(restarts,)`; infinite where it is not known.
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
        """Takes others in the places of the chosen ones."""
        return Kept(
            merged(chosen, trained, self.trained),
            np.where(chosen, epochs, self.epochs),
            np.where(chosen, values, self.values),
        )


@dataclass(frozen=True)
class TrainingState:
    """A run between two steps; callbacks are given one, checkpoints hold one.

    Attributes:
        trained: The networks in training: one, or several stacked; `Started` where initial states are trained.
        trainer: The trainer's state: moments, μ, α, β, γ …
        key: What shuffling and drawing start from.
        epoch: Steps that were taken.
        epochs: Steps after which training ends.
        restarts: Number of networks.
        lowest: The networks of the smallest loss so far.
        best: Those of the smallest validation loss; None without validation.
        stop_reasons: Why each network stopped; None while it trains.
        ends: Steps after which each stopped.
        rows: What was recorded; the first `epoch` of them belong to this state.
        seconds: Time that training took, that before a resumption included.
        limits: `goal` and `max_fail`, which may change from one part of a run to the next.
        identity: Topology, data and settings, which may not.
        delay_lines: The delay state of the data where initial states are trained, else None.
        stop_reason: Why the run ended for those that were still training; None until then.
        values: Losses after the last step, `(restarts,)`; None until the run ended.
        scores: What restarts are compared by, the smaller the better; None until the run ended.
        non_finite: Where networks left the finite numbers.
        flags: Names of `lddn_jax.training.stop_reason.Flag`.
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

    @property
    def active(self) -> Bool[np.ndarray, " restarts"]:
        """Which networks go on, `(restarts,)`."""
        return np.array([reason is None for reason in self.stop_reasons])

    @property
    def all_stop_reasons(self) -> tuple[StopReason, ...]:
        """Why each network stopped, those included that were going on when the run ended or was saved."""
        return tuple(reason or self.stop_reason or StopReason.UNFINISHED for reason in self.stop_reasons)

    @property
    def history(self) -> History:
        """What was recorded."""
        return History.of_rows(self.rows[: self.epoch])

    @property
    def last(self) -> dict[str, float]:
        """The last row: of several networks that of the smallest loss; empty before the first step."""
        if not self.epoch:
            return {}
        row = self.rows[self.epoch - 1]
        k = self._leader
        return {name: float(value[k]) if isinstance(value, np.ndarray) else value for name, value in row.items()}

    @property
    def net(self) -> Network:
        """The network after the last step: of several that of the smallest loss."""
        return network_of(self._one(self.trained, self._leader))

    @property
    def best_net(self) -> Network:
        """The best network so far: by validation loss, or without validation by loss."""
        kept = self.lowest if self.best is None else self.best
        return network_of(self._one(kept.trained, int(np.argmin(kept.values))))

    @property
    def best_value(self) -> float:
        """The smallest validation loss so far; without validation the smallest loss."""
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
    """Returns the new networks in the places of the chosen ones, the old ones elsewhere."""
    if chosen.all():
        return new
    return _merged(chosen, new, old) if chosen.any() else old


@eqx.filter_jit
def _merged(chosen: Bool[Array | np.ndarray, " restarts"], new: Any, old: Any) -> Any:
    def one(new, old):
        return jnp.where(jnp.reshape(chosen, (-1, *(1,) * (new.ndim - 1))), new, old)

    return jax.tree.map(one, new, old)
