"""How good a model is, as numbers: pure functions. Measured values that are NaN are don't-cares."""

from lddn_jax.diagnostics.delays import SuggestedDelays, suggest_delays
from lddn_jax.diagnostics.error_bars import calibration, coverage
from lddn_jax.diagnostics.ranges import first_outside, training_range
from lddn_jax.diagnostics.residuals import (
    Correlation,
    HypothesisTest,
    autocorrelation,
    cross_correlation,
    ljung_box,
    normality,
)
from lddn_jax.diagnostics.score_table import Score, Scores, scores  # after the module of that name
from lddn_jax.diagnostics.scores import fit_index, mae, nrmse, r2, rmse
from lddn_jax.diagnostics.stability import Stability, stability

__all__ = [
    "Correlation",
    "HypothesisTest",
    "Score",
    "Scores",
    "Stability",
    "SuggestedDelays",
    "autocorrelation",
    "calibration",
    "coverage",
    "cross_correlation",
    "first_outside",
    "fit_index",
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
