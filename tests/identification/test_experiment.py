"""Records made ready to train: divided into three parts, and scaled."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.data import Record, scaled
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.settings import MODELS, Settings


def growing(steps=200):
    """A record whose later parts hold larger values."""
    y = np.arange(float(steps))[:, None]
    return Record({"u": np.sin(y)}, {"y": y})


def experiment(model="narx", **settings):
    return Experiment.of(growing(), ["u"], ["y"], Settings(model=model, **settings))


@pytest.mark.parametrize("model", MODELS)
def test_scaling_is_found_on_the_training_part(model):
    found = experiment(model)
    train, test = found.scaled_train, [scaled(record, found.scalers) for record in found.test]
    assert found.train[-1].targets["y"].max() < found.test[0].targets["y"].min()
    assert float(np.max(train[-1].targets["y"])) == 1
    assert float(np.min(test[0].targets["y"])) > 1


def test_a_measured_past_is_scaled_as_its_target():
    found = experiment()
    assert found.scalers["measured_y"] is found.scalers["y"]
    (one,) = found.scaled_validation
    np.testing.assert_array_equal(one.inputs["measured_y"], one.targets["y"])


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_delay_state_holds_the_beginning_of_its_own_piece(part):
    found = experiment(feedback_delays=(1, 3))
    (piece,) = getattr(found, part)
    data = found.cut([scaled(piece, found.scalers)], None)
    expected = found.scalers["y"].apply(piece.targets["y"][:3])
    np.testing.assert_array_equal(data.state["measured_y"][0], expected)
    assert data.steps == len(piece) - found.held


STILL = "weights that read it start at zero and get no gradient, so the model ignores its changes"


def with_a_step(rows=200, value=5.0, after=6.0, jitter=0.0, size=1):
    """A linear plant, and another input that is `value` outside of the test part, and `after` in most of that."""
    rng = np.random.default_rng(0)
    u, y = rng.uniform(-1, 1, (rows, 1)), np.zeros((rows, 1))
    for t in range(1, rows):
        y[t] = 0.7 * y[t - 1] + u[t - 1]
    step = np.where(np.arange(rows)[:, None] < 0.87 * rows, value, after) * (
        1 + jitter * rng.choice([-1, 1], (rows, 1))
    )
    step = np.hstack([np.sin(np.arange(rows)[:, None])] * (size - 1) + [step])
    return Record({"u": u, "step": step}, {"y": y})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("jitter", [0.0, 1e-16])
@pytest.mark.parametrize("value", [5.0, 0.0, -0.1, 1e12])
def test_an_input_that_does_not_vary_in_training_is_zero_there_and_named(value, jitter, model):
    found = Experiment.of(with_a_step(value=value, jitter=jitter), ["u", "step"], ["y"], Settings(model=model))
    assert set(found.constant) == {"step"}
    assert not any(np.any(record.inputs["step"]) for record in found.scaled_train)
    assert found.notes == {"constant_input": f"input 'step' is {value:.6g} in all of the training part: {STILL}"}


@pytest.mark.parametrize("model", MODELS)
def test_elements_and_targets_that_do_not_vary_are_named(model):
    record = with_a_step(size=2)
    record = Record(record.inputs, {**record.targets, "still": np.full((200, 1), 2.5)})
    found = Experiment.of(record, ["u", "step"], ["y", "still"], Settings(model=model))
    measured = {"measured_still": {0}} if model == "narx" else {}  # a state space reads no measured targets
    assert {name: set(elements) for name, elements in found.constant.items()} == {"step": {1}} | measured
    assert found.notes == {
        "constant_input": f"element 1 of input 'step' is 5 in all of the training part: {STILL}",
        "constant_target": "target 'still' is 2.5 in all of the training part: there is nothing to learn",
    }


def test_records_of_very_different_size_are_named():
    small, large = growing(), growing()
    small = Record({name: 1e-9 * x for name, x in small.inputs.items()}, {"y": 1e-9 * small.targets["y"]}, name="small")
    found = Experiment.of([small, large], ["u"], ["y"], Settings(model="narx"))
    assert "'y' varies by 1.39e-07 in record 'small' and by 139 over all" in found.notes["unequal_scales"]
    assert experiment().notes == {}


NARX = {"model": "narx", "hidden": 2, "horizons": (1, None), "window": 20, "batch_size": 2}


@pytest.mark.parametrize(
    "of_model",
    [
        NARX,
        {"model": "state-space", "states": 1, "hidden": 1, "folds": 2, "keep": 2},
        pytest.param(NARX | {"trainer": "adam", "epochs": 300}, marks=pytest.mark.deep),
    ],
    ids=["lm", "state-space", "adam"],
)
def test_a_model_ignores_changes_of_what_stood_still_in_training(of_model):
    """The weights stay at zero in every restart, so the test part, where the input changes, is predicted as well."""
    chosen = {"epochs": 8, "restarts": 2} | of_model
    said = []
    found = lddn.identify(with_a_step(), ["u", "step"], ["y"], Settings(**chosen), say=said.append)
    nets = found.net.networks if isinstance(found.net, lddn.Committee) else [found.net]
    for (_, source), weight in (item for net in nets for item in net.IW.items()):
        assert np.any(weight) == (source != "step")
    assert found.test.scores["free run"]["y"]["r2"] > (0.99 if "trainer" in of_model else 0.999)
    assert "constant_input" in found.trained.flags
    note = f"note: input 'step' is 5 in all of the training part: {STILL}"
    assert sum(note in text for text in said) == 1  # before training
    assert found.to_dict()["training"]["notes"]["constant_input"] in note
