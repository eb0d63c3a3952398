"""The command line as a user meets it: what commands leave behind, say and return."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from signal_handlers import ordinary_handlers

import lddn_jax as lddn
from lddn_jax.__main__ import main
from lddn_jax.cli import arguments
from lddn_jax.gradients.gradient_report import Difference

SMALL = ["--epochs", "3", "--hidden", "2", "--restarts", "2", "--horizons", "1,all", "--no-linear-path"]
QUICK = ["--epochs", "3", "--hidden", "3", "--restarts", "2", "--horizons", "1,5,all", "--no-report"]
ADAM = ["--trainer", "adam", "--epochs", "3", "--hidden", "3", "--window", "20", "--no-report"]
STATES = [*("--states", "1", "--hidden", "1", "--folds", "2", "--committee", "1"), "--epochs", "3", "--restarts", "2"]


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    """A second-order linear system, 200 rows."""
    u = np.random.default_rng(0).normal(size=200)
    y = np.zeros(200)
    for t in range(2, 200):
        y[t] = 1.5 * y[t - 1] - 0.7 * y[t - 2] + 0.5 * u[t - 1]
    path = tmp_path_factory.mktemp("record") / "record.csv"
    lddn.data.Table({"time": 0.1 * np.arange(200), "u": u, "y": y, "z": y**2}).to_csv(path)
    return path


@pytest.fixture(scope="module")
def fitted(csv, tmp_path_factory):
    """What one `fit` found, said and left behind, for tests that only read."""
    out, said, found = tmp_path_factory.mktemp("fit") / "out", io.StringIO(), []

    def kept(*given, **more):
        found.append(lddn.identify(*given, **more))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr("lddn_jax.cli.fit_command.identify", kept)
        code = main(["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", str(out), *SMALL])
    results = json.loads((out / "results.json").read_text())
    return SimpleNamespace(code=code, out=out, said=said.getvalue(), found=found[0], results=results)


@pytest.fixture
def model(fitted):
    """The network that `fit` left."""
    return fitted.out / "network.npz"


def test_fit_leaves_everything_behind(fitted):
    assert fitted.code == 0
    assert {p.name for p in fitted.out.iterdir()} == {
        "network.npz",
        "training.csv",
        "response.png",
        "training.png",
        "report.html",
        "results.json",
    }
    for words in ("one step ahead", "free run", "persistence", "results.json"):
        assert words in fitted.said


def test_a_state_space_leaves_everything_behind(csv, tmp_path, capsys):
    line = ["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", str(tmp_path), *STATES]
    assert main(line) == 0
    said, results = capsys.readouterr().out, json.loads((tmp_path / "results.json").read_text())
    files = ESSENTIAL | {"response.png", "training.png", "report.html"}
    assert files <= {path.name for path in tmp_path.iterdir()}
    assert "was not written" not in said
    assert "one step ahead" not in results["test"]
    assert results["training"]["members"] == lddn.load(tmp_path / "network.npz").net.members
    assert results["test"]["free run"]["y"]["coverage"] is not None
    assert main(["predict", str(csv), "--model", str(tmp_path / "network.npz"), "--out", str(tmp_path / "new")]) == 0
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"predictions.csv", "predictions.png", "scores.json"}


def test_results_are_numbers_of_the_record_and_the_run(fitted, csv, model):
    results, y = fitted.results, lddn.data.read_csv(csv)["y"]
    assert results["test"]["persistence"]["y"]["rmse"] == pytest.approx(np.sqrt(np.mean((y[172:] - y[171:-1]) ** 2)))
    assert results["dtype"] == "float64"
    assert [stage["horizon"] for stage in results["training"]["stages"]] == [1, None]
    assert results["parameters"] == lddn.load(model).net.parameter_count
    assert results["test"].keys() == {"one step ahead", "free run", "persistence", "linear model", "samples"}


def test_gradients_that_nobody_asked_for_are_not_compared(fitted):
    assert fitted.results["gradient_check"] is None
    assert set(fitted.results["seconds"]) == {"training", "testing", "writing"}
    assert "all methods agree" not in fitted.said


@pytest.fixture
def found_already(fitted, csv, tmp_path, monkeypatch):
    """Runs `fit` with more options; what it finds is there already, with some of it replaced."""

    def run(*options, **changes):
        found = replace(fitted.found, **changes)
        monkeypatch.setattr("lddn_jax.cli.fit_command.identify", lambda *_, **__: found)
        return main(["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", str(tmp_path), *options])

    return run


def test_no_report_leaves_out_the_page_alone(found_already, fitted, tmp_path):
    assert found_already("--no-report") == 0
    everything = {path.name for path in fitted.out.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == everything - {"report.html"}


@pytest.mark.parametrize(("relative", "code"), [(1e-13, 0), (1e-3, 1)], ids=["agree", "disagree"])
def test_the_exit_code_is_that_of_the_gradient_check(relative, code, found_already, tmp_path, monkeypatch):
    monkeypatch.setattr("lddn_jax.cli.fit_command.draw", lambda out, found, report: [])
    pair = Difference(("BPTT", "RTRL"), relative, "b['y']", None, 1e-11)
    nothing = dict.fromkeys(pair.methods, 0.0)
    report = lddn.GradientReport((pair,), 1.0, nothing, dict.fromkeys(pair.methods), "float64")
    assert found_already("--check-gradients", gradients=report) == code
    checked = json.loads((tmp_path / "results.json").read_text())["gradient_check"]
    assert (checked["passed"], checked["worst"]) == (code == 0, relative)


# --- nothing is lost after training ----------------------------------------------------------------------------------


ESSENTIAL = {"network.npz", "training.csv", "results.json"}


@pytest.mark.parametrize("name", ["network.npz", "posterior.npz", "results.json"])
def test_a_folder_in_the_way_is_found_before_training(name, csv, tmp_path, capsys):
    (tmp_path / name).mkdir()
    assert main(["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", str(tmp_path)]) == 2
    assert f"{name} is a folder, and a file of that name is needed" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_printed(found_already, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise lddn.errors.LDDNError("the disk is full")

    monkeypatch.setattr("lddn_jax.cli.fit_command.write_json", fail)
    assert found_already() == 2
    said = capsys.readouterr()
    assert "one step ahead" in said.out
    assert "the disk is full" in said.err


def test_scores_that_cannot_be_written_are_printed(csv, model, tmp_path, capsys):
    (tmp_path / "scores.json").mkdir()
    assert main(["predict", str(csv), "--model", str(model), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert said.count("scores.json could not be written") == said.count("scores.json") == 1
    assert "free run" in said
    assert (tmp_path / "predictions.csv").exists()


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_standard_streams_take_nothing_along(closed, tmp_path):
    shut = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in closed)
    (tmp_path / "absent").write_text("")
    code = "import sys; from lddn_jax.cli.arguments import occupy_standard_streams as occupy; occupy(); " + (
        "from lddn_jax.training.callbacks.progress import Progress; from types import SimpleNamespace; "
        "Progress().on_start(SimpleNamespace(epoch=0)); sys.exit(0 if open(sys.argv[1]).fileno() > 2 else 1)"
    )
    ended = subprocess.run(["bash", "-c", f'"$0" -c "$1" "$2" {shut}', sys.executable, code, str(tmp_path / "absent")])
    assert ended.returncode == 0


def test_names_are_understood_where_the_console_is_declared_as_ascii():
    undecoded = "u m²,y".encode().decode("ascii", "surrogateescape")
    assert arguments.names(undecoded) == ["u m²", "y"]
    assert arguments.word("\udcff") == "\udcff"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_without_some_characters_loses_nothing(encoding, found_already, tmp_path, monkeypatch):
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, encoding=encoding))
    assert found_already() == 0
    sys.stdout.flush()
    assert {path.name for path in tmp_path.iterdir()} >= ESSENTIAL | {"report.html"}
    assert "RMSE" in console.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("broken", "lost"),
    [
        ("lddn_jax.plots.response", {"response.png", "report.html"}),
        ("lddn_jax.plots.training_curve", {"training.png", "report.html"}),
        ("lddn_jax.report", {"report.html"}),
        ("lddn_jax.training.history.History.to_csv", {"training.csv"}),
    ],
)
def test_an_output_that_fails_does_not_take_others_with_it(broken, lost, found_already, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ValueError("no font\nwith a second line")

    monkeypatch.setattr(broken, fail)
    assert found_already() == 0
    everything = ESSENTIAL | {"response.png", "training.png", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} >= everything - lost
    said = capsys.readouterr().out
    assert "was not written: no font" in said
    assert "second line" not in said


def test_results_are_written_before_anything_is_printed(found_already, tmp_path, monkeypatch):
    def fail(text):
        raise OSError("the console is gone")

    monkeypatch.setattr("lddn_jax.cli.fit_command.say", fail)
    (tmp_path / "checkpoints").mkdir()
    found_already("--resume")
    assert {path.name for path in tmp_path.iterdir()} == ESSENTIAL - {"training.csv"}


def test_a_constant_target_has_no_r2(found_already, fitted, tmp_path, capsys):
    still = {"y": np.full_like(fitted.found.test.measured["y"], 1.5)}
    assert found_already(test=replace(fitted.found.test, measured=still)) == 0
    scores = json.loads((tmp_path / "results.json").read_text())["test"]
    assert scores["free run"]["y"]["r2"] is None
    assert scores["free run"]["y"]["rmse"] > 0
    assert "measured y is constant here, so R² is undefined" in capsys.readouterr().out


@pytest.mark.deep
def test_gradients_are_compared_when_asked_for(csv, tmp_path, capsys):
    options = [*QUICK, "--check-gradients"]
    assert main(["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", str(tmp_path), *options]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["gradient_check"]["passed"] is True
    assert results["gradient_check"]["worst"] < 1e-11
    assert set(results["seconds"]) == {"gradient_check", "training", "testing", "writing"}
    assert "all methods agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sizes", "delays"),
    [
        pytest.param(("1",), ("1",), id="one"),
        pytest.param(("1", "2"), ("1", "2,3"), id="four", marks=pytest.mark.deep),
    ],
)
def test_compare_leaves_a_table_and_the_best_network_behind(sizes, delays, csv, tmp_path, capsys):
    options = ["--hidden", *sizes, "--delays", *delays, "--epochs", "3", "--restarts", "1", "--no-linear-path"]
    out = tmp_path / "out"
    assert main(["compare", str(csv), "--inputs", "u", "--targets", "y", "--out", str(out), *options]) == 0
    assert {p.name for p in out.iterdir()} == {"comparison.csv", "comparison.json", "comparison.png", "network.npz"}
    rows = json.loads((out / "comparison.json").read_text())
    assert [row["name"] for row in rows] == [
        f"{size} hidden, input delays {taps}, feedback delays 1,2" for size in sizes for taps in delays
    ]
    best = max(rows, key=lambda row: row["log_evidence"])
    assert best["parameters"] == lddn.load(out / "network.npz").net.parameter_count
    assert "largest evidence" in capsys.readouterr().out


def test_bayesian_regularization_leaves_error_bars_behind(csv, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--trainer", "br", "--groups", "delay", "--bayesian-epochs", "3", "--no-report"]
    options += ["--epochs", "3", "--hidden", "1", "--restarts", "1", "--horizons", "1", "--no-linear-path"]
    assert main(["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", str(out), *options]) == 0
    assert {"posterior.npz", "evidence.png", "bands.png", "relevance.png"} <= {p.name for p in out.iterdir()}
    results, found = json.loads((out / "results.json").read_text()), lddn.load(out / "posterior.npz")
    assert results["training"]["posterior"] == found.to_dict()
    assert 0 <= results["test"]["free run"]["y"]["coverage"] <= 1
    assert "u -> hidden delay 2" in found.groups.labels
    assert found.net.topology == lddn.load(out / "network.npz").close_loop("y", "measured_y").net.topology
    assert "training: Bayesian regularization, 3 steps" in capsys.readouterr().out


def test_the_scores_are_those_of_the_saved_network(fitted, csv, model):
    """The one-step score, computed again from the files and the record alone."""
    results, net = fitted.results, lddn.load(model).net
    table = lddn.data.read_csv(csv)
    scale = {name: lddn.data.scaling.from_dict(results["scaling"][name]) for name in ("u", "y")}
    u, y = (scale[name].apply(table.signal([name])) for name in ("u", "y"))
    whole = lddn.predict(net, {"u": u, "measured_y": y})["y"]
    error = table["y"][172:] - np.asarray(scale["y"].invert(whole))[172:, 0]
    assert results["test"]["one step ahead"]["y"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-10)
    closed = lddn.close_loop(net, "y", "measured_y")
    held = {"u": u[170:172], "y": y[170:172]}
    free = np.asarray(scale["y"].invert(lddn.predict(closed, u[172:], held)["y"]))[:, 0]
    expected = np.sqrt(np.mean((table["y"][172:] - free) ** 2))
    assert results["test"]["free run"]["y"]["rmse"] == pytest.approx(expected, rel=1e-10)


@pytest.mark.deep
@pytest.mark.parametrize("options", [[*ADAM, "--epochs", "800"], [*QUICK, "--epochs", "20"]], ids=["adam", "lm"])
def test_training_finds_the_system(options, csv, tmp_path):
    main(["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", str(tmp_path), *options])
    test = json.loads((tmp_path / "results.json").read_text())["test"]
    assert test["one step ahead"]["y"]["rmse"] < 0.05 * test["persistence"]["y"]["rmse"]
    assert test["free run"]["y"]["r2"] > 0.99


@pytest.mark.deep
@pytest.mark.parametrize("options", [ADAM, QUICK], ids=["adam", "lm"])
def test_several_targets_and_no_inputs(options, csv, tmp_path):
    assert main(["fit", str(csv), "--targets", "y,z", "--out", str(tmp_path / "out"), *options]) == 0
    test = json.loads((tmp_path / "out" / "results.json").read_text())["test"]
    assert test["one step ahead"].keys() == test["free run"].keys() == {"y", "z"}


@pytest.mark.deep
def test_the_seed_decides_everything_random(csv, tmp_path):
    for k, seed in enumerate(("0", "0", "1")):
        main(["fit", str(csv), "--inputs", "u", "--targets", "y", "--out", f"{tmp_path}/{k}", "--seed", seed, *QUICK])
    scores = [json.loads((tmp_path / str(k) / "results.json").read_text())["test"]["one step ahead"] for k in range(3)]
    assert scores[0] == scores[1] != scores[2]


def test_predict_runs_on_a_new_file(csv, model, tmp_path, capsys):
    out = tmp_path / "predicted"
    options = ["--model", str(model), "--ahead", "1,5", "--warmup", "10", "--out", str(out)]
    assert main(["predict", str(csv), *options]) == 0
    assert {p.name for p in out.iterdir()} == {"predictions.csv", "predictions.png", "scores.json"}
    table, scores = lddn.data.read_csv(out / "predictions.csv"), json.loads((out / "scores.json").read_text())
    assert table.names == ("time", "y", "y one step ahead", "y 5 steps ahead", "y free run")
    assert table["time"][0] == pytest.approx(0.2)
    for kind, score in scores.items():
        error = (table["y"] - table[f"y {kind}"])[10:]
        assert score["y"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)
    assert "198 steps; the first 10 are warm-up and not scored" in capsys.readouterr().out


def test_predict_needs_no_measured_outputs(csv, model, tmp_path, capsys):
    lddn.data.Table({"u": lddn.data.read_csv(csv)["u"]}).to_csv(tmp_path / "new.csv")
    out = tmp_path / "predicted"
    assert main(["predict", str(tmp_path / "new.csv"), "--model", str(model), "--out", str(out)]) == 0
    assert lddn.data.read_csv(out / "predictions.csv").names == ("time", "y free run")
    assert "no measured outputs" in capsys.readouterr().out


def test_report_evaluates_a_network_on_a_file(csv, model, tmp_path, capsys):
    assert main(["report", str(csv), "--model", str(model), "--out", str(tmp_path / "evaluated" / "report.html")]) == 0
    text = (tmp_path / "evaluated" / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("<figure") >= 6
    assert "report.html" in capsys.readouterr().out


@pytest.mark.deep
def test_records_are_files_and_one_validates(csv, tmp_path, capsys):
    table = lddn.data.read_csv(csv)
    for name, rows in (("a", slice(0, 80)), ("b", slice(80, 200))):
        lddn.data.Table({column: table[column][rows] for column in table}).to_csv(tmp_path / f"{name}.csv")
    files = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    options = ["--inputs", "u", "--targets", "y", "--warmup", "3", "--validation", str(csv), *QUICK]
    assert main(["fit", *files, "--out", str(tmp_path / "out"), *options]) == 0
    results, said = json.loads((tmp_path / "out" / "results.json").read_text()), capsys.readouterr().out
    assert "train: 165 samples in 2 pieces; validate: 200 samples; test: 35 samples in 2 pieces" in said
    assert "the first 3 of each record are warm-up and not scored" in said
    assert results["test"]["samples"] == 31


@pytest.fixture
def with_gaps(csv, tmp_path):
    """The command that fits a record of which two targets are missing."""
    table = lddn.data.read_csv(csv)
    y = table["y"].copy()
    y[[50, 180]] = np.nan
    lddn.data.Table({"u": table["u"], "y": y}).to_csv(tmp_path / "gaps.csv")
    return [
        "fit",
        str(tmp_path / "gaps.csv"),
        "--inputs",
        "u",
        "--targets",
        "y",
        "--out",
        str(tmp_path / "out"),
        *QUICK,
    ]


def test_gaps_are_an_error_that_names_the_first(with_gaps, capsys):
    assert main(with_gaps) == 2
    assert "'y' is nan at sample 50" in capsys.readouterr().err


@pytest.mark.deep
def test_gaps_are_left_out_when_asked(with_gaps, capsys):
    assert main([*with_gaps, "--missing", "mask"]) == 0
    assert "train: 139 samples in 2 pieces" in capsys.readouterr().out


def test_float32_is_not_for_second_order(csv, tmp_path, capsys):
    options = ["--out", str(tmp_path), "--dtype", "float32", *QUICK]
    assert main(["fit", str(csv), "--inputs", "u", "--targets", "y", *options]) == 2
    assert "--dtype float32 has too few digits for --trainer lm" in capsys.readouterr().err


@pytest.mark.deep
def test_float32_is_for_first_order(csv, tmp_path):
    options = ["--out", str(tmp_path), "--dtype", "float32", *ADAM]
    assert main(["fit", str(csv), "--inputs", "u", "--targets", "y", *options]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["dtype"] == "float32"


@pytest.mark.deep
def test_maglev_runs_the_whole_story(tmp_path):
    assert main(["maglev", "--steps", "300", "--out", str(tmp_path), *QUICK]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert "simulation" in results["seconds"]
    assert results["inputs"] == ["current"]
    assert results["targets"] == ["position"]
    assert results["gradient_check"]["passed"] is True


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(QUICK, id="lm", marks=pytest.mark.deep),
        pytest.param([*ADAM, "--no-linear-path"], id="adam"),
        pytest.param([*STATES, "--no-report"], id="state-space"),
    ],
)
def test_a_fit_that_was_cut_short_resumes(options, csv, tmp_path, capsys):
    """And ends where it would have ended; until then nobody may begin anew in its folder."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = ["fit", str(csv), "--inputs", "u", "--targets", "y", *options]
    assert main([*command, "--out", str(out), "--time-limit", "1e-9"]) == 0
    assert "run the same command with --resume to continue" in capsys.readouterr().out
    assert main([*command, "--out", str(out)]) == 2
    assert "Resume it with --resume" in capsys.readouterr().err
    assert main([*command, "--out", str(out), "--resume"]) == 0
    assert not (out / "checkpoints").exists()
    assert main([*command, "--out", str(whole)]) == 0
    found, expected = (json.loads((folder / "results.json").read_text()) for folder in (out, whole))
    assert found["test"] == expected["test"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fit_leaves_a_network_and_says_how_to_resume(number, code, csv, tmp_path, capsys, monkeypatch):
    """A signal at the first step."""
    monkeypatch.setattr(lddn.callbacks.TimeLimit, "on_step", lambda self, state: os.kill(os.getpid(), number) or False)
    options = ["--out", str(tmp_path), *SMALL, "--no-report", "--time-limit", "99"]
    with ordinary_handlers():
        assert main(["fit", str(csv), "--inputs", "u", "--targets", "y", *options]) == code
    assert "training was cut short (interrupted)" in capsys.readouterr().out
    assert {"network.npz", "results.json", "checkpoints"} <= {path.name for path in tmp_path.iterdir()}
    stages = json.loads((tmp_path / "results.json").read_text())["training"]["stages"]
    assert [(stage["epochs"], stage["stop_reason"]) for stage in stages] == [(1, "interrupted")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_competition_leaves_a_committee_and_resumes(number, code, csv, tmp_path, capsys, monkeypatch):
    """One signal at the first step of the trainings side by side."""
    signals = iter([number])

    def signal_once(limit, state):
        for number in signals:
            os.kill(os.getpid(), number)

    line = ["fit", str(csv), "--inputs", "u", "--targets", "y", *STATES, "--no-report"]
    with ordinary_handlers(), monkeypatch.context() as patch:
        patch.setattr(lddn.callbacks.TimeLimit, "on_step", signal_once)
        assert main([*line, "--time-limit", "99", "--out", str(tmp_path)]) == code
    assert "training was cut short (interrupted)" in capsys.readouterr().out
    assert {"network.npz", "results.json", "checkpoints"} <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "results.json").read_text())["training"]["stop_reason"] == "interrupted"
    assert main([*line, "--out", str(tmp_path), "--resume"]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["training"]["stop_reason"] == "epochs"
    assert not (tmp_path / "checkpoints").exists()


def test_an_interrupted_comparison_keeps_what_it_has(csv, tmp_path, monkeypatch):
    monkeypatch.setattr(lddn.callbacks.ReturnOnSignal, "on_step", interrupt, raising=False)
    options = ["--hidden", "1", "2", "--restarts", "1", "--epochs", "3", "--out", str(tmp_path)]
    assert main(["compare", str(csv), "--inputs", "u", "--targets", "y", *options]) == 143
    assert len(json.loads((tmp_path / "comparison.json").read_text())) == 1


def interrupt(callback, state):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def topology(tmp_path):
    """A file of the smallest network with a loop."""
    connections = [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))]
    topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 2)], connections, ["y"])
    (tmp_path / "topology.json").write_text(json.dumps(topology.to_dict()))
    return str(tmp_path / "topology.json")


def test_check_reads_a_topology(topology, capsys):
    assert main(["check", topology, "--steps", "5"]) == 0
    assert "all methods agree (float64)" in capsys.readouterr().out


@pytest.mark.filterwarnings("default::lddn_jax.topology.validation.TopologyWarning")
def test_a_warning_is_one_line_without_code(topology, capsys, monkeypatch):
    declaration = json.loads(Path(topology).read_text())
    declaration["layers"].append({"name": "idle", "size": 1})
    Path(topology).write_text(json.dumps(declaration))
    monkeypatch.setattr(lddn, "check_gradients", lambda *_: SimpleNamespace(passed=True))
    assert main(["check", topology]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line[:33] for line in said] == ["warning: layer 'idle' has no path"] * 2


def test_a_failed_check_is_exit_code_one(topology, capsys, monkeypatch):
    monkeypatch.setitem(lddn.gradients.gradient_report.RELATIVE_TOLERANCE, "float64", 1e-30)
    assert main(["check", topology, "--steps", "5"]) == 1
    assert "DISAGREE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "absent.csv", "--targets", "y"], ["absent.csv"]),
        (["fit", "{csv}", "--targets", "yy"], ["yy", "y"]),
        (["fit", "{csv}", "--inputs", "y", "--targets", "y"], ["both an input and a target"]),
        (
            ["fit", "{csv}", "--inputs", "u", "--targets", "y", "--trainer", "adam", "--window", "500"],
            ["no stretch of 502 rows", "500 are a window"],
        ),
        (["fit", "{csv}", "--inputs", "u", "--targets", "y", "--feedback", "0,1"], ["feedback", "positive delays"]),
        (["fit", "{csv}", "--inputs", "u", "--targets", "y", "--delays", "2,1"], ["(1, 2)"]),
        (["fit", "{csv}", "--inputs", "u", "--targets", "y", "--init", "glorrot"], ["glorrot", "glorot"]),
        (["fit", "{gap}", "--inputs", "u", "--targets", "y"], ["'gap'", "'u'", "sample 2"]),
        (["predict", "{csv}", "--model", "absent.npz"], ["absent.npz"]),
        (["check", "absent.json"], ["absent.json"]),
        (["check", "{csv}"], ["not JSON"]),
        (["check", "{bad}"], ["zero-delay loop A -> B -> A"]),
    ],
    ids=lambda case: " ".join(case)[:40] if isinstance(case, list) else "",
)
def test_errors_are_one_clear_line(arguments, words, csv, tmp_path, capsys):
    (tmp_path / "gap.csv").write_text("u,y\n1,1\n2,2\n,3\n4,4\n")
    loop = {
        "inputs": [],
        "layers": [{"name": "A", "size": 1}, {"name": "B", "size": 1}],
        "connections": [{"source": "A", "to": "B"}, {"source": "B", "to": "A"}],
        "outputs": ["A"],
    }
    (tmp_path / "bad.json").write_text(json.dumps(loop))
    places = {"csv": csv, "gap": tmp_path / "gap.csv", "bad": tmp_path / "bad.json"}
    arguments = [a.format(**places) for a in arguments]
    if arguments[0] == "fit":
        arguments += ["--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err


def test_no_traceback_from_a_shell(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "lddn_jax", "check", str(tmp_path / "absent.json")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stderr.startswith("error: ")
