"""Values that probably mean "missing": repeated, and far outside of all others, such as -200 or 9999."""

import numpy as np
from jaxtyping import Float

from lddn_jax.errors import fix, shown

FEWEST_REPETITIONS = 3
FEWEST_OTHER_VALUES = 10
FARTHEST_SINGLE = 20.0  # how many ranges of all others a value that occurs less often may lie away from them
LARGEST_SHARE_OF_GAP = 3.0  # by how much the gap to a code exceeds every gap between other values


def suspicious_values(column: Float[np.ndarray, " time"]) -> dict[float, int]:
    """Returns isolated extremes of a column: values that probably mean "missing", and how often they occur.

    A value is suspicious if it is the smallest or largest, occurs three times or more, and its distance to the nearest
    other value exceeds the range of the others; or, if it has the other sign than all others, a tenth of this range and
    three times every gap between them. A value that occurs once or twice is suspicious if this distance exceeds twenty
    times the range of the others. Columns with fewer than ten other values have none.

    Args:
        column: `(time,)`; NaN is ignored.

    Example:
        >>> suspicious_values(np.r_[np.arange(50.0), -200.0, -200.0, -200.0])
        {-200.0: 3}
    """
    values, counts = np.unique(column[np.isfinite(column)], return_counts=True)
    found = {}
    for _ in range(2):
        for end in (0, -1):
            if len(values) <= FEWEST_OTHER_VALUES:
                continue
            others = np.delete(values, end)
            with np.errstate(over="ignore"):
                gap = float(np.abs(values[end] - others[end]))
                extent = float(others[-1] - others[0])
                largest = LARGEST_SHARE_OF_GAP * float(np.diff(others).max())
            if counts[end] < FEWEST_REPETITIONS and not gap > FARTHEST_SINGLE * extent:
                continue
            alone = values[end] < 0 <= others[0] or others[-1] <= 0 < values[end]
            if gap > extent or (alone and gap > max(0.1 * extent, largest)):
                found[float(values[end])] = int(counts[end])
                values, counts = others, np.delete(counts, end)
    return found


def times(count: int) -> str:
    """Returns "once" or "3 times"."""
    return "once" if count == 1 else f"{count} times"


def notes_on_extremes(name: str, column: Float[np.ndarray, " time"]) -> list[str]:
    """Returns a note on each suspicious value of a column of a file.

    Args:
        name: The name of the column.
        column: `(time,)`; NaN is ignored.

    Example:
        >>> notes_on_extremes("u", np.r_[np.arange(50.0), -200.0, -200.0, -200.0])
        ["'u': -200 occurs 3 times, far from all other values; if it means missing: Reading(missing_values=[-200])"]
    """
    return [
        f"{shown(name)}: {value:g} occurs {times(count)}, far from all other values; if it means missing: "
        f"{fix(f'Reading(missing_values=[{value:g}])', f'--missing-value {value:g}')}"
        for value, count in suspicious_values(column).items()
    ]
