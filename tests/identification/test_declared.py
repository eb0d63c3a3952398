"""Networks that the user declares, in place of the default model of `identify`."""

import json

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.__main__ import main
from lddn_jax.data import Record
from lddn_jax.errors import LDDNError, TopologyError
from lddn_jax.identification.declared import Declared, reads_outputs, remembers
from lddn_jax.trainers.closed_loop import ClosedLoop

QUICK = {"folds": 2, "keep": 1, "epochs": 4, "restarts": 2}
U, Y = {"u": 1}, {"y": 1}
ELMAN = lddn.models.elman(U, Y, hidden=2)
NARX = lddn.models.narx(U, Y, hidden=2, linear_path=True)
GRAPHS = {
    "states of layers": ELMAN,
    "outputs fed back": lddn.models.jordan(U, Y, hidden=2),
    "delays of inputs": lddn.models.time_delay(U, Y, hidden=2, delays=(1, 2)),
    "no delay": lddn.models.feedforward(U, Y, hidden=2),
    "two loops": lddn.models.layer_recurrent(U, Y, hidden=(2, 1), delays=(1, 3)),
}


def record(steps=160, inputs=1, outputs=1):
    rng = np.random.default_rng(0)
    u, y = rng.uniform(-1, 1, (steps, inputs)), np.zeros((steps, outputs))
    for t in range(2, steps):
        y[t] = 0.7 * np.tanh(y[t - 1]) + u[t - 1].sum()
    return Record({"u": u}, {"y": y + 0.01 * rng.normal(size=y.shape)})


def identified(graph, given=None, **more):
    settings = lddn.Settings(model=graph, **(QUICK | more))
    return lddn.identify(record() if given is None else given, ["u"], ["y"], settings, progress=False)


@pytest.mark.parametrize("name", GRAPHS)
def test_any_graph_that_runs_freely_gives_a_committee(name):
    found = identified(GRAPHS[name])
    assert {entry.structure for entry in found.trained.entries} == {Declared(GRAPHS[name])}
    assert isinstance(found.net, lddn.Committee)
    assert found.net.topology == GRAPHS[name]
    assert np.isfinite(found.test.scores["free run"]["y"]["rmse"])
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert lddn.Topology.from_dict(plain["settings"]["model"]) == GRAPHS[name]
    assert lddn.Topology.from_dict(plain["training"]["structures"][0]["declared"]) == GRAPHS[name]


def test_training_lowers_the_error():
    short, long = (identified(ELMAN, epochs=epochs, restarts=8).trained.chosen.found.error for epochs in (1, 30))
    assert long < 0.1 * short


def test_first_states_are_trained_if_a_layer_has_some():
    trained = {
        name: identified(GRAPHS[name]).trained.chosen.found.fits[0].initial_state for name in ("no delay", "two loops")
    }
    assert trained["no delay"] is None
    assert sorted(trained["two loops"]) == ["hidden_1", "hidden_2"]


def test_a_graph_that_reads_measured_outputs_is_trained_over_growing_horizons():
    found = identified(NARX, epochs=3, horizons=(1, 5))
    assert isinstance(found.trained, ClosedLoop)
    assert found.net.topology == NARX
    assert set(found.test.scores) >= {"one step ahead", "free run"}


def test_the_gradients_of_the_declared_graph_are_checked():
    found = identified(GRAPHS["two loops"], check_gradients=True)
    assert found.gradients is not None
    assert found.gradients.passed


def test_the_state_space_whose_gradients_are_checked_has_hidden_layers():
    settings = lddn.Settings(**QUICK, states=1, hidden=1, check_gradients=True)
    found = lddn.identify(record(), ["u"], ["y"], settings, progress=False)
    assert found.gradients.passed
    assert "hidden" in found.experiment.topology.sizes


def test_several_records_with_gaps_and_a_constant_input():
    given = record(150, inputs=2)
    u, y = np.array(given.inputs["u"]), np.array(given.targets["y"])
    u[:, 1] = 3.0
    y[60:63] = np.nan
    first = Record({"u": u}, {"y": y}, missing="mask")
    graph = lddn.models.elman({"u": 2}, Y, hidden=2)
    found = identified(
        graph, [first, Record({"u": u[:90]}, given.targets and {"y": given.targets["y"][:90]})], missing="mask"
    )
    weights = np.asarray(found.trained.chosen.found.fits[0].net.IW["hidden", "u"])
    assert not weights[..., 1].any()
    assert weights[..., 0].all()


def test_equal_seeds_give_equal_networks():
    first, second, other = (identified(ELMAN, seed=seed).net.nets for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert not np.array_equal(first.b["hidden"], other.b["hidden"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hidden": 3}, "hidden=3 is part of a network's declaration"),
        ({"states": 2}, "states=2 is part of a network's declaration"),
        ({"linear_path": False}, "linear_path=False is part of"),
        ({"horizons": (1, 5)}, "no input measured_y. Leave it out"),
        ({"trainer": "adam"}, "trainer='adam' trains a network that reads measured outputs"),
    ],
)
def test_settings_that_a_declared_graph_does_not_have(changed, words):
    with pytest.raises(LDDNError, match=words):
        lddn.Settings(model=ELMAN, **changed)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (lddn.models.elman({"v": 1}, Y, hidden=1), "has the input 'v', which is not among the inputs"),
        (lddn.models.elman(U, {"z": 1}, hidden=1), "has the output 'z', which is not among the targets"),
        (lddn.models.elman({}, Y, hidden=1), "the record has the input 'u', and the network has"),
        (lddn.models.elman({"u": 2}, Y, hidden=1), "input 'u' has size 2 in the network and 1 in the record"),
        (lddn.models.elman(U, {"y": 3}, hidden=1), "output 'y' has size 3 in the network and 1 in the record"),
    ],
)
def test_signals_that_do_not_match(graph, words):
    with pytest.raises(TopologyError, match=words):
        identified(graph)


@pytest.mark.parametrize(
    ("graph", "expected"), [(ELMAN, (True, False)), (NARX, (False, True)), (GRAPHS["no delay"], (False, False))]
)
def test_what_a_graph_reads(graph, expected):
    assert (remembers(graph), reads_outputs(graph)) == expected


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    given = record()
    columns = np.column_stack([given.inputs["u"], given.targets["y"]])
    np.savetxt(tmp_path / "record.csv", columns, delimiter=",", header="u,y", comments="")
    (tmp_path / "net.json").write_text(json.dumps(ELMAN.to_dict()))
    return tmp_path


def fit(folder, *more):
    arguments = ["fit", str(folder / "record.csv"), "--inputs", "u", "--targets", "y", "--out", str(folder / "out")]
    return main([*arguments, "--no-report", *more])


def test_a_file_with_a_topology(folder):
    assert fit(folder, "--topology", str(folder / "net.json"), "--epochs", "2", "--restarts", "2", "--folds", "2") == 0
    assert lddn.load(folder / "out/network.npz").net.topology == ELMAN


@pytest.mark.parametrize(
    ("content", "more", "words"),
    [
        (None, [], "No such file"),
        ("{", [], "is not JSON"),
        ('{"inputs": []}', [], "lacks the key 'layers'"),
        (json.dumps(ELMAN.to_dict()), ["--model", "narx"], "both name the model"),
    ],
    ids=["missing", "not JSON", "not a topology", "two models"],
)
def test_files_that_hold_no_topology(folder, capsys, content, more, words):
    path = folder / "other.json"
    if content is not None:
        path.write_text(content)
    assert fit(folder, "--topology", str(path), *more) == 2
    assert words in capsys.readouterr().err
