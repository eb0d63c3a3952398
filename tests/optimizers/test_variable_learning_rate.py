"""A variable learning rate, against the rule as a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minimization import run_compiled

from lddn_jax.optimizers import (
    variable_learning_rate,
)


def plain_variable_rate(loss, slope, x, updates, rate, momentum):
    """The rule as a loop over numbers. Yields x, the rate, and its factor."""
    step, gamma = 0.0, momentum
    for _ in range(updates):
        trial = gamma * step - (1 - gamma) * rate * slope(x)
        if loss(x + trial) > 1.04 * loss(x):
            step, gamma, factor = 0.0, 0.0, 0.7
        else:
            factor = 1.05 if loss(x + trial) < loss(x) else 1.0
            x, step, gamma = x + trial, trial, momentum
        rate *= factor
        yield x, rate, factor


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_rates_follow_the_rule(momentum):
    def loss(x):
        return 5 * x**2 + 0.1

    x, rate, factors = zip(*plain_variable_rate(loss, lambda x: 10 * x, 1.0, 25, 0.25, momentum), strict=True)
    assert set(factors) == {1.05, 1.0, 0.7}
    values, last, states = run_compiled(variable_learning_rate(0.25, momentum=momentum), loss, jnp.array(1.0), 25)
    np.testing.assert_allclose(states.learning_rate, rate, rtol=1e-12)
    np.testing.assert_allclose(values[1:], [loss(each) for each in x], rtol=1e-12)
    np.testing.assert_allclose(last, x[-1], rtol=1e-9)
    np.testing.assert_array_equal(states.accepted, [factor != 0.7 for factor in factors])


def test_a_bad_step_is_undone_and_forgotten():
    """By hand: F = x², γ = 0.9 and α = 12 lead from 1 to −1.4; undone, α = 8.4; then γ = 0, and 1 − 16.8 is undone.

    With γ = 0.9 the second step would lead to −0.68, and be taken.
    """
    _, x, states = run_compiled(variable_learning_rate(12.0), lambda x: x**2, jnp.array(1.0), 2)
    assert x == 1
    np.testing.assert_allclose(states.learning_rate, [8.4, 5.88])
    np.testing.assert_array_equal(states.velocity, 0)


@pytest.mark.parametrize(("rate", "taken"), [(0.03, True), (0.05, False)], ids=["3-percent", "5-percent"])
def test_a_negative_loss_may_rise_by_as_much_of_its_size(rate, taken):
    def loss(x):  # −1 at 0, where its slope is −1, and larger elsewhere
        return jax.lax.stop_gradient(jnp.abs(x) + x) - 1 - x

    _, x, _ = run_compiled(variable_learning_rate(rate, momentum=0.0), loss, jnp.array(0.0), 1)
    assert float(x) == (rate if taken else 0)
