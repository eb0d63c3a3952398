"""Training of one structure of a competition: on all folds, on them again, and of its best networks on everything."""

import dataclasses
import math
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from lddn_jax.data.fold_blocks import Folds
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.starts import AbstractStart, Trained
from lddn_jax.identification.competition import Entry
from lddn_jax.identification.declared import Declared, DeclaredStarts
from lddn_jax.identification.effort import REFIT_STEPS, Effort, Plan
from lddn_jax.identification.one_step_starts import OneStepStarts
from lddn_jax.identification.recipes import Supervision
from lddn_jax.identification.structures import LinearStarts, Structure, Tried
from lddn_jax.losses import MeanSquaredError, error_weights
from lddn_jax.network.network import Network
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.stacked import taken
from lddn_jax.simulation.delays import DelayState
from lddn_jax.trainers.cross_validated import best_restarts, outputs_of_members, restarts_of
from lddn_jax.trainers.fold_run import FoldRun, Saving
from lddn_jax.trainers.fold_training import fit_folds
from lddn_jax.trainers.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.trainers.refitting import trained_on_everything
from lddn_jax.trainers.stress import bounded_under_stress
from lddn_jax.training.callbacks.time_limit import TimeLimit, one_run
from lddn_jax.training.result import Fitted


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """What the trainings of all structures have in common.

    Attributes:
        folds: The folds, in scaled units.
        start: How sequences start.
        starts: Linear models of the folds, and networks that start from them.
        one_step: Networks that start from ones that were fitted one step ahead.
        declared: Networks of a declared graph.
        keep: Number of networks that are kept of each fold, at most.
        key: Random key.
        supervision: Messages, callbacks and checkpoints.
        plan: Efforts and deadline.
    """

    folds: Folds
    start: AbstractStart
    starts: LinearStarts
    one_step: OneStepStarts
    declared: DeclaredStarts
    keep: int
    key: PRNGKeyArray
    supervision: Supervision
    plan: Plan

    @property
    def callbacks(self) -> tuple[Any, ...]:
        """The callbacks of the user, and one that ends a training at the deadline."""
        deadline = self.plan.deadline
        limit = [] if deadline is None else [TimeLimit(max(deadline - time.monotonic(), 0.1))]
        return (*self.supervision.callbacks, *limit)

    def on_folds(
        self,
        structure: Tried,
        frame: Tried,
        effort: Effort,
        number: int,
        callbacks: tuple[Any, ...] | None = None,
        before: Entry | None = None,
    ) -> Entry:
        """Trains a structure on all folds.

        Random keys do not depend on `number`.

        Args:
            structure: The structure.
            frame: The structure that it is trained in; see `frames`.
            effort: Restarts and steps.
            number: Number of the new entry, by which checkpoints are named.
            callbacks: Those of several trainings side by side; None for `self.callbacks`.
            before: An entry whose networks are continued; None to draw networks.
        """
        starts: Any = self.starts
        if isinstance(structure, Declared):
            starts = self.declared
        elif structure.one_step:
            starts = self.one_step
        folds = starts.folds  # of the same blocks, with shorter sequences from starts that are near to the plant
        key = jax.random.fold_in(self.key, effort.restarts)
        continued = [] if before is None else [_all_of(fitted) for fitted in before.found.fits]
        nets = [net for net, _ in continued] or [
            starts.networks(structure, fold, effort.restarts, jax.random.fold_in(key, fold), frame)
            for fold in range(self.folds.count)
        ]

        def first_states(fold: int, data: Sequences) -> DelayState:
            if continued:
                return continued[fold][1]
            return starts.first_states(structure, fold, effort.restarts, data, frame)

        own = self.supervision.checkpoint
        found = fit_folds(
            nets,
            folds,
            LevenbergMarquardt(restarts=effort.restarts, init_of_restarts=self.declared.init),
            epochs=effort.epochs,
            keep=min(self.keep, effort.restarts),
            refit=0,
            start=self.start,
            first_states=first_states if isinstance(self.start, Trained) else None,
            key=key,
            callbacks=self.callbacks if callbacks is None else callbacks,
            checkpoint=None if own is None else own.within(f"{number:02d}"),
            resume=self.supervision.resume,
            progress=self.supervision.progress if threading.current_thread() is threading.main_thread() else False,
        )
        return Entry(structure, found, effort, frame)

    def error_at_first(self, structure: Structure, frame: Structure, restarts: int) -> float:
        """Returns the out-of-fold error of starts that were fitted one step ahead, before any training in free run.

        It is that of the best network of each fold, whose hidden weights are as drawn.

        Args:
            structure: The structure, with `one_step`.
            frame: A structure that was trained with as many restarts, so that its programs are compiled.
            restarts: Number of networks of each fold.
        """
        starts = dataclasses.replace(self.one_step, trained=False)
        squares, count = 0.0, 0.0
        for fold in range(self.folds.count):
            key = jax.random.fold_in(jax.random.fold_in(self.key, restarts), fold)
            nets = starts.networks(structure, fold, restarts, key, frame)
            data = self.folds.data(nets.topology, fold, self.start)
            states = starts.first_states(structure, fold, restarts, data.train, frame)
            if restarts == 1:
                nets, states = jax.tree.map(lambda leaf: leaf[None], (nets, states))
            held, of_networks = data.validation, 0.0
            targets = cast(Signals, held.targets)
            weights = error_weights(held.weights, targets)
            for name, y in outputs_of_members(nets, held, states).items():
                target = np.asarray(targets[name])
                w = np.broadcast_to(weights[name], target.shape)
                with np.errstate(over="ignore", invalid="ignore"):  # of runs that diverge
                    of_networks += np.sum(w * (np.asarray(y) - target) ** 2, axis=(1, 2, 3))
                count += float(w.sum())
            squares += float(np.nan_to_num(of_networks, nan=np.inf).min())
        return math.sqrt(squares / count)

    def on_everything(
        self,
        entry: Entry,
        everything: Sequence[Folds],
        epochs: int,
        members: Int[np.ndarray, " kept"],
        together: int | None,
    ) -> Entry:
        """Returns an entry after training some of its members on everything; the others are left out.

        Args:
            entry: The entry.
            everything: The records, divided into sequences that are trained on in turn.
            epochs: Number of steps.
            members: Numbers of the members.
            together: Number of networks in a batch; None for as many as suit.
        """
        found = trained_on_everything(
            entry.found,
            LevenbergMarquardt(),
            MeanSquaredError(),
            epochs=epochs,
            folds=everything,
            start=self.start,
            key=self.key,
            saving=Saving(self.callbacks, self.supervision.checkpoint, self.supervision.resume, "everything"),
            progress=self.supervision.progress,
            members=np.sort(members).tolist(),
            together=together,
        )
        return dataclasses.replace(entry, found=found, effort=dataclasses.replace(entry.effort, refit=epochs))

    def anew_on_everything(self, entry: Entry, restarts: int, keep: int, steps: int) -> Entry:
        """Returns an entry with a committee that was trained anew on everything, over growing horizons.

        That is for structures with `one_step`, whose starts are so near to the plant that few steps follow on whole
        sequences. The members are those with a small training loss, of which bounded ones are preferred.

        Args:
            entry: The entry.
            restarts: Number of networks that start.
            keep: Number of those that are trained further after some steps.
            steps: Number of steps over each horizon.
        """
        structure = entry.structure
        assert isinstance(structure, Structure), "has starts one step ahead"
        frame = structure.alone
        begun, key = time.perf_counter(), jax.random.fold_in(self.key, self.folds.count)
        callbacks = self.callbacks
        with one_run(callbacks):  # the clock of the deadline runs on over all horizons
            nets, reason = self.one_step.on_everything(structure, restarts, keep, steps, key, frame, callbacks)
            whole = self.folds.whole(nets.topology, self.start).train
            saving = Saving(callbacks, self.supervision.checkpoint, self.supervision.resume, "everything")
            run = FoldRun(MeanSquaredError(), LevenbergMarquardt(restarts=keep), key, saving, self.supervision.progress)
            states = self.one_step.first_states(structure, None, keep, whole, frame)
            fitted = run.fitted(nets, whole, states, 1 if reason.cut_short else min(steps, REFIT_STEPS))
        if reason.cut_short:
            fitted = dataclasses.replace(fitted, stop_reason=reason)
        every, states = restarts_of(fitted, np.arange(keep))
        bounded = bounded_under_stress(every, whole, states)
        order = best_restarts(np.ravel(fitted.restart_values), bounded, keep)
        found = dataclasses.replace(
            entry.found,
            members=taken(every, order),
            refitted=(fitted,),
            seconds=entry.found.seconds + time.perf_counter() - begun,
        )
        return dataclasses.replace(entry, found=found, effort=dataclasses.replace(entry.effort, refit=steps))


def _all_of(fitted: Fitted) -> tuple[Network, DelayState]:
    """The networks of a fit to continue, stacked if there are several, and their first states."""
    if fitted.restarts is None:
        return fitted.net, fitted.initial_state or {}
    return fitted.restarts, fitted.restart_states or {}
