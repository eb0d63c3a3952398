"""Selection and joining of stacked arrays in a pytree, by NumPy.

Indexing of JAX's arrays compiles a program for every shape, which for small networks takes longer than all of their
steps. Use it for results and for what is drawn, not within compiled functions.
"""

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

Tree = TypeVar("Tree")


def taken(tree: Tree, which: int | np.integer | Sequence[int] | Int[np.ndarray, "..."]) -> Tree:
    """Returns the pytree of some elements of the first axis of every array.

    Example:
        >>> taken({"a": jnp.array([1.0, 2.0, 3.0])}, [2, 0])["a"].tolist()
        [3.0, 1.0]
    """
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[which]), tree)


def joined(trees: Sequence[Tree]) -> Tree:
    """Returns the pytree of the arrays of several, one after the other along their first axes.

    Example:
        >>> joined([{"a": jnp.array([1.0])}, {"a": jnp.array([2.0, 3.0])}])["a"].tolist()
        [1.0, 2.0, 3.0]
    """
    return jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *trees)
