"""Objects of the package that were given in place of others: what an error calls them.

Arguments come in one order, `loss, net, data, method`, and are easily swapped. So a call that takes one of these
objects asks for it by name, and a message shows the call as it is written.
"""

import math
import numbers
from typing import Any

from lddn_jax.errors import LDDNError


def expect(
    kind: type | tuple[type, ...], name: str, given: Any, call: str, needed: str, error: type[LDDNError] = LDDNError
) -> None:
    """Raises an error unless `given` is of a kind.

    Args:
        kind: The class needed, or several of them.
        name: The argument's name.
        given: The argument.
        call: The call as it is written, all its arguments in order.
        needed: What it takes, with the fix in code.
        error: The class of the error.

    Example:
        >>> expect(int, "k", "two", "k_step(net, data, k)", "a number of steps, such as 2")
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: k is 'two', but k_step(net, data, k) takes a number of steps, such as 2.
    """
    if not isinstance(given, kind):
        brackets = f" Write {given.__name__}(), with brackets." if is_made_by(given, kind) else ""
        raise error(f"{name} is {called(given)}, but {call} takes {needed}.{brackets}")


def called(given: Any) -> str:
    """A string or number as it is written, the name of a class, the kind of anything else."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    return repr(given) if given is None or isinstance(given, (str, int, float)) else type(given).__name__


def is_made_by(given: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether this is a class whose objects would have fitted."""
    return isinstance(given, type) and issubclass(given, kind)


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
