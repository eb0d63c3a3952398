"""All diagnostics of an evaluated network.

Residual tests use the first kind of predictions, those with the loop open for an identified network, because errors of
a free run are correlated even for the true system. Predictions d steps ahead are tested at lags of at least d.
"""

from dataclasses import dataclass

import numpy as np

from lddn_jax import diagnostics
from lddn_jax.data.sequences import Sequences
from lddn_jax.diagnostics.oversampling import about_sampling
from lddn_jax.diagnostics.record_quality import (
    LEAST_STEPS,
    about_codes,
    about_constant,
    about_independence,
    about_interpolation,
    about_length,
)
from lddn_jax.network.committee import Model
from lddn_jax.prediction.forecast_result import FREE_RUN, Channels
from lddn_jax.prediction.horizons import horizon_profile
from lddn_jax.reporting.evaluation import Evaluation
from lddn_jax.simulation.member_runs import members_with_states
from lddn_jax.topology.plan import plan

TESTED_LAGS = 20


@dataclass(frozen=True)
class Diagnosis:
    """Diagnostics of an `Evaluation`. Those that could not be computed are None or have no entry.

    Attributes:
        scores: Scores by kind of prediction.
        own: Autocorrelation of residuals, by output.
        with_inputs: Cross-correlation of residuals with an input, by `(input, output)`.
        whiteness: Ljung-Box test, by output.
        normality: Normality test, by output.
        diverged: The first step at which a prediction became NaN or infinite or far exceeded the record, by kind.
        stability: Stability of the loop along the record; of a committee, of the member with the median exponent.
        free_run_whiteness: Ljung-Box test of the errors of the free run, by output.
        outside: Inputs and measured outputs that leave the training range.
        free_run_outside: Outputs of the free run that leave the training range.
        remarks: Warnings about the record itself.
        coverage: The share of measurements within ± 2σ of the free run, by output.
        horizons: Horizons, and the RMSE at each horizon by output.
    """

    scores: dict[str, diagnostics.Scores]
    own: dict[str, diagnostics.Correlation]
    with_inputs: dict[tuple[str, str], diagnostics.Correlation]
    whiteness: dict[str, diagnostics.HypothesisTest]
    normality: dict[str, diagnostics.HypothesisTest]
    diverged: dict[str, int]
    stability: diagnostics.Stability | None
    free_run_whiteness: dict[str, diagnostics.HypothesisTest]
    outside: dict[str, diagnostics.Excursion]
    free_run_outside: dict[str, diagnostics.Excursion]
    remarks: tuple[str, ...]
    coverage: dict[str, float]
    horizons: tuple[np.ndarray, dict[str, np.ndarray]] | None


def diagnose(known: Evaluation, lags: int = TESTED_LAGS) -> Diagnosis:
    """Computes all diagnostics.

    Args:
        known: From `collect`.
        lags: Largest lag of residual correlations.
    """
    residuals = known.residuals
    # Even the true system leaves residuals d steps ahead that are correlated at lags below d.
    first = known.forecast.ahead if known.models[0] == known.forecast.open_loop else 1
    lags = min(lags + first - 1, len(known.time) - 1)
    testable = _testable(residuals) if lags >= first else {}
    free = known.predictions.get(FREE_RUN)
    stable, horizons = None, None
    if known.loop is not None:
        stable = _stability(*known.loop)
    longest_delay = max(plan(known.net.topology).longest_delays.values(), default=0)
    if known.opened is not None and len(known.time) > max(2 * longest_delay, 1):
        profile = horizon_profile(*known.opened)
        # Outputs of several elements, each in its own units, have no single error in the units of the record.
        scale = known.scale or dict.fromkeys(profile.rmse, 1.0)
        errors = {name: error * scale[name] for name, error in profile.rmse.items() if name in scale}
        horizons = (np.array(profile.horizons), errors) if errors else None
    gone = {kind: known.forecast.diverged(kind) for kind in known.models}
    return Diagnosis(
        scores={kind: diagnostics.scores(known.measured, predicted) for kind, predicted in known.predictions.items()},
        own={name: diagnostics.autocorrelation(e, lags, first=first) for name, e in testable.items()},
        with_inputs={
            (name, output): diagnostics.cross_correlation(u, e, lags)
            for name, u in known.inputs.items()
            for output, e in testable.items()
        },
        whiteness={name: diagnostics.ljung_box(e, lags, first=first) for name, e in testable.items()},
        normality={name: diagnostics.normality(e) for name, e in testable.items()},
        diverged={kind: step for kind, step in gone.items() if step is not None},
        stability=stable,
        free_run_whiteness={}
        if free is None
        else {name: diagnostics.ljung_box(e, lags) for name, e in _testable(known.errors_of(FREE_RUN)).items()},
        outside=known.forecast.outside,
        # An output that stood still in training is predicted up to errors, which its scores show.
        free_run_outside={
            name: each
            for name, each in diagnostics.excursions(free or {}, known.forecast.trained_on).items()
            if each.low < each.high
        },
        remarks=_remarks(known),
        coverage={}
        if free is None
        else {name: diagnostics.coverage(known.measured[name], free[name], std) for name, std in known.std.items()},
        horizons=horizons,
    )


def _stability(model: Model, data: Sequences) -> diagnostics.Stability:
    """The stability of a network, or of the member of a committee with the median exponent."""
    each = [
        diagnostics.stability(net, data.inputs, state, steps=data.steps)
        for net, state in members_with_states(model, data.state, data.batch)
    ]
    return sorted(each, key=lambda found: np.nan_to_num(found.exponent, nan=np.inf))[(len(each) - 1) // 2]


def _testable(residuals: Channels) -> Channels:
    """Residuals that are enough for tests, and not all equal."""
    return {name: e for name, e in residuals.items() if np.sum(~np.isnan(e)) >= LEAST_STEPS and np.nanstd(e) > 0}


def _remarks(known: Evaluation) -> tuple[str, ...]:
    """Warnings about the record: what makes scores uncertain, whatever the model."""
    lines = {**known.forecast.inputs, **known.forecast.scored} if known.record is None else known.record[0]
    remarks = [about_sampling({name: lines[name] for name in known.measured})]
    remarks += [about_codes(name, line) for name, line in lines.items() if len(line)]
    remarks += [about_interpolation(name, lines[name]) for name in known.measured if np.sum(~np.isnan(lines[name])) > 1]
    part = "record" if known.record is None else "test part"
    remarks.append(about_length(part, sum(known.forecast.steps)))
    remarks += [about_independence(name, y, part) for name, y in known.measured.items()]
    remarks += [about_constant(name, y, part) for name, y in known.measured.items()]
    return tuple(remark for remark in remarks if remark)
