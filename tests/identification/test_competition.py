"""Structures of state spaces compete by their out-of-fold error, on records small enough for seconds."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.data import Record
from lddn_jax.errors import DataError
from lddn_jax.identification.competition import Entry, within_one_error
from lddn_jax.identification.effort import Effort, spread_windows
from lddn_jax.identification.linear_orders import linear_orders
from lddn_jax.identification.structures import LinearStarts, Structure
from lddn_jax.trainers.cross_validated import CrossValidated

TINY = lddn.Settings(states=1, hidden=2, restarts=2, epochs=6, folds=2, keep=1)


def plant(length=150, seed=0, linear=False, noise=0.01):
    rng = np.random.default_rng(seed)
    u, y = rng.uniform(-1, 1, (length, 1)), np.zeros((length, 1))
    for t in range(1, length):
        y[t] = 0.7 * y[t - 1] + (u[t - 1] if linear else 2 * np.tanh(3 * u[t - 1] + y[t - 1]))
    return Record({"u": u}, {"y": y + noise * rng.normal(size=y.shape)})


def found_by(record, settings=TINY, inputs=("u",), targets=("y",), **more):
    return lddn.identify(record, list(inputs), list(targets), settings, progress=False, **more)


@pytest.fixture(scope="module")
def nonlinear():
    lines = []
    return found_by(plant(), say=lines.append), lines


def errors_of(found):
    return {entry.structure: entry.found.error for entry in found.trained.entries}


# --- the search ------------------------------------------------------------------------------------------------------


def test_a_nonlinear_plant_is_not_left_to_the_linear_model(nonlinear):
    found, _ = nonlinear
    errors = errors_of(found)
    assert errors[Structure(1, 2, 0)] < 0.5 * errors[Structure(1, 0, 0)]
    assert found.trained.chosen.structure == Structure(1, 2, 0)


def test_a_linear_plant_is_left_to_the_linear_model():
    found = found_by(plant(linear=True, noise=0.05), dataclasses.replace(TINY, epochs=3))
    assert found.trained.chosen.structure.linear
    np.testing.assert_allclose(np.abs(found.trained.linear.poles), [0.7], atol=0.05)


def test_the_committee_is_the_model(nonlinear):
    found, _ = nonlinear
    assert isinstance(found.net, lddn.Committee)
    members = found.trained.size + len(found.trained.chosen.found.left_out)
    assert members == TINY.folds * TINY.keep
    assert found.net.members == found.trained.size
    assert found.test.run is not None
    assert np.isfinite(found.test.std["y"]).all()


def test_the_table_names_what_was_tried(nonlinear):
    found, lines = nonlinear
    text = str(found.trained)
    for entry in found.trained.entries:
        assert str(entry.structure) in text
    assert text.count("<- committee") == 1
    assert any("trying 1 state, 2 hidden: 2 restarts, 6 steps" in line for line in lines)


def test_the_table_is_json(nonlinear):
    found, _ = nonlinear
    table = json.loads(json.dumps(found.trained.to_dict()))
    chosen = table["structures"][table["chosen"]]
    assert (chosen["states"], chosen["hidden"]) == (1, 2)
    assert chosen["out_of_fold"] == found.trained.chosen.found.error
    assert table["members"] + len(table["left_out"]) == 2
    json.dumps(found.to_dict())


def test_equal_seeds_give_equal_results(nonlinear):
    found, _ = nonlinear
    again = found_by(plant())
    for one, other in zip(jax.tree.leaves(found.net), jax.tree.leaves(again.net), strict=True):
        assert np.array_equal(one, other)
    np.testing.assert_array_equal(found.test.predictions["free run"]["y"], again.test.predictions["free run"]["y"])


def test_a_record_without_inputs():
    t = np.arange(120.0)
    y = np.sin(t / 4)[:, None] + 0.01 * np.random.default_rng(0).normal(size=(120, 1))
    found = found_by(Record({}, {"y": y}), dataclasses.replace(TINY, states=2, hidden=1, epochs=2), inputs=())
    assert np.isfinite(found.trained.chosen.found.error)


def test_a_record_that_is_too_short_is_rejected():
    with pytest.raises(DataError, match="samples"):
        found_by(plant(8))


def test_the_time_budget_ends_the_search():
    settings = dataclasses.replace(TINY, time_budget=0.01, epochs=None, restarts=None)
    found = found_by(plant(), settings)
    assert found.trained.stop_reason == lddn.StopReason.TIME
    assert np.isfinite(found.trained.chosen.found.error)


def test_an_interruption_returns_what_there_is():
    class Interrupting:
        stop_reason = lddn.StopReason.INTERRUPTED

        def on_step(self, state):
            return state.epoch >= 2

    found = found_by(plant(), callbacks=[Interrupting()])
    assert found.trained.stop_reason == lddn.StopReason.INTERRUPTED
    assert {len(fitted.history["loss"]) <= 3 for fitted in found.trained.chosen.found.fits} == {True}
    assert not found.trained.chosen.found.refitted


# --- the choice ------------------------------------------------------------------------------------------------------


class Known(CrossValidated):
    """A result of which the errors of the folds are all that is known."""

    def __init__(self, errors):
        object.__setattr__(self, "known", tuple(errors))

    @property
    def fold_errors(self):
        return self.known

    @property
    def error(self):
        return math.sqrt(np.mean(np.square(self.known)))


def entry(structure, errors):
    return Entry(structure, Known(errors), Effort(1, 1), structure)


SMALL, MIDDLE, LARGE = Structure(1, 0, 0), Structure(2, 2, 0), Structure(2, 8, 0)
CHOICES = {
    "clearly better": ({SMALL: [2.0, 2.1, 2.0], LARGE: [1.0, 1.1, 1.0]}, LARGE),
    "better on average": ({SMALL: [1.0, 1.1, 0.9], LARGE: [0.95, 1.12, 0.87]}, SMALL),
    "constantly better": ({MIDDLE: [1.02, 2.04, 3.06], LARGE: [1.0, 2.0, 3.0]}, LARGE),
    "hardly better than a linear one": ({SMALL: [1.04, 2.08, 3.12], LARGE: [1.0, 2.0, 3.0]}, SMALL),
    "constantly better than a linear one": ({SMALL: [1.06, 2.12, 3.18], LARGE: [1.0, 2.0, 3.0]}, LARGE),
    "worse in a difficult fold alone": ({SMALL: [9.0, 2.0, 2.0], LARGE: [9.0, 1.0, 1.0]}, LARGE),
    "within the error but too far": ({SMALL: [2.0, 1.0, 2.0], LARGE: [1.0, 1.5, 1.0]}, LARGE),
    "the smallest of several": ({LARGE: [1.0, 1.1, 0.9], SMALL: [1.01, 1.08, 0.92], MIDDLE: [0.99, 1.12, 0.9]}, SMALL),
    "one that diverged": ({SMALL: [np.inf, 1.0, 1.0], MIDDLE: [1.0, 1.0, 1.0]}, MIDDLE),
    "one without a prediction": ({SMALL: [np.nan, 1.0, 1.0], MIDDLE: [1.0, 1.0, 1.0]}, MIDDLE),
    "all diverged": ({SMALL: [np.nan, 1.0, 1.0]}, SMALL),
    "one fold": ({MIDDLE: [1.01], LARGE: [1.0]}, LARGE),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_smallest_within_one_standard_error_is_chosen(name):
    errors, expected = CHOICES[name]
    entries = [entry(structure, values) for structure, values in errors.items()]
    assert within_one_error(entries).structure == expected
    assert within_one_error(entries[::-1]).structure == expected


# --- the effort ------------------------------------------------------------------------------------------------------


def test_windows_are_spread_over_all_records():
    records = [plant(300, 1), plant(100, 2), plant(30, 3)]
    found = spread_windows(records, 8, 50)
    # Six of the first record, two of the second, and the last one, which is shorter than a window.
    assert [len(window) for window in found] == [50] * 8 + [30]
    np.testing.assert_array_equal(found[0].inputs["u"], records[0].inputs["u"][:50])
    np.testing.assert_array_equal(found[5].inputs["u"], records[0].inputs["u"][250:])
    np.testing.assert_array_equal(found[7].targets["y"], records[1].targets["y"][50:])
    assert [len(window) for window in spread_windows(records[2:], 4, 50)] == [30] * 4


# --- linear models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", [False, True])
def test_a_feedthrough_is_found_where_there_is_one(through):
    rng = np.random.default_rng(3)
    u, y, x = rng.uniform(-1, 1, (200, 1)), np.zeros((200, 1)), 0.0
    for t in range(200):
        y[t] = x + (2 * u[t] if through else 0) + 0.01 * rng.standard_normal()
        x = 0.7 * x + u[t, 0]
    starts = LinearStarts(lddn.data.folds(lddn.data.Record({"u": u}, {"y": y}), 3))
    found = linear_orders(starts, [1, 2], lddn.data.Trained(), warmup=0, gain=0.9)
    assert (found.starts.feedthrough, found.best) == (through, 1)
    assert found.errors[1] < 0.02


def test_a_static_plant_is_not_delayed():
    """An output that follows its input in the same row needs a feedthrough."""
    u = np.random.default_rng(4).uniform(-1, 1, (150, 1))
    record = lddn.data.Record({"u": u}, {"y": 3 * u + 1})
    found = lddn.identify(
        [record], ["u"], ["y"], lddn.Settings(hidden=1, restarts=1, epochs=2, folds=2, keep=1), progress=False
    )
    assert found.test.scores["free run"]["y"]["rmse"] < 1e-3
