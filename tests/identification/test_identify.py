"""Identification from records to an evaluated network: which gradient methods are compared before training, if any."""

import importlib

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.identification import gradient_check
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.gradient_check import check_closed_loop
from lddn_jax.numerics.precision import in_default_float

SMALL = lddn.Settings(model="narx", hidden=1, input_delays=(1,), feedback_delays=(1,), linear_path=False)


def table(inputs):
    rng = np.random.default_rng(0)
    return lddn.data.Table({name: rng.normal(size=100) for name in (*inputs, "y")})


def untrained(settings=SMALL, inputs=("u",)):
    """A network with its loop open, and what it would be trained on."""
    experiment = Experiment.of(table(inputs), list(inputs), ["y"], settings)
    return lddn.Network(experiment.topology, key=jax.random.key(0)), experiment


@pytest.fixture
def compared(monkeypatch):
    """The names of the methods that were to be compared; nothing is compiled."""
    seen = []

    def stub(loss, net, data, methods=gradient_check.METHODS):
        seen.extend(method.name for method in methods)
        return lddn.GradientReport((), 1.0, dict.fromkeys(seen, 0.0), dict.fromkeys(seen), "float64")

    monkeypatch.setattr(gradient_check, "check_gradients", stub)
    return seen


def test_all_methods_agree_on_the_closed_loop():
    report = check_closed_loop(*untrained())
    assert list(report.seconds) == [method.name for method in gradient_check.METHODS]
    assert report.passed
    assert report.worst.relative < 1e-11
    assert report.left_out == {}
    assert "all methods agree (float64)" in str(report)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("MOST_CONNECTIONS", "3 connections are more than 1"),
        ("MOST_PARAMETER_STEPS", "5 parameters × 40 time steps are 200, more than 1"),
    ],
)
def test_large_networks_are_compared_by_two_methods_and_the_report_says_why(limit, reason, compared, monkeypatch):
    monkeypatch.setattr(gradient_check, limit, 1)
    report = check_closed_loop(*untrained())
    assert compared == ["BPTT", "SensitivityBPTT"]
    left_out = [method.name for method in gradient_check.METHODS if method.name not in compared]
    assert {"RTRL", "Autodiff", "FiniteDifference(order=4)"} <= set(left_out)
    assert report.left_out == dict.fromkeys(left_out, reason)
    assert report.to_dict()["left_out"] == report.left_out
    assert f"RTRL was left out: {reason}" in str(report)
    assert "the methods compared agree (float64)" in str(report)


def test_sixty_inputs_are_many(compared):
    net, experiment = untrained(lddn.Settings(model="narx"), [f"u{k}" for k in range(60)])
    assert "123 connections" in check_closed_loop(net, experiment).left_out["RTRL"]
    assert compared == ["BPTT", "SensitivityBPTT"]


@pytest.mark.deep
def test_sixty_inputs_agree():
    assert check_closed_loop(*untrained(lddn.Settings(model="narx"), [f"u{k}" for k in range(60)])).passed


class ComparedError(Exception):
    """Raised in place of a comparison."""


class TrainedError(Exception):
    """Raised in place of training."""


@pytest.mark.parametrize(
    ("asked", "reached"), [({}, TrainedError), ({"check_gradients": True}, ComparedError)], ids=["not", "asked"]
)
@pytest.mark.parametrize("model", ["state-space", "narx"])
def test_gradients_are_compared_before_training_if_asked_for(model, asked, reached, monkeypatch):
    def instead(error):
        def stub(*_):
            raise error

        return stub

    identify = importlib.import_module("lddn_jax.identification.identify")
    monkeypatch.setattr(identify, "check_closed_loop", instead(ComparedError))
    monkeypatch.setitem(identify.TRAINERS, "lm", instead(TrainedError))
    monkeypatch.setattr(identify, "by_competition", instead(TrainedError))
    with pytest.raises(reached):
        lddn.identify(table(["u"]), ["u"], ["y"], lddn.Settings(model=model, hidden=1, **asked))


QUICK = {"hidden": 1, "epochs": 1, "restarts": 1}
NARX = {"input_delays": (1,), "feedback_delays": (1,), "horizons": (1,)}
STATE_SPACE = {"states": 1, "folds": 2, "keep": 1}


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        (STATE_SPACE, "float64"),
        (NARX, "float64"),
        pytest.param(NARX | {"dtype": "float64"}, "float64", marks=pytest.mark.deep),
        pytest.param(NARX | {"trainer": "adam", "window": 10}, "float32", marks=pytest.mark.deep),
        (NARX | {"trainer": "adam", "window": 10, "dtype": "float32"}, "float32"),
        pytest.param(NARX | {"trainer": "br", "bayesian_epochs": 2}, "float64", marks=pytest.mark.deep),
    ],
    ids=str,
)
def test_a_program_without_float64_gets_a_model_that_it_can_use(settings, trained):
    """Warnings are errors here, JAX's about float64 arrays in 32 bits among them."""
    said, dtypes = [], []
    with jax.enable_x64(False):
        chosen = lddn.Settings(**QUICK, **settings)
        callback = lambda state: dtypes.append(str(state.net.dtype))  # noqa: E731
        found = lddn.identify(table(["u"]), ["u"], ["y"], chosen, say=said.append, callbacks=[callback])
        assert in_default_float(found) is found
        assert {leaf.dtype for leaf in jax.tree.leaves(found.model)} == {np.dtype("float32")}
        assert lddn.forecast(found.model, table(["u"])).predictions["free run"]["y"].shape == (99,)
        inputs = {name: np.ones((5, 1)) for name in found.net.topology.input_names}
        assert found.model.predict(inputs)["y"].dtype == np.float32
        assert found.to_dict()["dtype"] == "float32"
    assert set(dtypes) == {trained}
    assert any("returned in float32" in text for text in said) == (trained == "float64")


@pytest.mark.parametrize("of_model", [STATE_SPACE, NARX], ids=["state-space", "narx"])
def test_float64_is_kept_where_it_is_the_default(of_model):
    found = lddn.identify(table(["u"]), ["u"], ["y"], lddn.Settings(**QUICK, **of_model))
    assert found.net.dtype == np.float64


@pytest.mark.parametrize("trainer", ["lm", "br"])
def test_too_few_digits_are_told_where_they_are_asked_for(trainer):
    with pytest.raises(lddn.PrecisionError, match=rf"dtype=\"float32\".*trainer='{trainer}'.*Omit dtype"):
        lddn.Settings(trainer=trainer, dtype="float32")
