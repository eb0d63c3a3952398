"""Columns of a parsed text file as numbers: signals, and the sampling instants from a column of times or dates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float

from lddn_jax.data.extremes import notes_on_extremes
from lddn_jax.data.sampling import UnevenError, uniform_sampling
from lddn_jax.data.text.cells import BLANKS, CellError, Spelling, is_missing, is_number
from lddn_jax.data.text.delimited import TextFile
from lddn_jax.data.text.instants import StampError, is_date, is_stamp, seconds_of, time_columns
from lddn_jax.errors import DataError, fix, listed, shown

LONGEST_WORD_CHARACTERS = 20
MOST_REPEATED_SHARE = 0.4  # of stamps that equal the one before, in a column of instants


@dataclass(frozen=True)
class Converted:
    """Columns of a text file.

    Attributes:
        columns: `(time,)` by name.
        instants: Sampling instants, `(time,)`; None if there are none.
        notes: How the file was read.
    """

    columns: Mapping[str, Float[np.ndarray, " time"]]
    instants: Float[np.ndarray, " time"] | None
    notes: tuple[str, ...]


def converted(
    file: TextFile, columns: Sequence[str] | None, time: str | bool = False, dtype: DTypeLike = np.float64
) -> Converted:
    """Converts columns of a parsed file to numbers.

    Args:
        file: The file.
        columns: As in `read_csv`.
        time: As in `Reading`.
        dtype: Floating-point dtype of the columns.

    Raises:
        DataError: As in `read_csv`, or if the sampling instants are not evenly spaced.
    """
    if columns is None:
        columns, optional = [name for k, name in enumerate(file.names) if k not in file.unnamed], True
    else:
        optional = False
    if not columns:
        raise DataError(f"{file.path} has {len(file.rows)} rows, and 0 columns were requested; both must be > 0.")
    spelling = Spelling(file.reading.decimal, file.reading.missing_values)
    found, notes = {}, list(file.notes)
    for name in columns:
        column = _column(file, spelling, name, notes, optional)
        if column is not None:
            found[name] = column
    instants = _instants(file, spelling, time, set(columns), notes)
    notes += _about_spelling(file, spelling)
    for name, column in found.items():
        notes += notes_on_extremes(name, column)
        with np.errstate(over="ignore"):
            narrow = column.astype(dtype)
        if np.isinf(narrow).any() and not np.isinf(column).any():
            raise DataError(
                f"{file.path}, column {shown(name)}: {column[np.argmax(np.isinf(narrow))]:g} is beyond the largest "
                f"{np.dtype(dtype).name}. Read the file with dtype=float64."
            )
        found[name] = narrow
    if not found:
        raise DataError(f"{file.path} has no column of numbers; it has {listed(file.names)}.")
    return Converted(found, instants, tuple(notes))


def _column(
    file: TextFile, spelling: Spelling, name: str, notes: list[str], optional: bool
) -> Float[np.ndarray, " time"] | None:
    """The numbers or times of a column; None if it consists of words and is optional."""
    cells = file.cells(file.place(name))
    try:
        return spelling.numbers(cells)
    except CellError as error:
        cell, line, reason = cells[error.row].strip(BLANKS), file.lines[error.row], str(error)
    if is_stamp(cell):
        try:
            seconds, note = seconds_of(cells)
        except StampError as error:
            cell, line, reason = cells[error.row], file.lines[error.row], "is neither a date nor a time of day"
        else:
            notes.append(f"{shown(name)}: {note}")
            return seconds
    elif optional and not any(map(is_number, cells)):
        notes.append(f"{shown(name)}: words, left out")
        return None
    missing = ""
    if cell == name:
        reason, missing = "repeats the header, so the file holds several records: put each into its own file", ""
    elif cell.isalpha() and cell.isascii() and len(cell) <= LONGEST_WORD_CHARACTERS:
        flag = fix(f"Reading(missing_values=[{cell!r}])", f"--missing-value {cell}")
        missing = f" If it means a missing value: {flag}."
    skip = fix(" To skip the column, name the others: read_csv(path, columns=[...]).", "")
    raise DataError(f"{file.path}, line {line}, column {shown(name)}: {shown(cell)} {reason}.{missing}{skip}")


def _instants(
    file: TextFile, spelling: Spelling, time: str | bool, signals: set[str], notes: list[str]
) -> Float[np.ndarray, " time"] | None:
    """The sampling instants, of the column asked for or of one that is called time or date."""
    if time is False:
        return None
    if isinstance(time, str):
        file.place(time)  # raises if no column has this name
        candidates = [time]
    else:
        candidates = [name for name in time_columns(file.names) if name not in signals and name not in file.repeated]
        if (
            not candidates
            and 0 in file.unnamed
            and file.names[0] not in signals
            and all(map(is_stamp, file.cells(0)[:9]))
        ):
            candidates = [file.names[0]]  # the index of a data frame
    for name in candidates:
        cells = file.cells(file.place(name))
        try:
            called, seconds, note = _times(file, spelling, name, [other for other in candidates if other != name])
        except (CellError, StampError) as error:
            place = f"line {file.lines[error.row]}: {shown(cells[error.row])} is neither a number nor a time"
            if time is True:
                notes.append(f"{shown(name)} ignored, as not all of its cells are times ({place})")
                continue
            raise DataError(f"{file.path}, column {shown(name)}, {place}. {_without_time()}") from None
        if time is True and note and len(seconds) > 1 and np.mean(np.diff(seconds) == 0) > MOST_REPEATED_SHARE:
            notes.append(f"{shown(called)} ignored, as its stamps are repeated")
            continue
        if note:
            notes.append(f"{shown(called)}: {note}")
        if len(seconds) > 1:
            _check_even(file, called, cells, seconds)
        return seconds
    return None


def _times(
    file: TextFile, spelling: Spelling, name: str, others: Sequence[str]
) -> tuple[str, Float[np.ndarray, " time"], str]:
    """The name of a column, together with that of dates where it holds times of day; its instants; and a note."""
    cells = file.cells(file.place(name))
    present = [row for row, cell in enumerate(cells) if not is_missing(cell)]
    if not present:
        raise CellError(0, "no cell is filled")
    first = cells[present[0]]
    if not is_date(first, digits="dat" in name.lower()) and not is_stamp(first):
        return name, spelling.numbers(cells), ""
    days = None
    if not is_date(first):
        dates = ((other, file.cells(file.place(other))) for other in others)
        day, days = next(((day, found) for day, found in dates if is_date(found[present[0]])), (None, None))
        name = name if day is None else f"{day}, {name}"
    seconds = np.full(len(cells), np.nan)
    try:
        of_day = None if days is None else [days[row] for row in present]
        seconds[present], note = seconds_of([cells[row] for row in present], of_day)
    except StampError as error:
        raise StampError(str(error), present[error.row]) from None
    return name, seconds, note


def _check_even(file: TextFile, name: str, cells: Sequence[str], seconds: Float[np.ndarray, " time"]) -> None:
    try:
        uniform_sampling(seconds)
    except UnevenError as error:
        k = error.index
        before = f" after {shown(cells[k - 1])}" if k else ""
        raise DataError(
            f"{file.path}, line {file.lines[k]}, column {shown(name)}: {shown(cells[k])}{before}: {error}"
        ) from None


def _without_time() -> str:
    return f"Count rows without their times: {fix('time=False', '--no-time')}."


def _about_spelling(file: TextFile, spelling: Spelling) -> list[str]:
    """Notes on how numbers were written.

    Raises:
        DataError: If commas may be decimal or thousands separators.
    """
    notes = []
    if spelling.comma and file.reading.decimal is None:
        decides = fix("Reading(decimal=',')", "--decimal ','")
        if spelling.point:
            raise DataError(
                f"{file.path} has numbers with a point ({shown(spelling.point)}) and with a comma "
                f"({shown(spelling.comma)}). Write all with one decimal separator, and without thousands separators."
            )
        if spelling.grouped and file.delimiter != ";":
            raise DataError(
                f"{file.path}: {shown(spelling.comma)} may have a decimal comma or a thousands separator. If it is a "
                f"decimal comma, pass {decides}; else write numbers without separators."
            )
        notes.append("decimal commas")
    words = {word: count for word, count in spelling.missing.items() if word.casefold() not in ("", "nan")}
    if words:
        some = ", ".join(f"{shown(word)} ({count})" for word, count in list(words.items())[:4])
        notes.append(f"read as missing: {some}")
    return notes
