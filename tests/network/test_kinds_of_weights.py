"""Networks whose connections are diagonal or the identity: shapes, names, first values, and weights that move along."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax.bayesian.groups import Groups
from lddn_jax.bayesian.pruning import _without
from lddn_jax.network.initializers import Ignoring

TOPOLOGY = declare(
    "u:3", "h:3:tanh x:3:linear! y:1:linear", "u>h u>x@1:diagonal h>x:identity x>x@1,2:diagonal x>y", "y"
)


def test_weights_have_the_shape_of_their_kind():
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))
    assert {name: w.shape for name, w in net.IW.items()} == {("h", "u"): (1, 3, 3), ("x", "u"): (1, 3)}
    assert {name: w.shape for name, w in net.LW.items()} == {("x", "x"): (2, 3), ("y", "x"): (1, 1, 3)}


def test_parameters_are_counted_and_named():
    net = lddn.Network(TOPOLOGY, init="zeros")
    assert net.parameter_count == 9 + 3 + 3 + 6 + 3 + 1 == net.ravel()[0].size
    assert net.parameter_names()[9:12] == [f"IW['x', 'u'] delay 1 [{k}]" for k in range(3)]
    assert len(net.parameter_names()) == net.parameter_count


def test_the_summary_tells_them():
    (line,) = [line for line in lddn.Network(TOPOLOGY, init="zeros").summary().splitlines() if line.startswith("x")]

    assert "u [1] diagonal, h [0] identity, x [1, 2] diagonal" in line


@pytest.mark.parametrize("init", ["nguyen-widrow", "glorot", "orthogonal", "uniform"])
def test_every_initializer_draws_them(init):
    net = lddn.Network(declare("u:3", "x:3:tanh", "u>x:diagonal x>x@1:diagonal", "x"), key=jax.random.key(1), init=init)
    for weights in (net.IW["x", "u"], net.LW["x", "x"]):
        assert weights.shape == (1, 3)
        assert np.count_nonzero(weights) == 3


def test_a_neuron_with_diagonal_weights_has_a_fan_in_of_one():
    """Nguyen-Widrow: the weights of a neuron have length 0.7 · size^(1/number of elements), times half the range 4."""
    net = lddn.Network(declare("u:5", "x:5:tanh", "u>x:diagonal", "x"), key=jax.random.key(1))
    np.testing.assert_allclose(abs(net.IW["x", "u"]), np.full((1, 5), 2 * 0.7 * 5))


def test_diagonal_weights_of_a_constant_element_are_zero():
    topology = declare("u:3 v:3", "y:3:linear", "u>y@0,1:diagonal v>y", "y")
    net = lddn.Network(topology, key=jax.random.key(0), init=Ignoring("glorot", (("u", (0,)), ("v", (1, 2)))))
    assert np.argwhere(np.asarray(net.IW["y", "u"]) == 0).tolist() == [[0, 0], [1, 0]]
    assert np.all(net.IW["y", "v"][..., 1:] == 0)
    assert np.all(net.IW["y", "v"][..., 0] != 0)


@pytest.mark.usefixtures("unchecked")
def test_a_matrix_for_diagonal_weights_is_refused():
    with pytest.raises(lddn.ShapeError, match=r"shape \(1, 3, 3\) was given, \(1, 3\) \(delay, size\) is needed"):
        lddn.Network(TOPOLOGY, init="zeros").with_weights(IW={("x", "u"): np.zeros((1, 3, 3))})


def test_a_loop_of_them_is_closed_and_opened():
    net = lddn.Network(declare("m:2", "y:2:tanh", "m>y@1:diagonal", "y"), key=jax.random.key(0))
    closed = lddn.close_loop(net, output="y", input="m")
    assert closed.topology == declare("", "y:2:tanh", "y>y@1:diagonal", "y")
    opened = lddn.open_loop(closed, output="y", input="m")
    assert opened.topology == net.topology
    np.testing.assert_array_equal(opened.IW["y", "m"], net.IW["y", "m"])


def test_weights_are_carried_over_within_their_kind():
    net = lddn.Network(declare("u:2", "y:2:tanh", "u>y@0,1:diagonal", "y"), key=jax.random.key(0))
    later = lddn.carry_over(net, net.topology.with_delays("u", "y", (1, 2)))
    np.testing.assert_array_equal(later.IW["y", "u"], jnp.stack([net.IW["y", "u"][1], jnp.zeros(2)]))
    dense = lddn.carry_over(net, declare("u:2", "y:2:tanh", "u>y@0,1", "y"))
    np.testing.assert_array_equal(dense.IW["y", "u"], np.zeros((2, 2, 2)))


def test_each_factor_of_a_product_is_drawn_like_a_sum():
    """Glorot: ±√(6 / (fan in + size)), the fan in of one factor."""
    net = lddn.Network(declare("u:2 v:100", "y:50:linear*", "u>y v>y", "y"), key=jax.random.key(0), init="glorot")
    for source, fan_in in (("u", 2), ("v", 100)):
        limit = np.sqrt(6 / (fan_in + 50))
        assert 0.95 * limit < abs(net.IW["y", source]).max() <= limit


def test_the_summary_tells_products():
    lines = lddn.Network(declare("u:2", "y:2:tanh*", "u>y@1 y>y@1:identity", "y"), init="zeros").summary().splitlines()
    assert "product of u [1], y [1] identity" in lines[3]
    assert lines[3].endswith(" 4")


def test_pruning_never_takes_a_factor_out():
    topology = declare("u:1 v:1", "k:1:linear* y:1:linear", "u>k@0,1 v>k k>y v>y", "y")
    smaller = _without(topology, {("k", "v", 0), ("k", "u", 1), ("y", "v", 0)})
    assert smaller == declare("u:1 v:1", "k:1:linear* y:1:linear", "u>k v>k k>y", "y")


def test_groups_of_parameters():
    groups = Groups.of(TOPOLOGY, "connection")
    assert dict(zip(groups.labels, groups.sizes.tolist(), strict=True)) == {
        "u -> h": 9, "u -> x": 3, "x -> x": 6, "x -> y": 3, "bias of h": 3, "bias of y": 1,
    }  # fmt: skip


def test_a_file_keeps_them(tmp_path):
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))
    lddn.save(tmp_path / "net.npz", net)
    again = lddn.load(tmp_path / "net.npz")
    assert again.topology == net.topology
    assert jax.tree.all(jax.tree.map(np.array_equal, again, net))
