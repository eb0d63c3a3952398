"""The report page: complete, self-contained, and right about good models and bad ones."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import BY_NAME, declare

import lddn_jax as lddn
from lddn_jax.identification.recipes import TRAINERS
from lddn_jax.prediction.forecast_result import FREE_RUN, LINEAR, ONE_STEP, PERSISTENCE
from lddn_jax.reporting.advice import advise
from lddn_jax.reporting.collect import collect
from lddn_jax.reporting.findings import diagnose
from lddn_jax.reporting.sections import Grid, _score_grid, draw, fit_in_words, in_words
from lddn_jax.training.history import History
from lddn_jax.training.result import Fitted
from lddn_jax.training.stop_reason import StopReason

VOID = {"meta", "img", "link", "br"}
QUICK = lddn.Settings(hidden=2, restarts=2, epochs=20, horizons=(1,), input_delays=(2,))


class Page(HTMLParser):
    """Text, images and every address of a page; refuses tags that are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.addresses, self.images, self.ids, self.text = [], [], [], set(), []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.addresses += [named[key] for key in ("href", "src", "action", "data", "srcset") if key in named]
        self.ids |= {named["id"]} if "id" in named else set()
        if tag == "img":
            self.images.append(named)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def record(delay):
    """A second-order system that hears its input, saturated, so many steps late, with noise inside of the loop.

    The input repeats itself, so that the test part holds nothing that the training part did not.
    """
    u = np.tile(np.random.default_rng(1).uniform(-1, 1, size=180), 5)
    e = 0.02 * np.random.default_rng(2).normal(size=900)
    y = np.zeros(900)
    for t in range(delay, 900):
        y[t] = 1.2 * y[t - 1] - 0.5 * y[t - 2] + 0.5 * np.tanh(2 * u[t - delay]) + e[t]
    return lddn.data.Table({"time": 0.1 * np.arange(900), "u": u, "y": y})


@pytest.fixture(scope="module")
def good():
    return lddn.identify(record(2), ["u"], ["y"], QUICK)


@pytest.fixture(scope="module")
def bad():
    """Its input delays miss the right one."""
    return lddn.identify(record(3), ["u"], ["y"], QUICK)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return tmp_path_factory.mktemp("report") / "page.html"


@pytest.fixture(scope="module")
def good_report(good, page_file):
    return lddn.report(good, path=page_file, title="A <model> & more")


def warnings(found, data=None):
    """What a report would warn of; nothing is drawn."""
    known = collect(found, data)
    return " ".join(advise(known, diagnose(known)))


def test_a_good_model_is_not_warned_of(good_report):
    assert good_report.warnings == ()


def test_a_bad_model_is_told_what_to_try(bad):
    said = warnings(bad)
    assert "correlate with u at lag 3" in said
    assert "try delay 3" in said
    assert "The free run is worse than the mean" in said.partition("try delay 3")[2]  # causes come first


@pytest.mark.usefixtures("good_report")
def test_the_page_stands_alone(page_file):
    html = page_file.read_text(encoding="utf-8")
    page = Page(html)
    assert all(a.startswith(("#", "data:image/svg+xml;base64,")) for a in page.addresses)
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= page.ids
    assert not re.search(r"https?://|@import|url\(|<script|<link", html)
    assert "A &lt;model&gt; &amp; more" in html
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html


def test_every_figure_is_a_drawing_with_words(good_report):
    page = Page(good_report.to_html())
    figures = [figure for section in good_report.sections for figure in section.figures]
    assert [image["alt"] for image in page.images] == [figure.caption for figure in figures]
    for image in page.images:
        drawing = ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2]))
        assert drawing.tag.endswith("svg")
    captions = " ".join(figure.caption for figure in figures)
    for words in (
        "Weights",
        "record",
        "Loss",
        "Measured and predicted y",
        "Autocorrelation of residuals of y",
        "y with u",
        "since the last measurement",
    ):
        assert words in captions


def test_columns_of_numbers_are_aligned_at_the_right():
    rows = ("signal", "kind", "RMSE", "R²"), ("1", "output", "1.5e-11", "undefined"), ("2", "input", "–", "> 0.999999")
    assert Grid(rows).numeric == (False, False, True, True)


def test_sections_and_their_numbers(good, good_report):
    titles = [section.title for section in good_report.sections]
    assert titles == ["Topology", "Data", "Training", "Scores", "Diagnostics"]
    text = " ".join(Page(good_report.to_html()).text)
    for words in ("No warnings", "flowchart LR", "hidden", "residuals are white", "Lyapunov exponent", "900 samples"):
        assert words in text
    assert f"{good.test.scores[ONE_STEP]['y']['rmse']:.4g}" in text
    assert f"{good.test.scores[FREE_RUN]['y']['rmse']:.4g}" in text


@pytest.mark.deep
def test_the_same_model_makes_the_same_page(good, good_report):
    assert lddn.report(good, title=good_report.title).to_html() == good_report.to_html()


def test_numbers_of_an_identified_network_are_in_its_units(good):
    known = collect(good)
    found = diagnose(known)
    assert list(found.scores) == [ONE_STEP, FREE_RUN, PERSISTENCE, LINEAR]
    assert found.scores[FREE_RUN].all.rmse == pytest.approx(good.test.scores[FREE_RUN]["y"]["rmse"], rel=1e-12)
    horizons, errors = found.horizons
    assert horizons.tolist() == [1, 2, 5, 10, 20, 50]
    assert errors["y"][0] == pytest.approx(good.test.scores[ONE_STEP]["y"]["rmse"], rel=0.2)  # of fewer steps
    assert found.stability.contracting
    np.testing.assert_allclose(
        known.residuals["y"][0, :, 0], good.test.measured["y"] - good.test.predictions[ONE_STEP]["y"]
    )


@pytest.fixture(scope="module")
def several():
    """Identified on two records of unequal length, as far as to the training."""
    tables = [record(2), lddn.data.Table({name: record(2)[name][:700] for name in ("time", "u", "y")})]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRAINERS, "lm", lambda net, *_: (net, fitted(net)))
        return lddn.identify(tables, ["u"], ["y"], replace(QUICK, init="zeros"))


def test_several_records_are_evaluated_side_by_side(several):
    """No residual is beside one of another record, and what fills up the shorter one counts nowhere."""
    known = collect(several)
    found = diagnose(known)
    lengths = [len(piece) - several.experiment.held for piece in several.experiment.test]
    assert len(set(lengths)) == len(lengths) == 2
    assert np.sum(~np.isnan(known.residuals["y"])) == found.scores[ONE_STEP].all.count == sum(lengths)
    assert found.scores[ONE_STEP].all.rmse == pytest.approx(several.test.scores[ONE_STEP]["y"]["rmse"], rel=1e-12)
    assert found.scores[FREE_RUN].all.rmse == pytest.approx(several.test.scores[FREE_RUN]["y"]["rmse"], rel=1e-12)
    persistence = found.scores[PERSISTENCE].all.rmse
    assert persistence == pytest.approx(several.test.scores[PERSISTENCE]["y"]["rmse"], rel=1e-12)
    assert found.diverged == {}


@pytest.mark.deep
def test_a_page_of_several_records(several):
    assert "1600 samples" in " ".join(Page(lddn.report(several).to_html()).text)


def fitted(net, losses=(2.0, 1.0), stop_reason="epochs"):
    return Fitted(
        net=net,
        state=None,
        history=History({"loss": list(losses)}),
        stop_reason=StopReason(stop_reason),
        best_epoch=len(losses),
    )


@pytest.mark.deep
def test_a_fit_is_evaluated_on_the_data_given():
    case = BY_NAME["awkward"]
    report = lddn.report(fitted(case.net), case.data)
    text = " ".join(Page(report.to_html()).text)
    assert "16 steps in 2 pieces" in text
    for channel in ("h[0]", "h[1]", "y[0]", "y[1]", "v[1]"):
        assert channel in text
    exact = lddn.predict(case.net, *case.signals)
    perfect = diagnose(collect(fitted(case.net), lddn.Sequences(case.signals[0], exact, case.signals[1])))
    assert perfect.scores[FREE_RUN].all.rmse == 0


@pytest.fixture(scope="module")
def diverging():
    """y(t) = 2 y(t−1) + u, as a model of a signal that stays small."""
    net = lddn.Network(declare("u:1", "y:1:linear!", "u>y y>y@1", "y"), init="zeros")
    net = net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[2.0]]]})
    u = jax.random.normal(jax.random.key(0), (1200, 1))  # 2^1200 is no float
    return fitted(net, stop_reason="non_finite"), lddn.Sequences(u, jnp.tanh(u))


def test_what_diverges_is_said(diverging):
    said = warnings(*diverging)
    for words in ("diverged at step", "grows by a factor of 2 per step", "became NaN or infinite"):
        assert words in said


def test_notes_on_the_training_are_warnings(diverging):
    found, data = diverging
    notes = {"few_targets": "9 weights for 4 targets", "free_run_diverges": "THE FREE RUN DIVERGES on its records"}
    known = collect(replace(found, notes=notes), data)
    assert advise(known, diagnose(known))[:2] == ("THE FREE RUN DIVERGES on its records.", "9 weights for 4 targets.")


def test_the_headline_says_that_a_prediction_diverged(diverging, good):
    assert in_words(diagnose(collect(*diverging)), FREE_RUN) == "diverged"
    assert in_words(diagnose(collect(good)), FREE_RUN).startswith("fit ")


@pytest.mark.deep
def test_what_diverges_is_drawn(diverging):
    page = Page(lddn.report(*diverging).to_html())
    assert len(page.images) > 3


@pytest.mark.parametrize("marked", ["by NaN", pytest.param("by weights", marks=pytest.mark.deep)])
def test_targets_that_are_missing_do_not_count(marked):
    case = BY_NAME["feed-forward"]
    data = case.data
    gaps = {"y": data.targets["y"].at[:, :3].set(jnp.nan if marked == "by NaN" else 0)}
    weights = None if marked == "by NaN" else {"y": jnp.ones_like(data.targets["y"]).at[:, :3].set(0)}
    report = lddn.report(fitted(case.net), lddn.Sequences(data.inputs, gaps, weights=weights))
    rows = report.sections[1].tables[0].rows
    assert [row[-1] for row in rows if row[0] == "y[0]"] == ["6"]  # of two sequences
    Page(report.to_html())


@pytest.mark.parametrize(
    ("found", "data", "words"),
    [
        (lambda good: good, "awkward", "leave data out"),
        (lambda good: fitted(good.net), None, "data with targets"),
        (lambda good: good.net, None, "Network cannot be evaluated"),
    ],
    ids=["data twice", "no data", "no fit"],
)
def test_errors_teach(found, data, words, good):
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.report(found(good), data and BY_NAME[data].data)


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (97.5, "fit 97.50\N{NO-BREAK SPACE}%"),
        (-2e10, "worse than the mean"),
        (-np.inf, "fit undefined: the target is constant"),
    ],
)
def test_a_fit_in_words(fit, words):
    assert fit_in_words(fit) == words


def test_letters_that_no_font_has_are_left_to_the_browser():
    figure = draw("温度", lambda ax: ax.set_xlabel("温度"))
    assert "温度" in figure.svg.decode()
    assert "<text" not in draw("temperature", lambda ax: ax.set_xlabel("temperature")).svg.decode()


def test_a_prediction_that_diverged_has_no_score(diverging):
    found = diagnose(collect(*diverging))
    rows = _score_grid(found.scores, found.diverged, several=False).rows
    assert rows[1][2].startswith("diverged at step")
    assert set(rows[1][3:]) == {"–"}
