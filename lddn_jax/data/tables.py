"""`Table`: named columns, read from text files.

A file becomes a `Table` of named columns, and columns become a signal `(time, size)`. Delays count rows, not seconds,
so `uniform_sampling` checks that rows are evenly spaced in time:

    time[k] = time[0] + k h,    h the sampling interval

Malformed rows are never repaired silently: the error names the line and the fix. Only empty cells and NaN are read as
missing values.
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

from lddn_jax.checks import called, did_you_mean, floating_dtype
from lddn_jax.data.delimited import number, read_rows
from lddn_jax.errors import DataError, ShapeError


@dataclasses.dataclass(frozen=True, eq=False, repr=False, init=False)
class Table:
    """Columns of equal length by name, immutable.

    Attributes:
        columns: Arrays `(time,)` by name, in order, as read-only copies.
        notes: How the file was read that the table comes from, where there was a choice.

    Raises:
        DataError: If there is no column, or lengths differ.
        ShapeError: If a column does not have exactly one axis.

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
    notes: tuple[str, ...]

    def __init__(self, columns: Mapping[str, Shaped[ArrayLike, " time"] | Sequence[Any]], notes: Sequence[str] = ()):
        if not isinstance(columns, Mapping):
            raise DataError(
                f"a Table takes columns by name, not {called(columns)}: "
                "Table({'current': x[:, 0], 'position': x[:, 1]})."
            )
        kept = {name: np.array(column) for name, column in columns.items()}
        if not kept:
            raise DataError("A Table needs at least one column: Table({'current': np.array([...])}).")
        for name, column in kept.items():
            if column.ndim != 1:
                raise ShapeError(
                    f"Column {name!r} of a Table has shape {column.shape}; a column is (time,). Split it into "
                    f"one column per channel, such as '{name}_0': x[:, 0]."
                )
            column.setflags(write=False)
        lengths = {name: len(column) for name, column in kept.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"The columns of a Table must be of equal length; their lengths are {lengths}.")
        object.__setattr__(self, "columns", kept)
        object.__setattr__(self, "notes", tuple(notes))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self.columns)

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> Shaped[np.ndarray, " time"]:
        """Returns the column `name`, `(time,)`."""
        _require(name, self.names, "the table")
        return self.columns[name]

    def __repr__(self) -> str:
        return f"Table({len(self)} rows of {', '.join(self.names)})"

    def signal(self, names: str | Sequence[str]) -> Shaped[np.ndarray, "time size"]:
        """Stacks columns to a signal `(time, size)`.

        Args:
            names: One or several column names, in the order of the elements.

        Returns:
            A new array `(time, size)`, where size is the number of names.

        Raises:
            DataError: If no name is given, or a column does not exist.
        """
        names = [names] if isinstance(names, str) else list(names)
        if not names:
            raise DataError(f"signal() needs column names; the table has {', '.join(self.names)}.")
        return np.stack([self[name] for name in names], axis=-1)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Writes a CSV file with a header; `read_csv` restores it exactly."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.names)
            writer.writerows(zip(*(column.tolist() for column in self.columns.values()), strict=True))


def csv_of(rows: Sequence[Mapping[str, Any]], path: str | PathLike[str] | None = None) -> str:
    """Returns rows as CSV text with a header, and writes it to a file if `path` is given.

    Args:
        rows: Dicts with the same keys.
        path: The file to write, or None.

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
    r"""Reads a delimited text file with a header and numeric columns.

    The delimiter is a tab, semicolon or comma, whichever is most frequent in the header. Lines that begin with `#` are
    comments; empty lines at the end are ignored. An empty cell is a missing value, NaN.

    Args:
        path: The file.
        columns: Columns to read, in order; None for all. Other columns may contain anything, such as dates.
        dtype: Floating-point dtype of the columns.
        encoding: Text encoding; a byte-order mark is ignored.

    Returns:
        The `Table`.

    Raises:
        DataError: If the file cannot be read, or a line is malformed; the message names line and column.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "record.csv"
        ...     _ = path.write_text("time;current\n0.00;1.5\n0.01;\n")
        ...     table = read_csv(path)
        >>> table.names, table["current"].tolist()
        (('time', 'current'), [1.5, nan])
    """
    dtype = floating_dtype("read_csv", dtype, error=DataError, because="an empty cell becomes NaN")
    path = Path(path)
    names, rows = read_rows(path, encoding)
    wanted = names if columns is None else list(columns)
    for name in wanted:
        _require(name, names, path)
    places = [(name, names.index(name)) for name in wanted]
    values = [[number(path, line, name, row[place]) for name, place in places] for line, row in rows]
    if not values or not wanted:
        raise DataError(f"{path} has {len(values)} rows, and {len(wanted)} columns were requested; both must be > 0.")
    array = np.array(values, dtype=dtype)
    return Table({name: array[:, k] for k, name in enumerate(wanted)})


def uniform_sampling(time: Shaped[ArrayLike, " time"] | Sequence[float | int], tolerance: float | int = 0.01) -> float:
    """Returns the sampling interval, after checking that samples are evenly spaced.

    Args:
        time: Sampling instants, `(time,)`, in seconds or any other unit.
        tolerance: Maximum deviation of a step from the median step, as a fraction of it.

    Returns:
        The mean step h, in the unit of `time`.

    Raises:
        DataError: If there are fewer than two samples, or an instant is not finite, does not increase, or deviates too
            much; the message names the first such index.

    Example:
        >>> import numpy as np
        >>> round(uniform_sampling(np.arange(5) * 0.01), 12)
        0.01
    """
    time = np.asarray(time, dtype=np.float64)
    if time.ndim != 1 or len(time) < 2:
        raise DataError(f"time needs two or more instants, (time,); the shape given is {time.shape}.")
    steps = np.diff(time)
    usual = np.nanmedian(steps) if np.isfinite(steps).any() else np.nan
    for problem, bad in (
        ("it is not finite", ~np.isfinite(time)),
        ("it is not later than the one before", np.r_[False, steps <= 0]),
        ("the step is not the usual one", np.r_[False, np.abs(steps - usual) > tolerance * usual]),
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
