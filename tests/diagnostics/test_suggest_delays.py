"""Suggested delays are those of the system that made the record, however slow its input is."""

import json

import numpy as np
import pytest
from scipy.signal import lfilter

import lddn_jax as lddn
from lddn_jax import diagnostics

SYSTEMS = {
    "first-order": ({1: 0.6}, {3: 1.0}),
    "oscillator": ({1: 1.5, 2: -0.7}, {1: 0.5}),
    "gaps": ({1: 0.5, 4: 0.3}, {2: 1.0, 5: -0.5}),
    "direct": ({1: 0.8}, {0: 0.5, 7: 0.5}),
    "no-feedback": ({}, {4: 1.0, 6: 0.4}),
}


def record(system, seed, pole, steps=2000, noise=0.3):
    """An input that is white (pole 0) or slow, and what the system makes of it, noise inside of the loop."""
    feedback, forward = system
    rng = np.random.default_rng(seed)
    u = lfilter([1.0], [1.0, -pole], rng.normal(size=steps + 200))
    numerator, denominator = np.zeros(11), np.eye(11)[0]
    numerator[list(forward)] = list(forward.values())
    denominator[list(feedback)] = -np.array(list(feedback.values()))
    clean = lfilter(numerator, denominator, u)
    e = lfilter([1.0], denominator, rng.normal(size=steps + 200))
    return u[200:], (clean + noise * clean.std() / e.std() * e)[200:]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in (1, 2, 3))])
@pytest.mark.parametrize("pole", [0.0, 0.8, 0.95], ids=["white", "colored", "slow"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_delays_of_the_system_are_found(name, pole, seed):
    u, y = record(SYSTEMS[name], seed, pole)
    found = diagnostics.suggest_delays(u, y)
    feedback, forward = SYSTEMS[name]
    assert (found.input_delays, found.feedback_delays) == (tuple(forward), tuple(feedback))


def test_a_plain_correlation_would_suggest_delays_that_are_not_there():
    u, y = record(SYSTEMS["no-feedback"], 0, 0.95)
    found = diagnostics.suggest_delays(u, y)
    wrong = [c for c in found.candidates if c.source == "u" and c.delay not in (4, 6)]
    assert all(c.correlation > 0.5 for c in wrong)
    assert not any(c.suggested for c in wrong)


@pytest.mark.deep
def test_noise_suggests_nothing_more_often_than_stated():
    noise = np.random.default_rng(0).normal(size=(300, 2, 300))
    alarms = sum(any(c.suggested for c in diagnostics.suggest_delays(u, y, level=0.05).candidates) for u, y in noise)
    assert alarms <= 24  # 5 % of 300 are 15; 24 is the 99 % quantile of that binomial


def test_several_inputs_outputs_and_records():
    rng = np.random.default_rng(0)
    u, v, e, f = rng.normal(size=(4, 3, 600))
    y, z = np.zeros((2, 3, 600))
    for t in range(4, 600):
        y[:, t] = 0.5 * y[:, t - 1] + u[:, t - 2] + 0.3 * e[:, t]
        z[:, t] = 0.8 * y[:, t - 3] + v[:, t - 4] + 0.3 * f[:, t]
    signals = {"u": u[..., None], "v": v[..., None]}, {"y": y[..., None], "z": z[..., None]}
    found = diagnostics.suggest_delays(*signals, longest=5, shortest=1)
    kept = {(c.target, c.source, c.delay) for c in found.candidates if c.suggested}
    assert kept == {("y", "y", 1), ("y", "u", 2), ("z", "y", 3), ("z", "v", 4)}
    assert (found.of("y"), found.of("z"), found.of("u"), found.of("v")) == ((1, 3), (), (2,), (4,))
    assert found.samples == 3 * 595


def test_steps_with_a_gap_are_left_out():
    u, y = record(SYSTEMS["first-order"], 0, 0.5)
    u[::50] = np.nan
    found = diagnostics.suggest_delays(u, y)
    assert (found.input_delays, found.feedback_delays) == ((3,), (1,))
    assert found.samples < 40 * 39 + 1


def test_records_of_unequal_length_bring_their_targets_and_gaps():
    lengths = (900, 600)
    signals = [record(SYSTEMS["gaps"], seed, 0.8, steps) for seed, steps in enumerate(lengths)]
    signals[0][1][100:110] = np.nan
    records = [lddn.data.Record({"u": u[:, None]}, {"y": y[:, None]}, missing="mask") for u, y in signals]
    found = diagnostics.suggest_delays(records, longest=6)
    assert (found.of("u"), found.of("y")) == ((2, 5), (1, 4))
    assert found.samples == sum(lengths) - 2 * 6 - 16


def test_inputs_without_outputs_are_refused():
    with pytest.raises(lddn.DataError, match="or inputs and outputs"):
        diagnostics.suggest_delays(np.ones(100))


def test_without_inputs():
    y = lfilter([1.0], [1.0, 0, -0.7], np.random.default_rng(0).normal(size=500))
    found = diagnostics.suggest_delays(None, {"y": y}, longest=4)
    assert (found.input_delays, found.feedback_delays) == ((), (2,))


def test_suggestions_make_a_network():
    u, y = record(SYSTEMS["oscillator"], 0, 0.0)
    found = diagnostics.suggest_delays({"u": u}, {"y": y})
    topology = lddn.models.narx(
        {"u": 1}, {"y": 1}, input_delays=found.input_delays, feedback_delays=found.feedback_delays
    )
    assert topology.delays["hidden", "u"] == (1,)
    assert topology.delays["hidden", "measured_y"] == (1, 2)


def test_a_signal_without_noise_or_change_is_no_trouble():
    u = np.random.default_rng(0).normal(size=300)
    found = diagnostics.suggest_delays({"u": u, "still": np.ones(300)}, lfilter([0, 0, 1.0], [1.0], u), longest=4)
    assert found.of("u") == (2,)
    assert found.of("still") == ()


def test_it_prints_and_becomes_json():
    found = diagnostics.suggest_delays(*record(SYSTEMS["gaps"], 0, 0.0))
    assert str(found).startswith("input delays [2, 5], feedback delays [1, 4]")
    assert str(found).count("<- suggested") == 4
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["input_delays"] == [2, 5]
    assert len(plain["candidates"]) == 21


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ((np.zeros(40), np.zeros(40)), {}, "30 steps without missing values are too few to test 21"),
        ((np.zeros(400), np.zeros(300)), {}, "one shape"),
        (({"y": np.zeros(400)}, {"y": np.zeros(400)}), {}, "different names"),
        ((np.zeros(400), np.zeros(400)), {"shortest": 11}, "shortest=11"),
        ((np.zeros(400), np.zeros(400)), {"level": 5.0}, "level=5"),
    ],
)
def test_errors_teach(given, options, words):
    with pytest.raises(lddn.LDDNError, match=words):
        diagnostics.suggest_delays(*given, **options)


def test_an_unknown_source_is_named():
    found = diagnostics.suggest_delays(*record(SYSTEMS["gaps"], 0, 0.0))
    with pytest.raises(lddn.DataError, match="no source 'w'"):
        found.of("w")
