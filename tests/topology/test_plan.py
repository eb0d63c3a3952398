"""The plan of a topology: blocks, their order, chunks, delay states, and the adjoint."""

import dataclasses
import itertools
import json

import pytest
from declarations import declarations, quiet
from hypothesis import given
from hypothesis import strategies as st
from networks import declare

import lddn_jax as lddn
from lddn_jax.topology.plan import planned

FEED_FORWARD = "feed-forward, the whole sequence at once"

# What follows from each declaration: (layers, chunk, reason) of the blocks in order, and the longest delays.
PLANS = {
    "feed-forward": (
        ("u:1", "h:2:tanh y:1:linear", "u>h@0,3 h>y u>y@1", "y"),
        [(("h",), None, FEED_FORWARD), (("y",), None, FEED_FORWARD)],
        {"u": 3},
    ),
    "without delays": (("u:1", "y:1:linear", "u>y", "y"), [(("y",), None, FEED_FORWARD)], {}),
    "Elman": (
        ("u:1", "h:2:tanh y:1:linear", "u>h h>h@1 h>y", "y"),
        [(("h",), 1, "recurrent, 1 step at a time because of h -> h delay 1"), (("y",), None, FEED_FORWARD)],
        {"h": 1},
    ),
    "closed NARX": (
        ("u:1", "h:2:tanh y:1:linear", "u>h@1 h>y y>h@2,5", "y"),
        [(("h", "y"), 2, "recurrent, 2 steps at a time because of y -> h delay 2")],
        {"u": 1, "y": 5},
    ),
    "order within a step goes against the alphabet": (
        ("u:1", "a:1:tanh b:1:tanh c:1:tanh", "u>c c>b b>a@0,2 a>c@3", "a"),
        [(("c", "b", "a"), 2, "recurrent, 2 steps at a time because of b -> a delay 2")],
        {"a": 3, "b": 2},
    ),
    "two loops, one behind the other": (
        ("u:1", "a:1:tanh b:1:tanh c:1:tanh d:1:tanh", "u>c c>d d>c@1 d>a@4 a>b b>a@3", "b"),
        [
            (("c", "d"), 1, "recurrent, 1 step at a time because of d -> c delay 1"),
            (("a", "b"), 3, "recurrent, 3 steps at a time because of b -> a delay 3"),
        ],
        {"b": 3, "d": 4},
    ),
    "autonomous": (
        ("", "a:2:tanh b:1:linear", "a>a@7 a>b", "b"),
        [(("a",), 7, "recurrent, 7 steps at a time because of a -> a delay 7"), (("b",), None, FEED_FORWARD)],
        {"a": 7},
    ),
    "independent layers run in the order of their names": (
        ("u:1", "z:1:tanh m:1:tanh a:1:tanh y:1:linear", "u>z u>m u>a z>y m>y a>y", "y"),
        [((name,), None, FEED_FORWARD) for name in "amzy"],
        {},
    ),
}


@pytest.mark.parametrize(("declared", "blocks", "delays"), PLANS.values(), ids=PLANS)
def test_plan(declared, blocks, delays):
    plan = lddn.plan(declare(*declared))
    assert [(block.layers, block.chunk, block.reason) for block in plan.blocks] == blocks
    assert plan.longest_delays == delays
    assert plan.simulation_order == tuple(name for layers, _, _ in blocks for name in layers)


def test_string_form():
    plan = lddn.plan(declare("u:1", "h:2:tanh y:1:linear z:1:linear", "u>h@3 h>y y>h@2 y>z", "z"))
    assert str(plan).splitlines() == [
        "h, y: recurrent, 2 steps at a time because of y -> h delay 2",
        "z: feed-forward, the whole sequence at once",
        "delay state: u 3, y 2",
    ]


def test_string_form_without_delays():
    assert str(lddn.plan(declare("u:1", "y:1:linear", "u>y", "y"))).endswith("delay state: none")


def test_what_a_block_reads():
    topology = declare("u:1", "a:1:tanh b:1:tanh y:1:tanh", "u>a a>b b>a@2,4 b>y@1 u>y", "y")
    first, second = lddn.plan(topology).blocks
    assert first.incoming == (("a", "u"),)
    assert first.instant == (("b", "a"),)
    assert first.delayed == ((("a", "b"), (2, 4)),)
    assert first.delays == (2, 4)
    assert first.longest_delay == 4
    assert second.incoming == (("y", "b"), ("y", "u"))
    assert second.delayed == second.instant == ()
    assert second.longest_delay == 0
    assert second.without(frozenset({"u"})).incoming == (("y", "b"),)


def test_adjoint_blocks_turn_every_connection_round():
    plan = lddn.plan(declare("u:1", "a:1:tanh b:1:tanh y:1:tanh", "u>a a>b b>a@2,4 b>y@1 u>y", "y"))
    last, first = plan.adjoint_blocks
    assert last.layers == ("y",)
    assert last.incoming == ()
    assert first.layers == ("b", "a")
    assert first.incoming == (("b", "y"),)  # b reads what y, which it feeds, sends back; inputs are sent nothing
    assert first.instant == (("a", "b"),)
    assert first.delayed == ((("b", "a"), (2, 4)),)
    assert first.chunk == 2


def test_equal_topologies_share_one_plan():
    one = declare("u:1", "h:2:tanh y:1:linear", "u>h h>y", "y")
    other = declare("u:1", "y:1:linear h:2:tanh", "h>y u>h", "y")
    assert lddn.plan(one) is lddn.plan(other)


def test_a_plan_holds_no_arrays():
    plan = lddn.plan(declare("u:1", "h:2:tanh y:1:linear", "u>h@1 h>y y>h@2,5", "y"))
    json.dumps(dataclasses.asdict(plan))  # only plain numbers, strings and sequences of them survive this
    assert all(type(d) is int for block in plan.blocks for d in (block.chunk, *block.delays))


@given(parts=declarations(), data=st.data())
def test_declaration_order_changes_nothing(parts, data):
    plan = lddn.plan(quiet(**parts))
    shuffled = quiet(**{name: data.draw(st.permutations(part)) for name, part in parts.items()})
    again = planned.__wrapped__(shuffled)  # not from the cache
    assert again == plan
    assert again.adjoint_blocks == plan.adjoint_blocks
    assert list(again.longest_delays) == list(plan.longest_delays)
    assert str(again) == str(plan)


@given(parts=declarations())
def test_blocks_are_what_their_definition_says(parts):
    topology = quiet(**parts)
    plan = lddn.plan(topology)
    layers = {layer.name for layer in topology.layers}
    assert sorted(plan.simulation_order) == sorted(layers)

    reaches = {(s, to) for to, s in topology.delays if s in layers}  # Warshall's closure, for comparison
    for middle, a, b in itertools.product(sorted(layers), repeat=3):
        if (a, middle) in reaches and (middle, b) in reaches:
            reaches.add((a, b))
    together = {frozenset({a, b}) for a, b in reaches if (b, a) in reaches} | {frozenset({a}) for a in layers}
    assert together == {frozenset({a, b}) for block in plan.blocks for a in block.layers for b in block.layers}

    known = set(topology.input_names)
    for block in plan.blocks:
        inside = {pair: d for pair, d in topology.delays.items() if {*pair} <= set(block.layers)}
        assert {source for _, source in block.incoming} <= known
        assert sorted([*inside, *block.incoming]) == sorted(p for p in topology.delays if p[0] in block.layers)
        assert block.chunk == min((d for delays in inside.values() for d in delays if d > 0), default=None)
        order = {name: k for k, name in enumerate(block.layers)}
        assert set(block.instant) == {pair for pair, delays in inside.items() if 0 in delays}
        assert all(order[source] < order[to] for to, source in block.instant)
        known |= set(block.layers)
    read = {s for (_, s), delays in topology.delays.items() if max(delays) > 0}
    assert plan.longest_delays == {
        s: max(d for (_, other), delays in topology.delays.items() if other == s for d in delays) for s in read
    }
