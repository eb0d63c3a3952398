"""Matrix products of the package: their precision, and the form that is fastest for their size.

**Precision.** On recent NVIDIA GPUs a float32 product runs in TF32 (10 bits of mantissa) by default, which is too
coarse for comparing gradients. So all products use full precision, unless the user has chosen another one with
`jax.config.update("jax_default_matmul_precision", ...)`.

**Form.** For sums over few elements, calling a matrix product costs more than computing it. Written as a sum of
multiplications, it is fused with the operations before and after it, without an intermediate array. The constants below
are the measured crossover points on a CPU; see `benchmarks/README.md`.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from lddn_jax.numerics.platform import barrier

# Sums over at most this many elements are written out. With one lane the neurons are contiguous, so that one
# multiplication serves a vector of them, and writing out is faster up to a larger size.
WRITTEN_OUT_TERMS = 24
WRITTEN_OUT_TERMS_IN_ONE_LANE = 32
STEPWISE_LANES_PER_ROW = 8  # with at least this many, each step has a matrix product of its own
OWN_KERNEL_LANES = 64  # with at least this many, a transfer function has a kernel of its own
STEP_PRODUCT_LANES = 32  # with at least this many, calling a matrix product for one step is worth it

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
    """Whether, inside a loop, sums and the transfer function that follows are compiled to separate kernels.

    In one kernel with a long sum, XLA:CPU does not vectorize a transfer function. With few lanes that costs less than a
    second kernel; a single lane is compiled to one kernel in any case.
    """
    return math.prod(lanes) == 1 or math.prod(lanes) >= OWN_KERNEL_LANES


def product(matrix: Float[Array, "to from"], lanes: tuple[int, ...]) -> Product:
    """Returns the function y -> W y on signals `(time, from, *lanes)`, in the form that suits the number of lanes.

    All operations on the matrix alone are done here, outside the loop that calls the function.

    Args:
        matrix: W, `(to, from)`.
        lanes: Sizes of the lane axes, those after time and size.

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
        if y.shape[0] == 1:  # with a time axis of length 1, XLA would transpose the signal before multiplying
            return einsum("ij,j...->i...", matrix, y[0])[None]
        # One product for each step, so that no signal is transposed.
        if STEPWISE_LANES_PER_ROW * to <= math.prod(lanes):
            return einsum("tij,tj...->ti...", jnp.broadcast_to(matrix, (y.shape[0], to, from_)), y)
        return einsum("ij,tj...->ti...", matrix, y)

    return multiplied


def pairwise_sum(terms: list[Float[Array, "*shape"]]) -> Float[Array, "*shape"]:
    """Returns the sum of all terms, added in pairs, so that the chain of additions is as short as possible."""
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
        # A product for each step, then their sum; the products are small compared with the signals.
        return einsum("tib,tjb->tij", left, right).sum(axis=0)
    # Long rows on the left: if one side is narrow, XLA:CPU is slow at contracting two leading axes. The barriers keep
    # XLA from undoing the transposition.
    rows = barrier(einsum("tib->itb", left).reshape(i, steps * lanes))
    columns = barrier(einsum("tjb->tbj", right).reshape(steps * lanes, j))
    return einsum("im,mj->ij", rows, columns)
