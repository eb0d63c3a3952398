"""Training recipes return a network whose free run stays close to its own records, or say first that none does."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.identification import recipes
from lddn_jax.identification.experiment import Experiment


def unstable_plant(steps=120):
    """A plant with a growing pole in the loop of a controller: a network that predicts it one step ahead explodes."""
    rng = np.random.default_rng(0)
    u, y = np.zeros((2, steps))
    for t in range(1, steps):
        u[t - 1] = -0.9 * y[t - 1] + rng.normal()
        y[t] = 1.4 * y[t - 1] + u[t - 1] + 0.1 * rng.normal()
    return {"u": u, "y": y}


SHORT = {"hidden": 1, "input_delays": (1,), "feedback_delays": (1,), "restarts": 2, "window": 10}


@pytest.mark.parametrize(
    "trainer",
    [
        {"trainer": "lm", "horizons": (1,), "epochs": 5},
        pytest.param({"trainer": "br", "horizons": (1,), "epochs": 5, "bayesian_epochs": 5}, marks=pytest.mark.deep),
        pytest.param({"trainer": "adam", "epochs": 200}, marks=pytest.mark.deep),
    ],
    ids=str,
)
def test_a_model_that_explodes_on_its_own_records_says_so_first(trainer):
    said = []
    found = lddn.identify(unstable_plant(), ["u"], ["y"], lddn.Settings(**SHORT, **trainer), say=said.append)
    assert "free_run_diverges" in found.trained.flags
    assert str(found.trained).startswith("THE FREE RUN DIVERGES on the network's own records")
    assert str(found.trained).count("THE FREE RUN DIVERGES") == 1
    assert str(found.trained) in said
    training = found.to_dict()["training"]
    assert "free_run_diverges" in training.get("after", training)["flags"]


def test_regularization_that_makes_a_network_explode_is_undone(monkeypatch):
    """The network before it is returned, with a note."""
    monkeypatch.setattr(recipes, "diverges_at", lambda net, experiment: 7)
    settings = lddn.Settings(**SHORT, trainer="br", horizons=(1,), epochs=1, bayesian_epochs=1)
    u = np.random.default_rng(0).uniform(-1, 1, 100)
    found = lddn.identify({"u": u, "y": np.append(0, np.tanh(u[:-1]))}, ["u"], ["y"], settings)
    assert isinstance(found.trained, lddn.ClosedLoop)
    assert "diverges at step 7 of its own records" in found.trained.notes["regularized_diverges"]
    assert found.test.std == {}


def test_training_by_adam_returns_the_network_that_does_not_explode():
    topology = lddn.models.narx({"u": 1}, {"y": 1}, hidden=1, input_delays=(1,), feedback_delays=(1,), linear_path=True)
    experiment = Experiment.of(unstable_plant(), ["u"], ["y"], lddn.Settings(**SHORT))
    best, lowest, last = (
        lddn.Network(topology, init="zeros").with_weights(IW={("y", "measured_y"): [[[feedback]]]})
        for feedback in (1.4, 1.3, 0.5)
    )
    assert recipes.diverges_at(best, experiment) is not None
    assert recipes.first_steady([best, lowest, last], experiment) is last
    assert recipes.first_steady([best, lowest], experiment) is None
