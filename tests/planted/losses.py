"""Mistakes in losses: what counts, how much, and what a sum is divided by."""

import jax.numpy as jnp
from planting import alter, caught_by, replace

from lddn_jax.losses import AbstractElementwise, AbstractLeastSquares, AbstractLoss, CrossEntropy, Huber


@caught_by("test_losses.py::test_missing_targets_are_dont_cares[MeanSquaredError-none]")
def missing_targets_in_the_divisor(monkeypatch):
    """A mean divides by the number of all targets, missing ones included."""
    alter(monkeypatch, AbstractElementwise.terms, "jnp.sum(weight > 0)", "jnp.asarray(weight.size)")


@caught_by("test_losses.py::test_value[SumSquaredError-by time-no factors]")
def error_weights_twice(monkeypatch):
    """w² e² for w e²; weights of 0 and 1, as padding has them, do not show it."""
    alter(monkeypatch, AbstractLoss._compared, "factor * weights[name]", "factor * weights[name] ** 2")


@caught_by("test_losses.py::test_residuals[SumSquaredError-by time]")
def residuals_without_the_square_root(monkeypatch):
    """Residuals are w e, whose squares sum up to Σ w² e²."""
    alter(monkeypatch, AbstractLeastSquares.residuals, "jnp.sqrt(w) * ", "w * ")


@caught_by("test_losses.py::test_factors_and_residuals_give_the_loss[MeanSquaredError-by element]")
def padding_in_the_divisor_of_least_squares(monkeypatch):
    """Least squares divide by the number of targets, those of weight zero included."""
    alter(monkeypatch, AbstractLeastSquares.factors, "counted(targets, weights).values()", "targets.values()")


@caught_by("test_losses.py::test_value[Huber-none-no factors]")
def huber_without_its_offset(monkeypatch):
    """δ |e| beyond δ, which jumps by ½δ² where the square ends, and has the right slope everywhere."""

    def jumping(error, self, e):
        return jnp.where(jnp.abs(e) <= self.delta, e * e / 2, self.delta * jnp.abs(e))

    replace(monkeypatch, Huber, "error", jumping)


@caught_by("test_losses.py::test_cross_entropy[none]")
def vector_with_a_gap_counted(monkeypatch):
    """A target vector of which one element is missing counts."""
    alter(monkeypatch, CrossEntropy.terms, "jnp.all(known", "jnp.any(known")
