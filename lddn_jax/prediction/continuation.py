"""Forecast of a record beyond its last measured outputs.

    measured    y(0) … y(m−1)        nothing is measured from row m on
    forecast    ŷ(m), ŷ(m+1) …       free run of the closed loop from the delay state before row m

The delay state before row m holds the last measured values. Where one of them is missing, or a hidden layer is read
through a delay, the closed loop runs up to row m first, and each prediction is replaced by the measured value where
there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import DataError
from lddn_jax.network.committee import Committee, Model
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals
from lddn_jax.prediction.estimated_states import with_first_states
from lddn_jax.simulation.delays import DelayState, cut, known_before, state_sizes
from lddn_jax.simulation.member_runs import each_member, shared_by_members
from lddn_jax.simulation.simulate import simulate

Lines = Mapping[str, Float[np.ndarray, " time=_"]]


@dataclass(frozen=True)
class Continuation:
    """Forecast of the steps after the last measured outputs, in the units of the record.

    Attributes:
        time: Time of the steps, or row numbers, `(steps,)`.
        predictions: Forecast by output, `(steps,)`; one entry for each element of an output.
        inputs: Inputs in these steps by name, without the feedback inputs; empty without inputs.
        std: Standard deviation of a measurement, by output; empty without error bars.
        diverged_at: First step at which the forecast is not finite or far outside the measured outputs, or None.
    """

    time: Float[np.ndarray, " steps"]
    predictions: Lines
    inputs: Lines = field(default_factory=dict)
    std: Lines = field(default_factory=dict)
    diverged_at: int | None = None

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.time)

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`."""
        values = {"time": self.time.tolist(), "diverged_at": self.diverged_at}
        values |= {name: {"mean": line.tolist()} for name, line in self.predictions.items()}
        for name, line in self.std.items():
            values[name]["std"] = line.tolist()
        return values


def state_after(closed: Model, record: Record, rows: int, start: int, fitted: int | None = 0) -> DelayState:
    """Returns the delay state of the closed loop after the first rows of a record, `(1, longest delay, size)`.

    Layers of a committee have the axis of the members in front if they had to be simulated.

    Args:
        closed: The network with its loop closed.
        record: In the units of the network; targets that are NaN are missing.
        rows: Number of rows.
        start: From `known_row`.
        fitted: Number of steps from `start` on that first states of layers that are not measured are estimated from;
            None to choose it, 0 for zeros.
    """
    sizes = state_sizes(closed.topology)
    signals = {**record.inputs, **record.targets}
    state = {
        name: jnp.asarray(cut(np.asarray(signals[name]), [start], held, 0), closed.dtype)
        if name in signals
        else jnp.zeros((1, held, size), closed.dtype)
        for name, (held, size) in sizes.items()
    }
    if isinstance(closed, Committee) and not closed.topology.inputs:
        state = each_member(closed, state, (1,))  # only the delay state tells how many sequences there are
    if start == rows:
        return state
    inputs = {name: _single(record.inputs[name][start:rows], closed) for name in sorted(closed.topology.input_names)}
    targets = {name: _single(record.targets[name][start:rows], closed) for name in closed.topology.outputs}
    known, _ = with_first_states(closed, Sequences(inputs, targets, state), fitted)
    state = dict(cast(DelayState, known.state))
    if isinstance(closed, Committee):  # the loop over steps needs the axis of the members from the beginning
        state = shared_by_members(each_member(closed, state, (1,)), closed.topology.input_names)
    measured = {name: y for name, y in targets.items() if name in sizes}
    return _corrected(closed, inputs, measured, state, rows - start)


def known_row(closed: Model, record: Record, rows: int) -> int:
    """Returns the row before which the delay state is known: the last one, or the first if a hidden layer has a delay.

    Args:
        closed: The network with its loop closed.
        record: In any units; targets that are NaN are missing.
        rows: Number of rows to look at.

    Raises:
        DataError: If the delay state cannot be filled before any row.
    """
    sizes = state_sizes(closed.topology)
    filled = np.arange(rows + 1) >= max((held for held, _ in sizes.values()), default=0)
    signals = {**record.inputs, **record.targets}
    for name, (held, _) in sizes.items():
        if name in signals:
            filled &= known_before(~np.isnan(signals[name][:rows]).any(axis=1), held)
    found = np.flatnonzero(filled)
    if not found.size:
        held = max(held for held, _ in sizes.values())
        called = f"record {record.name!r}" if record.name else "the record"
        raise DataError(
            f"{called} has no {held} rows in a row with measured outputs, which a forecast starts from; {rows} rows "
            "up to the last measurement were given. Fill the gaps, or add earlier rows."
        )
    hidden = sizes.keys() - signals.keys()
    return int(found[0] if hidden else found[-1])


def _single(signal: Float[np.ndarray, "time size"], net: Model) -> Float[Array, "1 time size"]:
    return jnp.asarray(np.asarray(signal)[None], net.dtype)


@up_to_date
@jax.jit(static_argnames="steps")
def _corrected(net: Model, inputs: Signals, measured: Signals, state: DelayState, steps: int) -> DelayState:
    """The delay state after a free run in which measured values replace predictions as far as they are known."""

    def step(state: DelayState, now: tuple[Signals, Signals]) -> tuple[DelayState, None]:
        sample, known = now
        after = simulate(net, sample, state, steps=1).final_state
        for name, value in known.items():
            last = after[name][..., -1, :]
            value = jnp.broadcast_to(value[:, 0], last.shape)
            after = after | {name: after[name].at[..., -1, :].set(jnp.where(jnp.isnan(value), last, value))}
        return after, None

    def by_step(signals: Signals) -> dict[str, Float[Array, "steps 1 1 size"]]:
        return {name: jnp.moveaxis(signal, -2, 0)[:, :, None] for name, signal in signals.items()}

    final, _ = jax.lax.scan(step, state, (by_step(inputs), by_step(measured)), length=steps)
    return final
