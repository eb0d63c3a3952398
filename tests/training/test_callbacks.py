"""What happens while a network trains, and what callbacks may ask for."""

import csv
import json
import logging
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax import callbacks as cb

TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("hidden", 3), lddn.Layer("y", 1, "linear")],
    [lddn.Connection("u", "hidden"), lddn.Connection("y", "hidden", (1,)), lddn.Connection("hidden", "y")],
    ["y"],
)
MSE = lddn.losses.MeanSquaredError()
ADAM = lddn.Optax(optax.adam(0.01))
LM = lddn.LevenbergMarquardt(restarts=2)


def record(seed: int = 0) -> lddn.Sequences:
    u = jax.random.normal(jax.random.key(seed), (4, 8, 1))
    return lddn.Sequences(u, jnp.tanh(jnp.cumsum(u, axis=1)))


def run(callbacks, trainer=ADAM, epochs=6, **more) -> lddn.Fitted:
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))
    return lddn.fit(net, record(), MSE, trainer, epochs=epochs, callbacks=callbacks, **more)


class Listener:
    """Keeps what it was told."""

    def __init__(self):
        self.told: list[tuple[str, int]] = []

    def on_start(self, state):
        self.told.append(("start", state.epoch))

    def on_step(self, state):
        self.told.append(("step", state.epoch))

    def on_end(self, state):
        self.told.append(("end", state.epoch))


def test_hooks_are_called_in_order():
    listener = Listener()
    run([listener], epochs=3)
    assert listener.told == [("start", 0), ("step", 1), ("step", 2), ("step", 3), ("end", 3)]


def test_a_function_is_told_of_every_step():
    """Of the state it reads the numbers of the last step, the networks and the history."""
    seen = []
    fitted = run([lambda state: seen.append((state.epoch, state.last["loss"], len(state.history["loss"])))], epochs=3)
    assert seen == [(k + 1, fitted.history["loss"][k], k + 1) for k in range(3)]


@pytest.mark.parametrize("trainer", [ADAM, LM], ids=["one", "restarts"])
def test_the_state_has_the_networks(trainer):
    """The best one so far has the smallest loss so far; the current one is as good as the next row says."""
    states = []
    fitted = run([lambda state: states.append(state) and None], trainer, epochs=4)
    smallest = np.fmin.accumulate(np.reshape(fitted.history["loss"], (4, -1)).min(axis=1))
    for state, value in zip(states, smallest, strict=True):
        assert state.best_value == value
        found = float(lddn.value_and_grad(MSE, state.best_net, record())[0])
        assert found == pytest.approx(value, rel=1e-12)
        assert isinstance(state.net, lddn.Network)
        assert state.net.IW["hidden", "u"].ndim == 3


@pytest.mark.parametrize(
    ("answer", "reason", "epochs"), [(True, "callback", 1), (None, "epochs", 3), (False, "epochs", 3)]
)
def test_true_ends_training(answer, reason, epochs):
    fitted = run([lambda state: answer, Listener()], epochs=3)
    assert (fitted.stop_reason, len(fitted.history["loss"])) == (reason, epochs)
    assert fitted.success


def test_a_callback_may_give_a_reason():
    class Impatient:
        stop_reason = lddn.StopReason.CONVERGED

        def on_step(self, state):
            return state.epoch == 2

    assert run([Impatient()]).stop_reason == "converged"


def test_the_end_is_told_where_an_error_ends_training():
    listener = Listener()

    def broken(state):
        if state.epoch == 2:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run([listener, broken])
    assert listener.told[-1] == ("end", 2)


def test_the_run_is_the_same_with_callbacks(tmp_path):
    everything = [
        cb.Checkpoint(tmp_path / "checkpoints", every=1),
        cb.CSVLog(tmp_path / "log.csv"),
        cb.JSONLinesLog(tmp_path / "log.jsonl"),
        cb.TimeLimit(1000),
        cb.EarlyStopping("loss", patience=100),
        cb.StopOnDivergence(),
    ]
    watched, alone = run(everything), run([])
    jax.tree.map(np.testing.assert_array_equal, watched.net, alone.net)
    np.testing.assert_array_equal(watched.history["loss"], alone.history["loss"])


@pytest.mark.parametrize("trainer", [ADAM, LM], ids=["one", "restarts"])
def test_logs_are_the_history(tmp_path, trainer):
    fitted = run([cb.CSVLog(tmp_path / "log.csv"), cb.JSONLinesLog(tmp_path / "log.jsonl")], trainer)
    fitted.history.to_csv(tmp_path / "history.csv")
    assert (tmp_path / "log.csv").read_text() == (tmp_path / "history.csv").read_text()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(6))
    for name in fitted.history:
        np.testing.assert_array_equal([line[name] for line in lines], fitted.history[name])


def test_logs_are_complete_while_training_continues(tmp_path, monkeypatch):
    """Where a second passes between two steps."""
    monkeypatch.setattr("lddn_jax.training.callbacks.logs.WRITE_SECONDS", 0.0)
    counts = []

    def count(state):
        with (tmp_path / "log.csv").open() as file:
            counts.append(len(list(csv.DictReader(file))))

    run([cb.CSVLog(tmp_path / "log.csv"), count], epochs=3)
    assert counts == [1, 2, 3]


def test_logs_of_a_resumed_run_begin_at_its_beginning(tmp_path):
    half = run([], epochs=3)
    whole = run([cb.CSVLog(tmp_path / "log.csv")], epochs=6, resume=half)
    table = lddn.data.read_csv(tmp_path / "log.csv")
    np.testing.assert_array_equal(table["loss"], whole.history["loss"])


def test_what_is_not_finite_is_null_in_json(tmp_path):
    trainer = lddn.Optax(optax.sgd(1e300))
    run([cb.JSONLinesLog(tmp_path / "log.jsonl")], trainer, validation=record(1))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["validation_loss"] is None


@pytest.mark.usefixtures("unchecked")
def test_a_log_that_cannot_be_written_is_an_error_before_training(tmp_path):
    listener = Listener()
    with pytest.raises(lddn.LDDNError, match="Make the folder first"):
        run([cb.CSVLog(tmp_path / "absent" / "log.csv"), listener])
    assert listener.told == []


def test_checkpoints_are_kept_as_asked(tmp_path):
    run([cb.Checkpoint(tmp_path, every=2, seconds=None, keep=2)], epochs=7)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.npz",
        "epoch_000000006.npz",
        "epoch_000000007.npz",
    ]


def test_checkpoints_by_time(tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("lddn_jax.training.callbacks.periodic_checkpoint.time.monotonic", lambda: next(clock))
    saved = []
    run([cb.Checkpoint(tmp_path, seconds=10, keep=100), lambda state: saved.append(len(list(tmp_path.glob("epoch*"))))])
    assert saved == sorted(saved)
    assert 0 < saved[-1] < 6


def test_the_best_checkpoint_is_the_best_network(tmp_path):
    fitted = run([cb.Checkpoint(tmp_path, every=1)], lddn.Optax(optax.sgd(0.9)), 12, validation=record(1), max_fail=50)
    best = lddn.load(tmp_path / "best.npz")
    jax.tree.map(np.testing.assert_array_equal, best.net, fitted.net)
    assert best.best_epoch == fitted.best_epoch < 12


def test_a_best_checkpoint_that_a_kill_forestalled_is_made_up_for(tmp_path):
    run([cb.Checkpoint(tmp_path, every=1)], epochs=3)
    (tmp_path / "best.npz").unlink()
    fitted = run([cb.Checkpoint(tmp_path, every=1)], epochs=4, resume=tmp_path)
    assert lddn.load(tmp_path / "best.npz").best_epoch == np.argmin(fitted.history["loss"])


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    run([cb.Checkpoint(tmp_path, every=1)])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(lddn.CheckpointError, match="was past epoch 0"):
        run([cb.Checkpoint(tmp_path, every=1)])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / ".epoch_000000002.npz.abc").write_text("half")
    (tmp_path / ".best.npz.abc").write_text("half")
    run([cb.Checkpoint(tmp_path, every=1, keep=1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.npz", "epoch_000000006.npz"]


def test_a_full_disk_does_not_end_training(tmp_path, monkeypatch, caplog):
    def full(path, content):
        raise lddn.LDDNError(f"{path} could not be written: No space left on device.")

    monkeypatch.setattr("lddn_jax.training.callbacks.periodic_checkpoint.write_atomically", full)
    with caplog.at_level(logging.ERROR, "lddn_jax"):
        fitted = run([cb.Checkpoint(tmp_path, every=3)])
    assert fitted.stop_reason == "epochs"
    assert "No space left on device" in caplog.text


def test_time_is_up():
    fitted = run([cb.TimeLimit(1e-9)], epochs=50)
    assert (fitted.stop_reason, len(fitted.history["loss"])) == ("time", 1)
    assert fitted.success


def test_each_run_has_the_whole_time():
    """The clock starts anew with each fit: a limit that was used before does not end the next run at once."""
    limit = cb.TimeLimit(100.0)
    run([limit], epochs=2)
    limit._end -= 200.0  # as if the first run had used all its time
    assert run([limit], epochs=3).stop_reason == "epochs"


def test_horizons_share_the_time():
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (40, 1))
    data = lddn.Sequences({"u": u, "measured_y": jnp.tanh(u)}, jnp.tanh(u))
    limit = cb.TimeLimit(1e-9)
    found = lddn.fit_closed_loop(net, data, ADAM, (1, 2, None), epochs=3, callbacks=[limit])
    assert [stage.horizon for stage in found.stages] == [1]
    assert found.stop_reason == "time"


def test_patience_ends():
    """A learning rate of zero improves nothing after the first epoch."""
    fitted = run([cb.EarlyStopping("loss", patience=3)], lddn.Optax(optax.sgd(0.0)), 50)
    assert (fitted.stop_reason, len(fitted.history["loss"])) == ("no_progress", 4)


def test_patience_counts_what_was_before():
    still = lddn.Optax(optax.sgd(0.0))
    half = run([], still, 3)
    fitted = run([cb.EarlyStopping("loss", patience=4)], still, 50, resume=half)
    assert len(fitted.history["loss"]) == 5


def test_patience_with_min_delta():
    slow = lddn.Optax(optax.sgd(1e-9))
    assert len(run([cb.EarlyStopping("loss", patience=2, min_delta=1e-3)], slow, 50).history["loss"]) == 3


def test_a_loss_that_grows_is_stopped_before_it_is_infinite():
    fitted = run([cb.StopOnDivergence(10)], lddn.Optax(optax.sgd(5.0)), 50)
    losses = fitted.history["loss"]
    assert fitted.stop_reason == "diverged"
    assert losses[-1] > 10 * losses.min()
    assert fitted.best_epoch == np.argmin(losses)
    with pytest.raises(lddn.NumericalError, match="smaller learning rate"):
        fitted.raise_for_status()


class Screen:
    """A standard error that may be a terminal."""

    def __init__(self, terminal: bool):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
@pytest.mark.parametrize("tqdm", [True, False], ids=["tqdm", "text"])
def test_progress_is_shown(monkeypatch, terminal, tqdm):
    screen = Screen(terminal)
    monkeypatch.setattr("sys.stderr", screen)
    if not tqdm:
        monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    run([], lddn.LevenbergMarquardt(), 3, progress=True)
    for word in ("3/3", "loss", "|g|", "mu"):
        assert word in screen.text
    assert screen.text.endswith("\n")


@pytest.mark.parametrize("progress", [False, None])
def test_progress_is_silent(monkeypatch, progress):
    """When asked, and where no terminal is there to show it on."""
    screen = Screen(False)
    monkeypatch.setattr("sys.stderr", screen)
    run([], progress=progress)
    assert screen.text == ""


def test_progress_shows_a_learning_rate(monkeypatch):
    screen = Screen(False)
    monkeypatch.setattr("sys.stderr", screen)
    run([], lddn.Optax(optax.inject_hyperparams(optax.sgd)(learning_rate=0.25)), 2, progress=True)
    assert "rate 0.25" in screen.text


def test_progress_comes_late_where_nobody_asked(monkeypatch):
    screen = Screen(True)
    monkeypatch.setattr("sys.stderr", screen)
    run([lambda state: time.sleep(0.01) and None], epochs=2)
    assert screen.text == ""


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (cb.TimeLimit, "TimeLimit"),
        (3, "callbacks\\[0\\]=3"),
        (type("Typo", (), {"on_epoch": lambda self, state: None})(), "on_epoch, which is never called"),
    ],
    ids=["class", "number", "misspelt"],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_callback_is_refused(callback, words):
    with pytest.raises(lddn.LDDNError, match=words):
        run([callback])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: cb.TimeLimit(0), "seconds=0"),
        (lambda: cb.Checkpoint("x", every=0), "every=0"),
        (lambda: cb.Checkpoint("x", seconds=-1), "seconds=-1"),
        (lambda: cb.Checkpoint("x", seconds=None), "every=EPOCHS"),
        (lambda: cb.Checkpoint("x", keep=0), "keep=0"),
        (lambda: cb.EarlyStopping(patience=0), "patience=0"),
        (lambda: cb.EarlyStopping(min_delta=-1.0), "min_delta=-1.0"),
        (lambda: cb.StopOnDivergence(1.0), "factor=1.0"),
        (lambda: run([cb.EarlyStopping("los")]), "'los' is not recorded; monitor one of"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_numbers_that_make_no_sense_are_refused(make, words):
    with pytest.raises(lddn.LDDNError, match=words):
        make()


class FailsAtTheEnd:
    def __init__(self, words):
        self.words = words

    def on_end(self, state):
        raise RuntimeError(self.words)


def test_a_hook_that_fails_at_the_end_keeps_none_from_being_called(tmp_path):
    """The last checkpoint is written by a hook, too."""
    checkpoint = cb.Checkpoint(tmp_path / "run", every=1000)
    with pytest.raises(RuntimeError, match="first") as caught:
        run([FailsAtTheEnd("first"), checkpoint, FailsAtTheEnd("second")], epochs=2)
    assert checkpoint.saved is not None
    assert any("second" in note for note in caught.value.__notes__)
