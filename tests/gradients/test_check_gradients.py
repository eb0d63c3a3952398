"""The comparison of all methods: it names what is broken, and it can be read."""

import functools
import json
import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import METHODS
from networks import BY_NAME
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import losses, transfer


class Broken(lddn.AbstractGradient):
    """BPTT, but one element of one block is multiplied by a number: by default, off by a part in ten million."""

    factor: float = eqx.field(default=1 + 1e-7, static=True)
    where: tuple = eqx.field(default=("g", "h", 1, 0, 1), static=True)

    @property
    def name(self):
        return "Broken"

    def linearize(self, net, inputs, state, steps):
        return _Broken(lddn.BPTT().linearize(net, inputs, state, steps), self.factor, self.where)

    def derivatives(self, net, inputs, state, steps, with_state=False):
        return lddn.BPTT().derivatives(net, inputs, state, steps, with_state)


class _Broken(lddn.AbstractLinearization):
    whole: eqx.Module
    factor: float = eqx.field(static=True)
    where: tuple = eqx.field(static=True)

    @property
    def a(self):
        return self.whole.a

    def pullback(self, cotangents):
        gradient, state = self.whole.pullback(cotangents)
        to, source, *place = self.where
        block = gradient.LW[to, source].at[*place].multiply(self.factor)
        return gradient.with_weights(LW={(to, source): block}), state


@functools.cache
def report():
    case = BY_NAME["jordan"]
    return lddn.check_gradients(losses.SumSquaredError(), case.net, case.data)


def test_check_gradients_passes():
    assert report().passed
    assert report().worst.passed
    assert report().worst.relative <= report().worst.tolerance
    exact = [d for d in report().differences if "FiniteDifference(order=4)" not in d.methods]
    assert max(d.relative for d in exact) < 1e-13
    assert len(report().differences) == math.comb(len(METHODS), 2)


def test_the_report_is_a_table_with_every_method():
    table = str(report())
    assert {"BPTT", "SensitivityBPTT", "RTRL", "Autodiff", "FiniteDifference"} <= METHODS.keys()
    assert not [name for name in METHODS if name not in table]
    assert "all methods agree (float64)" in table


def test_the_report_as_json():
    stored = json.loads(json.dumps(report().to_dict()))
    assert stored["passed"] is True
    assert stored["worst"] == report().worst.relative
    assert stored["dtype"] == "float64"
    assert len(stored["methods"]) == len(METHODS)
    assert stored["methods"]["BPTT"]["tolerance"] == 1e-11
    value, _ = lddn.value_and_grad(losses.SumSquaredError(), BY_NAME["jordan"].net, BY_NAME["jordan"].data)
    np.testing.assert_allclose(stored["value"], value, rtol=1e-12)


@pytest.mark.deep
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


def test_a_method_that_gives_nan_disagrees():
    case, broken = BY_NAME["single-neuron"], Broken(float("nan"), ("y", "y", 0, 0, 0))
    found = lddn.check_gradients(losses.SumSquaredError(), case.net, case.data, methods=(lddn.BPTT(), broken))
    assert not found.passed
    assert found.worst.block == "LW['y', 'y']"


@pytest.mark.deep
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


@pytest.mark.parametrize(
    "name", in_tiers(["idle-layers", "feed-forward", "no-parameters"], fast=["feed-forward", "no-parameters"])
)
def test_check_gradients_of_networks_with_little_to_check(name):
    case = BY_NAME[name]
    found = lddn.check_gradients(
        losses.SumSquaredError(), case.net, case.data, methods=(lddn.BPTT(), lddn.SensitivityBPTT(), lddn.Autodiff())
    )
    assert found.passed, str(found)


# --- kinks between the points of finite differences -------------------------------------------------------------------


def one_neuron(bias: float, transfer: str = "relu") -> tuple[lddn.Network, lddn.Sequences]:
    """A neuron with the net input 1 + `bias` at every step, and a linear output."""
    topology = lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer("h", 1, transfer), lddn.Layer("y", 1, "linear")],
        [lddn.Connection("u", "h"), lddn.Connection("h", "y")],
        ["y"],
    )
    net = lddn.Network(topology, init="zeros", dtype=jnp.result_type(float))
    net = net.with_weights(IW={("h", "u"): [[[1.0]]]}, LW={("y", "h"): [[[2.0]]]}, b={"h": [bias]})
    return net, lddn.Sequences(np.ones((3, 1)), np.ones((3, 1)))


FEW = (lddn.BPTT(), lddn.Autodiff(), lddn.FiniteDifference(order=4))
BETWEEN, AT = "lies between its points, so it was compared with a step of 1e-07", "is at a kink .* at 4 points nearby"


@pytest.mark.parametrize("float64", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("bias", "words"), [(-1 + 2e-6, BETWEEN), (-1 - 2e-6, BETWEEN), (-1.0, AT), (-0.9, None)], ids=str
)
def test_a_kink_is_named_and_is_no_failure(bias, words, float64):
    """Also in JAX's default float32, where warnings about float64 arrays would be errors here."""
    with jax.enable_x64(float64):
        found = lddn.check_gradients(losses.MeanSquaredError(), *one_neuron(bias), FEW)
        json.dumps(found.to_dict())
    assert found.passed, str(found)
    assert set(found.kinks) == ({"FiniteDifference(order=4)"} if words else set())
    for reason in found.kinks.values():
        assert re.search(words, reason)
        assert reason in str(found)
    assert "all methods agree" in str(found)


@jax.custom_jvp
def wrong(n):
    """A function whose derivative is wrong by a third, in all methods but finite differences."""
    return jnp.where(n > 0, n, 0)


@wrong.defjvp
def wrong_slope(primals, tangents):
    (n,), (t,) = primals, tangents
    return wrong(n), jnp.where(n > 0, t / 1.5, 0)


@pytest.mark.parametrize("float64", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("bias", [-1 + 2e-6, -1.0, 0.5], ids=str)
def test_a_wrong_derivative_fails_at_a_kink_too(bias, float64, monkeypatch):
    monkeypatch.setattr(transfer, "_FUNCTIONS", dict(transfer._FUNCTIONS))
    transfer.register("wrong", wrong)
    with jax.enable_x64(float64):
        found = lddn.check_gradients(losses.MeanSquaredError(), *one_neuron(bias, "wrong"), FEW)
    assert not found.passed
    assert found.kinks == {}
    assert "FiniteDifference(order=4)" in found.worst.methods
    assert "methods DISAGREE" in str(found)


@pytest.mark.deep
def test_a_network_of_relus_in_float32():
    """Some net input of so many lies at a kink within the step that float32 would need."""
    layers = [lddn.Layer("a", 16, "relu"), lddn.Layer("b", 8, "relu"), lddn.Layer("y", 2, "linear")]
    connections = [lddn.Connection("u", "a"), lddn.Connection("a", "a", (1,))]
    connections += [lddn.Connection("a", "b"), lddn.Connection("b", "y")]
    rng = np.random.default_rng(0)
    with jax.enable_x64(False):
        net = lddn.Network(lddn.Topology([lddn.Input("u", 1)], layers, connections, ["y"]), key=jax.random.key(0))
        data = lddn.Sequences(rng.normal(size=(4, 30, 1)), rng.normal(size=(4, 30, 2)))
        found = lddn.check_gradients(losses.MeanSquaredError(), net, data, FEW)
    assert (found.dtype, found.passed) == ("float32", True), str(found)
    assert found.of("FiniteDifference(order=4)").relative < 1e-5
