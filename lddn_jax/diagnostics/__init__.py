"""How good a model is, as numbers: pure functions. Measured values that are NaN are don't-cares."""

from lddn_jax.diagnostics.error_bars import calibration, coverage
from lddn_jax.diagnostics.scores import r2, rmse

__all__ = ["calibration", "coverage", "r2", "rmse"]
