"""A folder is used by one process at a time, and a killed one locks nothing."""

import os
import subprocess
import sys
import threading

import jax.numpy as jnp
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.__main__ import main
from lddn_jax.storage.folder_lock import LOCK_FILE, FolderLock

fcntl = pytest.importorskip("fcntl")  # of POSIX systems

HOLDER = """
import fcntl, os, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(str(os.getpid()))
file.flush()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / LOCK_FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def lock(folder):
    return FolderLock(folder, "choose another")


def train(folder, *others, epochs=2, resume=None):
    topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")], [lddn.Connection("u", "y")], ["y"])
    u = jnp.ones((5, 1))
    run = lddn.Network(topology, init="zeros"), lddn.Sequences(u, u), lddn.losses.MeanSquaredError()
    callbacks = [lddn.callbacks.Checkpoint(folder), *others]
    return lddn.fit(*run, lddn.Optax(optax.sgd(0.1)), epochs=epochs, callbacks=callbacks, resume=resume)


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path, holder):
    with pytest.raises(lddn.LDDNError, match=rf"in use by process {holder.pid}\. Wait.*choose another"):
        lock(tmp_path).acquire()


def test_a_killed_process_locks_nothing(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with lock(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == str(os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_a_second_lock_of_one_process_is_refused(tmp_path):
    with lock(tmp_path), pytest.raises(lddn.LDDNError, match=r"this process.*another training"):
        lock(tmp_path).acquire()
    with lock(tmp_path):
        pass


def test_a_file_that_its_holder_removes_is_not_locked_in_vain(tmp_path, monkeypatch):
    """Between opening and locking the file, the previous holder removes it: a lock on it would exclude nobody."""
    opened, calls = os.open, []

    def open_and_lose(path, *rest):
        calls.append(path)
        found = opened(path, *rest)
        if len(calls) == 1:
            os.unlink(path)
        return found

    monkeypatch.setattr("lddn_jax.storage.folder_lock.os.open", open_and_lose)
    with lock(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / LOCK_FILE).exists()


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("lddn_jax.storage.folder_lock.fcntl.flock", refuse)
    with lock(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()
    assert "No locks available" in caplog.text


def test_a_lock_ends_with_its_object(tmp_path):
    """As after an error of another callback at the start."""
    lock(tmp_path).acquire()
    with lock(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()


def test_two_trainings_do_not_share_a_folder_of_checkpoints(tmp_path):
    seen = []

    def second(state):
        if state.epoch == 1:
            with pytest.raises(lddn.LDDNError, match=r"in use by this process.*Checkpoint\('runs/second'\)"):
                train(tmp_path)
            seen.append(state.epoch)

    train(tmp_path, second)
    assert seen == [1]
    assert LOCK_FILE not in {path.name for path in tmp_path.iterdir()}
    assert lddn.load(tmp_path / "epoch_000000002.npz").stop_reason == "epochs"


def test_a_training_in_a_folder_of_another_process_is_refused(tmp_path, holder):
    with pytest.raises(lddn.LDDNError, match=f"process {holder.pid}"):
        train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


@pytest.mark.parametrize("hook", ["on_start", "on_step", "on_end"])
def test_a_failed_training_unlocks_the_folder(tmp_path, hook):
    class Failing:
        pass

    def fail(state):
        raise RuntimeError("a callback's")

    setattr(Failing, hook, staticmethod(fail))
    with pytest.raises(RuntimeError, match="a callback's"):
        train(tmp_path, Failing())
    train(tmp_path, epochs=3, resume=lddn.callbacks.Checkpoint(tmp_path).saved)


def test_of_many_at_once_one_gets_the_folder(tmp_path):
    """Threads here, whose locks exclude each other as those of processes do."""
    barrier, got, refused = threading.Barrier(8), [], []

    def compete():
        mine = lock(tmp_path)
        barrier.wait()
        try:
            mine.acquire()
            got.append(mine)
        except lddn.LDDNError as error:
            refused.append(error)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)


@pytest.mark.parametrize(
    "line",
    [
        "fit {csv} --targets y --out {out}",
        "maglev --out {out}",
        "compare {csv} --targets y --out {out}",
    ],
    ids=lambda line: line.split()[0],
)
def test_a_command_is_refused_before_it_computes(line, tmp_path, holder, capsys):
    out = tmp_path
    assert main(line.format(csv=tmp_path / "record.csv", out=out).split()) == 2
    assert (
        f"in use by process {holder.pid}. Wait until it has ended, or choose another --out" in capsys.readouterr().err
    )
    assert [path.name for path in out.iterdir()] == [LOCK_FILE]
