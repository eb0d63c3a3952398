"""Computation in float64 whatever JAX's default float is, and conversion of the results to that default.

JAX computes in float32 unless `jax_enable_x64` is set. What needs float64, such as Levenberg-Marquardt, runs in a scope
of its own, and its results are then converted, so that the user's program computes in one precision.
"""

import contextlib
import dataclasses
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

Result = TypeVar("Result")


def is_default(dtype: Any) -> bool:
    """Whether arrays of this dtype exist outside of a scope: float64 only if JAX has `jax_enable_x64` set."""
    return np.dtype(dtype) != np.float64 or jnp.result_type(float) == np.float64


def computing_in(dtype: Any) -> AbstractContextManager:
    """Returns a context in which arrays of this dtype can be made; it changes nothing if they can be made anyway."""
    return contextlib.nullcontext() if is_default(dtype) else jax.enable_x64(True)


def in_default_float(value: Result) -> Result:
    """Converts all float64 arrays of JAX in a result to JAX's default float; NumPy's are left as they are.

    Args:
        value: A pytree, or a dataclass of pytrees and dataclasses. It is returned itself if nothing has to change. What
            stands in it twice is one object in the result too.

    Example:
        >>> with jax.enable_x64(True):
        ...     x = jnp.ones(2)
        >>> with jax.enable_x64(False):
        ...     in_default_float({"x": x})["x"].dtype
        dtype('float32')
    """
    return _in_default_float(value, {})


def _in_default_float(value: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    """The conversion; `known` holds what was converted already, with its original, by the identity of that."""
    leaves, structure = jax.tree.flatten(value)
    for leaf in leaves:
        if id(leaf) not in known:
            known[id(leaf)] = leaf, _converted(leaf, known)
    converted = [known[id(leaf)][1] for leaf in leaves]
    same = all(new is old for new, old in zip(converted, leaves, strict=True))
    return value if same else jax.tree.unflatten(structure, converted)


def _converted(leaf: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(leaf, jax.Array):
        kept = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or is_default(leaf.dtype)
        return leaf if kept else jax.device_put(np.asarray(leaf).astype(jnp.result_type(float)))
    if not dataclasses.is_dataclass(leaf) or isinstance(leaf, (type, eqx.Module)):
        return leaf
    fields = {field.name: getattr(leaf, field.name) for field in dataclasses.fields(leaf)}
    found = {name: _in_default_float(value, known) for name, value in fields.items()}
    changed = {name: value for name, value in found.items() if value is not fields[name]}
    return dataclasses.replace(leaf, **changed) if changed else leaf
