"""From a network that is good one step ahead to one that runs free: training over longer and longer horizons.

A NARX network trained with its loop open sees measured values only, and often explodes when it is fed its own: small
errors, which training never showed it, add up. The cure is to train it closed, but a long free run of a bad network is
a wild function of its weights. So the horizon grows: with horizon h the record is cut into windows of h steps, each
starts from measured values and then runs free. h = 1 is training with the loop open; in the end one window is the
whole record.

Several networks can be trained side by side (`LevenbergMarquardt(restarts=R)`). All of them go through all horizons,
and the one with the smallest free-run error is returned: on records that were held out, if there are any, since the
error on those it was trained on says little about where a free run leads in new territory.

Su, McAvoy & Werbos (1992), Ind. Eng. Chem. Res. 31(5); Hagan et al., *Neural Network Design*, 2nd ed., ch. 27.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lddn_jax.checks import expect
from lddn_jax.data.records import Record, as_records, holds_records
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.windowing import whole, windows
from lddn_jax.errors import CheckpointError, DataError, LDDNError
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.losses import AbstractLoss, MeanSquaredError
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.rewiring import closed_over, loops_of, opened_at
from lddn_jax.network.signals import SequencesLike, Signals, WeightsLike, as_signals, check_data
from lddn_jax.prediction.free_run import error_of, free_run, smallest
from lddn_jax.topology.plan import plan
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.checkpoint import epochs_asked
from lddn_jax.training.fit import fit
from lddn_jax.training.history import History
from lddn_jax.training.result import Fitted
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.trainer import AbstractTrainer

_logger = logging.getLogger("lddn_jax")

CALL = "fit_closed_loop(net, data, trainer, horizons)"


# Records, or the signals of a batch: inputs, targets and error weights.
Given: TypeAlias = list[Record] | tuple[Signals, Signals, WeightsLike]


@dataclass(frozen=True)
class Stage:
    """What one horizon led to.

    Attributes:
        horizon: Steps that a window runs free; None for the whole record.
        fitted: What training returned.
        net: The network with the smallest free-run error, its loop closed.
        best_restart: Which of several networks that is.
        open_loop: Its RMSE one step ahead.
        closed_loop: RMSE of its free run; NaN if that diverged.
        diverged_at: The first step of the free run that is not finite or far outside of the targets; None if there is
            none.
        seconds: Time that this horizon took.
    """

    horizon: int | None
    fitted: Fitted
    net: Network
    best_restart: int
    open_loop: float
    closed_loop: float
    diverged_at: int | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Returns its numbers as plain values, ready for `json.dump`."""
        return {
            "horizon": self.horizon,
            "stop_reason": str(self.fitted.stop_reason),
            "epochs": len(self.fitted.history["loss"]),
            "open_loop": self.open_loop,
            "closed_loop": None if self.diverged_at is not None else self.closed_loop,
            "diverged_at": self.diverged_at,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class ClosedLoop:
    """What `fit_closed_loop` returned; print it to read the table.

    Attributes:
        stages: One for each horizon.
        best_stage: Which of them that is.
        loops: Output by the input that carried its measured values.
    """

    stages: tuple[Stage, ...]
    best_stage: int
    loops: Mapping[str, str]

    @property
    def net(self) -> Network:
        """The network with its loop closed: that of the stage with the smallest free-run error."""
        return self.stages[self.best_stage].net

    @property
    def opened(self) -> Network:
        """The same weights with the loop open, to predict one step ahead."""
        return opened_at(self.net, self.loops)

    @property
    def stop_reason(self) -> StopReason:
        """Why training stopped at the last horizon."""
        return self.stages[-1].fitted.stop_reason

    @property
    def history(self) -> History:
        """The history of the returned network, its horizons joined: that of `Fitted.history`, and `horizon`.

        `horizon` is NaN for the whole record.
        """
        stages = self.stages[: self.best_stage + 1]
        parts = [stage.fitted.history.of(stages[-1].best_restart) for stage in stages]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "seconds"}
        horizons = [np.nan if stage.horizon is None else float(stage.horizon) for stage in stages]
        columns["horizon"] = np.repeat(horizons, [len(part["loss"]) for part in parts])
        before = np.cumsum([0.0, *(stage.seconds for stage in stages)])
        seconds = [start + part["seconds"] for start, part in zip(before, parts, strict=False)]
        return History(columns | {"seconds": np.concatenate(seconds)})

    def to_dict(self) -> dict[str, Any]:
        """Returns its stages as plain values, ready for `json.dump`."""
        stages = [stage.to_dict() for stage in self.stages]
        return {
            "stages": stages,
            "best_stage": self.best_stage,
            "best_restart": self.stages[self.best_stage].best_restart,
        }

    def __str__(self):
        lines = [f"{'horizon':>8}{'epochs':>8}{'open loop':>13}{'closed loop':>14}{'seconds':>9}  stopped by"]
        for s in self.stages:
            closed = f"{s.closed_loop:14.6g}" if s.diverged_at is None else f"diverged@{s.diverged_at}".rjust(14)
            horizon = "all" if s.horizon is None else s.horizon
            epochs = len(s.fitted.history["loss"])
            mark = "  <- returned" if s is self.stages[self.best_stage] else ""
            rest = f"{s.seconds:9.1f}  {s.fitted.stop_reason}{mark}"
            lines.append(f"{horizon:>8}{epochs:>8}{s.open_loop:13.6g}{closed}{rest}")
        return "\n".join(lines)


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
    gradient: AbstractGradient | None = None,
    key: PRNGKeyArray | None = None,
    callbacks: Sequence[Any] = (),
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> ClosedLoop:
    """Trains a network open loop first, then closed over longer and longer horizons.

    Args:
        net: The network with its loop open.
        data: `Sequences` of whole records, measured outputs among the inputs; or a list of `lddn_jax.data.Record`s, of
            unequal length if need be, whose targets are the measured outputs. Their first samples, as many as the
            longest delay, fill the first delay state.
        trainer: For example `LevenbergMarquardt(restarts=8)`.
        horizons: Steps that windows run free, growing; None for the whole record.
        loss: `MeanSquaredError()` if None.
        loops: The output layer of each input that carries its measured values. By default inputs named
            `measured_y` belong to output `y`, as `lddn_jax.models.narx` names them.
        validation: Records that choose among restarts; the training records if None.
        epochs: The largest number of steps of the trainer, for each horizon or one for all.
        gradient: As in `fit`.
        key: As in `fit`.
        callbacks: As in `fit`; each is told of every horizon.
        checkpoint: Saves every horizon in a folder of its own inside of the one it names.
        resume: Whether to go on from what `checkpoint` saved: horizons that were finished are read, the one that was
            not goes on. Where nothing was saved training begins.
        progress: As in `fit`.

    Returns:
        `ClosedLoop`: for each horizon a network with the error one step ahead and in a free run over the whole of the
        records, and the best of these networks. A free run that diverges is flagged with its first such step. If
        training is interrupted or its time is up, later horizons are left out.

    Raises:
        LDDNError: If no input is the measurement of an output, or horizons make no sense.
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
    check_network(net, CALL)
    loops = loops_of(net, loops)
    horizons, counts = _horizons(horizons, epochs)
    closed = closed_over(net, loops)
    records = _records(net, loops, data, "data")
    judged = records if validation is None else _records(net, loops, validation, "validation")
    longest = _longest(closed, records)
    if any(h is not None and h > longest for h in horizons):
        raise DataError(
            f"fit_closed_loop: horizons={tuple(horizons)}, but no record is longer than {longest} steps besides those "
            "that fill the first delay state; write None for the whole record, horizons=(1, 5, None)."
        )
    single, uncut = _cut(closed, judged, 1), _cut(closed, judged, None)
    loss = loss or MeanSquaredError()

    if checkpoint is not None and resume:
        _check_epochs(checkpoint, horizons, counts)
    stages: list[Stage] = []
    nets = closed
    for k, (horizon, count) in enumerate(zip(horizons, counts, strict=True)):
        _logger.info("fit_closed_loop: horizon %s", horizon)
        own = None if checkpoint is None else _part(checkpoint, k)
        fitted = fit(
            nets,
            _cut(closed, records, horizon),
            loss,
            trainer,
            gradient=gradient,
            epochs=count,
            key=key,
            callbacks=callbacks if own is None else (*callbacks, own),
            resume=own.saved if own is not None and resume else None,
            progress=progress,
        )
        nets = fitted.restarts if fitted.restarts is not None else fitted.net
        candidates = _unstacked(nets, trainer.restarts)
        runs = [free_run(candidate, uncut) for candidate in candidates]
        chosen = smallest([error for error, _ in runs])
        ahead, seconds = error_of(candidates[chosen], single)[0], float(np.max(fitted.history["seconds"], initial=0))
        stages.append(Stage(horizon, fitted, candidates[chosen], chosen, ahead, *runs[chosen], seconds))
        if fitted.stop_reason.cut_short:
            break
    # The last one where errors are equal: with the longest horizon.
    return ClosedLoop(tuple(stages), len(stages) - 1 - smallest([s.closed_loop for s in reversed(stages)]), loops)


def _part(checkpoint: Checkpoint, k: int) -> Checkpoint:
    return checkpoint.within(f"horizon_{k}")


def _check_epochs(checkpoint: Checkpoint, horizons: Sequence[int | None], counts: Sequence[int]) -> None:
    """Raises a CheckpointError if a horizon that others went on from would be trained further."""
    for k, (horizon, count) in enumerate(zip(horizons, counts, strict=True)):
        saved = _part(checkpoint, k).saved
        if saved is None or _part(checkpoint, k + 1).saved is None:
            return
        before = epochs_asked(saved)
        if before != count:
            raise CheckpointError(
                f"cannot go on from {checkpoint.folder}: horizon {horizon} had epochs={before} and is to have {count} "
                f"now, but later horizons went on from it. Write epochs={before} again, or leave resume out."
            )


def _cut(closed: Network, records: Given, length: int | None) -> Sequences:
    if isinstance(records, list):
        return whole(closed.topology, records) if length is None else windows(closed.topology, records, length=length)
    inputs, targets, weights = records
    horizon = _longest(closed, records) if length is None else length
    return windows(closed.topology, inputs, targets, length=horizon, weights=weights)


def _longest(closed: Network, records: Given) -> int:
    """Steps of the longest record, without those that fill the first delay state."""
    held = max(plan(closed.topology).longest_delays.values(), default=0)
    steps = max(map(len, records)) if isinstance(records, list) else next(iter(records[1].values())).shape[-2]
    return max(steps - held, 0)


def _records(
    net: Network, loops: Mapping[str, str], data: SequencesLike | Record | list[Record] | tuple[Record, ...], what: str
) -> Given:
    """Records as they are; of a batch the inputs without the measured ones, the targets and the weights, checked."""
    if holds_records(data):
        return as_records(data, "fit_closed_loop")
    check_data(data, CALL, what)
    data = cast(SequencesLike, data)
    sizes = net.topology.sizes
    if data.targets is None:
        raise DataError(f"fit_closed_loop: {what} has no targets.")
    inputs = as_signals("input", data.inputs, {name: sizes[name] for name in net.topology.input_names}, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in net.topology.outputs}, net.dtype)
    return {name: signal for name, signal in inputs.items() if name not in loops}, targets, data.weights


def _horizons(horizons: Sequence[int | None], epochs: int | Sequence[int]) -> tuple[list[int | None], list[int]]:
    steps = list(horizons) if isinstance(horizons, (list, tuple)) else []
    counts: list[Any] = list(epochs) if isinstance(epochs, (list, tuple)) else [epochs] * len(steps)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in (*counts, *(h or 1 for h in steps)))
    lengths = [np.inf if h is None else h for h in steps]
    if not steps or 0 in steps or not whole or len(counts) != len(steps) or lengths != sorted(lengths):
        raise LDDNError(
            f"fit_closed_loop: horizons={horizons!r} with epochs={epochs!r}; needed are positive numbers of steps that "
            "grow, None for the whole record at last, and one number of epochs for all or one for each: "
            "horizons=(1, 5, 20, None), epochs=50."
        )
    return steps, counts


def _unstacked(nets: Network, count: int) -> list[Network]:
    return [nets] if count == 1 else [jax.tree.map(lambda leaf, k=k: leaf[k], nets) for k in range(count)]
