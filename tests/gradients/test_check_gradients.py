"""The comparison of all methods: it names what is broken, and it can be read."""

import functools
import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import METHODS
from networks import BY_NAME
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import losses


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
