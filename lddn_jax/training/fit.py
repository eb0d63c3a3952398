"""`fit`: the training loop for all trainers."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, PRNGKeyArray

from lddn_jax.checks import check_key, check_positive, expect, is_number
from lddn_jax.errors import LDDNError, ShapeError, fix, shown
from lddn_jax.gradients.method import AbstractGradient, check_method
from lddn_jax.losses import AbstractLoss
from lddn_jax.network.network import Network, check_network, stack_axes
from lddn_jax.network.signals import SequencesLike, StateLike, check_not_traced
from lddn_jax.numerics.memory import check_memory
from lddn_jax.simulation.delays import DelayState
from lddn_jax.topology.trained_weights import trained_places
from lddn_jax.training.callbacks.protocol import Hooks
from lddn_jax.training.checkpoint import opened, resumed
from lddn_jax.training.compiled import Course, rows_of
from lddn_jax.training.data_notes import data_notes, loss_of_mean
from lddn_jax.training.fingerprint import Identity
from lddn_jax.training.history import Row
from lddn_jax.training.interruption import Interruption, take_effect
from lddn_jax.training.result import Fitted, best_of_each
from lddn_jax.training.shared_states import check_shared
from lddn_jax.training.state_parameters import first_states
from lddn_jax.training.stop_reason import Flag, StopReason
from lddn_jax.training.trainer import AbstractTrainer, Problem
from lddn_jax.training.training_state import TrainingState

_logger = logging.getLogger("lddn_jax")


def fit(
    net: Network,
    data: SequencesLike,
    loss: AbstractLoss,
    trainer: AbstractTrainer,
    *,
    gradient: AbstractGradient | None = None,
    epochs: int | None = None,
    validation: SequencesLike | None = None,
    max_fail: int = 6,
    goal: float | None = None,
    key: PRNGKeyArray | None = None,
    callbacks: Sequence[Any] = (),
    resume: "str | Path | Fitted | TrainingState | None" = None,
    nan_guard: bool = True,
    progress: bool | None = None,
    initial_state: StateLike = None,
) -> Fitted:
    """Trains a network.

    Args:
        net: Initial network. A trainer with restarts takes either one network, beside which others are initialized
            randomly, or as many stacked networks as it has restarts.
        data: `Sequences` to train on; with `train_state=True` their initial states are trained too.
        loss: From `lddn_jax.losses`.
        trainer: For example `Optax(optax.adam(1e-3))`.
        gradient: Gradient method. None for the trainer's default: `BPTT()`, or `RTRL()` if it needs a Jacobian.
        epochs: Maximum number of steps of the trainer. None for its default: 100, or 1000 for Levenberg-Marquardt.
        validation: `Sequences` for the validation loss, computed after every step. The network with the smallest
            validation loss is returned. If first states are trained, they belong to the sequences of `data`, so
            validation must be the same sequences with `train_state=True` and other error weights.
        max_fail: Training stops after this many epochs without a smaller validation loss.
        goal: Training stops when the training loss is this small.
        key: Random key for mini-batches and restarts; `jax.random.key(0)` if None.
        callbacks: Called at every step; from `lddn_jax.training.callbacks`, or your own.
        resume: A saved run to resume: the path of a checkpoint, a folder of checkpoints, or a result of `fit`.
            Topology, data and settings must be the same; `epochs` includes the steps already taken.
        nan_guard: If the network becomes NaN or infinite, find the first layer and time step by one forward pass.
        progress: True for a progress bar (of tqdm if it is installed, else a line of text). None for one if the run
            takes more than two seconds and standard error is a terminal.
        initial_state: First states of layers that training starts from, for data with `train_state=True`; None for
            those of `data`. `(sequences, longest delay, size)` by layer for all networks, or `(restarts, sequences,
            longest delay, size)` with one for each, such as `fitted.restart_states` of the run before.

    Returns:
        `Fitted`: the network, the trainer state, the history and the stop reason. If the loss becomes NaN or infinite,
        the network with the smallest loss is returned, the stop reason is "non_finite", and a warning is logged. On
        Ctrl-C or SIGTERM the current step is completed, callbacks finish (a `Checkpoint` is saved), and then the signal
        takes its usual effect: KeyboardInterrupt, or SystemExit with code 143. With the callback `ReturnOnSignal`, the
        best network so far is returned instead, with the stop reason "interrupted". A second signal takes effect at
        once, after `on_end` of the callbacks.

    Raises:
        ShapeError: If data does not match the network.
        DataError: If a target is NaN and the loss has `missing="error"`, or first states are trained and the sequences
            of `validation` are not those of `data`.
        CheckpointError: If `resume` cannot be read, or belongs to another run.
        LDDNError: If an argument is invalid.
        KeyboardInterrupt: After Ctrl-C, when callbacks are finished.
        SystemExit: After SIGTERM, when callbacks are finished.

    Example:
        >>> import optax, jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear")],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> u = jax.random.normal(jax.random.key(0), (50, 1))
        >>> fitted = lddn.fit(lddn.Network(topology, init="zeros"), lddn.Sequences(u, 2 * u + 1),
        ...                   lddn.losses.MeanSquaredError(), lddn.Optax(optax.adam(0.1)), epochs=300)
        >>> round(float(fitted.net.IW["y", "u"][0, 0, 0]), 3), str(fitted.stop_reason)
        (2.0, 'epochs')
    """
    call = "fit(net, data, loss, trainer)"
    expect(AbstractTrainer, "trainer", trainer, call, "a trainer, such as lddn.Optax(optax.adam(1e-3))")
    epochs = trainer.default_epochs if epochs is None else epochs
    check_positive("epochs", epochs)
    check_positive("max_fail", max_fail)
    if goal is not None and not is_number(goal, at_least=0):
        raise LDDNError(f"goal={shown(goal)} is not a loss at which to stop: pass a number such as goal=1e-6, or None.")
    if key is not None:
        check_key(key)
    gradient = trainer.default_gradient if gradient is None else gradient
    check_method(gradient, "fit(..., gradient=...)", "gradient")
    hooks = Hooks.of(callbacks, progress)
    source = None if resume is None else opened(resume)
    check_network(net, call, several=True)
    check_not_traced(call, net, data)
    example = _one_of(net, trainer)
    problem = Problem.of(loss, example, data, gradient, call)
    first = None if initial_state is None else _first_states(example, initial_state, problem, trainer)
    _check_parameters(net, problem)
    trainer.check(example, problem)
    check_memory(
        2 * trainer.restarts * net.parameter_count * net.dtype.itemsize,
        f"{trainer.restarts:,} networks of {net.parameter_count:,} weights and biases, and the best of them so far,",
        "Use fewer restarts or neurons.",
    )
    held_out = None if validation is None else Problem.of(loss, example, validation, gradient, call, "validation")
    if held_out is not None:
        check_shared(problem, held_out)
    key = jax.random.key(0) if key is None else key
    course = Course.of(trainer, problem, held_out, nan_guard)
    limits = {"goal": goal, "max_fail": max_fail}
    identity = Identity(
        {
            "topology": net.topology,
            "first weights": {"IW": net.IW, "LW": net.LW, "b": net.b},
            "trainer": trainer,
            "data": problem,
            "validation": held_out,
            "key": key,
        }
        | ({} if first is None else {"initial state": first})  # else files of earlier versions would differ
    )
    if source is None:
        training = course.begun(net, key, epochs, limits, identity, first)
    else:
        training = resumed(source, eqx.filter_eval_shape(course.first, net, key, first), identity, limits, epochs)
    return _run(course, replace(training, notes=data_notes(training.trained, problem)), hooks)


def _check_parameters(net: Network, problem: Problem) -> None:
    """Raises an LDDNError if no weight is trained although there are some, and no first state either."""
    if net.parameter_count == 0 and trained_places(net.topology) and not problem.trains_state:
        fixed = next((c for c in net.topology.connections if not c.trained), None)
        write = f"Connection({fixed.source!r}, to={fixed.to!r}, trained=True)" if fixed else "a mask with a 1"
        raise LDDNError(
            "nothing is left to train: the network has no biases, and all its weights are fixed or masked. Declare "
            f"{write}; or simulate the network as it is, lddn.simulate(net, inputs)."
        )


def _one_of(net: Network, trainer: AbstractTrainer) -> Network:
    """Returns the network, or shapes and dtypes of one of several that the trainer takes side by side."""
    axes = stack_axes(net)
    if not axes:
        return net
    if axes != (trainer.restarts,) or trainer.restarts == 1:
        name, count = type(trainer).__name__, math.prod(axes)
        single = trainer.restarts == 1 and "restarts" not in {field.name for field in dataclasses.fields(trainer)}
        remedy = (
            "Train one after the other, jax.tree.map(lambda leaf: leaf[0], nets) being the first; or all at once by "
            f"lddn.LevenbergMarquardt(restarts={count}), or by jax.vmap of a jax.lax.scan over lddn.value_and_grad."
            if single
            else f"Stack them along one axis, and write lddn.{name}(restarts={count})."
        )
        many = " x ".join(map(str, axes))
        number = "one" if trainer.restarts == 1 else f"restarts={trainer.restarts}"
        raise ShapeError(f"net is {many} stacked networks, and {name} trains {number}. {remedy}")
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), net)


def _first_states(net: Network, given: StateLike, problem: Problem, trainer: AbstractTrainer) -> DelayState:
    """Returns the first states that were given, if there are any to train."""
    if not problem.trains_state:
        raise LDDNError(
            "initial_state is what the training of first states starts from, but the data has train_state=False. Write "
            "lddn.Sequences(..., train_state=True) or lddn.data.begin(topology, records, lddn.data.Trained()); or, to "
            "start from known states without training them, lddn.Sequences(inputs, targets, state)."
        )
    return first_states(net.topology, given, problem.sequences, trainer.restarts, net.dtype)


def _run(course: Course, training: TrainingState, hooks: Hooks) -> Fitted:
    before, start = training.seconds, time.perf_counter()

    def elapsed() -> float:
        return before + time.perf_counter() - start

    with Interruption() as interruption:
        hooks.on_start(training)
        try:
            while training.stop_reason is None and training.epoch < training.epochs and training.active.any():
                training = _advanced(course, training, elapsed, interruption.wait)
                asked = hooks.on_step(training)
                reason = StopReason.INTERRUPTED if interruption.received else asked
                training = replace(training, stop_reason=reason)
            training = _ended(course, training)
        finally:
            # Also after an error or a second Ctrl-C, so that callbacks can save the last completed step.
            hooks.on_end(training)
    if interruption.received is not None and training.stop_reason is not StopReason.INTERRUPTED:
        # It came after the last step, when there was nothing left to interrupt; later trainings are to be skipped.
        failed = tuple(reason if reason and not reason.success else None for reason in training.stop_reasons)
        training = replace(training, stop_reason=StopReason.INTERRUPTED, stop_reasons=failed)
    # Keep the fingerprint of the data only, so that the result does not hold the data in memory.
    fitted = Fitted.of(replace(training, identity=training.identity.written()))
    if fitted.stop_reason == StopReason.INTERRUPTED:
        _logger.warning(
            "training was interrupted by %s after %d %s; continue with %s.",
            interruption.received.name if interruption.received else "a callback",
            training.epoch,
            "epoch" if training.epoch == 1 else "epochs",
            fix("fit(..., resume=...)", "--resume"),
        )
    elif not fitted.success:
        where = "" if fitted.non_finite is None else f" First: {fitted.non_finite}."
        _logger.warning("training stopped after %d epochs: %s.%s", training.epoch, fitted.stop_reason.meaning, where)
    else:
        _logger.info("training stopped after %d epochs: %s.", training.epoch, fitted.stop_reason)
    if interruption.received is not None and not hooks.on_signal(interruption.received):
        take_effect(interruption.received)
    return fitted


def _advanced(
    course: Course, t: TrainingState, elapsed: Callable[[], float], wait: Callable[[Any], Any]
) -> TrainingState:
    """Returns the training state after one step."""
    several, active = course.several, t.active
    mask = active if several else None
    new, new_state, info = course.step(t.trained, t.trainer, t.key, np.uint32(t.epoch), mask)
    wait(info)
    info = {"loss": info["loss"]} | info  # "loss" is the first column of the history
    row = {name: np.where(active, rows_of(value), np.nan) for name, value in info.items()}
    finite, quantities = _finite(course.trainer, row)
    lost = active & ~finite
    reasons, ends = list(t.stop_reasons), list(t.ends)
    places = course.lost(t, lost, t.trained, t.epoch, quantities) if lost.any() else t.non_finite
    for k in np.flatnonzero(lost):
        reasons[k], ends[k] = StopReason.NON_FINITE, t.epoch
    going = active & finite
    if not going.any():
        return replace(t, stop_reasons=tuple(reasons), ends=tuple(ends), non_finite=places, seconds=elapsed())
    epoch = t.epoch + 1
    lower = going & (row["loss"] < t.lowest.values)
    lowest = t.lowest.where(lower, t.trained, t.epoch, row["loss"])
    best = t.best
    if best is not None and course.held_out is not None:
        row["validation_loss"] = np.where(going, rows_of(course.held_out(new)), np.nan)
        best = best.where(row["validation_loss"] < best.values, new, epoch, row["validation_loss"])
    for k in map(int, np.flatnonzero(going)):
        without_gain = 0 if best is None else epoch - int(best.epochs[k])
        reason = _reason(
            course.stop_reason, t.limits, {name: float(value[k]) for name, value in row.items()}, without_gain
        )
        if reason is not None:
            reasons[k], ends[k] = reason, epoch
    seconds = elapsed()
    kept: Row = {name: value if several else float(value[0]) for name, value in row.items()}
    t.rows[t.epoch :] = [kept | {"seconds": seconds}]
    return replace(
        t,
        trained=new,
        trainer=new_state,
        epoch=epoch,
        lowest=lowest,
        best=best,
        stop_reasons=tuple(reasons),
        ends=tuple(ends),
        non_finite=places,
        seconds=seconds,
    )


def _finite(trainer: AbstractTrainer, row: Mapping[str, Any]) -> tuple[Bool[np.ndarray, " restarts"], list[str]]:
    """Which networks have finite numbers in a step, and for each network the first quantity that is not finite."""
    needed = [name for name in row if name.partition(":")[0] in trainer.always_finite]
    finite = np.array([np.isfinite(row[name]) for name in needed])  # quantities × restarts
    return finite.all(axis=0), [needed[k] for k in np.argmin(finite, axis=0)]


def _reason(
    stop_reason: Callable, limits: Mapping[str, Any], row: dict[str, float], without_gain: int
) -> StopReason | None:
    """The stop reason of a network after a step, or None; `without_gain`: epochs since its best validation loss."""
    if limits["goal"] is not None and row["loss"] <= limits["goal"]:
        return StopReason.GOAL
    reason = stop_reason(row)
    if reason is not None:
        return StopReason.of(reason)
    return StopReason.MAX_FAIL if without_gain >= limits["max_fail"] else None


def _ended(course: Course, t: TrainingState) -> TrainingState:
    """Returns the training state with the losses after the last step and the scores that restarts are ranked by."""
    if t.scores is not None:  # a resumed run with no step left
        return t
    t = replace(t, stop_reason=t.stop_reason or StopReason.EPOCHS)
    # After an interruption nothing more is compiled, so the losses after the last step stay unknown.
    unknown = t.stop_reason is StopReason.INTERRUPTED
    values = np.full(t.restarts, np.nan) if unknown else rows_of(course.value(t.trained))
    unseen = np.array([reason not in (StopReason.GOAL, StopReason.NON_FINITE) for reason in t.stop_reasons])
    lost = unseen & ~np.isfinite(values) & (not unknown)
    places = course.lost(t, lost, t.trained, t.epoch) if lost.any() else t.non_finite
    reasons = tuple(
        StopReason.NON_FINITE if gone else reason for gone, reason in zip(lost, t.stop_reasons, strict=True)
    )
    ends = tuple(t.epoch if gone else end for gone, end in zip(lost, t.ends, strict=True))
    t = replace(t, values=values, stop_reasons=reasons, ends=ends, non_finite=places)
    without = np.array([reason is StopReason.NON_FINITE for reason in reasons]) & (t.best is None)
    scores = np.where(without, np.inf, best_of_each(t).values)
    if course.several and t.best is None:
        scores = course.trainer.rank(t.trainer, scores)
    return replace(t, scores=scores, notes={**t.notes, **({} if unknown else _result_notes(course.problem, t))})


def _result_notes(problem: Problem, t: TrainingState) -> dict[str, str]:
    """Returns a note if no network had a loss below that of predicting the mean of the targets."""
    losses = np.concatenate([t.lowest.values, [] if t.values is None else t.values])
    smallest, mean = np.min(losses, initial=np.inf, where=np.isfinite(losses)), loss_of_mean(problem)
    if mean is None or smallest < mean:
        return {}
    note = f"the smallest training loss, {smallest:.4g}, is not below that of predicting the mean, {mean:.4g}"
    return {str(Flag.NOTHING_LEARNED): f"{note}: nothing was learned"}
