"""Checks of the numbers that a method is made with."""

import math
import numbers
from typing import Any

from lddn_jax.errors import LDDNError


def checked(
    method: str,
    name: str,
    given: Any,
    default: float | int,
    *,
    above: float | int = -math.inf,
    at_least: float | int = -math.inf,
    below: float | int = math.inf,
) -> Any:
    """Returns a number that a method was given as one of Python's, which takes on the dtype of the parameters.

    Args:
        method: The method's name.
        name: The argument's name.
        given: The number.
        default: What the method takes without it; if it is an int, a whole number is needed.
        above: A bound that the number may not reach.
        at_least: A bound that it may reach.
        below: A bound that it may not reach.

    Raises:
        LDDNError: If it is not a finite number within these bounds.

    Example:
        >>> checked("bfgs", "delta", -1, 0.01, above=0)
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: bfgs(delta=-1): a finite number > 0 is needed, such as the default, delta=0.01.
    """
    whole = isinstance(default, int)
    kind: Any = numbers.Integral if whole else numbers.Real
    is_number = isinstance(given, kind) and not isinstance(given, bool)
    if not (is_number and math.isfinite(given) and above < given < below and at_least <= given):
        bounds = {">": above, "≥": at_least, "<": below}
        needed = " and ".join(f"{sign} {bound}" for sign, bound in bounds.items() if math.isfinite(bound))
        raise LDDNError(
            f"{method}({name}={given!r}): a {'whole' if whole else 'finite'} number {needed} is needed, such as the "
            f"default, {name}={default}."
        )
    return type(default)(given)
