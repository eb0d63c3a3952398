"""What a run is about, in lines that can be compared: its topology, its data and its settings.

Arrays are known by a SHA-256. A function is known by its name and by what it closes over, so that `optax.adam(1e-3)`
built in another process is the same and `optax.adam(1e-2)` is not.
"""

import functools
import hashlib
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import jax
import numpy as np

from lddn_jax.storage.environment import differences

LISTED_DIFFERENCES = 4  # differences that a message lists
DIGEST_PREFIX = " sha256:"  # what stands between the shape of an array and its digest


@dataclass(frozen=True)
class Identity:
    """What a run is about; its lines are written when they are first asked for.

    Attributes:
        parts: What to describe, by name.
        known: Lines read from a file; None: those of the parts.
    """

    parts: Mapping[str, Any]
    known: Mapping[str, str] | None = None

    @functools.cached_property
    def lines(self) -> dict[str, str]:
        """What there is to know, by name."""
        if self.known is not None:
            return dict(self.known)
        found: dict[str, str] = {}
        for name, part in self.parts.items():
            _describe(name, part, found, ())
        return found

    def written(self) -> "Identity":
        """Returns the lines alone."""
        return Identity({}, self.lines)

    def changes(self, now: "Identity") -> str:
        """In words, what is not the same now; empty if everything is."""
        both = {name: (line, now.lines.get(name, "")) for name, line in self.lines.items()}
        # Of arrays of one shape the digests say nothing to a reader.
        others = {name for name, (a, b) in both.items() if a != b and _shape(a) and _shape(a) == _shape(b)}
        rest = ({k: v for k, v in lines.items() if k not in others} for lines in (self.lines, now.lines))
        changes = [f"{name} holds other numbers" for name in both if name in others] + differences(*rest)
        more = f"; and {len(changes) - LISTED_DIFFERENCES} more" if len(changes) > LISTED_DIFFERENCES else ""
        return "; ".join(changes[:LISTED_DIFFERENCES]) + more


def _shape(line: str) -> str:
    """What a line says of an array besides its digest; empty if it is of no array."""
    shape, separator, _ = line.partition(DIGEST_PREFIX)
    return shape if separator else ""


def _describe(name: str, value: Any, into: dict[str, str], above: tuple[int, ...]) -> None:
    """Adds a line for everything of a value that can differ."""
    if id(value) in above:
        return  # a function that closes over itself
    above = (*above, id(value))
    if isinstance(value, float) and value.is_integer():
        into[name] = repr(int(value))  # schedules of optax turn numbers of steps into floats when they are first called
    elif isinstance(value, (str, int, float, complex, bytes, type(None), np.dtype, np.generic)):
        into[name] = repr(value)
    elif isinstance(value, (np.ndarray, jax.Array)):
        into[name] = _digest(value)
    elif isinstance(value, type):
        into[name] = f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, functools.partial):
        _describe_parts(
            name, {"function": value.func, "arguments": value.args, "keywords": value.keywords}, into, above
        )
    elif isinstance(value, types.MethodType):
        _describe_parts(name, {"function": value.__func__, "self": value.__self__}, into, above)
    elif hasattr(value, "__wrapped__"):
        _describe(name, value.__wrapped__, into, above)
    elif isinstance(value, types.FunctionType):
        into[name] = f"{value.__module__}.{value.__qualname__}"
        # Of the code only the numbers, which are what people change in place: bytecode is another in every Python.
        numbers = sorted(repr(c) for c in value.__code__.co_consts if isinstance(c, (int, float)))
        inside = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        closed = {key: cell.cell_contents for key, cell in inside.items() if cell != types.CellType()}
        _describe_parts(name, {"numbers": ", ".join(numbers), **closed}, into, above)
        _describe_parts(name, {"defaults": value.__defaults__, "keywords": value.__kwdefaults__}, into, above)
    elif isinstance(value, Mapping):
        _describe_parts(name, {str(key): each for key, each in value.items()}, into, above)
    elif isinstance(value, (tuple, list)):
        into[name] = f"{type(value).__name__} of {len(value)}"
        names = getattr(value, "_fields", range(len(value)))
        _describe_parts(name, dict(zip(map(str, names), value, strict=True)), into, above)
    elif is_dataclass(value):
        into[name] = type(value).__name__
        _describe_parts(name, {f.name: getattr(value, f.name) for f in fields(value)}, into, above)
    else:
        into[name] = f"{type(value).__module__}.{type(value).__qualname__}"
        _describe_parts(name, getattr(value, "__dict__", {}), into, above)


def _describe_parts(name: str, parts: Mapping[str, Any], into: dict[str, str], above: tuple[int, ...]) -> None:
    for key, part in parts.items():
        _describe(f"{name}.{key}", part, into, above)


def _digest(value: Any) -> str:
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"{jax.random.key_impl(value)} {np.asarray(jax.random.key_data(value)).tolist()}"
    value = np.ascontiguousarray(value)
    if value.size == 1 and value.dtype.kind in "biufc":
        return f"{value.dtype} {value.item()!r}"
    digest = hashlib.sha256(value.tobytes()).hexdigest()
    return f"{value.dtype}{list(value.shape)}{DIGEST_PREFIX}{digest}"
