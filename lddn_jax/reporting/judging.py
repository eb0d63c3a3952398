"""What is known of a trained network, gathered from whatever it comes as, such as `Identified` or `Fitted`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lddn_jax import diagnostics
from lddn_jax.checks import called
from lddn_jax.data.records import Record
from lddn_jax.data.scaling import MinMax, scaled
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.windowing import whole
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.identification.identify import Identified
from lddn_jax.identification.recipes import Regularized
from lddn_jax.losses import counted
from lddn_jax.network.rewiring import closed_over, loops_of
from lddn_jax.network.signals import as_signals, measured_name
from lddn_jax.prediction.forecast import FREE, forecast, steps_ahead
from lddn_jax.prediction.horizons import with_gaps
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.reporting.judged import FREE_RUN, ONE_STEP, PERSISTENCE, Channels, Judged
from lddn_jax.simulation.simulate import predict
from lddn_jax.topology.plan import plan
from lddn_jax.trainers.closed_loop import ClosedLoop
from lddn_jax.training.history import History
from lddn_jax.training.result import Fitted


def judged(found: Any, data: Sequences | Record | None = None) -> Judged:
    """Gathers what is known of a trained network.

    Args:
        found: `Identified`, `Fitted` or `ClosedLoop`; or a `Scaled` network whose loop is open.
        data: What to judge a `Fitted` or `ClosedLoop` on, or a `Record` for a `Scaled`; an `Identified` brings its own.

    Raises:
        LDDNError: If data are missing, or given to an `Identified`.
    """
    if isinstance(found, Identified):
        if data is not None:
            raise LDDNError("an Identified is judged on the test part of its own record; leave data out.")
        return _of_identified(found)
    if isinstance(found, Scaled):
        if not isinstance(data, Record):
            raise LDDNError(
                f"a Scaled network is judged on a record, not on {called(data)}: "
                "report(model, lddn.data.Record.of(...), path=...)."
            )
        return _of_model(found, data)
    if not isinstance(found, (Fitted, ClosedLoop)):
        raise LDDNError(
            f"{type(found).__name__} cannot be judged; give what identify, fit or fit_closed_loop returned, or a "
            "lddn.Scaled network."
        )
    if not isinstance(data, Sequences) or data.targets is None:
        raise LDDNError(
            f"a fit is judged on data with targets, not on {called(data)}: report(fitted, data, path='report.html')."
        )
    net, topology = found.net, found.net.topology
    sizes = topology.sizes
    inputs = as_signals("input", data.inputs, {name: sizes[name] for name in topology.input_names}, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in topology.outputs}, net.dtype)
    has_loop = bool(plan(topology).longest_delays.keys() - topology.input_names)
    has_measured = any(measured_name(output) in topology.input_names for output in topology.outputs)
    complete = not any(np.isnan(np.asarray(y)).any() for y in with_gaps(targets, data.weights).values())
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
        opened=(net, own) if has_measured or (has_loop and complete) else None,
    )


def _of_identified(found: Identified) -> Judged:
    experiment, trained, held = found.experiment, found.trained, found.experiment.held
    test, loops = experiment.test, experiment.loops
    steps = [len(piece) - held for piece in test]
    longest = [max(test, key=len)]
    closed = closed_over(found.net, loops)

    def apart(joined: Mapping[str, np.ndarray], fill: str = "nan") -> Channels:
        """Pieces that lie one after the other, side by side: `(pieces, time, 1)`, with NaN or the last value behind."""
        ends = np.cumsum(steps)[:-1]
        return {name: _padded(np.split(np.asarray(line, float), ends), fill) for name, line in joined.items()}

    def of_test(start: int, before_end: int, kind: str) -> Channels:
        pieces = [
            _elements({k: x for k, x in getattr(record, kind).items() if k not in loops}, start, before_end)
            for record in test
        ]
        return {name: _padded([piece[name] for piece in pieces], "nan") for name in pieces[0]}

    measured = apart(found.measured)
    for y in measured.values():
        y[:, : found.settings.warmup] = np.nan  # as in its scores
    predictions = {
        ONE_STEP: apart(found.one_step, "last"),
        FREE_RUN: apart(found.closed_loop, "last"),
        PERSISTENCE: of_test(held - 1, 1, "targets"),
    }
    fitted = trained.after if isinstance(trained, Regularized) else trained
    trained_on = [_elements(r.targets, 0, 0) | _elements(r.inputs, 0, 0) for r in experiment.train]
    inputs = of_test(held, 0, "inputs")
    ranges = {k: np.concatenate([part[k] for part in trained_on])[:, None] for k in (*inputs, *measured)}
    return Judged(
        net=found.net,
        trained=str(trained),
        stop_reason=_last(fitted).stop_reason,
        history=trained.history.of(fitted.best_restart) if isinstance(fitted, Fitted) else trained.history,
        best_epoch=fitted.best_epoch if isinstance(fitted, Fitted) else None,
        time=found.time if len(test) == 1 else np.arange(max(steps), dtype=float),
        inputs=inputs,
        measured=measured,
        predictions=predictions,
        loop=(closed, experiment.cut(longest, None, closed.topology)),
        opened=(found.net, experiment.cut(longest, None)),
        record=_whole_record(found),
        ranges=diagnostics.training_range(ranges),
        std=apart(found.std, "last"),
        scale=_scale(found.model),
    )


def _of_model(model: Scaled, record: Record) -> Judged:
    """A saved network on a record that has measured outputs, without gaps."""
    loops = loops_of(model.net, None)
    found = forecast(model, record, (1,))
    if steps_ahead(1) not in found.predictions:
        raise DataError(
            "the record has missing targets, from which nothing can be predicted one step ahead. Judge the network on "
            "a piece between gaps: record.unbroken()."
        )
    closed = closed_over(model.net, loops)
    units = scaled(record.measured(loops), model.scalers)
    held = len(record) - len(found.time)

    def column(values: Mapping[str, np.ndarray]) -> Channels:
        return {name: y[:, None] for name, y in values.items()}

    ranges = {name: (s.lowest, s.highest) for name, s in model.scalers.items() if isinstance(s, MinMax)}
    return Judged(
        net=model.net,
        trained="a network that was trained before",
        stop_reason="",
        history=History({"loss": []}),
        best_epoch=None,
        time=found.time,
        inputs=column(_elements({n: x for n, x in record.inputs.items() if n in model.scalers}, held, 0)),
        measured=column(found.measured),
        predictions={
            ONE_STEP: column(found.predictions[steps_ahead(1)]),
            FREE_RUN: column(found.predictions[FREE]),
            PERSISTENCE: column(_elements(record.targets, held - 1, 1)),
        },
        loop=(closed, whole(closed.topology, units)),
        opened=(model.net, whole(model.net.topology, units)),
        ranges={name: tuple(map(np.asarray, pair)) for name, pair in ranges.items() if name not in loops},
        scale=_scale(model),
    )


def _scale(model: Scaled) -> dict[str, float]:
    """What turns errors of outputs of one element into the units of the record."""
    sizes = model.net.topology.sizes
    scales = {name: model.scalers[name].error_scale() for name in model.net.topology.outputs if sizes[name] == 1}
    return {name: float(scale[0]) for name, scale in scales.items()}


def _whole_record(found: Identified) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]]:
    """All records one after the other by element, their time, and where the parts begin and end."""
    experiment = found.experiment
    parts = {"train": experiment.train, "validation": experiment.validation, "test": experiment.test}
    pieces = [piece for part in parts.values() for piece in part]
    shown = [
        _elements({k: x for k, x in p.inputs.items() if k not in experiment.loops} | dict(p.targets), 0, 0)
        for p in pieces
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
    }
    return lines, time, splits


def _elements(signals: Mapping[str, Any], start: int, before_end: int) -> dict[str, np.ndarray]:
    """Rows of signals by element, `(time,)`."""
    return {name: x[start : len(x) - before_end, 0] for name, x in channels(signals).items()}


def _padded(pieces: Sequence[np.ndarray], fill: str) -> np.ndarray:
    longest = max(map(len, pieces))
    ends = [np.full(longest - len(piece), np.nan if fill == "nan" else piece[-1]) for piece in pieces]
    return np.stack([np.concatenate([piece, end]) for piece, end in zip(pieces, ends, strict=True)])[..., None]


def _last(found: Fitted | ClosedLoop) -> Fitted:
    """The fit that led to the network returned."""
    return found if isinstance(found, Fitted) else found.stages[found.best_stage].fitted
