"""Automatic relevance determination (ARD): a table of which delays are relevant.

With one prior strength α for each delay of each connection, maximizing the evidence increases α where a delay explains
nothing. The prior of its weights, of standard deviation 1/√(2α), then shrinks to zero, and so does the share of weights
that the data determine:

    γ_tap / P_tap = 1 − (1/P_tap) Σ_{i∈tap} 2α_i (H⁻¹)_ii

A tap is a delay of a connection, or a bias.

MacKay (1994), *Bayesian methods for backpropagation networks*; Neal (1996), *Bayesian Learning for Neural Networks*,
section 1.2.4 (automatic relevance determination).
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lddn_jax.bayesian.groups import Tap
from lddn_jax.bayesian.posterior import Posterior, check_posterior
from lddn_jax.data.tables import csv_of
from lddn_jax.numerics.text_table import aligned


@dataclass(frozen=True, kw_only=True)
class Row:
    """Relevance of one tap.

    Attributes:
        to: The layer that it feeds.
        source: The input or layer that it reads; None for a bias.
        delay: In samples; None for a bias.
        parameters: Number of weights.
        determined: γ/P, between 0 (determined by the prior) and 1 (determined by the data, as without a prior).
        scale: 1/√(2α), the standard deviation of the prior of its group; infinite without a prior.
        weight: Root mean square of the weights.
    """

    to: str
    source: str | None
    delay: int | None
    parameters: int
    determined: float
    scale: float
    weight: float

    @property
    def tap(self) -> Tap:
        """`(to, source, delay)`."""
        return self.to, self.source, self.delay

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return f"bias of {self.to}" if self.source is None else f"{self.source} -> {self.to} delay {self.delay}"


@dataclass(frozen=True)
class Relevance:
    """Table of taps, the most relevant first; `print` shows it.

    Attributes:
        rows: One for each tap, sorted by decreasing `scale`, then by decreasing `determined`.
    """

    rows: tuple[Row, ...]

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """Returns the rows as plain values for `json.dump`."""
        return [asdict(row) for row in self.rows]

    def to_csv(self, path: str | Path | None = None) -> str:
        """Returns the table as CSV with a header, and writes it to `path` if given."""
        return csv_of(self.to_dict(), path)

    def __str__(self):
        rows = [("tap", "weights", "determined", "prior scale", "rms weight")]
        for row in self.rows:
            numbers = f"{row.determined:.3f}", f"{row.scale:.3g}", f"{row.weight:.3g}"
            rows.append((row.name, str(row.parameters), *numbers))
        return "\n".join(aligned(rows))


def relevance(posterior: Posterior) -> Relevance:
    """Returns how well the data determine each delay of each connection, and the scale of its prior.

    Args:
        posterior: From `lddn_jax.posterior`; train with `groups="delay"` to give each delay a prior of its own.

    Returns:
        A table of γ/P and 1/√(2α), the most relevant tap first.

    Example:
        >>> import jax, lddn_jax as lddn
        >>> net = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 1, 2)), key=jax.random.key(1))
        >>> u, noise = jax.random.normal(jax.random.key(0), (2, 200, 1))
        >>> trainer = lddn.BayesianRegularization(groups="delay", allow_float32=True)
        >>> data = lddn.Sequences(u, 2 * u + 0.1 * noise)
        >>> fitted = lddn.fit(net, data, lddn.losses.SumSquaredError(), trainer, epochs=30)
        >>> table = lddn.relevance(lddn.posterior(fitted, data))
        >>> table.rows[0].name, round(table.rows[0].determined, 3)
        ('u -> y delay 0', 1.0)

    MacKay (1994); Neal (1996).
    """
    check_posterior(posterior, "relevance(posterior)")
    groups = posterior.groups
    alpha = np.asarray(groups.spread(posterior.strengths.alpha), float)
    left = 2 * alpha * np.sum(np.asarray(posterior.root, float) ** 2, axis=1)  # share of the prior in each parameter
    x, members = np.asarray(posterior.net.ravel()[0], float), np.asarray(groups.members, int)
    rows = []
    for k, (to, source, delay) in enumerate(groups.taps):
        inside = members == k
        determined = float(np.clip(1 - np.mean(left[inside]), 0, 1))
        strength = alpha[inside][0]
        scale = float(1 / np.sqrt(2 * strength)) if strength > 0 else math.inf
        weight = float(np.sqrt(np.mean(x[inside] ** 2)))
        rows.append(
            Row(
                to=to,
                source=source,
                delay=delay,
                parameters=int(inside.sum()),
                determined=determined,
                scale=scale,
                weight=weight,
            )
        )
    return Relevance(tuple(sorted(rows, key=lambda row: (-row.scale, -row.determined))))
