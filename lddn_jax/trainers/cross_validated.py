"""`CrossValidated`: the result of training on folds, with the out-of-fold predictions and their errors."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from lddn_jax.data.fold_blocks import Folds, Span
from lddn_jax.data.sequences import Sequences
from lddn_jax.network.committee import Committee, OfMembers
from lddn_jax.network.network import Network
from lddn_jax.numerics.stacked import taken
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.simulate import predict_members
from lddn_jax.training.result import Fitted
from lddn_jax.training.stop_reason import StopReason

LARGEST_LOSS_RATIO = 4.0  # of a network that is kept to the smallest one, in validation and then in training


@dataclasses.dataclass(frozen=True, eq=False)
class CrossValidated:
    """Result of `fit_folds`.

    Attributes:
        folds: The folds.
        fits: Result of the training on each fold.
        kept: Numbers of the restarts that were kept, best first, by fold.
        bounded: Whether each network that was kept stays bounded under stress, in the order of `origins`.
        members: The networks of the committee, stacked: the best of each fold, after the training on everything.
        refitted: Results of the training on everything, for one or several groups of members; empty if there was none.
        replaced: Numbers of the members for which the network of the fold was kept in place of the refitted one.
        left_out: Numbers of those that were left out of `members` after the training on everything, because they do
            not stay bounded under stress, or have a much larger training loss than others.
        predictions: Out-of-fold predictions for each record, by output layer; NaN where no block was predicted.
        seconds: Duration.
    """

    folds: Folds
    fits: tuple[Fitted, ...]
    kept: tuple[tuple[int, ...], ...]
    bounded: tuple[bool, ...]
    members: Network
    refitted: tuple[Fitted, ...]
    replaced: tuple[int, ...]
    left_out: tuple[int, ...]
    predictions: tuple[Mapping[str, Float[np.ndarray, "rows=_ size=_"]], ...]
    seconds: float

    @property
    def errors(self) -> dict[str, Float[np.ndarray, "time size=_"]]:
        """Measured − predicted out of fold, all records one after the other, by output layer; NaN if unknown."""
        pairs = list(zip(self.folds.records, self.predictions, strict=True))
        return {name: np.concatenate([r.targets[name] - p[name] for r, p in pairs]) for name in self.predictions[0]}

    @property
    def horizons(self) -> Integer[np.ndarray, " time"]:
        """Number of steps since the start of its held-out block, from 1 on, for each row of `errors`.

        It is 1 in the first rows of a record that no fold holds out, whose errors are NaN.
        """
        found = [np.ones(len(record), int) for record in self.folds.records]
        for fold in range(self.folds.count):
            for span in self.folds.spans(fold):
                found[span.record][span.held_from : span.stop] = np.arange(1, span.stop - span.held_from + 1)
        return np.concatenate(found)

    @property
    def error(self) -> float:
        """Root mean square of the out-of-fold errors over all outputs, the estimate of the error on new data.

        It is infinite if all networks that were kept of a fold became NaN or infinite.
        """
        return _root_mean_square(self.errors)

    @property
    def fold_errors(self) -> tuple[float, ...]:
        """Root mean square of the errors in the blocks of each fold."""
        found = []
        for fold in range(self.folds.count):
            inside = [_held_rows(self.folds, fold, record) for record in range(len(self.folds.records))]
            rows = np.concatenate(inside)
            found.append(_root_mean_square({name: error[rows] for name, error in self.errors.items()}))
        return tuple(found)

    @property
    def origins(self) -> tuple[tuple[int, int], ...]:
        """Fold and restart of each network that was kept.

        The members come from these, in this order, unless only some of them were trained on everything, or some were
        left out after it.
        """
        return tuple((fold, restart) for fold, kept in enumerate(self.kept) for restart in kept)

    @property
    def in_order(self) -> Int[np.ndarray, " members"]:
        """Numbers of the members: the best of each fold first, those of easier folds before, then the second best."""
        rows = [
            (self.kept[fold].index(restart), float(self.fits[fold].restart_values[restart]), fold)
            for fold, restart in self.origins
        ]
        return np.array(sorted(range(len(rows)), key=lambda k: rows[k]))

    def spans(self, fold: int) -> list[Span]:
        """Returns the rows of the sequences of a fold, in the order of its trained first states."""
        return self.folds.usable_spans(self.members.topology, fold)

    @property
    def stop_reason(self) -> StopReason:
        """Why training stopped: the first reason that cut it short, or that of the last training."""
        reasons = [fitted.stop_reason for fitted in (*self.fits, *self.refitted)]
        return next((reason for reason in reasons if reason.cut_short), reasons[-1])

    def __str__(self):
        errors = ", ".join(f"{error:.4g}" for error in self.fold_errors)
        of_each = f"{len(self.kept[0])} of each fold" if self.kept else "none"
        return f"out-of-fold error {self.error:.4g} (folds {errors}); {of_each} kept; {self.seconds:.1f} s"


def best_restarts(
    losses: Float[np.ndarray, " restarts"], bounded: Bool[np.ndarray, " restarts"], keep: int
) -> Int[np.ndarray, " kept"]:
    """Returns the restarts that are kept, best first: bounded ones if any of those with a small loss are."""
    order = np.argsort(losses, kind="stable")
    if not np.isfinite(losses[order[0]]):
        return order[:1]
    close = order[losses[order] <= LARGEST_LOSS_RATIO * losses[order[0]]]
    return (close[bounded[close]] if bounded[close].any() else close)[:keep]


def restarts_of(fitted: Fitted, order: Int[np.ndarray, " count"]) -> tuple[Network, DelayState]:
    """Returns some restarts of a fit, stacked in the given order, and their first states."""
    if fitted.restarts is None:
        states = fitted.initial_state or {}
        return expanded(fitted.net), {name: line[None] for name, line in states.items()}
    return taken((fitted.restarts, fitted.restart_states or {}), order)


def expanded(net: Network) -> Network:
    """Returns a network with an axis of one member in front."""
    return jax.tree.map(lambda leaf: leaf[None], net)


def outputs_of_members(nets: Network, data: Sequences, states: DelayState) -> OfMembers:
    """Returns the outputs of stacked networks, `(members, sequences, time, size)`.

    Args:
        nets: The networks.
        data: The sequences.
        states: Delay states of layers, one set for each network; may be empty.
    """
    return predict_members(Committee(nets), data.inputs or None, member_state(nets, data, states), steps=data.steps)


def member_state(nets: Network, data: Sequences, states: DelayState) -> DelayState | None:
    """Returns the delay state of stacked networks at the start of the sequences; arguments as `outputs_of_members`."""
    members = jax.tree.leaves(nets)[0].shape[0]
    shared = {name: jnp.broadcast_to(line, (members, *line.shape)) for name, line in dict(data.state or {}).items()}
    return {**shared, **states} or None


def _held_rows(folds: Folds, fold: int, record: int) -> np.ndarray:
    """True for rows of a record that a fold holds out."""
    rows = np.zeros(len(folds.records[record]), bool)
    for span in folds.spans(fold):
        if span.record == record:
            rows[span.held_from : span.stop] = True
    return rows


def _root_mean_square(errors: Mapping[str, np.ndarray]) -> float:
    squares = np.concatenate([(error[~np.isnan(error)] ** 2).ravel() for error in errors.values()])
    return float(np.sqrt(squares.mean())) if squares.size else float("nan")
