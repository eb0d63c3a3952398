"""The error at each horizon, against a loop over starts."""

import jax.numpy as jnp
import numpy as np
import pytest
from networks import BY_NAME

import lddn_jax as lddn
from lddn_jax import diagnostics

STEPS, LONGEST = 12, 5


@pytest.fixture(params=[(), (2,)], ids=["one-record", "two-records"])
def case(request):
    """A NARX network with its loop closed, and records of it that it does not predict well."""
    net, draw = BY_NAME["narx-closed"].net, np.random.default_rng(0).normal
    inputs = {"i": jnp.asarray(draw(size=(*request.param, STEPS, 1)))}
    state = {name: jnp.asarray(draw(size=(*request.param, 2, 1))) for name in ("i", "y")}
    return net, lddn.Sequences(inputs, {"y": jnp.asarray(draw(size=(*request.param, STEPS, 1)))}, state)


def test_it_is_the_error_of_runs_from_every_start(case):
    net, data = case
    horizons, found = diagnostics.error_by_horizon(net, data, LONGEST)
    lines = {k: np.concatenate([data.state[k], (data.inputs | data.targets)[k]], axis=-2) for k in ("i", "y")}
    errors = []
    for s in range(STEPS - LONGEST + 1):
        held = {k: jnp.asarray(line[..., s : s + 2, :]) for k, line in lines.items()}
        run = lddn.predict(net, {"i": jnp.asarray(lines["i"][..., s + 2 : s + 2 + LONGEST, :])}, held)["y"]
        errors.append(np.asarray(run) - lines["y"][..., s + 2 : s + 2 + LONGEST, :])
    errors = np.stack(errors).reshape(-1, LONGEST)
    np.testing.assert_array_equal(horizons, np.arange(1, LONGEST + 1))
    np.testing.assert_allclose(found["y"], np.sqrt(np.mean(errors**2, axis=0)), rtol=1e-12)


def test_fewer_starts_are_spread_over_the_record(case):
    net, data = case
    few = diagnostics.error_by_horizon(net, data, LONGEST, starts=2)[1]["y"]
    assert few.shape == (LONGEST,)
    assert not np.allclose(few, diagnostics.error_by_horizon(net, data, LONGEST)[1]["y"])


def test_errors_teach(case):
    net, data = case
    with pytest.raises(lddn.DataError, match="longest=12 with records of 12"):
        diagnostics.error_by_horizon(net, data, 12)
    gap = lddn.Sequences(data.inputs, {"y": data.targets["y"].at[..., 3, 0].set(jnp.nan)}, data.state)
    with pytest.raises(lddn.DataError, match="'y' is NaN"):
        diagnostics.error_by_horizon(net, gap, LONGEST)
    elman = BY_NAME["elman"]
    with pytest.raises(lddn.ShapeError, match="'h' is read through a delay"):
        diagnostics.error_by_horizon(elman.net, elman.data, 2)
