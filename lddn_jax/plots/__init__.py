"""Figures. Each function draws on the axes it is given, or on new ones, and returns them; none shows a window."""

from lddn_jax.plots.bayesian import calibration, comparison, relevance
from lddn_jax.plots.diagram import diagram
from lddn_jax.plots.horizon import horizon_profile
from lddn_jax.plots.residuals import error_histogram, regression, residual_correlations
from lddn_jax.plots.response import bands, errors, response
from lddn_jax.plots.training import evidence, training_curve, training_state, training_states
from lddn_jax.plots.weights import weights_map

__all__ = [
    "bands",
    "calibration",
    "comparison",
    "diagram",
    "error_histogram",
    "errors",
    "evidence",
    "horizon_profile",
    "regression",
    "relevance",
    "residual_correlations",
    "response",
    "training_curve",
    "training_state",
    "training_states",
    "weights_map",
]
