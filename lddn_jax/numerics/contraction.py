"""The helpers that every matrix product of the package goes through: precision, and the form that is fastest.

**Precision.** On recent NVIDIA GPUs a float32 product runs in TF32 (10 bits of mantissa) unless more is asked for,
which is too coarse for gradients that are compared with each other. So full precision is asked for, unless the user has
chosen one with `jax.config.update("jax_default_matmul_precision", ...)`.

**Form.** A call of a matrix product costs more than the product itself where only a few elements are summed. Written as
a sum of multiplications it is fused with what stands before and after it, without an array in between. The constants
below are where the one overtakes the other on a CPU; `benchmarks/README.md` has the measurements.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from lddn_jax.numerics.platform import barrier

# A sum over so many elements, at most, is written out. In one lane the neurons lie next to each other, so that one
# multiplication serves a vector of them, and writing out pays for longer.
WRITTEN_OUT_TERMS = 24
WRITTEN_OUT_TERMS_IN_ONE_LANE = 32
STEPWISE_LANES_PER_ROW = 8  # from which on steps are multiplied one by one
OWN_KERNEL_LANES = 64  # from which a transfer function has a kernel of its own
STEP_PRODUCT_LANES = 32  # from which a product of one step is worth calling

Product: TypeAlias = Callable[[Float[Array, "time from *lanes"]], Float[Array, "time to *lanes"]]


def einsum(subscripts: str, *operands: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
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


def few(count: int, lanes: tuple[int, ...]) -> bool:
    """Whether a sum over `count` elements is written out as multiplications and additions."""
    return count <= (WRITTEN_OUT_TERMS_IN_ONE_LANE if math.prod(lanes) == 1 else WRITTEN_OUT_TERMS)


def apart(lanes: tuple[int, ...]) -> bool:
    """Whether sums and the transfer function after them belong into kernels of their own inside a loop.

    In one kernel with a long sum, XLA:CPU does not vectorize a transfer function; with few lanes that costs less than
    another kernel does, and one lane is compiled to a single kernel in any case.
    """
    return math.prod(lanes) == 1 or math.prod(lanes) >= OWN_KERNEL_LANES


def product(matrix: Float[Array, "to from"], lanes: tuple[int, ...]) -> Product:
    """Returns the function y -> W y on signals `(time, from, *lanes)`, in the form that suits the number of lanes.

    What is done to the matrix is done here, so that a loop has nothing to do but to call the function.

    Args:
        matrix: W, `(to, from)`.
        lanes: Axes behind time and size of the signals to come.

    Example:
        >>> product(jnp.eye(2), lanes=(3,))(jnp.ones((5, 2, 3))).shape
        (5, 2, 3)
    """
    to, from_ = matrix.shape
    ones = (1,) * len(lanes)
    columns = einsum("ij->ji", matrix).reshape(from_, 1, to, *ones)
    row = matrix.reshape(1, -1, *ones)

    def multiplied(y):
        if to == 1 < from_ and y.shape[0] == 1 and math.prod(lanes) >= STEP_PRODUCT_LANES:
            return (row * y).sum(axis=1, keepdims=True)
        if few(from_, lanes):
            return pairwise_sum([columns[j] * y[:, j : j + 1] for j in range(from_)])
        if y.shape[0] == 1:  # with an axis of one step, XLA would turn the signal round before it multiplies
            return einsum("ij,j...->i...", matrix, y[0])[None]
        # A product for each step, so that no signal is turned round.
        if STEPWISE_LANES_PER_ROW * to <= math.prod(lanes):
            return einsum("tij,tj...->ti...", jnp.broadcast_to(matrix, (y.shape[0], to, from_)), y)
        return einsum("ij,tj...->ti...", matrix, y)

    return multiplied


def pairwise_sum(terms: list[Float[Array, "*shape"]]) -> Float[Array, "*shape"]:
    """Adds neighbors, then neighbors of these: a chain of additions as short as can be."""
    while len(terms) > 1:
        rest = terms[-1:] if len(terms) % 2 else []
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + rest
    return terms[0]


def correlation(
    left: Float[Array, "time left lanes"], right: Float[Array, "time right lanes"]
) -> Float[Array, "left right"]:
    """Returns Σ left_i right_j over time and lanes, `(left, right)`, of two signals `(time, size, lanes)`."""
    steps, lanes = left.shape[0], left.shape[-1]
    i, j = left.shape[1], right.shape[1]
    if steps == 1:
        return einsum("ib,jb->ij", left[0], right[0])
    if lanes == 1:
        return einsum("ti,tj->ij", left[..., 0], right[..., 0])
    if lanes >= STEP_PRODUCT_LANES and i * j <= lanes * (i + j):
        # A product for each step, then the sum of them, which is small beside the signals.
        return einsum("tib,tjb->tij", left, right).sum(axis=0)
    # Long rows on the left: where one side is narrow, XLA:CPU contracts two leading axes slowly. The barriers keep it
    # from turning the rows back.
    rows = barrier(einsum("tib->itb", left).reshape(i, steps * lanes))
    columns = barrier(einsum("tjb->tbj", right).reshape(steps * lanes, j))
    return einsum("im,mj->ij", rows, columns)
