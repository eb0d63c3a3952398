"""Every gradient method on every network of the zoo, and the calls that are built on the methods."""

import dataclasses
import functools
import json

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
from networks import BY_NAME, KINKED, ZOO, Case, declare, side_by_side

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.gradients.autodiff import plain_scan

BY_METHOD = pytest.mark.parametrize("method", METHODS)
PART = pytest.mark.parametrize("name", ["awkward", "autonomous", "softmax-in-a-loop", "long-delays-in-a-ring"])


# --- the methods, against the oracle ---------------------------------------------------------------------------------


@BY_METHOD
@pytest.mark.parametrize("case", ZOO, ids=str)
def test_gradient(case, method):
    assert_method_agrees(case, method)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("layers", [["g"], ["g", "h", "y"]], ids="-".join)
def test_cotangents_of_any_layers(layers, method):
    case = BY_NAME["awkward"]
    random = np.random.default_rng(0)
    cotangents = {name: random.standard_normal((*case.batch, case.steps, 2)) for name in layers}
    expected = oracle.gradient(lambda a: sum((c * a[name]).sum() for name, c in cotangents.items()), *case.arguments)
    found = METHODS[method].pullback(case.net, *case.signals, {name: jnp.asarray(c) for name, c in cotangents.items()})
    assert_blocks_agree(blocks(*found), expected, TOLERANCE[method], method)


@pytest.mark.parametrize("method", EXACT)  # a finite difference may step across a kink
def test_functions_with_kinks(method):
    assert_method_agrees(Case("kinked", lambda: side_by_side(KINKED), steps=4), method)


@pytest.mark.parametrize("method", EXACT)
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


# --- differentiable --------------------------------------------------------------------------------------------------


def squares(outputs):
    """Some function of the outputs that is not linear."""
    return sum((output**2).sum() for output in outputs.values())


@pytest.mark.parametrize("method", ["BPTT", "RTRL"])
@PART
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


@pytest.mark.parametrize("argument", [0, 1, 2], ids=["network", "inputs", "state"])
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


# --- check_gradients -------------------------------------------------------------------------------------------------


class Broken(lddn.AbstractGradient):
    """BPTT, but one element of one block is off by a part in ten million."""

    def linearize(self, net, inputs, state, steps):
        return _Broken(lddn.BPTT().linearize(net, inputs, state, steps))

    def derivatives(self, net, inputs, state, steps, with_state=False):
        return lddn.BPTT().derivatives(net, inputs, state, steps, with_state)


class _Broken(eqx.Module):
    whole: eqx.Module

    @property
    def a(self):
        return self.whole.a

    def pullback(self, cotangents):
        gradient, state = self.whole.pullback(cotangents)
        block = gradient.LW["g", "h"]
        return gradient.with_weights(LW={("g", "h"): block.at[1, 0, 1].multiply(1 + 1e-7)}), state


@functools.cache
def report():
    case = BY_NAME["awkward"]
    return lddn.check_gradients(losses.SumSquaredError(), case.net, case.data)


def test_check_gradients_passes():
    assert report().passed
    assert report().worst.passed
    assert report().worst.relative <= report().worst.tolerance
    exact = [d for d in report().differences if "FiniteDifference(order=4)" not in d.methods]
    assert max(d.relative for d in exact) < 1e-13
    assert len(report().differences) == 10


def test_the_report_is_a_table_with_every_method():
    table = str(report())
    missing = [
        name for name in ("BPTT", "SensitivityBPTT", "RTRL", "Autodiff", "FiniteDifference") if name not in table
    ]
    assert not missing
    assert "all methods agree (float64)" in table


def test_the_report_as_json():
    stored = json.loads(json.dumps(report().to_dict()))
    assert stored["passed"] is True
    assert stored["worst"] == report().worst.relative
    assert stored["dtype"] == "float64"
    assert len(stored["methods"]) == 5
    assert stored["methods"]["BPTT"]["tolerance"] == 1e-11
    value, _ = lddn.value_and_grad(losses.SumSquaredError(), BY_NAME["awkward"].net, BY_NAME["awkward"].data)
    np.testing.assert_allclose(stored["value"], value, rtol=1e-12)


def test_a_broken_method_is_named_with_its_block_and_delay():
    case = BY_NAME["awkward"]
    found = lddn.check_gradients(
        losses.SumSquaredError(), case.net, case.data, methods=(lddn.RTRL(), Broken(), lddn.Autodiff())
    )
    assert not found.passed
    assert "Broken" in found.worst.methods
    assert found.worst.block == "LW['g', 'h']"
    assert found.worst.delay == 2
    assert "methods DISAGREE, worst at LW['g', 'h'] delay 2" in str(found)
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["passed"] is False
    assert stored["worst_block"] == "LW['g', 'h'] delay 2"
    assert lddn.check_gradients(
        losses.SumSquaredError(), case.net, case.data, methods=(lddn.RTRL(), Broken()), tolerance=1e-6
    ).passed


def test_check_gradients_in_float32():
    case = BY_NAME["softmax-in-a-loop"]
    net = jax.tree.map(lambda block: block.astype(jnp.float32), case.net)
    found = lddn.check_gradients(losses.MeanSquaredError(), net, case.data)
    assert found.dtype == "float32"
    assert found.passed, str(found)


def test_check_gradients_needs_two_methods():
    case = BY_NAME["single-neuron"]
    with pytest.raises(ValueError, match="at least two"):
        lddn.check_gradients(losses.MeanSquaredError(), case.net, case.data, methods=(lddn.BPTT(),))


@pytest.mark.parametrize("name", ["idle-layers", "feed-forward", "no-parameters"])
def test_check_gradients_of_networks_with_little_to_check(name):
    case = BY_NAME[name]
    found = lddn.check_gradients(
        losses.SumSquaredError(), case.net, case.data, methods=(lddn.BPTT(), lddn.SensitivityBPTT(), lddn.Autodiff())
    )
    assert found.passed, str(found)


# --- what the calls refuse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["u", "hidden"])
def test_a_cotangent_is_of_a_layer(name):
    case = BY_NAME["awkward"]
    with pytest.raises(lddn.TopologyError, match=f"no layer '{name}'"):
        lddn.BPTT().pullback(case.net, *case.signals, {name: jnp.ones((2, 8, 2))})


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


@pytest.mark.parametrize(("order", "step"), [(2, None), (4, None), (2, 1e-5), (4, 1e-3)])
def test_finite_differences_of_either_order(order, step):
    case = BY_NAME["elman"]
    cotangents = {name: jnp.asarray(c) for name, c in case.cotangents.items()}
    found = lddn.FiniteDifference(order=order, step=step).pullback(case.net, *case.signals, cotangents)
    # Truncation and rounding balance at ε^(2/3) = 4e-11 of two points and ε^(4/5) = 3e-13 of five.
    assert_blocks_agree(blocks(*found), expected_gradient(case), 1e-8 if order == 2 else 1e-10)
