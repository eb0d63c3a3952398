"""Reference networks that other programs computed: outputs, loss, and the gradient by every method."""

import functools

import numpy as np
import pytest
import reference
from agreement import METHODS, assert_blocks_agree, blocks
from tiers import in_tiers

import lddn_jax as lddn

read = functools.cache(reference.read)


@pytest.mark.parametrize("name", reference.NAMES)
def test_outputs_of_every_layer(name):
    expected = read(name)
    a = lddn.simulate(expected.net, expected.data.inputs).a
    assert a.keys() == expected.a.keys()
    for layer in a:
        np.testing.assert_allclose(a[layer], expected.a[layer], rtol=0, atol=1e-12, err_msg=layer)


@pytest.mark.parametrize("method", in_tiers(METHODS.keys(), ["BPTT"]))
@pytest.mark.parametrize("name", reference.NAMES)
def test_loss_and_gradient(name, method):
    expected = read(name)
    value, gradient = lddn.value_and_grad(lddn.losses.SumSquaredError(), expected.net, expected.data, METHODS[method])
    np.testing.assert_allclose(float(value), expected.loss, rtol=1e-12)
    # Five points: an error of ε / h + h⁴ at the best step h.
    tolerance = 1e-6 if method == "FiniteDifference" else 1e-10
    assert_blocks_agree(blocks(gradient, {}), expected.gradient, tolerance, method)
