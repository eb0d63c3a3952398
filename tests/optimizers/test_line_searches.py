"""Line searches: the golden section, and how one of somebody else's is guarded."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from minimization import EXACT, QUICKLY, VALLEY, rosenbrock, run_compiled

from lddn_jax.optimizers import (
    bfgs,
    conjugate_gradient,
    golden_section_search,
    one_step_secant,
)
from lddn_jax.optimizers.directions import ROUNDING_IN_EPS

# --- golden section ---------------------------------------------------------------------------------------------------


def searched(search, loss, x=0.0, direction=1.0):
    """The step that a search takes in one dimension, and its state."""
    x = jnp.array(x)

    def update(direction):
        return search.update(direction, search.init(x), x, value=loss(x), grad=x, value_fn=loss)

    return jax.jit(update, compiler_options=QUICKLY)(jnp.array(direction))


@pytest.mark.parametrize("minimum", [1e-4, 3.0, 90.0])
def test_a_narrow_golden_section_finds_the_minimum(minimum):
    step, state = searched(EXACT, lambda x: jnp.exp(x / minimum - 1) - x / minimum)
    assert float(step) == pytest.approx(minimum, rel=1e-4)  # a parabola through points 1 % apart
    assert state.evaluations < 40


AWFUL = {  # a loss on a line, and whether some step makes it smaller
    "rises": (lambda x: x, False),
    "flat": (lambda x: 0 * x, False),
    "nan": (lambda x: jnp.where(x == 0, 0, jnp.nan), False),
    "inf": (lambda x: jnp.where(x == 0, 0, jnp.inf), False),
    "nan-from-here-on": (lambda x: jnp.where(x < 1e-8, -x, jnp.nan), True),
    "nan-after-the-minimum": (lambda x: jnp.where(x < 2.1, (x - 2) ** 2, jnp.nan), True),
    "inf-after-the-minimum": (lambda x: jnp.where(x < 2.1, (x - 2) ** 2, jnp.inf), True),
    "minus-inf-further-on": (lambda x: jnp.where(x < 2.1, -x, -jnp.inf), True),
    "falls-forever": (lambda x: -x, True),
    "starts-at-inf": (lambda x: jnp.where(x == 0, jnp.inf, x), True),
    "starts-at-nan": (lambda x: jnp.where(x == 0, jnp.nan, x), False),
    "wild": (lambda x: jnp.sin(1e3 * x), True),
}


@pytest.mark.parametrize(("loss", "falls"), AWFUL.values(), ids=AWFUL)
def test_golden_section_never_returns_a_larger_loss(loss, falls):
    step, state = searched(golden_section_search(), loss)
    assert 1 <= state.evaluations <= 20
    assert falls == (step > 0) == (not state.failed)
    if falls:
        assert step <= 100
        assert np.isfinite(loss(step))
        assert loss(step) < loss(jnp.array(0.0))
        np.testing.assert_allclose(state.value, loss(step), rtol=1e-9)


@pytest.mark.parametrize("most", [1, 2, 8])
def test_golden_section_takes_the_best_of_as_many_evaluations_as_allowed(most):
    """From 0.01 on α is doubled, up to 1.28."""
    step, state = searched(golden_section_search(max_evaluations=most), lambda x: -x)
    assert float(step) == pytest.approx(0.01 * 2 ** (most - 1))
    assert state.evaluations == most


@pytest.mark.parametrize("direction", [jnp.nan, jnp.inf, -jnp.inf, 0.0])
def test_golden_section_survives_an_impossible_direction(direction):
    step, state = searched(golden_section_search(), lambda x: (x - 1) ** 2, direction=direction)
    assert step == 0
    assert state.failed


def test_golden_section_begins_where_it_ended_and_anew_after_a_failure():
    first, second = golden_section_search(delta=0.5, max_step=0.25), golden_section_search(delta=0.5)
    assert searched(first, lambda x: -x)[1].first_step == 0.25  # the largest step bounds the first as well
    assert searched(second, lambda x: -x)[1].first_step == 100
    assert searched(second, lambda x: x)[1].first_step == 0.5


# --- a line search of someone else ------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """State of a line search that stores the loss that it reached."""

    value: Any


def fixed(alpha, stores):
    """A line search that takes a fixed step and looks at no loss."""

    def update(updates, state, params, *, value_fn, **_):
        step = jax.tree.map(lambda leaf: alpha * leaf, updates)
        return step, Stored(value_fn(optax.apply_updates(params, step))) if stores else state

    return optax.GradientTransformationExtraArgs(lambda params: Stored(jnp.inf) if stores else (), cast(Any, update))


@pytest.mark.parametrize("stores", [True, False], ids=["value-stored", "value-not-stored"])
@pytest.mark.parametrize("method", [conjugate_gradient, bfgs, one_step_secant], ids=lambda m: m.__name__)
def test_a_line_search_that_ends_higher_is_not_believed(method, stores):
    args = ("powell-beale",) if method is conjugate_gradient else ()
    _, params, states = run_compiled(method(*args, linesearch=fixed(1.0, stores)), rosenbrock, VALLEY, 2)
    np.testing.assert_array_equal(params, VALLEY)
    np.testing.assert_array_equal(states[0].direction[1], -states[0].gradient[1])
    if stores:  # so that `optax.value_and_grad_from_state` evaluates anew
        assert np.all(np.isinf(states[1].value))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("units", "taken"), [(0.75, True), (1.5, False)], ids=["rounding", "more"])
def test_rounding_is_not_a_larger_loss(units, taken, dtype):
    rise = float(units * ROUNDING_IN_EPS * jnp.finfo(dtype).eps)

    def loss(x):  # 1 at 0, where its slope is −1, and larger elsewhere
        return jnp.where(x == 0, 1, 1 + rise) + jax.lax.stop_gradient(x) - x

    _, x, _ = run_compiled(bfgs(fixed(1.0, True)), loss, jnp.zeros((), dtype), 1)
    assert bool(x == 1) == taken


@pytest.mark.parametrize("name", ["powell-beale", "bfgs"])
def test_the_zoom_of_optax_serves_as_well(name):
    zoom = optax.scale_by_zoom_linesearch(max_linesearch_steps=20, curv_rtol=0.1)
    made = {"bfgs": bfgs, "one-step-secant": one_step_secant}
    optimizer = made[name](zoom) if name in made else conjugate_gradient(name, zoom)
    values, *_ = run_compiled(optimizer, rosenbrock, VALLEY, 100)
    assert values.min() < 1e-10
