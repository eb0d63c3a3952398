"""Reader for delimited text files: which line names the columns, and the cells below it.

`line_cells.py` separates the cells of each line. A file is parsed once, to a `TextFile`; `conversion.py` converts its
columns to numbers. The rules are in the docstring of `read_csv`. Whatever is not plain is said in `notes`.
"""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lddn_jax.checks import did_you_mean
from lddn_jax.data.reading import Reading
from lddn_jax.data.text.cells import BLANKS, SPREADSHEET_ERRORS, is_missing, is_number, why_not
from lddn_jax.data.text.headers import Header, filled, find_header, named
from lddn_jax.data.text.instants import is_stamp
from lddn_jax.data.text.line_cells import DELIMITER_NAMES, cells_of, find_delimiter, split_lines
from lddn_jax.data.text.text_lines import read_text
from lddn_jax.errors import DataError, fix, listed, shown

MOST_COMPARED_NAMES = 300
MOST_LINES_BELOW = 5


@dataclass(frozen=True)
class TextFile:
    """A delimited text file, parsed but not yet converted.

    Attributes:
        path: The file.
        names: Names of all columns; those without a name have their number, counted from 1.
        rows: Cells of all rows of data.
        lines: Number of the line of each row.
        delimiter: What separates cells.
        unnamed: Numbers of the columns that have no name in a header.
        notes: How the file was read.
        reading: The options.
    """

    path: Path
    names: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    delimiter: str
    unnamed: frozenset[int]
    notes: tuple[str, ...]
    reading: Reading

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """Numbers of the columns, from 0, by name."""
        return {name: k for k, name in enumerate(self.names)}

    @functools.cached_property
    def repeated(self) -> frozenset[str]:
        """Names that several columns have."""
        return frozenset(name for name, count in Counter(self.names).items() if count > 1)

    def place(self, name: str) -> int:
        """Returns the number of a column, from 0.

        Raises:
            DataError: If there is no such column, or several.
        """
        if name not in self.places:
            close = did_you_mean(name, self.names[:MOST_COMPARED_NAMES])
            named = f" The file has no header; name its columns: {fix('Reading(names=[...])', '--names u,y')}."
            hint = named if self.names == tuple(map(str, range(1, len(self.names) + 1))) else close
            raise DataError(f"No column {shown(name)} in {self.path}; it has {listed(self.names)}.{hint}")
        if name in self.repeated:
            raise DataError(
                f"{self.path}: the header has {shown(name)} more than once; rename one, or name all columns: "
                f"{fix('Reading(names=[...])', '--names a,b,c')}."
            )
        return self.places[name]

    def cells(self, place: int) -> list[str]:
        """Returns the cells of a column."""
        return [row[place] for row in self.rows]


def open_text(path: Path, reading: Reading, wanted: Iterable[str] = ()) -> TextFile:
    """Parses a text file.

    Args:
        path: The file.
        reading: Options.
        wanted: Columns that will be asked for, which help to find the header.

    Raises:
        DataError: If the file cannot be read, or holds no table.
    """
    text, notes = read_text(path, reading)
    is_cut = bool(text) and not text.endswith("\n")
    lines = text.split("\n")
    start = reading.skip_rows
    if start >= len(lines) and start:
        raise DataError(f"{path} has {len(lines)} lines, so {start} cannot be skipped; skip fewer.")
    notes += [f"{start} lines skipped"] if start else []
    delimiter = reading.delimiter
    declared = re.match(r"\s*\"?sep=(.)\"?[,;\s]*\Z", lines[start], re.I) if lines[start:] else None
    if declared:
        delimiter = delimiter or declared[1]
        start += 1
    comments: list[str] = []
    while len(lines) > start and not lines[-1].strip():
        lines.pop()
    while len(lines) > start and not lines[start].strip():
        start += 1
    numbers: Sequence[int] = range(start + 1, len(lines) + 1)
    if "#" in text or "%" in text or "//" in text:
        remarks = {number for number in numbers if _is_comment(lines[number - 1])}
        numbers = [number for number in numbers if number not in remarks]
        first = next((number for number in numbers if lines[number - 1].strip()), len(lines))
        comments = [lines[number - 1] for number in sorted(remarks) if number < first]
        numbers = [number for number in numbers if number >= first]
        while numbers and not lines[numbers[-1] - 1].strip():
            numbers.pop()
    if not numbers or not lines[numbers[0] - 1].strip():
        raise DataError(f"{path} is empty. It needs a header such as 'time,current,position', then numbers.")
    body = [lines[number - 1] for number in numbers]
    if delimiter is None:
        delimiter = find_delimiter(body, reading.decimal)
    rows, lines_of = split_lines(path, body, numbers, delimiter, is_quoted='"' in text)
    rows, lines_of = _without_blank_rows(rows, lines_of, notes)

    def split_otherwise(k: int, count: int) -> list[str]:
        line = body[numbers.index(lines_of[k])]
        ways = [re.split(r"\t+|\s{2,}", line.strip())] + [cells_of(line, other) for other in DELIMITER_NAMES]
        return next((cells for cells in ways if len(cells) == count), [])

    found = find_header(rows, () if reading.names else wanted, split_otherwise)
    if found is None:
        kind = "no numbers" if len(rows) > 1 else "no row of numbers below its header"
        separated = fix("Reading(delimiter=':')", "--delimiter ':'")
        cell = next((cell for cell in rows[-1] if cell[:1].isdecimal()), None)
        reason = "" if cell is None else f" {shown(cell)} {why_not(cell)}."
        raise DataError(
            f"{path} has {kind}: its last line is {shown(body[-1])}.{reason} It needs a header such as "
            "'time,current,position', then numbers. If another character separates cells: "
            f"{separated}."
        )
    return _assembled(path, reading, rows, lines_of, delimiter, found, comments, notes, is_cut)


def _is_comment(line: str) -> bool:
    begin = line.lstrip()
    if begin[:1] == "#":
        return not begin.casefold().startswith(SPREADSHEET_ERRORS)
    return begin[:1] == "%" or begin[:2] == "//"


def _without_blank_rows(
    rows: list[list[str]], lines: Sequence[int], notes: list[str]
) -> tuple[list[list[str]], Sequence[int]]:
    """Drops blank lines; in a file of one column they are missing values."""
    blank = [k for k, row in enumerate(rows) if not row or (len(row) == 1 and not row[0].strip(BLANKS))]
    if not blank:
        return rows, lines
    single = max(map(filled, rows)) <= 1
    if single:
        for k in blank:
            rows[k] = [""]
        return rows, lines
    notes.append(f"{_count(len(blank), 'blank line')} left out, the first is line {lines[blank[0]]}")
    dropped = set(blank)
    kept = [k for k in range(len(rows)) if k not in dropped]
    return [rows[k] for k in kept], [lines[k] for k in kept]


def _assembled(
    path: Path,
    reading: Reading,
    rows: list[list[str]],
    lines: Sequence[int],
    delimiter: str,
    header: Header,
    comments: Sequence[str],
    notes: list[str],
    is_cut: bool,
) -> TextFile:
    """Names the columns and checks the number of cells of each row."""
    data, places = rows[header.data :], lines[header.data :]
    while len(data) > 1 and not filled(data[-1]) and len(data[-1]) > 1:
        data.pop()  # spreadsheets write rows of separators below the data
    width = max(map(len, data))
    below = 0
    while len(data) > 1 and below < MOST_LINES_BELOW and _is_footer(data[-1], width):
        data.pop()
        below += 1
    notes += [f"{_count(below, 'line')} of words below the data left out"] if below else []
    places = places[: len(data)]
    counts = set(map(len, data))
    width = max(counts)
    if not any(len(row) == width == filled(row) for row in data[:100]):
        width = max(map(filled, data))
    names, unnamed = _names(path, reading, header, data, width, comments, delimiter, notes, lines)
    usual = max(counts)
    if usual < len(names) and len(data) > 2 and len(counts) == 1 and reading.names is None:
        empty = names[usual:]
        notes.append(f"no cells below {listed(empty)}")
        names = names[:usual]
    count = len(names)
    if min(counts) < count or width > count:
        if is_cut and len(data) > 1 and len(data[-1]) < count:
            notes.append(f"the last line, {places[-1]}, is cut short and left out")
            data, places = data[:-1], places[:-1]
        bad = next((k for k, row in enumerate(data) if len(row) < count or filled(row) > count), None)
        if bad is not None:
            raise _uneven(path, places[bad], data[bad], names, header, rows, reading)
    if usual > count:
        notes.append("separators at the end of lines ignored")
    if delimiter not in ",\t" and reading.delimiter is None:
        notes.append(f"{DELIMITER_NAMES.get(delimiter, repr(delimiter))} between cells" if count > 1 else "one column")
    return TextFile(path, tuple(names), data, places, delimiter, frozenset(unnamed), tuple(notes), reading)


def _is_footer(row: Sequence[str], width: int) -> bool:
    """Whether a row is a line of words below the data, such as END, with fewer cells than those."""
    count = filled(row)
    return count < width and not any(is_missing(cell) or is_number(cell) or is_stamp(cell) for cell in row[:count])


def _names(
    path: Path,
    reading: Reading,
    header: Header,
    data: Sequence[Sequence[str]],
    width: int,
    comments: Sequence[str],
    delimiter: str,
    notes: list[str],
    lines: Sequence[int],
) -> tuple[list[str], set[int]]:
    """Returns names of columns, and which of them are only numbers because the header has none."""
    before = header.data if header.row is None else header.row
    if before:
        notes.append(f"{_count(before, 'line')} above the {'data' if header.row is None else 'header'} skipped")
    if header.units:
        notes.append(f"{_count(header.units, 'line')} between header and data skipped")
    if reading.names is not None:
        if len(reading.names) != width:
            raise DataError(
                f"{path}: the rows have {width} columns, and {len(reading.names)} names were given: "
                f"{listed(reading.names)}. Give one name for each column."
            )
        notes += [f"header in line {lines[header.row]} replaced by the names given"] if header.row is not None else []
        return list(reading.names), set()
    names = list(header.names) if header.names is not None else None
    if names is None and comments:
        text = comments[-1].lstrip().lstrip("#%/").strip()
        found = named(next((c for d in (delimiter, *DELIMITER_NAMES) if len(c := cells_of(text, d)) == width), []))
        if len(found) == width and not any(map(is_number, found)) and len(set(found)) == width and width:
            notes.append("names taken from the comment line above the data")
            return found, set()
    if names is None:
        names = [str(k + 1) for k in range(width)]
        notes.append(
            f"no header, so {'the column is called 1' if width == 1 else f'the columns are called 1 to {width}'} "
            f"({fix('Reading(names=[...])', '--names')} renames)"
        )
        return names, set()
    if len(names) == width - 1 and _is_index([row[0] for row in data[:1000] if row]):
        names.insert(0, "")  # as R writes the names of rows
    unnamed = {k for k, name in enumerate(names) if not name}
    taken = set(names)
    for k in unnamed:
        names[k] = str(k + 1) if str(k + 1) not in taken else f"column {k + 1}"
    if unnamed:
        notes.append(f"{_count(len(unnamed), 'column')} without a name: {listed([names[k] for k in sorted(unnamed)])}")
    return names, unnamed


def _is_index(cells: Sequence[str]) -> bool:
    """Whether a column is like the names of rows: words, or numbers that count up."""
    if len(cells) < 2:
        return False
    if not any(map(is_number, cells)):
        return True
    return all(cell.strip().isdecimal() and cell.isascii() for cell in cells) and all(
        int(after) - int(before) == 1 for before, after in itertools.pairwise(cells)
    )


def _uneven(
    path: Path,
    line: int,
    row: Sequence[str],
    names: Sequence[str],
    header: Header,
    rows: Sequence[Sequence[str]],
    reading: Reading,
) -> DataError:
    """The error of a row with too few or too many cells."""
    count = filled(row) if filled(row) > len(names) else len(row)
    if header.row is not None and named(row) == named(rows[header.row]):
        return DataError(
            f"{path}, line {line} repeats the header, so the file holds several records. Put each into its own file."
        )
    more = f" Or name all columns: {fix('Reading(names=[...])', '--names')}." if count > len(names) else ""
    by = "the header names" if header.row is not None or reading.names else "the first rows have"
    return DataError(
        f"{path}, line {line} has {_count(count, 'cell')}, but {by} {_count(len(names), 'column')} ({listed(names)}). "
        f"Every row needs one cell per column, empty if a value is missing.{more}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
