"""Result of a competition of structures by their out-of-fold error, and the choice among them.

Of structures whose errors hardly differ, the smallest is chosen. With r_k = log(e_k / e'_k), e_k the error of a
structure in fold k of K, e'_k that of the best one, and e and e' their errors over all folds, it is close to the best
if

    max( log(e / e'), mean r ) ≤ min( s / √K, log 1.1 )        s the standard deviation of r

which is the rule of one standard error (Breiman et al. 1984, *Classification and Regression Trees*, section 3.4.3) for
the difference of two structures. One difficult fold may decide the error over all folds, but not the mean. Few folds
give an uncertain s, hence the second bound. For the linear structure it is max( s / √K, log 1.05 ) instead: neurons
have to be worth it. On long records `search` has a rule of its own.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from lddn_jax.diagnostics.lagged import channels
from lddn_jax.identification.effort import Effort
from lddn_jax.identification.structures import Tried
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.network.network import Network
from lddn_jax.numerics.text_table import aligned, digits
from lddn_jax.prediction.conformal import ConformalBands
from lddn_jax.trainers.cross_validated import CrossValidated
from lddn_jax.training.history import History
from lddn_jax.training.result import note_lines
from lddn_jax.training.stop_reason import StopReason

LARGEST_TOLERANCE = math.log(1.1)  # of the logarithm of the error, for the sake of a smaller structure
LEAST_TOLERANCE_OF_LINEAR = math.log(1.05)


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A structure with its result; one structure has a second entry if it was trained longer.

    Attributes:
        structure: The structure, or the declared network.
        found: The result of the training on the folds, and on everything if it was chosen.
        effort: Restarts and steps that were computed.
        frame: The structure of the networks that were trained, in which `structure` is one with weights of zero; see
            `frames`. The members of the committee have none.
    """

    structure: Tried
    found: CrossValidated
    effort: Effort
    frame: Tried

    @property
    def fold_errors(self) -> Float[np.ndarray, " folds"]:
        """Root mean square of the errors of each fold."""
        return np.array(self.found.fold_errors)

    @property
    def steady(self) -> bool:
        """Whether most of its networks stay bounded under stress; see `lddn_jax.trainers.stress`."""
        return self.structure.linear or 2 * sum(self.found.bounded) >= len(self.found.bounded)


@dataclasses.dataclass(frozen=True, eq=False)
class Competition:
    """Result of the competition of structures; `print` shows the table.

    Attributes:
        entries: The structures tried, in the order of trial.
        chosen: The entry that the committee comes from.
        linear: The linear model of all training records, of the order that the folds prefer, in scaled units.
        orders: Out-of-fold errors of the linear models, by number of states, in scaled units.
        seconds: Duration, with compilation.
        stop_reason: Why the training of the chosen structure stopped.
        notes: Sentences on data and result, by name of their flag.
        warmup: Number of first rows of each record of the folds that are not scored.
    """

    entries: tuple[Entry, ...]
    chosen: Entry
    linear: LinearModel
    orders: Mapping[int, float]
    seconds: float
    stop_reason: StopReason
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    warmup: int = 0

    @property
    def members(self) -> Network:
        """The networks of the committee, stacked."""
        return self.chosen.found.members

    @property
    def size(self) -> int:
        """Number of networks of the committee."""
        return int(jax.tree.leaves(self.members)[0].shape[0])

    @property
    def errors(self) -> dict[str, Float[np.ndarray, "time size=_"]]:
        """Out-of-fold errors of the chosen entry by output layer, in scaled units; NaN if unknown or in the warm-up."""
        found = self.chosen.found
        row = np.concatenate([np.arange(len(record)) for record in found.folds.records])[:, None]
        return {name: np.where(row >= self.warmup, error, np.nan) for name, error in found.errors.items()}

    @property
    def noise(self) -> dict[str, Float[np.ndarray, " size=_"]]:
        """Root mean square of the finite out-of-fold errors by output layer, in scaled units."""
        known = {name: np.where(np.isfinite(error), error, np.nan) for name, error in self.errors.items()}
        return {name: np.sqrt(np.nanmean(error**2, axis=0)) for name, error in known.items()}

    @functools.cached_property
    def bands(self) -> ConformalBands | None:
        """Bands of free runs from `errors`, by element in scaled units; None if an output has no error."""
        lines = {name: line[:, 0] for name, line in channels(self.errors).items()}
        if any(np.isnan(line).all() for line in lines.values()):
            return None
        return ConformalBands.fit(lines, self.chosen.found.horizons)

    @property
    def flags(self) -> frozenset[str]:
        """Names of what is remarkable about data and result."""
        return frozenset(self.notes)

    @property
    def history(self) -> History:
        """Training history of the best network on the first fold, or on everything if there was such a training."""
        found = self.chosen.found
        fitted = (*found.refitted, *found.fits)[0]
        return fitted.history.of(fitted.best_restart)

    def to_dict(self) -> dict[str, Any]:
        """Returns the table as plain values for `json.dump`."""
        return {
            "stop_reason": str(self.stop_reason),
            "linear_orders": {str(states): _plain(error) for states, error in self.orders.items()},
            "structures": [
                entry.structure.to_dict()
                | {"out_of_fold": _plain(entry.found.error), "folds": [_plain(e) for e in entry.found.fold_errors]}
                | {"seconds": entry.found.seconds, "restarts": entry.effort.restarts, "epochs": entry.effort.epochs}
                for entry in self.entries
            ],
            "chosen": self.entries.index(self.chosen),
            "members": self.size,
            "replaced": list(self.chosen.found.replaced),
            "left_out": list(self.chosen.found.left_out),
            "seconds": self.seconds,
            "flags": sorted(self.flags),
            "notes": dict(self.notes),
        }

    def __str__(self):
        orders = ", ".join(f"{states}: {digits(error)}" for states, error in self.orders.items())
        rows = [("out-of-fold error", "restarts", "steps", "seconds", "structure")]
        for entry in self.entries:
            mark = "  <- committee" if entry is self.chosen else ""
            effort = entry.effort
            rows.append(
                (
                    digits(entry.found.error),
                    str(effort.restarts),
                    str(effort.epochs),
                    f"{entry.found.seconds:.1f}",
                    f"{entry.structure}{mark}",
                )
            )
        lines = [f"out-of-fold errors of linear models by number of states: {orders}", *aligned(rows, ">>>><")]
        lines.append(f"committee of {self.size} networks in {self.seconds:.1f} s; errors in scaled units")
        return "\n".join([*lines, *note_lines(self.notes, self.notes)])


def steady_ones(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries most of whose networks stay bounded under stress, or all if no entry is such."""
    return [entry for entry in entries if entry.steady] or list(entries)


def within_one_error(entries: Sequence[Entry]) -> Entry:
    """Returns the smallest structure whose error is close to that of the best, by the rule of this module.

    The errors of both are compared fold by fold, as logarithms, because the difficulty of the folds differs more than
    the structures do. Structures without a finite error in every fold are left out.

    Args:
        entries: The structures tried; smaller is fewer states, then fewer neurons in the state equation.
    """
    best = min(entries, key=lambda entry: finite(entry.found.error))
    close = []
    for entry in entries:
        ratio = np.log(np.maximum(entry.fold_errors, 1e-300) / np.maximum(best.fold_errors, 1e-300))
        if not np.isfinite(ratio).all():
            continue
        allowed = ratio.std(ddof=1) / math.sqrt(len(ratio)) if len(ratio) > 1 else 0.0
        worse = math.log(max(entry.found.error, 1e-300) / max(best.found.error, 1e-300))
        linear = entry.structure.linear
        tolerance = max(allowed, LEAST_TOLERANCE_OF_LINEAR) if linear else min(allowed, LARGEST_TOLERANCE)
        if entry is best or max(worse, ratio.mean()) <= tolerance:
            close.append(entry)
    return min(close, key=lambda entry: entry.structure, default=best)


def _plain(error: float) -> float | None:
    """An error as JSON has it: None for one that is not finite, such as that of a structure that diverged."""
    return error if math.isfinite(error) else None


def finite(error: float) -> float:
    """Returns the error, and infinity for one that is not finite."""
    return error if math.isfinite(error) else math.inf
