"""Sections of a report: text, tables and figures of an evaluated network."""

import base64
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lddn_jax import plots
from lddn_jax.diagnostics import Score, Scores
from lddn_jax.errors import LDDNError
from lddn_jax.identification.competition import Competition
from lddn_jax.network.committee import Committee, representative
from lddn_jax.numerics.text_table import digits
from lddn_jax.plots.axes import letters_missing_as, near, shortened, time_label
from lddn_jax.plots.network_diagram import diagram_size
from lddn_jax.prediction.forecast_result import BASELINES, FREE_RUN
from lddn_jax.reporting.advice import p_in_words
from lddn_jax.reporting.evaluation import Evaluation
from lddn_jax.reporting.findings import Diagnosis

WIDE_INCHES, TALLEST_INCHES = 9.0, 9.0  # of a figure over the whole page
USUAL_NRMSE = 10.0  # beyond which the score of a prediction that diverged says no more
OUT_OF_FOLD = "free run, out of fold"
MOST_DRAWN_STEPS = 20_000  # of a record in several pieces

_NUMBER_CELL = re.compile(r"[<>]? ?-?\d+(\.\d+)?(e[+-]?\d+)?$")


@dataclass(frozen=True)
class Figure:
    """A figure with its caption.

    Attributes:
        caption: Caption of the figure.
        svg: The figure as SVG.
        wide: Whether it takes the full width of the page.
    """

    caption: str
    svg: bytes
    wide: bool = False

    @property
    def source(self) -> str:
        """The figure as a data URI for the `src` of an image."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


@dataclass(frozen=True)
class Grid:
    """A table: rows of text; the first row is the header."""

    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and are aligned at the right; the first one holds names."""
        columns = zip(*self.rows[1:], strict=True)
        return tuple(k > 0 and any(_NUMBER_CELL.match(cell) for cell in cells) for k, cells in enumerate(columns))


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Heading.
        words: Paragraphs.
        tables: Tables.
        figures: Figures.
        listings: Preformatted texts, as (title, text).
    """

    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Grid, ...] = ()
    figures: tuple[Figure, ...] = ()
    listings: tuple[tuple[str, str], ...] = ()


def sections(known: Evaluation, found: Diagnosis) -> tuple[Section, ...]:
    """Returns all sections of a report.

    Raises:
        LDDNError: If matplotlib is not installed.
    """
    return _topology(known), _data(known), _training(known), _scores(known, found), _diagnostics(known, found)


def draw(
    caption: str,
    onto: Callable[[Any], Any],
    size: tuple[float | int, float | int] = (6, 3.4),
    heights: tuple[int, ...] = (1,),
) -> Figure:
    """Returns a figure that `onto` draws on the given axes, stacked vertically if there are several heights."""
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise LDDNError("a report needs matplotlib: pip install 'lddn_jax[report]'.") from None
    # Makes the bytes of the SVG reproducible.
    with matplotlib.rc_context({"svg.hashsalt": "lddn_jax", "font.size": 9}):
        canvas = Canvas(figsize=size, layout="constrained")
        onto(canvas.subplots(len(heights), 1, sharex=True, height_ratios=heights))
        try:
            with letters_missing_as("error"):
                file = _saved(canvas)
        except UserWarning:  # the browser has fonts for these letters
            with letters_missing_as("ignore"), matplotlib.rc_context({"svg.fonttype": "none"}):
                file = _saved(canvas)
    return Figure(caption, file.getvalue(), wide=size[0] > 6)


def _saved(canvas: Any) -> io.BytesIO:
    file = io.BytesIO()
    canvas.savefig(file, format="svg", metadata={"Date": None})
    return file


def _topology(known: Evaluation) -> Section:
    topology = known.net.topology
    width, height = diagram_size(topology)
    size = (WIDE_INCHES, float(np.clip(height * WIDE_INCHES / max(width, WIDE_INCHES), 1.2, TALLEST_INCHES)))
    figures = [draw("The network.", lambda ax: plots.diagram(topology, ax=ax), size)]
    if known.net.parameter_count:
        rows = sum(layer.size for layer in topology.layers)
        of = " of the first member" if isinstance(known.net, Committee) else ""
        caption = f"Weights and biases{of}: a row for each neuron, a column for each source and delay."
        net = representative(known.net)
        figures.append(draw(caption, lambda ax: plots.weights_map(net, ax=ax), (9, min(2.2 + 0.18 * rows, 8))))
    listings = (("Summary", known.net.summary()), ("Mermaid diagram", topology.to_mermaid()))
    return Section("Topology", figures=tuple(figures), listings=listings)


def _data(known: Evaluation) -> Section:
    count, steps = _shown(known)
    if known.record is None:
        total = len(known.forecast.time)
        pieces = f" in {len(known.forecast.steps)} pieces" if len(known.forecast.steps) > 1 else ""
        words = f"{total} steps{pieces}{_of_pieces(known)}."
        lines = {name: line[:count] for name, line in (*known.forecast.inputs.items(), *known.forecast.scored.items())}
        whole, time, splits = {**known.forecast.inputs, **known.forecast.scored}, known.forecast.time[:count], None
    else:
        lines, time, splits = known.record
        whole, steps = lines, known.record_steps
        parts = ", ".join(f"{name} {start:g} to {stop:g}" for name, (start, stop) in splits.items())
        words = f"{len(time)} samples: {parts}."
    rows: list[tuple[str, ...]] = [("signal", "kind", "smallest", "largest", "mean", "std. dev.", "missing")]
    for name, line in whole.items():
        kind = "output" if name in known.measured else "input"
        there = line[~np.isnan(line)]
        spread = float(np.std(there)) if there.size else np.nan
        numbers = (there.min(), there.max(), there.mean()) if there.size else (np.nan,) * 3
        rows.append((name, kind, *(digits(x, spread) for x in numbers), digits(spread), str(len(line) - there.size)))

    def onto(axes):
        for k, (ax, (name, line)) in enumerate(zip(np.atleast_1d(axes), lines.items(), strict=True)):
            named = {part if k == 0 else " " * i: span for i, (part, span) in enumerate((splits or {}).items())}
            plots.response(time, line, {}, splits=named, steps=steps, ax=ax)
            if ax.get_legend() is not None:
                ax.get_legend().remove()
            ax.set(xlabel="", ylabel=shortened(name, 18))
        np.atleast_1d(axes)[-1].set_xlabel(time_label(time))

    figure = draw("The record.", onto, (9, 1.2 + (1.5 if len(lines) < 6 else 1.0) * len(lines)), (1,) * len(lines))
    return Section("Data", (words,), (Grid(tuple(rows)),), (figure,))


def _training(known: Evaluation) -> Section:
    figures = []
    if len(known.history["loss"]):
        best = known.best_epoch
        caption = "Loss."
        if known.competition is not None:
            where = "everything" if known.competition.chosen.found.refitted else "the first fold"
            caption = f"Loss of a network of the committee, trained on {where}."
        curve = draw(caption, lambda ax: plots.training_curve(known.history, best_epoch=best, ax=ax))
        states = plots.training_states(known.history)
        figures.append(curve)
        if states:
            caption = "State of the trainer."
            size = (6, 1 + 1.2 * len(states))
            onto = lambda axes: plots.training_state(known.history, axes=axes)  # noqa: E731
            figures.append(draw(caption, onto, size, (1,) * len(states)))
    if known.competition is not None:
        words, tables = _competition(known.competition)
        return Section("Training", words, tables, tuple(figures))
    return Section("Training", listings=(("Summary", known.trained),), figures=tuple(figures))


def _competition(found: Competition) -> tuple[tuple[str, ...], tuple[Grid, ...]]:
    """What was tried, and what was chosen, in words and tables."""
    members = found.size
    words = (
        f"A committee of {members} networks with {found.chosen.structure}, chosen among {len(found.entries)} trainings "
        f"by the error out of fold, in free runs through blocks of the training part that the networks were not "
        f"trained on. Training took {found.seconds:.0f} s. Errors are in scaled units.",
    )
    structures: list[tuple[str, ...]] = [("structure", "error out of fold", "restarts", "steps", "seconds", "")]
    for entry in found.entries:
        effort = entry.effort
        numbers = digits(entry.found.error), str(effort.restarts), str(effort.epochs), f"{entry.found.seconds:.1f}"
        structures.append((str(entry.structure), *numbers, "committee" if entry is found.chosen else ""))
    orders: list[tuple[str, ...]] = [("linear model", "error out of fold")]
    orders += [(f"{n} state{'s' if n > 1 else ''}", digits(error)) for n, error in found.orders.items()]
    return words, (Grid(tuple(structures)), Grid(tuple(orders)))


def _scores(known: Evaluation, found: Diagnosis) -> Section:
    words = ["RMSE and MAE are in the units of the record; fit is 100 (1 − NRMSE), 100 % for a perfect prediction."]
    words += [f"The prediction {kind!r} diverged at step {step}." for kind, step in found.diverged.items()]
    figures, (count, steps) = [], _shown(known)
    found_lines, time = known.forecast.predictions, known.forecast.time[:count]
    for name in known.measured:
        y = known.forecast.scored[name][:count]
        lines = {kind: found_lines[kind][name][:count] for kind in known.models}

        def onto(axes, y=y, lines=lines, name=name):
            plots.response(time, y, lines, ylabel=name, steps=steps, ax=axes[0])
            axes[0].set_xlabel("")
            plots.errors(time, y, lines, steps=steps, ax=axes[1])

        caption = f"Measured and predicted {name}, and the error{_of_pieces(known)}."
        figures.append(draw(caption, onto, (9, 4.5), (3, 1)))
        if name in known.forecast.bands:
            figures.append(_band_figure(known, name, count, steps))
        elif name in known.std and FREE_RUN in lines:
            std = known.forecast.std[name][:count]

            def onto_bands(ax, y=y, lines=lines, std=std, name=name):
                plots.bands(time, y, lines[FREE_RUN], std, ylabel=name, steps=steps, ax=ax)

            share = found.coverage[name]
            caption = (
                f"The free run with error bars of ±2σ{_source_of_bars(known)}, which contain {100 * share:.0f} % of "
                "the measurements."
            )
            figures.append(draw(caption, onto_bands, (9, 3.4)))
    scores = dict(found.scores)
    if known.out_of_fold is not None:
        baselines = {kind: scores.pop(kind) for kind in BASELINES if kind in scores}
        scores |= {OUT_OF_FOLD: known.out_of_fold, **baselines}
        words.append(
            f"The row {OUT_OF_FOLD!r} is the error of free runs in the training part, each block predicted by networks "
            "that were not trained on it; all others are of the test part."
        )
        if found.outside:
            words.append(
                f"The test part leaves the training range ({', '.join(found.outside)}), about which errors out of fold "
                "say nothing: they can be far smaller than those of the test part."
            )
    return Section(
        "Scores",
        tuple(words),
        (_score_grid(scores, found.diverged, len(known.net.topology.outputs) > 1),),
        tuple(figures),
    )


def _band_figure(known: Evaluation, name: str, count: int, steps: tuple[int, ...]) -> Figure:
    """The free run with its conformal band."""
    found, time = known.forecast, known.forecast.time[:count]
    assert found.conformal is not None, "a forecast with bands"
    y, free, half = (x[name][:count] for x in (found.scored, found.predictions[FREE_RUN], found.bands))
    nominal = found.conformal.in_percent
    share = found.band_coverage.get(name)
    contains = "" if share is None else f", which contains {100 * share:.0f} % of the measurements"

    def onto(ax):
        plots.bands(time, y, free, half, ylabel=name, k=1.0, label=f"{nominal} band", steps=steps, ax=ax)

    return draw(f"The free run with its {nominal} band from errors out of fold{contains}.", onto, (9, 3.4))


def _source_of_bars(known: Evaluation) -> str:
    """Says where the error bars of a committee come from."""
    if not isinstance(known.net, Committee):
        return ""
    noise = "and the measurement noise" if known.net.noise else "alone, without measurement noise"
    return f" from the spread of its {known.net.members} members {noise}"


def _shown(known: Evaluation) -> tuple[int, tuple[int, ...]]:
    """Returns how many steps are drawn, and those of each piece drawn: whole pieces, no more than can be seen."""
    steps = known.forecast.steps
    pieces = max(1, int(np.sum(np.cumsum(steps) <= MOST_DRAWN_STEPS))) if len(steps) > 1 else 1
    return sum(steps[:pieces]), steps[:pieces]


def _of_pieces(known: Evaluation) -> str:
    """Says which pieces are drawn, if there are several."""
    drawn, every = len(_shown(known)[1]), len(known.forecast.steps)
    return "" if every == 1 else f"; the first {drawn} of {every} pieces are shown" if drawn < every else ""


def in_words(found: Diagnosis, kind: str) -> str:
    """The fit of a kind of predictions, in words where a number says nothing."""
    score = found.scores[kind].all
    return "diverged" if _has_no_score(score, kind, found.diverged) else fit_in_words(score.fit)


def _has_no_score(score: Score, kind: str, diverged: Mapping[str, int]) -> bool:
    """Whether a prediction diverged so far that its score says no more."""
    return kind in diverged and not score.nrmse < USUAL_NRMSE


def fit_in_words(fit: float) -> str:
    """The fit 100 (1 − NRMSE) in percent, in words where a number says nothing."""
    if not np.isfinite(fit):
        return "fit undefined: the target is constant"
    return f"fit {fit:.2f}\N{NO-BREAK SPACE}%" if fit >= 0 else "worse than the mean"


def _score_grid(scores: dict[str, Scores], diverged: dict[str, int], several: bool) -> Grid:
    rows: list[tuple[str, ...]] = []
    for kind, table in scores.items():
        shown = (*table.by_output, *(["all"] if len(table.by_output) > 1 else []))
        for name, score in [row for row in table.rows() if row[0] in shown]:
            cells = score.in_words()
            if several and name == "all":  # errors of different units have no common unit
                cells |= {"RMSE": "–", "MAE": "–"}
            if _has_no_score(score, kind, diverged):
                cells = dict.fromkeys(cells, "–") | {"RMSE": f"diverged at step {diverged[kind]}"}
            rows = rows or [("prediction", "of", *cells)]
            rows.append((kind, name, *cells.values()))
    return Grid(tuple(rows))


def _diagnostics(known: Evaluation, found: Diagnosis) -> Section:
    kind = known.models[0]
    parts = [f"{100 * s.nrmse:.3g} % of {name}" for name, s in found.scores[kind].by_output.items()]
    words = [
        f"Residuals of the prediction {kind!r}. Relative to the standard deviation of the measurements they are "
        f"{', '.join(parts)}; the smaller they are, the less a remaining correlation matters."
    ]
    rows = [("test", "output", "statistic", "p", "at 1 %")]
    for tests in (found.whiteness, found.normality):
        for name, test in tests.items():
            verdict = "rejected" if test.p_value < 0.01 else "not rejected"
            rows.append(
                (test.null, name, f"{test.statistic:.4g}", p_in_words(test.p_value).removeprefix("= "), verdict)
            )
    figures = [
        draw(f"Autocorrelation of residuals of {name}.", lambda ax, c=c: plots.residual_correlations(c, ax=ax))
        for name, c in found.own.items()
    ]
    figures += [
        draw(
            f"Cross-correlation of residuals of {output} with {source}.",
            lambda ax, c=c: plots.residual_correlations(c, ax=ax),
        )
        for (source, output), c in found.with_inputs.items()
    ]
    for name, e in known.residuals.items():
        if not np.isfinite(e).any():
            continue
        figures.append(
            draw(
                f"Histogram of residuals of {name}.",
                lambda ax, e=e, name=name: plots.error_histogram(e, xlabel=f"error of {name}", ax=ax),
            )
        )
        y, last = known.measured[name], known.models[-1]
        predicted = known.predictions[last][name]
        if near(y, predicted).any():

            def onto(ax, y=y, predicted=predicted, name=name):
                plots.regression(y, predicted, name=name, ax=ax)

            figures.append(draw(f"Predicted against measured {name}, {last}.", onto, (6, 4)))
    if found.horizons is not None:
        steps, errors = found.horizons
        caption = "RMSE by horizon: the number of steps since the last measurement."
        figures.append(draw(caption, lambda ax: plots.horizon_profile(steps, errors, ax=ax)))
    listings = () if found.stability is None else (("Stability of the loop along the record", str(found.stability)),)
    tables = (Grid(tuple(rows)),) if len(rows) > 1 else ()
    return Section("Diagnostics", tuple(words), tables, tuple(figures), listings)
