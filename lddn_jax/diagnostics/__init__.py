"""Model diagnostics as pure functions: scores, residual analysis, calibration, stability and delay selection.

Measured values that are NaN are ignored.
"""

from lddn_jax.diagnostics.delay_selection import SuggestedDelays, suggest_delays
from lddn_jax.diagnostics.interval_coverage import calibration, coverage
from lddn_jax.diagnostics.loop_stability import Stability, stability
from lddn_jax.diagnostics.metrics import fit_index, mae, nrmse, r2, rmse
from lddn_jax.diagnostics.ranges import Excursion, excursions, first_outside, training_range
from lddn_jax.diagnostics.record_quality import interpolated
from lddn_jax.diagnostics.residuals import (
    Correlation,
    HypothesisTest,
    autocorrelation,
    cross_correlation,
    ljung_box,
    normality,
)
from lddn_jax.diagnostics.score_table import Score, Scores, scores  # after the module of that name

__all__ = [
    "Correlation",
    "Excursion",
    "HypothesisTest",
    "Score",
    "Scores",
    "Stability",
    "SuggestedDelays",
    "autocorrelation",
    "calibration",
    "coverage",
    "cross_correlation",
    "excursions",
    "first_outside",
    "fit_index",
    "interpolated",
    "ljung_box",
    "mae",
    "normality",
    "nrmse",
    "r2",
    "rmse",
    "scores",
    "stability",
    "suggest_delays",
    "training_range",
]
