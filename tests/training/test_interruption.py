"""Signals and kills: a signal ends a run after the current step, and a killed run resumes from its last checkpoint."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import killed_run
import numpy as np
import optax
import pytest
from killed_run import EVERY, TOPOLOGY
from signal_handlers import ordinary_handlers

import lddn_jax as lddn
from lddn_jax.training.interruption import Interruption

MSE = lddn.losses.MeanSquaredError()
SGD = lddn.Optax(optax.sgd(0.01))
RETURN = lddn.callbacks.ReturnOnSignal()


@pytest.fixture(autouse=True)
def _ordinary_handlers():
    with ordinary_handlers():
        yield


def run(callbacks, epochs=8, trainer=SGD, **more) -> lddn.Fitted:
    u = jax.random.normal(jax.random.key(0), (3, 6, 1))
    net = lddn.Network(TOPOLOGY, key=jax.random.key(1))
    return lddn.fit(net, lddn.Sequences(u, 2 * u), MSE, trainer, epochs=epochs, callbacks=callbacks, **more)


def at(epoch: int, *signals: signal.Signals):
    """A callback that sends signals to this process."""

    def send(state):
        if state.epoch == epoch:
            for number in signals:
                os.kill(os.getpid(), number)

    return send


class At:
    """A callback with one hook."""

    def __init__(self, hook, function):
        setattr(self, hook, function)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_signal_ends_the_step_in_hand(tmp_path, caplog, number):
    stop = lddn.callbacks.ReturnOnSignal()
    with caplog.at_level(logging.WARNING, "lddn_jax"):
        fitted = run([at(4, number), stop, lddn.callbacks.Checkpoint(tmp_path, every=100)])
    assert stop.received is number
    assert (fitted.stop_reason, len(fitted.history["loss"])) == ("interrupted", 4)
    assert not fitted.success
    assert f"interrupted by {number.name} after 4 epochs" in caplog.text
    assert (tmp_path / "epoch_000000004.npz").exists()
    with pytest.raises(lddn.LDDNError, match=r"resume=fitted"):
        fitted.raise_for_status()


@pytest.mark.parametrize(
    ("number", "error", "code"), [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)]
)
def test_then_the_signal_takes_its_usual_effect(tmp_path, number, error, code):
    """After the checkpoint, with the handlers of the program back in place."""
    ended = []
    with pytest.raises(error) as caught:
        run([at(4, number), lddn.callbacks.Checkpoint(tmp_path, every=100), At("on_end", ended.append)])
    assert getattr(caught.value, "code", None) == code
    assert lddn.load(tmp_path / "epoch_000000004.npz").stop_reason == "interrupted"
    assert [state.epoch for state in ended] == [4]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("hook", ["on_start", "on_end"])
def test_a_signal_before_or_after_the_steps_is_not_lost(hook):
    def send(state):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run([At(hook, send)], 2)
    fitted = run([At(hook, send), RETURN], 2)
    assert (fitted.stop_reason, fitted.stop_reason.cut_short) == ("interrupted", True)


def test_a_signal_after_the_goal_keeps_later_horizons_from_training():
    """The run has ended by itself, but the whole was to end."""
    u = jax.random.normal(jax.random.key(1), (40, 1))
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    data = lddn.Sequences({"u": u, "measured_y": u}, u)
    once = At("on_end", lambda state: os.kill(os.getpid(), signal.SIGINT))
    found = lddn.fit_closed_loop(net, data, lddn.Optax(optax.sgd(0.01)), (1, 2), epochs=1, callbacks=[once, RETURN])
    assert ([stage.horizon for stage in found.stages], found.stop_reason) == ([1], "interrupted")


def test_a_training_within_another_ends_first():
    """A callback that trains, for example on other data, does not hold up the signal."""
    inner, outer = [], []

    def within(state):
        try:
            run([at(2, signal.SIGINT), At("on_end", inner.append)], 5)
        finally:
            outer.append(state.epoch)

    with pytest.raises(KeyboardInterrupt):
        run([within], 5)
    assert [state.epoch for state in inner] == [2]
    assert outer == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_object_that_returned_once_trains_on_in_the_next_run():
    stop = lddn.callbacks.ReturnOnSignal()
    assert run([at(2, signal.SIGINT), stop], 4).stop_reason == "interrupted"
    assert run([stop], 4).stop_reason == "epochs"
    assert stop.received is None


def test_the_best_network_so_far_is_returned():
    """With a learning rate that is too large it is not the last one."""
    fitted = run([at(6, signal.SIGINT), RETURN], 50, lddn.Optax(optax.sgd(1.0)))
    assert fitted.best_epoch == np.argmin(fitted.history["loss"]) < 5
    u = jax.random.normal(jax.random.key(0), (3, 6, 1))
    value = float(lddn.value_and_grad(MSE, fitted.net, lddn.Sequences(u, 2 * u))[0])
    assert value == pytest.approx(fitted.history["loss"].min(), rel=1e-12)


def test_an_interrupted_run_resumes_as_if_uninterrupted(tmp_path):
    with pytest.raises(SystemExit):
        run([at(3, signal.SIGTERM), lddn.callbacks.Checkpoint(tmp_path)])
    again, whole = run([], resume=tmp_path), run([])
    assert again.stop_reason == "epochs"
    jax.tree.map(np.testing.assert_array_equal, again.net, whole.net)
    np.testing.assert_array_equal(again.history["loss"], whole.history["loss"])


@pytest.mark.parametrize(
    ("second", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["SIGINT", "SIGTERM"]
)
def test_the_second_signal_stops_at_once_and_loses_no_whole_step(tmp_path, second, error):
    with pytest.raises(error):
        run([at(5, signal.SIGINT, second), lddn.callbacks.Checkpoint(tmp_path, every=100)])
    assert len(lddn.load(tmp_path / "epoch_000000005.npz").history["loss"]) == 5


def test_a_long_step_is_not_waited_for_when_a_second_signal_comes():
    """The step here never ends, and no thread is left that waits for it, which would abort the exit of Python."""
    endless = SimpleNamespace(is_ready=lambda: False)
    threads = threading.active_count()

    def insist():
        for _ in range(2):
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)

    with Interruption() as interruption:
        threading.Thread(target=insist).start()
        with pytest.raises(KeyboardInterrupt):
            interruption.wait(endless)
    assert interruption.received == signal.SIGINT
    assert threading.active_count() <= threads + 1  # the one that insists


def test_handlers_are_put_back():
    run([], 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_handlers_of_others_are_left_alone():
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    fitted = run([at(2, signal.SIGTERM)], 4)
    assert (heard, fitted.stop_reason) == ([signal.SIGTERM], "epochs")


def test_handlers_that_a_callback_sets_stay():
    def theirs(number, frame):
        raise AssertionError("no signal is sent")

    def install(state):
        signal.signal(signal.SIGTERM, theirs)

    fitted = run([install], 2)
    assert fitted.stop_reason == "epochs"
    assert signal.getsignal(signal.SIGTERM) is theirs
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_that_is_ignored_stays_ignored(ignored):
    """As under nohup, or in a shell's background."""
    signal.signal(ignored, signal.SIG_IGN)
    assert run([at(2, ignored)], 4).stop_reason == "epochs"
    assert signal.getsignal(ignored) is signal.SIG_IGN


def test_handlers_are_put_back_after_an_error():
    def fail(state):
        raise RuntimeError("a callback's")

    with pytest.raises(RuntimeError, match="a callback's"):
        run([fail], 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_training_in_another_thread_sets_no_handlers():
    found, handlers = [], []

    def note(state):
        handlers.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])

    thread = threading.Thread(target=lambda: found.append(run([note], 2)))
    thread.start()
    thread.join()
    assert found[0].stop_reason == "epochs"
    assert handlers == [[signal.default_int_handler, signal.SIG_DFL]] * 2


def test_what_was_to_follow_is_left_out():
    u = jax.random.normal(jax.random.key(1), (40, 1))
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    data = lddn.Sequences({"u": u, "measured_y": u}, u)
    stops = [at(2, signal.SIGINT), RETURN]
    found = lddn.fit_closed_loop(net, data, SGD, (1, 2, None), epochs=3, callbacks=stops)
    assert ([stage.horizon for stage in found.stages], found.stop_reason) == ([1], "interrupted")
    assert "interrupted" in str(found)


LONG_STEP = """
import jax, optax, lddn_jax as lddn
u = jax.numpy.ones((1, 2_000_000, 1))
net = lddn.Network(lddn.models.elman({"u": 1}, {"y": 1}, hidden=8), key=jax.random.key(0))
print("ready", flush=True)
lddn.fit(net, lddn.Sequences(u, u), lddn.losses.MeanSquaredError(), lddn.Optax(optax.sgd(0.1)), epochs=99,
         callbacks=[lambda state: print(state.epoch, flush=True)])
"""


@pytest.mark.deep
def test_a_second_signal_in_a_long_step_does_not_abort_the_process():
    """Before Python 3.14 a thread that waits in XLA while the interpreter exits does: exit code -6."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", LONG_STEP], env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        assert [child.stdout.readline() for _ in range(2)] == ["ready\n", "1\n"]
        for _ in range(2):
            time.sleep(0.1)
            child.send_signal(signal.SIGINT)
        child.stdout.read()
    assert child.returncode == -signal.SIGINT


CHILD = [sys.executable, str(killed_run.__file__)]


def start(folder: Path, epochs: int) -> subprocess.Popen:
    root = Path(__file__).parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    # A cache of compiled programs of their own, for the sake of time: a kill may leave half of an entry.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [*CHILD, str(folder), str(epochs)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.deep
def test_kills_at_random_moments_cost_no_more_than_the_interval(tmp_path, request):
    """Killed repeatedly and resumed from its last checkpoint, a run gives the result of an uninterrupted one."""
    kills, draw = request.config.getoption("--kills"), np.random.default_rng(0)
    folder, epochs = tmp_path / "killed", 100 * kills
    folder.mkdir()
    reached: list[int] = []
    lost: list[int] = []
    for _ in range(kills):
        with start(folder, epochs) as child:
            first = int(child.stdout.readline())
            time.sleep(draw.uniform(0, 0.2))
            child.kill()
            reported = [first, *map(int, child.stdout.read().split())]
        if (folder / "result.npz").exists():
            break
        # It began where the last checkpoint was, and what came after that is lost.
        saved = sorted((folder / "checkpoints").glob("epoch_*.npz"))
        at = int(saved[-1].stem.split("_")[1]) if saved else 0
        assert len(lddn.load(saved[-1]).history["loss"]) == at if saved else True
        assert not reached or first == reached[-1] + 1
        reached.append(at)
        lost.append(reported[-1] - at)
    assert len(reached) == kills
    assert max(lost) <= EVERY
    assert reached == sorted(reached)
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    for each in (folder, undisturbed):
        with start(each, epochs) as child:
            child.stdout.read()
        assert child.returncode == 0
    one, other = (lddn.load(each / "result.npz") for each in (folder, undisturbed))
    jax.tree.map(np.testing.assert_array_equal, one.net, other.net)
    jax.tree.map(np.testing.assert_array_equal, one.state, other.state)
    np.testing.assert_array_equal(one.history["loss"], other.history["loss"])
    np.testing.assert_array_equal(one.history["gradient_norm"], other.history["gradient_norm"])
