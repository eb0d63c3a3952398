"""What a run is about, in lines that can be compared: its topology, its data and its settings.

Arrays are known by a SHA-256, modules by their names. A function is known by its qualified name, its code and the
values that it closes over, so that `optax.adam(1e-3)` built in another process is the same and `optax.adam(1e-2)` is
not. Of installed libraries neither code nor private fields count: a newer version of JAX may resume the run.
"""

import enum
import functools
import hashlib
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lddn_jax.storage.environment import differences
from lddn_jax.training.bytecode import operations

LISTED_DIFFERENCES = 4  # differences that a message lists
DIGEST_PREFIX = " sha256:"  # what stands between the shape of an array and its digest
PLAIN_TYPES = (str, int, float, complex, bytes, type(None), type(...), slice, np.dtype, np.generic)


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
        # Of arrays of one shape the digests say nothing to a reader, nor do those of code.
        others = {name for name, (a, b) in both.items() if a != b and _shape(a) and _shape(a) == _shape(b)}
        rest = ({k: v for k, v in lines.items() if k not in others} for lines in (self.lines, now.lines))
        changes = [
            f"{name} is not the same" if _shape(both[name][0]) == "code" else f"{name} holds other numbers"
            for name in both
            if name in others
        ] + differences(*rest)
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
    elif isinstance(value, enum.Enum):
        into[name] = f"{_named(type(value))}.{value.name}"
    elif isinstance(value, PLAIN_TYPES):
        into[name] = repr(value)
    elif isinstance(value, (np.ndarray, jax.Array)):
        into[name] = _digest(value)
    elif isinstance(value, types.ModuleType):
        into[name] = f"module {value.__name__}"  # what is in it is of its version, not of the run
    elif isinstance(value, type):
        into[name] = _named(value)
    elif isinstance(value, functools.partial):
        _describe_parts(
            name, {"function": value.func, "arguments": value.args, "keywords": value.keywords}, into, above
        )
    elif isinstance(value, types.MethodType):
        _describe_parts(name, {"function": value.__func__, "self": value.__self__}, into, above)
    elif isinstance(value, types.FunctionType):
        _describe_function(name, value, into, above)
    elif hasattr(value, "__wrapped__"):
        _describe(name, value.__wrapped__, into, above)
    elif isinstance(value, Mapping):
        _describe_parts(name, {str(key): each for key, each in value.items()}, into, above)
    elif isinstance(value, (tuple, list)):
        into[name] = f"{type(value).__name__} of {len(value)}"
        names = getattr(value, "_fields", range(len(value)))
        _describe_parts(name, dict(zip(map(str, names), value, strict=True)), into, above)
    elif isinstance(value, (set, frozenset)):
        into[name] = f"{type(value).__name__} of {len(value)}"
        _describe_parts(name, dict(zip(map(str, range(len(value))), sorted(value, key=repr), strict=True)), into, above)
    elif is_dataclass(value):
        into[name] = type(value).__name__
        _describe_parts(name, {f.name: getattr(value, f.name) for f in fields(value)}, into, above)
    else:
        own = getattr(value, "__name__", "")  # functions written in C and those of jax.numpy have one
        into[name] = f"{_named(type(value))} {own}".strip()
        _describe_parts(name, _fields(value), into, above)


def _describe_function(name: str, function: types.FunctionType, into: dict[str, str], above: tuple[int, ...]) -> None:
    """Adds lines for a function: its name, what it closes over, and its code unless that is of an installed library.

    A newer version of a library is no other run, so the code of its functions is not compared. Of a user's function the
    global variables that it reads count as well: in a notebook a schedule reads its rate from there.
    """
    into[name] = _named(function)
    inside = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closed = {key: cell.cell_contents for key, cell in inside.items() if cell != types.CellType()}
    if not _is_installed(function.__globals__.get("__name__", "")):
        computed = operations(function.__code__)
        into[f"{name} (numbers in its code)"] = ", ".join(computed.numbers)
        into[f"{name} (code)"] = f"code{DIGEST_PREFIX}{hashlib.sha256(' '.join(computed.names).encode()).hexdigest()}"
        defaults = {"defaults": function.__defaults__ or (), "keywords": function.__kwdefaults__ or {}}
        _describe_parts(name, closed | {key: each for key, each in defaults.items() if each}, into, above)
        for key in computed.read:
            variable = f"global {function.__globals__.get('__name__')}.{key}"
            if key in function.__globals__ and variable not in into:
                _describe(variable, function.__globals__[key], into, above)
    elif hasattr(function, "__wrapped__"):  # a library's decorator
        _describe(name, vars(function)["__wrapped__"], into, above)
        _describe_parts(name, {key: each for key, each in closed.items() if _is_plain(each)}, into, above)
    else:
        _describe_parts(name, closed, into, above)


def _describe_parts(name: str, parts: Mapping[str, Any], into: dict[str, str], above: tuple[int, ...]) -> None:
    for key, part in parts.items():
        _describe(f"{name}.{key}", part, into, above)


def _fields(value: Any) -> dict[str, Any]:
    """What an object holds; of one of an installed library only public fields that are plain."""
    held = dict(getattr(value, "__dict__", {}))
    slots = [slot for kind in type(value).__mro__ for slot in np.atleast_1d(getattr(kind, "__slots__", ())).tolist()]
    held |= {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    if not _is_installed(type(value).__module__):
        return held
    return {key: each for key, each in held.items() if not key.startswith("_") and _is_plain(each)}


def _is_plain(value: Any) -> bool:
    """Whether this is a number, a text, an array, or a container of such."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (*PLAIN_TYPES, enum.Enum, np.ndarray, jax.Array))


def _named(value: Any) -> str:
    """The qualified name of a function or class; within a library the module may change from version to version."""
    module = value.__module__ or ""
    return f"{module.partition('.')[0] if _is_installed(module) else module}.{value.__qualname__}"


@functools.cache
def _is_installed(module: str) -> bool:
    """Whether a module belongs to Python, to an installed library, or to this package."""
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names:
        return root != "__main__"
    path = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return root == __name__.partition(".")[0] or "site-packages" in path.parts or "dist-packages" in path.parts


def _digest(value: Any) -> str:
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"{jax.random.key_impl(value)} {np.asarray(jax.random.key_data(value)).tolist()}"
    value = np.ascontiguousarray(value)
    if value.size == 1 and value.dtype.kind in "biufc":
        return f"{value.dtype} {value.item()!r}"
    digest = hashlib.sha256(value.tobytes()).hexdigest()
    return f"{value.dtype}{list(value.shape)}{DIGEST_PREFIX}{digest}"
