"""The optimizers: each solves each problem, and each is checked against its equations."""

import functools
import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax.optimizers import (
    bfgs,
    conjugate_gradient,
    golden_section_search,
    one_step_secant,
    scaled_conjugate_gradient,
    variable_learning_rate,
)
from lddn_jax.optimizers.arguments import checked
from lddn_jax.optimizers.conjugate_gradient import UPDATES, Restart
from lddn_jax.optimizers.directions import ROUNDING, Past

OURS = {
    "scaled-conjugate-gradient": scaled_conjugate_gradient(),
    "fletcher-reeves": conjugate_gradient("fletcher-reeves"),
    "polak-ribiere": conjugate_gradient("polak-ribiere"),
    "hestenes-stiefel": conjugate_gradient("hestenes-stiefel"),
    "powell-beale": conjugate_gradient("powell-beale"),
    "one-step-secant": one_step_secant(),
    "bfgs": bfgs(),
    "variable-rate-and-momentum": variable_learning_rate(),
    "variable-rate": variable_learning_rate(momentum=0.0),
}
EXACT = golden_section_search(tolerance=0.01, max_evaluations=60)


@pytest.fixture(params=OURS)
def ours(request):
    return OURS[request.param]


# --- problems --------------------------------------------------------------------------------------------------------

HESSIAN = jnp.array(np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0])
HESSIAN = HESSIAN @ jnp.diag(jnp.logspace(0, 2, 5)) @ HESSIAN.T  # condition 100


def parabola(x):
    return 0.5 * x @ HESSIAN @ x


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


VALLEY = jnp.array([-1.2, 1.0])


def run(optimizer, loss, params, updates):
    """Losses before each update and after the last, the parameters after the last, and the states after each."""
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry, _):
        params, state = carry
        value, grad = jax.value_and_grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax relies on it
            change, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(params, change), state), (value, state)

    (params, _), (values, states) = jax.lax.scan(step, (params, optimizer.init(params)), None, updates)
    return jnp.append(values, loss(params)), params, states


# Here compiling takes longer than running, so less is spent on it.
QUICKLY = {"xla_backend_optimization_level": 0}
run_compiled = jax.jit(run, static_argnums=(0, 1, 3), compiler_options=QUICKLY)


@functools.cache
def narx() -> tuple[lddn.Network, lddn.Sequences]:
    """A closed NARX network half-way to the one that made the data, 16 parameters; its first loss is 2.7."""
    topology = declare("u:1", "h:3:tanh y:1:linear", "u>h@1 y>h@1,2 h>y", "y")
    teacher, other = (lddn.Network(topology, key=jax.random.key(seed)) for seed in (1, 2))
    u = jax.random.normal(jax.random.key(0), (60, 1))
    return jax.tree.map(lambda a, b: (a + b) / 2, teacher, other), lddn.Sequences(u, lddn.predict(teacher, u))


def lowest_parabola(optimizer, updates):
    return run_compiled(optimizer, parabola, jnp.ones(5), updates)[0].min()


def lowest_rosenbrock(optimizer, updates):
    return run_compiled(optimizer, rosenbrock, VALLEY, updates)[0].min()


def lowest_narx(optimizer, updates):
    net, data = narx()
    loss, trainer = lddn.losses.MeanSquaredError(), lddn.Optax(optimizer)
    fitted = lddn.fit(net, data, loss, trainer, epochs=updates, goal=SOLVED["narx"])
    return fitted.history["loss"][-1]


PROBLEMS = {"parabola": lowest_parabola, "rosenbrock": lowest_rosenbrock, "narx": lowest_narx}
SOLVED = {"parabola": 1e-12, "rosenbrock": 1e-12, "narx": 1e-3}

# --- each optimizer on each problem ----------------------------------------------------------------------------------


class Row(NamedTuple):
    """Updates that suffice for `SOLVED`, about 1.4 times those needed; and an optimizer with its rates where needed."""

    parabola: int
    rosenbrock: int
    narx: int
    optimizer: Any
    rates: tuple[Any, ...] = ()


TABLE = {
    "scaled-conjugate-gradient": Row(15, 70, 90, OURS["scaled-conjugate-gradient"]),
    "fletcher-reeves": Row(7, 60, 65, OURS["fletcher-reeves"]),
    "polak-ribiere": Row(7, 40, 65, OURS["polak-ribiere"]),
    "hestenes-stiefel": Row(7, 60, 70, OURS["hestenes-stiefel"]),
    "powell-beale": Row(7, 40, 65, OURS["powell-beale"]),
    "one-step-secant": Row(7, 50, 70, OURS["one-step-secant"]),
    "bfgs": Row(9, 40, 50, OURS["bfgs"]),
    "lbfgs": Row(25, 50, 55, optax.lbfgs()),
    "variable-rate-and-momentum": Row(370, 6000, 300, OURS["variable-rate-and-momentum"]),
    "variable-rate": Row(900, 23000, 1200, OURS["variable-rate"]),
    "adam": Row(450, 2500, 260, optax.adam, (0.3, 0.1, 0.1)),
    # The smallest change, by default 1e-6, bounds the loss that can be reached.
    "rprop": Row(400, 19000, 600, lambda rate: optax.rprop(rate, min_step_size=1e-9), (0.07, 0.07, 0.01)),
    "momentum": Row(400, 2200, 240, lambda rate: optax.sgd(rate, momentum=0.9), (0.01, 0.002, 0.02)),
    "sgd": Row(1100, 30000, 1300, optax.sgd, (0.0198, 0.0015, 0.1)),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", TABLE)
def test_every_optimizer_solves_every_problem(name, problem):
    row, column = TABLE[name], list(PROBLEMS).index(problem)
    optimizer = row.optimizer(row.rates[column]) if row.rates else row.optimizer
    assert PROBLEMS[problem](optimizer, row[column]) <= SOLVED[problem]


def test_each_of_ours_is_in_the_table():
    assert OURS.keys() <= TABLE.keys()


# --- what all of ours promise ----------------------------------------------------------------------------------------


def cliff(x):
    """Finite on the left of a cliff only, and nearly infinite before it."""
    return rosenbrock(x) - 0.1 * jnp.log(0.5 - x[0])


def test_a_loss_is_never_larger_nor_non_finite(ours):
    allowed = 1.04 if ours in (OURS["variable-rate-and-momentum"], OURS["variable-rate"]) else 1.0
    values, *_ = run_compiled(ours, cliff, VALLEY, 60)
    assert np.all(np.isfinite(values))
    assert np.all(values[1:] <= allowed * values[:-1])
    assert values[-1] < 0.9 * values[0]


def edge(x):
    """A bowl around 0, and no number where x_0 > 5."""
    return jnp.where(x[0] > 5, jnp.nan, 1) * jnp.sum(x**2)


STILL = {"minimum": [0.0, 0.0], "not-finite": [6.0, 0.0]}


@pytest.mark.parametrize("start", STILL.values(), ids=STILL)
def test_nothing_moves_at_a_minimum_or_along_a_gradient_that_is_not_finite(ours, start):
    values, params, _ = run_compiled(ours, edge, jnp.array(start), 3)
    np.testing.assert_array_equal(params, start)
    np.testing.assert_array_equal(values, edge(jnp.array(start)))


def test_restarts_under_vmap_are_the_loop(ours):
    starts = jnp.array([[-1.2, 1.0], [0.0, 2.0], [2.0, -1.0]])

    def trained(x):
        return run(ours, rosenbrock, x, 8)[1]

    alone = jnp.stack([run_compiled(ours, rosenbrock, x, 8)[1] for x in starts])
    # Rounding differs, and a difference quotient or a search that ends near a flat minimum makes it larger.
    together = jax.jit(jax.vmap(trained), compiler_options=QUICKLY)(starts)
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_a_float32_pytree_keeps_its_shapes_and_dtypes(ours):
    params = {"a": jnp.full((2, 2), -1, jnp.float32), "b": jnp.ones((), jnp.float32)}

    def loss(params):
        return rosenbrock(jnp.stack([params["a"][0, 0], params["b"]])) + jnp.sum(params["a"] ** 2) / 10

    values, after, states = run_compiled(ours, loss, params, 60)
    assert values.min() < values[0]
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(states)} <= {jnp.dtype(t) for t in (jnp.float32, jnp.int32, bool)}


@pytest.mark.parametrize("name", ["scaled-conjugate-gradient", "bfgs", "variable-rate"])
def test_leaves_may_differ_in_dtype(name):
    params = {"a": jnp.float32(-1.2), "b": jnp.float64(1.0)}

    def loss(params):
        return rosenbrock(jnp.stack([params["a"].astype(jnp.float64), params["b"]]))

    values, after, _ = run_compiled(OURS[name], loss, params, 20)
    assert values[-1] < values[0]
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, params)


def test_a_gradient_set_to_zero_freezes_its_parameters(ours):
    """The others go to the minimum on the plane that is left."""
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    optimizer = optax.chain(optax.masked(optax.set_to_zero(), {"a": True, "b": False}), ours)

    def loss(params):
        return parabola(jnp.concatenate([params["a"], params["b"]]))

    least = loss(params | {"b": -jnp.linalg.solve(HESSIAN[2:, 2:], HESSIAN[2:, :2] @ params["a"])})
    values, after, _ = run_compiled(optimizer, loss, params, 300)
    np.testing.assert_array_equal(after["a"], params["a"])
    assert values.min() - least < 1e-3 * (values[0] - least)


# --- conjugate gradients ---------------------------------------------------------------------------------------------


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


# --- quasi-Newton methods --------------------------------------------------------------------------------------------


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


# --- scaled conjugate gradients --------------------------------------------------------------------------------------


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


# --- golden section --------------------------------------------------------------------------------------------------


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


# --- a line search of someone else -----------------------------------------------------------------------------------


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
    rise = float(units * ROUNDING * jnp.finfo(dtype).eps)

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


# --- variable learning rate ------------------------------------------------------------------------------------------


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
    """By hand: F = x², γ = 0.9 and α = 20 lead from 1 to −3; undone, α = 14; without momentum 1 − 28 is undone."""
    _, x, states = run_compiled(variable_learning_rate(20.0), lambda x: x**2, jnp.array(1.0), 2)
    assert x == 1
    np.testing.assert_allclose(states.learning_rate, [14, 9.8])
    np.testing.assert_array_equal(states.velocity, 0)


@pytest.mark.parametrize(("rate", "taken"), [(0.03, True), (0.05, False)], ids=["3-percent", "5-percent"])
def test_a_negative_loss_may_rise_by_as_much_of_its_size(rate, taken):
    def loss(x):  # −1 at 0, where its slope is −1, and larger elsewhere
        return jax.lax.stop_gradient(jnp.abs(x) + x) - 1 - x

    _, x, _ = run_compiled(variable_learning_rate(rate, momentum=0.0), loss, jnp.array(0.0), 1)
    assert float(x) == (rate if taken else 0)


# --- what is not accepted --------------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
BAD = [
    (variable_learning_rate, {"learning_rate": -0.1}, "> 0", 0.01),
    (variable_learning_rate, {"learning_rate": NAN}, "> 0", 0.01),
    (variable_learning_rate, {"increase": 0.99}, "≥ 1", 1.05),
    (variable_learning_rate, {"decrease": 1.0}, "> 0 and < 1", 0.7),
    (variable_learning_rate, {"decrease": 0.0}, "> 0 and < 1", 0.7),
    (variable_learning_rate, {"max_perf_inc": 0.5}, "≥ 1", 1.04),
    (variable_learning_rate, {"momentum": 1.0}, "≥ 0 and < 1", 0.9),
    (variable_learning_rate, {"momentum": -0.1}, "≥ 0 and < 1", 0.9),
    (scaled_conjugate_gradient, {"sigma": 0.0}, "> 0", 5e-05),
    (scaled_conjugate_gradient, {"sigma": INF}, "> 0", 5e-05),
    (scaled_conjugate_gradient, {"lambda_": -1e-6}, "> 0", 5e-07),
    (golden_section_search, {"delta": 0.0}, "> 0", 0.01),
    (golden_section_search, {"tolerance": 0.0}, "> 0", 2.0),
    (golden_section_search, {"tolerance": "tight"}, "> 0", 2.0),
    (golden_section_search, {"max_step": INF}, "> 0", 100.0),
    (golden_section_search, {"max_evaluations": 0}, "≥ 1", 20),
    (golden_section_search, {"max_evaluations": 2.5}, "≥ 1", 20),
    (golden_section_search, {"max_evaluations": True}, "≥ 1", 20),
]


@pytest.mark.parametrize(("method", "argument", "needed", "default"), BAD)
@pytest.mark.usefixtures("unchecked")
def test_bad_numbers(method, argument, needed, default):
    ((name, given),) = argument.items()
    kind = "whole" if isinstance(default, int) else "finite"
    with pytest.raises(lddn.LDDNError) as caught:
        method(**argument)
    needed = f"a {kind} number {needed} is needed, such as the default, {name}={default}."
    assert str(caught.value) == f"{method.__name__}({name}={given!r}): {needed}"


@pytest.mark.parametrize("given", [np.float32(0.5), np.float64(0.5), 0.5], ids=lambda given: type(given).__name__)
def test_numbers_of_numpy_become_pythons(given):
    """Else a float64 would not go with float32 parameters."""
    assert type(checked("method", "name", given, 1.0)) is float


@pytest.mark.usefixtures("unchecked")
def test_unknown_rules_and_line_searches():
    with pytest.raises(lddn.LDDNError, match="powell-beale"):
        conjugate_gradient("newton")
    with pytest.raises(lddn.LDDNError, match="None for the default"):
        bfgs(golden_section_search)
