"""Records divided into what trains, what validates and what tests.

Every piece is a record of its own. A delay state is filled from the first samples of its own piece, so no part sees a
target of another through it; the price is as many samples of each piece as the longest delay. Neighboring stretches of
one part are one piece, and pay it once.

How samples are dealt out is in `dividing.py`.
"""

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

from lddn_jax.data.dividing import AbstractDividing, Blocks
from lddn_jax.data.records import Record, as_records
from lddn_jax.errors import DataError

PARTS: tuple[str, str, str] = ("train", "validation", "test")
SHARES = (0.7, 0.15, 0.15)


@dataclasses.dataclass(frozen=True)
class Division:
    """Records that train, validate and test.

    Attributes:
        train, validation, test: Lists of `Record`s; empty where the share is 0.
    """

    train: list[Record]
    validation: list[Record]
    test: list[Record]

    def __str__(self):
        def counted(part):
            records = getattr(self, part)
            return f"{part} {sum(map(len, records))} samples in {len(records)} piece(s)"

        return ", ".join(counted(part) for part in PARTS)


def divide(
    records: Any,
    how: AbstractDividing | None = None,
    shares: tuple[float | int, float | int, float | int] = SHARES,
    *,
    shortest: int = 2,
) -> Division:
    """Divides records into what trains, what validates and what tests.

    Args:
        records: A `Record`, or a list of them.
        how: `Blocks()` if None; or `Interleaved(length)`, `RandomWindows(length, key)`, `ByRecord()`.
        shares: Of the samples, of train, validation and test; they sum to 1.
        shortest: Samples that a piece must have at least: more than the longest delay of the network.

    Returns:
        A `Division`. Its pieces are `Record`s with the names and instants of those they come from, in their order; no
        sample is in two of them.

    Raises:
        DataError: If shares make no sense, a part would be empty, or a piece would be shorter than `shortest`.

    Example:
        >>> import numpy as np
        >>> from lddn_jax.data.dividing import Interleaved
        >>> record = Record({"u": np.zeros((100, 1))}, {"y": np.zeros((100, 1))})
        >>> print(divide(record))
        train 70 samples in 1 piece(s), validation 15 samples in 1 piece(s), test 15 samples in 1 piece(s)
        >>> print(divide(record, Interleaved(10)))
        train 70 samples in 4 piece(s), validation 20 samples in 2 piece(s), test 10 samples in 1 piece(s)
    """
    records = as_records(records, "divide")
    how = Blocks() if how is None else how
    if not isinstance(how, AbstractDividing):
        raise DataError(f"divide: how={how!r} is no way to divide; write how=lddn.data.Blocks().")
    sound = isinstance(shares, Sequence) and len(shares) == len(PARTS)
    sound = sound and all(isinstance(share, numbers.Real) and share >= 0 for share in shares)
    if not (sound and shares[0] > 0 and abs(sum(shares) - 1) < 1e-9):
        raise DataError(
            f"divide: shares={shares!r} are those of train, validation and test; none may be negative, something "
            "must train, and they sum to 1: shares=(0.7, 0.15, 0.15)."
        )
    named = dict(zip(PARTS, shares, strict=True))
    found: dict[str, list[Record]] = {part: [] for part in PARTS}
    for number, start, stop, part in sorted(how.pieces(records, named)):
        record = records[number]
        least = max(shortest, *(x.shape[1] for x in (*record.inputs.values(), *record.targets.values())))
        if stop - start < least:
            called = f"record {record.name!r}" if record.name else f"record number {number}"
            raise DataError(
                f"divide: of {called}, {len(record)} samples, only {stop - start} would belong to {part}, [{start}, "
                f"{stop}), and a piece needs {least}: more than the longest delay. Leave this record out, give {part} "
                "a larger share, or give records whole: how=lddn.data.ByRecord()."
            )
        found[part].append(record.piece(start, stop))
    return Division(**found)
