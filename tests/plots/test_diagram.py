"""Network diagrams: everything is there once, nothing lies on anything else, and no window is shown."""

import itertools

import matplotlib.pyplot as plt
import pytest
from declarations import declarations, quiet
from hypothesis import given, settings
from networks import ZOO, declare

import lddn_jax as lddn
from lddn_jax import models, plots
from lddn_jax.plots.arrangement import CONNECTION_PITCH, arrange
from lddn_jax.plots.network_diagram import TAPS_BOX_HEIGHT, diagram_size, taps_label
from lddn_jax.plots.routing import route

# Functions, so that no topology is built, and no transfer function registered, while tests are collected.
TOPOLOGIES = {case.name: lambda case=case: case.topology for case in ZOO} | {
    "two outputs with a linear path": lambda: models.narx({"u": 1}, {"y": 1, "z": 2}, hidden=(5, 4), linear_path=True),
    "cascade": lambda: models.cascade_forward({"u": 2, "v": 1}, {"y": 1}, hidden=(5, 4, 3)),
    "state space": lambda: models.linear_state_space({"u": 2}, {"y": 1}, feedthrough=True),
}


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture(params=TOPOLOGIES.values(), ids=TOPOLOGIES)
def topology(request):
    return request.param()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_a_narx_network_is_drawn_with_all_it_has(ax):
    assert plots.diagram(models.narx({"current": 1}, {"position": 2}, input_delays=(0, 1, 2, 3)), ax=ax) is ax
    assert sorted(texts(ax)) == sorted([
        "current (1)", "measured_position (2)", "hidden", "tanh, 10", "position", "linear, 2", "position",
        r"$z^{0}\;\ldots\;z^{-3}$", r"$z^{-1}\;z^{-2}$",
    ])  # fmt: skip


def test_every_box_tells_what_it_stands_for(topology, ax):
    found = texts(plots.diagram(topology, ax=ax))
    expected = [f"{i.name} ({i.size})" for i in topology.inputs] + list(topology.outputs)
    for layer in topology.layers:
        multiplies = layer.net_input == "product"
        expected += [layer.name, "⊗ " * multiplies + f"{layer.transfer}, {layer.size}"]
        expected += ["no bias"] * (not layer.bias and not multiplies)
    told = [(c.delays, tuple(word for word in c.properties if word != "fixed")) for c in topology.connections]
    expected += [taps_label(delays, words) for delays, words in told if delays != (0,) or words]
    assert sorted(found) == sorted(expected)


def test_no_window_is_shown_and_axes_are_made(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a window was shown"))
    ax = plots.diagram(models.elman({"u": 1}, {"y": 1}))
    assert ax.texts
    assert not ax.axison
    plt.close(ax.figure)


def test_letters_follow_the_axes(ax):
    wide = models.cascade_forward({"u": 2}, {"y": 1}, hidden=(5, 4, 3, 2))
    own = plots.diagram(wide)
    assert plots.diagram(wide, ax=ax).texts[0].get_fontsize() < own.texts[0].get_fontsize()
    plt.close(own.figure)


# ---- geometry, with letters all of one width ------------------------------------------------------------------------


def arranged(topology):
    def lines_of(name):
        return [name, "transfer"] if name not in topology.input_names else [name]

    def width_of(text):
        return 0.12 * len(text)

    columns = arrange(topology, lines_of, width_of)
    return columns, route(columns, lambda delays, properties: " ".join(map(str, (*delays, *properties))), width_of)


def boxes(columns, routes):
    """`(left, right, bottom, top)` of each box and each tapped delay line, by what it is."""
    found = {}
    for node in (node for column in columns.columns for node in column if node.boxed):
        across, along = node.width / 2, node.height / 2
        found[node.name] = (node.x - across, node.x + across, node.y - along, node.y + along)
    for k, taps in enumerate(routes.taps):
        along = TAPS_BOX_HEIGHT / 2
        found[f"taps {k}"] = (taps.left, taps.left + taps.width, taps.y - along, taps.y + along)
    return found


def meet(one, other, least):
    """Whether two rectangles come nearer to each other than `least`."""
    across = min(one[1], other[1]) - max(one[0], other[0])
    along = min(one[3], other[3]) - max(one[2], other[2])
    return across > -least and along > -least


def enters(wire, box):
    """Whether a wire runs through the inside of a box."""
    left, right, bottom, top = rectangle(wire)
    return left < box[1] - 1e-6 and right > box[0] + 1e-6 and bottom < box[3] - 1e-6 and top > box[2] + 1e-6


def rectangle(wire):
    (x, y), (to_x, to_y) = wire.start, wire.end
    return min(x, to_x), max(x, to_x), min(y, to_y), max(y, to_y)


def test_boxes_stand_apart(topology):
    found = boxes(*arranged(topology))
    together = [pair for pair in itertools.combinations(found, 2) if meet(found[pair[0]], found[pair[1]], 0.1)]
    assert together == []


def test_wires_run_around_boxes(topology):
    columns, routes = arranged(topology)
    crossed = [
        (wire.source, name)
        for wire in routes.wires
        for name, box in boxes(columns, routes).items()
        if not name.startswith("taps") and enters(wire, box)
    ]
    assert crossed == []


def test_a_tapped_delay_line_lies_on_one_wire_only(topology):
    columns, routes = arranged(topology)
    lines = {name: box for name, box in boxes(columns, routes).items() if name.startswith("taps")}
    for name, box in lines.items():
        assert len([wire for wire in routes.wires if enters(wire, box)]) == 1, name


def test_wires_of_different_signals_never_lie_on_each_other(topology):
    def shared(one, other):
        (a, b, c, d), (e, f, g, h) = rectangle(one), rectangle(other)
        upright = a == b and e == f and abs(a - e) < 0.02 and min(d, h) - max(c, g) > 1e-9
        level = c == d and g == h and abs(c - g) < 0.02 and min(b, f) - max(a, e) > 1e-9
        return one.source != other.source and (upright or level)

    _, routes = arranged(topology)
    assert [pair for pair in itertools.combinations(routes.wires, 2) if shared(*pair)] == []


def test_every_connection_ends_in_an_arrow_and_runs_right_except_in_loops(topology):
    columns, routes = arranged(topology)
    arrows = [wire.source for wire in routes.wires if wire.arrow]
    assert sorted(arrows) == sorted([c.source for c in topology.connections] + list(topology.outputs))
    place = {node.name: node.column for column in columns.columns for node in column if node.boxed}
    for (to, source), delays in topology.delays.items():
        assert place[source] < place[to] or delays[0] > 0
    assert all(wire.start[0] <= wire.end[0] for wire in routes.wires)


GEOMETRY = (
    test_boxes_stand_apart,
    test_wires_run_around_boxes,
    test_a_tapped_delay_line_lies_on_one_wire_only,
    test_wires_of_different_signals_never_lie_on_each_other,
    test_every_connection_ends_in_an_arrow_and_runs_right_except_in_loops,
)


@pytest.mark.parametrize("check", GEOMETRY, ids=lambda check: check.__name__.removeprefix("test_"))
@settings(deadline=None, max_examples=60)
@given(parts=declarations())
def test_so_does_any_network(check, parts):
    topology = quiet(**parts)
    check(topology)
    columns, _ = arranged(topology)
    assert {node.name for column in columns.columns for node in column if node.boxed} >= {*topology.sizes}


def test_a_narx_network_has_straight_wires():
    columns, routes = arranged(models.narx({"u": 1}, {"y": 1}))
    assert all(wire.start[1] == wire.end[1] for wire in routes.wires)
    inputs = [node.y for node in columns.columns[0]]
    assert inputs[0] - inputs[1] == pytest.approx(CONNECTION_PITCH)


@pytest.mark.parametrize(
    ("delays", "label"),
    [
        ((1,), "$z^{-1}$"),
        ((0, 2), r"$z^{0}\;z^{-2}$"),
        ((1, 2, 3, 4), r"$z^{-1}\;\ldots\;z^{-4}$"),
        ((0, 1, 3, 4, 5, 12), r"$z^{0}\;z^{-1}\;z^{-3}\;\ldots\;z^{-5}\;z^{-12}$"),
    ],
)
def test_delays_are_powers_of_z(delays, label):
    assert taps_label(delays) == label


@pytest.mark.parametrize(
    ("delays", "properties", "label"),
    [((0,), ("identity",), "I"), ((0,), ("diagonal",), "diag"), ((1,), ("diagonal",), "$z^{-1}$ diag")],
)
def test_kinds_of_weights_are_told(delays, properties, label):
    assert taps_label(delays, properties) == label


def test_fixed_connections_are_dashed(ax):
    plots.diagram(declare("u:1 v:1", "y:1:linear", "u>y:fixed v>y", "y"), ax=ax)
    assert [line.get_linestyle() for line in ax.lines].count("--") == 1


def test_it_takes_the_topology_of_a_network(ax):
    net = lddn.Network(models.fir({"u": 1}, {"y": 1}), init="zeros")
    assert "linear, 1" in texts(plots.diagram(net.topology, ax=ax))


def test_nine_outputs_share_a_box(ax):
    nine = models.narx({"u": 1}, {f"y{k}": 1 for k in range(9)}, linear_path=True)
    found = texts(plots.diagram(nine, ax=ax))
    assert len(found) < 15
    assert {"u (1)", "measured_y0 … measured_y8 (9 × 1)", "y0 … y8", "linear, 9 × 1"} <= set(found)
    width, height = diagram_size(nine)
    assert height < 3 < width


def test_outputs_that_differ_have_boxes_of_their_own(ax):
    several = models.narx({"u": 1}, {"a": 1, "b": 1, "c": 2, "d": 1, "e": 2}, linear_path=True)
    found = texts(plots.diagram(several, ax=ax))
    assert {"measured_a … measured_e"} & set(found) == set()
    assert {"a", "b", "c", "d", "e"} <= set(found)


def test_many_uneven_delays_are_counted():
    assert taps_label((0, 1, 3, 4, 5, 12, 24, 48, 96)).endswith(r"z^{-96}\;(9\ \mathrm{delays})$")


def test_a_long_name_is_shortened(ax):
    name = "temperature of the upper half of the boiler, measured at the inlet of the pipe"
    found = texts(plots.diagram(models.fir({name: 1}, {"y": 1}), ax=ax))
    assert max(map(len, found)) < 75
    assert any(text.startswith("temperature") and "…" in text for text in found)
