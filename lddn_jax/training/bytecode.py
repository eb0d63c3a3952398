"""Normalized bytecode of a function, independent of the Python version, for comparing functions across processes.

Opcodes change between Python versions; names, constants and operators in order of use do not.
`lambda step: 0.1 * jnp.cos(step)` becomes the number `0.1` and the operations `# jnp cos step *`. Comprehensions are
an exception: Python 3.11 calls them as functions, later versions inline them.
"""

import dis
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NUMBER = "#"  # placeholder for a number among the operations


@dataclass(frozen=True)
class Operations:
    """The operations of a function.

    Attributes:
        numbers: Numeric literals in its code, in order of use.
        names: Variables, attributes, constants and operators in order of use; `NUMBER` for each number.
        read: Names of the global variables that it reads.
    """

    numbers: tuple[str, ...]
    names: tuple[str, ...]
    read: tuple[str, ...]


def operations(code: types.CodeType) -> Operations:
    """Returns the operations of a function, including its inner functions.

    Example:
        >>> found = operations((lambda step: 0.1 * len(step)).__code__)
        >>> found.numbers, found.names, found.read
        (('0.1',), ('#', 'len', 'step', '*'), ('len',))
    """
    found = list(_tokens(code))
    return Operations(
        tuple(repr(value) for kind, value in found if kind == NUMBER),
        tuple(NUMBER if kind == NUMBER else str(value) for kind, value in found),
        tuple(dict.fromkeys(value for kind, value in found if kind == "global")),
    )


def _tokens(code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """Yields pairs of a kind (`NUMBER`, "global" or "name") and a value."""
    for step in dis.get_instructions(code):
        name = step.opname
        if step.opcode in dis.hasconst or name == "LOAD_SMALL_INT":
            # `dis` does not resolve these two: the argument of LOAD_SMALL_INT (3.14) is the number, of KW_NAMES (3.11)
            # an index.
            if name == "LOAD_SMALL_INT":
                value = step.arg
            else:
                value = code.co_consts[step.arg or 0] if name == "KW_NAMES" else step.argval
            yield from _constants(value)
        elif name in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield "global", step.argval
        elif step.opcode in dis.hasname:
            yield "name", step.argval
        elif name.startswith(("LOAD_FAST", "LOAD_DEREF")):
            # From 3.13 on one instruction may load two variables.
            yield from (("name", each) for each in (step.argval if isinstance(step.argval, tuple) else [step.argval]))
        elif name == "STORE_FAST_LOAD_FAST":
            yield "name", step.argval[1]
        elif name == "BINARY_OP":
            yield "name", step.argrepr.removesuffix("=")
        elif name in ("BINARY_SUBSCR", "BINARY_SLICE"):  # a BINARY_OP from 3.14 on
            yield "name", "[]"
        elif step.opcode in dis.hascompare:
            yield "name", step.argval
        elif name in ("IS_OP", "CONTAINS_OP"):
            yield "name", f"{name}{step.arg}"
        elif name in ("UNARY_NEGATIVE", "UNARY_INVERT"):
            yield "name", name


def _constants(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields the parts of a constant; None is skipped, because functions without a `return` load it too."""
    if isinstance(value, types.CodeType):
        yield from _tokens(value)
    elif isinstance(value, tuple):
        for each in value:
            yield from _constants(each)
    elif isinstance(value, slice):
        yield from _constants((value.start, value.stop, value.step))
    elif isinstance(value, frozenset):
        yield from _constants(tuple(sorted(value, key=repr)))
    elif isinstance(value, (int, float, complex)) and not isinstance(value, bool):
        yield NUMBER, value
    elif value is not None:
        yield "name", repr(value)
