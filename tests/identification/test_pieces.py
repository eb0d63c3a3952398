"""Records with gaps: short pieces cost neither horizons nor words."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.recipes import _about_horizons, _horizons
from lddn_jax.identification.settings import MODELS, Settings


def with_gaps(*gaps, steps=400):
    """A series with missing rows."""
    y = np.sin(np.arange(steps) / 5) + 0.2 * np.random.default_rng(0).normal(size=steps)
    y[list(gaps)] = np.nan
    return {"y": y}


def test_one_short_piece_leaves_all_horizons():
    settings = Settings(model="narx", missing="mask")
    experiment = Experiment.of(with_gaps(100, 104), [], ["y"], settings)  # three rows between two gaps
    assert [len(piece) for piece in experiment.train] == [100, 3, 175]
    assert _horizons(settings, experiment) == [1, 5, 20, 100, None]
    short, shorter, half = _about_horizons(settings, experiment)
    assert short == "horizon 5: 1 of 3 training pieces are shorter, and left out of it"
    assert shorter.startswith("horizon 20: 1 of 3")
    assert half.startswith("horizon 100: 2 of 3")  # the first piece has 98 steps after the delays


def test_a_horizon_for_few_of_the_samples_is_left_out():
    settings = Settings(model="narx", missing="mask")
    experiment = Experiment.of(with_gaps(*range(0, 280, 14)), [], ["y"], settings)
    assert _horizons(settings, experiment) == [1, 5, None]
    assert "20 of 20 training pieces are shorter" in _about_horizons(settings, experiment)[-1]


def test_pieces_that_fill_no_delay_are_counted():
    experiment = Experiment.of(with_gaps(100, 103, 390, 392), [], ["y"], Settings(model="narx", missing="mask"))
    assert "left out: training part: 1 of 3 pieces have fewer than 3 rows" in str(experiment)
    assert "left out: test part: 1 of 3 pieces have fewer than 3 rows" in str(experiment)
    shorter = Experiment.of(with_gaps(100, 102, 390, 392), [], ["y"], Settings(model="state-space", missing="mask"))
    assert "left out: training part: 1 of 3 pieces have fewer than 2 rows" in str(shorter)
    assert "left out" not in str(Experiment.of(with_gaps(), [], ["y"], Settings()))


@pytest.mark.parametrize("model", MODELS)
def test_rows_to_forecast_are_in_no_part(model):
    """Half of the rows have no measured target yet: the parts are divided from the others."""
    known = Experiment.of(with_gaps(steps=100), [], ["y"], Settings(model=model))
    longer = {"y": np.append(with_gaps(steps=100)["y"], np.full(100, np.nan))}
    found = Experiment.of(longer, [], ["y"], Settings(model=model, missing="mask"))
    for part in ("train", "validation", "test"):
        assert [len(piece) for piece in getattr(found, part)] == [len(piece) for piece in getattr(known, part)]
    assert "left out: 100 rows at the end without a measured target" in str(found)


def test_only_training_pieces_must_hold_a_window():
    settings = Settings(trainer="adam", window=60)
    experiment = Experiment.of(with_gaps(steps=120), [], ["y"], settings)
    assert [len(experiment.train[0]), len(experiment.validation[0])] == [84, 18]
    with pytest.raises(lddn.DataError, match=r"of the 120 samples, the training part has 84.*92 rows.*90 are a window"):
        Experiment.of(with_gaps(steps=120), [], ["y"], Settings(trainer="adam", window=90))


def test_fit_says_what_is_left_out(capsys):
    lines = []
    settings = Settings(missing="mask", horizons=(1, 5), hidden=1, epochs=1, restarts=1)
    found = lddn.identify(with_gaps(30, 34, steps=120), [], ["y"], settings, say=lines.append)
    assert "horizon 5: 1 of 3 training pieces are shorter, and left out of it" in lines
    assert [stage.left_out for stage in found.trained.stages] == [0, 1]
    assert sum("left out of it" in line for line in lines) == 1


def test_a_piece_may_be_shorter_than_it_has_elements():
    y = np.random.default_rng(0).normal(size=(9, 3))
    y[[2, 5]] = np.nan
    record = lddn.data.Record({}, {"y": y}, missing="mask")
    pieces = record.unbroken()
    assert [len(piece) for piece in pieces] == [2, 2, 3]
    np.testing.assert_array_equal(pieces[1].targets["y"], y[3:5])
    assert pieces[0].measured({"measured_y": "y"}).inputs["measured_y"].shape == (2, 3)
    assert not pieces[0].targets["y"].flags.writeable
    with pytest.raises(lddn.ShapeError, match=r"write y\.T"):
        lddn.data.Record({}, {"y": y[:2]})
