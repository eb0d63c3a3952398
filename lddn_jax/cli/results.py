"""Output files of `fit`: the model, then figures and the report, each of which may fail by itself."""

import functools
from importlib.util import find_spec
from pathlib import Path

import lddn_jax as lddn
from lddn_jax.cli.arguments import say
from lddn_jax.cli.files import can_draw, canvas, save_figure, written
from lddn_jax.identification.identify import Identified
from lddn_jax.identification.recipes import Regularized
from lddn_jax.prediction.forecast_result import BASELINES, FREE_RUN


def write_model(out: Path, found: Identified) -> list[str]:
    """Writes the network, and its posterior if there is one; returns the names of the files."""
    lddn.save(out / "network.npz", found.model)
    if not isinstance(found.trained, Regularized):
        return ["network.npz"]
    lddn.save(out / "posterior.npz", found.trained.posterior)
    return ["network.npz", "posterior.npz"]


def draw(out: Path, found: Identified, *, report: bool) -> list[str]:
    """Writes the training history, the figures and optionally the report; returns the names of the files."""
    files = written({"training.csv": lambda: found.trained.history.to_csv(out / "training.csv")})
    if not can_draw():
        return files
    names = list(_FIGURES) if isinstance(found.trained, Regularized) else ["response.png", "training.png"]
    names += ["bands.png"] if found.test.bands else []
    outputs = {name: functools.partial(_save, out / name, found) for name in names}
    if report and find_spec("jinja2") is None:
        say("no report: it needs jinja2 (pip install 'lddn_jax[report]')")
    elif report:
        outputs["report.html"] = functools.partial(_report, out / "report.html", found)
    return files + written(outputs)


def _save(path: Path, found: Identified) -> None:
    save_figure(path, _FIGURES[path.name](found))


def _report(path: Path, found: Identified) -> None:
    page = lddn.report(found, path=path)
    say("\n".join(f"- {warning}" for warning in page.warnings) or "no warnings")


def _response(found: Identified):
    test = found.test
    count = len(test.measured)
    figure = canvas(10, 4.5 * count)
    axes = figure.subplots(2 * count, 1, sharex=True, height_ratios=[3, 1] * count, squeeze=False)[:, 0]
    for k, name in enumerate(test.measured):
        predictions = {kind: lines[name] for kind, lines in test.predictions.items() if kind not in BASELINES}
        lddn.plots.response(test.time, test.measured[name], predictions, ylabel=name, steps=test.steps, ax=axes[2 * k])
        axes[2 * k].set_xlabel("")
        lddn.plots.errors(test.time, test.measured[name], predictions, steps=test.steps, ax=axes[2 * k + 1])
    pieces = f", in {len(test.steps)} pieces" if len(test.steps) > 1 else ""
    axes[0].set_title(f"Test part{pieces}: measured and predicted")
    return figure


def _training(found: Identified):
    figure = canvas(8, 4)
    best = found.trained.best_epoch if isinstance(found.trained, lddn.Fitted) else None
    lddn.plots.training_curve(found.trained.history, best_epoch=best, ax=figure.subplots())
    return figure


def _evidence(found: Identified):
    figure = canvas(12, 4)
    lddn.plots.evidence(found.trained.history, axes=figure.subplots(1, 3))
    return figure


def _bands(found: Identified):
    test = found.test
    return _conformal(found) if test.bands else _deviations(found)


def _conformal(found: Identified):
    test = found.test
    assert found.bands is not None
    label = f"{found.bands.in_percent} band"
    figure = canvas(12, 4 * len(test.bands))
    for ax, (name, half) in zip(
        figure.subplots(len(test.bands), 1, squeeze=False)[:, 0], test.bands.items(), strict=True
    ):
        measured, free = test.measured[name], test.predictions[FREE_RUN][name]
        lddn.plots.bands(test.time, measured, free, half, ylabel=name, k=1.0, label=label, steps=test.steps, ax=ax)
    return figure


def _deviations(found: Identified):
    test = found.test
    count = len(test.measured)
    figure = canvas(12, 4 * count)
    for row, name in zip(figure.subplots(count, 2, width_ratios=[3, 1], squeeze=False), test.measured, strict=True):
        measured, mean, std = test.measured[name], test.predictions[FREE_RUN][name], test.std[name]
        lddn.plots.bands(test.time, measured, mean, std, ylabel=name, steps=test.steps, ax=row[0])
        lddn.plots.calibration(*lddn.diagnostics.calibration(measured, mean, std), ax=row[1])
    return figure


def _relevance(found: Identified):
    figure = canvas(10, 5)
    assert isinstance(found.trained, Regularized)
    lddn.plots.relevance(lddn.relevance(found.trained.posterior), ax=figure.subplots())
    return figure


_FIGURES = {
    "response.png": _response,
    "training.png": _training,
    "evidence.png": _evidence,
    "bands.png": _bands,
    "relevance.png": _relevance,
}
