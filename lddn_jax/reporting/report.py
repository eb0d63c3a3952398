"""One page about a model: what it is, what it was trained on, how good it is, and what to try next.

The page is one HTML file: figures are inside it, nothing is loaded from elsewhere, and it fits a phone and a dark
screen. What it says is in `advice.py`, what it shows in `sections.py`, how it looks in `report.html.jinja`.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import LDDNError
from lddn_jax.reporting.advice import advise
from lddn_jax.reporting.collect import collect
from lddn_jax.reporting.findings import diagnose
from lddn_jax.reporting.sections import Section, sections
from lddn_jax.storage.archive import write_atomically


@dataclass(frozen=True)
class Report:
    """What a report says; `save` writes it.

    Attributes:
        title: Of the page.
        summary: One sentence.
        warnings: What is wrong and what to try, the gravest first; empty if nothing was found.
        sections: All the rest.
    """

    title: str
    summary: str
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]

    def to_html(self) -> str:
        """Returns the page.

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
    found: Any, data: Sequences | Record | None = None, path: str | Path | None = None, *, title: str | None = None
) -> Report:
    """Judges a trained network and writes one page about it.

    Args:
        found: What `identify` returned, which brings its own record; or what `fit` or `fit_closed_loop` returned; or a
            `Scaled` network, such as a command left.
        data: What to judge a fit on, best data that did not train: `Sequences`, targets NaN where missing. For a
            `Scaled` network a `lddn_jax.data.Record` without gaps.
        path: Of the HTML file; None writes none.
        title: Of the page; None for one that names the outputs.

    Returns:
        `Report`: its `warnings` are plain words, `save` writes the page.

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
    known = collect(found, data)
    numbers = diagnose(known)
    outputs = ", ".join(known.net.topology.outputs)
    fits = [f"{kind} fit {numbers.scores[kind].all.fit:.2f}\N{NO-BREAK SPACE}%" for kind in known.models]
    page = Report(
        title or f"A model of {outputs}",
        f"{known.net.parameter_count} parameters; on {len(known.time)} steps: {', '.join(fits)}.",
        advise(known, numbers),
        sections(known, numbers),
    )
    if path is not None:
        page.save(path)
    return page
