"""Checks of arguments: wrong type, swapped order, unknown name, out of range.

Every error names what was given, what was needed, and the fix in code. Arguments come in one order, `loss, net, data,
method`, and are easily swapped, so a type error shows the signature of the call. This file needs no class of the
package; `check_network`, `check_loss` and other type checks call `expect` and are defined next to their class.
"""

import difflib
import math
import numbers
import operator
import sys
import types
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lddn_jax.errors import LDDNError, TopologyError, shown

Kind = type | types.UnionType
WHOLE = (int, numbers.Integral)
LARGEST_COUNT = 2**31 - 1  # of steps, sizes, networks: more fit into no machine, and into no index of 32 bits


def expect(
    kind: type | tuple[type, ...],
    name: str,
    given: object,
    call: str,
    needed: str,
    *,
    error: type[LDDNError] = LDDNError,
    fix: str = "",
) -> None:
    """Raises an error unless `given` is an instance of `kind`.

    Args:
        kind: The required class, or a tuple of classes.
        name: The argument's name.
        given: The argument.
        call: The signature shown in the error, with all arguments in order.
        needed: The expected argument, with the fix in code.
        error: The class of the error.
        fix: A further sentence with the fix for this particular argument.

    Example:
        >>> expect(int, "k", "two", "k_step(net, data, k)", "a number of steps, such as 2")
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: k is 'two', but k_step(net, data, k) takes a number of steps, such as 2.
    """
    if not isinstance(given, kind):
        brackets = ""
        if isinstance(given, type) and issubclass(given, kind):
            brackets = f" Write {given.__name__}(), with brackets."
        raise error(f"{name} is {called(given)}, but {call} takes {needed}.{brackets}{fix and f' {fix}'}")


def called(given: object) -> str:
    """Returns how an error shows an argument: a string or number by its value, anything else by its class."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    return shown(given) if given is None or isinstance(given, (str, int, float)) else type(given).__name__


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """Returns a sentence that suggests the closest known name, to be appended to an error message.

    Args:
        name: The unknown name.
        known: All known names.
        otherwise: The sentence to return if no name is close.

    Example:
        >>> did_you_mean("tahn", ["linear", "tanh"])
        " Did you mean 'tanh'?"
    """
    close = difflib.get_close_matches(str(name), list(known), n=1)
    suggestion = f"Did you mean {close[0]!r}?" if close else otherwise
    return suggestion and f" {suggestion}"


def check_choice(name: str, given: object, known: Iterable[str], *, error: type[LDDNError] = LDDNError) -> None:
    """Raises an error unless `given` is one of the known names.

    Example:
        >>> check_choice("solver", "choleski", ["cholesky", "qr"])
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: solver='choleski' is unknown; known are ['cholesky', 'qr']. Did you mean 'cholesky'?
    """
    known = sorted(known)
    if given not in known:
        raise error(f"{name}={shown(given)} is unknown; known are {known}.{did_you_mean(given, known)}")


def is_number(
    given: object,
    kind: Kind = int | float,
    *,
    above: float | int = -math.inf,
    at_least: float | int = -math.inf,
    below: float | int = math.inf,
    infinite: bool = False,
) -> bool:
    """Whether `given` is a number within bounds; bools are not numbers here.

    Args:
        given: The value to check.
        kind: The type of number; `numbers.Real` includes NumPy's scalars.
        above: Lower bound, excluded.
        at_least: Lower bound, included.
        below: Upper bound, excluded.
        infinite: Whether it may be infinite.
    """
    if isinstance(given, bool) or not isinstance(given, kind):
        return False
    number: Any = given
    if kind not in WHOLE and isinstance(given, int) and abs(given) > sys.float_info.max:
        return False  # no number of floating point
    return bool(at_least <= number and above < number and (number < below or (infinite and number <= below)))


def check_positive(
    name: str,
    given: object,
    kind: Kind = int,
    *,
    infinite: bool = True,
    most: int = LARGEST_COUNT,
    call: str = "",
    example: object = None,
    error: type[LDDNError] = LDDNError,
) -> None:
    """Raises an error unless `given` is a positive number.

    Args:
        name: The argument's name.
        given: The argument.
        kind: The type of number.
        infinite: Whether it may be infinite.
        most: The largest allowed whole number.
        call: The function that takes the argument, shown in the error.
        example: A valid value, shown in the error.
        error: The class of the error.

    Example:
        >>> check_positive("epochs", 2.5)
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: epochs=2.5 must be a positive whole number.
    """
    whole = kind in WHOLE
    if not is_number(given, kind, above=0, infinite=infinite) or (whole and not given <= most):  # pyright: ignore[reportOperatorIssue]
        finite = "a positive number" if infinite else "positive and finite"
        needed = "a positive whole number" if whole else finite
        bound = f", at most {most}" if whole and is_number(given, kind, above=0) else ""
        suggested = "" if example is None else f": {name}={example!r}"
        raise error(f"{call and f'{call}: '}{name}={shown(given)} must be {needed}{bound}{suggested}.")


def check_not_negative(name: str, given: object, kind: Kind = int | float) -> None:
    """Raises an LDDNError unless `given` is a number ≥ 0."""
    if not is_number(given, kind, at_least=0, infinite=True):
        raise LDDNError(f"{name}={shown(given)} must be a {'whole ' if kind in WHOLE else ''}number, and not negative.")


def whole_number(
    given: Any, name: str, least: int, most: int = LARGEST_COUNT, *, error: type[LDDNError] = TopologyError
) -> int:
    """Returns a whole number, such as a NumPy integer, as an int.

    Args:
        given: The number.
        name: How an error message refers to the number.
        least: The smallest allowed value.
        most: The largest allowed value.
        error: The class of the error.

    Raises:
        TopologyError: If `given` is not a whole number, is below `least` or above `most`.

    Example:
        >>> whole_number(2.5, "the size of layer 'y'", least=1)
        Traceback (most recent call last):
            ...
        lddn_jax.errors.TopologyError: the size of layer 'y' is 2.5; it must be a whole number, at least 1.
    """
    try:
        number = None if isinstance(given, bool) else operator.index(given)
    except TypeError:
        number = None
    if number is None:
        raise error(f"{name} is {shown(given)}; it must be a whole number, at least {least}.")
    if number < least:
        raise error(f"{name} is {shown(number)}; it must be at least {least}.")
    if number > most:
        raise error(f"{name} is {shown(number)}; it must be at most {most}.")
    return number


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
    """Returns a method's numeric option as a Python number, so that it adopts the dtype of the parameters.

    Args:
        method: The method's name.
        name: The argument's name.
        given: The number.
        default: The option's default; if it is an int, a whole number is required.
        above: Lower bound, excluded.
        at_least: Lower bound, included.
        below: Upper bound, excluded.

    Raises:
        LDDNError: If `given` is not a finite number within the bounds.

    Example:
        >>> checked("bfgs", "delta", -1, 0.01, above=0)
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: bfgs(delta=-1): a finite number > 0 is needed, such as the default, delta=0.01.
    """
    integral = isinstance(default, int)
    kind = numbers.Integral if integral else numbers.Real
    if not is_number(given, kind, above=above, at_least=at_least, below=below):
        bounds = {">": above, "≥": at_least, "<": below}
        needed = " and ".join(f"{sign} {bound}" for sign, bound in bounds.items() if math.isfinite(bound))
        raise LDDNError(
            f"{method}({name}={shown(given)}): a {'whole' if integral else 'finite'} number {needed} is needed, such "
            f"as the default, {name}={default}."
        )
    return type(default)(given)


def is_seed(given: object) -> bool:
    """Whether `given` is a number that `jax.random.key` takes, whatever JAX's precision is."""
    return is_number(given, numbers.Integral, at_least=-(2**63), below=2**63)


def is_key(given: object) -> bool:
    """Whether `given` is a random key of `jax.random.key` or of the older `jax.random.PRNGKey`."""
    dtype = getattr(given, "dtype", None)
    return dtype is not None and (jax.numpy.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jax.numpy.uint32)


def check_key(given: object, *, call: str = "", error: type[LDDNError] = LDDNError) -> None:
    """Raises an error unless `given` is a JAX random key.

    Args:
        given: The argument.
        call: The signature shown in the error.
        error: The class of the error.

    Example:
        >>> check_key(3)
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: key=3 is not a JAX key; write key=jax.random.key(3).
    """
    if not is_key(given):
        seed = given if is_number(given, int, at_least=0, below=2**63) else 0
        taken = call and f", which {call} takes"
        raise error(f"key={shown(given)} is not a JAX key{taken}; write key=jax.random.key({seed}).")


def floating_dtype(call: str, given: Any, *, error: type[LDDNError] = LDDNError, because: str = "") -> np.dtype:
    """Returns a floating-point dtype.

    Args:
        call: The function that was called.
        given: The dtype.
        error: The class of the error.
        because: Why the dtype must be a floating-point type, if that is not obvious.

    Example:
        >>> floating_dtype("read_csv", bool)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: read_csv: dtype=bool is not a floating-point type; pass ... or jnp.float64.
    """
    try:
        dtype = jnp.dtype(given)
    except TypeError:
        raise error(f"{call}: dtype={shown(given)} is unknown; write jnp.float32 or jnp.float64.") from None
    if not jnp.issubdtype(dtype, jnp.floating):
        reason = because and f", but {because}"
        raise error(
            f"{call}: dtype={dtype.name} is not a floating-point type{reason}; pass a floating-point "
            "dtype, jnp.float32 or jnp.float64."
        )
    return dtype
