"""The graph that is run: factors of products as layers, in the order of the declared weights."""

import jax
import numpy as np
import pytest
from networks import BY_NAME, declare

import lddn_jax as lddn
from lddn_jax.network.factored_network import declared, factored
from lddn_jax.topology.parts import FACTOR_MARK
from lddn_jax.topology.product_factors import factored_topology, product_factors

PRODUCTS = ("product-of-three", "product-of-products", "lstm-of-two-layers-with-peepholes", "factors-of-zero")


def test_a_topology_of_sums_stays_the_same_object():
    topology = BY_NAME["awkward"].topology
    assert factored_topology(topology) is topology


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_factor_has_the_connection_that_is_declared(name):
    topology = BY_NAME[name].topology
    found = factored_topology(topology)
    assert factored_topology(found) is found
    for layer in topology.layers:
        if layer.net_input == "product":
            read = [c for (to, _), c in topology.connected.items() if to == layer.name]
            factors = product_factors(found)[layer.name]
            assert len(factors) == len(read)
            for factor, c in zip(factors, read, strict=True):
                ((_, inner),) = [(to, inner) for (to, _), inner in found.connected.items() if to == factor]
                assert (inner.source, inner.delays, inner.weights) == (c.source, c.delays, c.weights)


@pytest.mark.parametrize("name", PRODUCTS)
def test_parameters_keep_their_order(name):
    net = BY_NAME[name].net
    flat = net.ravel()[0]
    np.testing.assert_array_equal(factored(net).ravel()[0], flat)
    np.testing.assert_array_equal(declared(factored(net), net.topology).ravel()[0], flat)
    assert jax.tree.structure(declared(factored(net), net.topology)) == jax.tree.structure(net)


@pytest.mark.parametrize("names", ["k k1 k0 l", "k k- K j"])
def test_so_they_do_where_names_begin_with_each_other(names):
    a, b, c, d = names.split()
    layers = f"{a}:2:linear* {b}:2:tanh {c}:2:linear* {d}:2:linear"
    topology = declare("u:2", layers, " ".join(f"u>{m}@0,1 {d}>{m}@1" for m in names.split()), names)
    net = lddn.Network(topology, key=jax.random.key(0))
    np.testing.assert_array_equal(factored(net).ravel()[0], net.ravel()[0])


def test_the_mark_sorts_before_every_letter_of_a_name():
    assert all(letter > FACTOR_MARK for letter in map(chr, range(2, 256)))


@pytest.mark.parametrize("name", PRODUCTS)
def test_factors_are_no_part_of_what_a_user_sees(name):
    case = BY_NAME[name]
    trajectory = lddn.simulate(case.net, *case.signals)
    names = {layer.name for layer in case.topology.layers}
    assert set(trajectory.n) == set(trajectory.a) == names
    assert FACTOR_MARK not in str(lddn.plan(case.topology))


@pytest.mark.parametrize("name", ["awkward", "lstm"])
def test_the_order_of_declaration_is_that_of_the_network(name):
    topology = BY_NAME[name].topology
    backwards = lddn.Topology(topology.inputs, topology.layers[::-1], topology.connections[::-1], topology.outputs)
    net = lddn.Network(backwards, init="zeros")
    factored(lddn.Network(topology, init="zeros"))
    gradient = declared(factored(net), backwards)
    assert gradient.topology is backwards
    assert jax.tree.structure(gradient) == jax.tree.structure(net)
