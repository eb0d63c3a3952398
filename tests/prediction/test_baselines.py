"""A linear model is a row of scores beside persistence."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.prediction.evaluator import evaluate


class Repeats:
    """A linear model that predicts k times the input, and notes how many samples it was given."""

    def __init__(self, k, name="y"):
        self.k, self.name, self.samples = k, name, []

    def free_run(self, record, first=None, *, samples=None):
        self.samples.append(samples)
        return {self.name: self.k * record.inputs["u"]}


@pytest.fixture(scope="module")
def model():
    net = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 2)), init="zeros")
    u = np.linspace(-1, 1, 50)[:, None]
    return lddn.Scaled.fit(net, lddn.Sequences(u, u))


def columns(steps):
    u = np.random.default_rng(0).normal(size=steps)
    return {"u": u, "y": 2 * u}


def test_its_free_run_is_a_row_of_scores(model):
    records = [lddn.data.Record.of(columns(steps), ["u"], ["y"]) for steps in (30, 200)]
    linear = Repeats(1.5)
    found = evaluate(model, records, persistence=True, linear=linear)
    assert list(found.predictions) == ["free run", "persistence", "linear model"]
    expected = 1.5 * np.concatenate([record.inputs["u"][2:, 0] for record in records])
    np.testing.assert_array_equal(found.predictions["linear model"]["y"], expected)
    assert linear.samples == [30, 100]


def test_it_is_scored_in_a_forecast(model):
    found = lddn.forecast(model, columns(40), linear=Repeats(2.0))
    assert found.scores["linear model"]["y"]["rmse"] == 0
    assert "y, linear model" in str(found)


def test_its_outputs_must_be_those_of_the_network(model):
    with pytest.raises(lddn.ShapeError, match=r"linear: its outputs are \['z'\]"):
        lddn.forecast(model, columns(40), linear=Repeats(2.0, "z"))


def test_a_report_warns_of_a_network_that_is_no_better(model):
    record = lddn.data.Record.of(columns(60), ["u"], ["y"])
    page = lddn.report(model, record, linear=Repeats(1.9))
    assert any("is no better than that of a linear model" in warning for warning in page.warnings)
    scores = next(section for section in page.sections if section.title == "Scores")
    assert "linear model" in [row[0] for row in scores.tables[0].rows]
    with pytest.raises(lddn.LDDNError, match="compared with a Scaled network"):
        lddn.report(model.net, record, linear=Repeats(1.9))
