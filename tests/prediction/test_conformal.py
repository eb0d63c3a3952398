"""Conformal bands: coverage on simulated plants, with dependent errors, heavy tails and few runs."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy.signal import lfilter

import lddn_jax as lddn
from lddn_jax.prediction.conformal import _corrected_quantile, _rising, horizons_of

RNG = np.random.default_rng(0)


def errors(runs, steps, pole, heavy=False, seed=0):
    """Errors of free runs that start at zero, e(t) = pole · e(t−1) + v(t), `(runs, steps)`."""
    draw = np.random.default_rng(seed)
    v = draw.standard_t(3, size=(runs, steps)) if heavy else draw.normal(size=(runs, steps))
    return lfilter([1.0], [1.0, -pole], v, axis=1)


def bands_of(e, coverage=0.9):
    return lddn.ConformalBands.fit({"y": e.ravel()}, horizons_of((e.shape[1],) * len(e)), coverage)


def covered(bands, e):
    return np.abs(e) <= bands.half_width(np.arange(1, e.shape[1] + 1))["y"]


@pytest.mark.parametrize("heavy", [False, True], ids=["Gaussian", "heavy tails"])
@pytest.mark.parametrize("pole", [0.0, 0.8, 0.95])
@pytest.mark.parametrize(("runs", "steps"), [(4, 250), (16, 100), (1, 1000)])
def test_coverage_of_new_runs(runs, steps, pole, heavy):
    """On average over calibrations; each of them knows only about m independent errors."""
    shares = [
        covered(bands_of(errors(runs, steps, pole, heavy, seed)), errors(50, steps, pole, heavy, 1000 + seed)).mean()
        for seed in range(12)
    ]
    assert 0.87 < np.mean(shares) < 0.94


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_coverage_at_every_horizon(coverage):
    """Errors that grow over hundreds of steps: bands of one width would be too wide first and too narrow later."""
    bands = bands_of(errors(200, 300, 0.99), coverage)
    shares = covered(bands, errors(2000, 300, 0.99, seed=1)).mean(axis=0)
    slack = 0.35 * (1 - coverage) + 0.02
    assert np.all(np.abs(shares - coverage) < slack)
    widths = bands.half_width(np.arange(1, 301))["y"]
    assert np.all(np.diff(widths) >= 0)
    assert widths[-1] > 4 * widths[0]


def test_coverage_of_a_model_that_is_wrong():
    """A linear model of a plant that saturates, run over records that were not used to fit it."""

    def record(seed, steps=400):
        u, y = np.random.default_rng(seed).normal(size=steps), np.zeros(steps)
        for t in range(1, steps):
            y[t] = 0.9 * y[t - 1] + np.tanh(2 * u[t - 1])
        return u, y

    u, y = record(0)
    a, b = np.linalg.lstsq(np.stack([y[:-1], u[:-1]], 1), y[1:], rcond=None)[0]

    def free_run_errors(seed):
        u, y = record(seed)
        return (y - lfilter([0.0, b], [1.0, -a], u))[1:]

    bands = bands_of(np.stack([free_run_errors(seed) for seed in range(1, 5)]))
    new = np.stack([free_run_errors(seed) for seed in range(10, 40)])
    assert 0.85 < covered(bands, new).mean() < 0.95


def test_dependent_errors_count_less():
    white, slow = (bands_of(errors(4, 500, pole)).independent["y"] for pole in (0.0, 0.95))
    assert white > 1500
    assert 20 < slow < 300  # τ of exceedances of a first-order process with this pole is about 20


def test_the_correction_is_that_of_split_conformal():
    scores = np.arange(1.0, 21.0)
    assert _corrected_quantile(scores, 0.9, 20.0) == 19.0  # the ⌈21 · 0.9⌉-th of 20
    assert _corrected_quantile(scores, 0.9, 8.0) == 20.0  # the largest: ⌈9 · 0.9⌉ is more than 8


def test_too_few_errors_are_said_and_the_largest_is_the_width():
    e = np.array([[0.5, -1.0, 0.25, 0.75, -0.5, 2.0]])
    bands = bands_of(e)
    assert "about 6 independent errors" in bands.notes[0]
    assert "needs 9" in str(bands)
    assert covered(bands, e).all()
    assert bands_of(errors(4, 100, 0.0)).notes == ()


def test_widths_rise_by_pooling():
    assert _rising(np.array([1.0, 3.0, 2.0, 2.0, 5.0]), np.array([1.0, 1.0, 1.0, 2.0, 1.0])).tolist() == pytest.approx(
        [1.0, 2.25, 2.25, 2.25, 5.0]
    )


def test_outputs_have_bands_of_their_own_and_units_do_not_matter():
    e = errors(8, 50, 0.5)
    horizon = horizons_of((50,) * 8)
    both = lddn.ConformalBands.fit({"y": e.ravel(), "v": 1e-12 * e.ravel()}, horizon)
    np.testing.assert_allclose(both.widths["v"], 1e-12 * both.widths["y"], rtol=1e-9)
    alone = lddn.ConformalBands.fit(e.ravel(), horizon)
    np.testing.assert_array_equal(alone.widths["output"], both.widths["y"])
    assert alone.to_dict()["half_widths"]["output"] == alone.widths["output"].tolist()


def test_missing_measurements_do_not_count():
    e = errors(40, 100, 0.5)
    gaps = np.where(RNG.random(e.shape) < 0.3, np.nan, e)
    bands = bands_of(gaps)
    assert 0.87 < covered(bands, errors(100, 100, 0.5, seed=1)).mean() < 0.93
    assert bands.independent["y"] < bands_of(e).independent["y"]


def test_runs_that_diverge_widen_the_band_up_to_infinity():
    e = errors(20, 50, 0.5)
    few, many = e.copy(), e.copy()
    few[:1, 25:] = np.inf
    many[:8, 25:] = np.inf
    assert np.all(bands_of(few).widths["y"] > bands_of(e).widths["y"])
    assert np.isinf(bands_of(many).widths["y"]).all()
    assert set(bands_of(many).to_dict()["half_widths"]["y"]) == {None}


def test_exact_predictions_have_bands_of_no_width():
    assert np.all(bands_of(np.zeros((4, 50))).half_width([1, 50, 5000])["y"] == 0)


def test_steps_beyond_the_calibration_have_the_last_width():
    bands = bands_of(errors(8, 50, 0.9))
    near, far = bands.half_width([50, 10_000])["y"]
    assert near <= far == bands.widths["y"][-1]


Y = {"y": np.ones(10)}
H = np.arange(1, 11)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lddn.ConformalBands.fit(Y, H, 90), "coverage=90 is a share between 0 and 1"),
        (lambda: lddn.ConformalBands.fit(Y, H[:5]), r"\(10,\) and horizon \(5,\)"),
        (lambda: lddn.ConformalBands.fit(Y, H - 1), r"from 1 on; pass np\.arange\(1"),
        (lambda: lddn.ConformalBands.fit({"y": np.full(10, np.nan)}, H), "'y' are all NaN"),
        (lambda: lddn.ConformalBands.fit({}, H), "no output"),
        (lambda: lddn.ConformalBands.fit(Y, H).half_width([0]), "from 1 on"),
    ],
)
def test_errors_teach(call, words):
    with pytest.raises(lddn.LDDNError, match=words):
        call()


# ---- values, files and words -----------------------------------------------------------------------------------------


def test_bands_compare_by_value_and_survive_json():
    e = errors(20, 50, 0.5)
    bands, same, other = bands_of(e), bands_of(e), bands_of(2 * e)
    read = lddn.ConformalBands.from_dict(json.loads(json.dumps(bands.to_dict())))
    assert bands == same == read
    assert len({bands, same, read, other}) == 2


def test_infinite_widths_survive_json_and_are_not_usable():
    e = errors(20, 50, 0.5)
    e[:4, 10:] = np.inf  # more than a tenth
    bands = bands_of(e)
    assert lddn.ConformalBands.from_dict(bands.to_dict()) == bands
    assert bands.usable == ()
    (note,) = bands.notes
    assert "bands of y are infinite" in note
    assert "diverged" in note


def test_few_independent_errors_are_told_and_not_usable():
    bands = bands_of(np.ones((1, 5)) * np.arange(1, 6))
    assert bands.usable == ()
    assert "use longer records or more folds" in bands.notes[0]


def test_a_file_whose_widths_do_not_match_its_steps_is_rejected():
    given = bands_of(errors(20, 50, 0.5)).to_dict()
    given["steps"].pop()
    with pytest.raises(ValueError, match="do not match"):
        lddn.ConformalBands.from_dict(given)


def test_other_units_scale_the_widths():
    bands = bands_of(errors(20, 50, 0.5))
    np.testing.assert_allclose(
        bands.rescaled({"y": 3.0}).half_width([1, 40])["y"], 3 * bands.half_width([1, 40])["y"], rtol=1e-15
    )


# ---- the bands of a model --------------------------------------------------------------------------------------------


def simulated(seed=1, steps=60):
    rng = np.random.default_rng(seed)
    return {"u": rng.normal(size=steps), "y": rng.normal(size=steps)}


@pytest.fixture(scope="module")
def model():
    """An untrained state space with bands of half a unit at first and two units later."""
    net = lddn.Network(lddn.models.state_space({"u": 1}, {"y": 1}, states=1, hidden=1), key=jax.random.key(0))
    columns = simulated()
    bands = lddn.ConformalBands(0.9, np.array([1.0, 20.0]), {"y": np.array([0.5, 2.0])}, {"y": 100.0})
    data = lddn.Sequences(columns["u"][:, None], columns["y"][:, None])
    return dataclasses.replace(lddn.Scaled.fit(net, data), bands=bands)


def test_a_forecast_has_the_bands_of_its_model(model):
    columns = simulated(2)
    found = lddn.forecast(model, columns)
    half = model.bands.half_width(np.arange(1, 60))["y"]  # the first row fills the delay state
    np.testing.assert_array_equal(found.bands["y"], half)
    inside = np.abs(columns["y"][1:] - found.predictions["free run"]["y"]) <= half
    assert 0 < inside.mean() < 1
    assert found.scores["free run"]["y"]["band_coverage"] == inside.mean()
    assert f"90 % conformal bands contain {100 * inside.mean():.0f} % of the measurements" in str(found)
    np.testing.assert_array_equal(found.to_table()["y free run band"], half)


def test_steps_to_come_have_bands_that_start_anew(model):
    columns = simulated(2)
    found = lddn.forecast(model, columns | {"y": columns["y"][:50]})
    assert found.future is not None
    np.testing.assert_array_equal(found.future_bands["y"], model.bands.half_width(np.arange(1, 11))["y"])
    assert "± 90 %" in str(found)
    assert found.to_table()["y forecast band"][50] == found.future_bands["y"][1]


def test_bands_that_cannot_be_used_are_told_and_not_drawn(model):
    few = dataclasses.replace(model.bands, independent={"y": 3.0})
    found = lddn.forecast(dataclasses.replace(model, bands=few), simulated(2))
    assert found.bands == {}
    assert "band_coverage" not in found.scores["free run"]["y"]
    assert "about 3 independent errors" in str(found)


def test_a_run_from_unknown_states_has_no_bands(model):
    assert lddn.forecast(model, {"u": simulated()["u"]}).bands == {}


def test_bands_are_saved_with_the_model(model, tmp_path):
    lddn.save(tmp_path / "model.npz", model)
    assert lddn.load(tmp_path / "model.npz").bands == model.bands


def test_another_network_has_no_bands(model):
    assert model.with_net(model.net).bands is None
