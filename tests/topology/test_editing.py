"""Editing a topology gives another one, and its network keeps the weights that fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import BY_NAME, declare

import lddn_jax as lddn
from lddn_jax import Connection, Layer, TopologyError

LAYERS = "h:3:tanh y:1:linear"


def start():
    return declare("u:1", LAYERS, "u>h@0,1 h>y y>h@1,2", "y")


EDITS = {
    "a connection more": (lambda t: t.with_connection("u", "y", (0, 2)), "u>h@0,1 h>y y>h@1,2 u>y@0,2"),
    "a connection without delays": (lambda t: t.with_connection("u", "y"), "u>h@0,1 h>y y>h@1,2 u>y"),
    "a connection less": (lambda t: t.without_connection("y", "h"), "u>h@0,1 h>y"),
    "other delays": (lambda t: t.with_delays("u", "h", (1, 3)), "u>h@1,3 h>y y>h@1,2"),
    "as a list": (lambda t: t.with_delays("u", "h", [1, 3]), "u>h@1,3 h>y y>h@1,2"),
}


@pytest.mark.parametrize(("edit", "connections"), EDITS.values(), ids=EDITS)
def test_connections_are_edited_and_the_original_stays(edit, connections):
    topology = start()
    assert edit(topology) == declare("u:1", LAYERS, connections, "y")
    assert topology == start()


def test_a_connection_keeps_its_kind_of_weights():
    topology = declare("u:2", "y:2:tanh", "u>y", "y").with_connection("y", "y", (1,), "diagonal")
    assert topology.with_delays("y", "y", (1, 3)) == declare("u:2", "y:2:tanh", "u>y y>y@1,3:diagonal", "y")


def test_a_layer_is_added_with_its_connections():
    deeper = start().with_layer(Layer("g", 2, "logistic"), [Connection("u", "g"), Connection("g", "y", (1,))])
    assert deeper == declare("u:1", f"{LAYERS} g:2:logistic", "u>h@0,1 h>y y>h@1,2 u>g g>y@1", "y")


def test_a_layer_of_the_same_name_is_replaced_in_its_place():
    grown = start().with_layer(Layer("h", 5, "relu", bias=False))
    assert grown == declare("u:1", "h:5:relu! y:1:linear", "u>h@0,1 h>y y>h@1,2", "y")
    assert [layer.name for layer in grown.layers] == ["h", "y"]


def test_a_layer_without_connections_is_warned_of_where_it_was_added():
    with pytest.warns(lddn.TopologyWarning, match="layer 'g' has no path (to an output|from an input)") as caught:
        start().with_layer(Layer("g", 2))
    assert {warning.filename for warning in caught} == {__file__}


def test_a_layer_goes_with_its_connections_and_as_output():
    topology = declare("u:1", f"{LAYERS} z:2:tanh", "u>h h>y h>z z>y@1 y>h@1", "y z")
    assert topology.without_layer("z") == declare("u:1", LAYERS, "u>h h>y y>h@1", "y")


REFUSED = {
    "connected already": (lambda t: t.with_connection("u", "h"), r"delays \(0, 1\).*with_delays\('u', 'h', \.\.\.\)"),
    "not connected": (lambda t: t.with_delays("u", "y", (0,)), "with_delays: there is no connection 'u' -> 'y'; there"),
    "nothing to take out": (lambda t: t.without_connection("h", "h"), "without_connection: .*'h' -> 'h'; .*'u' -> 'h'"),
    "unknown source": (lambda t: t.with_connection("v", "h"), "no source 'v'"),
    "a loop without delay": (lambda t: t.with_delays("y", "h", (0, 1)), "zero-delay loop h -> y -> h"),
    "one bare delay": (lambda t: t.with_delays("y", "h", 3), r"delays=\(3,\)"),
    "the name of an input": (lambda t: t.with_layer(Layer("u", 1)), "'u' is used twice"),
    "an unknown layer": (lambda t: t.without_layer("g"), "no layer 'g'"),
    "the only output": (lambda t: t.without_layer("y"), "the only output.*dataclasses.replace"),
}


@pytest.mark.parametrize(("edit", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_edited_is_refused(edit, message):
    with pytest.raises(TopologyError, match=message):
        edit(start())


# ---- weights carried over -------------------------------------------------------------------------------------------

KEY = jax.random.key(3)


def test_the_same_topology_gets_the_same_network():
    net = BY_NAME["awkward"].net
    jax.tree.map(np.testing.assert_array_equal, lddn.carry_over(net, net.topology), net)


def test_weights_are_carried_over_by_delay():
    net = lddn.Network(start(), key=KEY)
    other = lddn.carry_over(net, start().with_delays("u", "h", (1, 3)).with_delays("y", "h", (2,)))
    np.testing.assert_array_equal(other.IW["h", "u"][0], net.IW["h", "u"][1])
    np.testing.assert_array_equal(other.IW["h", "u"][1], 0.0)
    np.testing.assert_array_equal(other.LW["h", "y"], net.LW["h", "y"][1:])
    np.testing.assert_array_equal(other.LW["y", "h"], net.LW["y", "h"])
    jax.tree.map(np.testing.assert_array_equal, other.b, net.b)


GROWN = {
    "a delay more": lambda t: t.with_delays("u", "h", (0, 1, 2)),
    "a connection more": lambda t: t.with_connection("u", "y", (0, 4)),
    "a layer more": lambda t: t.with_layer(Layer("g", 2), [Connection("u", "g"), Connection("g", "y", (1,))]),
    "a self-loop": lambda t: t.with_connection("h", "h", (3,)),
}


@pytest.mark.parametrize("edit", GROWN.values(), ids=GROWN)
def test_what_is_new_changes_no_output(edit):
    net = lddn.Network(start(), key=KEY)
    grown = lddn.carry_over(net, edit(start()))
    u = jax.random.normal(KEY, (20, 1))
    np.testing.assert_allclose(lddn.predict(grown, u)["y"], lddn.predict(net, u)["y"], rtol=0, atol=1e-14)


def test_what_is_new_or_of_another_size_is_initialized():
    net = lddn.Network(start(), key=KEY, dtype=jnp.float32)
    topology = start().with_layer(Layer("h", 5)).with_connection("u", "y")
    other = lddn.carry_over(net, topology, key=KEY, init="glorot")
    fresh = lddn.Network(topology, key=KEY, init="glorot", dtype=jnp.float32)
    assert other.dtype == jnp.float32
    np.testing.assert_array_equal(other.IW["h", "u"], fresh.IW["h", "u"])
    np.testing.assert_array_equal(other.IW["y", "u"], fresh.IW["y", "u"])
    np.testing.assert_array_equal(other.b["y"], net.b["y"])


def test_initializing_needs_a_key():
    with pytest.raises(TopologyError, match="need a key"):
        lddn.carry_over(lddn.Network(start(), key=KEY), start(), init="glorot")
