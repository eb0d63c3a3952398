"""How much is computed for one structure of a competition: restarts, steps and windows by the size of the records.

    seconds of a step ≈ N (1 µs + 0.4 ns p²)        N samples, p weights and biases: JᵀJ takes N p² products

Each stage may take a share of the seconds of the whole search; restarts and steps are what fits into it, up to what is
wanted at most. Seconds are predicted and not measured, so that equal records and settings give equal results on every
machine. Shares were chosen for two cores, on which they do not add up to 1; a slower machine takes longer.
"""

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np

from lddn_jax.data.records import Record
from lddn_jax.identification.structures import Tried
from lddn_jax.topology.trained_weights import parameter_count


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is computed for one structure.

    Attributes:
        restarts: Number of networks of each fold.
        epochs: Steps on each fold.
        refit: Steps on everything; 0 for none.
    """

    restarts: int
    epochs: int
    refit: int = 0


LONG_RECORD_SAMPLES = 8000  # from which on records are trained on by windows
# That the whole search is planned for: of records of 1000 samples or less, and at most.
NOMINAL_SECONDS, NOMINAL_SAMPLES, MOST_NOMINAL_SECONDS = 45.0, 1000, 90.0
NOMINAL_EXPONENT = 0.7
# Each effort is the largest of its stage.
SCREENING, SCREENING_SHARE = Effort(32, 30), 0.06  # of a structure that is tried, and its share of the seconds
LINEAR_STEPS = 100  # of the linear structure
SCREENING_OF_LONG_RECORDS = Effort(2, 8)
FINAL, FINAL_SHARE = Effort(64, 60), 0.35  # of the structure that was chosen, trained anew
LEAST_RATIO_OF_RESTARTS = 2  # of this training to those before, if it is to be worth it
CONTINUED_SHARE, MOST_CONTINUED_STEPS = 0.2, 300  # of its networks instead, if their errors still fall
LEAST_CONSTANTS_OF_A_PIECE = 25  # slowest time constants of a sequence, if a stretch of training samples is divided
CONSTANTS_OF_A_SHORT_PIECE, LEAST_PIECE = 4, 100  # the same from starts one step ahead, and samples at least
LEAST_RESTARTS, LEAST_RESTARTS_ON_WINDOWS = 4, 1
USEFUL_SHARE_OF_STEPS = 0.7  # of those wanted; rather fewer restarts than fewer steps
COMPILE_SECONDS = 6.0  # of the programs of one structure and number of restarts, on one core
SHARE_FOR_TRAINING = 0.85  # of a time budget; the rest is for compiling and computing the predictions
SHARE_OF_A_ROUND = 0.6  # of the time that is left, which structures tried together may take
LEAST_EPOCHS = 10  # in the screening, below which a structure is too large for the seconds
REFIT_SHARE, REFIT_STEPS = 0.4, 30  # training on everything: share of the seconds, and the least number of steps
LONG_REFIT_SHARE, LONG_REFIT_STEPS = 2.0, 200  # the same on long records, where it is most of the work
MOST_REFIT_STEPS = 400
MOST_ON_WINDOWS = 4  # members of a committee on long records
STILL_FALLING = 0.9  # share of the steps on a fold: a best network found later shows that its error still falls
LEAD_SAMPLES = 40  # at the start of a record that are trained on even if its first block is held out
WINDOWS = 16  # that long records are trained on by
WINDOW_SAMPLES = 1000  # of such a window
LARGEST_EXCERPT = 20_000  # samples that the warm-up of windows is estimated from


def cost(samples: int, parameters: int) -> float:
    """Returns roughly the seconds of one Levenberg-Marquardt step of one network on one core.

    Args:
        samples: Number of samples of all records.
        parameters: Number of weights and biases.
    """
    return samples * (1e-6 + 4e-10 * parameters**2)


def nominal_seconds(samples: int, long: bool) -> float:
    """Returns the seconds that a search is planned for, between those of a few samples and those of long records."""
    more = max(samples / NOMINAL_SAMPLES, 1.0) ** NOMINAL_EXPONENT
    return MOST_NOMINAL_SECONDS if long else min(NOMINAL_SECONDS * more, MOST_NOMINAL_SECONDS)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Restarts and steps of each stage, by the model of the cost, and the clock of a time budget.

    Attributes:
        record: A record, for its inputs and targets.
        samples: Number of samples of all records.
        folds: Number of folds.
        seconds: Seconds that the search is planned for.
        deadline: Moment of `time.monotonic` at which training stops; None for no clock.
        long: Whether records are trained on by windows.
        asked: Restarts and steps on each fold that the user asked for; None for each that is planned.
    """

    record: Record
    samples: int
    folds: int
    seconds: float
    deadline: float | None
    long: bool
    asked: tuple[int | None, int | None]

    # --- the model of the cost ---

    def parameters(self, structure: Tried) -> int:
        """Number of weights and biases."""
        return parameter_count(structure.topology(self.record))

    def step(self, structure: Tried) -> float:
        """Seconds of a step of one network."""
        return cost(self.samples, self.parameters(structure))

    def seconds_of(self, structure: Tried, effort: Effort) -> float:
        """Seconds of a structure on one core, with compilation."""
        return COMPILE_SECONDS + self.folds * effort.restarts * effort.epochs * self.step(structure)

    def samples_of_a_parameter(self, structure: Tried) -> float:
        """Number of measured values for each weight and bias."""
        return self.samples * sum(self.record.sizes["targets"].values()) / self.parameters(structure)

    # --- efforts ---

    def screening(self, frame: Tried) -> Effort:
        """Restarts and steps of a structure that is tried."""
        return self._affordable(frame, SCREENING_OF_LONG_RECORDS if self.long else SCREENING, SCREENING_SHARE)

    def anew(self, structure: Tried) -> Effort:
        """Restarts and steps of a structure that was chosen and is trained anew."""
        return self._affordable(structure, FINAL, FINAL_SHARE)

    def continued(self, frame: Tried, restarts: int) -> Effort:
        """Restarts and steps of a structure that was chosen and is trained further."""
        steps = CONTINUED_SHARE * self.seconds / (self.folds * restarts * self.step(frame))
        return Effort(restarts, int(np.clip(steps, 1, self.asked[1] or MOST_CONTINUED_STEPS)))

    def on_everything(self, frame: Tried, least: int, most: int, many: bool) -> tuple[int, int]:
        """Number of members and of steps on everything; with `many`, as many steps as there is time for, up to 400."""
        steps = REFIT_SHARE * self.seconds / self.step(frame)
        count = int(np.clip(steps // (MOST_REFIT_STEPS if many else REFIT_STEPS), min(least, most), most))
        epochs = int(np.clip(steps / count, REFIT_STEPS, MOST_REFIT_STEPS)) if many else REFIT_STEPS
        return count, self._asked_at_most(epochs)

    def on_windows(self, structure: Tried, samples: int, most: int) -> tuple[int, int]:
        """Number of members and of steps on all windows of long records, from 200 to 400."""
        steps = LONG_REFIT_SHARE * self.seconds / cost(samples, self.parameters(structure))
        count = int(np.clip(steps // LONG_REFIT_STEPS, 1, min(MOST_ON_WINDOWS, most)))
        return count, self._asked_at_most(int(np.clip(steps / count, LONG_REFIT_STEPS, MOST_REFIT_STEPS)))

    def _asked_at_most(self, epochs: int) -> int:
        return min(epochs, self.asked[1] or epochs)

    def _affordable(self, frame: Tried, wanted: Effort, share: float) -> Effort:
        """The restarts and steps that are wanted, or fewer if they exceed a share of the time."""
        restarts, epochs = self.asked
        if frame.linear:
            return Effort(1, epochs or LINEAR_STEPS)
        least = min(LEAST_RESTARTS_ON_WINDOWS if self.long else LEAST_RESTARTS, wanted.restarts)
        steps = share * self.seconds / (self.folds * self.step(frame))
        if restarts is None:  # by powers of two, as programs are compiled for a number of restarts
            most = steps / (epochs or math.ceil(USEFUL_SHARE_OF_STEPS * wanted.epochs))
            restarts = int(np.clip(least * 2 ** math.floor(math.log2(max(most / least, 1))), least, wanted.restarts))
        return Effort(restarts, epochs or int(np.clip(steps / restarts, 1, wanted.epochs)))

    # --- the clock ---

    @property
    def late(self) -> bool:
        """Whether the deadline is over."""
        return not self.is_time_for(0.0)

    def is_time_for(self, seconds: float) -> bool:
        """Whether these seconds end before the deadline."""
        return self.deadline is None or time.monotonic() + seconds < self.deadline

    def in_time(self, frames: Sequence[Tried], efforts: Sequence[Effort], workers: int) -> int:
        """How many of these structures there is time for; at least one. Each frame is compiled once."""
        if self.deadline is None:
            return len(frames)
        each = [self.seconds_of(frame, effort) for frame, effort in zip(frames, efforts, strict=True)]
        compiled = np.array([frame in frames[:k] for k, frame in enumerate(frames)])
        left = SHARE_OF_A_ROUND * max(self.deadline - time.monotonic(), 0.0)
        return max(1, int(np.sum(np.cumsum(np.array(each) - COMPILE_SECONDS * compiled) <= left * workers)))


def spread_windows(records: Sequence[Record], count: int, length: int) -> list[Record]:
    """Returns windows of a record or several, spread evenly, as records of their own.

    Args:
        records: The records; those shorter than a window are taken as they are.
        count: Number of windows, about: each record has a share of them by its length, and at least one.
        length: Samples of a window. Windows overlap if there are not enough samples.
    """
    total, found = sum(map(len, records)), []
    for record in records:
        own = max(1, round(count * len(record) / total))
        size = min(length, len(record))
        for start in np.linspace(0, len(record) - size, own).astype(int).tolist():
            found.append(record.piece(start, start + size))
    return found
