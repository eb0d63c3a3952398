"""The default identification: structures of a state space compete by their out-of-fold error; the best is a committee.

    1. order        linear models of 1, 2 … 8 states, without and with a feedthrough (`linear_orders`); the smallest
                    whose out-of-fold error is within 11 % of the smallest error (2 % on long records)
    2. screening    structures of this order, with neurons in the state equation, in the output equation and in both,
                    beside the linear one; each with a few restarts and steps on all folds
    3. growth       more states; all shapes again with the best number of states; then two and four times the neurons,
                    as long as the error decreases by 3 %
    4. choice       the smallest nonlinear structure within one standard error of the best, but not worse by more than
                    10 %
    5. more effort  it is trained anew with more restarts and steps; or continued, if there is no time for that and the
                    errors of its networks still fell in the last steps; then it is compared with the linear structure
    6. committee    the best networks of each fold, trained for some steps more on everything

The out-of-fold error of a structure is that of free runs through blocks that its networks did not see (`fold_blocks`).
In each fold a part of the restarts starts from the linear model of that fold, the others at random (`structures`).
Numbers of states or neurons that are given replace the search for them.

Long records are trained on by windows with a warm-up that is not scored, since the first states of many windows would
take longer than the weights. The folds are those of half as many windows of half the length. Two structures with two
more states than the best linear model compete after equal numbers of steps. Of those within 20 % of the smallest error
the largest is taken, because samples are many and the trainings far from their ends. Most of the time is for training a
few of its networks on everything, that is on all windows.

The number of restarts, steps and windows follows from the size of the records by a model of the cost (`effort`), and
not from a clock, so that results are reproducible. With `time_budget` fewer structures are tried, stages for which
there is no time are left out, and a clock ends the training.
"""

import dataclasses
import functools
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lddn_jax.data.fold_blocks import Folds, folds
from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.starts import AbstractStart, FromRecord, Trained, WarmUp
from lddn_jax.identification.competition import Competition, Entry, finite, within_one_error
from lddn_jax.identification.effort import (
    COMPILE_SECONDS,
    CONTINUED_SHARE,
    FINAL,
    FINAL_SHARE,
    LARGEST_EXCERPT,
    LEAD_SAMPLES,
    LEAST_CONSTANTS_OF_A_PIECE,
    LEAST_EPOCHS,
    LEAST_RATIO_OF_RESTARTS,
    LEAST_RESTARTS,
    LEAST_RESTARTS_ON_WINDOWS,
    LINEAR_STEPS,
    LONG_RECORD_SAMPLES,
    LONG_REFIT_SHARE,
    LONG_REFIT_STEPS,
    MOST_CONTINUED_STEPS,
    MOST_ON_WINDOWS,
    MOST_REFIT_STEPS,
    REFIT_SHARE,
    REFIT_STEPS,
    SCREENING,
    SCREENING_OF_LONG_RECORDS,
    SCREENING_SHARE,
    SHARE_FOR_TRAINING,
    SHARE_OF_A_ROUND,
    STILL_FALLING,
    USEFUL_SHARE_OF_STEPS,
    WINDOW_SAMPLES,
    WINDOWS,
    Effort,
    cost,
    nominal_seconds,
    parameters_of,
    spread_windows,
)
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.frames import cut
from lddn_jax.identification.linear_orders import LinearOrders, linear_orders
from lddn_jax.identification.recipes import Supervision
from lddn_jax.identification.settings import Settings
from lddn_jax.identification.structures import LinearStarts, Structure, common_frame
from lddn_jax.losses import MeanSquaredError
from lddn_jax.network.committee import Committee
from lddn_jax.network.network import Network
from lddn_jax.numerics.text_table import digits
from lddn_jax.simulation.delays import DelayState
from lddn_jax.trainers.fold_run import Saving
from lddn_jax.trainers.fold_training import fit_folds
from lddn_jax.trainers.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.trainers.refitting import trained_on_everything
from lddn_jax.training.callbacks.time_limit import TimeLimit
from lddn_jax.training.result import Fitted
from lddn_jax.training.side_by_side import at_once, side_by_side

LARGEST_ORDER = 8  # of the linear models
ORDER_GAIN, ORDER_GAIN_OF_LONG_RECORDS = 0.9, 0.98  # factor by which the error falls if more states are worth it
LARGEST_RATIO_ON_WINDOWS = 1.2  # of the error of a larger structure to the smallest one, on long records
LARGEST_RATIO_OF_SHAPES = 1.5  # of the error of a shape that is tried again with more states to the smallest one
GROWTH_GAIN = 0.9  # factor by which the error falls if growth is to continue
LARGEST_HIDDEN = 40  # neurons
LEAST_STATES = 2  # of the first nonlinear structures
LEAST_SAMPLES_OF_A_PARAMETER = 2.0  # measured values for each weight, below which a structure is too large
MANY_SAMPLES_OF_A_PARAMETER = 20.0  # from which on many steps on everything do not overfit
MORE_STATES_OF_LONG_RECORDS = 2  # of a nonlinear structure than of the best linear model
DEFAULT_SHAPES = ((5, 4), (0, 4), (5, 0))  # neurons of the state equation and of the output equation
SHAPES_OF_LONG_RECORDS = ((15, 0), (0, 8))


def all_of(fitted: Fitted) -> tuple[Network, DelayState]:
    """Returns the networks of a fit to continue, stacked if there are several, and their first states."""
    if fitted.restarts is None:
        return fitted.net, fitted.initial_state or {}
    return fitted.restarts, fitted.restart_states or {}


def _still_falls(entry: Entry) -> bool:
    """Whether the best networks of most folds came from the last steps."""
    ends = [fitted.best_epoch for fitted in entry.found.fits]
    return bool(np.median(ends) >= STILL_FALLING * entry.effort.epochs)


class Search:
    """The competition on the training part of some records; `run` goes through the stages of this module.

    Args:
        records: Training records in scaled units.
        states: Numbers of states that compete, for linear models too; None to search from that of the best linear model
            on.
        hidden: Pairs of neurons of state and output equation; other numbers are then not tried. None for the default.
        count: Number of folds.
        keep: Number of networks that are kept of each fold, at most.
        budget: Seconds that the plan is made for, by the model of the cost; None for the usual ones.
        deadline: Moment of `time.monotonic` at which training stops; None for no clock.
        key: Random key.
        asked: Restarts and steps on each fold that the user asked for; None for each that follows from the size of the
            records.
        supervision: Messages, callbacks and checkpoints.
        constant: Elements of inputs that do not vary, by input.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        states: Sequence[int] | None,
        hidden: Sequence[tuple[int, int]] | None,
        count: int,
        keep: int,
        budget: float | None,
        deadline: float | None,
        key: PRNGKeyArray,
        asked: tuple[int | None, int | None] = (None, None),
        supervision: Supervision | None = None,
        constant: Mapping[str, tuple[int, ...]] | None = None,
    ):
        self.records, self.count, self.keep, self.key = list(records), count, keep, key
        self.deadline = deadline
        self.supervision = Supervision() if supervision is None else supervision
        self.say, self.asked = self.supervision.say, asked
        self.constant = constant or {}
        # Many short records are trained on as they are: their first states are few samples each.
        samples = [len(record) for record in self.records]
        self.long = sum(samples) > LONG_RECORD_SAMPLES and max(samples) >= 2 * WINDOW_SAMPLES
        self.budget = nominal_seconds(sum(samples), self.long) if budget is None else budget
        self.states, self.shapes = states, hidden
        self.entries: list[Entry] = []

    # --- the course of the search ---

    def run(self) -> Competition:
        """Runs all stages."""
        begun = time.perf_counter()
        self._prepare()
        orders = self._orders()
        self.starts = orders.starts
        self._screen(orders.best)
        chosen = self._committee()
        return Competition(
            entries=tuple(self.entries),
            chosen=chosen,
            linear=self.starts.model(orders.best, None),
            orders=orders.errors,
            seconds=time.perf_counter() - begun,
            stop_reason=chosen.found.stop_reason,
            warmup=self.warmup,
        )

    def _prepare(self) -> None:
        if self.long:
            model = LinearStarts(folds([self._excerpt()], 2)).model(4, None)
            self.warmup = int(np.clip(10 * model.slowest, 50, WINDOW_SAMPLES // 2))
            length = max(WINDOW_SAMPLES, 4 * self.warmup)
            least = 2 * self.warmup  # of a record, most of which would not be scored otherwise
            usable = [record for record in self.records if len(record) >= least]
            self.windows = spread_windows(usable, WINDOWS, length)
            short = spread_windows(usable, WINDOWS // 2, max(length // 2, least))
            self.start: AbstractStart = WarmUp(self.warmup, FromRecord())
            self.folds = folds(short, self.count, length=len(short[0]))
            self.say(
                f"long records: {len(self.windows)} windows of {length} samples, of which the first {self.warmup} are "
                "not scored"
            )
        else:
            self.start, self.warmup = Trained(), 0
            whole = folds(self.records, self.count, lead=LEAD_SAMPLES)
            block = max(b - a for edges in whole.blocks for a, b in itertools.pairwise(edges))
            # Only long free runs show the drift of a plant that is slow or integrates.
            slowest = LinearStarts(whole, constant=self.constant).model(LEAST_STATES, None).slowest
            self.folds = dataclasses.replace(whole, piece=max(block, math.ceil(LEAST_CONSTANTS_OF_A_PIECE * slowest)))

    def _excerpt(self) -> Record:
        longest = max(self.records, key=len)
        return longest.piece(0, min(len(longest), LARGEST_EXCERPT))

    def _orders(self) -> LinearOrders:
        """Linear models by number of states, and the number of the best one."""
        found = linear_orders(
            LinearStarts(self.folds, constant=self.constant),
            range(1, LARGEST_ORDER + 1) if self.states is None else sorted(set(self.states)),
            self.start,
            warmup=self.warmup,
            gain=ORDER_GAIN_OF_LONG_RECORDS if self.long else ORDER_GAIN,
        )
        listed = ", ".join(f"{states}: {digits(error)}" for states, error in found.errors.items())
        through = ", with a feedthrough" if found.starts.feedthrough else ""
        self.say(f"linear models{through}, out-of-fold error by number of states: {listed}")
        return found

    def _screen(self, order: int) -> None:
        """Tries the shapes with the states of the best linear model, more states, all shapes again, then more neurons.

        With given numbers of states, the shapes are tried with the smallest, and the best shape with the others.
        """
        default = SHAPES_OF_LONG_RECORDS if self.long else DEFAULT_SHAPES
        shapes = [shape for shape in (default if self.shapes is None else self.shapes) if any(shape)]
        states = [order] if self.states is None else sorted(set(self.states))
        first = max(states[0], LEAST_STATES) if self.states is None else states[0]
        if self.long and self.states is None:  # linear models show too few, and samples are many
            first = min(order + MORE_STATES_OF_LONG_RECORDS, LARGEST_ORDER)
        more = [self._sized(first + 1, shape) for shape in shapes[:1] if self.states is None and not self.long]
        others = [self._sized(first, shape) for shape in shapes]
        self._try_all([*others[:1], self._sized(order, (0, 0)), *others[1:], *more])  # the first ones, if time is short
        if self.states is not None:
            self._try_all([dataclasses.replace(self._best.structure, states=n) for n in states])
        elif not self.long:
            self._grow(lambda s: dataclasses.replace(s, states=s.states + 1))
        if self.shapes is None and not self.long:
            states, least = self._best.structure.states, self._best.found.error
            errors = {
                (s.hidden, s.output_hidden): e.found.error for e in self.entries if (s := e.structure).states == first
            }
            close = [shape for shape in shapes if errors.get(shape, 0.0) <= LARGEST_RATIO_OF_SHAPES * least]
            self._try_all([self._sized(states, shape) for shape in close])
            if self._rich or not _still_falls(self._best):
                self._grow(lambda s: dataclasses.replace(s, hidden=2 * s.hidden, output_hidden=2 * s.output_hidden))

    def _sized(self, states: int, shape: tuple[int, int]) -> Structure:
        return Structure(states, *shape, self.starts.feedthrough)

    def _grow(self, larger: Callable[[Structure], Structure]) -> None:
        """Tries larger structures than the best, as long as they are better by 3 %."""
        while not self._late() and not self._best.structure.linear:
            before, tried = self._best, larger(self._best.structure)
            if not self._admissible(tried):
                return
            self._try_all([tried])
            if self._best.structure != tried or self._best.found.error > GROWTH_GAIN * before.found.error:
                return

    def _admissible(self, structure: Structure) -> bool:
        """Whether a structure is small enough for the records and the time."""
        if max(structure.hidden, structure.output_hidden) > LARGEST_HIDDEN or structure.states > LARGEST_ORDER:
            return False
        if self._samples_of_a_parameter(structure) < LEAST_SAMPLES_OF_A_PARAMETER:
            return False
        return self._screening(structure).epochs >= LEAST_EPOCHS

    def _samples_of_a_parameter(self, structure: Structure) -> float:
        """Number of measured values for each weight and bias."""
        values = sum(map(len, self.folds.records)) * sum(self.records[0].sizes["targets"].values())
        return values / self._parameters(structure)

    @property
    def _rich(self) -> bool:
        """Whether measured values are so many that many steps do not overfit the best structure."""
        return self._samples_of_a_parameter(self._best.structure) >= MANY_SAMPLES_OF_A_PARAMETER

    @property
    def _largest_close(self) -> Entry:
        """The largest structure that is nearly as good as the best: trainings on long records are unfinished."""
        least = min(finite(entry.found.error) for entry in self.entries)
        close = [entry for entry in self.entries if finite(entry.found.error) <= LARGEST_RATIO_ON_WINDOWS * least]
        return max(close, key=lambda entry: entry.structure, default=self.entries[0])

    @property
    def _best(self) -> Entry:
        """The nonlinear entry with the smallest error so far, or the linear one if there is no other."""
        others = [entry for entry in self.entries if not entry.structure.linear] or self.entries
        return min(others, key=lambda entry: finite(entry.found.error))

    def _committee(self) -> Entry:
        """Chooses a structure, trains it longer unless records are long, and trains its networks on everything.

        After the deadline, or if a training was cut short, it returns the best networks of the folds as they are.
        """
        if self.long:
            best = self._largest_close
        else:
            best = within_one_error([entry for entry in self.entries if not entry.structure.linear] or self.entries)
            if not self._late() and not self._cut_short and (more := self._more_of(best)) is not None:
                self.entries.append(more)
                self.say(f"out-of-fold error {digits(more.found.error)}")
                best = more if more.found.error <= best.found.error else best
            best = within_one_error([*(entry for entry in self.entries if entry.structure.linear), best])
        if self._is_time_for(COMPILE_SECONDS) and not self._cut_short:
            best = self._refitted(best)
        return self._without_frame(best)

    def _without_frame(self, entry: Entry) -> Entry:
        """The entry with its members as networks of its structure."""
        members = cut(entry.found.members, entry.structure.topology(self.records[0]))
        done = dataclasses.replace(entry, found=dataclasses.replace(entry.found, members=members))
        self.entries[self.entries.index(entry)] = done
        return done

    def _more_of(self, entry: Entry) -> Entry | None:
        """The entry with many more restarts if they take little time, or after more steps if its errors still fall."""
        structure, before = entry.structure, entry.effort
        anew = self._affordable(structure, FINAL, FINAL_SHARE)
        if _still_falls(entry) and anew.restarts < FINAL.restarts:
            if not self._is_time_for(COMPILE_SECONDS):
                return None
            steps = CONTINUED_SHARE * self.budget / (self.count * before.restarts * self._step(entry.frame))
            effort = Effort(before.restarts, int(np.clip(steps, 1, self.asked[1] or MOST_CONTINUED_STEPS)))
            self.say(f"continuing {structure}: {effort.epochs} steps on each fold")
            return self._entry(structure, entry.frame, effort, len(self.entries), self._callbacks(), entry)
        enough = anew.restarts < LEAST_RATIO_OF_RESTARTS * before.restarts
        if structure.linear or enough or not self._is_time_for(self._seconds(structure, anew)):
            return None
        self.say(f"committee of {structure}: {anew.restarts} restarts, {anew.epochs} steps on each fold")
        return self._entry(structure, structure, anew, len(self.entries), self._callbacks())

    def _refitted(self, entry: Entry) -> Entry:
        """The entry after training its members on everything.

        Usually each takes 30 steps. Up to 400 are taken if samples are many or errors still fell; then only as many
        members are trained as there is time for, but one of each fold, the best first. Members that are not trained on
        everything are left out.
        """
        if self.long:
            return self._refitted_on_windows(entry)
        structure, found = entry.structure, entry.found
        steps = REFIT_SHARE * self.budget / self._step(entry.frame)
        order = found.in_order
        # Many steps on everything would overfit where the folds stopped early and samples are few.
        rich = self._samples_of_a_parameter(structure) >= MANY_SAMPLES_OF_A_PARAMETER
        many = rich or _still_falls(entry)
        wanted = MOST_REFIT_STEPS if many else REFIT_STEPS
        count = int(np.clip(steps // wanted, min(self.count, len(order)), len(order)))
        epochs = int(np.clip(steps / count, REFIT_STEPS, MOST_REFIT_STEPS)) if many else REFIT_STEPS
        return self._trained_on(self.folds, entry, epochs, order[:count], entry.effort.restarts)

    def _refitted_on_windows(self, entry: Entry) -> Entry:
        """The entry after training one to four members on all windows, 200 steps or more."""
        everything = folds(self.windows, 2, length=len(self.windows[0]))
        steps = LONG_REFIT_SHARE * self.budget / cost(sum(map(len, self.windows)), self._parameters(entry.frame))
        order = entry.found.in_order
        count = int(np.clip(steps // LONG_REFIT_STEPS, 1, min(MOST_ON_WINDOWS, len(order))))
        return self._trained_on(
            everything, entry, int(np.clip(steps / count, LONG_REFIT_STEPS, MOST_REFIT_STEPS)), order[:count], 1
        )

    def _trained_on(self, everything: Folds, entry: Entry, epochs: int, members: np.ndarray, together: int) -> Entry:
        """The entry, in place of the one before, after training some members on these records."""
        epochs = min(epochs, self.asked[1] or epochs)  # steps that the user asked for are not exceeded here
        self.say(f"training on everything: {len(members)} networks, {epochs} steps")
        found = trained_on_everything(
            entry.found,
            LevenbergMarquardt(),
            MeanSquaredError(),
            epochs=epochs,
            folds=everything,
            start=self.start,
            key=self.key,
            saving=Saving(self._callbacks(), self.supervision.checkpoint, self.supervision.resume, "everything"),
            progress=self.supervision.progress,
            members=np.sort(members).tolist(),
            together=together,
        )
        effort = dataclasses.replace(entry.effort, refit=epochs)
        done = dataclasses.replace(entry, found=found, effort=effort)
        self.entries[self.entries.index(entry)] = done
        return done

    def _callbacks(self) -> tuple[Any, ...]:
        limit = [] if self.deadline is None else [TimeLimit(max(self.deadline - time.monotonic(), 0.1))]
        return (*self.supervision.callbacks, *limit)

    # --- structures ---

    def _try_all(self, structures: Sequence[Structure]) -> None:
        """Trains structures on all folds, several at once; those already tried are left out."""
        structures = [s for s in dict.fromkeys(structures) if not self._seen(s)]
        if not structures or (self._late() and self.entries) or self._cut_short:
            return
        frames = self._frames(structures)
        efforts = [self._screening(frame) for frame in frames]
        count = self._in_time(frames, efforts)
        structures, frames, efforts = structures[:count], frames[:count], efforts[:count]
        if self.long:  # whose trainings are far from their ends, so that only equal numbers of steps compare
            fewest = min(effort.epochs for effort in efforts)
            efforts = [dataclasses.replace(effort, epochs=fewest) for effort in efforts]
        numbers = range(len(self.entries), len(self.entries) + len(structures))
        self.say(
            "\n".join(
                f"trying {structure}: {effort.restarts} restarts, {effort.epochs} steps on each fold"
                for structure, effort in zip(structures, efforts, strict=True)
            )
        )
        tasks = [
            functools.partial(self._entry, structure, frame, effort, number)
            for structure, frame, effort, number in zip(structures, frames, efforts, numbers, strict=True)
        ]
        found = side_by_side(tasks, self._callbacks())
        self.entries += found
        self.say("\n".join(f"out-of-fold error {digits(e.found.error)}: {e.structure}" for e in found))

    def _frames(self, structures: Sequence[Structure]) -> list[Structure]:
        """A frame of each structure: the smallest one that all nonlinear structures fit into, if possible a known one.

        On long records a step takes longer than a compilation, so each structure is trained as it is.
        """
        others = [s for s in structures if not s.linear]
        if self.long or not others:
            return list(structures)
        least = common_frame(others)
        known = [e.frame for e in self.entries if common_frame([e.frame, least]) == e.frame]
        frame = min(known, key=self._parameters, default=least)
        return [frame if not s.linear and self._worth_a_frame(s, frame) else s for s in structures]

    def _worth_a_frame(self, structure: Structure, frame: Structure) -> bool:
        """Whether a program takes longer to compile than the frame takes longer than the structure."""
        effort = self._screening(structure)
        steps = self.count * effort.restarts * effort.epochs
        return steps * (self._step(frame) - self._step(structure)) < COMPILE_SECONDS

    def _in_time(self, structures: Sequence[Structure], efforts: Sequence[Effort]) -> int:
        """How many of these structures, by their frames, there is time for; at least one."""
        if self.deadline is None:
            return len(structures)
        each = [self._seconds(s, e) for s, e in zip(structures, efforts, strict=True)]
        compiled = [s in structures[:k] for k, s in enumerate(structures)]
        seconds = np.cumsum(np.array(each) - COMPILE_SECONDS * np.array(compiled))
        left = SHARE_OF_A_ROUND * max(self.deadline - time.monotonic(), 0.0)
        return max(1, int(np.sum(seconds <= left * at_once(self.supervision.callbacks))))

    def _seconds(self, structure: Structure, effort: Effort) -> float:
        """Predicted seconds of a structure on one core."""
        return COMPILE_SECONDS + self.count * effort.restarts * effort.epochs * self._step(structure)

    def _parameters(self, structure: Structure) -> int:
        return parameters_of(structure.topology(self.records[0]))

    def _step(self, structure: Structure) -> float:
        """Predicted seconds of a step of one network."""
        return cost(sum(map(len, self.folds.records)), self._parameters(structure))

    def _is_time_for(self, seconds: float) -> bool:
        return self.deadline is None or time.monotonic() + seconds <= self.deadline

    @property
    def _cut_short(self) -> bool:
        return any(entry.found.stop_reason.cut_short for entry in self.entries)

    def _entry(
        self,
        structure: Structure,
        frame: Structure,
        effort: Effort,
        number: int,
        callbacks: tuple[Any, ...],
        before: Entry | None = None,
    ) -> Entry:
        """Trains one structure in a frame on all folds, from the networks of an entry if there is one.

        Random keys do not depend on `number`, that of the new entry, by which checkpoints are named.
        """
        starts = self.starts
        key = jax.random.fold_in(self.key, effort.restarts)
        continued = [] if before is None else [all_of(fitted) for fitted in before.found.fits]
        nets = [net for net, _ in continued] or [
            starts.networks(structure, fold, effort.restarts, jax.random.fold_in(key, fold), frame)
            for fold in range(self.count)
        ]

        def first_states(fold: int, data: Sequences) -> Any:
            if continued:
                return continued[fold][1]
            return starts.first_states(structure, fold, effort.restarts, data, frame)

        own = self.supervision.checkpoint
        found = fit_folds(
            nets,
            self.folds,
            LevenbergMarquardt(restarts=effort.restarts),
            epochs=effort.epochs,
            keep=min(self.keep, effort.restarts),
            refit=0,
            start=self.start,
            first_states=first_states if isinstance(self.start, Trained) else None,
            key=key,
            callbacks=callbacks,
            checkpoint=None if own is None else own.within(f"{number:02d}"),
            resume=self.supervision.resume,
            progress=self.supervision.progress if threading.current_thread() is threading.main_thread() else False,
        )
        return Entry(structure, found, effort, frame)

    def _late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _seen(self, structure: Structure) -> bool:
        return any(entry.structure == structure for entry in self.entries)

    def _screening(self, frame: Structure) -> Effort:
        """Restarts and steps of a structure that is tried."""
        return self._affordable(frame, SCREENING_OF_LONG_RECORDS if self.long else SCREENING, SCREENING_SHARE)

    def _affordable(self, frame: Structure, wanted: Effort, share: float) -> Effort:
        """The restarts and steps that are wanted, or fewer if they exceed a share of the time."""
        restarts, epochs = self.asked
        if frame.linear:
            return Effort(1, epochs or LINEAR_STEPS)
        least = min(LEAST_RESTARTS_ON_WINDOWS if self.long else LEAST_RESTARTS, wanted.restarts)
        steps = share * self.budget / (self.count * self._step(frame))
        if restarts is None:  # by powers of two, as programs are compiled for a number of restarts
            most = steps / (epochs or math.ceil(USEFUL_SHARE_OF_STEPS * wanted.epochs))
            restarts = int(np.clip(least * 2 ** math.floor(math.log2(max(most / least, 1))), least, wanted.restarts))
        return Effort(restarts, epochs or int(np.clip(steps / restarts, 1, wanted.epochs)))


def by_competition(
    experiment: Experiment, settings: Settings, key: PRNGKeyArray, supervision: Supervision
) -> tuple[Committee, Competition]:
    """Lets state spaces compete on the training part; returns the committee of the best, in scaled units."""
    search = Search(
        experiment.scaled_train,
        states=settings.orders,
        hidden=_shapes(settings),
        count=settings.folds,
        keep=settings.keep,
        budget=settings.time_budget,
        deadline=None if settings.time_budget is None else time.monotonic() + SHARE_FOR_TRAINING * settings.time_budget,
        key=key,
        asked=(settings.restarts, settings.epochs),
        supervision=supervision,
        constant={name: tuple(elements) for name, elements in experiment.constant.items()},
    )
    found = search.run()
    return Committee(found.members, noise=found.noise), found


def _shapes(settings: Settings) -> tuple[tuple[int, int], ...] | None:
    """The pairs of neurons of state and output equation that the settings name; None if none is named."""
    if settings.hidden is None and settings.output_hidden is None:
        return None
    return ((settings.hidden or 0, settings.output_hidden or 0),)
