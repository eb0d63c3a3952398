"""A simulation that JAX differentiates by a chosen method."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from agreement import (
    METHODS,
    TOLERANCE,
    assert_blocks_agree,
    blocks,
)
from networks import BY_NAME
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.gradients.autodiff import plain_scan


def squares(outputs):
    """Some function of the outputs that is not linear."""
    return sum((output**2).sum() for output in outputs.values())


@pytest.mark.parametrize(
    ("name", "method"),
    in_tiers(
        itertools.product(["awkward", "autonomous", "softmax-in-a-loop", "long-delays-in-a-ring"], ["BPTT", "RTRL"]),
        fast=[("awkward", "BPTT"), ("autonomous", "BPTT"), ("autonomous", "RTRL")],
    ),
)
def test_differentiable_in_network_inputs_and_state(name, method):
    case = BY_NAME[name]
    inputs, state = case.signals
    run = lddn.differentiable(METHODS[method])
    steps = None if inputs else case.steps

    def function(net, inputs, state):
        return squares(run(net, inputs, state, steps=steps))

    gradient, by_input, by_state = jax.jit(jax.grad(function, argnums=(0, 1, 2)))(case.net, inputs, state)
    expected = expected_of_squares(case)
    found = blocks(gradient, by_state) | {("inputs", key): np.asarray(value) for key, value in by_input.items()}
    assert_blocks_agree(found, expected, TOLERANCE[method], method)


@functools.cache
def expected_of_squares(case):
    def function(a):
        return squares({name: a[name] for name in case.topology.outputs})

    return oracle.gradient(function, *case.arguments, wrt=("IW", "LW", "b", "state", "inputs"))


@pytest.mark.parametrize("argument", in_tiers({"network": 0, "inputs": 1, "state": 2}, fast=["state"]))
def test_differentiable_in_one_argument_alone(argument):
    case = BY_NAME["awkward"]
    run, autodiff = lddn.differentiable(lddn.BPTT()), jax.jit(plain_scan, static_argnums=3)
    arguments = (case.net, *case.signals)

    def plain(net, inputs, state):
        a = autodiff(net, inputs, state, case.steps)
        return squares({name: a[name] for name in case.topology.outputs})

    found = jax.grad(lambda *arguments: squares(run(*arguments)), argnums=argument)(*arguments)
    expected = jax.grad(plain, argnums=argument)(*arguments)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())


def test_differentiable_under_vmap():
    case = BY_NAME["awkward"]
    run = lddn.differentiable(lddn.BPTT())
    grad = jax.grad(lambda net, inputs, state: squares(run(net, inputs, state)), argnums=(0, 1, 2))
    together = jax.jit(jax.vmap(grad, in_axes=(None, 0, 0)))(case.net, *case.signals)
    whole = jax.jit(grad)(case.net, *case.signals)
    summed = jax.tree.map(lambda g: g.sum(axis=0), together[0])  # a network serves all sequences
    for one, other in zip(jax.tree.leaves((summed, *together[1:])), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())


def test_differentiable_within_another_computation():
    # A network between two others: a scale before it and a product of its two outputs after it.
    case = BY_NAME["awkward"]
    inputs, state = case.signals

    def composed(scale, run):
        outputs = run(case.net, {name: jnp.tanh(scale * signal) for name, signal in inputs.items()}, state)
        return (outputs["h"] * outputs["y"]).sum()

    found = jax.grad(composed)(0.7, lddn.differentiable(lddn.BPTT()))
    expected = jax.grad(composed)(0.7, lambda net, inputs, state: plain_scan(net, inputs, state, case.steps))
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_differentiable_has_no_forward_mode():
    case = BY_NAME["elman"]
    inputs, state = case.signals
    run = lddn.differentiable(lddn.BPTT())
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda net: run(net, inputs, state)["y"], (case.net,), (case.net,))


def test_differentiable_computes_the_outputs():
    case = BY_NAME["awkward"]
    found, expected = lddn.differentiable(lddn.BPTT())(case.net, *case.signals), lddn.predict(case.net, *case.signals)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(found["h"], expected["h"], rtol=1e-13)
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-13)
