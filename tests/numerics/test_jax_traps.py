"""Faults of JAX itself that this package is exposed to. If one of these fails, exclude that version of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 16, 33])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12])
def test_a_matrix_vector_product_under_vmap_then_a_sum(rows, size):
    # jaxlib 0.10.2 computes this wrong on the CPU (jax-ml/jax#39103): each row's square norm after a product.
    random = np.random.default_rng(100 * rows + size)
    M, vectors = random.standard_normal((size, size)), random.standard_normal((rows, size))
    M_jax = jnp.asarray(M)
    found = jax.jit(jax.vmap(lambda r: ((M_jax @ r) ** 2).sum()))(jnp.asarray(vectors))
    np.testing.assert_allclose(found, ((vectors @ M.T) ** 2).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 6), (8, 3), (16, 16), (5, 32)])
def test_the_same_product_of_an_oblong_matrix(shape, dtype):
    random = np.random.default_rng(shape)
    M, vectors = random.standard_normal(shape).astype(dtype), random.standard_normal((20, shape[1])).astype(dtype)
    found = jax.jit(jax.vmap(lambda M, r: ((M @ r) ** 2).sum(), in_axes=(None, 0)))(
        jnp.asarray(M), jnp.asarray(vectors)
    )
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(found, ((vectors @ M.T) ** 2).sum(axis=1), rtol=tolerance)
