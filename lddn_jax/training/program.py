"""A function of parts that stay and of arguments that change, taken apart once instead of at every call.

`jax.jit` looks through all arguments of every call. Those of a training step are a dozen modules of which a few
arrays change, and looking through the rest takes longer than a small network's step. Here what stays is flattened
once; what is not an array in it, its *kind*, is compared by value, so that two runs of a kind share a compiled program.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np


class Program:
    """Calls a compiled function with parts that stay.

    Args:
        compiled: What `of_parts` returned.
        parts: What stays.
    """

    def __init__(self, compiled: Callable[..., Any], *parts: Any):
        arrays, rest = eqx.partition(parts, lambda leaf: isinstance(leaf, (jax.Array, np.ndarray)))
        self._compiled = compiled
        self._arrays, structure = jax.tree.flatten(arrays)
        leaves, rest_structure = jax.tree.flatten(rest)
        self._kind = _Kind((structure, tuple(leaves), rest_structure))

    def __call__(self, *changing: Any) -> Any:  # noqa: D102
        return self._compiled(self._kind, self._arrays, *changing)


def of_parts(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of parts that stay and arguments that change, for `Program`."""

    @functools.partial(jax.jit, static_argnums=0)
    @functools.wraps(function)
    def compiled(kind, arrays, *changing):
        structure, leaves, rest_structure = kind.content
        parts = jax.tree.unflatten(structure, arrays), jax.tree.unflatten(rest_structure, leaves)
        return function(*eqx.combine(*parts), *changing)

    return compiled


class _Kind:
    """What must be equal for a program to be shared; its hash is computed once."""

    def __init__(self, content: Any):
        self.content, self._hash = content, hash(content)

    def __hash__(self):
        return self._hash

    def __eq__(self, other):
        return isinstance(other, _Kind) and self.content == other.content
