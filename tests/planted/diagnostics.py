"""Mistakes in the diagnostics of a model."""

from planting import alter, caught_by

from lddn_jax.diagnostics.interval_coverage import calibration, coverage
from lddn_jax.diagnostics.loop_stability import _growth, stability
from lddn_jax.diagnostics.metrics import nrmse
from lddn_jax.diagnostics.residuals import Correlation, cross_correlation, ljung_box
from lddn_jax.linear import linearization


@caught_by("test_residuals.py::test_an_input_that_was_missed_is_found_at_its_delay[3-0]")
def lags_mirrored(monkeypatch):
    """ρ_ue(−k) for ρ_ue(k): an input that was missed looks like a controller."""
    alter(monkeypatch, cross_correlation, "np.concatenate([b[:0:-1], a])", "np.concatenate([a[:0:-1], b])")


@caught_by("test_residuals.py::test_values_by_hand")
def one_sided_bound(monkeypatch):
    """A bound of 95 % that 90 % keep, since a correlation may be too large on both sides."""
    alter(monkeypatch, Correlation.bound, "inv_cdf((1 + level) / 2)", "inv_cdf(level)")


@caught_by("test_residuals.py::test_ljung_box_is_the_textbooks_formula")
def box_and_pierce(monkeypatch):
    """N Σ r², without Ljung and Box's correction."""
    alter(monkeypatch, ljung_box, "(N + 2) / N * np.sum", "np.sum")


@caught_by("test_stability.py::test_a_linear_system_has_its_poles[complex]")
def radius_of_the_real_parts(monkeypatch):
    """The largest real part for the largest modulus."""
    alter(monkeypatch, stability, "np.abs(eigenvalues).max(axis=-1)", "eigenvalues.real.max(axis=-1)")


@caught_by("test_stability.py::test_exponents_of_a_linear_system_are_logarithms_of_its_poles[real]")
def directions_not_followed(monkeypatch):
    """Exponents are those of each step alone, along the axes, not along the directions of the steps before."""
    alter(monkeypatch, _growth, "return Q_next, jnp.log", "return Q, jnp.log")


@caught_by("test_stability.py::test_a_short_record_has_the_exponent_of_the_eigenvalues[a weak second delay]")
def directions_taken_from_nowhere(monkeypatch):
    """The record is not repeated before its start, so that transients count as growth."""
    alter(monkeypatch, _growth, "jax.lax.scan(step, start, J)", "jax.lax.scan(step, random, J)")


@caught_by("test_scores.py::test_the_mean_explains_nothing")
def spread_around_zero(monkeypatch):
    """NRMSE is relative to √mean(y²), so that an offset makes every model good."""
    alter(monkeypatch, nrmse, "_rms(y - np.average(y, weights=w), w)", "_rms(y, w)")


@caught_by("test_interval_coverage.py::test_coverage_by_hand[2.3-0.75]")
def variance_for_standard_deviation(monkeypatch):
    """Bands are k σ² wide."""
    alter(monkeypatch, coverage, "k * sigma", "k * sigma**2")


@caught_by("test_interval_coverage.py::test_intervals_of_gaussian_noise_hold_their_nominal_share")
def one_sided_intervals(monkeypatch):
    """A central interval of share p reaches to the quantile of p."""
    alter(monkeypatch, calibration, "inv_cdf((1 + share) / 2)", "inv_cdf(share)")


@caught_by("test_linearization.py::test_a_linear_network_is_its_linear_model[True]")
def newest_value_not_from_the_input(monkeypatch):
    """The delay line of an input does not take the input up."""
    alter(monkeypatch, linearization._at, "= np.eye(size)\n", "= 0.0\n")
