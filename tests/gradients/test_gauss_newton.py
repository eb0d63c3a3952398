"""JᵀJ, Jᵀe and eᵀe: streamed, and the same as the dense product."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from least_squares_records import SSE, problem
from networks import BY_NAME, declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.gradients.columns import Columns

PART = pytest.mark.parametrize(
    "name",
    in_tiers(["awkward", "autonomous", "softmax-in-a-loop", "long-delays-in-a-ring"], fast=["softmax-in-a-loop"]),
)


def dense(net, data, loss):
    """The same by definition: the plain scan's Jacobian, residuals by the loss, one product."""
    rows = lddn.jacobian(net, data, lddn.Autodiff())
    outputs = lddn.predict(net, data.inputs, data.state, steps=data.steps)
    residuals = loss.residuals(outputs, data.targets, data.weights)
    one_more = loss.residuals({k: v + 1 for k, v in outputs.items()}, data.targets, data.weights)
    root = {k: residuals[k] - one_more[k] for k in outputs}
    J = np.concatenate([(-root[k][..., None] * rows[k]).reshape(-1, net.parameter_count) for k in outputs])
    e = np.concatenate([np.ravel(residuals[k]) for k in outputs])
    return J.T @ J, J.T @ e, e @ e


def awkward_data(case):
    """With error weights and a missing target."""
    targets = {k: t.at[..., 2, 0].set(jnp.nan) for k, t in case.data.targets.items()}
    weights = {k: jnp.linspace(0.5, 2, case.steps)[:, None] for k in case.topology.outputs}
    return dataclasses.replace(case.data, targets=targets, weights=weights)


@pytest.mark.parametrize("method", [None, lddn.BPTT(), lddn.Autodiff()], ids=["RTRL", "BPTT", "Autodiff"])
@PART
def test_streamed_is_dense(name, method):
    case = BY_NAME[name]
    data, loss = (
        awkward_data(case),
        losses.SumSquaredError(missing="mask", output_weights={case.topology.outputs[0]: 3}),
    )
    found = lddn.gauss_newton(case.net, data, loss, method=method, factor=True)
    for part, expected in zip((found.JTJ, found.JTe, found.eTe), dense(case.net, data, loss), strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(found.R.T @ found.R, found.JTJ, rtol=0, atol=1e-12 * np.abs(found.JTJ).max())
    np.testing.assert_allclose(found.R.T @ found.QTe, found.JTe, rtol=0, atol=1e-12 * np.abs(found.JTe).max())


@pytest.fixture
def in_small_pieces(monkeypatch):
    """Segments of a step or chunk, and a sequence at a time."""
    monkeypatch.setattr(importlib.import_module("lddn_jax.gradients.rtrl"), "DERIVATIVE_SEGMENT_BYTES", 1)
    monkeypatch.setattr(importlib.import_module("lddn_jax.gradients.gauss_newton"), "SEQUENCE_GROUP_BYTES", 1)
    jax.clear_caches()
    yield
    jax.clear_caches()


@PART
def test_streamed_in_small_pieces_is_dense(name, in_small_pieces):
    case = BY_NAME[name]
    found = lddn.gauss_newton(case.net, case.data, SSE)
    for part, expected in zip((found.JTJ, found.JTe, found.eTe), dense(case.net, case.data, SSE), strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_groups_of_sequences_that_do_not_fill_up(monkeypatch):
    module = importlib.import_module("lddn_jax.gradients.gauss_newton")
    net, data = problem()
    u = jax.random.normal(jax.random.key(5), (5, 12, 1))
    data = lddn.Sequences(u, {"y": jnp.cos(u)})
    columns = Columns.reaching(net.topology, with_state=False)
    monkeypatch.setattr(
        module, "SEQUENCE_GROUP_BYTES", 2 * module.bytes_of_a_step(net, columns, net.topology.outputs)
    )  # 2 + 2 + 1
    jax.clear_caches()
    found = lddn.gauss_newton(net, data, SSE)
    jax.clear_caches()
    for part, expected in zip((found.JTJ, found.JTe, found.eTe), dense(net, data, SSE), strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_the_gradient_is_twice_the_product_of_jacobian_and_residuals():
    case = BY_NAME["awkward"]
    value, gradient = lddn.value_and_grad(SSE, case.net, case.data)
    found = lddn.gauss_newton(case.net, case.data, SSE)
    np.testing.assert_allclose(2 * found.JTe, gradient.ravel()[0], rtol=1e-10)
    np.testing.assert_allclose(found.eTe, value, rtol=1e-13)


@pytest.mark.usefixtures("compiled_as_users_have_it")
def test_memory_does_not_grow_with_time():
    """Temporaries of JᵀJ for 20,000 steps of 120 parameters; the Jacobian alone would take 19 MB."""
    topology = declare("u:1", "h:20:tanh y:1:linear", "u>h@1,2 y>h@1,2 h>y", "y")
    net, u = lddn.Network(topology, init="zeros"), jnp.zeros((20_000, 1))
    module = importlib.import_module("lddn_jax.gradients.gauss_newton")
    arguments = module.prepare_data(SSE, net, lddn.Sequences(u, u))
    lowered = module._gauss_newton.lower(
        net, SSE, *arguments[:-1], steps=arguments[-1], method=lddn.RTRL(), factor=False
    )
    assert 0 < lowered.compile().memory_analysis().temp_size_in_bytes < 5e6


def test_a_jacobian_that_would_not_fit_is_refused_before_it_is_made():
    net, data = problem()
    with pytest.raises(lddn.LDDNError, match=r"60 rows of 16 parameters.*lddn.RTRL\(\)"):
        lddn.gauss_newton(net, data, SSE, method=lddn.BPTT(), memory=1000)
    assert lddn.gauss_newton(net, data, SSE, memory=1000).JTJ.shape == (16, 16)


def test_gauss_newton_needs_squares():
    net, data = problem()
    with pytest.raises(lddn.LDDNError, match="Huber is not one"):
        lddn.gauss_newton(net, data, losses.Huber())


@pytest.mark.parametrize("with_state", [False, True])
def test_columns_are_those_that_can_reach_a_layer(with_state):
    topology = declare("u:1", "a:2:tanh b:2:tanh y:1:linear", "u>a@1 a>a@1 a>b b>b@2 b>y", "y")
    columns = Columns.reaching(topology, with_state)
    assert {key[1] for key in columns.of["a"] if key[0] != "state"} == {("a", "u"), ("a", "a"), "a"}
    assert ("LW", ("y", "b")) in columns.of["y"]
    assert ("LW", ("y", "b")) not in columns.of["b"]
    assert ("b", "b") not in columns.of["a"]
    assert (("state", "b") in columns.of["a"]) is False
    assert (("state", "u") in columns.of["b"]) is with_state
    net = lddn.Network(topology, init="zeros")
    assert columns.count == net.parameter_count + with_state * (1 + 2 + 4)
