"""Scaled conjugate gradients, against the paper's algorithm as a plain loop."""

import jax.numpy as jnp
import numpy as np
import pytest
from minimization import rosenbrock, run_compiled

from lddn_jax.optimizers import (
    scaled_conjugate_gradient,
)


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e3])
def test_first_step_of_scaled_conjugate_gradients_on_a_parabola(curvature):
    """It is that of Newton, but for λ."""
    _, x, states = run_compiled(
        scaled_conjugate_gradient(lambda_=1e-5), lambda x: curvature * x**2 / 2, jnp.array(2.0), 1
    )
    np.testing.assert_allclose(x, 2 - 2 * curvature / (curvature + 1e-5), atol=1e-9)  # a difference quotient
    assert states.success.all()
    np.testing.assert_allclose(states.lambda_, 1e-5 / 4, rtol=1e-12)


def rosenbrock_gradient(x):
    return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


def moller(E, slope, w, iterations, sigma=5e-5, lam=5e-7):
    """The algorithm of Møller (1993), step by step. Yields w, λ, δ before step 4, Δ, and whether p had to be replaced.

    Ours are two details: k mod N counts steps that were taken, and p = r where p does not descend.
    """
    bar, delta, success, taken = 0.0, 0.0, True, 0  # 1
    p = r = -slope(w)
    for _ in range(iterations):
        pp = p @ p
        if success:  # 2
            sigma_k = sigma / np.sqrt(pp)
            delta = p @ (slope(w + sigma_k * p) - slope(w)) / sigma_k
        delta += (lam - bar) * pp  # 3
        before = delta
        if delta <= 0:  # 4
            bar = 2 * (lam - delta / pp)
            delta = -delta + lam * pp
            lam = bar
        mu = p @ r  # 5
        alpha = mu / delta
        comparison = 2 * delta * (E(w) - E(w + alpha * p)) / mu**2  # 6
        success = comparison >= 0
        if success:  # 7
            w, bar, taken = w + alpha * p, 0.0, taken + 1
            new = -slope(w)
            beta = 0 if taken % len(w) == 0 else (new @ new - new @ r) / mu
            p, r = new + beta * p, new
            if ascends := p @ r <= 0:
                p = r
        else:
            bar, ascends = lam, False
        if comparison >= 0.75:
            lam /= 4
        if comparison < 0.25:  # 8
            lam += delta * (1 - comparison) / pp
        yield w, lam, before, comparison, ascends


def well(x):
    return -1 / (1 + x[0] ** 2 + 2 * x[1] ** 2)


def well_gradient(x):
    return np.array([2 * x[0], 4 * x[1]]) * well(x) ** 2


PAPER = {  # a loss, its gradient, a start, updates, and whether negative curvature is met
    "rosenbrock": (rosenbrock, rosenbrock_gradient, (2.0, 0.0), 12, False),
    "indefinite": (well, well_gradient, (1.5, 1.0), 9, True),
}


@pytest.mark.parametrize(("loss", "gradient", "start", "updates", "indefinite"), PAPER.values(), ids=PAPER)
def test_scaled_conjugate_gradients_follow_the_paper(loss, gradient, start, updates, indefinite):
    w, lam, delta, comparison, ascends = zip(*moller(loss, gradient, np.array(start), updates), strict=True)
    # The branches of the paper are met, and the bound on Δ, which is not the paper's, is not.
    assert (min(delta) < 0) == any(ascends) == indefinite
    assert {c >= 0 for c in comparison} == {True, False}
    assert any(0 <= c < 0.75 for c in comparison)
    assert min(comparison) > -99
    _, x, states = run_compiled(scaled_conjugate_gradient(), loss, jnp.array(start), updates)
    # σ = 5e-5 divides the rounding of the gradient.
    np.testing.assert_allclose(states.comparison, comparison, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(states.lambda_, lam, rtol=1e-6)
    np.testing.assert_allclose(x, w[-1], rtol=1e-6, atol=1e-9)


def test_a_huge_loss_does_not_stop_scaled_conjugate_gradients_for_long():
    """A wall of 1e30 next to the start: λ grows a hundredfold at most after each trial."""
    values, _, states = run_compiled(
        scaled_conjugate_gradient(), lambda x: jnp.where(x[0] > 0.9, 1e30, jnp.sum((x - 1) ** 2)), jnp.zeros(2), 8
    )
    assert not states.success[0]
    assert states.comparison[0] == -99
    assert states.success[1]
    assert values[-1] < 0.5 * values[0]
