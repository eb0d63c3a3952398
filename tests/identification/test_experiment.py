"""Records made ready to train: divided into three parts, and scaled."""

import numpy as np
import pytest

from lddn_jax.data import Record, scaled
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.settings import Settings


def growing(steps=200):
    """A record whose later parts hold larger values."""
    y = np.arange(float(steps))[:, None]
    return Record({"u": np.sin(y)}, {"y": y})


def experiment(**settings):
    return Experiment.of(growing(), ["u"], ["y"], Settings(**settings))


def test_scaling_is_found_on_the_training_part():
    found = experiment()
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
