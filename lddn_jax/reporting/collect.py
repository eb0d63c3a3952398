"""Evaluation of any fitted result: `Identified`, `Fitted`, `ClosedLoop` or `Scaled`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from lddn_jax import diagnostics
from lddn_jax.checks import called
from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.identification.competition import Competition
from lddn_jax.identification.identify import Identified
from lddn_jax.identification.recipes import Regularized
from lddn_jax.network.committee import Committee, Model
from lddn_jax.network.rewiring import closed_over, measured_loops
from lddn_jax.network.signals import Signals, measured_name
from lddn_jax.prediction.baselines import RunsFree
from lddn_jax.prediction.estimated_states import unmeasured_layers
from lddn_jax.prediction.evaluator import evaluate, evaluate_sequences
from lddn_jax.prediction.feedback import loop_closed, loop_opened, opened
from lddn_jax.prediction.forecast_result import FREE_RUN, Forecast
from lddn_jax.prediction.horizons import with_gaps
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.reporting.evaluation import Evaluation
from lddn_jax.simulation.delays import DelayState
from lddn_jax.topology.plan import plan
from lddn_jax.trainers.closed_loop import ClosedLoop
from lddn_jax.training.history import History
from lddn_jax.training.result import Fitted


def collect(found: Any, data: Sequences | Record | None = None, linear: RunsFree | None = None) -> Evaluation:
    """Evaluates a trained network for a report.

    Args:
        found: `Identified`, `Fitted` or `ClosedLoop`; or a `Scaled` network whose loop is open.
        data: `Sequences` for a `Fitted` or `ClosedLoop`, a `Record` for a `Scaled`; None for an `Identified`, which has
            its own test part.
        linear: A linear model to compare a `Scaled` with.

    Raises:
        LDDNError: If data are missing, or given with an `Identified`.
        DataError: If a record for a `Scaled` has no stretch of rows without missing targets.
    """
    if linear is not None and not isinstance(found, Scaled):
        raise LDDNError(
            f"report: a linear model is compared with a Scaled network on a record, not with {called(found)}. Write "
            "report(lddn.Scaled(net, scalers), record, linear=linear)."
        )
    if isinstance(found, Identified):
        if data is not None:
            raise LDDNError("an Identified is evaluated on the test part of its own record; leave data out.")
        return _of_identified(found)
    if isinstance(found, Scaled):
        if not isinstance(data, Record):
            raise LDDNError(
                f"a Scaled network is evaluated on a record, not on {called(data)}: "
                "report(model, lddn.data.Record.of(...), path=...)."
            )
        return _of_model(found, data, linear)
    if not isinstance(found, (Fitted, ClosedLoop)):
        raise LDDNError(
            f"{type(found).__name__} cannot be evaluated; pass the result of identify, fit or fit_closed_loop, or a "
            "lddn.Scaled network."
        )
    if not isinstance(data, Sequences) or data.targets is None:
        raise LDDNError(
            f"a fit is evaluated on data with targets, not on {called(data)}: report(fitted, data, path='report.html')."
        )
    return _of_fit(found, data)


def _of_fit(found: Fitted | ClosedLoop, data: Sequences) -> Evaluation:
    net, topology = found.net, found.net.topology
    forecast = evaluate_sequences(net, data)
    own = forecast.run
    has_loop = FREE_RUN in forecast.predictions
    has_measured = any(measured_name(output) in topology.input_names for output in topology.outputs)
    feeds_back = any(c.source in topology.outputs and c.delays[0] > 0 for c in topology.connections)
    complete = own is not None and not any(
        np.isnan(np.asarray(y)).any() for y in with_gaps(cast(Signals, own.targets), own.weights).values()
    )
    return Evaluation(
        net=net,
        trained=str(found),
        stop_reason=_last(found).stop_reason,
        history=found.history.of(found.best_restart) if isinstance(found, Fitted) else found.history,
        best_epoch=found.best_epoch if isinstance(found, Fitted) else None,
        forecast=forecast,
        loop=(net, own) if has_loop and own is not None else None,
        opened=(net, own) if own is not None and (has_measured or (feeds_back and complete)) else None,
        notes=found.notes,
    )


def _of_identified(found: Identified) -> Evaluation:
    trained, forecast = found.trained, found.test
    fitted = trained.after if isinstance(trained, Regularized) else trained
    reason = trained.stop_reason if isinstance(fitted, Competition) else _last(fitted).stop_reason
    loop, opened = _longest(found.model, forecast)
    reads_outputs = bool(measured_loops(found.net.topology))
    return Evaluation(
        net=found.net,
        trained=str(trained),
        stop_reason=reason,
        history=trained.history.of(fitted.best_restart) if isinstance(fitted, Fitted) else trained.history,
        best_epoch=fitted.best_epoch if isinstance(fitted, Fitted) else None,
        forecast=forecast,
        loop=loop if reads_outputs else None,
        opened=opened if reads_outputs else None,
        record=_whole_record(found),
        record_steps=tuple(len(piece) for piece in _pieces(found)),
        scale=_scale(found.model),
        notes=trained.notes,
        competition=trained if isinstance(trained, Competition) else None,
        out_of_fold=_out_of_fold(found.model, trained) if isinstance(trained, Competition) else None,
    )


def _of_model(model: Scaled, record: Record, linear: RunsFree | None) -> Evaluation:
    """Evaluates a saved network on a record, or on the pieces between missing outputs."""
    model = loop_opened(model)
    closed, loops = loop_closed(model)
    needed = max(plan(closed.topology).longest_delays.values(), default=0) + 1
    pieces = record.unbroken(needed)
    if not pieces:
        raise DataError(
            f"the record has no stretch of {needed} rows without a missing output; {needed - 1} of them fill the "
            "delays. Use a record with fewer gaps."
        )
    forecast = evaluate(model, pieces, persistence=True, linear=linear)
    left_out = len(record) - sum(map(len, pieces))
    gaps = f"\n{left_out} of {len(record)} rows are left out: outputs are missing there" if left_out else ""
    kind = f"committee of {model.net.members} networks" if isinstance(model.net, Committee) else "network"
    loop, opened = _longest(model, forecast)
    otherwise = None if model.sampling is None else model.sampling.about(pieces)
    return Evaluation(
        net=model.net,
        trained=f"a saved {kind}; its training is not known{gaps}",
        stop_reason="",
        history=History({"loss": []}),
        best_epoch=None,
        forecast=forecast,
        loop=loop if loops or unmeasured_layers(closed) else None,
        opened=opened if loops else None,
        scale=_scale(model),
        notes={} if otherwise is None else {"sampling": otherwise},
    )


def _out_of_fold(model: Scaled, found: Competition) -> diagnostics.Scores | None:
    """Scores of the out-of-fold predictions in the units of the records; None if nothing was predicted out of fold."""
    entry = found.chosen.found
    measured, predicted = {}, {}
    for name, error in found.errors.items():
        y = np.concatenate([record.targets[name] for record in entry.folds.records])
        target = np.where(np.isnan(error), np.nan, y)
        measured[name], predicted[name] = (np.asarray(model.scalers[name].invert(x)) for x in (target, y - error))
    measured, predicted = channels(measured), channels(predicted)
    if any(np.sum(~np.isnan(y)) < 2 for y in measured.values()):
        return None
    return diagnostics.scores(
        {name: y[None] for name, y in measured.items()}, {name: y[None] for name, y in predicted.items()}
    )


def _longest(model: Scaled, found: Forecast) -> tuple[tuple[Model, Sequences], tuple[Model, Sequences]]:
    """Returns the network and the longest evaluated record, with the loop closed and with the loop open."""
    run, loops = found.run, measured_loops(model.net.topology)
    assert run is not None, "a record with measured outputs has a free run"
    k = int(np.argmax(found.steps))
    data = jax.tree.map(lambda signal: signal[k : k + 1], dataclasses.replace(run, state=None))
    # Delay lines of a committee may have the axis of the members before that of the records.
    lines = {name: line[..., k : k + 1, :, :] for name, line in cast(DelayState, run.state or {}).items()}
    whole = dataclasses.replace(data, state=lines or None)
    return (closed_over(model.net, loops), whole), (model.net, opened(model.net, whole, loops))


def _scale(model: Scaled) -> dict[str, float]:
    """Returns the factors that convert errors of single-element outputs to the units of the record."""
    sizes = model.net.topology.sizes
    scales = {name: model.scalers[name].error_scale() for name in model.net.topology.outputs if sizes[name] == 1}
    return {name: float(scale[0]) for name, scale in scales.items()}


def _whole_record(found: Identified) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]]:
    """Returns all records concatenated, by element, their time, and the start and end of each part."""
    experiment = found.experiment
    parts = {"train": experiment.train, "validation": experiment.validation, "test": experiment.test}
    pieces = _pieces(found)
    shown = [
        _elements({k: x for k, x in p.inputs.items() if k not in experiment.loops} | dict(p.targets)) for p in pieces
    ]
    lines = {name: np.concatenate([piece[name] for piece in shown]) for name in shown[0]}
    stops = np.cumsum([sum(map(len, part)) for part in parts.values()])
    time = np.arange(stops[-1], dtype=float)
    if all(piece.time is not None for piece in pieces):
        known = np.concatenate([piece.time for piece in pieces])
        time = known if (np.diff(known) > 0).all() else time
    starts = [0, *stops[:-1]]
    splits = {
        name: (float(time[start]), float(time[min(stop, len(time) - 1)]))
        for name, start, stop in zip(parts, starts, stops, strict=True)
        if stop > start
    }
    return lines, time, splits


def _pieces(found: Identified) -> list[Record]:
    """Returns the pieces of all parts of the record."""
    experiment = found.experiment
    return [*experiment.train, *experiment.validation, *experiment.test]


def _elements(signals: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns signals by element, `(time,)`."""
    return {name: x[:, 0] for name, x in channels(signals).items()}


def _last(found: Fitted | ClosedLoop) -> Fitted:
    """Returns the fit of the returned network."""
    return found if isinstance(found, Fitted) else found.stages[found.best_stage].fitted
