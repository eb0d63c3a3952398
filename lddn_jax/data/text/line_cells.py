"""Cells of the lines of a text file: which character separates them, and the cells of each line."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lddn_jax.data.text.cells import BLANKS, is_missing, is_number
from lddn_jax.data.text.headers import tail
from lddn_jax.data.text.instants import is_stamp
from lddn_jax.data.text.text_lines import LONGEST_CELL_CHARACTERS
from lddn_jax.errors import DataError, shown

# Candidates, in the order of preference among equals.
DELIMITER_NAMES = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "blanks"}
_ODD_BLANKS = re.compile(r"[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
MOST_SAMPLED_CHARACTERS = 50_000
MOST_SAMPLED_LINES = 20
MOST_JUDGED_CELLS = 200


def find_delimiter(lines: Sequence[str], decimal: str | None = None) -> str:
    r"""Returns what separates cells: the candidate that gives most numbers; a comma if there is one column.

    Args:
        lines: Lines of the file; some of the second half are looked at.
        decimal: The decimal separator, if it is known.

    Example:
        >>> find_delimiter(["u;y", "0,12;3,4", "0,15;3,5"]), find_delimiter(["1.0  2.0", "1.5   2.5"])
        (';', ' ')
    """
    sample = tail(lines, MOST_SAMPLED_LINES)
    sample = [line for line in sample if line.strip()] or [line for line in lines if line.strip()][-1:]
    while len(sample) > 2 and sum(map(len, sample)) > MOST_SAMPLED_CHARACTERS:
        sample = sample[::2]
    best, most = ",", 0.0
    for delimiter in DELIMITER_NAMES:
        if delimiter == "," == decimal and not any('"' in line for line in sample):
            continue
        split = [cells_of(line, delimiter) for line in sample]
        (count, often), *_ = Counter(map(len, split)).most_common(1)
        cells = [cell for row in split for cell in row[:MOST_JUDGED_CELLS] if cell.strip(" \t,;")]
        if count < 2 or not cells:
            continue
        good = sum(map(_quality, cells)) / len(cells) * (0.5 + 0.5 * often / len(split))
        if good > most + 0.01:
            best, most = delimiter, good
    single = best == "," and most and decimal != "." and "," not in lines[0] and not is_number(lines[0])
    if single and all(is_number(line) for line in sample):
        return ";"  # one column with decimal commas, whose header is one word
    return best


def _quality(cell: str) -> float:
    """How much a piece of a line is like a whole cell: 1 for a number, less for a number with a unit, 0 for words."""
    cell = cell.strip(BLANKS)
    if is_missing(cell) or is_number(cell) or is_stamp(cell):
        return 1.0
    return 0.7 if re.match(r"[-+]?\d[\d.]*\s*[^\d\s,;|]{1,5}\Z", cell) else 0.0


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line."""
    if delimiter == " ":
        return _by_blanks(line)
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=delimiter != "\t"), [])
    except csv.Error:
        return []


def _by_blanks(line: str) -> list[str]:
    if '"' in line:
        return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^ \t"]+)', line)]
    if _ODD_BLANKS.search(line):
        return re.findall(r"[^ \t]+", line)
    return line.split()


def split_lines(
    path: Path, body: Sequence[str], numbers: Sequence[int], delimiter: str, *, is_quoted: bool
) -> tuple[list[list[str]], Sequence[int]]:
    """Splits lines into cells; a quoted cell may run over several lines."""
    if delimiter == " ":
        return [_by_blanks(line) for line in body], numbers
    given = [f"{line}\n" for line in body] if is_quoted else body
    reader = csv.reader(given, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    rows: list[list[str]] = []
    places: Sequence[int] = numbers
    try:
        if is_quoted:
            begin, places = 0, []
            for row in reader:
                rows.append(row)
                places.append(numbers[begin])
                begin = reader.line_num
        else:
            rows = list(reader)
    except csv.Error:
        line = numbers[min(max(reader.line_num, 1), len(numbers)) - 1]
        raise DataError(
            f"{path}, line {line} has a cell of more than {LONGEST_CELL_CHARACTERS:,} characters. Is a quotation mark "
            "not closed?"
        ) from None
    if is_quoted and rows and (rows[-1] and "\n" in rows[-1][-1]):
        try:
            list(
                csv.reader(given[numbers.index(places[-1]) :], delimiter=delimiter, skipinitialspace=True, strict=True)
            )
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(
                    f"{path}, line {places[-1]}: a quotation mark is opened and never closed: {shown(rows[-1][-1])}."
                ) from None
    return rows, places
