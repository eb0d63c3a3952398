"""Trainings that do not depend on each other, side by side on the cores of a machine.

XLA runs a small recurrent network on one core, and compiles a program on one. Python's threads wait for both without
holding the interpreter, so several trainings use several cores. Numbers do not depend on how many run at once.

Signals reach the main thread only. It waits here, ends all trainings after their current step when the first signal
arrives, and then lets the signal take its effect as `fit` does.
"""

import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from lddn_jax.numerics.platform import Platform
from lddn_jax.training.callbacks.protocol import Hooks
from lddn_jax.training.callbacks.signal_return import ReturnOnSignal
from lddn_jax.training.callbacks.time_limit import TimeLimit
from lddn_jax.training.interruption import Interruption, take_effect
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.training_state import TrainingState

MOST_AT_ONCE = 4  # trainings; more would share the cache and the threads of matrix products
POLLING_SECONDS = 0.1  # after which a signal is noticed
Result = TypeVar("Result")
_SAFE = (TimeLimit, ReturnOnSignal)  # callbacks that several threads may call


class _EndOfAll:
    """A callback that ends a training as soon as one of them failed or a signal arrived."""

    stop_reason = StopReason.INTERRUPTED

    def __init__(self):
        self.asked = threading.Event()

    def on_step(self, state: TrainingState) -> bool:
        """Whether to end the training."""
        return self.asked.is_set()


def at_once(callbacks: Sequence[Any]) -> int:
    """Returns the number of trainings to run at once: one in a thread, with callbacks of the user, and on a GPU."""
    alone = threading.current_thread() is not threading.main_thread()
    if alone or Platform.of().name != "cpu" or not all(isinstance(callback, _SAFE) for callback in callbacks):
        return 1
    return min(MOST_AT_ONCE, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def equal_groups(count: int) -> int:
    """Returns the number of equal groups of networks to train side by side; on a GPU they are one batch.

    It does not depend on the number of cores, by which rounding and the folders of checkpoints would differ.
    """
    most = MOST_AT_ONCE if Platform.of().name == "cpu" else 1
    return max(k for k in range(1, most + 1) if count % k == 0)


def side_by_side(tasks: Sequence[Callable[[tuple[Any, ...]], Result]], callbacks: Sequence[Any]) -> list[Result]:
    """Calls all tasks, several at once, and returns their results in order.

    Args:
        tasks: Functions that train with the callbacks that they are given.
        callbacks: As in `lddn_jax.fit`.

    Raises:
        KeyboardInterrupt: After Ctrl-C, unless a callback lets the training return; SystemExit likewise.
    """
    workers = min(at_once(callbacks), len(tasks))
    if workers == 1:
        return [task(tuple(callbacks)) for task in tasks]
    end, dtype = _EndOfAll(), jax.numpy.result_type(float)

    def called(task):
        same = jax.numpy.result_type(float) == dtype  # a scope of the caller does not reach other threads
        with contextlib.nullcontext() if same else jax.enable_x64(dtype == np.float64):
            return task((*callbacks, end))

    with Interruption() as interruption, concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting = set(futures := [pool.submit(called, task) for task in tasks])
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, POLLING_SECONDS, concurrent.futures.FIRST_EXCEPTION)
                if interruption.received is not None or any(future.exception() for future in done):
                    end.asked.set()
        finally:  # also after a second signal
            end.asked.set()
    found = [future.result() for future in futures]
    if interruption.received is not None and not Hooks.of(list(callbacks)).on_signal(interruption.received):
        take_effect(interruption.received)
    return found
