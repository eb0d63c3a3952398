"""A forecast is the same, whatever holds the record."""

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.prediction.evaluator import evaluate


@pytest.fixture(scope="module")
def model():
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    u, y = np.random.default_rng(0).normal(size=(2, 30, 1))
    return lddn.Scaled.fit(net, lddn.Sequences({"u": u, "measured_y": y}, y))


@pytest.fixture(scope="module")
def columns():
    u, y = np.random.default_rng(1).normal(size=(2, 40))
    return {"time": 0.5 * np.arange(40), "u": u, "y": y}


def test_a_record_is_predicted_as_its_columns_are(model, columns):
    record = lddn.data.Record.of(columns, inputs=["u"], targets=["y"], time="time")
    found, expected = (lddn.forecast(model, source, ahead=(1, 3)) for source in (record, columns))
    assert list(found.predictions) == ["one step ahead", "3 steps ahead", "free run"]
    for kind, outputs in expected.predictions.items():
        np.testing.assert_array_equal(found.predictions[kind]["y"], outputs["y"])
    np.testing.assert_array_equal(found.time, columns["time"][2:])


def test_gaps_leave_the_free_run_and_are_told(model, columns):
    y = columns["y"].copy()
    y[20:25] = np.nan
    record = lddn.data.Record.of(columns | {"y": y}, inputs=["u"], targets=["y"], missing="mask")
    found = lddn.forecast(model, record)
    assert list(found.predictions) == ["free run"]
    assert "have gaps" in str(found)
    np.testing.assert_array_equal(
        found.predictions["free run"]["y"], lddn.forecast(model, columns).predictions["free run"]["y"]
    )


def test_every_element_of_an_output_is_predicted():
    topology = lddn.models.narx({"u": 1}, {"y": 2}, hidden=2)
    rng = np.random.default_rng(2)
    u, y = rng.normal(size=(30, 1)), rng.normal(size=(30, 2))
    net = lddn.Network(topology, key=jax.random.key(0))
    model = lddn.Scaled.fit(net, lddn.Sequences({"u": u, "measured_y": y}, y))
    found = lddn.forecast(model, lddn.data.Record({"u": u}, {"y": y}))
    outputs = np.asarray(model.predict({"u": u, "measured_y": y})["y"])
    for element in (0, 1):
        np.testing.assert_allclose(
            found.predictions["one step ahead"][f"y[{element}]"], outputs[2:, element], rtol=1e-12
        )
        np.testing.assert_array_equal(found.measured[f"y[{element}]"], y[2:, element])


def test_a_report_of_a_record_with_gaps_is_of_the_pieces_between_them(model, columns):
    y = columns["y"].copy()
    y[20:25] = y[37:] = np.nan
    record = lddn.data.Record.of(columns | {"y": y}, inputs=["u"], targets=["y"], missing="mask")
    page = lddn.report(model, record)
    assert "30 steps" not in page.summary
    training = next(section for section in page.sections if section.title == "Training")
    assert "8 of 40 rows are left out" in training.listings[0][1]
    pieces = [record.piece(0, 20), record.piece(25, 37)]
    table = next(section for section in page.sections if section.title == "Scores").tables[0]
    assert f"{evaluate(model, pieces).scores['one step ahead']['y']['rmse']:.4g}" in table.rows[1]


def test_a_report_of_a_record_of_gaps_says_what_it_needs(model):
    y = np.where(np.arange(40) % 3 < 2, 1.0, np.nan)[:, None]
    record = lddn.data.Record({"u": np.ones((40, 1))}, {"y": y}, missing="mask")
    with pytest.raises(lddn.DataError, match="no stretch of 3 rows"):
        lddn.report(model, record)
