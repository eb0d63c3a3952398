"""Number of states of the linear model by cross-validation: the smallest that is nearly as good as the best.

Linear models of 1, 2 … states are identified in each fold without its blocks, and simulated through them. Whether
inputs act without delay, by a feedthrough, is decided in the same way.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lddn_jax.data.fold_blocks import FoldData
from lddn_jax.data.starts import AbstractStart
from lddn_jax.errors import DataError
from lddn_jax.identification.structures import LinearStarts, Structure, first_states_of

FEEDTHROUGH_GAIN = 0.9  # factor by which the error falls if a feedthrough is worth it


@dataclasses.dataclass(frozen=True)
class LinearOrders:
    """Out-of-fold errors of linear models.

    Attributes:
        starts: The linear models, without or with a feedthrough, whichever is better.
        errors: Root mean square of the errors by number of states, infinite where a model diverged.
        best: The smallest number of states whose error is close to the smallest one.
    """

    starts: LinearStarts
    errors: Mapping[int, float]
    best: int


def linear_orders(
    starts: LinearStarts, candidates: Iterable[int], start: AbstractStart, *, warmup: int, gain: float
) -> LinearOrders:
    """Compares linear models by their out-of-fold errors.

    Args:
        starts: Linear models of the folds, without a feedthrough.
        candidates: Numbers of states, increasing; those that the records are too short for are left out.
        start: How sequences start.
        warmup: Number of first steps of each sequence that are not scored.
        gain: Factor by which the error falls if more states are worth it.

    Raises:
        DataError: If the records are too short for the smallest number of states.
    """
    candidates = list(candidates)
    found = _of(starts, candidates, start, warmup, gain)
    if not starts.folds.records[0].inputs:
        return found
    smaller = [states for states in candidates if states <= found.best]
    other = _of(dataclasses.replace(starts, feedthrough=True), smaller, start, warmup, gain)
    return other if other.errors[other.best] < FEEDTHROUGH_GAIN * found.errors[found.best] else found


def _of(starts: LinearStarts, candidates: list[int], start: AbstractStart, warmup: int, gain: float) -> LinearOrders:
    errors: dict[int, float] = {}
    topology = Structure(1, 0, 0, starts.feedthrough).topology(starts.folds.records[0])  # the data are the same for all
    data = [starts.folds.data(topology, fold, start) for fold in range(starts.folds.count)]
    for states in candidates:
        try:
            errors[states] = _error(starts, states, data, warmup)
        except DataError:  # too short for a model of this order
            if not errors:
                raise
            break
    least = min(errors.values())
    return LinearOrders(starts, errors, next(n for n, error in errors.items() if gain * error <= least))


def _error(starts: LinearStarts, states: int, data: Sequence[FoldData], warmup: int) -> float:
    folds, squares = starts.folds, []
    for fold, of_fold in enumerate(data):
        linear = starts.model(states, fold)
        first = first_states_of(linear, of_fold.train)
        for k, (span, row) in enumerate(zip(of_fold.spans, of_fold.firsts, strict=True)):
            if span.held_from >= span.stop:
                continue
            record = folds.records[span.record].piece(row - 1, span.stop)  # its first row holds the first state
            run = linear.free_run(record, first[k])
            scored = max(span.held_from, row + warmup) - (row - 1)
            squares += [((record.targets[name] - y)[scored:] ** 2).ravel() for name, y in run.items()]
    every = np.concatenate(squares)
    mean = np.nanmean(every) if np.isfinite(every).any() else math.inf
    return float(np.sqrt(mean)) if np.isfinite(mean) else math.inf
