"""Scores against their definitions."""

import json

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import diagnostics

Y = np.array([1.0, 2.0, 4.0])
ERROR = np.array([1.0, 2.0, -2.0])
SPREAD = (4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2
NUMBERS = (diagnostics.rmse, diagnostics.mae, diagnostics.nrmse, diagnostics.r2, diagnostics.fit_index)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (diagnostics.rmse, np.sqrt(3)),
        (diagnostics.mae, 5 / 3),
        (diagnostics.nrmse, np.sqrt(9 / SPREAD)),
        (diagnostics.r2, 1 - 9 / SPREAD),
        (diagnostics.fit_index, 100 * (1 - np.sqrt(9 / SPREAD))),
    ],
)
def test_by_hand(score, expected):
    assert score(Y, Y + ERROR) == pytest.approx(expected, rel=1e-14)


def test_the_mean_explains_nothing():
    assert diagnostics.r2(Y, np.full(3, Y.mean())) == pytest.approx(0, abs=1e-15)
    assert diagnostics.fit_index(Y, np.full(3, Y.mean())) == pytest.approx(0, abs=1e-13)


def test_missing_measurements_do_not_count():
    assert diagnostics.rmse([1, np.nan, 3], [2, 100, 4]) == 1


@pytest.mark.parametrize("score", NUMBERS)
def test_a_weight_of_two_is_the_value_twice(score):
    twice = [1, 1, 2, 4], [2, 2, 4, 2]
    assert score(Y, Y + ERROR, [2, 1, 1]) == pytest.approx(score(*twice), rel=1e-14)


@pytest.mark.parametrize("score", NUMBERS)
def test_a_weight_of_zero_is_a_missing_value(score):
    assert score([1, 2, 4, 9], [2, 4, 2, np.inf], [1, 1, 1, 0]) == score(Y, Y + ERROR)


@pytest.mark.parametrize(("predicted", "expected"), [([0.1, 0.1, 0.1], 1.0), ([0.1, 0.1, 0.2], -np.inf)])
def test_a_constant_measurement(predicted, expected):
    assert diagnostics.r2([0.1, 0.1, 0.1], predicted) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("score", "worst"), list(zip(NUMBERS, [np.inf] * 3 + [-np.inf] * 2, strict=True)))
def test_a_prediction_that_is_not_finite_is_infinitely_wrong(score, worst, bad):
    assert score([1.0, 2.0], [1.0, bad]) == worst


@pytest.mark.parametrize("score", NUMBERS)
@pytest.mark.parametrize(
    ("measured", "predicted", "weights", "words"),
    [
        ([1, 2], [1], None, "shape"),
        ([], [], None, "no measured"),
        ([np.nan], [1], None, "no measured"),
        ([1], [1], [0], "every weight is 0"),
        ([1, 2], [1, 2], [1, 1, 1], "broadcast"),
        ([1, 2], [1, 2], [1, -1], "0 to ignore"),
    ],
)
def test_errors(score, measured, predicted, weights, words):
    with pytest.raises(lddn.LDDNError, match=words):
        score(measured, predicted, weights)


@pytest.fixture
def two_outputs():
    """Two records of an output of two elements and one of one; the second record of `z` was not measured."""
    draw = np.random.default_rng(0).normal
    measured = {"y": np.array([0, 50]) + draw(size=(2, 9, 2)), "z": draw(size=(2, 9, 1))}
    measured["z"][1] = np.nan
    return measured, {name: value + 0.3 * draw(size=value.shape) for name, value in measured.items()}


def test_scores_are_those_of_each_channel(two_outputs):
    measured, predicted = two_outputs
    predicted["z"][1] = 7  # a don't-care
    found = diagnostics.scores(measured, predicted)
    assert list(found.by_output) == ["y[0]", "y[1]", "z"]
    first = measured["y"][..., 1], predicted["y"][..., 1]
    score = found.by_output["y[1]"]
    assert (score.rmse, score.mae) == pytest.approx((diagnostics.rmse(*first), diagnostics.mae(*first)))
    assert (score.nrmse, score.r2) == pytest.approx((diagnostics.nrmse(*first), diagnostics.r2(*first)))
    assert (score.count, found.by_output["z"].count, found.all.count) == (18, 9, 45)


def test_all_pools_errors_and_averages_what_is_relative(two_outputs):
    found = diagnostics.scores(*two_outputs)
    each = found.by_output.values()
    assert found.all.rmse == pytest.approx(np.sqrt(sum(s.count * s.rmse**2 for s in each) / 45))
    assert found.all.r2 == pytest.approx(np.mean([s.r2 for s in each]))
    assert found.all.fit == pytest.approx(np.mean([s.fit for s in each]))


def test_each_record_is_scored_as_if_alone(two_outputs):
    measured, predicted = two_outputs
    found = diagnostics.scores(measured, predicted)
    alone = diagnostics.scores(*({"y": part["y"][1]} for part in (measured, predicted)))
    assert list(found.by_record) == [(0,), (1,)]
    assert found.by_record[1,] == alone.all
    assert alone.by_record == {}


def test_a_record_without_measurements_has_no_score():
    y = np.stack([np.ones((3, 1)), np.full((3, 1), np.nan)])
    found = diagnostics.scores(y, y)
    assert found.by_record[1,].count == 0
    assert np.isnan(found.by_record[1,].rmse)
    assert found.by_record[0,].rmse == 0


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_a_constant_output_has_no_part_in_the_scores_of_all(error):
    y = np.arange(4.0)[:, None]
    found = diagnostics.scores({"y": y, "still": np.ones((4, 1))}, {"y": y + 1, "still": np.ones((4, 1)) + error})
    assert found.by_output["still"].in_words()["R²"] == "undefined"
    assert found.by_output["still"].to_dict()["r2"] is None
    assert found.by_output["still"].rmse == pytest.approx(error)
    assert found.all.r2 == found.by_output["y"].r2


def test_weights_by_output_broadcast(two_outputs):
    measured, predicted = two_outputs
    found = diagnostics.scores(measured, predicted, {"y": [0.0, 1.0], "z": 1.0})
    assert found.by_output["y[0]"].count == 0
    assert found.all.rmse == pytest.approx(
        np.sqrt(np.nanmean(np.concatenate([(predicted[n] - measured[n])[..., -1:].ravel() for n in "yz"]) ** 2))
    )


def test_scores_print_and_become_json(two_outputs):
    found = diagnostics.scores(*two_outputs)
    text = str(found)
    assert [line.split("  ")[0].strip() for line in text.splitlines()][1:] == [
        *("y[0]", "y[1]", "z", "all"),
        *("record 0", "record 1"),
    ]
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["by_output"]["z"]["rmse"] == found.by_output["z"].rmse
    assert set(plain["by_record"]) == {"0", "1"}


@pytest.mark.parametrize(
    ("measured", "predicted", "words"),
    [
        ({"y": np.ones((3, 1))}, {"z": np.ones((3, 1))}, "'z'"),
        ({"y": np.ones((3, 1))}, {"y": np.ones((4, 1))}, "'y'.*shape"),
        ({"y": np.ones(3)}, {"y": np.ones(3)}, r"signal\[:, None\]"),
        ({"y": np.full((3, 1), np.nan)}, {"y": np.ones((3, 1))}, "no measured value"),
        ({"y": np.ones((3, 1)), "z": np.ones((2, 3, 1))}, {"y": np.ones((3, 1)), "z": np.ones((2, 3, 1))}, "batch"),
    ],
)
def test_scores_explain_what_does_not_fit(measured, predicted, words):
    with pytest.raises(lddn.ShapeError, match=words):
        diagnostics.scores(measured, predicted)


@pytest.mark.parametrize("unit", [1e149, 1e-200, 1e-300])
def test_scores_do_not_depend_on_the_unit_although_squares_overflow_or_vanish(unit):
    y, predicted = np.array([1.0, 2.0, 4.0, -1.0]), np.array([1.1, 2.0, 3.8, -1.2])
    assert diagnostics.nrmse(y * unit, predicted * unit) == pytest.approx(diagnostics.nrmse(y, predicted), rel=1e-12)
    assert diagnostics.rmse(y * unit, predicted * unit) == pytest.approx(0.15 * unit, rel=1e-12)


@pytest.mark.parametrize("score", NUMBERS)
def test_errors_near_the_largest_float_have_scores_without_a_warning(score):
    largest = np.finfo(float).max
    expected = {diagnostics.rmse: largest, diagnostics.mae: largest}
    value = score(np.array([largest, largest, -largest]), np.zeros(3))
    assert value == pytest.approx(expected[score], rel=1e-12) if score in expected else np.isfinite(value)
    far = {diagnostics.nrmse: np.inf, diagnostics.r2: -np.inf, diagnostics.fit_index: -np.inf}
    value = score(np.array([0.0, 1e-300]), np.full(2, 1e149))
    assert value == far.get(score, pytest.approx(1e149))


def test_a_table_of_errors_near_the_largest_float():
    largest = np.finfo(float).max
    y = np.array([[largest], [-largest], [0.0]])
    assert diagnostics.scores({"y": y}, {"y": 0 * y}).all.r2 == pytest.approx(0)
    far = diagnostics.scores({"y": np.array([[0.0], [1e-300]])}, {"y": np.full((2, 1), 1e149)}).all
    assert (far.nrmse, far.r2, far.fit) == (np.inf, -np.inf, -np.inf)
    assert "undefined" in str(far.in_words())


def test_measurements_whose_squares_overflow_have_scores_without_a_warning():
    assert diagnostics.rmse([1e155, 3e155], [0.0, 0.0]) == pytest.approx(np.sqrt(5) * 1e155)
    assert diagnostics.nrmse([1e155, 3e155], [2e155, 2e155]) == np.inf  # predictions of this size count as diverged
