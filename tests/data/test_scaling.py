"""Scaling there and back: exact, differentiable, in the dtype given, whatever a channel holds."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lddn_jax.data import scaling
from lddn_jax.data.scaling import MinMax, Standard
from lddn_jax.errors import DataError, ShapeError

SCALERS = [pytest.param(MinMax, id="MinMax"), pytest.param(Standard, id="Standard")]
RECORD = np.array([[1.0, 10.0, 7.0], [2.0, 30.0, 7.0], [4.0, 20.0, 7.0], [3.0, 15.0, 7.0]])  # the last is constant

# Multiples of 1/1024 up to 1000: no overflow and no width below rounding, either of which no scaler survives.
entries = st.integers(-1_024_000, 1_024_000).map(lambda k: k / 1024)
records = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=3, max_side=3), elements=entries)


@pytest.mark.parametrize("scaler", SCALERS)
@settings(deadline=None, max_examples=40)
@given(x=records)
def test_invert_undoes_apply(scaler, x):
    fitted = scaler.fit(x)
    np.testing.assert_allclose(fitted.invert(fitted.apply(x)), x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fitted.apply(fitted.invert(x)), x, rtol=1e-9, atol=1e-9)  # widths differ by 1e6


@settings(deadline=None, max_examples=40)
@given(x=records, low=st.sampled_from([-1.0, 0.0, -3.0]), high=st.sampled_from([1.0, 2.5]))
def test_min_max_reaches_both_ends_and_no_further(x, low, high):
    columns = x.reshape(-1, x.shape[-1])
    z = np.asarray(MinMax.fit(x, low, high).apply(columns))
    varies = columns.min(axis=0) < columns.max(axis=0)
    np.testing.assert_allclose(z.min(axis=0)[varies], low, rtol=0, atol=1e-14)
    np.testing.assert_allclose(z.max(axis=0)[varies], high, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(z[:, ~varies], (low + high) / 2)


@settings(deadline=None, max_examples=40)
@given(x=records)
def test_standard_has_mean_0_and_deviation_1(x):
    columns = x.reshape(-1, x.shape[-1])
    z = np.asarray(Standard.fit(x).apply(columns))
    varies = columns.min(axis=0) < columns.max(axis=0)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, rtol=0, atol=1e-8)  # a mean of 1000 over a width of 1/1024
    if varies.any():
        np.testing.assert_allclose(z.std(axis=0, ddof=1)[varies], 1.0, rtol=1e-8)  # likewise
    np.testing.assert_array_equal(z[:, ~varies], 0.0)


@pytest.mark.parametrize("value", [0.1, 0.0, -1e30, 1e-300])
@pytest.mark.parametrize("scaler", SCALERS)
def test_a_constant_channel_comes_back_as_its_constant(scaler, value):
    x = np.full((7, 1), value)
    fitted = scaler.fit(x)
    np.testing.assert_array_equal(fitted.apply(x), 0.0)
    np.testing.assert_array_equal(fitted.invert(np.zeros((7, 1))), x)
    np.testing.assert_array_equal(fitted.error_scale(), 1.0)


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_missing_sample_is_ignored_and_stays_missing(scaler):
    gaps = RECORD.copy()
    gaps[1, 0] = gaps[3, 2] = np.nan
    fitted, seen = scaler.fit(gaps), scaler.fit(RECORD[[0, 2, 3]][:, :1])
    np.testing.assert_allclose(fitted.error_scale()[0], seen.error_scale()[0], rtol=1e-15)
    np.testing.assert_array_equal(np.isnan(fitted.apply(gaps)), np.isnan(gaps))
    np.testing.assert_allclose(fitted.invert(fitted.apply(gaps)), gaps, rtol=1e-14)


def test_standard_divides_by_one_less_than_the_count():
    np.testing.assert_allclose(Standard.fit(RECORD).deviation[:2], RECORD.std(axis=0, ddof=1)[:2], rtol=1e-15)


@pytest.mark.parametrize("scaler", SCALERS)
def test_an_error_in_scaled_units_has_its_size_in_record_units(scaler):
    fitted = scaler.fit(RECORD)
    difference = fitted.invert(jnp.full((1, 3), 0.3)) - fitted.invert(jnp.full((1, 3), 0.1))
    np.testing.assert_allclose(0.2 * fitted.error_scale(), difference[0], rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scaler", SCALERS)
def test_the_dtype_is_kept_whatever_the_scaler_was_fitted_to(scaler, dtype):
    x = RECORD.astype(dtype)
    for fitted in (scaler.fit(RECORD), scaler.fit(x)):
        assert fitted.apply(x).dtype == fitted.invert(x).dtype == dtype
    assert scaler.fit(x).error_scale().dtype == dtype


@pytest.mark.parametrize("scaler", SCALERS)
def test_whole_numbers_are_taken_as_floating(scaler):
    whole = RECORD.astype(np.int64)
    np.testing.assert_array_equal(scaler.fit(whole).apply(whole), scaler.fit(RECORD).apply(RECORD))


@pytest.mark.parametrize("scaler", SCALERS)
def test_it_runs_under_jit_vmap_and_grad(scaler):
    fitted, batch = scaler.fit(RECORD), jnp.stack([jnp.asarray(RECORD)] * 2)
    plain = fitted.apply(batch)
    np.testing.assert_allclose(jax.jit(lambda s, x: s.apply(x))(fitted, batch), plain, rtol=1e-14)
    np.testing.assert_allclose(jax.vmap(fitted.apply)(batch), plain, rtol=1e-14)
    slope = jax.grad(lambda x: fitted.apply(x).sum())(batch)
    np.testing.assert_allclose(slope * fitted.error_scale()[None, None, :], 1.0, rtol=1e-14)


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_survives_json(scaler, dtype):
    fitted = scaler.fit((RECORD / 3).astype(dtype))
    back = scaling.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert type(back) is scaler
    assert jax.tree.structure(back) == jax.tree.structure(fitted)
    for there, here in zip(jax.tree.leaves(back), jax.tree.leaves(fitted), strict=True):
        assert there.dtype == here.dtype
        np.testing.assert_array_equal(there, here)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MinMax.fit(np.ones(5)), ShapeError, r"shape \(5,\).*x\[:, None\]"),
        (lambda: MinMax.fit(np.array([[1.0, np.inf]])), DataError, "channel 1 of 2 contains an infinity"),
        (lambda: Standard.fit(np.array([[np.nan, 1.0]])), DataError, "channel 0 of 2 is all NaN"),
        (lambda: Standard.fit(np.ones((0, 2))), DataError, "channel 0 of 2 is all NaN or empty"),
        (lambda: MinMax.fit(RECORD, low=1.0, high=1.0), DataError, "low must be smaller"),
        (lambda: MinMax.fit(RECORD).apply(np.ones((4, 2))), ShapeError, r"fitted to 3 channel\(s\)"),
        (lambda: Standard.fit(RECORD).invert(np.array(1.0)), ShapeError, r"shape \(\)"),
        (lambda: jax.jit(MinMax.fit)(RECORD), DataError, "inside jit"),
        (lambda: scaling.from_dict({"kind": "Robust"}), DataError, "MinMax, Standard"),
        (lambda: MinMax.from_dict(Standard.fit(RECORD).to_dict()), DataError, "kind 'Standard'"),
        (lambda: MinMax.from_dict({"kind": "MinMax"}), DataError, "lowest"),
    ],
)
def test_errors_say_what_was_given_and_what_was_needed(call, error, message):
    with pytest.raises(error, match=message):
        call()
