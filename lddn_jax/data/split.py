"""Records split into what trains, what validates and what tests, by one of four methods.

    Blocks            |  train . . . . . . . . |  val  | test  |    of every record, in time
    Interleaved       |  train  | val |  train  | test |  train |   stretches of one length, dealt out in turn
    RandomWindows     the same, dealt out at random
    ByRecord          each record whole

Where a record drifts, blocks ask a model to extrapolate in time; stretches make all parts alike. Neighboring samples
resemble each other, so single samples are never dealt out.

Every piece is a record of its own. A delay state is filled from the first samples of its own piece, so no part sees a
target of another through it; the price is as many samples of each piece as the longest delay. Neighboring stretches of
one part are one piece, and pay it once.
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
from lddn_jax.errors import DataError


class Piece(NamedTuple):
    """The samples [start, stop) of a record, and the part they belong to."""

    record: int
    start: int
    stop: int
    part: str


class AbstractDividing(abc.ABC):
    """A way to divide records: pass one to `divide`."""

    @abc.abstractmethod
    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Returns the pieces, none overlapping another.

        Args:
            records: The records.
            shares: By part; they sum to 1.

        Raises:
            DataError: If a part would remain empty.
        """


@dataclasses.dataclass(frozen=True)
class Blocks(AbstractDividing):
    """Cuts every record in time: its beginning trains, its middle validates, its end tests (MATLAB's `divideblock`)."""

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Cuts at the rounded shares of each length."""
        found = []
        for number, record in enumerate(records):
            edges = np.round(np.cumsum([0.0, *shares.values()]) * len(record)).astype(int).tolist()
            found += [Piece(number, *edge) for edge in zip(edges[:-1], edges[1:], shares, strict=True)]
        return [piece for piece in found if shares[piece.part] > 0]


@dataclasses.dataclass(frozen=True)
class Interleaved(AbstractDividing):
    """Deals out stretches of one length in turn, each to the part that is furthest behind its share.

    Args:
        length: Samples of a stretch; what is left at the end of a record belongs to its last one.
    """

    length: int

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Goes through the stretches of all records in order."""
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
    """Deals out stretches of one length at random.

    Args:
        length: Samples of a stretch; what is left at the end of a record belongs to its last one.
        key: A JAX random key; the same key gives the same division.
    """

    length: int
    key: PRNGKeyArray

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Gives each part the number of stretches that its share asks for, drawn from those of all records."""
        stretches = _stretches(records, self.length)
        exact = {part: share * len(stretches) for part, share in shares.items()}
        counts = {part: int(number) for part, number in exact.items()}
        for part in sorted(exact, key=lambda part: counts[part] - exact[part])[: len(stretches) - sum(counts.values())]:
            counts[part] += 1
        empty = [part for part, count in counts.items() if shares[part] > 0 and not count]
        if empty:
            raise DataError(_too_few(len(stretches), self.length, empty[0], shares[empty[0]]))
        dealt = np.repeat(list(counts), list(counts.values()))
        order = np.asarray(jax.random.permutation(self.key, len(stretches)))
        return _merged(stretches, dealt[order].tolist())


@dataclasses.dataclass(frozen=True)
class ByRecord(AbstractDividing):
    """Gives records whole: those named, or the longest first, each to the part that lacks most samples.

    Args:
        validation: Names of the records that validate.
        test: Names of the records that test. If any is named, all others train, and shares play no part.
    """

    validation: str | tuple[str, ...] = ()
    test: str | tuple[str, ...] = ()

    def __post_init__(self):
        for part in ("validation", "test"):
            names = getattr(self, part)
            object.__setattr__(self, part, (names,) if isinstance(names, str) else tuple(names))

    def pieces(self, records: Sequence[Record], shares: Mapping[str, float | int]) -> list[Piece]:
        """Gives every record to a part."""
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
            raise DataError(f"ByRecord: record {both[0]!r} cannot both validate and test. Name it once.")
        parts = [
            "validation" if name in self.validation else "test" if name in self.test else "train" for name in names
        ]
        if "train" not in parts:
            raise DataError(f"ByRecord: all of {names} validate or test, and none trains. Leave one out.")
        return parts

    def _by_length(self, records, shares):
        wanted = [part for part, share in shares.items() if share > 0]
        if len(records) < len(wanted):
            raise DataError(
                f"ByRecord: {len(records)} record(s) cannot be {', '.join(wanted)}. Bring {len(wanted)} or more, cut "
                "them in time by lddn.data.Blocks(), or ask for fewer parts: shares=(0.8, 0.2, 0.0)."
            )
        total = sum(map(len, records))
        lacking = {part: shares[part] * total for part in wanted}
        parts = [""] * len(records)
        for done, number in enumerate(sorted(range(len(records)), key=lambda n: -len(records[n]))):
            empty = [part for part in wanted if part not in parts]
            open_to = empty if len(records) - done == len(empty) else wanted  # none may remain empty
            parts[number] = max(open_to, key=lacking.__getitem__)
            lacking[parts[number]] -= len(records[number])
        return parts


def _stretches(records: Sequence[Record], length: int) -> list[tuple[int, int, int]]:
    """Cuts every record into stretches of `length` samples: its number, start and stop."""
    if not hasattr(length, "__index__") or length < 1:
        raise DataError(f"length={length!r} of a stretch must be a positive number of samples.")
    length, found = operator.index(length), []
    for number, record in enumerate(records):
        starts = list(range(0, max(len(record) - length, 0) + 1, length))
        found += [(number, *edges) for edges in zip(starts, [*starts[1:], len(record)], strict=True)]
    return found


def _merged(stretches: list[tuple[int, int, int]], parts: list[str]) -> list[Piece]:
    """Joins neighboring stretches of one part."""
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
        f"the records hold {count} stretch(es) of {length} samples, none of which falls to {part}, whose share is "
        f"{share}. Pass a shorter length, bring longer records, or give it a larger share."
    )


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
    records: Records,
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
