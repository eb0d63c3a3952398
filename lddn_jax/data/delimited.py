"""Delimited text: a file becomes column names and rows of cells, each with its line number.

Whatever is wrong with a file is wrong on some line; the line number travels with the row so that every
error can say which.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from lddn_jax.checks import did_you_mean
from lddn_jax.errors import DataError


def read_rows(path: Path, encoding: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Splits a file into its header and its rows.

    The delimiter is a tab, a semicolon or a comma, whichever the header has most of. Comment lines (`#`)
    and empty lines at either end are left out.

    Args:
        path: the file.
        encoding: how the file spells text; a byte-order mark is ignored.

    Returns:
        The column names, and an iterator over (line number, cells) of the rows below.

    Raises:
        DataError: the file cannot be read, or its header does not name the columns.
    """
    lines = _text(path, encoding).splitlines()
    numbered = [(k, line) for k, line in enumerate(lines, start=1) if not line.lstrip().startswith("#")]
    filled = [place for place, (_, line) in enumerate(numbered) if line.strip()]
    if not filled:
        raise DataError(f"{path} is empty. It needs a header such as 'time,current,position', then numbers.")
    (line, header), *body = numbered[filled[0] : filled[-1] + 1]
    delimiter = max("\t;,", key=header.count)

    def cells(text: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])]

    names = cells(header)
    _check_header(path, line, names)
    return names, _full_rows(path, names, ((k, cells(text)) for k, text in body))


def number(path: Path, line: int, column: str, cell: str) -> float:
    """The number in a cell; an empty cell is NaN.

    Raises:
        DataError: the cell holds something else.
    """
    if not cell:
        return float("nan")
    if not _is_number(cell):
        comma = " Write a decimal point, not a decimal comma." if _is_number(cell.replace(",", ".", 1)) else ""
        raise DataError(
            f"{path}, line {line}, column {column!r}: {cell!r} is not a number.{comma} A missing value is an "
            "empty cell or NaN. To leave the column out, name the others: read_csv(path, columns=[...])."
        )
    return float(cell)


def _text(path: Path, encoding: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        folder = path.parent
        near = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        raise DataError(
            f"There is no file {path} (looked in {folder.resolve()}).{did_you_mean(path.name, near)}"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Give the path of a text file.") from error
    try:
        text = content.decode(encoding)
    except LookupError:
        raise DataError(f"Unknown encoding {encoding!r}; common ones are utf-8, utf-16, latin-1.") from None
    except UnicodeDecodeError as error:
        likely = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "latin-1"
        raise DataError(
            f"{path} is not {encoding} text (byte {error.start} does not fit). Say how it is encoded, "
            f"probably read_csv(path, encoding={likely!r})."
        ) from None
    if "\0" in text:
        raise DataError(f"{path} holds zero bytes, so it is not plain text. Export it as CSV, or give encoding=.")
    return text.removeprefix("\ufeff")


def _check_header(path: Path, line: int, names: list[str]) -> None:
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path}, line {line}: the first row holds numbers ({', '.join(names[:4])}) but must name the "
            "columns. Put a header such as 'time,current,position' above it."
        )
    if "" in names:
        raise DataError(f"{path}, line {line}: column {names.index('') + 1} of the header has no name; give it one.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path}, line {line}: the header has {', '.join(repeated)} more than once; rename one.")


def _full_rows(path: Path, names: list[str], rows: Iterator[tuple[int, list[str]]]):
    for line, row in rows:
        if not row:
            raise DataError(
                f"{path}, line {line} is empty in the midst of the data. Delete it, or write NaN in it for a "
                "missing sample."
            )
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {line} has {len(row)} cells where the header names {len(names)} columns "
                f"({', '.join(names)}). Every row needs one cell for each, empty where a value is missing."
            )
        yield line, row


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000 as a number; nobody who writes a record means that
