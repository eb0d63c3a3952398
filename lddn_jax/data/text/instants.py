"""Sampling instants written as dates and times of day, in seconds since the first one.

| written as | read as |
|---|---|
| `2021-11-05 00:00:01.5`, `2021-11-05T00:00Z`, `2021/11/5 0:00`, `20211105` | year, month, day |
| `05.11.2021 00:00`, `05.11.21` | day, month, year |
| `5/11/2021`, `5-11-2021` | day and month as the column allows: the one that gives even steps; day first if both do |
| `05-Nov-2021 00:00:00`, `Nov 5, 2021` | the month by its English name |
| `00:00:01`, `18.00.00`, `0:05` | time of day; a step back by most of a day is midnight |
| `1:05 PM` | twelve-hour time |

Months and years are not of equal length. Dates on one day of every month, or on the last one, count months.
"""

import datetime
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lddn_jax.data.sampling import DAY_SECONDS, uniform_sampling
from lddn_jax.errors import DataError, shown

NAMES_OF_TIME = ("time", "timestamp", "date_time", "datetime", "date")
LONGEST_STAMP_CHARACTERS = 60
# How numbers that could be read in several ways are read, for a whole column: the first that gives even steps.
_STYLES = ("day first", "month first", "clock with points")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = (
    r"(?P<h>\d{1,4})(?P<sep>[:.h])(?P<m>\d{1,2})(?:[:.m](?P<s>\d{1,2})(?:[.,:](?P<f>\d{1,9}))?)?s?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d|[+-]\d\d)?"
)
_CLOCK_ONLY = re.compile(rf"{_CLOCK}\Z", re.ASCII)
_MINUTES = re.compile(r"(?P<m>\d{1,3}):(?P<s>\d{1,2})[.,](?P<f>\d{1,9})\Z", re.ASCII)
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+)?"
_DATES = tuple(
    re.compile(
        rf"{_WEEKDAY}{date}(?:(?:\s*T\s*|\s+|,\s*|:)(?P<clock>\S.*))?\Z",
        re.A | re.I,
    )
    for date in (
        r"(?P<Y>\d{4})[-/.](?P<M>\d{1,2})[-/.](?P<D>\d{1,2})",
        r"(?P<Y>\d{4})(?P<M>\d\d)(?P<D>\d\d)",
        r"(?P<D>\d{1,2})\.(?P<M>\d{1,2})\.(?P<Y>\d{4}|\d\d)",
        r"(?P<A>\d{1,2})(?P<sep1>[-/])(?P<B>\d{1,2})(?P=sep1)(?P<Y>\d{4}|\d\d)",
        r"(?P<D>\d{1,2})[-/ ](?P<N>[A-Za-z]{3})[a-z]*\.?[-/ ](?P<Y>\d{4}|\d\d)",
        r"(?P<N>[A-Za-z]{3})[a-z]*\.?\s+(?P<D>\d{1,2}),?\s+(?P<Y>\d{4})",
        r"(?P<Y>\d{4})-(?P<M>\d{1,2})",
    )
)


def time_columns(names: Sequence[str]) -> list[str]:
    """Returns the columns that are called time, timestamp or date, with any unit: the most specific first.

    Example:
        >>> time_columns(["Date", "Time [s]", "u", "daytime"])
        ['Time [s]', 'Date']
    """
    known: dict[str, list[str]] = {name: [] for name in NAMES_OF_TIME}
    for name in names:
        plain = re.sub(r"\s*[\[(<].*[\])>]\s*$|\s*/\s*\w{1,3}$", "", name.strip().lower())
        plain = re.sub(r"[\s_/-]+|_+in_+", "_", plain)
        plain = re.sub(r"_(s|sec|ms|min|h|utc|seconds)$", "", plain).replace("time_stamp", "timestamp")
        if plain in known:
            known[plain].append(name)
    return [name for found in known.values() for name in found]


def is_stamp(cell: str) -> bool:
    """Whether a cell may be a date or a time of day that is not a plain number.

    Example:
        >>> [is_stamp(cell) for cell in ("00:00:01", "2021/11/5 0:00", "5-Nov-2021", "1.5", "20211105", "Rig 7")]
        [True, True, True, False, False, False]
    """
    if not 3 < len(cell) < 50 or not cell[:1].isascii() or cell.replace(".", "", 1).isdigit():
        return False
    return any(_parsed(cell, style) is not None for style in _STYLES)


def is_date(cell: str, *, digits: bool = False) -> bool:
    """Whether a cell is a date, with or without a time of day.

    Args:
        cell: The cell.
        digits: Whether eight digits, such as 20211105, are one too.
    """
    cell = cell.strip()
    parsed = [_parsed(cell, style) for style in _STYLES] if (digits and len(cell) == 8) or is_stamp(cell) else [None]
    return parsed[0] is not None and not isinstance(parsed[0][0], float)


def seconds_of(stamps: Sequence[str], days: Sequence[str] | None = None) -> tuple[Float[np.ndarray, " time"], str]:
    """Converts dates and times of day to seconds since the first.

    Args:
        stamps: One for each row.
        days: Dates to which the stamps, times of day, are added; None if the stamps are complete.

    Returns:
        The instants, and a note on how they were read.

    Raises:
        DataError: If a stamp is neither a date nor a time of day, with its row as `error.row`.

    Example:
        >>> seconds_of(["31.12.2021 23:59:59", "01.01.2022 00:00:00"])[0].tolist()
        [0.0, 1.0]
        >>> seconds_of(["23:59:59", "00:00:00", "00:00:01"])[0].tolist()
        [0.0, 1.0, 2.0]
    """
    if days is not None:
        joined, note = _read([f"{day} {stamp}" for day, stamp in zip(days, stamps, strict=True)])
        return joined - joined[0], note
    found, note = _read(stamps)
    return found - found[0], note


class StampError(DataError):
    """A cell that is neither a date nor a time of day.

    Attributes:
        row: Its row.
    """

    def __init__(self, message: str, row: int):
        self.row = row
        self.args = (message,)


def _read(stamps: Sequence[str]) -> tuple[Float[np.ndarray, " time"], str]:
    results, errors = [], []
    for style in _STYLES:
        try:
            results.append(_in_style(stamps, style))
        except StampError as error:
            errors.append(error)
        else:
            if not results[0][1]:
                break  # all styles agree
    if not results:
        raise max(errors, key=lambda error: error.row)
    even = [found for found in results if _is_even(found[0])]
    # The first of January, February … may be months, or days of January whose months come first; days are likelier.
    daily = [found for found in even if not found[2].startswith("monthly")]
    seconds, _, note = (daily or even or results)[0]
    return seconds, note


def _in_style(stamps: Sequence[str], style: str) -> tuple[Float[np.ndarray, " time"], bool, str]:
    """Returns seconds, whether the style mattered, and a note."""
    found, ambiguous = [], False
    seen: dict[str, tuple[datetime.datetime | float, bool] | None] = {}
    for row, stamp in enumerate(stamps):
        if stamp not in seen:
            if len(seen) > 10_000:
                seen.clear()
            seen[stamp] = _parsed(stamp, style)
        parsed = seen[stamp]
        if parsed is None:
            raise StampError(f"{shown(stamp)} is neither a date nor a time of day", row)
        if found and type(parsed[0]) is not type(found[0]):
            raise StampError(f"{shown(stamp)} is not of the form of {shown(stamps[0])} in the first row", row)
        found.append(parsed[0])
        ambiguous |= parsed[1]
    if isinstance(found[0], float):
        seconds = np.array(found, np.float64)
        back = np.diff(seconds, prepend=seconds[:1]) < -DAY_SECONDS / 2
        return seconds + DAY_SECONDS * np.cumsum(back), ambiguous, "times of day read as seconds"
    months = _months(found)
    if months is not None:
        return months, ambiguous, "monthly dates, so time counts months"
    seconds = np.array([(instant - found[0]).total_seconds() for instant in found])
    return seconds, ambiguous, f"dates read as seconds{f' ({style})' if ambiguous else ''}"


def _is_even(seconds: Float[np.ndarray, " time"]) -> bool:
    try:
        uniform_sampling(seconds)
    except DataError:
        return False
    return True


def _months(dates: Sequence[datetime.datetime]) -> Float[np.ndarray, " time"] | None:
    """Months since the first date, if the dates are on one day of each, or on its last day, an equal number apart."""
    if len(dates) < 3 or (dates[1] - dates[0]).days < 27:
        return None
    count = np.array([12 * date.year + date.month - 1 for date in dates], np.float64)
    clocks = {date.time() for date in dates}
    same = len({date.day for date in dates}) == 1
    last = all((date + datetime.timedelta(days=1)).day == 1 for date in dates if date.year < 9999)
    return count if len(clocks) == 1 and (same or last) else None


def _parsed(stamp: str, style: str) -> tuple[datetime.datetime | float, bool] | None:
    """Returns a date or the seconds of a time of day, and whether another style could read it otherwise; or None."""
    stamp = stamp.strip()
    if len(stamp) > LONGEST_STAMP_CHARACTERS:
        return None
    if clock := _CLOCK_ONLY.match(stamp):
        dotted = clock["sep"] == "."
        seconds = None if dotted and style != "clock with points" else _seconds(clock)
        if seconds is not None:
            return seconds, dotted
    if short := _MINUTES.match(stamp):
        return 60.0 * int(short["m"]) + int(short["s"]) + float(f"0.{short['f']}"), False
    found = next((found for pattern in _DATES if (found := pattern.match(stamp))), None)
    if found is None:
        return None
    parts = found.groupdict()
    ambiguous = "A" in parts or (len(parts["Y"]) == 2 and "M" in parts)
    if "A" in parts:
        parts["M"], parts["D"] = (parts["A"], parts["B"]) if style == "month first" else (parts["B"], parts["A"])
    if "N" in parts:
        if parts["N"].lower() not in _MONTHS:
            return None
        parts["M"] = str(_MONTHS.index(parts["N"].lower()) + 1)
    year = int(parts["Y"]) + (0 if len(parts["Y"]) == 4 else 2000 if int(parts["Y"]) < 70 else 1900)
    clock = parts["clock"] and parts["clock"].strip()
    try:
        date = datetime.datetime(year, int(parts["M"]), int(parts.get("D", 1)))
        seconds = 0.0
        if clock:
            matched = _CLOCK_ONLY.match(clock)
            seconds = _seconds(matched) if matched else _hour(clock)
        return None if seconds is None else (date + datetime.timedelta(seconds=seconds), ambiguous)
    except (ValueError, OverflowError):
        return None


def _hour(text: str) -> float | None:
    """Seconds of an hour without minutes, such as "13" or "1 PM"."""
    found = re.match(r"(\d{1,2})\s*([AaPp][Mm])?\Z", text, re.ASCII)
    if not found or int(found[1]) > 24:
        return None
    hour = int(found[1]) % 12 + 12 * (found[2].lower() == "pm") if found[2] else int(found[1])
    return 3600.0 * hour


def _seconds(clock: re.Match) -> float | None:
    hour, minute, second = int(clock["h"]), int(clock["m"]), int(clock["s"] or 0)
    if minute > 59 or second > 60 or (clock["sep"] == "." and clock["s"] is None):
        return None
    if clock["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (clock["half"][0] in "Pp")
    zone = 0
    if clock["zone"] and clock["zone"][0] in "+-":
        digits = clock["zone"][1:].replace(":", "").ljust(4, "0")
        zone = (60 * int(digits[:2]) + int(digits[2:])) * (-1 if clock["zone"][0] == "-" else 1)
    fraction = float(f"0.{clock['f']}") if clock["f"] else 0.0
    return 3600.0 * hour + 60 * (minute - zone) + second + fraction
