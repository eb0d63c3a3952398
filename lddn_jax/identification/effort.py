"""How much is computed for one structure of a competition: restarts, steps and windows by the size of the records.

    seconds of a step ≈ N (1 µs + 0.4 ns p²)        N samples, p weights and biases: JᵀJ takes N p² products

Each stage may take a share of the seconds of the whole search; restarts and steps are what fits into it, up to what is
wanted at most. Seconds are predicted and not measured, so that equal records and settings give equal results on every
machine. Shares were chosen for two cores, on which they do not add up to 1; a slower machine takes longer.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lddn_jax.data.records import Record
from lddn_jax.topology.topology import Topology


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
LEAST_RESTARTS, LEAST_RESTARTS_ON_WINDOWS = 4, 1
USEFUL_SHARE_OF_STEPS = 0.7  # of those wanted; rather fewer restarts than fewer steps
COMPILE_SECONDS = 6.0  # of the programs of one structure and number of restarts, on one core
SHARE_FOR_TRAINING = 0.85  # of a time budget; the rest is for compiling and computing the predictions
SHARE_OF_A_ROUND = 0.6  # of the time that is left, which structures tried together may take
LEAST_EPOCHS = 10  # in the screening, below which a structure is too large for the seconds
REFIT_SHARE, REFIT_STEPS = 0.4, 30  # training on everything: share of the seconds, and the least number of steps
LONG_REFIT_SHARE, LONG_REFIT_STEPS = 1.2, 200  # the same on long records, where it is most of the work
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


def parameters_of(topology: Topology) -> int:
    """Returns the number of weights and biases of a network."""
    sizes = topology.sizes
    weights = sum(len(c.delays) * sizes[c.to] * sizes[c.source] for c in topology.connections)
    return weights + sum(layer.size for layer in topology.layers if layer.bias)


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
