"""Records as pieces: arrays without missing values, standardized, with the names and sizes of their columns.

A linear model reads the inputs side by side as the columns of one array, in the order of the record, and its targets
likewise. An input that is a target's measured past, `measured_y`, is left out: the model has states instead.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float

from lddn_jax.data.records import Record, Records, as_records
from lddn_jax.errors import DataError
from lddn_jax.network.signals import measured_name

Piece = tuple[Float[np.ndarray, "time=_ inputs"], Float[np.ndarray, "time=_ outputs"]]  # pieces differ in length


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Standardized inputs and outputs of all unbroken pieces.

    Attributes:
        arrays: (u, y) of each piece, with mean 0 and deviation 1 over all pieces.
        input_sizes, output_sizes: Sizes by name, in the order of the columns.
        input_mean, output_mean, input_scale, output_scale: What the standardization subtracted and divided by.
        sample_time: Sampling interval of the records; None if unknown.
    """

    arrays: list[Piece]
    input_sizes: Mapping[str, int]
    output_sizes: Mapping[str, int]
    input_mean: Float[np.ndarray, " inputs"]
    output_mean: Float[np.ndarray, " outputs"]
    input_scale: Float[np.ndarray, " inputs"]
    output_scale: Float[np.ndarray, " outputs"]
    sample_time: float | None

    @cached_property
    def samples(self) -> int:
        """Number of samples of all pieces."""
        return sum(len(y) for _, y in self.arrays)

    @property
    def longest(self) -> int:
        """Number of samples of the longest piece."""
        return max(len(y) for _, y in self.arrays)


def driving_inputs(record: Record) -> dict[str, int]:
    """Returns the sizes of the inputs by name, without the measured pasts of targets.

    Example:
        >>> driving_inputs(Record({"u": np.zeros((9, 2)), "measured_y": np.zeros((9, 1))}, {"y": np.zeros((9, 1))}))
        {'u': 2}
    """
    fed_back = {measured_name(name) for name in record.targets}
    return {name: u.shape[1] for name, u in record.inputs.items() if name not in fed_back}


def columns(
    signals: Mapping[str, Float[np.ndarray, "time size=_"]], sizes: Mapping[str, int], steps: int
) -> Float[np.ndarray, "time columns"]:
    """Returns signals side by side.

    Args:
        signals: `(time, size)` by name.
        sizes: Their sizes by name, in the order of the columns.
        steps: Number of samples, which is all that is known if there are no signals.
    """
    return np.concatenate([np.zeros((steps, 0)), *(signals[name] for name in sizes)], axis=1)


def columns_of_signals(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Returns the columns of each signal.

    Args:
        sizes: Sizes of the signals by name, in the order of the columns.
    """
    stops = np.cumsum([0, *sizes.values()])
    return {name: slice(int(a), int(b)) for name, a, b in zip(sizes, stops[:-1], stops[1:], strict=True)}


def pieces_of(records: Records, where: str) -> Pieces:
    """Returns the unbroken pieces of records, standardized.

    Args:
        records: A record or a list of records.
        where: Name of the function in error messages.

    Raises:
        DataError: If no two successive samples are complete.
    """
    given = as_records(records, where)
    inputs, outputs = driving_inputs(given[0]), {name: y.shape[1] for name, y in given[0].targets.items()}
    plain = [record.replaced(inputs={name: record.inputs[name] for name in inputs}) for record in given]
    found = [piece for record in plain for piece in record.unbroken(2)]
    if not found:
        raise DataError(
            f"{where}: no two successive samples of the records are without a missing value. Fill the gaps of the "
            "inputs, or leave out the signal that is missing most."
        )
    arrays = [(columns(p.inputs, inputs, len(p)), columns(p.targets, outputs, len(p))) for p in found]
    u_mean, u_scale = _standardization([u for u, _ in arrays])
    y_mean, y_scale = _standardization([y for _, y in arrays])
    times = {record.sample_time for record in given}
    return Pieces(
        [((u - u_mean) / u_scale, (y - y_mean) / y_scale) for u, y in arrays],
        inputs,
        outputs,
        u_mean,
        y_mean,
        u_scale,
        y_scale,
        times.pop() if len(times) == 1 else None,
    )


def _standardization(
    signals: Sequence[Float[np.ndarray, "time=_ size"]],
) -> tuple[Float[np.ndarray, " size"], Float[np.ndarray, " size"]]:
    """Mean and standard deviation of each column over all pieces; 1 for the deviation of a constant."""
    joined = np.concatenate(signals)
    mean = joined.mean(axis=0)
    scale = (joined - mean).std(axis=0)
    constant = np.ptp(joined, axis=0) <= 1e-14 * np.abs(joined).max(axis=0, initial=0)
    return np.where(constant, joined[0], mean), np.where(constant | (scale == 0), 1.0, scale)
