"""Ready-made topologies have the structure their names promise."""

import pytest

import lddn_jax as lddn


def test_narx_is_the_textbooks():
    topology = lddn.models.narx({"u": 2}, {"y": 1}, hidden=7, input_delays=(0, 1), feedback_delays=(1, 3))
    assert topology == lddn.Topology(
        [lddn.Input("u", 2), lddn.Input("measured_y", 1)],
        [lddn.Layer("hidden", 7, "tanh"), lddn.Layer("y", 1, "linear")],
        [
            lddn.Connection("u", "hidden", (0, 1)),
            lddn.Connection("measured_y", "hidden", (1, 3)),
            lddn.Connection("hidden", "y"),
        ],
        ["y"],
    )
    assert all(block.chunk is None for block in lddn.plan(topology).blocks)  # open loop: nothing recurs


def test_a_linear_path_reads_the_same_delays():
    topology = lddn.models.narx({"u": 1}, {"y": 1, "z": 1}, linear_path=True)
    for output in ("y", "z"):
        for source in ("u", "measured_y", "measured_z"):
            assert topology.delays[output, source] == topology.delays["hidden", source]


def test_its_loop_closes():
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, linear_path=True), init="zeros")
    closed = lddn.close_loop(net, output="y", input="measured_y")
    assert closed.topology.input_names == {"u"}
    assert lddn.plan(closed.topology).blocks[0].chunk == 1


def test_a_feedback_delay_of_zero_is_refused():
    with pytest.raises(lddn.TopologyError, match="positive delays"):
        lddn.models.narx({"u": 1}, {"y": 1}, feedback_delays=(0, 1))
