"""Eigenvalues and Lyapunov exponents of loops, where they are known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from networks import BY_NAME, declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import diagnostics, transfer


def linear(*coefficients):
    """y(t) = Σ_d coefficients[d−1] y(t−d) + u(t−1)."""
    delays = ",".join(str(d) for d in range(1, len(coefficients) + 1))
    net = lddn.Network(declare("u:1", "y:1:linear!", f"u>y@1 y>y@{delays}", "y"), init="zeros")
    blocks = np.reshape(coefficients, (-1, 1, 1))
    return net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): blocks})


def parabola():
    """y(t) = 1 − a y(t−1)², the logistic map in other coordinates, with a = 2 − u."""
    if "square" not in transfer.names():
        transfer.register("square", lambda n: n * n)
    net = lddn.Network(declare("", "q:1:square! y:1:linear", "y>q@1 q>y", "y"), init="zeros")
    return net.with_weights(LW={("q", "y"): [[[1.0]]], ("y", "q"): [[[-2.0]]]}, b={"y": [1.0]})


POLES = {
    "real": np.array([0.9, -0.5, 0.2]),
    "complex": np.array([0.8 * np.exp(0.7j), 0.8 * np.exp(-0.7j)]),
    "unstable": np.array([1.05, 0.3]),
}


@pytest.mark.parametrize("poles", POLES.values(), ids=POLES)
def test_a_linear_system_has_its_poles(poles):
    net = linear(*-np.real(np.poly(poles))[1:])
    u = np.random.default_rng(0).normal(size=(30, 1))
    found = diagnostics.stability(net, jnp.asarray(u))
    np.testing.assert_allclose(found.radius, np.abs(poles).max(), rtol=1e-12)
    assert found.contracting == (np.abs(poles).max() < 1)


@pytest.mark.parametrize("poles", POLES.values(), ids=POLES)
def test_exponents_of_a_linear_system_are_logarithms_of_its_poles(poles):
    net = linear(*-np.real(np.poly(poles))[1:])
    found = diagnostics.stability(net, jnp.zeros((4000, 1)))
    # What the first steps do before the directions are found is forgotten as 1/T only.
    np.testing.assert_allclose(found.exponents, np.log(np.sort(np.abs(poles))[::-1]), atol=2e-3)


@pytest.mark.parametrize("poles", POLES.values(), ids=POLES)
def test_exponents_add_up_to_the_logarithm_of_the_determinant(poles):
    found = diagnostics.stability(linear(*-np.real(np.poly(poles))[1:]), jnp.zeros((50, 1)))
    assert found.exponents.sum() == pytest.approx(np.log(np.abs(np.prod(poles))), rel=1e-12)


def test_the_exponent_of_a_chaotic_map_is_the_mean_slope_along_its_way():
    """Against a NumPy loop along the same way; for a = 2 the exponent is log 2 in the limit."""
    x, logarithms = 0.3, []
    for _ in range(40):  # longer, and rounding takes the two ways apart
        logarithms.append(np.log(abs(-4 * x)))
        x = 1 - 2 * x * x
    found = diagnostics.stability(parabola(), {}, {"y": jnp.array([[0.3]])}, steps=40)
    assert found.exponent == pytest.approx(np.mean(logarithms), abs=1e-6)  # differences double at every step
    np.testing.assert_allclose(found.radius[:10], np.exp(logarithms[:10]), rtol=1e-10)


@pytest.mark.deep
def test_the_exponent_of_a_chaotic_map_tends_to_log_two():
    found = diagnostics.stability(parabola(), {}, {"y": jnp.array([[0.3]])}, steps=20_000)
    assert found.exponent == pytest.approx(np.log(2), abs=0.01)  # the mean of 20,000 slopes
    assert not found.contracting


@pytest.mark.parametrize(
    "name",
    in_tiers(
        ["narx-closed", "elman", "awkward", "autonomous", "multi-rate", "long-delays"], fast=["awkward", "autonomous"]
    ),
)
def test_jacobians_are_those_of_a_loop_over_time(name):
    """Step by step, by finite differences of the final state."""
    case = BY_NAME[name]
    inputs, state = case.signals
    found = diagnostics.stability(case.net, inputs, state, steps=case.steps if not inputs else None)
    first = {k: v[0] if case.batch else v for k, v in state.items()}
    layers = sorted(set(first) - case.topology.input_names)
    sizes = [first[k].size for k in layers]

    def step(x, t, held):
        parts = np.split(x, np.cumsum(sizes)[:-1])
        given = held | {k: jnp.asarray(p.reshape(first[k].shape)) for k, p in zip(layers, parts, strict=True)}
        here = {k: (v[0] if case.batch else v)[t : t + 1] for k, v in inputs.items()}
        return lddn.simulate(case.net, here, given, steps=None if inputs else 1).final_state

    def flat(state):
        return np.concatenate([np.asarray(state[k]).ravel() for k in layers])

    radius = []
    for t in range(3):
        x = flat(first)
        columns = [(flat(step(x + h, t, first)) - flat(step(x - h, t, first))) / 2e-6 for h in 1e-6 * np.eye(len(x))]
        radius.append(np.abs(np.linalg.eigvals(np.array(columns).T)).max())
        first = step(x, t, first)
    # Differences of second order, and eigenvalues of defective matrices (delay lines) know half the digits.
    np.testing.assert_allclose((found.radius[0] if case.batch else found.radius)[:3], radius, rtol=1e-5, atol=1e-3)


def test_a_batch_is_its_singles():
    case = BY_NAME["awkward-two-batch-axes"]
    inputs, state = case.signals
    together = diagnostics.stability(case.net, inputs, state)
    single = {k: v[1, 2] for k, v in inputs.items()}, {k: v[1, 2] for k, v in state.items()}
    alone = diagnostics.stability(case.net, *single)
    assert together.radius.shape == (*case.batch, case.steps)
    np.testing.assert_allclose(together.radius[1, 2], alone.radius, rtol=1e-10)
    np.testing.assert_allclose(together.exponents[1, 2], alone.exponents, rtol=1e-10)


def test_a_run_that_diverges_is_assessed_up_to_there():
    found = diagnostics.stability(parabola(), {}, {"y": jnp.array([[3.0]])}, steps=40)
    assert 0 < found.steps < 40
    assert np.isnan(found.radius[found.steps :]).all()
    assert np.isfinite(found.radius[: found.steps]).all()
    assert found.exponent > 0
    assert not found.contracting


def test_results_print():
    text = str(diagnostics.stability(linear(0.5), jnp.zeros((20, 1))))
    assert "disturbances die out" in text
    assert "above 1 at 0.0 % of steps" in text


SHORT = {
    "a weak second delay": ((1.02, 1e-8), 60, np.log(1.02 + 1e-8 / 1.02), "grows"),
    "a slow oscillation": ((1.96, -0.97), 60, np.log(0.97) / 2, "dies out"),
    "less than a period": ((1.96, -0.97), 7, np.log(0.97) / 2, "dies out"),
    "a growing oscillation": ((1.96, -1.01), 60, np.log(1.01) / 2, "grows"),
    "an oscillator": ((2 * np.cos(0.2), -1.0), 118, 0.0, "neither"),
    "one pole of three": ((0.0, 0.0, 0.5), 60, np.log(0.5) / 3, "dies out"),
    "nothing fed back": ((0.0, 0.0), 60, -np.inf, "dies out"),
    "delays that do nothing": ((1.02, 0.0, 0.0), 60, np.log(1.02), "grows"),
}


@pytest.mark.parametrize(("coefficients", "steps", "exponent", "growth"), SHORT.values(), ids=SHORT)
def test_a_short_record_has_the_exponent_of_the_eigenvalues(coefficients, steps, exponent, growth):
    found = diagnostics.stability(linear(*coefficients), np.random.default_rng(0).normal(size=(steps, 1)))
    assert found.exponent == pytest.approx(exponent, abs=1e-9)
    assert found.growth == growth
    assert found.contracting == (growth == "dies out")
    words = {"grows": "disturbances grow", "dies out": "die out", "neither": "neither grow nor die out"}
    assert words[growth] in str(found)


def test_a_record_that_is_too_short_is_said_to_be():
    found = diagnostics.stability(linear(1.96, -0.97), jnp.ones((3, 1)))
    assert np.isnan(found.exponent)
    assert found.growth == "unknown"
    assert not found.contracting
    assert "too short to tell" in str(found)
    assert found.to_dict()["largest_exponent"] is None
    assert found.to_dict()["disturbance"] == "unknown"


def test_a_sign_within_the_error_of_the_record_is_not_told():
    found = diagnostics.Stability(np.full(50, 1.0), np.array([0.01, -1.0]), np.array(50), np.array(0.02))
    assert found.growth == "unknown"
    assert dataclasses.replace(found, std=np.array(0.001)).growth == "grows"


def test_an_exponent_never_contradicts_all_eigenvalues():
    grows = diagnostics.Stability(np.full(50, 0.9), np.array([0.01, -1.0]), np.array(50), np.array(0.0))
    shrinks = diagnostics.Stability(np.full(50, 1.1), np.array([-0.01, -1.0]), np.array(50), np.array(0.0))
    assert grows.growth == shrinks.growth == "unknown"


def henon():
    """y(t) = 1 − 1.4 y(t−1)² + 0.3 y(t−2)."""
    parabola()  # registers the square
    net = lddn.Network(declare("", "q:1:square! y:1:linear", "y>q@1 q>y y>y@2", "y"), init="zeros")
    blocks = {("q", "y"): [[[1.0]]], ("y", "q"): [[[-1.4]]], ("y", "y"): [[[0.3]]]}
    return net.with_weights(LW=blocks, b={"y": [1.0]})


def test_the_exponents_of_the_henon_map():
    found = diagnostics.stability(henon(), {}, {"y": jnp.array([[0.1], [0.1]])}, steps=3000)
    assert found.exponent == pytest.approx(0.419, abs=3 * float(found.std))
    assert found.std < 0.02
    assert found.exponents.sum() == pytest.approx(np.log(0.3), rel=1e-10)  # the determinant is constant
    assert found.growth == "grows"


def test_a_batch_is_as_stable_as_the_worst_of_it():
    found = diagnostics.Stability(
        np.full((2, 50), 0.9), np.array([[-0.1, -1.0], [np.nan, np.nan]]), np.array([50, 2]), np.array([0.0, np.nan])
    )
    assert found.growth == "unknown"
    assert np.isnan(found.exponent)
    assert found.to_dict()["largest_exponent"] is None


def test_a_second_call_does_not_compile_again():
    from lddn_jax.diagnostics.loop_stability import _linearize

    net = linear(0.5, 0.1)
    diagnostics.stability(net, jnp.zeros((20, 1)))
    before = _linearize.__wrapped__._cache_size()
    diagnostics.stability(linear(0.4, 0.2), jnp.ones((20, 1)))
    assert _linearize.__wrapped__._cache_size() == before


def test_a_network_without_a_loop_is_refused():
    case = BY_NAME["narx-open"]
    with pytest.raises(lddn.LDDNError, match="close_loop"):
        diagnostics.stability(case.net, *case.signals)
