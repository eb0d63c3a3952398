"""A trained network on records it has never seen, in their own units.

Where the outputs were measured, predictions one step ahead and further are compared with them, and a free run starts
from the first measured values. Where they were not, a free run starts from a delay state of zeros in scaled units, the
middle of what the network was trained on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lddn_jax import diagnostics
from lddn_jax.checks import expect
from lddn_jax.data.records import Record, timed_record
from lddn_jax.data.scaling import scaled
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.sources import names_of, signals_of
from lddn_jax.data.tables import Table
from lddn_jax.data.windowing import starts_of, whole
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.network.rewiring import closed_over, loops_of, measured_loops
from lddn_jax.network.signals import Signals
from lddn_jax.prediction.horizons import k_step
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.simulate import predict
from lddn_jax.training.trainer import check_positive

FREE = "free run"


@dataclass(frozen=True)
class Forecast:
    """Predictions of one record.

    Attributes:
        time: `(time,)` of the predicted steps; numbers of rows where the record tells none.
        measured: `(time,)` by output, or element of one; empty where nothing was measured.
        predictions: `(time,)` by what it is and by output: {"free run": {"y": …}, "1 step ahead": …}.
        warmup: First steps that are not scored.
    """

    time: Float[np.ndarray, " time"]
    measured: Mapping[str, Float[np.ndarray, " time"]]
    predictions: Mapping[str, Mapping[str, Float[np.ndarray, " time"]]]
    warmup: int

    @property
    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """RMSE and R² by prediction and output, after the warm-up; empty where nothing was measured."""
        rows = slice(self.warmup, None)
        return {
            kind: {
                name: {
                    score.__name__: score(y[rows], found[name][rows]) for score in (diagnostics.rmse, diagnostics.r2)
                }
                for name, y in self.measured.items()
            }
            for kind, found in self.predictions.items()
            if self.measured
        }

    def to_table(self) -> Table:
        """Returns all columns, ready for `to_csv`."""
        columns = {"time": self.time, **self.measured}
        for kind, found in self.predictions.items():
            columns |= {f"{name} {kind}": value for name, value in found.items()}
        return Table(columns)

    def __str__(self):
        skipped = f", {self.warmup} of them for warm-up, not scored" if self.warmup else ""
        lines = [f"{len(self.time)} steps{skipped}"]
        if not self.measured:
            return f"{lines[0]}; the record has no measured outputs to compare with"
        lines.append(f"{'':<34}{'RMSE':>12}{'R²':>12}")
        for kind, outputs in self.scores.items():
            lines += [f"{f'{name}, {kind}':<34}{s['rmse']:>12.6g}{s['r2']:>12.6f}" for name, s in outputs.items()]
        if any(np.isnan(y).any() for y in self.measured.values()):
            lines.append("measured outputs have gaps, which nothing can be predicted from: there is a free run only")
        return "\n".join(lines)


def forecast(model: Scaled, source: Any, ahead: Sequence[int] = (1,), *, warmup: int = 0) -> Forecast:
    """Predicts a record.

    Args:
        model: A network with its loop open, such as `lddn_jax.identification.identify` finds, with its scalers.
        source: A `lddn_jax.data.Record`, or what `Record.of` takes; columns are named as the inputs and outputs of the
            network. Without columns of the outputs there is a free run only.
        ahead: Steps ahead, beside the free run; left out where measured outputs have gaps.
        warmup: First steps that are not scored.

    Raises:
        DataError: If a column is missing or holds NaN, or the record is too short.

    Example:
        >>> import jax, numpy as np, lddn_jax as lddn
        >>> net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
        >>> u, y = np.random.default_rng(0).normal(size=(2, 30, 1))
        >>> model = lddn.Scaled.fit(net, lddn.Sequences({"u": u, "measured_y": y}, y))
        >>> found = lddn.forecast(model, {"u": u[:, 0], "y": y[:, 0]}, ahead=(1, 3))
        >>> list(found.predictions), len(found.time)
        (['free run', '1 step ahead', '3 steps ahead'], 28)
    """
    fix = "a network with its scalers: Scaled(net, scalers), or Scaled.fit(net, data)"
    expect(Scaled, "model", model, "forecast(model, source, ahead)", fix)
    if not isinstance(ahead, Iterable):
        raise LDDNError(f"forecast: ahead={ahead!r}, but steps are listed: ahead=({ahead!r},).")
    for k in ahead:
        check_positive("ahead", k)
    topology, loops = model.net.topology, loops_of(model.net, None)
    columns = () if isinstance(source, Record) else names_of(source)
    if columns and not any(name in columns for name in topology.outputs):
        return _unmeasured(model, source)
    record = record_for(model, source, "mask")
    closed = closed_over(model.net, loops)
    first = starts_of(closed.topology, record, 1)[0]
    if not 0 <= warmup < len(record) - first:
        raise DataError(
            f"warmup={warmup}: the record has {len(record) - first} steps after {first} for its delay state."
        )
    data = whole(closed.topology, scaled(record, model.scalers))
    found = {FREE: predict(closed, data.inputs, data.state)}
    if not any(np.isnan(target).any() for target in record.targets.values()):
        opened = whole(topology, scaled(record.measured(loops), model.scalers))
        for k in ahead:
            found[steps_ahead(k)] = k_step(model.net, opened, k)
    instants = np.arange(len(record), dtype=float) if record.time is None else record.time
    measured = {name: y[first:, 0] for name, y in channels(record.targets).items()}
    return Forecast(instants[first:], measured, _in_units(model, found), warmup)


def steps_ahead(k: int) -> str:
    """What predictions k steps ahead are called."""
    return f"{k} step{'s' if k > 1 else ''} ahead"


def exogenous(model: Scaled) -> list[str]:
    """The inputs of a network that carry no measured output."""
    loops = measured_loops(model.net.topology)
    return [i.name for i in model.net.topology.inputs if i.name not in loops]


def record_for(model: Scaled, source: Any, missing: str = "error") -> Record:
    """Returns the record of a network's inputs and outputs that a source holds; a `Record` as it is.

    Args:
        model: A network with its loop open.
        source: As for `Record.of`; a column `time` that is no signal tells instants.
        missing: As for `Record`.
    """
    if isinstance(source, Record):
        needed, held = (*exogenous(model), *model.net.topology.outputs), {**source.inputs, **source.targets}
        for name in needed:
            if name not in held:
                raise DataError(
                    f"{source} has no {name!r}, which the network needs; of {list(needed)} none may be missing."
                )
        return source
    return timed_record(source, exogenous(model), list(model.net.topology.outputs), missing)


def _unmeasured(model: Scaled, source: Any) -> Forecast:
    inputs, columns = exogenous(model), names_of(source)
    if not inputs:
        raise DataError(
            f"the record has none of the outputs {list(model.net.topology.outputs)}, and the network has no other "
            "input to run on. Give a file with measured outputs to start from."
        )
    signals, _, instants = signals_of(source, inputs, [], "time" if "time" in {*columns} - {*inputs} else None)
    units = {name: model.scalers[name].apply(signal)[None] for name, signal in signals.items()}
    data = Sequences(units, None)  # which says where an input is missing
    free = predict(closed_over(model.net, loops_of(model.net, None)), data.inputs)
    return Forecast(
        np.arange(data.steps, dtype=float) if instants is None else instants, {}, _in_units(model, {FREE: free}), 0
    )


def _in_units(model: Scaled, found: Mapping[str, Signals]) -> dict[str, dict[str, Float[np.ndarray, " time"]]]:
    return {
        kind: {name: y[0, :, 0] for name, y in channels(model.in_units(outputs)).items()}
        for kind, outputs in found.items()
    }
