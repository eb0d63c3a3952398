"""The report of a committee of state spaces: its competition, its bands, and its errors out of fold."""

import dataclasses
import re

import jax
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.data.fold_blocks import folds
from lddn_jax.identification.competition import Competition, Entry
from lddn_jax.identification.effort import Effort
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.identify import Identified
from lddn_jax.identification.structures import Structure
from lddn_jax.linear.moesp import subspace
from lddn_jax.prediction.evaluator import evaluate
from lddn_jax.reporting.sections import OUT_OF_FOLD
from lddn_jax.trainers.cross_validated import CrossValidated

ERROR = 0.1  # standard deviation of the errors out of fold, in scaled units
STRUCTURE = Structure(1, 2, 0)


def identified(factor=1.0):
    """What `identify` returns, around networks that are hardly trained; inputs of the test part times `factor`."""
    rng = np.random.default_rng(0)
    u, y = rng.uniform(-1, 1, 400), np.zeros(400)
    u[340:] *= factor
    for t in range(1, 400):
        y[t] = 0.6 * y[t - 1] + u[t - 1]
    settings = lddn.Settings(states=1, hidden=2)
    experiment = Experiment.of(lddn.data.Table({"u": u, "y": y}), ["u"], ["y"], settings)
    linear = subspace(experiment.scaled_train, 1)
    cut = folds(experiment.scaled_train, 4, lead=20)
    topology = STRUCTURE.topology(cut.records[0])
    members = lddn.Network(topology, key=jax.random.key(0), init=lddn.initializers.FromLinear(linear))
    fitted = lddn.fit(
        members, cut.whole(topology).train, lddn.losses.MeanSquaredError(), lddn.Optax(optax.sgd(0.0)), epochs=1
    )
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), members)
    stacked = jax.tree.map(jax.numpy.asarray, stacked)
    noise = [ERROR * rng.normal(size=(len(record), 1)) for record in cut.records]
    predictions = tuple({"y": record.targets["y"] - e} for record, e in zip(cut.records, noise, strict=True))
    found = CrossValidated(
        cut,
        fits=(fitted,) * 4,
        kept=((0,),) * 4,
        bounded=(True,) * 4,
        members=stacked,
        refitted=(),
        replaced=(),
        left_out=(),
        predictions=predictions,
        seconds=1.0,
    )
    entry = Entry(STRUCTURE, found, Effort(2, 5), STRUCTURE)
    other = Entry(Structure(1, 0, 0), found, Effort(1, 5), Structure(1, 0, 0))
    trained = Competition((other, entry), entry, linear, {1: 0.2, 2: 0.3}, 2.0, fitted.stop_reason)
    scales = {"y": float(experiment.scalers["y"].error_scale()[0])}
    model = lddn.Scaled(
        lddn.Committee(stacked, noise=trained.noise), dict(experiment.scalers), bands=trained.bands.rescaled(scales)
    )
    test = evaluate(model, experiment.test, persistence=True, linear=subspace(experiment.train, 1))
    return Identified(model, trained, None, test, settings, experiment)


@pytest.fixture(scope="module")
def found():
    return identified()


@pytest.fixture(scope="module")
def page(found):
    return lddn.report(found)


@pytest.fixture(scope="module")
def beyond():
    return lddn.report(identified(2.0))


def section(page, title):
    return next(each for each in page.sections if each.title == title)


def test_structures_and_linear_models_are_tables(page):
    structures, orders = section(page, "Training").tables
    assert [row[0] for row in structures.rows] == ["structure", "1 state, linear", "1 state, 2 hidden"]
    assert [row[-1] for row in structures.rows[1:]] == ["", "committee"]
    assert orders.rows[1:] == (("1 state", "0.2"), ("2 states", "0.3"))
    assert "A committee of 2 networks" in section(page, "Training").words[0]


def test_errors_out_of_fold_stand_beside_those_of_the_test(found, page):
    (table,) = section(page, "Scores").tables
    assert [row[0] for row in table.rows[1:]] == ["free run", OUT_OF_FOLD, "persistence", "linear model"]
    rmse = float(table.rows[2][2])
    scale = float(found.model.scalers["y"].error_scale()[0])
    assert rmse == pytest.approx(ERROR * scale, rel=0.1)  # of 340 random errors


def test_that_they_may_mislead_is_said_only_beyond_the_training_range(page, beyond):
    said = "errors out of fold say nothing"
    assert not any(said in paragraph for paragraph in section(page, "Scores").words)
    assert any(said in paragraph and "(u" in paragraph for paragraph in section(beyond, "Scores").words)


def test_the_band_is_drawn_in_place_of_the_spread(found, page):
    captions = [figure.caption for figure in section(page, "Scores").figures]
    share = found.test.band_coverage["y"]
    assert any(
        "90 % band from errors out of fold" in text and f"{100 * share:.0f} % of the meas" in text for text in captions
    )
    assert not any("±2σ" in text for text in captions)
    assert not any("Gaussian" in warning for warning in page.warnings)


def test_bands_that_cannot_be_used_are_a_warning(found):
    few = dataclasses.replace(found.bands, independent={"y": 3.0})
    model = dataclasses.replace(found.model, bands=few)
    known = dataclasses.replace(found, model=model, test=dataclasses.replace(found.test, conformal=few))
    page = lddn.report(known)
    assert any("about 3 independent errors" in warning for warning in page.warnings)
    assert not any("90 % band" in figure.caption for figure in section(page, "Scores").figures)


def test_nothing_is_said_of_feedback_delays_or_horizons(page, beyond):
    for each in page, beyond:
        text = re.sub(r"data:image[^\"]*", "", each.to_html())
        for words in ("one step ahead", "horizon", "feedback delay", "open loop", "try delay"):
            assert words not in text


def test_an_empty_part_is_not_shown(page):
    assert "validation" not in section(page, "Data").words[0]


def test_results_hold_the_bands_and_their_coverage(found):
    values = found.to_dict()
    assert values["bands"] == found.bands.to_dict()
    assert values["bands"]["independent_errors"]["y"] > 9
    assert values["test"]["free run"]["y"]["band_coverage"] == found.test.band_coverage["y"]


def test_bands_have_the_width_of_the_errors_in_units_of_the_record(found):
    scale = float(found.model.scalers["y"].error_scale()[0])
    half = found.bands.half_width([40])["y"][0]
    assert half == pytest.approx(1.645 * ERROR * scale, rel=0.2)  # the quantile of 340 Gaussian errors


def test_warm_up_counts_in_no_error(found):
    trained = dataclasses.replace(found.trained, warmup=30)
    errors = trained.errors["y"]
    assert np.isnan(errors[:30]).all()
    assert not np.isnan(errors[30:]).any()


def test_horizons_start_with_each_held_out_block(found):
    cut = found.trained.chosen.found.folds
    horizons = found.trained.chosen.found.horizons
    first, second = cut.blocks[0][:2]
    assert horizons[: first + 20].tolist() == [1] * 20  # the lead, which no fold holds out
    assert horizons[20:24].tolist() == [1, 2, 3, 4]
    assert horizons[second - 1 : second + 2].tolist() == [second - 20, 1, 2]
    assert len(horizons) == len(found.trained.errors["y"])
