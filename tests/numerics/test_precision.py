"""Results of a computation in float64 are converted to JAX's default float, wherever they lie."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lddn_jax.numerics.precision import computing_in, in_default_float, is_default


@dataclass(frozen=True)
class Held:
    array: jax.Array
    others: tuple
    name: str = "held"


def held():
    return Held(jnp.ones(2), (jnp.arange(2), np.ones(2), {"key": jax.random.key(0)}))


def test_arrays_in_dataclasses_in_pytrees_are_converted():
    given = {"a": [held()], "b": jnp.zeros(1)}
    with jax.enable_x64(False):
        found = in_default_float(given)
    inside = found["a"][0]
    assert (inside.array.dtype, found["b"].dtype, inside.name) == (np.float32, np.float32, "held")
    assert inside.others[1].dtype == np.float64  # NumPy's are left as they are
    np.testing.assert_array_equal(inside.array, given["a"][0].array)


def test_what_needs_no_conversion_is_returned_itself():
    given = held()
    assert in_default_float(given) is given
    with jax.enable_x64(False):
        found = in_default_float(given)
        assert in_default_float(found) is found


def test_what_stands_in_a_result_twice_is_one_object_after_it_too():
    one = held()
    with jax.enable_x64(False):
        first, (second, array) = in_default_float((one, [one, one.array]))
    assert first is second
    assert first.array is array
    assert array.dtype == np.float32


@pytest.mark.parametrize("enabled", [False, True])
def test_a_scope_makes_float64_and_leaves_the_rest_alone(enabled):
    with jax.enable_x64(enabled):
        with computing_in("float64"):
            assert jnp.ones(1).dtype == np.float64
        with computing_in("float32"):
            assert jnp.ones(1).dtype == (np.float64 if enabled else np.float32)
        assert (is_default("float64"), is_default("float32")) == (enabled, True)
