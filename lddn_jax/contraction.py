"""The one helper that every matrix product of the package goes through.

On recent NVIDIA GPUs a float32 product runs in TF32 (10 bits of mantissa) unless more is asked for,
which is too coarse for gradients that are compared with each other. So full precision is asked for,
unless the user has chosen one with `jax.config.update("jax_default_matmul_precision", ...)`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array


def einsum(subscripts: str, *operands: Array) -> Array:
    """Returns `jnp.einsum(subscripts, *operands)` in the precision of the package.

    The letters are `t` time, `b` batch, `d` delay, `i` to-neuron, `j` from-neuron, `p` parameter.

    Args:
        subscripts: As for `jnp.einsum`.
        *operands: Arrays of one dtype.

    Example:
        >>> einsum("ij,j->i", jnp.eye(2), jnp.ones(2)).tolist()
        [1.0, 1.0]
    """
    chosen = getattr(jax.config, "jax_default_matmul_precision")  # noqa: B009  (JAX adds its options at run time)
    precision = jax.lax.Precision.HIGHEST if chosen is None else None
    return jnp.einsum(subscripts, *operands, precision=precision)
