"""The header of a text file: which line names the columns, and where the data begin.

    Rig 7, 2021            preamble: skipped
    time, u, y             header
    s, V, mm               units: skipped
    0.00, 1.0, 2.0         data: the columns that are numbers further down are numbers here

The header is the line above the data, or above a line of units. If the caller wants certain columns, it is the first
line that names them all. Without a header columns are called 1, 2, 3 …
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lddn_jax.data.text.cells import BLANKS, is_missing, is_number
from lddn_jax.data.text.instants import is_stamp

MOST_LINES_BEFORE_DATA = 1000
MOST_LINES_ABOVE = 30
SHORT_FILE_ROWS = 400
FEWEST_WORDS = 2  # cells at the beginning of a header below lines of numbers that must be words
MOST_SAMPLED_CELLS = 100_000
MOST_SAMPLED_ROWS = 50
_SYMBOLS = (
    "s ms us µs ns min h hr hrs d day sec second seconds minutes hours Hz kHz MHz rpm 1/min V mV kV µV A mA kA W kW MW "
    "J kJ Wh kWh Ohm Ω m mm cm km µm um in ft m/s m/s2 m/s^2 m/s² km/h mph g kg mg t lb N kN Nm N.m N·m N*m Pa kPa hPa "
    "MPa bar mbar psi atm K C F degC degF °C °F deg ° rad rad/s deg/s °/s rad/s2 l L ml l/s l/min l/h m3 m^3 m³ m3/h "
    "m^3/h m³/h m3/s kg/s kg/h mol mol/l ppm ppb % %RH mg/l mg/m3 mg/m^3 µg/m^3 T mT Wb H F µF lux lx cd dB dBm V/V "
    "volt volts ampere amperes amp amps watt watts newton newtons meter meters metre metres celsius kelvin percent "
    "degrees degree pascal none counts count raw"
)
UNITS = frozenset(_SYMBOLS.casefold().split()) | {"-", "--", "1", "[]", "()", ""}


_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Header:
    """Where the columns are named.

    Attributes:
        names: Names of the columns; empty where a column has none, None if there is no header.
        row: The row of the header, or None.
        data: The first row of the data.
        units: Number of rows between the header and the data.
    """

    names: tuple[str, ...] | None
    row: int | None
    data: int
    units: int = 0


def find_header(
    rows: Sequence[Sequence[str]], wanted: Iterable[str], split_otherwise: Callable[[int, int], list[str]]
) -> Header | None:
    """Finds the header and the first row of the data.

    Args:
        rows: Cells of all rows.
        wanted: Names of columns that the header must have, as far as they are known.
        split_otherwise: Splits the line of a row into a number of cells by another delimiter than that of the data;
            returns an empty list without such a delimiter.

    Returns:
        The `Header`; None if no column has numbers.
    """
    width, typed = _typed_columns(rows)
    if not typed:
        return None
    near = rows[:MOST_LINES_BEFORE_DATA]
    first = next((k for k, row in enumerate(near) if _is_data(row, typed, width)), None)
    if first is None:
        return None
    above = [named(row) for row in rows[:first]]
    for k, row in enumerate(above):
        if len(row) != width and (other := split_otherwise(k, width)):
            above[k] = named(other)
    wanted = set(wanted)
    header = next((k for k, row in enumerate(above) if wanted and wanted <= set(row)), None)
    if header is None and wanted:  # below lines of numbers, such as one with the number of rows
        header = next((k for k, row in enumerate(near[:MOST_LINES_ABOVE]) if _has(row, wanted)), None)
        if header is not None:
            below = rows[header + 1 :]
            found = next((k for k, row in enumerate(below) if _is_data(row, typed, width)), None)
            if found is None:
                return None
            first = header + 1 + found
            above = [named(row) for row in rows[:first]]
    if header is None:
        header = _nearest(above, typed, width)
    for k in range(0 if header is None else header + 1, first):
        cells = [rows[k][c] for c in typed if c < len(rows[k])]
        is_missing_row = len(cells) == len(typed) and any(cells) and all(map(is_missing, cells))
        is_mistake = header is not None and any(map(is_number, cells)) and not _are_units(named(rows[k]))
        if (is_missing_row and not _is_rule(cells)) or is_mistake:
            first = k  # not a line of units but data, whose mistakes are reported when they are read
            break
    if header is None:
        return Header(None, None, first)
    names = [*above[header], *[""] * (min(len(rows[header]), width) - len(above[header]))]
    return Header(tuple(names), header, first, first - header - 1)


def _has(row: Sequence[str], wanted: set[str]) -> bool:
    return not any(map(is_number, row[:FEWEST_WORDS])) and wanted <= set(named(row))


def named(row: Sequence[str]) -> list[str]:
    """Returns names of columns from the cells of a header, without separators that are left over at the end."""
    names = [
        cell if cell.isalnum() else re.sub(r"[ \t\n\u00a0]+", " ", cell).strip(BLANKS).rstrip(",;") for cell in row
    ]
    while names and not names[-1]:
        names.pop()
    return names


def tail(rows: Sequence[_Row], most: int) -> list[_Row]:
    """Returns about so many rows of the second half, or of the last quarter of a short file, which are surely data."""
    share = 4 if len(rows) < SHORT_FILE_ROWS else 2
    last = rows[len(rows) - max(len(rows) // share, min(len(rows) - 1, 3), 1) :]
    return list(last[:: max(len(last) // most, 1)])


def filled(row: Sequence[str]) -> int:
    """Number of cells up to the last one with more than separators in it."""
    count = len(row)
    while count and not row[count - 1].strip(" \t,;"):
        count -= 1
    return count


def _typed_columns(rows: Sequence[Sequence[str]]) -> tuple[int, list[int]]:
    """Number of columns, and those that hold numbers or times, by some rows of the second half."""
    sample = [row for row in tail(rows, MOST_SAMPLED_ROWS) if row]
    while len(sample) > 1 and sum(map(len, sample)) > MOST_SAMPLED_CELLS:
        sample = sample[1::2]
    width = max(map(filled, sample), default=0)
    typed, numeric = [], False
    for column in range(width):
        cells = [row[column] for row in sample if column < len(row)]
        present = [cell for cell in cells if not is_missing(cell)]
        numbers = sum(map(is_number, present))
        stamps = 0 if numbers == len(present) else sum(map(is_stamp, present))
        if present and numbers + stamps >= 0.8 * len(present):
            typed.append(column)
            numeric |= numbers > 0
    return width, typed if numeric else []


def _is_data(row: Sequence[str], typed: Sequence[int], width: int) -> bool:
    if len(row) <= typed[-1] or (len(row) < width and typed[-1] >= len(row)):
        return False
    cells = [row[column] for column in typed]
    present = [cell for cell in cells if not is_missing(cell)]
    has_numbers = bool(present) or any(map(is_number, row))
    return has_numbers and all(is_number(cell) or is_stamp(cell.strip(BLANKS)) for cell in present)


def _nearest(above: Sequence[Sequence[str]], typed: Sequence[int], width: int) -> int | None:
    """The row that names the columns: the lowest with a word in most columns of numbers, or the one above its units."""
    candidates = [k for k, row in enumerate(above) if _is_named(row, typed, width)]
    if not candidates:
        return None
    lowest = candidates[-1]
    if lowest - 1 in candidates and _are_units(above[lowest]):
        return lowest - 1
    return lowest


def _is_named(row: Sequence[str], typed: Sequence[int], width: int) -> bool:
    cells = [row[column] for column in typed if column < len(row)]
    words = [cell for cell in cells if not is_missing(cell) and not is_number(cell)]
    digits = [cell for cell in cells if is_number(cell)]
    return len(row) >= width - 1 - (width > 8) * 2 and len(words) > len(digits) and 2 * len(words) >= len(typed)


def _is_rule(cells: Sequence[str]) -> bool:
    """Whether a row is a line drawn below the header, such as ---- or ====."""
    return all(re.match(r"\s*:?[-=]{3,}:?\s*\Z", cell) for cell in cells)


def _are_units(row: Sequence[str]) -> bool:
    return all(cell.casefold() in UNITS or re.match(r"[\[({<].*[\])}>]\Z", cell) for cell in row)
