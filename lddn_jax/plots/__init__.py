"""Figures. Each function draws on the axes it is given, or on new ones, and returns them; none shows a window."""

from lddn_jax.plots.bayesian import calibration, comparison, relevance
from lddn_jax.plots.diagram import diagram
from lddn_jax.plots.response import bands, errors, response
from lddn_jax.plots.training import evidence, training_curve

__all__ = [
    "bands",
    "calibration",
    "comparison",
    "diagram",
    "errors",
    "evidence",
    "relevance",
    "response",
    "training_curve",
]
