"""Loops closed and opened."""

import numpy as np
import pytest
from networks import declare
from small_networks import KEY, NARX, assert_same

from lddn_jax import Network, close_loop, open_loop
from lddn_jax.errors import TopologyError


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
            "u>h m>h@1 h>y y>h@2", "y", "m", "'y' -> 'h' exists already.*another connection.*'y' -> 'h'", id="fed twice"
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
        pytest.param({"output": "y", "input": "m", "to": ("y",)}, r"feeds \['h'\], but to=\['y'\]", id="not fed"),
    ],
)
def test_open_loop_refuses(arguments, message):
    topology = declare("u:1", "h:2:tanh y:1:linear z2:1:linear", "u>h h>y y>h@1 h>z2", "y z2")
    with pytest.raises(TopologyError, match=message):
        open_loop(Network(topology, init="zeros"), **arguments)
