"""Fingerprint of a run: topology, data and settings as lines of text, compared when a run resumes.

An array is identified by its SHA-256, a module by its name, and a function by its qualified name, its code and the
values in its closure. So `optax.adam(1e-3)` built in another process is equal and `optax.adam(1e-2)` is not. Code and
private fields of installed libraries are ignored, so that a run can resume under a newer version of JAX.
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
DIGEST_PREFIX = " sha256:"  # separates the shape of an array from its digest
PLAIN_TYPES = (str, int, float, complex, bytes, type(None), type(...), slice, np.dtype, np.generic)


@dataclass(frozen=True)
class Identity:
    """Fingerprint of a run, computed on first use.

    Attributes:
        parts: Objects to describe, by name.
        known: Lines read from a file; None to compute them from `parts`.
    """

    parts: Mapping[str, Any]
    known: Mapping[str, str] | None = None

    @functools.cached_property
    def lines(self) -> dict[str, str]:
        """Description of every part, by its name and path."""
        if self.known is not None:
            return dict(self.known)
        found: dict[str, str] = {}
        for name, part in self.parts.items():
            _describe(name, part, found, ())
        return found

    def written(self) -> "Identity":
        """Returns the fingerprint with its lines computed and without the objects."""
        return Identity({}, self.lines)

    def changes(self, now: "Identity") -> str:
        """Describes the differences to another fingerprint; empty if there are none."""
        both = {name: (line, now.lines.get(name, "")) for name, line in self.lines.items()}
        # If only digests differ, they are left out of the message, because they mean nothing to a reader.
        others = {name for name, (a, b) in both.items() if a != b and _shape(a) and _shape(a) == _shape(b)}
        rest = ({k: v for k, v in lines.items() if k not in others} for lines in (self.lines, now.lines))
        changes = [
            f"{name} differs" if _shape(both[name][0]) == "code" else f"{name} has different values"
            for name in both
            if name in others
        ] + differences(*rest)
        more = f"; and {len(changes) - LISTED_DIFFERENCES} more" if len(changes) > LISTED_DIFFERENCES else ""
        return "; ".join(changes[:LISTED_DIFFERENCES]) + more


def _shape(line: str) -> str:
    """The part of a line before the digest (dtype and shape, or "code"); empty if it has no digest."""
    shape, separator, _ = line.partition(DIGEST_PREFIX)
    return shape if separator else ""


def _describe(name: str, value: Any, into: dict[str, str], above: tuple[int, ...]) -> None:
    """Adds lines that describe a value, recursively."""
    if id(value) in above:
        return  # a function that closes over itself
    above = (*above, id(value))
    if isinstance(value, float) and value.is_integer():
        into[name] = repr(int(value))  # optax schedules convert step counts to floats on their first call
    elif isinstance(value, enum.Enum):
        into[name] = f"{_named(type(value))}.{value.name}"
    elif isinstance(value, PLAIN_TYPES):
        into[name] = repr(value)
    elif isinstance(value, (np.ndarray, jax.Array)):
        into[name] = _digest(value)
    elif isinstance(value, types.ModuleType):
        into[name] = f"module {value.__name__}"  # its content depends on the version, not on the run
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
        own = getattr(value, "__name__", "")  # C functions and functions of jax.numpy have one
        into[name] = f"{_named(type(value))} {own}".strip()
        _describe_parts(name, _fields(value), into, above)


def _describe_function(name: str, function: types.FunctionType, into: dict[str, str], above: tuple[int, ...]) -> None:
    """Adds lines for a function: its name, its closure, and its code unless it belongs to an installed library.

    The code of library functions is not compared, so that a run can resume under another version. For a user's function
    the global variables that it reads are described too: in a notebook, a schedule may read its rate from one.
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
    elif hasattr(function, "__wrapped__"):  # decorated by a library
        _describe(name, vars(function)["__wrapped__"], into, above)
        _describe_parts(name, {key: each for key, each in closed.items() if _is_plain(each)}, into, above)
    else:
        _describe_parts(name, closed, into, above)


def _describe_parts(name: str, parts: Mapping[str, Any], into: dict[str, str], above: tuple[int, ...]) -> None:
    for key, part in parts.items():
        _describe(f"{name}.{key}", part, into, above)


def _fields(value: Any) -> dict[str, Any]:
    """The fields of an object; for an object of an installed library, only public fields with plain values."""
    held = dict(getattr(value, "__dict__", {}))
    slots = [slot for kind in type(value).__mro__ for slot in np.atleast_1d(getattr(kind, "__slots__", ())).tolist()]
    held |= {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    if not _is_installed(type(value).__module__):
        return held
    return {key: each for key, each in held.items() if not key.startswith("_") and _is_plain(each)}


def _is_plain(value: Any) -> bool:
    """True for a number, a string, an array, or a container of these."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (*PLAIN_TYPES, enum.Enum, np.ndarray, jax.Array))


def _named(value: Any) -> str:
    """The qualified name of a function or class; of a library only the root package, since modules get moved."""
    module = value.__module__ or ""
    return f"{module.partition('.')[0] if _is_installed(module) else module}.{value.__qualname__}"


@functools.cache
def _is_installed(module: str) -> bool:
    """True if a module belongs to the standard library, an installed library or this package."""
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
