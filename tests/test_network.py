"""Networks: shapes, first values, names of parameters, exchange of weights, and loops closed and opened."""

import ast
import os
import re
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax import Network, close_loop, open_loop
from lddn_jax.errors import PrecisionError, ShapeError, TopologyError

KEY = jax.random.key(0)
AWKWARD = declare(
    "u:2 v:1",
    "hidden:4:tanh mixed:3:logistic! y:2:linear",
    "u>hidden@0,2,5 hidden>hidden@1,3 v>mixed@1 hidden>mixed mixed>y@0,2 u>y y>hidden@1",
    "y mixed",
)
NARX = declare(
    "current:1 measured:1",
    "hidden:3:tanh position:1:linear",
    "current>hidden@1,2 measured>hidden@1,2 hidden>position",
    "position",
)
INITIALIZERS = ["nguyen-widrow", "glorot", "orthogonal", "uniform", "zeros"]


def arrays(net):
    return {**net.IW, **net.LW, **net.b}


def assert_same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


# ---- shapes, dtypes, first values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, jnp.float32, jnp.float64, "float32"], ids=str)
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
        r"returned dict for layer 'hidden'; needed is a tuple \(weights, bias\)",
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


# ---- weights in and out ---------------------------------------------------------------------------------------------


def test_with_weights_changes_what_is_given_only():
    net = Network(NARX, key=KEY)
    new = net.with_weights(LW={("position", "hidden"): [[[1, 2, 3]]]}, b={"position": np.float32([4])})
    np.testing.assert_array_equal(new.LW["position", "hidden"], [[[1.0, 2.0, 3.0]]])
    np.testing.assert_array_equal(new.b["position"], [4.0])
    assert new.IW["hidden", "current"] is net.IW["hidden", "current"]
    assert new.dtype == jnp.float64
    assert float(net.b["position"][0]) != 4.0


def test_with_weights_keeps_the_order_of_declaration():
    other = lddn.Topology(NARX.inputs[::-1], NARX.layers[::-1], NARX.connections[::-1], NARX.outputs)
    names = [layer.name for layer in Network(other, init="zeros").with_weights().topology.layers]
    assert names == ["position", "hidden"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"IW": {("hidden", "curent"): 0}}, r"IW\[\('hidden', 'curent'\)\] does not exist", id="name"),
        pytest.param({"IW": {("position", "hidden"): 0}}, r"it has \[\('hidden', 'current'\)", id="wrong field"),
        pytest.param({"b": {"current": [0]}}, r"b\['current'\] does not exist.*'position'", id="bias of an input"),
        pytest.param({"b": {"hidden": [0, 0]}}, r"b\['hidden'\]: shape \(2,\) was given, \(3,\) is", id="bias shape"),
        pytest.param(
            {"LW": {("position", "hidden"): np.zeros((1, 3))}},
            r"shape \(1, 3\) was given, \(1, 1, 3\) \(delay, to, from\) is needed",
            id="weight shape",
        ),
    ],
)
def test_with_weights_refuses(given, message):
    with pytest.raises(ShapeError, match=message):
        Network(NARX, init="zeros").with_weights(**given)


def test_ravel_round_trip():
    net = Network(AWKWARD, key=KEY)
    flat, unravel = net.ravel()
    assert flat.shape == (net.parameter_count,) == (len(net.parameter_names()),)
    assert_same(unravel(flat), net)


@pytest.mark.parametrize("position", range(0, 101, 7))
def test_parameter_names_say_where_an_element_is(position):
    """One element of the flat vector is changed; its name must find the change."""
    net = Network(AWKWARD, init="zeros")
    flat, unravel = net.ravel()
    changed = unravel(flat.at[position].set(1.0))
    name = net.parameter_names()[position]
    field, key, delay, index = re.fullmatch(r"(IW|LW|b)\[(.+?)\](?: delay (\d+))? \[(.+)\]", name).groups()
    key, index = ast.literal_eval(key), [int(k) for k in index.split(",")]
    if delay is not None:
        index = [AWKWARD.delays[key].index(int(delay)), *index]
    assert getattr(changed, field)[key][tuple(index)] == 1.0
    assert float(sum(jnp.abs(array).sum() for array in arrays(changed).values())) == 1.0


def test_parameter_names_are_unique():
    names = Network(AWKWARD, init="zeros").parameter_names()
    assert len(set(names)) == len(names) == 101


def test_parameter_names_read_well():
    names = Network(NARX, init="zeros").parameter_names()
    assert names[0] == "IW['hidden', 'current'] delay 1 [0, 0]"
    assert names[-1] == "b['position'] [0]"


def test_summary():
    assert Network(NARX, init="zeros").summary().splitlines() == [
        "inputs: current (1), measured (1)",
        "layer              size  transfer  fed by                                 parameters",
        "------------------------------------------------------------------------------------",
        "hidden             3     tanh      current [1, 2], measured [1, 2], bias  15",
        "position (output)  1     linear    hidden [0], bias                       4",
        "19 parameters, float64",
    ]


def test_summary_of_an_autonomous_network():
    lines = Network(declare("", "y:2:tanh!", "y>y@1", "y"), init="zeros", dtype=jnp.float32).summary().splitlines()
    assert lines[0] == "inputs: none"
    assert lines[-1] == "4 parameters, float32"


# ---- a network is a pytree ------------------------------------------------------------------------------------------


def test_optax_and_equinox_update_networks():
    net, gradient = Network(AWKWARD, key=KEY), Network(AWKWARD, key=jax.random.key(1))
    transformation = optax.sgd(0.5)
    updates, _ = transformation.update(gradient, transformation.init(net), net)
    expected = jax.tree.map(lambda w, g: w - 0.5 * g, net, gradient)
    assert_same(optax.apply_updates(net, updates), expected)
    assert_same(eqx.apply_updates(net, updates), expected)


def test_a_batch_of_networks():
    keys = jax.random.split(KEY, 3)
    nets = jax.vmap(lambda key: Network(NARX, key=key))(keys)
    assert nets.IW["hidden", "current"].shape == (3, 2, 3, 1)
    assert nets.parameter_count == 19  # of one
    inputs = {"current": jnp.ones((4, 1)), "measured": jnp.ones((4, 1))}
    together = jax.vmap(lambda net: lddn.predict(net, inputs)["position"])(nets)
    alone = [lddn.predict(Network(NARX, key=key), inputs)["position"] for key in keys]
    np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-13)


# ---- loops ----------------------------------------------------------------------------------------------------------


def test_close_loop_moves_weights_and_open_loop_moves_them_back():
    net = Network(NARX, key=KEY)
    closed = close_loop(net, output="position", input="measured")
    assert closed.topology == declare(
        "current:1",
        "hidden:3:tanh position:1:linear",
        "current>hidden@1,2 position>hidden@1,2 hidden>position",
        "position",
    )
    np.testing.assert_array_equal(closed.LW["hidden", "position"], net.IW["hidden", "measured"])
    assert set(closed.IW) == {("hidden", "current")}
    assert_same(open_loop(closed, output="position", input="measured"), net)


def test_open_loop_cuts_only_where_told():
    topology = declare("u:1", "h:2:tanh y:1:linear z:1:linear", "u>h h>y y>h@1 y>z@0,2", "z")
    net = Network(topology, key=KEY)
    opened = open_loop(net, output="y", input="y_measured", to="h")
    assert opened.topology.delays["h", "y_measured"] == (1,)
    assert opened.topology.delays["z", "y"] == (0, 2)
    np.testing.assert_array_equal(opened.IW["h", "y_measured"], net.LW["h", "y"])
    assert_same(open_loop(net, output="y", input="y_measured", to=("h",)), opened)
    assert_same(close_loop(opened, output="y", input="y_measured"), net)


@pytest.mark.parametrize(
    ("connections", "output", "input_", "message"),
    [
        pytest.param("u>h m>h@1 h>y", "z", "m", "no layer 'z'", id="unknown layer"),
        pytest.param("u>h m>h@1 h>y", "y", "mm", r"no input 'mm'; the inputs are \['m', 'u'\]", id="unknown input"),
        pytest.param("u>h m>h@1 h>y", "h", "m", "output 'h' has 2 elements and input 'm' has 1", id="sizes differ"),
        pytest.param(
            "u>h m>h@1 h>y y>h@2", "y", "m", "'y' feeds 'h' already.*second connection.*'y' -> 'h'", id="fed twice"
        ),
        pytest.param("u>h m>h@0,1 h>y", "y", "m", "zero-delay loop h -> y -> h", id="no delay"),
    ],
)
def test_close_loop_refuses(connections, output, input_, message):
    net = Network(declare("u:1 m:1", "h:2:tanh y:1:linear", connections, "y"), init="zeros")
    with pytest.raises(TopologyError, match=message):
        close_loop(net, output=output, input=input_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"output": "z", "input": "m"}, "no layer 'z'", id="unknown layer"),
        pytest.param({"output": "y", "input": "u"}, "open_loop: the name 'u' is taken.*'u_measured'", id="taken"),
        pytest.param({"output": "y", "input": "h"}, "open_loop: the name 'h' is taken", id="taken by a layer"),
        pytest.param({"output": "z2", "input": "m"}, r"layer 'z2' feeds \[\]", id="feeds nothing"),
        pytest.param({"output": "y", "input": "m", "to": ("y",)}, r"feeds \['h'\], and \['y'\] were", id="not fed"),
    ],
)
def test_open_loop_refuses(arguments, message):
    topology = declare("u:1", "h:2:tanh y:1:linear z2:1:linear", "u>h h>y y>h@1 h>z2", "y z2")
    with pytest.raises(TopologyError, match=message):
        open_loop(Network(topology, init="zeros"), **arguments)
