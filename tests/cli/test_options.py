"""Every option of `fit` and `maglev` arrives where it belongs; `identify` only tells what it was called with."""

import platform
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jaxlib
import pytest

import lddn_jax as lddn
from lddn_jax.__main__ import main

FIT = ("fit", "a.csv", "--targets", "y")
DEFAULT = lddn.Settings(dtype="float64")  # that of the command line, which compares gradients to 1e-11
SETTINGS = {
    "model": ("--model narx", "narx"),
    "states": ("--states 2,3", (2, 3)),
    "output_hidden": ("--output-hidden 0", 0),
    "folds": ("--folds 3", 3),
    "keep": ("--committee 2", 2),
    "time_budget": ("--time-budget 30", 30.0),
    "hidden": ("--hidden 3", 3),
    "input_delays": ("--delays 0,2", (0, 2)),
    "feedback_delays": ("--feedback 1,3", (1, 3)),
    "linear_path": ("--no-linear-path", False),
    "init": ("--init zeros", "zeros"),
    "trainer": ("--trainer br", "br"),
    "epochs": ("--epochs 7", 7),
    "restarts": ("--restarts 2", 2),
    "bayesian_epochs": ("--bayesian-epochs 9", 9),
    "groups": ("--groups delay", "delay"),
    "horizons": ("--horizons 1,5,all", (1, 5, None)),
    "batch_size": ("--batch-size 2", 2),
    "learning_rate": ("--learning-rate 0.5", 0.5),
    "window": ("--window 20", 20),
    "train": ("--train 0.5", 0.5),
    "validation": ("--validation 0.2", 0.2),
    "division": ("--division records", lddn.data.ByRecord()),
    "missing": ("--missing mask", "mask"),
    "warmup": ("--warmup 3", 3),
    "dtype": ("--trainer adam --dtype float32", "float32"),  # too few digits for the others
    "seed": ("--seed 4", 4),
    "check_gradients": ("--check-gradients", True),
}


class AskedError(Exception):
    """Raised in place of identifying."""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Runs a command as far as to the call of `identify`; returns what it was called with."""

    def stub(records, inputs, targets, settings, **more):
        raise AskedError(SimpleNamespace(records=records, inputs=inputs, targets=targets, settings=settings, **more))

    def run(*arguments):
        with pytest.raises(AskedError) as caught:
            main(list(arguments))
        return caught.value.args[0]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lddn_jax.cli.fit_command.identify", stub)
    monkeypatch.setattr(lddn.data, "maglev", lambda steps, key: f"{steps} samples")
    monkeypatch.setattr(
        lddn.callbacks, "Checkpoint", lambda folder, seconds: SimpleNamespace(folder=folder, seconds=seconds)
    )
    monkeypatch.setattr(lddn.callbacks, "ReturnOnSignal", lambda: "signals")
    monkeypatch.setattr(lddn.callbacks, "TimeLimit", lambda seconds: f"{seconds} s at most")
    return run


def test_without_options_the_defaults_of_settings_are_taken(asked):
    given = asked(*FIT)
    assert given.settings == DEFAULT
    assert (given.records, given.inputs, given.targets) == (["a.csv"], [], ["y"])
    assert (given.validation, given.callbacks, given.resume) == (None, ["signals"], False)
    assert (given.checkpoint.folder, given.checkpoint.seconds) == (Path("lddn_out/checkpoints"), 60.0)


@pytest.mark.parametrize(("field", "option", "value"), [(f, *row) for f, row in SETTINGS.items()], ids=SETTINGS)
def test_an_option_sets_its_field_and_no_other(field, option, value, asked):
    needed = {"trainer": "adam"} if field == "dtype" else {}
    assert asked(*FIT, *option.split()).settings == replace(DEFAULT, **{**needed, field: value})


def test_every_field_of_settings_has_an_option():
    assert {field.name for field in fields(lddn.Settings)} == SETTINGS.keys()


def test_maglev_simulates_and_compares_gradients(asked):
    given = asked("maglev", "--steps", "9", "--hidden", "3")
    assert (given.records, given.inputs, given.targets) == ("9 samples", ["current"], ["position"])
    assert given.settings == replace(DEFAULT, model="narx", hidden=3, check_gradients=True)


def test_maglev_compares_no_gradients_when_told_so(asked):
    assert asked("maglev", "--no-check-gradients").settings == replace(DEFAULT, model="narx")


def test_maglev_trains_another_model_when_told_so(asked):
    assert asked("maglev", "--model", "state-space").settings.chosen_model == "state-space"


def test_files_and_columns(asked):
    given = asked("fit", "a.csv", "b.mat", "--inputs", "u, v", "--targets", "y,z")
    assert (given.records, given.inputs, given.targets) == (["a.csv", "b.mat"], ["u", "v"], ["y", "z"])


def test_names_of_a_header_with_several_lines(asked):
    given = asked("fit", "a.csv", "--inputs", '"flow,\nhot"', "--targets", "level\r\nmm,z")
    assert (given.inputs, given.targets) == (["flow, hot"], ["level mm", "z"])


READING = {
    "names": ("--names u,y", ("u", "y")),
    "encoding": ("--encoding latin-1", "latin-1"),
    "missing_values": ("--missing-value -200 --missing-value off", (-200.0, "off")),
    "skip_rows": ("--skip-rows 3", 3),
    "time": ("--time t", "t"),
    "delimiter": ("--delimiter tab", "\t"),
    "decimal": ("--decimal ,", ","),
    "transpose": ("--transpose", True),
    "records": ("--records all", "all"),
    "decimate": ("--decimate 10", 10),
}


@pytest.mark.parametrize(("field", "option", "value"), [(f, *row) for f, row in READING.items()], ids=READING)
def test_a_flag_sets_its_field_of_reading_and_no_other(field, option, value, asked):
    assert asked(*FIT).reading == lddn.data.Reading()
    assert asked(*FIT, *option.split()).reading == replace(lddn.data.Reading(), **{field: value})


def test_every_field_of_reading_has_a_flag(asked):
    assert {field.name for field in fields(lddn.data.Reading)} == READING.keys()
    assert asked(*FIT, "--no-time").reading == lddn.data.Reading(time=False)


@pytest.mark.parametrize("command", ["fit", "predict", "report", "compare"])
def test_all_commands_that_read_files_have_the_same_flags(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert [flag for flag in ("--names", "--no-time", "--missing-value", "--transpose") if flag not in said] == []


def test_a_column_with_a_comma_in_its_name_is_quoted(asked):
    assert asked("fit", "a.csv", "--targets", '"flow, hot",level').targets == ["flow, hot", "level"]


def test_a_file_may_validate(asked):
    given = asked(*FIT, "--validation", "b.csv")
    assert (given.validation, given.settings) == ("b.csv", DEFAULT)


def test_how_a_run_is_kept_and_limited(asked):
    given = asked(*FIT, "--out", "there", "--checkpoint-seconds", "5", "--time-limit", "7", "--resume")
    assert (given.checkpoint.folder, given.checkpoint.seconds) == (Path("there/checkpoints"), 5.0)
    assert given.callbacks == ["signals", "7.0 s at most"]
    assert given.resume


def test_checkpoints_of_another_run_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    assert main([*FIT, "--out", str(tmp_path)]) == 2
    assert "Resume it with --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["fit"], "file"),
        (["fit", "x.csv", "--targets", "y", "--restarts", "0"], "'0' is not a positive whole number"),
        (["fit", "x.csv", "--targets", "y", "--hidden", "-1"], "'-1' is not a whole number from 0"),
        (["fit", "x.csv", "--targets", "y", "--states", "2;3"], "numbers such as 2,3"),
        (["fit", "x.csv", "--targets", "y", "--delays", "1;2"], "whole numbers such as 1,2"),
        (["fit", "x.csv", "--targets", "y", "--learning-rate", "fast"], "positive number"),
        (["fit", "x.csv", "--targets", "y", "--horizons", "1,5,everything"], "numbers such as 1,5,20,all"),
        (["fit", "x.csv", "--targets", "y", "--trainer", "sgd"], "'lm', 'br', 'adam'"),
        (["maglev", "--stepz", "5"], "--stepz"),
    ],
    ids=lambda case: " ".join(case)[:40] if isinstance(case, list) else "",
)
def test_unknown_or_invalid_options_are_exit_code_two(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_the_version_is_one_line_and_asks_for_no_device(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # where argparse would break it
    monkeypatch.setattr(jax, "devices", None)
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"lddn_jax {lddn.__version__} (python {platform.python_version()}, jax {jax.__version__}, ")
    assert f"jaxlib {jaxlib.__version__}" in said
    assert said.count("\n") == 1
