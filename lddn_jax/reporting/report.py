"""HTML report of a model: topology, data, training, scores, diagnostics and warnings.

The page is one self-contained HTML file with embedded figures, for small screens and dark mode too. `advice.py` has the
warnings, `sections.py` the content, `report.html.jinja` the layout.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import LDDNError
from lddn_jax.prediction.baselines import RunsFree
from lddn_jax.reporting.advice import advise
from lddn_jax.reporting.collect import collect
from lddn_jax.reporting.findings import diagnose
from lddn_jax.reporting.sections import Section, in_words, sections
from lddn_jax.storage.archive import write_atomically


@dataclass(frozen=True)
class Report:
    """Content of a report; `save` writes it as HTML.

    Attributes:
        title: Title of the page.
        summary: Summary in one sentence.
        warnings: Problems with a remedy each, the most serious first; empty if none was found.
        sections: Sections of the page.
    """

    title: str
    summary: str
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]

    def to_html(self) -> str:
        """Returns the page as HTML.

        Raises:
            LDDNError: If jinja2 is not installed.
        """
        try:
            from jinja2 import Environment, StrictUndefined
        except ImportError:
            raise LDDNError("a report needs jinja2: pip install 'lddn_jax[report]'.") from None
        text = files("lddn_jax.reporting").joinpath("report.html.jinja").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(text).render(report=self)

    def save(self, path: str | Path) -> None:
        """Writes the page.

        Raises:
            CheckpointError: If the folder does not exist or cannot be written to.
            LDDNError: If jinja2 is not installed.
        """
        write_atomically(path, self.to_html().encode())


def report(
    found: Any,
    data: Sequences | Record | None = None,
    path: str | Path | None = None,
    *,
    title: str | None = None,
    linear: RunsFree | None = None,
) -> Report:
    """Evaluates a trained network and writes an HTML report.

    Args:
        found: Result of `identify`, which has its own record, of `fit` or of `fit_closed_loop`; or a `Scaled` network,
            such as `lddn_jax.load` reads from the `network.npz` of the command line.
        data: Data to evaluate a fit on, preferably not used for training: `Sequences`, with NaN for missing targets.
            For a `Scaled` network a `lddn_jax.data.Record`, evaluated on the pieces between missing targets. None for
            the result of `identify`.
        path: Path of the HTML file; None writes no file.
        title: Title of the page; None for a title with the names of the outputs.
        linear: A linear model that a `Scaled` network is compared with, in the units of the record, such as a
            `lddn_jax.linear.LinearModel`.

    Returns:
        `Report` with `warnings` as text; `save` writes the page.

    Raises:
        LDDNError: If data are missing or given twice, or matplotlib or jinja2 is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, optax, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")],
        ...                          [lddn.Connection("u", "y")], ["y"])
        >>> u, e = jax.random.normal(jax.random.key(0), (2, 200, 1))
        >>> fitted = lddn.fit(lddn.Network(topology, init="zeros"), lddn.Sequences(u, 2 * u + 0.1 * e),
        ...                   lddn.losses.MeanSquaredError(), lddn.Optax(optax.adam(0.1)), epochs=200)
        >>> page = lddn.report(fitted, lddn.Sequences(u, 2 * u + 0.1 * e))
        >>> page.warnings, [section.title for section in page.sections]
        ((), ['Topology', 'Data', 'Training', 'Scores', 'Diagnostics'])
    """
    known = collect(found, data, linear)
    numbers = diagnose(known)
    outputs = ", ".join(known.net.topology.outputs)
    fits = [f"{kind} {in_words(numbers, kind)}" for kind in known.models]
    page = Report(
        title or f"A model of {outputs}",
        f"{known.net.parameter_count} parameters; on {len(known.time)} steps: {', '.join(fits)}.",
        advise(known, numbers),
        sections(known, numbers),
    )
    if path is not None:
        page.save(path)
    return page
