"""Output files of `fit`: network, history, figures and report."""

from importlib.util import find_spec
from pathlib import Path

import lddn_jax as lddn
from lddn_jax.cli.arguments import say
from lddn_jax.cli.files import canvas
from lddn_jax.identification.identify import Identified
from lddn_jax.identification.recipes import Regularized
from lddn_jax.prediction.forecast import FREE_RUN, ONE_STEP


def write(out: Path, found: Identified, *, report: bool) -> list[str]:
    """Writes the network, the history, the figures and optionally the report; returns the names of the files."""
    lddn.save(out / "network.npz", found.model)
    found.trained.history.to_csv(out / "training.csv")
    files = ["network.npz", "training.csv"]
    test = found.test
    count = len(test.measured)
    figure = canvas(10, 4.5 * count)
    if figure is None:
        return files
    axes = figure.subplots(2 * count, 1, sharex=True, height_ratios=[3, 1] * count, squeeze=False)[:, 0]
    for k, name in enumerate(test.measured):
        predictions = {kind: test.predictions[kind][name] for kind in (ONE_STEP, FREE_RUN)}
        lddn.plots.response(test.time, test.measured[name], predictions, ylabel=name, ax=axes[2 * k])
        axes[2 * k].set_xlabel("")
        lddn.plots.errors(test.time, test.measured[name], predictions, ax=axes[2 * k + 1])
    axes[0].set_title("Test part: measured and predicted")
    figure.savefig(out / "response.png", dpi=120)
    figure = canvas(8, 4)
    lddn.plots.training_curve(
        found.trained.history,
        best_epoch=found.trained.best_epoch if isinstance(found.trained, lddn.Fitted) else None,
        ax=figure.subplots(),
    )
    figure.savefig(out / "training.png", dpi=120)
    files += ["response.png", "training.png"]
    if isinstance(found.trained, Regularized):
        files += _write_posterior(out, found, found.trained.posterior)
    if not report:
        return files
    if find_spec("jinja2") is None:
        say("no report: it needs jinja2 (pip install 'lddn_jax[report]')")
        return files
    page = lddn.report(found, path=out / "report.html")
    say("\n".join(f"- {warning}" for warning in page.warnings) or "no warnings")
    return [*files, "report.html"]


def _write_posterior(out: Path, found: Identified, posterior: lddn.Posterior) -> list[str]:
    """Writes the posterior and its figures; returns the names of the files."""
    lddn.save(out / "posterior.npz", posterior)
    figure = canvas(12, 4)
    lddn.plots.evidence(found.trained.history, axes=figure.subplots(1, 3))
    figure.savefig(out / "evidence.png", dpi=120)
    test = found.test
    count = len(test.measured)
    figure = canvas(12, 4 * count)
    for row, name in zip(figure.subplots(count, 2, width_ratios=[3, 1], squeeze=False), test.measured, strict=True):
        measured, mean, std = test.measured[name], test.predictions[FREE_RUN][name], test.std[name]
        lddn.plots.bands(test.time, measured, mean, std, ylabel=name, ax=row[0])
        lddn.plots.calibration(*lddn.diagnostics.calibration(measured, mean, std), ax=row[1])
    figure.savefig(out / "bands.png", dpi=120)
    figure = canvas(10, 5)
    lddn.plots.relevance(lddn.relevance(posterior), ax=figure.subplots())
    figure.savefig(out / "relevance.png", dpi=120)
    return ["posterior.npz", "evidence.png", "bands.png", "relevance.png"]
