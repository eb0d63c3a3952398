"""Declarations: what is refused and in which words, what is warned of, equality, and the way to JSON and back."""

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from declarations import PARTS, declaration, declarations, quiet
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import declare

from lddn_jax import Connection, Input, Layer, Topology, TopologyError, TopologyWarning


def letters(connections, layers="AB", inputs="u"):
    """A topology of one-element inputs and layers named by letters; the last layer is the output."""
    return declare(
        " ".join(f"{name}:1" for name in inputs), " ".join(f"{name}:1:tanh" for name in layers), connections, layers[-1]
    )


def spoiled(**changes):
    return lambda: Topology(**declaration(**changes))


def connected(*connections):
    return spoiled(connections=[*declaration()["connections"], *connections])


REFUSED = {
    "zero-delay loop of two": (
        lambda: letters("u>A A>B B>A"),
        ["A -> B -> A", "zero-delay", "Connection('B', to='A', delays=(1,))"],
    ),
    "zero-delay loop of three, in the direction of the signal": (
        lambda: letters("u>A A>C@0,1 C>B B>A@0,2", layers="ABC"),
        ["A -> C -> B -> A", "Connection('B', to='A', delays=(1,))"],
    ),
    "zero-delay loop within a larger network": (
        lambda: letters("u>A A>B B>D D>B D>C C>A@1", layers="ABCD"),
        [" B -> D -> B ", "Connection('D', to='B', delays=(1,))"],
    ),
    "zero-delay self-loop": (lambda: letters("u>A A>A@0,1 A>B"), ["A -> A", "delays=(1,)"]),
    "unknown source": (connected(Connection("curent", to="position")), ["'curent'", "Did you mean 'current'?"]),
    "source from nowhere": (connected(Connection("zzz", to="position")), ["'zzz'", "known are", "Declare it first"]),
    "unknown target": (connected(Connection("current", to="positoin")), ["'positoin'", "Did you mean 'position'?"]),
    "connection into an input": (
        connected(Connection("hidden", to="current", delays=(1,))),
        ["hidden -> current", "must lead to a layer", "Layer('current', 1)"],
    ),
    "unknown output": (spoiled(outputs=["pos"]), ["'pos'", "'position'"]),
    "an input as output": (spoiled(outputs=["current"]), ["'current' is an input", "['hidden', 'position']"]),
    "repeated output": (spoiled(outputs=["position", "position"]), ["repeat", "once"]),
    "no outputs": (spoiled(outputs=[]), ["no outputs", "outputs=['position']"]),
    "no layers": (spoiled(layers=[]), ["at least one layer", "Layer('y', 1"]),
    "two layers of one name": (
        spoiled(layers=[*declaration()["layers"], Layer("hidden", 2)]),
        ["'hidden' is used twice", "'hidden_2'"],
    ),
    "an input and a layer of one name": (
        spoiled(inputs=[Input("hidden", 1), *declaration()["inputs"]]),
        ["'hidden' is used twice", "'hidden_2'"],
    ),
    "second connection of a pair": (
        connected(Connection("measured", to="hidden", delays=(2, 4))),
        ["second connection 'measured' -> 'hidden'", "delays=(1, 2, 4)"],
    ),
    "negative delay": (lambda: Connection("a", "b", (-1,)), ["'a' -> 'b'", "-1", "at least 0"]),
    "fractional delay": (lambda: Connection("a", "b", (0, 1.5)), ["'a' -> 'b'", "1.5", "whole number"]),
    "whole delay written as a float": (lambda: Connection("a", "b", (1.0,)), ["'a' -> 'b'", "1.0", "whole number"]),
    "a truth value for a delay": (lambda: Connection("a", "b", (True,)), ["'a' -> 'b'", "True", "whole number"]),
    "repeated delay": (lambda: Connection("a", "b", (1, 1, 2)), ["'a' -> 'b'", "Write delays=(1, 2)"]),
    "unsorted delays": (lambda: Connection("a", "b", (2, 0)), ["'a' -> 'b'", "Write delays=(0, 2)"]),
    "no delays": (lambda: Connection("a", "b", ()), ["'a' -> 'b'", "empty delay list", "delays=(0,)"]),
    "weights of an unknown kind": (
        lambda: Connection("a", "b", weights="diag"),
        ["'a' -> 'b'", "'diag'", "'dense', 'diagonal', 'identity'"],
    ),
    "weights that are no word": (lambda: Connection("a", "b", weights=None), ["'a' -> 'b'", "None", "'dense'"]),
    "an identity between unequal sizes": (
        lambda: declare("u:1", "h:3:tanh y:1:linear", "u>h h>y:identity", "y"),
        ["h -> y", "identity weights need equal sizes", "'h' has 3 elements and 'y' has 1"],
    ),
    "diagonal weights between unequal sizes": (
        lambda: declare("u:2", "y:3:tanh", "u>y:diagonal", "y"),
        ["u -> y", "diagonal weights need equal sizes", "'u' has 2 elements and 'y' has 3", "weights='dense'"],
    ),
    "a product with a bias": (
        lambda: Layer("kept", 8, "linear", net_input="product"),
        ["'kept'", "no bias", "Layer('kept', 8, 'linear', net_input='product', bias=False)"],
    ),
    "a product of one": (
        lambda: declare("u:2", "k:2:linear* y:1:tanh", "u>k k>y", "y"),
        ["'k'", "at least two connections", "one connection, u -> k", "Connection(source, to='k')", "'sum'"],
    ),
    "a product of nothing": (
        lambda: declare("u:2", "k:2:linear* y:1:tanh", "u>y k>y", "y"),
        ["'k'", "at least two connections", "has no connection"],
    ),
    "an unknown net input": (lambda: Layer("y", 1, net_input="prod"), ["'y'", "'prod'", "Did you mean 'product'?"]),
    "an identity that is not trained": (
        lambda: Connection("a", "b", weights="identity", trained=False),
        ["'a' -> 'b'", "no weights", "weights='diagonal'"],
    ),
    "trained in words": (lambda: Connection("a", "b", trained="no"), ["'a' -> 'b'", "'no'", "trained=False"]),
    "a mask of diagonal weights": (
        lambda: Connection("a", "b", weights="diagonal", mask=((1, 0), (0, 1))),
        ["'a' -> 'b'", "diagonal", "weights='dense'"],
    ),
    "a mask of other numbers": (lambda: Connection("a", "b", mask=((1, 2),)), ["rows of 0 and 1", "((1, 0), (1, 1))"]),
    "a mask of uneven rows": (lambda: Connection("a", "b", mask=((1, 0), (1,))), ["'a' -> 'b'", "rows of 0 and 1"]),
    "a mask that is one row": (lambda: Connection("a", "b", mask=(1, 0)), ["rows of 0 and 1"]),
    "an empty mask": (lambda: Connection("a", "b", mask=()), ["rows of 0 and 1"]),
    "a mask of another shape": (
        lambda: declare("u:2", "y:3:tanh", "u>y@0,1:mask=10/01", "y"),
        ["u -> y", "shape (2, 2)", "(3, 2), (to, from), or (2, 3, 2)"],
    ),
    "layer of no neurons": (lambda: Layer("hidden", 0), ["'hidden'", "0", "at least 1"]),
    "layer of a fraction of neurons": (lambda: Layer("hidden", 2.5), ["'hidden'", "2.5", "whole number"]),
    "input without elements": (lambda: Input("current", -1), ["'current'", "-1", "at least 1"]),
    "a name with the mark of factors": (lambda: Layer("k\x01\x02", 1), ["control letter", "factors", "Rename it"]),
    "empty name": (lambda: Layer(" ", 1), ["' '", "non-empty string"]),
}

# What a type checker would see too, but a JSON file would not: from_dict hands it on unchecked.
REFUSED_FROM_DICT = {
    "not a dict": (["position"], ["must be a dict", "'connections'"]),
    "a misspelt part": ({"layer": []}, ["no key 'layer'", "Did you mean 'layers'?"]),
    "a part that is a number": ({"layers": 3}, ["layers is 3", "list of dicts", "'transfer'"]),
    "a part that is null": ({"connections": None}, ["connections is None", "list of dicts"]),
    "a part that is one entry": ({"inputs": {"name": "u", "size": 1}}, ["inputs is {", "list of dicts"]),
    "an entry that is a name": ({"layers": ["hidden"]}, ["layers[0] is 'hidden'", "dict with keys", "'size'"]),
    "an entry with a misspelt key": (
        {"layers": [{"name": "hidden", "size": 3}, {"name": "y", "size": 1, "tranfer": "tanh"}]},
        ["layers[1]", "'tranfer'", "Did you mean 'transfer'?"],
    ),
    "an entry with an unknown key": ({"inputs": [{"name": "u", "size": 1, "unit": "A"}]}, ["inputs[0]", "'unit'"]),
    "an entry that lacks a key": ({"layers": [{"name": "y"}]}, ["layers[0]", "lacks the key 'size'"]),
    "a connection that lacks its target": (
        {"connections": [{"source": "u"}]},
        ["connections[0]", "lacks the key 'to'"],
    ),
    "a name that is a number": ({"layers": [{"name": 1, "size": 1}]}, ["name of a layer is 1", "non-empty string"]),
    "a size in words": ({"inputs": [{"name": "u", "size": "one"}]}, ["size of input 'u'", "'one'", "whole number"]),
    "one bare delay": (
        {"connections": [{"source": "current", "to": "hidden", "delays": 3}]},
        ["'current' -> 'hidden'", "Write delays=(3,)"],
    ),
    "null delays": (
        {"connections": [{"source": "current", "to": "hidden", "delays": None}]},
        ["'current' -> 'hidden'", "delays=None", "delays=(0,) or delays=(1, 2)"],
    ),
    "delays in words": (
        {"connections": [{"source": "current", "to": "hidden", "delays": ["1"]}]},
        ["'current' -> 'hidden'", "'1'", "whole number"],
    ),
    "a transfer function that is no name": (
        {"layers": [{"name": "y", "size": 2, "transfer": ["tanh"]}]},
        ["'y'", "['tanh']", "lddn.transfer.register", "Layer('y', 2, transfer=name)"],
    ),
    "a bias in words": ({"layers": [{"name": "y", "size": 1, "bias": "yes"}]}, ["'y'", "'yes'", "bias=True"]),
    "outputs as one name": ({"outputs": "position"}, ["outputs='position'", "outputs=['position']"]),
    "outputs as numbers": ({"outputs": [1]}, ["outputs holds 1", "layer names"]),
    "an invalid network": ({"outputs": []}, ["no outputs"]),
}


def absent(words, error):
    return [word for word in words if word not in str(error.value)]


@pytest.mark.parametrize(("build", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(build, words):
    with pytest.raises(TopologyError) as error:
        build()
    assert not absent(words, error), error.value


@pytest.mark.parametrize(("change", "words"), REFUSED_FROM_DICT.values(), ids=REFUSED_FROM_DICT)
def test_refused_from_dict(change, words):
    written = change if isinstance(change, list) else Topology(**declaration()).to_dict() | change
    read = json.loads(json.dumps(written))
    with pytest.raises(TopologyError) as error:
        Topology.from_dict(read)
    assert not absent(words, error), error.value


@pytest.mark.parametrize("part", PARTS)
def test_from_dict_needs_every_part(part):
    written = Topology(**declaration()).to_dict()
    del written[part]
    with pytest.raises(TopologyError, match=f"lacks the key '{part}'"):
        Topology.from_dict(written)


def test_an_unknown_layer_is_named_with_the_known_ones():
    with pytest.raises(TopologyError, match=r"no layer 'hiden'.*Did you mean 'hidden'"):
        Topology(**declaration()).layer("hiden")


@pytest.mark.parametrize(
    ("connections", "message"),
    [
        pytest.param("u>A u>B", "layer 'A' has no path to an output", id="a dead end"),
        pytest.param("u>B A>B", "layer 'A' has no path from an input", id="an undriven layer"),
        pytest.param("u>B A>B@1 A>A@1", "layer 'A' has no path from an input", id="an undriven loop"),
        pytest.param("A>B u>B v>A", None, id="nothing idle"),
        pytest.param("A>B v>A", "input 'u' has no path to an output", id="an input that feeds nothing"),
    ],
)
def test_idle_parts_are_warned_of(connections, message):
    inputs = "uv" if "v>" in connections else "u"
    if message is None:
        letters(connections, inputs=inputs)  # a warning would be an error here
    else:
        with pytest.warns(TopologyWarning, match=message):
            letters(connections, inputs=inputs)


def test_an_autonomous_network_is_not_warned_of():
    assert letters("A>A@1 A>B", inputs="").inputs == ()


def test_a_layer_that_nothing_feeds_is_a_constant():
    with pytest.warns(TopologyWarning):
        assert letters("u>B A>B").sizes == {"u": 1, "A": 1, "B": 1}


@settings(deadline=None)
@given(parts=declarations(), data=st.data())
def test_declaration_order_does_not_matter(parts, data):
    shuffled = {name: data.draw(st.permutations(part)) for name, part in parts.items()}
    first, second = quiet(**parts), quiet(**shuffled)
    assert first == second
    assert hash(first) == hash(second)
    assert first.delays == second.delays
    assert list(first.delays) == list(second.delays)


@settings(deadline=None)
@given(parts=declarations())
@pytest.mark.filterwarnings("ignore::lddn_jax.TopologyWarning")
def test_json_round_trip(parts):
    topology = quiet(**parts)
    again = Topology.from_dict(json.loads(json.dumps(topology.to_dict())))
    assert again == topology
    assert again.to_dict() == topology.to_dict()  # in the order of declaration too


PRODUCT = Layer("hidden", 3, bias=False, net_input="product")
DIFFERENT = {
    "inputs": {"inputs": [Input("current", 1), Input("measured", 2)]},
    "size": {"layers": [Layer("hidden", 4), Layer("position", 1, transfer="linear")]},
    "transfer": {"layers": [Layer("hidden", 3, transfer="relu"), Layer("position", 1, transfer="linear")]},
    "bias": {"layers": [Layer("hidden", 3, bias=False), Layer("position", 1, transfer="linear")]},
    "delays": {"connections": [*declaration()["connections"][:2], Connection("hidden", "position", (1,))]},
    "weights": {
        "layers": [Layer("hidden", 1), Layer("position", 1)],
        "connections": [*declaration()["connections"][:2], Connection("hidden", "position", weights="identity")],
    },
    "net input": {"layers": [PRODUCT, declaration()["layers"][1]]},
    "what is trained": {
        "connections": [*declaration()["connections"][:2], Connection("hidden", "position", trained=False)]
    },
    "mask": {"connections": [*declaration()["connections"][:2], Connection("hidden", "position", mask=((1, 0, 1),))]},
    "outputs": {"outputs": ["position", "hidden"]},
}


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT)
def test_another_declaration_is_not_equal(change):
    assert Topology(**declaration(**change)) != Topology(**declaration())


def test_it_is_not_equal_to_anything_else():
    assert Topology(**declaration()) != declaration()


@pytest.mark.parametrize("field", PARTS)
def test_a_topology_is_frozen(field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Topology(**declaration()), field, ())


@pytest.mark.parametrize(
    "part", [Input("u", 1), Layer("y", 1), Connection("u", "y")], ids=lambda part: type(part).__name__
)
def test_its_parts_are_frozen(part):
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.size = 2


def test_generators_are_read_once():
    topology = Topology(**{name: (item for item in part) for name, part in declaration().items()})
    assert topology == Topology(**declaration())


def test_sizes_and_delays():
    topology = Topology(**declaration())
    assert topology.sizes == {"current": 1, "measured": 1, "hidden": 3, "position": 1}
    assert topology.delays == {
        ("hidden", "current"): (0, 1),
        ("hidden", "measured"): (1, 2),
        ("position", "hidden"): (0,),
    }


def test_mermaid():
    assert Topology(**declaration()).to_mermaid() == textwrap.dedent("""\
        flowchart LR
            n0(["current (1)"])
            n1(["measured (1)"])
            n2["hidden (3, tanh)"]
            n3[["position (1, linear)"]]
            n0 -->|"z⁻⁰, z⁻¹"| n2
            n1 -->|"z⁻¹, z⁻²"| n2
            n2 --> n3""")


def test_mermaid_tells_kinds_of_weights():
    lines = (
        declare("u:1", "h:1:tanh y:1:linear", "u>h:diagonal h>h@1:identity h>y:mask=1", "y").to_mermaid().splitlines()
    )
    assert lines[-3:] == ['    n0 -->|"diagonal"| n1', '    n1 -->|"z⁻¹, identity"| n1', '    n1 -->|"masked"| n2']


def test_mermaid_tells_products():
    lines = declare("u:1", "h:1:tanh y:1:linear*", "u>h u>y h>y", "y").to_mermaid().splitlines()
    assert lines[2:4] == ['    n1["h (1, tanh)"]', '    n2[["y (1, linear, ⊗)"]]']


def test_mermaid_has_dotted_edges_where_nothing_is_trained():
    lines = declare("u:1", "y:1:linear", "u>y@1:fixed", "y").to_mermaid().splitlines()
    assert lines[-1] == '    n0 -.->|"z⁻¹, fixed"| n1'


def test_a_mask_may_be_an_array():
    mask = np.array([[True, False], [False, True]])
    assert Connection("a", "b", mask=mask) == Connection("a", "b", mask=((1, 0), (0, 1)))


def test_json_of_what_has_no_newer_properties_is_what_it_was():
    written = Topology(**declaration()).to_dict()
    assert written["layers"][0] == {"name": "hidden", "size": 3, "transfer": "tanh", "bias": True}
    assert written["connections"][0] == {"source": "current", "to": "hidden", "delays": [0, 1]}


def test_mermaid_survives_quotes_in_names():
    topology = Topology([], [Layer('the "y"', 1)], [Connection('the "y"', 'the "y"', (12,))], ['the "y"'])
    assert topology.to_mermaid().splitlines()[1:] == [
        '    n0[["the #quot;y#quot; (1, tanh)"]]',
        '    n0 -->|"z⁻¹²"| n0',
    ]


def test_copies_are_equal():
    topology = Topology(**declaration())
    hash(topology)
    assert copy.deepcopy(topology) == topology == pickle.loads(pickle.dumps(topology))


def test_another_process_finds_it_equal_and_warns_where_it_was_made(tmp_path):
    """Strings hash differently in each process; and a warning should point at the user's own line."""
    topology = Topology(**declaration())
    hash(topology)
    (tmp_path / "topology.pickle").write_bytes(pickle.dumps(topology))
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""\
            import pickle, pathlib, sys, warnings
            from lddn_jax import *
            found = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
            rebuilt = Topology(found.inputs[::-1], found.layers[::-1], found.connections[::-1], found.outputs)
            assert found in {rebuilt}, "it is another one here"
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                Topology([], [Layer("y", 1), Layer("idle", 1)], [], ["y"])
            print(*[f"{pathlib.Path(w.filename).name} {w.lineno}" for w in caught])
            """)
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "topology.pickle")],
        env={**os.environ, "PYTHONHASHSEED": "12345", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["script.py", "8"]
