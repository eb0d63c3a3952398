"""The default identification: structures of a state space compete by their out-of-fold error; the best is a committee.

    1. order        linear models of 1, 2 … 8 states, without and with a feedthrough (`linear_orders`); the smallest
                    whose out-of-fold error is within 11 % of the smallest error (2 % on long records)
    2. screening    structures of this order and with a state more, with neurons in the state equation, in the output
                    equation and in both, beside the linear one; each with a few restarts and steps on all folds
    3. growth       more states; the shapes whose error is within 50 % of the best again with the best number of states;
                    networks that were fitted one step ahead, if their free runs are nearly as good before any further
                    training (`one_step_starts`); then twice the neurons, if samples are many or the errors do not fall
                    any more; each as long as the error decreases by 10 %
    4. finalists    the smallest nonlinear structure within one standard error of the best, but not worse by more than
                    10 %, of those whose networks stay bounded under stress; and the best ones with neurons in other
                    equations, if they are within 15 % of the best
    5. more effort  they are trained anew with more restarts and steps; or continued, if there is no time for that and
                    the errors of their networks still fell in the last steps; then the rule of 4. chooses among them,
                    and the result is compared with the linear structure
    6. committee    the best networks of each fold, trained for some steps more on everything; or, of starts one step
                    ahead, new networks of the largest structure within 20 % of the smallest error, trained over growing
                    horizons on everything

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
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import PRNGKeyArray

from lddn_jax.data.fold_blocks import folds
from lddn_jax.data.records import Record
from lddn_jax.data.starts import AbstractStart, FromRecord, Trained, WarmUp
from lddn_jax.identification.competition import Competition, Entry, finite, steady_ones, within_one_error
from lddn_jax.identification.declared import Declared, DeclaredStarts, remembers
from lddn_jax.identification.effort import (
    COMPILE_SECONDS,
    CONSTANTS_OF_A_SHORT_PIECE,
    FINAL,
    LARGEST_EXCERPT,
    LEAD_SAMPLES,
    LEAST_CONSTANTS_OF_A_PIECE,
    LEAST_EPOCHS,
    LEAST_PIECE,
    LEAST_RATIO_OF_RESTARTS,
    LONG_RECORD_SAMPLES,
    SHARE_FOR_TRAINING,
    STILL_FALLING,
    WINDOW_SAMPLES,
    WINDOWS,
    Plan,
    nominal_seconds,
    spread_windows,
)
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.frames import cut
from lddn_jax.identification.linear_orders import LinearOrders, linear_orders
from lddn_jax.identification.one_step_starts import HORIZONS, OneStepStarts
from lddn_jax.identification.recipes import Supervision
from lddn_jax.identification.settings import Settings
from lddn_jax.identification.structure_training import Training
from lddn_jax.identification.structures import LinearStarts, Structure, Tried, common_frame
from lddn_jax.network.committee import Committee
from lddn_jax.network.initializers import Initializer
from lddn_jax.numerics.text_table import digits
from lddn_jax.topology.topology import Topology
from lddn_jax.training.side_by_side import at_once, side_by_side

LARGEST_ORDER = 8  # of the linear models
ORDER_GAIN, ORDER_GAIN_OF_LONG_RECORDS = 0.9, 0.98  # factor by which the error falls if more states are worth it
# Of the error of a larger structure to the smallest one, on long records and of starts one step ahead.
LARGEST_RATIO_OF_LARGER = 1.2
LARGEST_RATIO_OF_SHAPES = 1.5  # of the error of a shape that is tried again with more states to the smallest one
LARGEST_RATIO_AT_FIRST = 1.25  # of the error of starts one step ahead, before training, to that of trained networks
FINALISTS, LARGEST_RATIO_OF_FINALISTS = 3, 1.15  # structures trained longer; their errors to the smallest one
ONE_STEP_RESTARTS, ONE_STEP_MEMBERS = 32, 8  # of a committee that starts one step ahead
GROWTH_GAIN = 0.9  # factor by which the error falls if growth is to continue
LARGEST_HIDDEN = 40  # neurons
LEAST_STATES = 2  # of the first nonlinear structures
LEAST_SAMPLES_OF_A_PARAMETER = 2.0  # measured values for each weight, below which a structure is too large
MANY_SAMPLES_OF_A_PARAMETER = 20.0  # from which on many steps on everything do not overfit
MORE_STATES_OF_LONG_RECORDS = 2  # of a nonlinear structure than of the best linear model
DEFAULT_SHAPES = ((5, 4), (0, 4), (5, 0))  # neurons of the state equation and of the output equation
SHAPES_OF_LONG_RECORDS = ((15, 0), (0, 8))


def _sizes(structure: Tried) -> Structure:
    """The structure itself, which is one of those that compete."""
    assert isinstance(structure, Structure), "a declared network has no others to compete with"
    return structure


def _shape(entry: Entry) -> tuple[bool, bool]:
    """Whether there are neurons in the state equation, and in the output equation."""
    sizes = _sizes(entry.structure)
    return sizes.hidden > 0, sizes.output_hidden > 0


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
        declared: A network that is trained in place of the structures; None for these.
        init: Initializer of a declared network.
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
        declared: Topology | None = None,
        init: str | Initializer = "nguyen-widrow",
    ):
        self.records, self.count, self.keep, self.key = list(records), count, keep, key
        self.supervision = Supervision() if supervision is None else supervision
        self.say = self.supervision.say
        self.constant, self.declared, self.init = constant or {}, declared, init
        # Many short records are trained on as they are: their first states are few samples each.
        samples = [len(record) for record in self.records]
        long = sum(samples) > LONG_RECORD_SAMPLES and max(samples) >= 2 * WINDOW_SAMPLES
        self.plan = Plan(
            self.records[0],
            sum(samples),
            count,
            nominal_seconds(sum(samples), long) if budget is None else budget,
            deadline,
            long,
            asked,
        )
        self.states, self.shapes = states, hidden
        self.entries: list[Entry] = []

    # --- the course of the search ---

    def run(self) -> Competition:
        """Runs all stages."""
        begun = time.perf_counter()
        self._prepare()
        orders = self._orders()
        self.starts = orders.starts
        piece = max(LEAST_PIECE, math.ceil(CONSTANTS_OF_A_SHORT_PIECE * self.slowest))
        self.one_step = OneStepStarts(dataclasses.replace(self.folds, piece=piece), self.starts)
        self.training = Training(
            self.folds,
            self.start,
            self.starts,
            self.one_step,
            DeclaredStarts(self.folds, self.init),
            self.keep,
            self.key,
            self.supervision,
            self.plan,
        )
        if self.declared is None:
            self._screen(orders.best)
        else:
            self._try_all([Declared(self.declared)])
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
        if self.plan.long:
            self.slowest = LinearStarts(folds([self._excerpt()], 2)).model(4, None).slowest
            self.warmup = int(np.clip(10 * self.slowest, 50, WINDOW_SAMPLES // 2))
            length = max(WINDOW_SAMPLES, 4 * self.warmup)
            least = 2 * self.warmup  # of a record, most of which would not be scored otherwise
            usable = [record for record in self.records if len(record) >= least]
            self.windows = spread_windows(usable, WINDOWS, length)
            short = spread_windows(usable, WINDOWS // 2, max(length // 2, least))
            self.start: AbstractStart = WarmUp(self.warmup, FromRecord())
            self.folds = folds(short, self.count, length=len(short[0]))
            self.plan = dataclasses.replace(self.plan, samples=sum(map(len, short)))
            self.say(
                f"long records: {len(self.windows)} windows of {length} samples, of which the first {self.warmup} are "
                "not scored"
            )
        else:
            forgets = self.declared is not None and not remembers(self.declared)
            self.start, self.warmup = FromRecord() if forgets else Trained(), 0
            whole = folds(self.records, self.count, lead=LEAD_SAMPLES)
            block = max(b - a for edges in whole.blocks for a, b in itertools.pairwise(edges))
            # Only long free runs show the drift of a plant that is slow or integrates.
            self.slowest = LinearStarts(whole, constant=self.constant).model(LEAST_STATES, None).slowest
            piece = max(block, math.ceil(LEAST_CONSTANTS_OF_A_PIECE * self.slowest))
            self.folds = dataclasses.replace(whole, piece=piece)

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
            gain=ORDER_GAIN_OF_LONG_RECORDS if self.plan.long else ORDER_GAIN,
        )
        listed = ", ".join(f"{states}: {digits(error)}" for states, error in found.errors.items())
        through = ", with a feedthrough" if found.starts.feedthrough else ""
        self.say(f"linear models{through}, out-of-fold error by number of states: {listed}")
        return found

    def _screen(self, order: int) -> None:
        """Tries the shapes with the states of the best linear model, more states, all shapes again, then more neurons.

        With given numbers of states, the shapes are tried with the smallest, and the best shape with the others.
        """
        default = SHAPES_OF_LONG_RECORDS if self.plan.long else DEFAULT_SHAPES
        shapes = [shape for shape in (default if self.shapes is None else self.shapes) if any(shape)]
        states = [order] if self.states is None else sorted(set(self.states))
        first = max(states[0], LEAST_STATES) if self.states is None else states[0]
        if self.plan.long and self.states is None:  # linear models show too few, and samples are many
            first = min(order + MORE_STATES_OF_LONG_RECORDS, LARGEST_ORDER)
        more = [self._sized(first + 1, shape) for shape in shapes if self.states is None and not self.plan.long]
        others = [self._sized(first, shape) for shape in shapes]
        self._try_all([*others[:1], self._sized(order, (0, 0)), *others[1:], *more])  # the first ones, if time is short
        if self.states is not None:
            self._try_all([dataclasses.replace(_sizes(self._best.structure), states=n) for n in states])
        elif not self.plan.long:
            self._grow(lambda s: dataclasses.replace(s, states=s.states + 1))
        if self.shapes is None and not self.plan.long:
            states, least = _sizes(self._best.structure).states, self._best.found.error
            tried = [(_sizes(entry.structure), entry.found.error) for entry in self.entries]
            errors = {(s.hidden, s.output_hidden): error for s, error in tried if s.states == first}
            close = [shape for shape in shapes if errors.get(shape, 0.0) <= LARGEST_RATIO_OF_SHAPES * least]
            self._try_all([self._sized(states, shape) for shape in close])
        self._try_one_step()
        if (
            self.shapes is None
            and not self.plan.long
            and (self._rich(self._best.structure) or not _still_falls(self._best))
        ):
            self._grow(lambda s: dataclasses.replace(s, hidden=2 * s.hidden, output_hidden=2 * s.output_hidden))

    def _try_one_step(self) -> None:
        """Tries starts that were fitted one step ahead, if their free runs promise more than other starts reached."""
        others = [entry for entry in self._nonlinear if _sizes(entry.structure).hidden]
        if self.plan.long or self.starts.feedthrough or not others or self.plan.late or self._cut_short:
            return
        best = min(steady_ones(others), key=lambda entry: finite(entry.found.error))
        structure = dataclasses.replace(_sizes(best.structure), one_step=True)
        if self.shapes is None:  # outputs are states then, so that neurons of the output equation have little to do
            structure = dataclasses.replace(structure, output_hidden=0)
        if not self.one_step.possible(structure):
            return
        error = self.training.error_at_first(structure, _sizes(best.frame), best.effort.restarts)
        if error <= LARGEST_RATIO_AT_FIRST * best.found.error:
            self._try_all([structure])

    def _sized(self, states: int, shape: tuple[int, int]) -> Structure:
        return Structure(states, *shape, self.starts.feedthrough)

    def _grow(self, larger: Callable[[Structure], Structure]) -> None:
        """Tries larger structures than the best, as long as they are better by 10 %."""
        while not self.plan.late and not self._best.structure.linear:
            before, tried = self._best, larger(_sizes(self._best.structure))
            if not self._admissible(tried):
                return
            self._try_all([tried])
            if self._best.structure != tried or self._best.found.error > GROWTH_GAIN * before.found.error:
                return

    def _admissible(self, structure: Structure) -> bool:
        """Whether a structure is small enough for the records and the time."""
        if max(structure.hidden, structure.output_hidden) > LARGEST_HIDDEN or structure.states > LARGEST_ORDER:
            return False
        if self.plan.samples_of_a_parameter(structure) < LEAST_SAMPLES_OF_A_PARAMETER:
            return False
        return self.plan.screening(structure).epochs >= LEAST_EPOCHS

    def _rich(self, structure: Tried) -> bool:
        """Whether measured values are so many that many steps do not overfit a structure."""
        return self.plan.samples_of_a_parameter(structure) >= MANY_SAMPLES_OF_A_PARAMETER

    def _largest_close(self, entries: list[Entry]) -> Entry:
        """The largest structure that is nearly as good as the best: samples are many and the trainings unfinished."""
        steady = steady_ones(entries)
        least = min(finite(entry.found.error) for entry in steady)
        close = [entry for entry in steady if finite(entry.found.error) <= LARGEST_RATIO_OF_LARGER * least]
        return max(close, key=lambda entry: _sizes(entry.structure)) if len(close) > 1 else (close or entries)[0]

    @property
    def _best(self) -> Entry:
        """The nonlinear entry with the smallest error so far, or the linear one if there is no other."""
        return min(steady_ones(self._nonlinear), key=lambda entry: finite(entry.found.error))

    @property
    def _nonlinear(self) -> list[Entry]:
        """The entries with neurons; all entries if no structure has any."""
        return [entry for entry in self.entries if not entry.structure.linear] or self.entries

    def _committee(self) -> Entry:
        """Chooses a structure, trains it longer unless records are long, and trains its networks on everything.

        After the deadline, or if a training was cut short, it returns the best networks of the folds as they are.
        """
        if self.plan.long:
            best = self._largest_close(self.entries)
        else:
            best = within_one_error(steady_ones([self._trained_longer(entry) for entry in self._finalists]))
            best = within_one_error([*(entry for entry in self.entries if entry.structure.linear), best])
            if best.structure.one_step:  # without much noise, weights that few samples determine are the only danger
                rich = [e for e in self.entries if e.structure.one_step and self._rich(e.structure)]
                best = self._largest_close([best, *(entry for entry in rich if entry is not best)])
        if self.plan.is_time_for(COMPILE_SECONDS) and not self._cut_short:
            best = self._refitted(best)
        return self._without_frame(best)

    def _without_frame(self, entry: Entry) -> Entry:
        """The entry with its members as networks of its structure."""
        topology = entry.structure.topology(self.records[0])
        if entry.found.members.topology == topology:
            return entry
        members = cut(entry.found.members, topology)
        done = dataclasses.replace(entry, found=dataclasses.replace(entry.found, members=members))
        self.entries[self.entries.index(entry)] = done
        return done

    @property
    def _finalists(self) -> list[Entry]:
        """The entries to train longer: the smallest of the good ones, and the best of other shapes."""
        steady = steady_ones(self._nonlinear)
        found = [within_one_error(steady)]
        least = min(finite(entry.found.error) for entry in steady)
        for entry in sorted(steady, key=lambda entry: finite(entry.found.error)):
            close = finite(entry.found.error) <= LARGEST_RATIO_OF_FINALISTS * least
            if entry is not found[0] and close and all(_shape(entry) != _shape(other) for other in found):
                found.append(entry)
        return found[:FINALISTS]

    def _trained_longer(self, entry: Entry) -> Entry:
        """The entry itself, or the better one of it and of a longer training."""
        if entry.structure.one_step or self.plan.late or self._cut_short or (more := self._more_of(entry)) is None:
            return entry
        self.entries.append(more)
        self.say(f"out-of-fold error {digits(more.found.error)}")
        return min(steady_ones([more, entry]), key=lambda entry: finite(entry.found.error))

    def _more_of(self, entry: Entry) -> Entry | None:
        """The entry with many more restarts if they take little time, or after more steps if its errors still fall."""
        structure, before = entry.structure, entry.effort
        anew = self.plan.anew(structure)
        if _still_falls(entry) and anew.restarts < FINAL.restarts:
            if not self.plan.is_time_for(COMPILE_SECONDS):
                return None
            effort = self.plan.continued(entry.frame, before.restarts)
            self.say(f"continuing {structure}: {effort.epochs} steps on each fold")
            return self.training.on_folds(structure, entry.frame, effort, len(self.entries), before=entry)
        enough = anew.restarts < LEAST_RATIO_OF_RESTARTS * before.restarts
        if structure.linear or enough or not self.plan.is_time_for(self.plan.seconds_of(structure, anew)):
            return None
        self.say(f"committee of {structure}: {anew.restarts} restarts, {anew.epochs} steps on each fold")
        return self.training.on_folds(structure, structure.alone, anew, len(self.entries))

    def _refitted(self, entry: Entry) -> Entry:
        """The entry after training its members on everything.

        Usually each takes 30 steps. Up to 400 are taken if samples are many or errors still fell; then only as many
        members are trained as there is time for, but one of each fold, the best first. Members that are not trained on
        everything are left out.
        """
        found = entry.found
        if entry.structure.one_step:
            return self._anew(entry)
        if self.plan.long:
            everything = [folds(self.windows, 2, length=len(self.windows[0]))]
            count, epochs = self.plan.on_windows(entry.frame, sum(map(len, self.windows)), len(found.in_order))
        else:
            # At last long sequences, which show the drift of what was trained on short ones.
            everything = [self.folds] if found.folds is self.folds else [found.folds, self.folds]
            # Many steps on everything would overfit where the folds stopped early and samples are few.
            many = self._rich(entry.structure) or _still_falls(entry)
            count, epochs = self.plan.on_everything(entry.frame, self.count, len(found.in_order), many)
        members = found.in_order[:count]
        self.say(f"training on everything: {len(members)} networks, {epochs} steps")
        done = self.training.on_everything(entry, everything, epochs, members, self._together(entry, count, epochs))
        self.entries[self.entries.index(entry)] = done
        return done

    def _anew(self, entry: Entry) -> Entry:
        """The entry with a committee of new networks that start one step ahead, trained on everything."""
        restarts = self.plan.asked[0] or ONE_STEP_RESTARTS
        most = min(ONE_STEP_MEMBERS, restarts)
        count, steps = self.plan.on_everything(entry.structure, min(self.count, most), most, many=True)
        each = max(steps // len(HORIZONS), 1)
        self.say(f"training on everything over growing horizons: {count} of {restarts} networks, {each} steps each")
        done = self.training.anew_on_everything(entry, restarts, count, each)
        self.entries[self.entries.index(entry)] = done
        return done

    def _together(self, entry: Entry, count: int, epochs: int) -> int | None:
        """How many networks are trained on everything in a batch; None for as many as suit.

        Those of a known program, unless more of it would be copies than compiling another one takes.
        """
        if self.plan.long:
            return 1
        copies = -count % entry.effort.restarts
        wasteful = copies * epochs * self.plan.step(entry.frame) > COMPILE_SECONDS
        return None if wasteful else entry.effort.restarts

    # --- structures ---

    def _try_all(self, structures: Sequence[Tried]) -> None:
        """Trains structures on all folds, several at once; those already tried are left out."""
        structures = [s for s in dict.fromkeys(structures) if not self._seen(s)]
        if not structures or (self.plan.late and self.entries) or self._cut_short:
            return
        frames = self._frames(structures)
        efforts = [self.plan.screening(frame) for frame in frames]
        count = self.plan.in_time(frames, efforts, at_once(self.supervision.callbacks))
        structures, frames, efforts = structures[:count], frames[:count], efforts[:count]
        if self.plan.long:  # whose trainings are far from their ends, so that only equal numbers of steps compare
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
            functools.partial(self.training.on_folds, structure, frame, effort, number)
            for structure, frame, effort, number in zip(structures, frames, efforts, numbers, strict=True)
        ]
        found = side_by_side(tasks, self.training.callbacks)
        self.entries += found
        self.say("\n".join(f"out-of-fold error {digits(e.found.error)}: {e.structure}" for e in found))

    def _frames(self, structures: Sequence[Tried]) -> list[Tried]:
        """A frame of each structure: the smallest one that all nonlinear structures fit into, if possible a known one.

        On long records a step takes longer than a compilation, so each structure is trained as it is.
        """
        others = [s for s in structures if isinstance(s, Structure) and not s.linear]
        if self.plan.long or not others:
            return list(structures)
        least = common_frame(others)
        frames = [e.frame for e in self.entries if isinstance(e.frame, Structure)]
        known = [frame for frame in frames if common_frame([frame, least]) == frame]
        frame = min(known, key=self.plan.parameters, default=least)
        return [frame if not s.linear and self._worth_a_frame(s, frame) else s.alone for s in structures]

    def _worth_a_frame(self, structure: Tried, frame: Tried) -> bool:
        """Whether a program takes longer to compile than the frame takes longer than the structure."""
        effort = self.plan.screening(structure)
        return self.plan.seconds_of(frame, effort) - self.plan.seconds_of(structure, effort) < COMPILE_SECONDS

    @property
    def _cut_short(self) -> bool:
        return any(entry.found.stop_reason.cut_short for entry in self.entries)

    def _seen(self, structure: Tried) -> bool:
        return any(entry.structure == structure for entry in self.entries)


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
        declared=settings.declared,
        init=experiment.initializer(settings.init),
    )
    found = search.run()
    return Committee(found.members, noise=found.noise), found


def _shapes(settings: Settings) -> tuple[tuple[int, int], ...] | None:
    """The pairs of neurons of state and output equation that the settings name; None if none is named."""
    if settings.hidden is None and settings.output_hidden is None:
        return None
    return ((settings.hidden or 0, settings.output_hidden or 0),)
