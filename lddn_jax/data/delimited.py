"""Reader for delimited text files: column names, and rows of cells with their line numbers for error messages."""

import csv
from collections.abc import Iterator
from pathlib import Path

from lddn_jax.checks import did_you_mean
from lddn_jax.errors import DataError


def read_rows(path: Path, encoding: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Splits a file into its header and its rows.

    The delimiter is a tab, semicolon or comma, whichever is most frequent in the header. Comment lines (`#`) are
    skipped, and so are empty lines at the beginning and the end.

    Args:
        path: The file.
        encoding: Text encoding; a byte-order mark is ignored.

    Returns:
        The column names, and an iterator over (line number, cells) of the rows.

    Raises:
        DataError: If the file cannot be read, or its header does not name the columns.
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
    """Parses the number in a cell; an empty cell is NaN.

    Raises:
        DataError: If the cell is not a number.
    """
    if not cell:
        return float("nan")
    if not _is_number(cell):
        comma = " Use a decimal point instead of a comma." if _is_number(cell.replace(",", ".", 1)) else ""
        raise DataError(
            f"{path}, line {line}, column {column!r}: {cell!r} is not a number.{comma} A missing value is an "
            "empty cell or NaN. To skip the column, name the others: read_csv(path, columns=[...])."
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
            f"{path} is not {encoding} text (invalid byte at {error.start}). Pass its encoding, "
            f"probably read_csv(path, encoding={likely!r})."
        ) from None
    if "\0" in text:
        raise DataError(f"{path} contains zero bytes, so it is not plain text. Export it as CSV, or pass encoding=.")
    return text.removeprefix("\ufeff")


def _check_header(path: Path, line: int, names: list[str]) -> None:
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path}, line {line}: the first row contains numbers ({', '.join(names[:4])}) but must name the "
            "columns. Insert a header such as 'time,current,position' above it."
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
                f"{path}, line {line} is empty within the data. Delete it, or write NaN for a missing sample."
            )
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {line} has {len(row)} cells, but the header names {len(names)} columns "
                f"({', '.join(names)}). Every row needs one cell per column, empty if a value is missing."
            )
        yield line, row


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python parses 1_000 as a number
