"""Trainings side by side: results in order, failures and signals end all of them, numbers as one after the other."""

import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.training import side_by_side as module
from lddn_jax.training.side_by_side import at_once, side_by_side

TOPOLOGY = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")], [lddn.Connection("u", to="y")], ["y"])
DATA = lddn.Sequences(jnp.linspace(-1.0, 1.0, 5)[:, None], jnp.linspace(-2.0, 3.0, 5)[:, None])
SGD = lddn.Optax(optax.sgd(1e-4))
FOREVER = 10**7  # steps


@pytest.fixture(autouse=True)
def _two_workers(monkeypatch):
    monkeypatch.setattr(module, "at_once", lambda callbacks: at_once(callbacks) and 2)


def training(number, epochs=FOREVER, started=None):
    """A task that trains, and tells by an event that it does."""

    def task(callbacks):
        net = lddn.Network(TOPOLOGY, init="uniform", key=jax.random.key(number))
        watch = [] if started is None else [lambda state: started.set()]
        return lddn.fit(
            net,
            DATA,
            lddn.losses.MeanSquaredError(),
            SGD,
            epochs=epochs,
            callbacks=[*callbacks, *watch],
            progress=False,
        )

    return task


def test_results_are_in_the_order_of_the_tasks():
    def task(number):
        def run(callbacks):
            time.sleep(0.05 * (3 - number))  # the last ends first
            return number

        return run

    assert side_by_side([task(number) for number in range(4)], ()) == [0, 1, 2, 3]


def test_two_run_at_once():
    meeting = threading.Barrier(2, timeout=20)
    assert sorted(side_by_side([lambda callbacks: meeting.wait()] * 2, ())) == [0, 1]


def test_results_are_those_of_one_after_the_other(monkeypatch):
    tasks = [training(number, 7) for number in range(3)]
    parallel = side_by_side(tasks, ())
    monkeypatch.setattr(module, "at_once", lambda callbacks: 1)
    for one, other in zip(parallel, side_by_side(tasks, ()), strict=True):
        assert np.array_equal(one.net.ravel()[0], other.net.ravel()[0])
        assert one.stop_reason == other.stop_reason


def test_a_failure_ends_the_others_and_is_raised():
    started = threading.Event()

    def fails(callbacks):
        assert started.wait(60)
        raise ZeroDivisionError("of the second task")

    with pytest.raises(ZeroDivisionError, match="of the second task"):
        side_by_side([training(0, started=started), fails], ())


def interrupting(number, started):
    """Sends a signal to the process once a training runs."""

    def send():
        if started.wait(60):
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


EFFECTS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}


@pytest.mark.parametrize("number", EFFECTS, ids=lambda number: number.name)
def test_a_signal_ends_all_and_takes_effect(number):
    started = threading.Event()
    thread = interrupting(number, started)
    with pytest.raises(EFFECTS[number]):
        side_by_side([training(0, started=started), training(1)], ())
    thread.join()


def test_a_signal_returns_results_if_a_callback_lets_it():
    started, returning = threading.Event(), lddn.callbacks.ReturnOnSignal()
    thread = interrupting(signal.SIGINT, started)
    found = side_by_side([training(0, started=started), training(1), training(2)], (returning,))
    thread.join()
    assert [fitted.stop_reason for fitted in found] == [lddn.StopReason.INTERRUPTED] * 3
    assert returning.received == signal.SIGINT


def test_the_handlers_of_signals_are_as_before():
    before = [signal.getsignal(number) for number in EFFECTS]
    side_by_side([lambda callbacks: None] * 2, ())
    assert [signal.getsignal(number) for number in EFFECTS] == before


def test_a_time_limit_holds_for_all():
    found = side_by_side([training(0), training(1)], (lddn.callbacks.TimeLimit(0.3),))
    assert {fitted.stop_reason for fitted in found} == {lddn.StopReason.TIME}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_compute_in_the_precision_of_the_caller(dtype):
    with jax.enable_x64(dtype == "float64"):
        found = side_by_side([lambda callbacks: jnp.ones(2).dtype] * 2, ())
    assert found == [np.dtype(dtype)] * 2


def test_callbacks_of_the_user_are_called_in_one_thread(monkeypatch):
    monkeypatch.undo()
    assert at_once([lambda state: None]) == 1
    seen = set()
    tasks = [lambda callbacks: seen.add((threading.current_thread(), len(callbacks)))] * 3
    side_by_side(tasks, [lambda state: None])
    assert seen == {(threading.main_thread(), 1)}


def test_tasks_of_tasks_run_one_after_the_other():
    def outer(callbacks):
        return at_once(callbacks[:0])

    assert side_by_side([outer] * 2, ()) == [1, 1]
