"""A trained network and its signals on a record, in one form whatever it comes from.

An identified network comes with its record and is judged on the test part, in the record's units; a fit is judged on
the data that it is given with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from lddn_jax import diagnostics
from lddn_jax.data.sequences import Sequences
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import LDDNError
from lddn_jax.identify import Identified
from lddn_jax.losses import counted
from lddn_jax.models import measured_name
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.recipes import Regularized
from lddn_jax.signals import as_signals
from lddn_jax.simulate import predict
from lddn_jax.training.closed_loop import ClosedLoop, closed_over, diverged_at
from lddn_jax.training.fit import Fitted, History

ONE_STEP, FREE_RUN, PERSISTENCE = "one step ahead", "closed loop (free run)", "persistence y(t) = y(t−1)"

Channels = dict[str, np.ndarray]


@dataclass(frozen=True)
class Judged:
    """A network and its record. Signals are by element, `(*batch, time, 1)`, in the record's units.

    Attributes:
        net: The network as it was trained.
        trained: What training returned, in words.
        stop_reason: See `lddn_jax.Fitted`.
        history: Of the network returned.
        best_epoch: See `lddn_jax.Fitted`; None where there is no such thing.
        time: `(time,)` of the judged part.
        inputs: Inputs of the judged part, by name.
        measured: Measured outputs.
        predictions: By what they are, and by output.
        loop: The network whose loop is closed, and data for it in its own units; None if there is no loop.
        opened: The network whose loop is open, and data for it; None if no input is the measurement of an output.
        record: Of an identified network the whole record by column, its time and its parts.
        ranges: Of signals in the part that trained; empty if it is not known.
        std: Standard deviation of a measurement in the free run, by output; empty unless there are error bars.
        scale: What turns an error of an output from the units of `opened` into the record's.
    """

    net: Network
    trained: str
    stop_reason: str
    history: History
    best_epoch: int | None
    time: np.ndarray
    inputs: Channels
    measured: Channels
    predictions: dict[str, Channels]
    loop: tuple[Network, Sequences] | None = None
    opened: tuple[Network, Sequences] | None = None
    record: tuple[Mapping[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]] | None = None
    ranges: Mapping[str, Any] = field(default_factory=dict)
    std: Channels = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """What there are predictions of, persistence apart."""
        return [kind for kind in self.predictions if kind != PERSISTENCE]

    def diverged(self, kind: str) -> int | None:
        """Returns the first step at which a prediction left the finite numbers or all that was measured."""
        with np.errstate(over="ignore"):
            signals = [{k: jnp.asarray(v) for k, v in part.items()} for part in (self.predictions[kind], self.measured)]
        return diverged_at(*signals)

    @property
    def residuals(self) -> Channels:
        """Measured − predicted by output, of the first of `predictions`; NaN from where that diverged."""
        first = self.predictions[self.models[0]]
        step = self.diverged(self.models[0])
        until = (np.arange(len(self.time)) < (len(self.time) if step is None else step))[:, None]
        return {name: y - np.where(until, first[name], np.nan) for name, y in self.measured.items()}


def judged(found: Any, data: Sequences | None = None) -> Judged:
    """Gathers what is known of a trained network.

    Args:
        found: `Identified`, `Fitted` or `ClosedLoop`.
        data: What to judge a `Fitted` or `ClosedLoop` on; an `Identified` brings its own.

    Raises:
        LDDNError: If data are missing, or given to an `Identified`.
    """
    if isinstance(found, Identified):
        if data is not None:
            raise LDDNError("an Identified is judged on the test part of its own record; leave data out.")
        return _of_identified(found)
    if not isinstance(found, (Fitted, ClosedLoop)):
        raise LDDNError(
            f"{type(found).__name__} cannot be judged; give what identify, fit or fit_closed_loop returned."
        )
    if data is None or data.targets is None:
        raise LDDNError("a fit is judged on data with targets: report(fitted, data, path='report.html').")
    net, topology = found.net, found.net.topology
    sizes = topology.sizes
    inputs = as_signals("input", data.inputs, {name: sizes[name] for name in topology.input_names}, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in topology.outputs}, net.dtype)
    has_loop = bool(plan(topology).longest_delays.keys() - topology.input_names)
    has_measured = any(measured_name(output) in topology.input_names for output in topology.outputs)
    own = Sequences(inputs, targets, data.state, data.weights)
    predicted = channels(predict(net, inputs, data.state, steps=data.steps))
    return Judged(
        net=net,
        trained=str(found),
        stop_reason=_last(found).stop_reason,
        history=found.history.of(found.best_restart) if isinstance(found, Fitted) else found.history,
        best_epoch=found.best_epoch if isinstance(found, Fitted) else None,
        time=np.arange(data.steps, dtype=float),
        inputs=channels(inputs),
        measured=channels(counted(targets, data.weights)),
        predictions={FREE_RUN if has_loop else ONE_STEP: predicted},
        loop=(net, own) if has_loop else None,
        opened=(net, own) if has_measured else None,
    )


def _of_identified(found: Identified) -> Judged:
    experiment, trained, held = found.experiment, found.trained, found.experiment.held
    closed = closed_over(found.net, experiment.loops)

    def column(values):
        return {name: np.asarray(value, float)[:, None] for name, value in values.items()}

    def joined(part, start=0, before_end=0):
        """Signals of a part, its pieces one after the other, by element."""
        pieces = [{**record.inputs, **record.targets} for record in part]
        whole = {
            name: np.concatenate([piece[name][start : len(piece[name]) - before_end] for piece in pieces])
            for name in pieces[0]
            if name not in experiment.loops
        }
        return channels(whole)

    test, before = joined(experiment.test, held), joined(experiment.test, held - 1, 1)
    parts = {"train": experiment.train, "validation": experiment.validation, "test": experiment.test}
    by_part = {part: joined(records) for part, records in parts.items()}
    columns = {name: np.concatenate([signals[name] for signals in by_part.values()])[:, 0] for name in test}
    edges = np.cumsum([0, *(sum(map(len, records)) for records in parts.values())])
    longest = max(experiment.test, key=len)
    fitted = trained.after if isinstance(trained, Regularized) else trained
    return Judged(
        net=found.net,
        trained=str(trained),
        stop_reason=_last(fitted).stop_reason,
        history=trained.history.of(fitted.best_restart) if isinstance(fitted, Fitted) else trained.history,
        best_epoch=fitted.best_epoch if isinstance(fitted, Fitted) else None,
        time=found.time,
        inputs={name: signal for name, signal in test.items() if name not in found.measured},
        measured=column(found.measured),
        predictions={
            ONE_STEP: column(found.one_step),
            FREE_RUN: column(found.closed_loop),
            PERSISTENCE: {name: before[name] for name in found.measured},
        },
        loop=(closed, experiment.cut([longest], None, closed.topology)),
        opened=(found.net, experiment.cut([longest], None)),
        record=(
            columns,
            np.arange(edges[-1], dtype=float),
            {part: (float(edges[k]), float(edges[k + 1])) for k, part in enumerate(parts)},
        ),
        ranges=diagnostics.training_range(by_part["train"]),
        std=column(found.std),
        scale={name: float(found.model.scalers[name].error_scale()[0]) for name in experiment.targets},
    )


def _last(found: Fitted | ClosedLoop) -> Fitted:
    """The fit that led to the network returned."""
    return found if isinstance(found, Fitted) else found.stages[found.best_stage].fitted
