"""The default model of `identify` on unusual records: no inputs, several outputs, gaps, nothing to learn."""

import json

import jax
import numpy as np
import pytest

import lddn_jax as lddn

QUICK = {"states": 2, "hidden": 1, "folds": 2, "keep": 1, "epochs": 3, "restarts": 2}


def oscillation(steps=160, noise=0.02):
    """Two outputs of a free oscillation."""
    rng, t = np.random.default_rng(0), np.arange(steps)
    return {
        "y": np.sin(0.3 * t) + noise * rng.normal(size=steps),
        "z": np.cos(0.3 * t) + noise * rng.normal(size=steps),
    }


def with_an_input(steps=160):
    rng = np.random.default_rng(0)
    u, y = rng.uniform(-1, 1, steps), np.zeros(steps)
    for t in range(1, steps):
        y[t] = 0.8 * np.tanh(y[t - 1]) + u[t - 1]
    return {"u": u, "y": y}


def identified(record, inputs, targets, **changed):
    return lddn.identify(record, inputs, targets, lddn.Settings(**{**QUICK, **changed}))


def test_several_outputs_of_a_series_with_gaps():
    """Missing targets in the middle cut the record; first states of all pieces are trained."""
    record = oscillation()
    record["y"][[40, 41, 90]] = np.nan
    record["z"][41] = np.nan
    found = identified(record, [], ["y", "z"], missing="mask")
    scores = found.test.scores["free run"]
    assert min(scores[name]["r2"] for name in ("y", "z")) > 0.9
    assert set(found.test.std) == {"y", "z"}
    assert len(found.experiment.train) > 1


def test_equal_seeds_give_equal_results_and_the_plan_is_plain_values():
    first, second, other = (identified(with_an_input(), ["u"], ["y"], seed=seed) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, first.net.nets, second.net.nets)
    # Of the first structure with neurons, whether it was chosen or not.
    trained = [
        next(e.found.fits[0].restarts for e in found.trained.entries if e.structure.hidden).LW["state", "hidden"]
        for found in (first, second, other)
    ]
    np.testing.assert_array_equal(trained[0], trained[1])
    assert not np.array_equal(trained[0], trained[2])
    plain = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    structures = plain["training"]["structures"]
    assert {(s["states"], s["hidden"]) for s in structures} == {(2, 0), (2, 1)}
    assert structures[plain["training"]["chosen"]]["out_of_fold"] == min(s["out_of_fold"] for s in structures)
    assert "<- committee" in str(first.trained)


def test_a_constant_target_is_named_and_predicted():
    record = with_an_input() | {"y": np.full(160, 2.5)}
    found = identified(record, ["u"], ["y"], states=1)
    assert "there is nothing to learn" in found.trained.notes["constant_target"]
    np.testing.assert_allclose(found.test.predictions["free run"]["y"], 2.5, atol=1e-6)


@pytest.mark.parametrize(("steps", "words"), [(12, "too short|fewer|at least|longer"), (3, "samples")])
def test_too_short_a_record_is_an_error_that_says_so(steps, words):
    with pytest.raises(lddn.DataError, match=words):
        identified(with_an_input(steps), ["u"], ["y"])
