"""First weights: shapes, dtypes, ranges, and what is refused."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare
from small_networks import AWKWARD, KEY, NARX, arrays, assert_same
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import Network
from lddn_jax.errors import PrecisionError, ShapeError, TopologyError
from lddn_jax.network.initializers import Ignoring

INITIALIZERS = ["nguyen-widrow", "glorot", "orthogonal", "uniform", "zeros"]


@pytest.mark.parametrize(
    "dtype",
    in_tiers(
        {"None": None, "float32": jnp.float32, "float64": jnp.float64, "'float32'": "float32"}, ["None", "float32"]
    ),
)
@pytest.mark.parametrize("init", INITIALIZERS)
def test_shapes_and_dtypes(init, dtype):
    net = Network(AWKWARD, key=KEY, init=init, dtype=dtype)
    assert {name: array.shape for name, array in net.IW.items()} == {
        ("hidden", "u"): (3, 4, 2),
        ("mixed", "v"): (1, 3, 1),
        ("y", "u"): (1, 2, 2),
    }
    assert {name: array.shape for name, array in net.LW.items()} == {
        ("hidden", "hidden"): (2, 4, 4),
        ("hidden", "y"): (1, 4, 2),
        ("mixed", "hidden"): (1, 3, 4),
        ("y", "mixed"): (2, 2, 3),
    }
    assert {name: array.shape for name, array in net.b.items()} == {"hidden": (4,), "y": (2,)}
    assert {array.dtype for array in arrays(net).values()} == {net.dtype} == {jnp.dtype(dtype or jnp.float64)}
    assert net.parameter_count == net.ravel()[0].size == sum(array.size for array in arrays(net).values())


@pytest.mark.parametrize("init", INITIALIZERS[:-1])
def test_a_key_gives_the_same_network_again_and_another_key_another(init):
    net = Network(AWKWARD, key=KEY, init=init)
    assert_same(Network(AWKWARD, key=jax.random.key(0), init=init), net)
    other = Network(AWKWARD, key=jax.random.key(1), init=init)
    changed = {name for name, array in arrays(other).items() if not jnp.array_equal(array, arrays(net)[name])}
    assert changed >= set(net.IW) | set(net.LW)


@pytest.mark.parametrize("init", INITIALIZERS)
def test_declaration_order_changes_nothing(init):
    backwards = lddn.Topology(
        AWKWARD.inputs[::-1], AWKWARD.layers[::-1], AWKWARD.connections[::-1], AWKWARD.outputs[::-1]
    )
    assert_same(Network(backwards, key=KEY, init=init), Network(AWKWARD, key=KEY, init=init))


@pytest.mark.parametrize("transfer", ["tansig", "logsig", "satlin", "satlins", "radbas", "elliotsig", "tribas"])
def test_nguyen_widrow(transfer):
    """Rows of the published length, biases spread evenly over it, both mapped onto the function's active range."""
    size, width = 5, 2 * 2 + 3  # two delays of two elements, three neurons at one delay
    topology = declare("u:2", f"x:3:tanh y:{size}:{transfer}", "u>x u>y@0,3 x>y", "y")
    net = Network(topology, key=KEY, init="nguyen-widrow")
    rows = np.concatenate(
        [np.moveaxis(w, 0, 1).reshape(size, -1) for w in (net.IW["y", "u"], net.LW["y", "x"])], axis=1
    )
    low, high = {
        "tansig": (-2, 2),
        "logsig": (-4, 4),
        "satlin": (0, 1),
        "satlins": (-1, 1),
        "radbas": (-2, 2),
        "elliotsig": (-2, 2),
        "tribas": (-1, 1),
    }[transfer]
    magnitude = 0.7 * size ** (1 / width)  # w_mag of Nguyen & Widrow (1990), for inputs and net inputs in [-1, 1]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), (high - low) / 2 * magnitude, rtol=1e-14)
    spread = (net.b["y"] - (high + low) / 2) / ((high - low) / 2)
    np.testing.assert_allclose(np.sort(np.abs(spread)), magnitude * np.array([0, 0.5, 0.5, 1, 1]), atol=1e-14)
    np.testing.assert_allclose(spread * np.sign(rows[:, 0]), magnitude * np.linspace(-1, 1, size), atol=1e-14)


def test_nguyen_widrow_of_one_neuron_centers_it():
    net = Network(declare("u:2", "y:1:tanh", "u>y", "y"), key=KEY)
    assert float(net.b["y"][0]) == 0.0
    np.testing.assert_allclose(jnp.linalg.norm(net.IW["y", "u"]), 2 * 0.7, rtol=1e-14)


@pytest.mark.parametrize("transfer", ["linear", "relu", "softmax"])
def test_nguyen_widrow_leaves_unbounded_functions_to_glorot(transfer):
    topology = declare("u:2", f"y:3:{transfer}", "u>y@0,1", "y")
    assert_same(Network(topology, key=KEY, init="nguyen-widrow"), Network(topology, key=KEY, init="glorot"))


def test_a_layer_that_nothing_feeds():
    with pytest.warns(lddn.TopologyWarning):
        topology = declare("u:1", "c:2:tanh y:1:linear", "u>y c>y", "y")
    np.testing.assert_array_equal(Network(topology, key=KEY).b["c"], [0.0, 0.0])


def test_glorot_limits():
    topology = declare("u:30", "y:50:linear", "u>y@0,1 y>y@1,2,3", "y")
    net = Network(topology, key=KEY, init="glorot")
    limit = np.sqrt(6 / (2 * 30 + 3 * 50 + 50))
    largest = {name: float(jnp.abs(w).max()) for name, w in (net.IW | net.LW).items()}
    assert all(0.99 * limit < value <= limit for value in largest.values()), largest
    np.testing.assert_array_equal(net.b["y"], 0.0)


def test_orthogonal():
    topology = declare("u:1", "h:4:tanh y:4:linear", "u>h h>h@1,2,5 h>y y>h@1", "y")
    net = Network(topology, key=KEY, init="orthogonal")
    products = jnp.stack([w @ w.T for w in net.LW["h", "h"]])
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(4) / 3, (3, 4, 4)), atol=1e-14)  # 3 delays share gain 1
    np.testing.assert_array_equal(net.LW["h", "y"], Network(topology, key=KEY, init="glorot").LW["h", "y"])


@pytest.mark.parametrize("init", INITIALIZERS[:-1])
def test_layers_that_are_fed_alike_start_apart(init):
    """Twins would have one gradient, and so remain twins."""
    net = Network(declare("u:2", "h:3:tanh g:3:tanh y:1:linear", "u>h u>g h>y g>y", "y"), key=KEY, init=init)
    assert not np.any(np.isin(net.IW["h", "u"], net.IW["g", "u"]))
    assert not np.any(np.isin(net.LW["y", "h"], net.LW["y", "g"]))


def test_uniform_range():
    net = Network(declare("u:30", "y:50:tanh", "u>y", "y"), key=KEY, init="uniform")
    for array in arrays(net).values():
        assert -0.5 <= array.min() < -0.4
        assert 0.4 < array.max() < 0.5


def test_zeros_needs_no_key():
    assert float(jnp.abs(Network(AWKWARD, init="zeros").ravel()[0]).max()) == 0.0


def test_an_initializer_of_ones_own():
    """It may draw in NumPy and in another dtype; the network's dtype counts."""

    def numbered(key, layer, shapes, dtype):
        weights = {source: np.full(shape, k, np.float32) for k, (source, shape) in enumerate(shapes.items())}
        return weights, np.full(layer.size, -1.0, np.float32)

    net = Network(NARX, key=KEY, init=numbered)
    found = {name: (array.dtype, float(array.min()), float(array.max())) for name, array in arrays(net).items()}
    float64 = jnp.dtype(jnp.float64)
    assert found == {
        ("hidden", "current"): (float64, 0, 0),
        ("hidden", "measured"): (float64, 1, 1),
        ("position", "hidden"): (float64, 0, 0),
        "hidden": (float64, -1, -1),
        "position": (float64, -1, -1),
    }


def zeros_but(change):
    def initializer(key, layer, shapes, dtype):
        return change({source: jnp.zeros(shape) for source, shape in shapes.items()}, jnp.zeros(layer.size))

    return initializer


REFUSED = {
    "unknown initializer": ({"init": "nguyen_widrow"}, TopologyError, "'nguyen_widrow'.*Did you mean 'nguyen-widrow'?"),
    "no key": ({}, TopologyError, r"need a key.*jax.random.key\(0\).*init='zeros'"),
    "no key for a function": ({"init": zeros_but(lambda w, b: (w, b))}, TopologyError, "need a key"),
    "a number for a key": ({"key": 3}, TopologyError, r"key=3 is not a JAX key.*jax.random.key\(3\)"),
    "whole numbers as dtype": ({"key": KEY, "dtype": jnp.int32}, PrecisionError, "dtype=int32.*jnp.float32"),
    "complex numbers as dtype": ({"key": KEY, "dtype": "complex128"}, PrecisionError, "dtype=complex128"),
    "initializer that forgets a source": (
        {"key": KEY, "init": zeros_but(lambda w, b: ({}, b))},
        ShapeError,
        "no weights for 'current' -> 'hidden'.*returned \\[\\]",
    ),
    "initializer of a wrong weight": (
        {"key": KEY, "init": zeros_but(lambda w, b: ({s: jnp.zeros(3) for s in w}, b))},
        ShapeError,
        r"initial weights of 'current' -> 'hidden': shape \(3,\) was given, \(2, 3, 1\) \(delay, to, from\)",
    ),
    "initializer of a wrong bias": (
        {"key": KEY, "init": zeros_but(lambda w, b: (w, jnp.zeros(7)))},
        ShapeError,
        r"initial bias of 'hidden': shape \(7,\)",
    ),
    "initializer that returns weights only": (
        {"key": KEY, "init": zeros_but(lambda w, b: w)},
        ShapeError,
        r"returned dict for layer 'hidden'; it must return a tuple \(weights, bias\)",
    ),
    "no initializer at all": ({"key": KEY, "init": ["glorot"]}, TopologyError, r"no initializer \['glorot'\]"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Network(NARX, **arguments)


def test_float64_is_refused_while_jax_computes_in_32_bits():
    script = "\n".join(
        [
            "import lddn_jax as lddn",
            "topology = lddn.Topology([], [lddn.Layer('y', 1)], [lddn.Connection('y', 'y', (1,))], ['y'])",
            "print(lddn.Network(topology, init='zeros').dtype)",
            "lddn.Network(topology, init='zeros', dtype='float64')",
        ]
    )
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["float32"]
    assert "PrecisionError" in done.stderr
    assert 'jax.config.update("jax_enable_x64", True)' in done.stderr


@pytest.mark.parametrize("init", INITIALIZERS[:-1])
def test_ignored_elements_get_weight_zero_and_change_no_other(init):
    """The others are drawn as if the ignored ones were absent."""
    topology = lddn.models.feedforward({"u": 1, "v": 3}, {"y": 1}, hidden=4)
    ignoring = Network(topology, key=KEY, init=Ignoring(init, (("u", (0,)), ("v", (1,)))))
    without = Network(lddn.models.feedforward({"v": 2}, {"y": 1}, hidden=4), key=KEY, init=init)
    layer = topology.layers[0].name
    assert not np.any(ignoring.IW[layer, "u"])
    assert not np.any(ignoring.IW[layer, "v"][..., 1])
    np.testing.assert_array_equal(ignoring.IW[layer, "v"][..., [0, 2]], without.IW[layer, "v"])
    np.testing.assert_array_equal(ignoring.b[layer], without.b[layer])


def test_a_layer_all_of_whose_inputs_are_ignored_has_only_a_bias():
    net = Network(
        lddn.models.feedforward({"u": 1}, {"y": 1}, hidden=4), key=KEY, init=Ignoring("glorot", (("u", (0,)),))
    )
    assert not np.any(next(iter(net.IW.values())))
