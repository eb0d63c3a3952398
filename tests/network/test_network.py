"""Networks: names of parameters, exchange of weights, and what JAX makes of them."""

import ast
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import declare
from small_networks import AWKWARD, KEY, NARX, arrays, assert_same

import lddn_jax as lddn
from lddn_jax import Network
from lddn_jax.errors import ShapeError


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


@pytest.mark.usefixtures("unchecked")
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


def test_summary_of_many_inputs_is_not_wide():
    names = [f"measured_{k}" for k in range(30)]
    many = declare(" ".join(f"{name}:1" for name in names), "y:1:tanh", " ".join(f"{name}>y@1" for name in names), "y")
    lines = Network(many, init="zeros").summary().splitlines()
    assert max(map(len, lines)) < 130
    assert all(f"measured_{k} [1]" in " ".join(lines) for k in range(30))


def test_summary_of_an_autonomous_network():
    lines = Network(declare("", "y:2:tanh!", "y>y@1", "y"), init="zeros", dtype=jnp.float32).summary().splitlines()
    assert lines[0] == "inputs: none"
    assert lines[-1] == "4 parameters, float32"


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
