"""Numbers in the cells of a text file: decimal points or commas, spellings of a missing value, and what is rejected.

| cell | read as |
|---|---|
| `1.5`, `-2e3`, `1.5D+03` | a number |
| `1,5` | a number, if no other cell has a decimal point |
| empty, `NaN`, `NA`, `N/A`, `null`, `None`, `-`, `?`, `.`, `#N/A`, `1.#IND` … | missing, NaN |
| those of `Reading.missing_values` | missing, NaN; numbers by their value |
| `true`, `false` | 1, 0 |
| `1,234,567`, `1.234,5`, `1 234`, `1'234` | error: thousands separators |
| `1e400`, full-width digits, `5 V`, `12%`, words | error |
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

BLANKS = " \t\u00a0"
SPREADSHEET_ERRORS = ("#n/a", "#nv", "#num!", "#value!", "#div/0!", "#ref!", "#name?", "#null!")
MISSING_WORDS = frozenset(
    (
        *("", "nan", "+nan", "-nan", "nan(ind)", "-nan(ind)", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "nat"),
        *("na", "n/a", "n.a.", "<na>", "nil", "null", "none", "missing", "?", "-", "--", "---", ".", "*", "\\n"),
        *SPREADSHEET_ERRORS,
    )
)
_PLAIN = frozenset("0123456789+-.eE \t")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?\Z", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:[eEdD][+-]?\d+)?\Z", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}\Z", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[.,'\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d*)?\Z", re.ASCII)
_INFINITE = {"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
_TRUTH = {"true": 1.0, "false": 0.0}
_WORDS_OF_NUMBERS = _INFINITE | set(_TRUTH)


class CellError(ValueError):
    """A cell that is not a number; the reader adds file, line and column.

    Attributes:
        row: Its row.
    """

    def __init__(self, row: int, reason: str):
        self.row = row
        self.args = (reason,)


@dataclass
class Spelling:
    """How the numbers of a file are written; filled while its columns are read.

    Attributes:
        decimal: The decimal separator that was asked for, or None.
        missing_values: Numbers and words that mean a missing value, besides the usual words.
        point: A cell with a decimal point, if there is one.
        comma: Likewise with a decimal comma.
        grouped: Whether all cells with a comma could have thousands separators.
        missing: How often each spelling of a missing value occurred.
    """

    decimal: str | None
    missing_values: Iterable[float | int | str] = ()
    point: str | None = None
    comma: str | None = None
    grouped: bool = True
    missing: Counter = field(default_factory=Counter)

    def __post_init__(self):
        words = [value for value in self.missing_values if isinstance(value, str)]
        self._words = {word.strip().casefold() for word in words}
        numbers = [value for value in self.missing_values if not isinstance(value, str)]
        self._codes = np.array(numbers + [float(word) for word in words if _NUMBER.match(word)], np.float64)

    def numbers(self, cells: Sequence[str]) -> Float[np.ndarray, " time"]:
        """Converts the cells of a column.

        Raises:
            CellError: At the first cell that is not a number.
        """
        joined = "".join(cells)
        is_plain = set(joined) <= _PLAIN and not (self.decimal == "," and "." in joined)
        found = self._plain(cells) if is_plain else None
        if found is not None:
            if self.point is None and "." in joined:
                self.point = next(cell for cell in cells if "." in cell)
            if not np.isfinite(found).all():
                found = None  # of digits only, so beyond the largest number
        if found is None:
            known: dict[str, float] = {}
            values = []
            for row, cell in enumerate(cells):
                value = known.get(cell)
                if value is None:
                    value = known[cell] = self._number(row, cell)
                values.append(value)
            found = np.array(values, np.float64)
            for cell, count in Counter(cell for cell in cells if known[cell] != known[cell]).items():
                self.missing[cell.strip(BLANKS)] += count
        for code in self._codes:
            same = found == code
            if same.any():
                self.missing[f"{code:g}"] += int(same.sum())
                found = np.where(same, np.nan, found)
        return found

    def _plain(self, cells: Sequence[str]) -> Float[np.ndarray, " time"] | None:
        try:
            return np.array(list(map(float, cells)), np.float64)
        except ValueError:
            return None

    def _number(self, row: int, cell: str) -> float:
        text = bare(cell)
        lower = text.casefold()
        if lower in MISSING_WORDS or lower in self._words:
            return np.nan
        if _NUMBER.match(text):
            if "." in text:
                if self.decimal == ",":
                    raise CellError(row, "has a decimal point, but the decimal separator is a comma")
                self.point = self.point or text
            return self._finite(row, text)
        if _COMMA.match(text):
            if self.decimal == ".":
                raise CellError(row, "has a comma, but the decimal separator is a point")
            self.comma = self.comma or text
            self.grouped &= bool(_THOUSANDS.match(text))
            return self._finite(row, text.replace(",", "."))
        if lower in _INFINITE:
            return float(lower)
        if lower in _TRUTH:
            return _TRUTH[lower]
        raise CellError(row, why_not(text))

    def _finite(self, row: int, text: str) -> float:
        value = float(re.sub("[dD]", "e", text))
        if np.isinf(value):
            raise CellError(row, "is beyond the largest number, 1.8e308")
        return value


def bare(cell: str) -> str:
    """Returns a cell without blanks around it, and without the `="…"` by which spreadsheets mark a number as text."""
    text = cell.strip(BLANKS)
    return text[2:-1] if text.startswith('="') and text.endswith('"') and len(text) > 2 else text


def is_number(cell: str) -> bool:
    """Whether a cell is a number, with a decimal point or comma.

    Example:
        >>> [is_number(cell) for cell in ("-1.5e3", "0,5", "1,5,2", "five", "")]
        [True, True, False, False, False]
    """
    cell = bare(cell)
    return bool(_NUMBER.match(cell) or _COMMA.match(cell)) or cell.lower() in _WORDS_OF_NUMBERS


def is_missing(cell: str) -> bool:
    """Whether a cell is one of the usual spellings of a missing value, or empty."""
    return cell.strip(BLANKS).casefold() in MISSING_WORDS


def why_not(text: str) -> str:
    """Returns why a text is not a number, to follow the text in a sentence.

    Example:
        >>> why_not("1.234,5")
        'has thousands separators; write numbers without them'
    """
    if _GROUPED.match(text):
        return "has thousands separators; write numbers without them"
    control = next((character for character in text if ord(character) < 32 or 127 <= ord(character) < 160), None)
    if control is not None:
        return f"contains the control character U+{ord(control):04X}; remove it"
    foreign = next((character for character in text if not character.isascii()), None)
    if foreign is not None and any(character.isdigit() for character in text):
        return f"contains {foreign!r} (U+{ord(foreign):04X}), which is not a digit, sign or point of ASCII"
    if re.match(r"[+-]?[\d.,]+\s*[A-Za-z%]{1,5}\Z", text, re.ASCII):
        return "is not a number alone; move its unit into the name of the column"
    return "is not a number"
