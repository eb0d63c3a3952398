"""Tables: records of named columns, read from text files.

A measured record reaches a network in three steps: a file becomes a `Table` of named columns, columns
become a signal `(time, size)`, and `uniform_sampling` confirms that one row is one step of the network,
since delays count rows and not seconds:

    time[k] = time[0] + k h,    h the sample time

Nothing is mended in silence: a row that does not fit is an error that says on which line and what to do.
Only an empty cell or the word NaN is read as a missing value, NaN.
"""

import csv
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Shaped

from lddn_jax.checks import called, did_you_mean
from lddn_jax.data.delimited import number, read_rows
from lddn_jax.errors import DataError, ShapeError


@dataclasses.dataclass(frozen=True, eq=False, repr=False, init=False)
class Table:
    """Columns of equal length by name, never changed once made.

    Attributes:
        columns: each name with its array `(time,)`, in order; the arrays are read-only copies.

    Raises:
        DataError: there is no column, or the lengths differ.
        ShapeError: a column does not have exactly one axis.

    Example:
        >>> import numpy as np
        >>> table = Table({"current": np.array([1.0, 2.0]), "position": np.array([0.5, 0.6])})
        >>> table.names, len(table)
        (('current', 'position'), 2)
        >>> table["position"].tolist()
        [0.5, 0.6]
        >>> table.signal(["current", "position"]).shape
        (2, 2)
    """

    columns: Mapping[str, Shaped[np.ndarray, " time"]]

    def __init__(self, columns: Mapping[str, Shaped[ArrayLike, " time"] | Sequence[Any]]):
        if not isinstance(columns, Mapping):
            raise DataError(
                f"a Table is made of columns by name, not of {called(columns)}: "
                "Table({'current': x[:, 0], 'position': x[:, 1]})."
            )
        kept = {name: np.array(column) for name, column in columns.items()}
        if not kept:
            raise DataError("A Table needs at least one column: Table({'current': np.array([...])}).")
        for name, column in kept.items():
            if column.ndim != 1:
                raise ShapeError(
                    f"Column {name!r} of a Table has shape {column.shape}; a column is (time,). Give each "
                    f"channel a name of its own, such as '{name}_0': x[:, 0]."
                )
            column.setflags(write=False)
        lengths = {name: len(column) for name, column in kept.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"The columns of a Table must be of equal length; their lengths are {lengths}.")
        object.__setattr__(self, "columns", kept)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self.columns)

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> Shaped[np.ndarray, " time"]:
        """The column called `name`, `(time,)`."""
        _require(name, self.names, "the table")
        return self.columns[name]

    def __repr__(self) -> str:
        return f"Table({len(self)} rows of {', '.join(self.names)})"

    def signal(self, names: str | Sequence[str]) -> Shaped[np.ndarray, "time size"]:
        """Columns side by side, as a network takes them.

        Args:
            names: one name or several, in the order wanted.

        Returns:
            A new array `(time, size)`, size the number of names.

        Raises:
            DataError: no name, or one that the table does not have.
        """
        names = [names] if isinstance(names, str) else list(names)
        if not names:
            raise DataError(f"signal() was given no names; the table has {', '.join(self.names)}.")
        return np.stack([self[name] for name in names], axis=-1)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Writes comma-separated text with a header; `read_csv` reads it back without loss."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.names)
            writer.writerows(zip(*(column.tolist() for column in self.columns.values()), strict=True))


def csv_of(rows: Sequence[Mapping[str, Any]], path: str | PathLike[str] | None = None) -> str:
    """Returns rows as comma-separated text with a header, and writes it to a file if one is named.

    Args:
        rows: All with the same columns.
        path: Where to write it.

    Example:
        >>> print(csv_of([{"neurons": 3, "rmse": 0.5}]).strip())
        neurons,rmse
        3,0.5
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if path is not None:
        Path(path).write_text(text.getvalue(), encoding="utf-8", newline="")
    return text.getvalue()


def read_csv(
    path: str | PathLike[str],
    columns: Sequence[str] | None = None,
    dtype: DTypeLike = np.float64,
    *,
    encoding: str = "utf-8",
) -> Table:
    r"""Reads a text file whose first row names the columns and whose other rows hold numbers.

    The delimiter is a tab, a semicolon or a comma, whichever the header has most of. Lines that begin with
    `#` are comments, and empty lines at the end are ignored. An empty cell is a missing value, NaN.

    Args:
        path: the file.
        columns: the columns wanted, in the order wanted; None means all of them. Columns that are not
            wanted may hold anything, such as dates.
        dtype: the floating dtype of the columns.
        encoding: how the file spells text; a byte-order mark is ignored.

    Returns:
        The `Table`.

    Raises:
        DataError: the file cannot be read, or a line does not fit; the message names line and column.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "record.csv"
        ...     _ = path.write_text("time;current\n0.00;1.5\n0.01;\n")
        ...     table = read_csv(path)
        >>> table.names, table["current"].tolist()
        (('time', 'current'), [1.5, nan])
    """
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise DataError(f"read_csv: dtype={dtype!r} is unknown; write np.float64 or np.float32.") from None
    if not np.issubdtype(dtype, np.floating):
        raise DataError(f"read_csv was asked for dtype {dtype}; a missing cell becomes NaN, so use a floating dtype.")
    path = Path(path)
    names, rows = read_rows(path, encoding)
    wanted = names if columns is None else list(columns)
    for name in wanted:
        _require(name, names, path)
    places = [(name, names.index(name)) for name in wanted]
    values = [[number(path, line, name, row[place]) for name, place in places] for line, row in rows]
    if not values or not wanted:
        raise DataError(f"{path} has {len(values)} rows, and {len(wanted)} columns were asked for; both must be > 0.")
    array = np.array(values, dtype=dtype)
    return Table({name: array[:, k] for k, name in enumerate(wanted)})


def uniform_sampling(time: Shaped[ArrayLike, " time"] | Sequence[float | int], tolerance: float | int = 0.01) -> float:
    """The sample time of a record, after checking that it is the same throughout.

    Args:
        time: the instants of the samples, `(time,)`, in seconds or any other unit.
        tolerance: how far a step may be from the usual (median) one, as a part of it.

    Returns:
        The mean step h, in the unit of `time`.

    Raises:
        DataError: fewer than two samples, or an instant that is missing, not later than the one before,
            or too early or late; the message names the first such index.

    Example:
        >>> import numpy as np
        >>> round(uniform_sampling(np.arange(5) * 0.01), 12)
        0.01
    """
    time = np.asarray(time, dtype=np.float64)
    if time.ndim != 1 or len(time) < 2:
        raise DataError(f"A sample time needs two or more instants, (time,); the shape given is {time.shape}.")
    steps = np.diff(time)
    usual = np.nanmedian(steps) if np.isfinite(steps).any() else np.nan
    for problem, bad in (
        ("it is not finite", ~np.isfinite(time)),
        ("it is not later than the one before", np.r_[False, steps <= 0]),
        ("that is not the usual step", np.r_[False, np.abs(steps - usual) > tolerance * usual]),
    ):
        if bad.any():
            k = int(np.argmax(bad))
            before = f" after time[{k - 1}] = {time[k - 1]:.9g}" if k else ""
            raise DataError(
                f"time[{k}] = {time[k]:.9g}{before}: {problem} (usual step {usual:g}). Delays count samples, "
                "so samples must be evenly spaced. Sort them, or resample each column: "
                "np.interp(np.arange(time[0], time[-1], step), time, column)."
            )
    return float((time[-1] - time[0]) / (len(time) - 1))


def _require(name: str, names: Sequence[str], where: object) -> None:
    if name not in names:
        raise DataError(f"No column {name!r} in {where}; it has {', '.join(names)}.{did_you_mean(name, names)}")
