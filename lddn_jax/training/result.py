"""`Fitted`: the result of training, derived from the final training state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from lddn_jax.errors import LDDNError, NumericalError
from lddn_jax.network.network import Network
from lddn_jax.numerics.stacked import taken
from lddn_jax.numerics.text_table import digits
from lddn_jax.simulation.delays import DelayState
from lddn_jax.training.history import History
from lddn_jax.training.non_finite import NonFinite
from lddn_jax.training.state_parameters import Started, network_of
from lddn_jax.training.stop_reason import Flag, StopReason
from lddn_jax.training.training_state import Kept, TrainingState


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Result of training.

    Attributes:
        net: The trained network: with validation data, the one with the smallest validation loss; otherwise the last
            one, or the one with the smallest training loss if training failed. With restarts, that of the best restart.
        state: Trainer state after the last step.
        history: Recorded quantities as arrays by name.
        stop_reason: Why training stopped, a `lddn_jax.StopReason`; it compares equal to its name, such as "goal".
        best_epoch: Number of steps after which `net` was reached.
        best_restart: Index of the restart that `net` comes from; 0 without restarts.
        stop_reasons: The stop reason of each restart.
        restarts: The networks of all restarts, stacked; pass them as `net` to `fit` to continue. None without restarts.
        initial_state: With `Sequences(train_state=True)`, the delay state of each sequence, `(sequences, longest
            delay, size)` by source, for `predict`. None otherwise.
        restart_states: The initial states that belong to `restarts`, `(restarts, sequences, longest delay, size)` by
            source. None without restarts or trained states.
        restart_values: The loss of each of `restarts` (of `net` without restarts), `(restarts,)`: its smallest
            validation loss, infinite if none was finite; or its training loss without validation.
        training: The final training state; `fit(..., resume=fitted)` continues from it.
        non_finite: The first layer and time step that became NaN or infinite; None if all stayed finite.
        flags: What is remarkable about data, run and result, as names of `lddn_jax.training.stop_reason.Flag`; results
            of `success` may have some, such as "few_targets".
        notes: Sentences with names and numbers for those flags that have one, by flag.
    """

    net: Network
    state: PyTree
    history: History
    stop_reason: StopReason
    best_epoch: int
    best_restart: int = 0
    stop_reasons: tuple[StopReason, ...] = ()
    restarts: Network | None = None
    initial_state: DelayState | None = None
    restart_states: DelayState | None = None
    restart_values: Float[np.ndarray, " restarts"] = field(default_factory=lambda: np.zeros(0), repr=False)
    training: TrainingState | None = field(default=None, repr=False)
    non_finite: NonFinite | None = None
    flags: frozenset[str] = field(default_factory=frozenset)
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, training: TrainingState) -> "Fitted":
        """Builds the result from a final training state, or from one that was saved before the run ended."""
        t, several, reasons = training, training.restarts > 1, training.all_stop_reasons
        chosen = best_of_each(t)
        best = int(np.argmin(chosen.values if t.scores is None else t.scores))

        def pick(leaf):
            return leaf[best] if several else leaf

        found: Any = taken(chosen.trained, best) if several else chosen.trained
        lines = t.delay_lines if isinstance(found, Started) else None
        stacked = None
        if several and lines is not None and isinstance(chosen.trained, Started):
            each = {name: jnp.broadcast_to(line, (t.restarts, *line.shape)) for name, line in lines.items()}
            stacked = each | chosen.trained.state
        return cls(
            net=network_of(found),
            state=jax.tree.map(pick, t.trainer),
            history=t.history,
            stop_reason=reasons[best],
            best_epoch=int(chosen.epochs[best]),
            best_restart=best,
            stop_reasons=reasons,
            restarts=network_of(chosen.trained) if several else None,
            initial_state=None if lines is None else lines | found.state,
            restart_states=stacked,
            restart_values=np.array(chosen.values if t.best is None else t.best.values),
            training=t,
            non_finite=next((place for place in t.non_finite if place.restart == best), None),
            flags=_flags(t),
            notes=t.notes,
        )

    @property
    def success(self) -> bool:
        """True if training ended normally: no interruption, divergence, NaN or infinity."""
        return self.stop_reason.success

    @property
    def rejected(self) -> int:
        """Number of rejected trial steps over all networks; 0 for trainers without trial steps."""
        return self._count("rejected")

    @property
    def non_finite_trials(self) -> int:
        """Number of rejected trial steps that gave NaN or infinity."""
        return self._count("non_finite")

    def raise_for_status(self) -> "Fitted":
        """Returns the result itself if training ended normally.

        Raises:
            NumericalError: If the loss became NaN or infinite, or diverged.
            LDDNError: If training was interrupted, or the result was loaded from a checkpoint of an unfinished run.

        Example:
            >>> import optax, jax.numpy as jnp, lddn_jax as lddn
            >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")],
            ...                          [lddn.Connection("u", to="y")], ["y"])
            >>> u = jnp.ones((5, 1))
            >>> net = lddn.Network(topology, init="zeros")
            >>> fitted = lddn.fit(net, lddn.Sequences(u, u), lddn.losses.MeanSquaredError(),
            ...                   lddn.Optax(optax.sgd(0.1)), epochs=3).raise_for_status()
            >>> fitted.success
            True
        """
        if self.success:
            return self
        reason = self.stop_reason
        if reason in (StopReason.INTERRUPTED, StopReason.UNFINISHED):
            raise LDDNError(
                f"training did not finish ({reason}): {reason.meaning}. Continue from epoch "
                f"{len(self.history['loss'])} with lddn.fit(..., resume=fitted), or with resume=PATH of a checkpoint."
            )
        where = "" if self.non_finite is None else f": {self.non_finite}"
        fix = ""
        if reason in (StopReason.NON_FINITE, StopReason.DIVERGED):
            fix = (
                " Use a smaller learning rate, scale the signals (lddn.Scaled.fit), or start from smaller weights "
                "(lddn.Network(..., init=...))."
            )
        raise NumericalError(f"training failed ({reason}): {reason.meaning}{where}.{fix}")

    def to_dict(self) -> dict[str, Any]:
        """Returns a summary of the run as plain Python values for `json.dump`."""
        return {
            "stop_reason": str(self.stop_reason),
            "success": self.success,
            "epochs": len(self.history["loss"]),
            "best_epoch": self.best_epoch,
            "rejected": self.rejected,
            "non_finite_trials": self.non_finite_trials,
            "non_finite": None if self.non_finite is None else str(self.non_finite),
            "flags": sorted(self.flags),
            "notes": dict(self.notes),
        }

    def _count(self, name: str) -> int:
        return int(np.nansum(self.history[name])) if name in self.history else 0

    def __str__(self):
        history, reason = self.history.of(self.best_restart), self.stop_reason
        losses = history["loss"]
        lines = [
            f"stopped after {len(losses)} epochs: {reason.meaning} ({reason})",
            f"loss {digits(losses[0])} -> {digits(losses[-1])}" if len(losses) else "no step was taken",
        ]
        if len(self.stop_reasons) > 1:
            counted = ", ".join(f"{self.stop_reasons.count(r)} by {r}" for r in dict.fromkeys(self.stop_reasons))
            lines.insert(
                0, f"best of {len(self.stop_reasons)} restarts: number {self.best_restart}; stopped: {counted}"
            )
        if "validation_loss" in history and len(losses):
            best = np.nanmin(history["validation_loss"])
            lines.append(f"best validation loss {digits(best)} after {self.best_epoch} epochs")
        if self.non_finite is not None:
            lines.append(f"not finite: {self.non_finite}")
        first, rest = divergence_first(self.notes)
        return "\n".join([*first, *lines, *note_lines(self.flags - {Flag.FREE_RUN_DIVERGES}, rest)])


def divergence_first(notes: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Returns the note that the free run diverges, which is printed before anything else, and the other notes."""
    rest = {flag: note for flag, note in notes.items() if flag != Flag.FREE_RUN_DIVERGES}
    return [note for flag, note in notes.items() if flag == Flag.FREE_RUN_DIVERGES], rest


def note_lines(flags: Iterable[str], notes: Mapping[str, str]) -> list[str]:
    """Returns a line for each flag: its note; the meaning of a flag without a note."""
    return [f"note: {notes.get(flag, Flag(flag).meaning)}" for flag in sorted(flags)]


_BEFORE = (StopReason.GOAL, StopReason.NON_FINITE, StopReason.UNFINISHED)  # return the network with the smallest loss


def best_of_each(t: TrainingState) -> Kept:
    """The network to return for each restart.

    With validation data, it is the one with the smallest validation loss. Otherwise it is the last one or, if training
    failed or stopped for a reason in `_BEFORE`, the one with the smallest training loss.
    """
    epochs = np.array([t.epoch if reason is None else end for reason, end in zip(t.stop_reasons, t.ends, strict=True)])
    values = np.full(t.restarts, np.inf) if t.values is None else np.nan_to_num(t.values, nan=np.inf)
    bar = [
        np.inf if reason in _BEFORE else -np.inf if reason.success else value
        for reason, value in zip(t.all_stop_reasons, values, strict=True)
    ]
    chosen = t.lowest.where(np.array(bar) < t.lowest.values, t.trained, epochs, values)
    if t.best is None:
        return chosen
    validated = np.isfinite(t.best.values)
    chosen = chosen.where(validated, t.best.trained, t.best.epochs, t.best.values)
    # The training loss of a network without validation loss is not comparable with the validation losses of others.
    return replace(chosen, values=np.where(validated | ~validated.any(), chosen.values, np.inf))


def _flags(t: TrainingState) -> frozenset[str]:
    found, rows = {*t.flags, *t.notes}, t.rows[: t.epoch]
    lost = t.all_stop_reasons.count(StopReason.NON_FINITE)
    if 0 < lost < t.restarts:
        found.add(Flag.RESTARTS_LOST)
    if any(np.nansum(row["non_finite"]) for row in rows if "non_finite" in row):
        found.add(Flag.NON_FINITE_TRIALS)
    if rows and np.nansum(rows[-1].get("floors", 0)):
        found.add(Flag.FLOORS)
    return frozenset(found)
