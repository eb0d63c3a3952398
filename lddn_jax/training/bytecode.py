"""What a function computes, read from its bytecode in a form that does not depend on the version of Python.

Opcodes change from one Python to the next; names, constants and operators, in the order in which they are used, do not.
`lambda step: 0.1 * jnp.cos(step)` is the number `0.1` and the operations `# jnp cos step *`. An exception are
comprehensions, which Python 3.11 calls as functions and later versions write out in place.
"""

import dis
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NUMBER = "#"  # the place of a number among the operations


@dataclass(frozen=True)
class Operations:
    """What a function computes.

    Attributes:
        numbers: The numbers written in its code, in the order in which they are used.
        names: Variables, attributes, constants and operators, in that order; `NUMBER` for each number.
        read: Names of the global variables that it reads.
    """

    numbers: tuple[str, ...]
    names: tuple[str, ...]
    read: tuple[str, ...]


def operations(code: types.CodeType) -> Operations:
    """Returns what a function computes, its inner functions included.

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
    """Pairs of a kind, which is `NUMBER`, "global" or "name", and a value."""
    for step in dis.get_instructions(code):
        name = step.opname
        if step.opcode in dis.hasconst or name == "LOAD_SMALL_INT":
            # What `dis` does not look up: LOAD_SMALL_INT (3.14) is the number itself, KW_NAMES (3.11) an index.
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
            # Two at once from 3.13 on.
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
    """A constant's parts; None is left out, which functions without a `return` load as well."""
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
