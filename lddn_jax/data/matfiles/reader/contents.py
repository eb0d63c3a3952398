"""Contents of a MATLAB or HDF5 file as named arrays of float64.

    u                         a variable, or a dataset
    s.u                       a field of a struct, or a dataset in a group
    y{2}, runs(3).y, c{2,1}   an element of a cell array or a struct array

Both readers convert a file to nested `Fields`, `Cells`, arrays and `LeftOut`; `leaves` makes a flat list of them.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DEEPEST = 32  # levels of structs and cells
MOST_LEAVES = 100_000
MOST_SMALL_NUMBERS = 2**21  # numbers that are read although nobody asked for them
LARGEST_EXACT = 2**53  # whole numbers beyond it are rounded by float64
# Total size of the variables of a file that are read, as float64; and what a reader may allocate while it reads them.
LIMIT_BYTES = 2 * 2**30


class TooLargeError(Exception):
    """A file that claims more than the limits allow."""


class DamagedError(Exception):
    """A file whose structure contradicts itself."""


@dataclass(frozen=True)
class LeftOut:
    """A variable that holds no real numbers.

    Attributes:
        kind: What it is: "text", "table", "complex numbers", "a function handle" …
    """

    kind: str


@dataclass(frozen=True)
class Unread:
    """A variable that nobody asked for.

    Attributes:
        shape: Its shape.
    """

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Noted:
    """Numbers, and what was done to them.

    Attributes:
        values: The array.
        note: The note.
    """

    values: np.ndarray
    note: str


class Fields(dict):
    """A struct or a group: values by field."""


@dataclass(frozen=True, eq=False)
class Cells:
    """A cell array, or one field of a struct array.

    Attributes:
        elements: Object array of the values, in MATLAB's shape.
        is_struct: Whether it is a field of a struct array.
    """

    elements: np.ndarray
    is_struct: bool = False


@dataclass(frozen=True, eq=False)
class Leaf:
    """One array of a file, or what takes its place.

    Attributes:
        name: Full name in MATLAB's syntax: `runs(3).y`.
        group: Name without indices, which all elements of a cell array share: `runs.y`.
        index: Zero-based position in the cell arrays on the way, without axes of length one.
        values: A float64 array of one or two axes, singleton axes removed; None if `left_out`.
        left_out: What it is, if it holds no real numbers.
        shape: Shape of an array that was not read because nobody asked for it.
        note: What was done to the numbers.
    """

    name: str
    group: str
    index: tuple[int, ...] = ()
    values: np.ndarray | None = None
    left_out: str = ""
    shape: tuple[int, ...] | None = None
    note: str = ""


def leaves(name: str, value: Any) -> list[Leaf]:
    """Flattens a variable; one that is nested too deeply, or has too many elements, is left out."""
    try:
        found = list(itertools.islice(_flattened(name, name, (), value, 0), MOST_LEAVES + 1))
    except TooLargeError as error:
        return [Leaf(name, name, left_out=str(error))]
    return found if len(found) <= MOST_LEAVES else [Leaf(name, name, left_out=f"more than {MOST_LEAVES:,} cells")]


def _flattened(name: str, group: str, index: tuple[int, ...], value: Any, depth: int) -> Iterator[Leaf]:
    if depth > DEEPEST:
        raise TooLargeError(f"nested more than {DEEPEST} levels deep")
    if isinstance(value, Fields):
        for field_name, inner in value.items():
            yield from _flattened(f"{name}.{field_name}", f"{group}.{field_name}", index, inner, depth + 1)
    elif isinstance(value, Cells):
        yield from _flattened_cells(name, group, index, value, depth)
    elif isinstance(value, LeftOut):
        yield Leaf(name, group, index, left_out=value.kind)
    elif isinstance(value, Unread):
        yield Leaf(name, group, index, shape=value.shape)
    else:
        given = value if isinstance(value, Noted) else Noted(np.asarray(value), "")
        array, note = _numbers(given.values, given.note)
        if isinstance(array, LeftOut):
            yield Leaf(name, group, index, left_out=array.kind)
        else:
            yield Leaf(name, group, index, array, note=note)


def _flattened_cells(name: str, group: str, index: tuple[int, ...], cells: Cells, depth: int) -> Iterator[Leaf]:
    elements = cells.elements
    if not elements.size:
        yield Leaf(name, group, index, left_out="empty")
        return
    if elements.size > 1 and all(_is_number(element) for element in elements.flat):
        numbers = np.array([np.asarray(element).item() for element in elements.flat]).reshape(elements.shape)
        yield from _flattened(name, group, index, numbers, depth + 1)
        return
    if elements.size > 1 and all(_is_text(element) for element in elements.flat):
        yield Leaf(name, group, index, left_out="text")
        return
    stem, _, last = name.rpartition(".")
    for place in np.ndindex(elements.shape):
        kept = tuple(k for k, count in zip(place, elements.shape, strict=True) if count > 1)
        shown = ",".join(str(k + 1) for k in kept)
        if not kept:
            element = name
        elif cells.is_struct and stem:
            element = f"{stem}({shown}).{last}"
        else:
            element = f"{name}{{{shown}}}"
        yield from _flattened(element, group, (*index, *kept), elements[place], depth + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiub"


def _is_text(value: Any) -> bool:
    return (
        value == LeftOut("text") if isinstance(value, LeftOut) else getattr(value, "dtype", np.dtype("V")).kind in "US"
    )


def _numbers(value: np.ndarray, note: str) -> tuple[np.ndarray | LeftOut, str]:
    """Converts an array to float64 of one or two axes, and says what that changed."""
    kind = value.dtype.kind
    if kind in "US":
        return LeftOut("text"), ""
    if kind not in "fiubc":
        return LeftOut(f"data of type {value.dtype}"[:80]), ""
    if not value.size:
        return LeftOut("empty"), ""
    if kind == "c":
        if np.any(np.imag(value)):
            return LeftOut("complex numbers"), ""
        value, note = np.real(value), "its imaginary part, zero, was dropped"
    if kind in "iu" and value.dtype.itemsize == 8 and (value.max() > LARGEST_EXACT or value.min() < -LARGEST_EXACT):
        note = "its whole numbers beyond 2^53 were rounded"
    with np.errstate(over="ignore"):
        array = np.asarray(value, np.float64).squeeze()
    if array.ndim > 2:
        return LeftOut(f"an array of {array.ndim} axes, {by(array.shape)}"), ""
    return np.atleast_1d(array), note


def by(shape: tuple[int, ...]) -> str:
    """Writes a shape as in MATLAB: 100-by-2."""
    return "-by-".join(map(str, shape)) or "one number"


def check_size(name: str, count: int, before: int = 0) -> None:
    """Raises TooLargeError if a variable, with what was read before it, would exceed the limit.

    Args:
        name: Name of the variable.
        count: Number of its elements, as the file claims.
        before: Number of elements of the variables before it.
    """
    if 8 * (count + before) > LIMIT_BYTES:
        among = f", with {before:,} before it" if 8 * count <= LIMIT_BYTES else ""
        raise TooLargeError(
            f"{printable(name)} claims {count:,} elements{among}, {8 * (count + before) / 2**30:,.1f} GiB; the limit "
            f"is {LIMIT_BYTES / 2**30:.0f} GiB"
        )


def printable(text: Any, longest: int = 60) -> str:
    """A quoted text of bounded length without control characters."""
    shown = ascii(str(text)[: longest + 1])
    return shown if len(shown) <= longest + 2 else shown[: longest - 1] + "…'"


TIMES = re.compile("time|date", re.IGNORECASE)
INDICES = re.compile(r"[({\[][^)}\]]*[)}\]]")


class Wanted:
    """Which variables of a file to read.

    Besides those that were asked for, small ones are read, which may decide along which axis time runs, and those that
    may hold times.

    Args:
        names: Names of columns, as a user writes them: `X_2`, `X(:,2)`, `runs(3).y`, `run/u`; None for all.
    """

    def __init__(self, names: Sequence[str] | None):
        self.columns = None if names is None else [_stems(name) for name in names]
        self.small = 0

    def is_asked(self, group: str) -> bool:
        """Whether a column may belong to the variable with this full name, without indices."""
        stems = {stem for stems in self.columns or () for stem in stems}
        return self.columns is None or any(
            group == stem or group.endswith(f".{stem}") or group.startswith(f"{stem}.") for stem in stems
        )

    def array(self, group: str, count: int) -> bool:
        """Whether to read an array.

        Args:
            group: Its full name, without indices.
            count: Number of its elements.
        """
        if TIMES.search(group) or self.is_asked(group):
            return True
        self.small += count
        return self.small <= MOST_SMALL_NUMBERS

    def nested(self, roots: Iterable[str], known: Iterable[str]) -> set[str]:
        """Which structs, cell arrays and groups to look into.

        Args:
            roots: Names of those at the top of the file.
            known: Names of the arrays at the top of the file.
        """
        roots, known, chosen = set(roots), set(known), set()
        if self.columns is None:
            return roots
        for stems in self.columns:
            found = {root for root in roots for stem in stems if f"{stem}.".startswith(f"{root}.")}
            if not found and not stems & known:
                return roots  # perhaps a field of one of them
            chosen |= found
        return chosen


def _stems(name: str) -> set[str]:
    """Names of the variables that a column may belong to: X_1_2 to X_1_2, X_1 or X."""
    stem = INDICES.sub("", name.strip("/").replace("/", "."))
    stems = {name, stem}
    while (parts := stem.rpartition("_"))[0] and parts[2].isdigit():
        stem = parts[0]
        stems.add(stem)
    return stems
