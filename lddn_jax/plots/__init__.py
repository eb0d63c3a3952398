"""Plots with matplotlib. Functions draw on the given axes or on new ones, return them, and never open a window."""

from lddn_jax.plots.curves import evidence, training_curve, training_state, training_states
from lddn_jax.plots.horizon_curve import horizon_profile
from lddn_jax.plots.linear_dynamics import bode, poles
from lddn_jax.plots.network_diagram import diagram
from lddn_jax.plots.predictions import bands, errors, response
from lddn_jax.plots.residual_figures import error_histogram, regression, residual_correlations
from lddn_jax.plots.uncertainty import calibration, comparison, relevance
from lddn_jax.plots.weights import weights_map

__all__ = [
    "bands",
    "bode",
    "calibration",
    "comparison",
    "diagram",
    "error_histogram",
    "errors",
    "evidence",
    "horizon_profile",
    "poles",
    "regression",
    "relevance",
    "residual_correlations",
    "response",
    "training_curve",
    "training_state",
    "training_states",
    "weights_map",
]
