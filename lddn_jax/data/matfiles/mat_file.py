"""`MatFile`: a MATLAB or HDF5 file that has been read once, from which columns are chosen by name.

A name is that of a variable, `u`, a field, `s.u` or `s/u`, one cell, `y{2}` or `runs(2).y`, or a column of a matrix:
`X_2`, `X(:,2)` or `X[:,1]`, if time runs along the second axis `X(2,:)` or `X[1]`. A field may be called by its last
name alone, if only one is called so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lddn_jax.checks import did_you_mean
from lddn_jax.data.matfiles.reader.contents import Leaf, by
from lddn_jax.data.matfiles.time_axis import time_axes
from lddn_jax.data.tables import Table
from lddn_jax.errors import DataError, fix, listed, shown

MOST_SEARCHED_NAMES = 1000
# How to save in MATLAB what is not an array of real numbers, by its class.
REMEDIES = {
    "a link to another file": "store the numbers in this file",
    "a link to nothing": "store the numbers in this file",
    "a virtual dataset, whose numbers lie in other files": "store the numbers in this file",
    "a dataset whose numbers lie in another file": "store the numbers in this file",
    "numbers that were never written": "record them first",
    "table": "u = {x}.u; y = {x}.y; save('record.mat', 'u', 'y')",
    "timetable": "u = {x}.u; y = {x}.y; save('record.mat', 'u', 'y')",
    "iddata": "u = {x}.u; y = {x}.y; save('record.mat', 'u', 'y')",
    "timeseries": "t = {x}.Time; y = squeeze({x}.Data); save('record.mat', 't', 'y')",
    "datetime": "t = seconds({x} - {x}(1)); save('record.mat', 't', ...)",
    "duration": "t = seconds({x}); save('record.mat', 't', ...)",
    "string": "y = double({x}); save('record.mat', 'y', ...)",
    "categorical": "y = double({x}); save('record.mat', 'y', ...)",
    "complex numbers": "re = real({x}); im = imag({x}); save('record.mat', 're', 'im', ...)",
}
COLUMN = re.compile(r"(?P<of>.+)(?:\(:,\s*(?P<a>\d{1,9})\)|\[:,\s*(?P<b>\d{1,9})\]|_(?P<c>\d{1,9}))")
ROW = re.compile(r"(?P<of>.+)(?:\((?P<a>\d{1,9}),\s*:\)|\[(?P<b>\d{1,9})(?:,\s*:)?\])")


@dataclass(frozen=True)
class _Place:
    """Where a column is: in an array, all of it or one part.

    Attributes:
        leaf: The array.
        part: Number of the column or row, from 0; None for all.
        axis: The axis of time that the name implies; None if it implies none.
    """

    leaf: Leaf
    part: int | None = None
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class MatFile:
    """A file that has been read once.

    Attributes:
        path: The file.
        leaves: Its arrays; those that nobody asked for may be unread.
        transpose: Whether time is the second axis of matrices, where no length decides; see `time_axis`.
        cell: Which cell of the file this is; empty for the file.
        notes: How it was read.
    """

    path: Path
    leaves: tuple[Leaf, ...]
    transpose: bool | None = None
    cell: str = ""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all variables that can be asked for, and of the columns of matrices."""
        found: list[str] = []
        for leaf in self.leaves:
            shape = shape_of(leaf)
            if shape:
                found.append(leaf.name)
                found += [f"{leaf.name}_{k + 1}" for k in range(min(*shape, 100))] if len(shape) == 2 else []
        return tuple(dict.fromkeys(found))

    def channels(self, names: Sequence[str]) -> tuple[dict[str, Float[np.ndarray, "time size=_"]], tuple[str, ...]]:
        """Returns vectors, matrices and columns, `(time, size)` by name, and notes on how they were read.

        Args:
            names: Names as described in this module.

        Raises:
            DataError: If there is no such variable, or it holds no real numbers.
            ShapeError: If the axis of time is ambiguous.
        """
        places = {name: self._place(name) for name in names}
        leaves = {place.leaf.name: place.leaf for place in places.values()}
        shapes = {name: shape_of(leaf) for name, leaf in leaves.items()}
        others = [shape_of(leaf) for leaf in self.leaves if leaf.name not in leaves]
        implied = {place.leaf.name: place.axis for place in places.values() if place.axis is not None}
        known = {name: (shape[axis],) for name, axis in implied.items() if len(shape := shapes[name]) == 2}
        axes = time_axes(shapes | known, others, self.transpose, str(self)) | implied
        found, notes = {}, list(self.notes)
        for name, leaf in leaves.items():
            if axes.get(name) and len(shapes[name]) == 2:
                notes.append(f"time runs along the second axis of {name}, {by(shapes[name])}")
            notes += [f"{name}: {leaf.note}"] if leaf.note else []
        for name, place in places.items():
            values = np.asarray(place.leaf.values)
            signal = values[:, None] if values.ndim == 1 else values.T if axes[place.leaf.name] else values
            if place.part is not None and not 0 <= place.part < signal.shape[1]:
                raise DataError(f"{self}: there is no column {shown(name)}; {place.leaf.name} is {by(values.shape)}.")
            found[name] = signal if place.part is None else signal[:, [place.part]]
            plain = name.strip("/").replace("/", ".")
            if not self.cell and "." in place.leaf.name and not plain.startswith(place.leaf.name):
                notes.append(f"{name} is {place.leaf.name}")
        return found, tuple(notes)

    def vectors(self, steps: int) -> dict[str, Float[np.ndarray, " time"]]:
        """Returns the vectors of this length that were read, by name."""
        return {
            leaf.name: leaf.values
            for leaf in self.leaves
            if leaf.values is not None and leaf.values.shape == (steps,) and not leaf.index
        }

    def table(self, columns: Sequence[str] | None = None) -> Table:
        """Returns columns as a `Table`; all vectors and matrices if None."""
        if columns is None:
            found = [leaf for leaf in self.leaves if leaf.values is not None and not leaf.index]
            columns = [leaf.name for leaf in found if np.size(leaf.values) > 1]
            left_out = [f"{leaf.name} ({leaf.left_out})" for leaf in self.leaves if leaf.left_out]
        else:
            left_out = []
        if not columns:
            raise DataError(f"{self} holds no vector or matrix of numbers.{self._contents()}")
        signals, notes = self.channels(columns)
        lengths = {name: len(signal) for name, signal in signals.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"{self}: columns differ in length: {listed([f'{n}: {k}' for n, k in lengths.items()])}. Name those of "
                "one record: columns=[...]."
            )
        arrays = {}
        for name, signal in signals.items():
            count = signal.shape[1]
            arrays |= {(name if count == 1 else f"{name}_{k + 1}"): signal[:, k] for k in range(count)}
        return Table(arrays, (*notes, *([f"left out: {listed(left_out)}"] if left_out else [])))

    def __str__(self):
        return f"{self.path}{self.cell and f', {self.cell}'}"

    def _place(self, name: str) -> _Place:
        plain = name.strip("/").replace("/", ".")
        known = {leaf.name: leaf for leaf in self.leaves}
        for called in dict.fromkeys((name, plain)):
            if called in known:
                return self._with_numbers(_Place(known[called]))
        for stem, part, axis in ((plain, None, None), *_parts(plain)):
            of = known.get(stem)
            inner = [leaf for leaf in self.leaves if leaf.name.endswith(f".{stem}")] if of is None else [of]
            if part is not None:
                inner = [leaf for leaf in inner if shape_of(leaf)]
            if len(inner) > 1:
                raise DataError(
                    f"{self} has {shown(stem)} more than once: {listed([leaf.name for leaf in inner])}. Write the "
                    "full name."
                )
            if inner:
                return self._with_numbers(_Place(inner[0], part, axis))
        raise DataError(self._absent(name, plain))

    def _with_numbers(self, place: _Place) -> _Place:
        leaf = place.leaf
        if leaf.left_out == "empty":
            raise DataError(f"{self}: {shown(leaf.name)} is empty.")
        if leaf.left_out:
            kind = leaf.left_out.rpartition(".")[2]
            remedy = REMEDIES.get(kind, "save numbers: save('record.mat', 'u', 'y')").format(x=leaf.name)
            if kind.startswith("a dataset compressed"):
                remedy = "pip install hdf5plugin, or compress it by gzip: h5repack -f GZIP=4 old.h5 new.h5"
            raise DataError(
                f"{self}: {shown(leaf.name)} is not an array of real numbers, but {_article(kind)}. To use it: "
                f"{remedy}."
            )
        return place

    def _absent(self, name: str, plain: str) -> str:
        """The error message of a name that no array has."""
        cells = [leaf for leaf in self.leaves if leaf.index and f".{leaf.group}.".find(f".{plain}.") >= 0]
        if cells:
            group = cells[0].group
            one = cells[0].name
            return (
                f"{self}: {shown(name)} is a cell array or struct array. If each cell is a record, write "
                f"{fix(f'records={plain!r}', f'--records {plain}')}; or name one cell: {one!r}."
                if group
                else ""
            )
        fields = [leaf.name for leaf in self.leaves if leaf.name.startswith(f"{plain}.")]
        if fields:
            return f"{self}: {shown(name)} is a struct; name one of its fields: {listed(fields)}."
        close = did_you_mean(name[:100], self.names[:MOST_SEARCHED_NAMES])
        return f"{self} has no {shown(name)}; it has {listed(self.names) or 'no numeric variable'}.{close}"

    def _contents(self) -> str:
        """What a file without vectors has instead."""
        cells = dict.fromkeys(leaf.group for leaf in self.leaves if leaf.index)
        if cells:
            every = fix('records="all"', "--records all")
            return f" It has cell arrays, {listed([*cells])}: write {every}."
        left_out = [f"{leaf.name} ({leaf.left_out})" for leaf in self.leaves if leaf.left_out]
        return f" It has {listed(left_out)}." if left_out else ""


def shape_of(leaf: Leaf) -> tuple[int, ...]:
    """Shape of an array without axes of length one, read or not; empty for what holds no numbers."""
    if leaf.values is not None:
        return leaf.values.shape
    if leaf.shape is None or 0 in leaf.shape:
        return ()
    return tuple(size for size in leaf.shape if size > 1) or (1,)


def _parts(name: str) -> list[tuple[str, int, int | None]]:
    """The matrix, the number of a column or row from 0, and the axis of time that a name like `X(:,2)` implies."""
    found = []
    for pattern, axis in ((COLUMN, 0), (ROW, 1)):
        match = pattern.fullmatch(name)
        if match:
            groups: Mapping[str, str | None] = match.groupdict()
            number = groups["a"] or groups.get("c")
            part = int(number) - 1 if number else int(groups["b"] or 0)
            found.append((match["of"], part, None if groups.get("c") else axis))
    return found


def _article(kind: str) -> str:
    return kind if " " in kind or kind in ("text", "object") else f"a {kind}"
