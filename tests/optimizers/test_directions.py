"""Conjugate gradients and quasi-Newton methods, against their equations."""

import jax.numpy as jnp
import numpy as np
import pytest
from minimization import EXACT, HESSIAN, VALLEY, parabola, rosenbrock, run_compiled

from lddn_jax.optimizers import (
    bfgs,
    conjugate_gradient,
    one_step_secant,
)
from lddn_jax.optimizers.directions import Past
from lddn_jax.optimizers.nonlinear_conjugate_gradient import UPDATES, Restart

# --- conjugate gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", UPDATES)
def test_conjugate_gradients_solve_a_parabola_in_as_many_steps_as_dimensions(rule):
    values, *_ = run_compiled(conjugate_gradient(rule, EXACT), parabola, jnp.ones(5), 5)
    assert values[5] < 1e-12 * values[0]
    assert values[3] > 1e-6 * values[0]


def past(age=1):
    rng = np.random.default_rng(1)
    g, s, y, p, before = (jnp.array(rng.normal(size=4)) for _ in range(5))
    s = jnp.where(s @ y > 0, s, -s)
    return g, Past(s, y, before, p, jnp.array(age))


BETAS = {
    "fletcher-reeves": lambda g, k: (g @ g) / (k.gradient @ k.gradient),
    "polak-ribiere": lambda g, k: (g @ k.y) / (k.gradient @ k.gradient),
    "hestenes-stiefel": lambda g, k: (g @ k.y) / (k.direction @ k.y),
}


@pytest.mark.parametrize("rule", BETAS)
def test_directions_follow_the_rule(rule):
    g, k = past()
    p, _ = UPDATES[rule].direction(g, k, ())
    np.testing.assert_allclose(p, -g + BETAS[rule](g, k) * k.direction, rtol=1e-13)


@pytest.mark.parametrize("rule", BETAS)
@pytest.mark.parametrize("age", [4, 8])
def test_two_terms_start_again_after_as_many_steps_as_dimensions(rule, age):
    g, k = past(age)
    np.testing.assert_array_equal(UPDATES[rule].direction(g, k, ())[0], -g)


def beale(overlap=0.0, descent=1.0):
    """A gradient, a past and a restart with |g_{k−1}'g_k| / |g_k|² and −p_k'g_k / |g_k|² as asked for."""
    e = jnp.eye(4)
    g, before, p = 2 * e[0], 2 * overlap * e[0] + e[1], -e[1]
    last = Restart(jnp.array([1 - descent, 0.0, 0.0, 1.0]), jnp.array([1.0, 0.0, 0.0, descent]), jnp.array(1))
    return g, Past(p, g - before, before, p, jnp.array(3)), last


def powells(g, k, last):
    """The direction with Beale's third term, and the one without."""
    two = -g + (g @ k.y) / (k.direction @ k.y) * k.direction
    return two + (g @ last.y) / (last.direction @ last.y) * last.direction, two


RESTARTS = {
    "kept": ({}, 1, False),
    "kept-one-step-before": ({}, 2, False),
    "as-many-steps-as-dimensions": ({}, 3, True),
    "gradients-just-orthogonal": ({"overlap": 0.19}, 1, False),
    "gradients-not-orthogonal": ({"overlap": 0.21}, 1, True),
    "gradients-opposed": ({"overlap": -0.21}, 1, True),
    "descends-just-enough": ({"descent": 0.81}, 1, False),
    "descends-too-little": ({"descent": 0.79}, 1, True),
    "descends-too-much": ({"descent": 1.21}, 1, True),
}


@pytest.mark.parametrize(("case", "age", "restarts"), RESTARTS.values(), ids=RESTARTS)
def test_powells_restarts(case, age, restarts):
    g, k, last = beale(**case)
    last = last._replace(age=jnp.array(age))
    p, memory = UPDATES["powell-beale"].direction(g, k, last)
    three, two = powells(g, k, last)
    np.testing.assert_allclose(-three @ g / (g @ g), case.get("descent", 1.0), rtol=1e-13)
    np.testing.assert_allclose(p, two if restarts else three, rtol=1e-13)
    assert memory.age == (1 if restarts else age + 1)
    np.testing.assert_array_equal(memory.direction, k.direction if restarts else last.direction)
    np.testing.assert_array_equal(memory.y, k.y if restarts else last.y)


# --- quasi-Newton methods ---------------------------------------------------------------------------------------------


def bfgs_formula(H, s, y):
    rho = 1 / (s @ y)
    left = np.eye(len(s)) - rho * np.outer(s, y)
    return left @ H @ left.T + rho * np.outer(s, s)


def test_bfgs_follows_the_formula():
    """Three updates on the parabola; the first H is scaled."""
    _, _, states = run_compiled(bfgs(), parabola, jnp.ones(5), 4)
    x, g, found = (np.asarray(part) for part in (states[0].x, states[0].gradient, states[0].memory))
    s, y = np.diff(x, axis=0), np.diff(g, axis=0)
    H = np.eye(5) * (s[0] @ y[0]) / (y[0] @ y[0])
    np.testing.assert_array_equal(found[0], np.eye(5))
    np.testing.assert_allclose(found[1], H := bfgs_formula(H, s[0], y[0]), rtol=1e-10)
    np.testing.assert_allclose(found[2], H := bfgs_formula(H, s[1], y[1]), rtol=1e-10)
    np.testing.assert_allclose(found[3], bfgs_formula(H, s[2], y[2]), rtol=1e-10)
    np.testing.assert_allclose(states[0].direction[3], -found[3] @ g[3], rtol=1e-10)


def test_bfgs_ends_with_the_inverse_hessian():
    _, _, states = run_compiled(bfgs(EXACT), parabola, jnp.ones(5), 6)
    expected = np.linalg.inv(HESSIAN)
    # The last change of the gradient is small, so that its rounding counts.
    np.testing.assert_allclose(states[0].memory[-1], expected, atol=1e-5 * np.abs(expected).max())


def test_one_step_secant_is_bfgs_from_the_identity():
    """Four updates in five dimensions, and three in two, of which the third starts again."""
    _, _, states = run_compiled(one_step_secant(), parabola, jnp.ones(5), 4)
    x, g, p = (np.asarray(part) for part in (states[0].x, states[0].gradient, states[0].direction))
    secants = [bfgs_formula(np.eye(5), x[k] - x[k - 1], g[k] - g[k - 1]) for k in (1, 2, 3)]
    np.testing.assert_array_equal(p[0], -g[0])
    np.testing.assert_allclose(p[1:], [-H @ g[k] for k, H in enumerate(secants, 1)], rtol=1e-9)
    _, _, states = run_compiled(one_step_secant(), rosenbrock, VALLEY, 3)
    np.testing.assert_array_equal(states[0].direction[2], -states[0].gradient[2])
