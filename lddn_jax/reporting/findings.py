"""All diagnostics of an evaluated network at once.

Residual tests are on the predictions that come first: of an identified network those one step ahead, since errors of a
free run are correlated even for the true system.
"""

from dataclasses import dataclass

import numpy as np

from lddn_jax import diagnostics
from lddn_jax.prediction.forecast import FREE_RUN
from lddn_jax.prediction.horizons import horizon_profile
from lddn_jax.reporting.evaluation import Evaluation

TESTED_LAGS = 20
LEAST_TESTED_RESIDUALS = 2 * TESTED_LAGS  # residuals to test
MARGIN_OF_TRAINING_RANGE = 0.05  # of the training range, beyond which a signal is outside of it


@dataclass(frozen=True)
class Diagnosis:
    """All numbers about a `Evaluation`. What could not be computed is left out: None, or no entry.

    Attributes:
        scores: By what was predicted.
        own: Autocorrelation of residuals, by output.
        with_inputs: Cross-correlation of residuals with an input, by `(input, output)`.
        whiteness: Ljung-Box test, by output.
        normality: By output.
        diverged: The first step at which a prediction left the finite numbers or the record, by what was predicted.
        stability: Of the loop along the record.
        outside: The first step at which a signal of the free run was outside of the training range, by signal.
        coverage: The share of measurements within ± 2σ of the free run, by output.
        horizons: Horizons, and the RMSE at each by output.
    """

    scores: dict[str, diagnostics.Scores]
    own: dict[str, diagnostics.Correlation]
    with_inputs: dict[tuple[str, str], diagnostics.Correlation]
    whiteness: dict[str, diagnostics.HypothesisTest]
    normality: dict[str, diagnostics.HypothesisTest]
    diverged: dict[str, int]
    stability: diagnostics.Stability | None
    outside: dict[str, int | None]
    coverage: dict[str, float]
    horizons: tuple[np.ndarray, dict[str, np.ndarray]] | None


def diagnose(known: Evaluation, lags: int = TESTED_LAGS) -> Diagnosis:
    """Computes all diagnostics.

    Args:
        known: From `collect`.
        lags: Of residual correlations, at most.
    """
    residuals = known.residuals
    lags = min(lags, len(known.time) - 1)
    testable = {
        name: e for name, e in residuals.items() if np.sum(~np.isnan(e)) >= LEAST_TESTED_RESIDUALS and np.nanstd(e) > 0
    }
    free = known.predictions.get(FREE_RUN)
    stable, horizons = None, None
    if known.loop is not None:
        net, data = known.loop
        stable = diagnostics.stability(net, data.inputs, data.state, steps=data.steps)
    if known.opened is not None and len(known.time) > 1:
        profile = horizon_profile(*known.opened)
        # Of an output with several elements, each in its own units, there is no error in the record's.
        scale = known.scale or dict.fromkeys(profile.rmse, 1.0)
        errors = {name: error * scale[name] for name, error in profile.rmse.items() if name in scale}
        horizons = (np.array(profile.horizons), errors) if errors else None
    gone = {kind: known.forecast.diverged(kind) for kind in known.models}
    return Diagnosis(
        scores={kind: diagnostics.scores(known.measured, predicted) for kind, predicted in known.predictions.items()},
        own={name: diagnostics.autocorrelation(e, lags) for name, e in testable.items()},
        with_inputs={
            (name, output): diagnostics.cross_correlation(u, e, lags)
            for name, u in known.inputs.items()
            for output, e in testable.items()
        },
        whiteness={name: diagnostics.ljung_box(e, lags) for name, e in testable.items()},
        normality={name: diagnostics.normality(e) for name, e in testable.items()},
        diverged={kind: step for kind, step in gone.items() if step is not None},
        stability=stable,
        outside=diagnostics.first_outside(known.inputs | (free or {}), known.ranges, MARGIN_OF_TRAINING_RANGE)
        if known.ranges
        else {},
        coverage={}
        if free is None
        else {name: diagnostics.coverage(known.measured[name], free[name], std) for name, std in known.std.items()},
        horizons=horizons,
    )
