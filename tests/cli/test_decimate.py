"""`--decimate`: a record that is sampled far too fast is noticed, trained decimated, and predicted decimated."""

import json

import numpy as np
import pytest
from scipy import signal

import lddn_jax as lddn
from lddn_jax.__main__ import main

FIT = ["--inputs", "u", "--targets", "y", "--hidden", "1", "--epochs", "2", "--restarts", "1", "--horizons", "1"]


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """A slow system, sampled every 0.001."""
    u = signal.sosfilt(signal.butter(4, 0.008, output="sos"), np.random.default_rng(0).normal(size=6000))
    path = tmp_path_factory.mktemp("record") / "fast.csv"
    y = signal.lfilter([0.02], [1, -0.98], u)
    lddn.data.Table({"time": np.round(0.001 * np.arange(6000), 3), "u": u, "y": y}).to_csv(path)
    return path


def test_what_is_noticed_is_mended(fast, tmp_path, capsys):
    out = ["--out", str(tmp_path), "--no-report", "--decimate", "10"]
    assert main(["fit", str(fast), *FIT, *out]) == 0
    said = capsys.readouterr().out
    assert "decimated by 10, to one sample every 0.01" in said
    assert "sampled far too fast" not in said
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["decimate"], results["test"]["samples"]) == (10, 88)  # of 600; two fill the delays
    assert main(["predict", str(fast), "--model", str(tmp_path / "network.npz"), *out[:2], "--decimate", "10"]) == 0
    assert "598 steps" in capsys.readouterr().out


def test_inputs_of_another_file_are_decimated_alike(fast, tmp_path, capsys):
    assert main(["fit", str(fast), *FIT, "--out", str(tmp_path), "--no-report", "--decimate", "10"]) == 0
    given = lddn.data.read_csv(fast)
    known = tmp_path / "known.csv"
    lddn.data.Table({name: given[name][:5000] for name in ("time", "y")}).to_csv(known)
    model = ["--model", str(tmp_path / "network.npz"), "--out", str(tmp_path)]
    assert main(["predict", str(known), "--inputs-from", str(fast), *model, "--decimate", "10"]) == 0
    assert "forecast of 100 steps" in capsys.readouterr().out


def test_identify_notices_it(fast):
    said = []
    settings = lddn.Settings(hidden=1, epochs=1, restarts=1, horizons=(1,))
    found = lddn.identify(str(fast), ["u"], ["y"], settings, say=said.append)
    words = "sampled far too fast: 99 % of the movement of y lies below"
    assert sum(words in text for text in said) == 1
    assert any(words in warning for warning in lddn.report(found).warnings)
