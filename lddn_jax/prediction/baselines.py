"""Predictions that a model is compared with: persistence, and the free run of a linear model.

    persistence     ŷ(t) = y(t−d), with the smallest delay d of measured outputs
    linear model    x(t) = A x(t−1) + B u(t−1),  y(t) = C x(t) + D u(t), from an estimated x(0)

A network that is not better than a linear model has found nothing that is nonlinear.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from lddn_jax.data.records import Record
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import ShapeError
from lddn_jax.prediction.estimated_states import MOST_FITTED_STEPS
from lddn_jax.prediction.forecast_result import Lines


@runtime_checkable
class RunsFree(Protocol):
    """A model that simulates a record, such as a `lddn_jax.linear.LinearModel`, in the units of the record."""

    def free_run(self, record: Record, first: Any = None, *, samples: int | None = None) -> Mapping[str, Any]:
        """Returns outputs for every row, `(time, size)` by name, from a state estimated from the first `samples`."""
        ...


def persistence_lines(targets: Sequence[Mapping[str, np.ndarray]], firsts: Sequence[int], steps_ahead: int) -> Lines:
    """Returns the measured outputs of some steps before.

    Args:
        targets: Measured outputs of each record, `(time, size)` by name.
        firsts: First predicted row of each record.
        steps_ahead: Number of steps before; the first value is repeated at the start of a record.
    """
    earlier = [
        {name: y[np.maximum(np.arange(first, len(y)) - steps_ahead, 0)] for name, y in each.items()}
        for each, first in zip(targets, firsts, strict=True)
    ]
    return rows_of_records(earlier, [0] * len(earlier))


def linear_lines(
    model: RunsFree, records: Sequence[Record], firsts: Sequence[int], outputs: Sequence[str], fitted_steps: int
) -> Lines:
    """Returns the free run of a linear model.

    Args:
        model: The linear model.
        records: Records without missing inputs.
        firsts: First predicted row of each record.
        outputs: Names of the outputs.
        fitted_steps: Number of steps that first states of the network were estimated from; the linear model gets the
            same rows, or at most 100 if the network needed none.

    Raises:
        ShapeError: If the linear model has other outputs.
    """
    runs = []
    for record, first in zip(records, firsts, strict=True):
        samples = first + fitted_steps if fitted_steps else MOST_FITTED_STEPS
        found = model.free_run(record, samples=min(samples, len(record)))
        if not set(outputs) <= set(found):
            raise ShapeError(
                f"linear: its outputs are {sorted(found)}, but the network predicts {list(outputs)}. Pass a linear "
                "model of the same outputs, in the units of the record."
            )
        runs.append({name: np.asarray(found[name], float) for name in outputs})
    return rows_of_records(runs, firsts)


def rows_of_records(records: Sequence[Mapping[str, np.ndarray]], firsts: Sequence[int]) -> Lines:
    """Rows of every record from its first step on, concatenated."""
    each = list(zip(records, firsts, strict=True))
    whole: dict[str, Float[np.ndarray, "time size=_"]] = {
        name: np.concatenate([record[name][first:] for record, first in each]) for name in records[0]
    }
    return {name: line[:, 0] for name, line in channels(whole).items()}
