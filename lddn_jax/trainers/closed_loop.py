"""Closed-loop training over growing horizons, for networks that must run free (multi-step prediction).

A NARX network trained in open loop reads measured outputs, and often diverges when it is fed back its own outputs,
because small errors accumulate. Training it in closed loop avoids this, but the error of a long free run of a poor
network is a badly conditioned function of its weights. So the horizon is increased step by step: with horizon h the
record is cut into windows of h steps, each of which starts from measured values and then runs free. h = 1 is open-loop
training; at the last horizon a window is usually the whole record.

Several networks can be trained in parallel (`LevenbergMarquardt(restarts=R)`). All go through all horizons, and the one
with the smallest free-run error is returned. Pass validation records for this choice, because the free-run error on the
training records is a poor estimate of that on new data. With `max_fail`, the validation records also decide at which
step each network ends a horizon: windows of that horizon are cut from them too, and every network continues from its
step with the smallest loss on these.

Su, McAvoy & Werbos (1992), Ind. Eng. Chem. Res. 31(5); Hagan et al., *Neural Network Design*, 2nd ed., ch. 27.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lddn_jax.checks import check_positive, expect
from lddn_jax.data.records import Record, as_records, holds_records
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.windowing import whole, windows, with_windows
from lddn_jax.errors import CheckpointError, DataError, LDDNError
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.losses import AbstractLoss, MeanSquaredError, counted
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.rewiring import closed_over, loops_of, opened_at
from lddn_jax.network.signals import SequencesLike, Signals, WeightsLike, as_signals, check_data, check_not_traced
from lddn_jax.numerics.text_table import aligned, column_digits
from lddn_jax.prediction.free_run import error_of, free_run, least_divergent
from lddn_jax.topology.plan import plan
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.callbacks.time_limit import one_run
from lddn_jax.training.checkpoint import epochs_asked
from lddn_jax.training.fit import fit
from lddn_jax.training.history import History
from lddn_jax.training.result import Fitted, divergence_first, note_lines
from lddn_jax.training.stop_reason import Flag, StopReason
from lddn_jax.training.trainer import AbstractTrainer

_logger = logging.getLogger("lddn_jax")

CALL = "fit_closed_loop(net, data, trainer, horizons)"


# Records, or the signals of a batch: inputs, targets and error weights.
Given: TypeAlias = list[Record] | tuple[Signals, Signals, WeightsLike]


@dataclass(frozen=True)
class Stage:
    """Result of training at one horizon.

    Attributes:
        horizon: Number of steps that a window runs free; None for the whole record.
        fitted: Result of `fit`.
        net: The network with the smallest free-run error, with its loop closed.
        best_restart: Index of that network among the restarts.
        open_loop: Its RMSE with the loop open: one step ahead, or as many as the smallest delay of the feedback.
        closed_loop: RMSE of its free run; NaN if that diverged.
        diverged_at: First step at which the free run is not finite or far outside the targets, on the validation or the
            training records; None if it stays close on both.
        seconds: Training time of this horizon.
        left_out: Number of training records that are too short for a window of this horizon.
    """

    horizon: int | None
    fitted: Fitted
    net: Network
    best_restart: int
    open_loop: float
    closed_loop: float
    diverged_at: int | None
    seconds: float
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers as a dict of plain Python values for `json.dump`."""
        return {
            "horizon": self.horizon,
            "stop_reason": str(self.fitted.stop_reason),
            "epochs": len(self.fitted.history["loss"]),
            "open_loop": self.open_loop,
            "closed_loop": None if self.diverged_at is not None else self.closed_loop,
            "diverged_at": self.diverged_at,
            "seconds": self.seconds,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class ClosedLoop:
    """Result of `fit_closed_loop`; `print` shows a table.

    Attributes:
        stages: Results by horizon.
        best_stage: Index of the stage with the smallest free-run error.
        loops: Output layer by name of its feedback input.
        notes: Sentences on data and result, by name of their flag, as in `lddn_jax.Fitted`.
    """

    stages: tuple[Stage, ...]
    best_stage: int
    loops: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def net(self) -> Network:
        """The network with the smallest free-run error, with its loop closed."""
        return self.stages[self.best_stage].net

    @property
    def opened(self) -> Network:
        """The same network with its loop open, for one-step-ahead prediction."""
        return opened_at(self.net, self.loops)

    @property
    def flags(self) -> frozenset[str]:
        """What is remarkable about data and result, as in `lddn_jax.Fitted`: of the returned stage, and of `notes`."""
        return self.stages[self.best_stage].fitted.flags.union(self.notes)

    @property
    def stop_reason(self) -> StopReason:
        """Why training stopped at the last horizon."""
        return self.stages[-1].fitted.stop_reason

    @property
    def history(self) -> History:
        """Training history of `net` over all horizons: the columns of `Fitted.history`, and `horizon`.

        `horizon` is NaN for the whole record.
        """
        stages = self.stages[: self.best_stage + 1]
        parts = [stage.fitted.history.of(stages[-1].best_restart) for stage in stages]
        names = [name for name in dict.fromkeys(name for part in parts for name in part) if name != "seconds"]
        # A horizon that is longer than all validation records has no validation loss.
        columns = {
            name: np.concatenate([part[name] if name in part else np.full(len(part["loss"]), np.nan) for part in parts])
            for name in names
        }
        horizons = [np.nan if stage.horizon is None else float(stage.horizon) for stage in stages]
        columns["horizon"] = np.repeat(horizons, [len(part["loss"]) for part in parts])
        before = np.cumsum([0.0, *(stage.seconds for stage in stages)])
        seconds = [start + part["seconds"] for start, part in zip(before, parts, strict=False)]
        return History(columns | {"seconds": np.concatenate(seconds)})

    def to_dict(self) -> dict[str, Any]:
        """Returns the stages as a dict of plain Python values for `json.dump`."""
        stages = [stage.to_dict() for stage in self.stages]
        return {
            "stages": stages,
            "best_stage": self.best_stage,
            "best_restart": self.stages[self.best_stage].best_restart,
            "flags": sorted(self.flags),
            "notes": dict(self.notes),
        }

    def __str__(self):
        rows = [(" horizon", "epochs", "open loop", "closed loop", "seconds", "stopped by")]
        for s in self.stages:
            closed = column_digits(s.closed_loop) if s.diverged_at is None else f"diverged@{s.diverged_at}"
            horizon = "all" if s.horizon is None else str(s.horizon)
            epochs = str(len(s.fitted.history["loss"]))
            mark = "  <- returned" if s is self.stages[self.best_stage] else ""
            errors = column_digits(s.open_loop), closed
            rows.append((horizon, epochs, *errors, f"{s.seconds:.1f}", f"{s.fitted.stop_reason}{mark}"))
        lines = aligned(rows, ">>>>><")
        for s in self.stages:
            if s.left_out:
                several = "records are" if s.left_out > 1 else "record is"
                lines.append(f"{s.left_out} {several} too short for horizon {s.horizon}, and left out of it")
        first, rest = divergence_first(self.notes)
        return "\n".join([*first, *lines, *note_lines(rest, rest)])


def fit_closed_loop(
    net: Network,
    data: SequencesLike | Record | list[Record] | tuple[Record, ...],
    trainer: AbstractTrainer,
    horizons: Sequence[int | None] = (1, 2, 5, 20, None),
    *,
    loss: AbstractLoss | None = None,
    loops: Mapping[str, str] | None = None,
    validation: SequencesLike | Record | list[Record] | tuple[Record, ...] | None = None,
    epochs: int | Sequence[int] = 50,
    max_fail: int | None = None,
    gradient: AbstractGradient | None = None,
    key: PRNGKeyArray | None = None,
    callbacks: Sequence[Any] = (),
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> ClosedLoop:
    """Trains a network in closed loop over growing horizons, starting in open loop.

    Args:
        net: The network with its loop open.
        data: `Sequences` of whole records, with the measured outputs among the inputs; or a list of
            `lddn_jax.data.Record`s, possibly of unequal length, whose targets are the measured outputs. The first
            samples of each record, as many as the longest delay, fill its first delay state.
        trainer: For example `LevenbergMarquardt(restarts=8)`.
        horizons: Numbers of steps that windows run free, increasing; None for the whole record. Records that are too
            short for a horizon are left out of it, and counted in `Stage.left_out`.
        loss: `MeanSquaredError()` if None.
        loops: Output layer by name of its feedback input. By default an input named `measured_y` belongs to output `y`,
            as in `lddn_jax.models.narx`.
        validation: Records for choosing among restarts and horizons; the training records if None.
        epochs: Maximum number of steps of the trainer, one number for all horizons or one per horizon.
        max_fail: Number of steps without a smaller loss on the windows of the validation records after which a network
            ends a horizon, and returns to the step with the smallest; 20, for example, since that loss often rises
            before it falls. Validation records too short for a horizon do not count in it. None: every network takes
            all steps, and validation records only choose among the results.
        gradient: As in `fit`.
        key: As in `fit`.
        callbacks: As in `fit`; they are called at every horizon.
        checkpoint: Saves each horizon in a subfolder of its folder.
        resume: Whether to resume from the checkpoints: finished horizons are loaded, and an unfinished one continues.
            If there is no checkpoint, training starts from the beginning.
        progress: As in `fit`.

    Returns:
        `ClosedLoop`: for each horizon the best network with its one-step-ahead and free-run errors over whole records,
        and the best network over all horizons. A network whose free run diverges on the validation or the training
        records is returned only if all do, and then the result has the flag "free_run_diverges". If training is
        interrupted or reaches its time limit, the remaining horizons are skipped.

    Raises:
        LDDNError: If no input is a measured output, the horizons are invalid, or `max_fail` is given without
            validation records.
        DataError: If a record is too short, or a measured value is missing.

    Example:
        >>> import jax, lddn_jax as lddn, jax.numpy as jnp
        >>> net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
        >>> u = jax.random.normal(jax.random.key(1), (80, 1))
        >>> y = jnp.concatenate([jnp.zeros_like(u[:1]), jnp.tanh(u[:-1])])
        >>> data = lddn.Sequences({"u": u, "measured_y": y}, y)
        >>> found = lddn.fit_closed_loop(net, data, lddn.LevenbergMarquardt(allow_float32=True), (1, None), epochs=5)
        >>> [stage.horizon for stage in found.stages]
        [1, None]

    Su, McAvoy & Werbos (1992).
    """
    expect(AbstractTrainer, "trainer", trainer, CALL, "a trainer, such as lddn.LevenbergMarquardt()")
    check_network(net, CALL, several=True)  # `fit` counts them
    check_not_traced(CALL, net, data)
    loops = loops_of(net, loops)
    horizons, counts = _horizons(horizons, epochs)
    if max_fail is not None:
        check_positive("max_fail", max_fail)
        if validation is None:
            raise LDDNError(
                f"fit_closed_loop: max_fail={max_fail} counts steps without a smaller loss on validation records, and "
                "there are none. Pass validation=records, or max_fail=None."
            )
    closed = closed_over(net, loops)
    records = _records(net, loops, data, "data")
    scored = records if validation is None else _records(net, loops, validation, "validation")
    longest = _longest(closed, records)
    if any(h is not None and h > longest for h in horizons):
        raise DataError(
            f"fit_closed_loop: horizons={tuple(horizons)}, but the longest record has {longest} steps after those that "
            "fill the first delay state; write None for the whole record, horizons=(1, 5, None)."
        )
    single, uncut = _cut(closed, scored, 1), _cut(closed, scored, None)
    trained_on = _cut(closed, records, None)
    ranges = _ranges(trained_on)
    loss = loss or MeanSquaredError()
    limits: dict[str, Any] = {} if max_fail is None else {"max_fail": max_fail}

    if checkpoint is not None and resume:
        _check_epochs(checkpoint, horizons, counts)
    stages: list[Stage] = []
    nets = closed
    with one_run(callbacks):
        for k, (horizon, count) in enumerate(zip(horizons, counts, strict=True)):
            used = records
            if horizon is not None and isinstance(records, list):
                used = with_windows(closed.topology, records, horizon) or records
            left_out = len(records) - len(used)
            held_out = None if max_fail is None else _windows_of(closed, scored, horizon)
            _logger.info("fit_closed_loop: horizon %s, %d records left out", horizon, left_out)
            own = None if checkpoint is None else _part(checkpoint, k)
            fitted = fit(
                nets,
                _cut(closed, used, horizon),
                loss,
                trainer,
                gradient=gradient,
                epochs=count,
                validation=held_out,
                key=key,
                callbacks=callbacks if own is None else (*callbacks, own),
                resume=own.saved if own is not None and resume else None,
                progress=progress,
                **limits,
            )
            nets = fitted.restarts if fitted.restarts is not None else fitted.net
            candidates = _unstacked(nets, trainer.restarts)
            runs = [free_run(candidate, uncut, ranges) for candidate in candidates]
            chosen, runs = _steady(candidates, runs, None if validation is None else trained_on, ranges)
            ahead, seconds = (
                error_of(candidates[chosen], single)[0],
                float(np.max(fitted.history["seconds"], initial=0)),
            )
            stages.append(Stage(horizon, fitted, candidates[chosen], chosen, ahead, *runs[chosen], seconds, left_out))
            if fitted.stop_reason.cut_short:
                break
    # If errors are equal, the longest horizon wins.
    best = len(stages) - 1 - least_divergent([(s.closed_loop, s.diverged_at) for s in reversed(stages)])
    notes = dict(stages[best].fitted.notes)
    if stages[best].diverged_at is not None:
        notes[str(Flag.FREE_RUN_DIVERGES)] = (
            "THE FREE RUN DIVERGES on the network's own records, for every horizon and restart; that of the network "
            f"returned at step {stages[best].diverged_at}. Use it with its loop open only, or train with more "
            "restarts, fewer neurons or another seed"
        )
    return ClosedLoop(tuple(stages), best, loops, notes)


def _steady(
    candidates: list[Network],
    runs: list[tuple[float, int | None]],
    trained_on: Sequences | None,
    ranges: Mapping[str, float] | None = None,
) -> tuple[int, list[tuple[float, int | None]]]:
    """Returns the candidate with the smallest error among those whose free run stays close to the training records too.

    Args:
        candidates: The networks with their loops closed.
        runs: Error and first diverged step of each free run on the validation records.
        trained_on: The whole training records; None if the runs are on these.
        ranges: As in `diverged_at`.

    Returns:
        The index of the candidate, and the runs, with those that diverge on the training records marked as diverged.
    """
    runs = list(runs)
    while True:
        chosen = least_divergent(runs)
        if trained_on is None or runs[chosen][1] is not None:
            return chosen, runs
        _, diverged = free_run(candidates[chosen], trained_on, ranges)
        if diverged is None:
            return chosen, runs
        runs[chosen] = (float("nan"), diverged)


def _part(checkpoint: Checkpoint, k: int) -> Checkpoint:
    return checkpoint.within(f"horizon_{k}")


def _check_epochs(checkpoint: Checkpoint, horizons: Sequence[int | None], counts: Sequence[int]) -> None:
    """Raises a CheckpointError if `epochs` has changed for a horizon that later horizons depend on."""
    for k, (horizon, count) in enumerate(zip(horizons, counts, strict=True)):
        saved = _part(checkpoint, k).saved
        if saved is None or _part(checkpoint, k + 1).saved is None:
            return
        before = epochs_asked(saved)
        if before != count:
            raise CheckpointError(
                f"cannot resume from {checkpoint.folder}: horizon {horizon} was trained with epochs={before}, not "
                f"{count}, and later horizons depend on it. Pass epochs={before}, or omit resume."
            )


def _cut(closed: Network, records: Given, length: int | None) -> Sequences:
    if isinstance(records, list):
        return whole(closed.topology, records) if length is None else windows(closed.topology, records, length=length)
    inputs, targets, weights = records
    horizon = _longest(closed, records) if length is None else length
    return windows(closed.topology, inputs, targets, length=horizon, weights=weights)


def _windows_of(closed: Network, records: Given, horizon: int | None) -> Sequences | None:
    """Returns the windows of the validation records for a horizon; None if all of these are too short."""
    if horizon is not None:
        if isinstance(records, list):
            records = with_windows(closed.topology, records, horizon)
        if not records or horizon > _longest(closed, records):
            return None
    return _cut(closed, records, horizon)


def _ranges(data: Sequences) -> dict[str, float]:
    """Range of the training targets by output layer, for `diverged_at`."""
    known = counted(cast(Signals, data.targets), data.weights)
    return {name: float(np.nanmax(np.asarray(y)) - np.nanmin(np.asarray(y))) for name, y in known.items()}


def _longest(closed: Network, records: Given) -> int:
    """Number of steps of the longest record, without those that fill the first delay state."""
    held = max(plan(closed.topology).longest_delays.values(), default=0)
    steps = max(map(len, records)) if isinstance(records, list) else next(iter(records[1].values())).shape[-2]
    return max(steps - held, 0)


def _records(
    net: Network, loops: Mapping[str, str], data: SequencesLike | Record | list[Record] | tuple[Record, ...], what: str
) -> Given:
    """Returns records unchanged; of a batch the checked inputs (without feedback inputs), targets and weights."""
    if holds_records(data):
        return as_records(data, "fit_closed_loop")
    check_data(data, CALL, what)
    data = cast(SequencesLike, data)
    sizes = net.topology.sizes
    if data.targets is None:
        raise DataError(f"fit_closed_loop: {what} has no targets.")
    given = data.inputs or {}
    # Measured outputs are those of the targets, so they may be left out.
    left_out = loops.keys() - given.keys() if isinstance(given, Mapping) else set()
    needed = {name: sizes[name] for name in net.topology.input_names - left_out}
    inputs = as_signals("input", given, needed, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in net.topology.outputs}, net.dtype)
    return {name: signal for name, signal in inputs.items() if name not in loops}, targets, data.weights


def _horizons(horizons: Sequence[int | None], epochs: int | Sequence[int]) -> tuple[list[int | None], list[int]]:
    steps = list(horizons) if isinstance(horizons, (list, tuple)) else []
    counts: list[Any] = list(epochs) if isinstance(epochs, (list, tuple)) else [epochs] * len(steps)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in (*counts, *(h or 1 for h in steps)))
    lengths = [np.inf if h is None else h for h in steps]
    if not steps or 0 in steps or not whole or len(counts) != len(steps) or lengths != sorted(lengths):
        raise LDDNError(
            f"fit_closed_loop: horizons={horizons!r} with epochs={epochs!r}; needed are positive numbers of steps in "
            "increasing order, None (the whole record) at the end, and one number of epochs for all horizons or one "
            "for each: horizons=(1, 5, 20, None), epochs=50."
        )
    return steps, counts


def _unstacked(nets: Network, count: int) -> list[Network]:
    return [nets] if count == 1 else [jax.tree.map(lambda leaf, k=k: leaf[k], nets) for k in range(count)]
