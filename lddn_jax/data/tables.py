"""`Table`: named columns, read from text files.

A file becomes a `Table` of named columns, and columns become a signal `(time, size)`. Malformed rows are never repaired
silently: an error names the line and the fix, or a note says what was done.
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

from lddn_jax.checks import called, did_you_mean, expect, floating_dtype
from lddn_jax.data.reading import READING, Reading
from lddn_jax.data.text.conversion import converted
from lddn_jax.data.text.delimited import MOST_COMPARED_NAMES, open_text
from lddn_jax.errors import DataError, ShapeError, listed, shown
from lddn_jax.storage.archive import write_atomically


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
        if name not in self.columns:
            close = did_you_mean(name, self.names[:MOST_COMPARED_NAMES])
            raise DataError(f"No column {shown(name)} in the table; it has {listed(self.names)}.{close}")
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
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.names)
        writer.writerows(zip(*(column.tolist() for column in self.columns.values()), strict=True))
        write_atomically(path, text.getvalue().encode())


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
        write_atomically(path, text.getvalue().encode())
    return text.getvalue()


def read_csv(
    path: str | PathLike[str],
    columns: Sequence[str] | None = None,
    dtype: DTypeLike = np.float64,
    *,
    encoding: str | None = None,
    reading: Reading | None = None,
) -> Table:
    r"""Reads a delimited text file with numeric columns.

    | what | is decided so | option |
    |---|---|---|
    | encoding | UTF-8, or UTF-16 and UTF-32 by their byte-order mark; else Windows-1252 | `encoding` |
    | lines | end in `\n`, `\r` or `\r\n`; those that begin with `#`, `%` or `//` are comments | `skip_rows` |
    | blank lines | left out; in a file of one column they are missing values | |
    | delimiter | tab, `;`, `|`, comma or blanks: what gives most numbers; the first of equals | `delimiter` |
    | | a first line `sep=;` declares it | |
    | header | the line above the data, or above units; with `columns`, the first that has them all | `names` |
    | no header | names from a comment right above the data, or 1, 2, 3 … | `names` |
    | preamble, units | lines above the header, and between header and data, are skipped | `skip_rows` |
    | nameless columns | called by their number, and not read unless named | `names` |
    | separators at line ends | ignored; rows with another number of cells are errors | |
    | decimals | points or commas, but not both in one file | `decimal` |
    | missing values | empty cells, NaN, NA, null, ?, - and their like | `missing_values` |
    | dates, times of day | seconds since the first row; months if they are monthly | `time` |
    | last line | left out if it has too few cells and no line end, because the file was cut | |

    Everything that is decided otherwise than for a plain CSV file is listed in the `notes` of the table.

    Args:
        path: The file.
        columns: Columns to read, in order; None for all with a name, except those of words. Other columns may contain
            anything.
        dtype: Floating-point dtype of the columns.
        encoding: Text encoding, short for `Reading(encoding=...)`.
        reading: Options; see `Reading`.

    Returns:
        The `Table`.

    Raises:
        DataError: If the file cannot be read, or a line is malformed; the message names line and column.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "record.csv"
        ...     _ = path.write_text("time;current\n0,00;1,5\n0,01;\n")
        ...     table = read_csv(path)
        >>> table.names, table["current"].tolist(), table.notes
        (('time', 'current'), [1.5, nan], ('semicolon between cells', 'decimal commas'))
    """
    dtype = floating_dtype("read_csv", dtype, error=DataError, because="an empty cell becomes NaN")
    reading = READING if reading is None else reading
    expect(
        Reading, "reading", reading, "read_csv(path, reading=...)", "Reading(skip_rows=1), for example", error=DataError
    )
    if encoding is not None:
        reading = dataclasses.replace(reading, encoding=encoding)
    file = open_text(Path(path), reading, columns or ())
    found = converted(file, columns, dtype=dtype)
    return Table(found.columns, found.notes)
