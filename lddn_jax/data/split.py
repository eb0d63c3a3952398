"""Splitting of records into training, validation and test data, by one of four methods.

    Blocks            |  train . . . . . . . . |  val  | test  |    consecutive blocks of each record
    Interleaved       |  train  | val |  train  | test |  train |   windows of equal length, assigned in turn
    RandomWindows     windows of equal length, assigned at random
    ByRecord          whole records

If a record drifts, blocks test extrapolation in time, while interleaved windows give parts with similar distributions.
Single samples are never assigned at random, since neighboring samples are correlated and would leak between parts.

Every piece is a separate record. Its delay state is filled from its own first samples, so that no target of another
part leaks into it; this costs as many samples per piece as the longest delay. Neighboring windows of the same part are
joined to one piece.
"""

import abc
import dataclasses
import numbers
import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lddn_jax.checks import did_you_mean
from lddn_jax.data.records import Record, Records, as_records
from lddn_jax.errors import DataError, fix


class Piece(NamedTuple):
    """The samples [start, stop) of a record, and the part they are assigned to."""

    record: int
    start: int
    stop: int
    part: str


class AbstractDividing(abc.ABC):
    """Base class of division methods; pass one to `divide`."""

    @abc.abstractmethod
    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Returns pieces that do not overlap.

        Args:
            records: The records.
            shares: Fraction of the samples by part; they sum to 1.

        Raises:
            DataError: If a part would be empty.
        """


@dataclasses.dataclass(frozen=True)
class Blocks(AbstractDividing):
    """Divides each record into consecutive blocks for training, validation and test (MATLAB's `divideblock`)."""

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Returns one block per record and part."""
        found = []
        for number, record in enumerate(records):
            edges = np.round(np.cumsum([0.0, *shares.values()]) * len(record)).astype(int).tolist()
            found += [Piece(number, *edge) for edge in zip(edges[:-1], edges[1:], shares, strict=True)]
        return [piece for piece in found if shares[piece.part] > 0]


@dataclasses.dataclass(frozen=True)
class Interleaved(AbstractDividing):
    """Assigns windows of equal length in turn, each to the part that is furthest below its share.

    Args:
        length: Samples per window; the remainder of a record is added to its last window.
    """

    length: int

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Assigns the windows of all records in order."""
        stretches, given = _stretches(records, self.length), dict.fromkeys(shares, 0)
        parts = []
        for done in range(1, len(stretches) + 1):
            parts.append(max(shares, key=lambda part, done=done: shares[part] * done - given[part]))
            given[parts[-1]] += 1
        empty = [part for part, count in given.items() if shares[part] > 0 and not count]
        if empty:
            raise DataError(_too_few(len(stretches), self.length, empty[0], shares[empty[0]]))
        return _merged(stretches, parts)


@dataclasses.dataclass(frozen=True, eq=False)
class RandomWindows(AbstractDividing):
    """Assigns windows of equal length at random.

    Args:
        length: Samples per window; the remainder of a record is added to its last window.
        key: JAX random key.
    """

    length: int
    key: PRNGKeyArray

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Assigns to each part a number of windows that is proportional to its share, at random."""
        stretches = _stretches(records, self.length)
        exact = {part: share * len(stretches) for part, share in shares.items()}
        counts = {part: int(number) for part, number in exact.items()}
        for part in sorted(exact, key=lambda part: counts[part] - exact[part])[: len(stretches) - sum(counts.values())]:
            counts[part] += 1
        empty = [part for part, count in counts.items() if shares[part] > 0 and not count]
        if empty:
            raise DataError(_too_few(len(stretches), self.length, empty[0], shares[empty[0]]))
        assigned = np.repeat(list(counts), list(counts.values()))
        order = np.asarray(jax.random.permutation(self.key, len(stretches)))
        return _merged(stretches, assigned[order].tolist())


@dataclasses.dataclass(frozen=True)
class ByRecord(AbstractDividing):
    """Assigns whole records, by name, or so that the shares are approximated.

    Without names, records are assigned from the longest to the shortest, each to the part that lacks most samples.

    Args:
        validation: Names of the validation records.
        test: Names of the test records. If any record is named, all others are for training and shares are ignored.
    """

    validation: str | tuple[str, ...] = ()
    test: str | tuple[str, ...] = ()

    def __post_init__(self):
        for part in ("validation", "test"):
            names = getattr(self, part)
            object.__setattr__(self, part, (names,) if isinstance(names, str) else tuple(names))

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Returns each record as one piece."""
        parts = self._named(records) if self.validation or self.test else self._by_length(records, shares)
        return [
            Piece(number, 0, len(record), part)
            for number, (record, part) in enumerate(zip(records, parts, strict=True))
        ]

    def _named(self, records):
        names = [record.name for record in records]
        for name in (*self.validation, *self.test):
            if name not in names:
                raise DataError(f"ByRecord: there is no record {name!r}; they are {names}.{did_you_mean(name, names)}")
        both = sorted(set(self.validation) & set(self.test))
        if both:
            raise DataError(f"ByRecord: record {both[0]!r} cannot be both validation and test data. Name it once.")
        parts = [
            "validation" if name in self.validation else "test" if name in self.test else "train" for name in names
        ]
        if "train" not in parts:
            raise DataError(f"ByRecord: all of {names} are validation or test data, none is left to train. Remove one.")
        return parts

    def _by_length(self, records, shares):
        wanted = [part for part, share in shares.items() if share > 0]
        if len(records) < len(wanted):
            raise DataError(
                f"ByRecord: {len(records)} record(s) cannot be divided into {', '.join(wanted)}. Pass {len(wanted)} or "
                "more records, divide them in time by lddn.data.Blocks(), or use fewer parts: shares=(0.8, 0.2, 0.0)."
            )
        total = sum(map(len, records))
        lacking = {part: shares[part] * total for part in wanted}
        parts = [""] * len(records)
        for done, number in enumerate(sorted(range(len(records)), key=lambda n: -len(records[n]))):
            empty = [part for part in wanted if part not in parts]
            open_to = empty if len(records) - done == len(empty) else wanted  # so that no part stays empty
            parts[number] = max(open_to, key=lacking.__getitem__)
            lacking[parts[number]] -= len(records[number])
        return parts


def _stretches(records: Sequence[Record], length: int) -> list[tuple[int, int, int]]:
    """Cuts records into windows of `length` samples; returns (index of the record, start, stop)."""
    if not hasattr(length, "__index__") or length < 1:
        raise DataError(f"length={length!r} of a window must be a positive number of samples.")
    length, found = operator.index(length), []
    for number, record in enumerate(records):
        starts = list(range(0, max(len(record) - length, 0) + 1, length))
        found += [(number, *edges) for edges in zip(starts, [*starts[1:], len(record)], strict=True)]
    return found


def _merged(stretches: list[tuple[int, int, int]], parts: list[str]) -> list[Piece]:
    """Joins neighboring windows of the same part."""
    pieces: list[Piece] = []
    for (number, start, stop), part in zip(stretches, parts, strict=True):
        last = pieces[-1] if pieces else None
        if last and (last.record, last.part) == (number, part):
            pieces[-1] = last._replace(stop=stop)
        else:
            pieces.append(Piece(number, start, stop, part))
    return pieces


def _too_few(count: int, length: int, part: str, share: float | int) -> str:
    return (
        f"the records have {count} window(s) of {length} samples, and none is left for {part} with its share of "
        f"{share}. Pass a shorter length, longer records, or a larger share."
    )


PARTS: tuple[str, str, str] = ("train", "validation", "test")
SHARES = (0.7, 0.15, 0.15)


@dataclasses.dataclass(frozen=True)
class Division:
    """Training, validation and test records.

    Attributes:
        train, validation, test: Lists of `Record`s; empty if the share is 0.
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
    records: Records,
    how: AbstractDividing | None = None,
    shares: tuple[float | int, float | int, float | int] = SHARES,
    *,
    shortest: int = 2,
) -> Division:
    """Divides records into training, validation and test data.

    Args:
        records: A `Record` or a list of records.
        how: `Blocks()` if None; or `Interleaved(length)`, `RandomWindows(length, key)`, `ByRecord()`.
        shares: Fractions of the samples for training, validation and test; they sum to 1.
        shortest: Minimum number of samples of a piece; it must exceed the longest delay of the network.

    Returns:
        A `Division`. Its pieces are `Record`s that keep the name and the sampling instants of their source, in order;
        they do not overlap.

    Raises:
        DataError: If shares are invalid, a part would be empty, or a piece would be shorter than `shortest`.

    Example:
        >>> import numpy as np
        >>> from lddn_jax.data.split import Interleaved
        >>> record = Record({"u": np.zeros((100, 1))}, {"y": np.zeros((100, 1))})
        >>> print(divide(record))
        train 70 samples in 1 piece(s), validation 15 samples in 1 piece(s), test 15 samples in 1 piece(s)
        >>> print(divide(record, Interleaved(10)))
        train 70 samples in 4 piece(s), validation 20 samples in 2 piece(s), test 10 samples in 1 piece(s)
    """
    records = as_records(records, "divide")
    how = Blocks() if how is None else how
    if not isinstance(how, AbstractDividing):
        raise DataError(f"divide: how={how!r} is not a division method; write how=lddn.data.Blocks().")
    sound = isinstance(shares, Sequence) and len(shares) == len(PARTS)
    sound = sound and all(isinstance(share, numbers.Real) and share >= 0 for share in shares)
    if not (sound and shares[0] > 0 and abs(sum(shares) - 1) < 1e-9):
        raise DataError(
            f"divide: shares={shares!r} must be three numbers, for train, validation and test, that are not negative "
            "and sum to 1, with train > 0: shares=(0.7, 0.15, 0.15)."
        )
    named = dict(zip(PARTS, shares, strict=True))
    found: dict[str, list[Record]] = {part: [] for part in PARTS}
    for number, start, stop, part in sorted(how.pieces(records, named)):
        record = records[number]
        if stop - start < shortest:
            called = f"record {record.name!r}" if record.name else f"record number {number}"
            whole = fix("how=lddn.data.ByRecord()", "--division records")
            raise DataError(
                f"divide: of {called}, {len(record)} samples, only {stop - start} would belong to {part}, [{start}, "
                f"{stop}), and a piece needs {shortest}: more than the longest delay. Use shorter delays, omit this "
                f"record, give {part} a larger share, or assign whole records: {whole}."
            )
        found[part].append(record.piece(start, stop))
    return Division(**found)
