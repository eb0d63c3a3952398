"""Numbers and tables as text: four significant digits, and columns that never touch."""

import math
import unicodedata
from collections.abc import Sequence

LARGEST_WRITTEN_OUT = 1e6  # larger numbers have an exponent
RATIO_DECIMALS = 6
LARGEST_RATIO = 1000.0  # size of a negative ratio, from which on decimals say nothing


def digits(x: float | int, resolution: float | int | None = None) -> str:
    """Returns a number with four significant digits; whole numbers below a million are written out.

    Args:
        x: The number.
        resolution: A difference that must stay visible, such as the standard deviation of a signal with a large mean;
            None for none.

    Example:
        >>> digits(0.0229523), digits(11214.21), digits(2.5e-9), digits(-2098452656.7), digits(float("nan"))
        ('0.02295', '11214', '2.5e-09', '-2.098e+09', 'undefined')
        >>> digits(1e9 + 1.25, resolution=0.4)
        '1000000001.25'
    """
    x = float(x) + 0.0  # not -0
    if math.isnan(x):
        return "undefined"
    if math.isinf(x):
        return "infinite" if x > 0 else "-infinite"
    finer = resolution is not None and math.isfinite(resolution) and 0 < 100 * resolution < abs(x)
    if finer and resolution is not None:
        decimals = 1 - math.floor(math.log10(resolution))
        places = math.floor(math.log10(abs(x))) + 1 + decimals
        if places > 15:  # beyond those of a float
            return repr(x)
        return f"{x:.{max(decimals, 0)}f}" if decimals < 8 else f"{x:.{places}g}"
    if 9999.5 <= abs(x) < LARGEST_WRITTEN_OUT:
        return f"{x:.0f}"
    return f"{x:.4g}"


def column_digits(x: float | int) -> str:
    """Returns a number of a column of a table: four significant digits, whose last ones may be zeros.

    Example:
        >>> column_digits(0.0211), column_digits(0.02096), column_digits(2), column_digits(11214.21), column_digits(0)
        ('0.02110', '0.02096', '2.000', '11214', '0')
    """
    plain = digits(x)
    if not math.isfinite(x) or x == 0 or 9999.5 <= abs(x) < LARGEST_WRITTEN_OUT:
        return plain
    return f"{float(x):#.4g}".rstrip(".")


def ratio_digits(x: float | int) -> str:
    """Returns a number up to 1, such as R² or a cosine: four decimals, or more where it is close to 1.

    Example:
        >>> ratio_digits(0.997544), ratio_digits(0.999963), ratio_digits(1 - 1e-9), ratio_digits(1.0)
        ('0.9975', '0.999963', '> 0.999999', '1.0000')
        >>> ratio_digits(0.5), ratio_digits(-8), ratio_digits(-4530.7)
        ('0.5000', '-8.0000', '-4531')
    """
    if not -LARGEST_RATIO < x <= 1:
        return digits(x)
    if 1 > x > 1 - 10.0**-RATIO_DECIMALS:
        return f"> {1 - 10.0**-RATIO_DECIMALS:.{RATIO_DECIMALS}f}"
    decimals = 4 if not 0 < x < 1 else min(max(4, 1 - math.floor(math.log10(1 - x))), RATIO_DECIMALS)
    return f"{x:.{decimals}f}"


def aligned(rows: Sequence[Sequence[str]], sides: str = "<>") -> list[str]:
    r"""Returns the rows as lines, with columns as wide as their widest cell and two spaces between them.

    Args:
        rows: Cells by row; rows may differ in length.
        sides: "<" or ">" for each column; the last one is for all further columns, too.

    Example:
        >>> print("\n".join(aligned([("", "RMSE", "R²"), ("y", "11214", "-2.098e+09")])))
            RMSE          R²
        y  11214  -2.098e+09
    """
    columns = max(map(len, rows), default=0)
    widths = [max(text_width(row[k]) for row in rows if k < len(row)) for k in range(columns)]
    padded = [[_padded(cell, widths[k], sides[min(k, len(sides) - 1)]) for k, cell in enumerate(row)] for row in rows]
    return ["  ".join(cells).rstrip() for cells in padded]


def text_width(text: str) -> int:
    """Returns the number of columns that a text takes on a console; East Asian letters take two.

    Example:
        >>> text_width("y"), text_width("温度")
        (1, 4)
    """
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _padded(cell: str, width: int, side: str) -> str:
    space = " " * (width - text_width(cell))
    return cell + space if side == "<" else space + cell
