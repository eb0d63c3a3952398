"""A command that is killed between any two of its outputs has lost nothing: its results are there, or it resumes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import killed_command
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.storage import folder_lock

FIT = [
    *("--inputs", "u", "--targets", "y", "--trainer", "br", "--bayesian-epochs", "3", "--hidden", "2"),
    *("--restarts", "2", "--epochs", "3", "--horizons", "1,5", "--checkpoint-seconds", "0.001"),
]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    u, y = np.random.default_rng(0).normal(size=200), np.zeros(200)
    for t in range(1, 200):
        y[t] = 0.7 * y[t - 1] + 0.5 * np.tanh(u[t - 1])
    path = tmp_path_factory.mktemp("record") / "record.csv"
    lddn.data.Table({"u": u, "y": y}).to_csv(path)
    return path


@pytest.fixture(scope="module")
def command(record):
    """Runs `fit` in a process of its own, killed before an operation on files, or "count"."""

    def run(out: Path, at: int | str, *more: str) -> subprocess.CompletedProcess:
        words = [sys.executable, killed_command.__file__, out, at, "fit", record, *FIT, "--out", out, *more]
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, env=os.environ, check=False)

    return run


@pytest.fixture(scope="module")
def trained(command, tmp_path_factory):
    """The folder of a run that was killed when it had been trained and nothing of it was written."""
    out = tmp_path_factory.mktemp("trained") / "out"
    assert command(out, 0).returncode == -signal.SIGKILL
    assert {path.name for path in out.iterdir()} - {folder_lock.LOCK_FILE} == {"checkpoints"}
    return out


@pytest.mark.deep
def test_a_kill_between_any_two_outputs_loses_nothing(command, trained, tmp_path, request):
    whole = tmp_path / "whole"
    shutil.copytree(trained, whole)
    ended = command(whole, "count", "--resume")
    assert ended.returncode == 0, ended.stderr
    operations, kills = int(ended.stdout.split()[-1]), request.config.getoption("--kills")
    expected = json.loads((whole / "results.json").read_text())["test"]
    for at in sorted({int(k) for k in np.linspace(0, operations - 1, kills)}):
        out = tmp_path / f"killed_{at}"
        shutil.copytree(trained, out)
        assert command(out, at, "--resume").returncode == -signal.SIGKILL
        if (out / "results.json").exists():
            assert json.loads((out / "results.json").read_text())["test"] == expected
            lddn.load(out / "network.npz")
        if not (out / "results.json").exists() or (out / "checkpoints").exists():
            again = command(out, "count", "--resume")
            assert again.returncode == 0, (at, again.stderr)
            assert json.loads((out / "results.json").read_text())["test"] == expected
        assert not (out / "checkpoints").exists()
        assert not [path.name for path in out.iterdir() if path.name.startswith("checkpoints")]
