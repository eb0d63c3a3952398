"""Every gradient method on every network of the zoo, and the calls that are built on the methods."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from agreement import (
    EXACT,
    METHODS,
    TOLERANCE,
    assert_blocks_agree,
    assert_method_agrees,
    blocks,
    expected_gradient,
)
from networks import BY_NAME, FEW, KINKED, ZOO, Case, declare, side_by_side
from tiers import deep_unless, in_tiers

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.gradients.autodiff import plain_scan

BY_METHOD = pytest.mark.parametrize("method", METHODS)
PART = pytest.mark.parametrize(
    "name", in_tiers(["awkward", "autonomous", "softmax-in-a-loop", "long-delays-in-a-ring"], fast=["awkward"])
)


# --- the methods, against the oracle ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(
            case,
            method,
            id=f"{case}-{method}",
            marks=deep_unless(case.name in FEW or (method == "BPTT" and number % 2 == 0)),
        )
        for number, case in enumerate(ZOO)
        for method in METHODS
    ],
)
def test_gradient(case, method):
    assert_method_agrees(case, method)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("layers", in_tiers(["g", "g h y"], fast=["g"]))
def test_cotangents_of_any_layers(layers, method):
    case = BY_NAME["awkward"]
    random = np.random.default_rng(0)
    cotangents = {name: random.standard_normal((*case.batch, case.steps, 2)) for name in layers.split()}
    expected = oracle.gradient(lambda a: sum((c * a[name]).sum() for name, c in cotangents.items()), *case.arguments)
    found = METHODS[method].pullback(case.net, *case.signals, {name: jnp.asarray(c) for name, c in cotangents.items()})
    assert_blocks_agree(blocks(*found), expected, TOLERANCE[method], method)


@pytest.mark.parametrize("method", in_tiers(EXACT, fast=["BPTT"]))  # a finite difference may step across a kink
def test_functions_with_kinks(method):
    assert_method_agrees(Case("kinked", lambda: side_by_side(KINKED), steps=4), method)


@pytest.mark.parametrize("method", in_tiers(EXACT, fast=["BPTT"]))
@pytest.mark.parametrize("transfer", [*KINKED, "elliotsig", "elu"])
def test_at_a_kink_every_exact_method_takes_the_slope_of_the_same_piece(transfer, method):
    # The net input walks over the corners −1, 0 and 1 and their neighborhoods.
    net, signals, cotangents = corners(transfer)
    expected = by_autodiff(transfer)
    found = METHODS[method].pullback(net, signals, None, cotangents)
    assert_blocks_agree(blocks(*found), expected, 1e-11, method)


def corners(transfer):
    topology = declare("u:2", f"y:2:{transfer}!", "u>y@0,1", "y")
    net = lddn.Network(topology, init="zeros").with_weights(IW={("y", "u"): np.stack([np.eye(2), np.zeros((2, 2))])})
    values = jnp.asarray([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])
    signals = {"u": jnp.stack([values, values[::-1]], axis=-1)}
    return net, signals, {"y": jnp.cos(signals["u"])}


@functools.cache
def by_autodiff(transfer):
    net, signals, cotangents = corners(transfer)

    def function(net, state):
        return (cotangents["y"] * plain_scan(net, signals, state, 7)["y"]).sum()

    return blocks(*jax.grad(function, argnums=(0, 1))(net, lddn.zero_state(net.topology)))


# --- value_and_grad --------------------------------------------------------------------------------------------------


def loss_case(loss):
    """The network and data that suit a loss: with error weights, and a target missing where the loss masks."""
    case = BY_NAME["softmax-in-a-loop" if isinstance(loss, losses.CrossEntropy) else "long-delays-in-a-ring"]
    data = case.data
    if isinstance(loss, losses.CrossEntropy):
        data = dataclasses.replace(data, targets={k: jax.nn.softmax(t) for k, t in data.targets.items()})
    if loss.missing == "mask":
        data = dataclasses.replace(data, targets={k: t.at[0, 2, 0].set(jnp.nan) for k, t in data.targets.items()})
    weights = {k: jnp.linspace(0.5, 2, case.steps)[:, None] for k in case.topology.outputs}
    return case, dataclasses.replace(data, weights=weights)


LOSSES = {
    "sum-squared": losses.SumSquaredError(),
    "sum-squared-regularized": losses.SumSquaredError(regularization=0.3, output_weights={"b": 3.0}),
    "mean-squared-masked": losses.MeanSquaredError(missing="mask", regularization=0.1),
    "mean-absolute": losses.MeanAbsoluteError(missing="mask"),
    "huber": losses.Huber(delta=0.4),
    "cross-entropy": losses.CrossEntropy(output_weights={"y": 0.0}),
    "cross-entropy-logits": losses.CrossEntropy(logits=True, missing="mask"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_grad_is_the_gradient_of_the_loss_after_the_plain_scan(loss):
    loss = LOSSES[loss]
    case, data = loss_case(loss)

    @jax.jit
    def plain(net):
        a = plain_scan(net, data.inputs, data.state, case.steps)
        return loss.value(net, {name: a[name] for name in case.topology.outputs}, data.targets, data.weights)

    expected_value, expected = jax.value_and_grad(plain)(case.net)
    value, gradient = lddn.value_and_grad(loss, case.net, data)
    np.testing.assert_allclose(value, expected_value, rtol=1e-13)
    assert_blocks_agree(blocks(gradient, {}), blocks(expected, {}), 1e-11)


def test_the_gradient_is_a_network_of_the_same_structure():
    case = BY_NAME["awkward"]
    _, gradient = lddn.value_and_grad(losses.SumSquaredError(), case.net, case.data)
    assert isinstance(gradient, lddn.Network)
    assert jax.tree.structure(gradient) == jax.tree.structure(case.net)
    stepped = eqx.apply_updates(case.net, jax.tree.map(lambda g: -1e-4 * g, gradient))
    before, after = (lddn.value_and_grad(losses.SumSquaredError(), net, case.data)[0] for net in (case.net, stepped))
    assert after < before


def test_the_loss_of_the_oracle():
    case = BY_NAME["awkward"]
    _, a, _ = oracle.simulate(*case.arguments)
    value, _ = lddn.value_and_grad(losses.SumSquaredError(), case.net, case.data)
    np.testing.assert_allclose(value, oracle.loss(a, case.cotangents), rtol=1e-13)


@BY_METHOD
def test_jit_of_value_and_grad_traces_once(method):
    outer, inner = [], []

    def counted(n):
        inner.append(n.shape)
        return n * n

    lddn.transfer.register("counted_in_gradients", counted, lambda n, a: 2 * n, replace=True)
    topology = declare("u:1", "y:1:counted_in_gradients", "u>y@0,1 y>y@2", "y")

    @jax.jit
    def call(net, data):
        outer.append(1)
        return lddn.value_and_grad(losses.SumSquaredError(), net, data, METHODS[method])

    def arguments(seed):
        keys = jax.random.split(jax.random.key(seed), 3)
        net = lddn.Network(topology, key=keys[0], init="uniform")
        u, y = (jax.random.normal(key, (2, 5, 1)) for key in keys[1:])
        return net, lddn.Sequences({"u": u}, {"y": y})

    first = call(*arguments(0))
    traced = len(outer), len(inner)
    assert traced[0] == 1
    assert traced[1] > 0
    second = call(*arguments(1))
    assert (len(outer), len(inner)) == traced
    assert float(first[0]) != float(second[0])


def test_value_and_grad_without_jit_traces_once():
    traces = []

    def counted(n):
        traces.append(n.shape)
        return n * n

    lddn.transfer.register("counted_without_jit", counted, lambda n, a: 2 * n, replace=True)
    topology = declare("u:1", "y:2:counted_without_jit", "u>y y>y@1", "y")
    data = lddn.Sequences(jnp.ones((5, 1)), jnp.ones((5, 2)))
    net = lddn.Network(topology, key=jax.random.key(0), init="uniform")
    # Losses and methods are equal by value: a new, equal one is no reason to compile again.
    lddn.value_and_grad(losses.MeanSquaredError(), net, data, lddn.BPTT())
    before = len(traces)
    lddn.value_and_grad(losses.MeanSquaredError(), jax.tree.map(lambda w: 2 * w, net), data, lddn.BPTT())
    assert len(traces) == before


@PART
def test_value_and_grad_under_vmap_over_networks_and_data(name):
    case = BY_NAME[name]
    nets = [jax.tree.map(lambda w, k=k: w * (1 + 0.3 * k), case.net) for k in range(2)]
    together = jax.tree.map(lambda *w: jnp.stack(w), *nets)

    def call(net, data):
        return lddn.value_and_grad(losses.SumSquaredError(), net, data)

    found = jax.vmap(call)(together, case.data)  # each network has one of the two sequences
    singles = [call(net, jax.tree.map(lambda s, k=k: s[k], case.data)) for k, net in enumerate(nets)]
    values, gradients = jax.tree.map(lambda *s: jnp.stack(s), *singles)
    np.testing.assert_allclose(found[0], values, rtol=1e-12)
    assert_blocks_agree(blocks(found[1], {}), blocks(gradients, {}), 1e-11)


# --- what the calls refuse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["u", "hidden"])
def test_a_cotangent_is_of_a_layer(name):
    case = BY_NAME["awkward"]
    with pytest.raises(lddn.TopologyError, match=f"no layer '{name}'"):
        lddn.BPTT().pullback(case.net, *case.signals, {name: jnp.ones((2, 8, 2))})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(8, 2), (2, 7, 2), (3, 8, 2), (2, 8, 3)], ids=str)
def test_a_cotangent_is_as_large_as_its_layer(shape):
    case = BY_NAME["awkward"]
    with pytest.raises(lddn.ShapeError, match="cotangent 'y'"):
        lddn.BPTT().pullback(case.net, *case.signals, {"y": jnp.ones(shape)})


def test_targets_and_inputs_must_have_one_length():
    case = BY_NAME["elman"]
    inputs, state = case.signals
    data = lddn.Sequences(inputs, None, state)
    data = eqx.tree_at(lambda d: d.targets, data, {"y": jnp.ones((2, 7, 2))}, is_leaf=lambda leaf: leaf is None)
    with pytest.raises(lddn.ShapeError, match=r"\(2, 7\)"):
        lddn.value_and_grad(losses.SumSquaredError(), case.net, data)


def test_a_missing_target_is_found_before_anything_is_compiled():
    case = BY_NAME["elman"]
    inputs, state = case.signals
    data = lddn.Sequences(inputs, {"y": jnp.ones((2, 8, 2)).at[1, 3, 0].set(jnp.nan)}, state)
    with pytest.raises(lddn.DataError, match=r"sequence \(1,\), time 3, element 0"):
        lddn.value_and_grad(losses.SumSquaredError(), case.net, data)


@pytest.mark.parametrize("settings", [{"order": 3}, {"step": 0.0}, {"step": -1e-3}], ids=str)
def test_finite_differences_refuse_senseless_settings(settings):
    with pytest.raises(lddn.LDDNError):
        lddn.FiniteDifference(**settings)


@pytest.mark.parametrize(
    ("order", "step"), in_tiers([(2, None), (4, None), (2, 1e-5), (4, 1e-3)], fast=[(2, None), (4, 1e-3)])
)
def test_finite_differences_of_either_order(order, step):
    case = BY_NAME["elman"]
    cotangents = {name: jnp.asarray(c) for name, c in case.cotangents.items()}
    found = lddn.FiniteDifference(order=order, step=step).pullback(case.net, *case.signals, cotangents)
    # Truncation and rounding balance at ε^(2/3) = 4e-11 of two points and ε^(4/5) = 3e-13 of five.
    assert_blocks_agree(blocks(*found), expected_gradient(case), 1e-8 if order == 2 else 1e-10)
