"""The optimizers: each solves each problem, and what all of ours promise."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from minimization import HESSIAN, QUICKLY, VALLEY, parabola, rosenbrock, run, run_compiled
from networks import declare
from tiers import deep_unless

import lddn_jax as lddn
from lddn_jax.checks import checked
from lddn_jax.optimizers import (
    bfgs,
    conjugate_gradient,
    golden_section_search,
    one_step_secant,
    scaled_conjugate_gradient,
    variable_learning_rate,
)

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


@pytest.fixture(params=OURS)
def ours(request):
    return OURS[request.param]


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


# --- each optimizer on each problem -----------------------------------------------------------------------------------


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


def solving():
    """Each of ours solves the parabola in the fast tier, and three of different kinds the network; the rest is deep."""
    kinds = ("scaled-conjugate-gradient", "bfgs", "variable-rate-and-momentum")
    for name in TABLE:
        for problem in PROBLEMS:
            fast = (problem == "parabola" and name in OURS) or (problem == "narx" and name in kinds)
            yield pytest.param(name, problem, marks=deep_unless(fast), id=f"{name}-{problem}")


@pytest.mark.parametrize(("name", "problem"), list(solving()))
def test_every_optimizer_solves_every_problem(name, problem):
    row, column = TABLE[name], list(PROBLEMS).index(problem)
    optimizer = row.optimizer(row.rates[column]) if row.rates else row.optimizer
    assert PROBLEMS[problem](optimizer, row[column]) <= SOLVED[problem]


def test_each_of_ours_is_in_the_table():
    assert OURS.keys() <= TABLE.keys()


# --- what all of ours promise -----------------------------------------------------------------------------------------


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


# --- what is not accepted ---------------------------------------------------------------------------------------------


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
