"""Conformal bands of free runs: half widths by horizon, taken from errors on data that the model was not fitted to.

With errors e(t) of free runs, each h(t) steps after the start of its run, and the wanted coverage c:

    w(h)   c-quantile of |e| over steps about h, made to rise with h        the shape
    r(t) = |e(t)| / w(h(t))                                                scores without a trend
    q      the ⌈(m + 1) c⌉ / m quantile of r                                split conformal correction
    band   ŷ(t) ± q w(h(t))

For m exchangeable scores the band contains a new measurement with probability c or more, whatever the model and the
distribution (Vovk, Gammerman & Shafer 2005; the scaling by w is that of Lei et al. 2018, section 5.2). Errors of
neighboring steps are not exchangeable, so m is the number of independent ones among the n errors:

    m = n / τ,    τ = 1 + 2 Σ_k ρ(k),    ρ the autocorrelation of 1{r > 1} within runs

What this assumes: new runs are like those of the calibration (same excitation, same operating range), their errors
depend on each other over fewer steps than a run has, and the model is not fitted to them, as out-of-fold errors are. It
is the share of all steps that is covered: a run that is missed as a whole and nine that are not are 90 %. Nothing is
promised where a record leaves the training range, nor for c if m is smaller than c / (1 − c); then the largest score is
used, and `notes` say so.

Oliveira, Orenstein, Ramos & Romano (2024), "Split Conformal Prediction and Non-Exchangeable Data", JMLR 25.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from lddn_jax.checks import called
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import ArrayOrList
from lddn_jax.numerics.text_table import aligned, column_digits

BIN_RATIO = 2.0  # of the horizons at which two bins start
LEAST_IN_BIN = 40  # errors of a bin, below which it is joined to the next
SMALLEST_WIDTH = 1e-9  # of the shape, in its largest value: errors of zero have no scale


@dataclass(frozen=True, eq=False)
class ConformalBands:
    """Half widths of bands around free runs, by output and by the number of steps since the start of a run.

    They compare and hash by value.

    Attributes:
        coverage: Share of measurements that the bands contain.
        steps: Steps at which the widths are known, `(bins,)`, rising; between them they are interpolated over log h,
            beyond them constant.
        widths: Half widths at these steps, `(bins,)` by output, in the units of the errors.
        independent: Number of independent errors among those given, by output.
    """

    coverage: float
    steps: Float[np.ndarray, " bins"]
    widths: Mapping[str, Float[np.ndarray, " bins"]]
    independent: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        errors: Mapping[str, ArrayOrList] | ArrayOrList,
        horizon: ArrayOrList,
        coverage: float = 0.9,
    ) -> "ConformalBands":
        """Calibrates bands with errors of free runs on data that the model was not fitted to.

        Args:
            errors: Measured − predicted, `(time,)` by output, or one array for a single output, which is then called
                "output"; all runs one after the other. NaN where nothing was measured; infinite after a divergence.
            horizon: Number of steps since the start of the run, 1 for its first step, `(time,)`. Where it does not rise
                by one, another run starts.
            coverage: Share of measurements that the bands are to contain.

        Raises:
            ShapeError: If errors and horizon differ in length.
            DataError: If `coverage` is not between 0 and 1, a horizon is below 1, or an output has no error.

        Example:
            >>> import numpy as np
            >>> e = np.random.default_rng(0).normal(size=(500, 100))
            >>> horizon = np.tile(np.arange(1, 101), 500)
            >>> bands = ConformalBands.fit({"y": e.ravel()}, horizon)
            >>> bands.half_width([1, 10, 1000])["y"].round(1).tolist()  # of a Gaussian 1.64
            [1.6, 1.6, 1.6]
        """
        if not (isinstance(coverage, int | float) and 0 < coverage < 1):
            raise DataError(f"coverage={coverage!r} is a share between 0 and 1, such as coverage=0.9.")
        by_output = errors if isinstance(errors, Mapping) else {"output": errors}
        h = np.asarray(horizon, float)
        lines = {name: np.abs(np.asarray(line, float)) for name, line in by_output.items()}
        if not lines:
            raise DataError("errors has no output; pass errors={'y': measured - predicted}.")
        for name, size in lines.items():
            if size.ndim != 1 or size.shape != h.shape:
                raise ShapeError(
                    f"errors of {name!r} have shape {size.shape} and horizon {h.shape}; both are (time,), with all "
                    "runs one after the other."
                )
            if np.isnan(size).all():
                raise DataError(f"errors of {name!r} are all NaN; bands need runs with measured outputs.")
        if not (h >= 1).all():
            raise DataError(
                "horizon counts the steps since the start of a run, from 1 on; pass np.arange(1, steps + 1)."
            )
        known = ~np.all([np.isnan(size) for size in lines.values()], axis=0)
        edges = _edges(h[known])
        centers = np.sqrt(edges[:-1] * (edges[1:] - 1))  # of the steps edges[k] … edges[k + 1] − 1
        starts = np.append(True, np.diff(h) != 1)
        widths, independent = {}, {}
        for name, size in lines.items():
            shape = _shape(size, h, edges, coverage)
            scores = size / np.maximum(_at(h, centers, shape), SMALLEST_WIDTH * (shape.max() or 1.0))
            independent[name] = _independent(scores, starts)
            widths[name] = shape * _corrected_quantile(scores[~np.isnan(scores)], coverage, independent[name])
        return cls(float(coverage), centers, widths, independent)

    def half_width(
        self, steps: ArrayOrList, outputs: Sequence[str] | None = None
    ) -> dict[str, Float[np.ndarray, " time"]]:
        """Returns half the width of the band by output, `(time,)`.

        Args:
            steps: Number of steps since the start of the run, `(time,)`; `horizons_of` counts them.
            outputs: Names of the outputs; None for all.

        Raises:
            DataError: If a number of steps is below 1.
        """
        h = np.asarray(steps, float)
        if not (h >= 1).all():
            raise DataError(f"half_width: steps are counted from 1 on, and {called(steps)} has smaller ones.")
        return {name: _at(h, self.steps, self.widths[name]) for name in (self.widths if outputs is None else outputs)}

    def rescaled(self, factors: Mapping[str, float]) -> "ConformalBands":
        """Returns the bands in other units.

        Args:
            factors: By output, the size of one present unit in the new ones.
        """
        widths = {name: line * factors[name] for name, line in self.widths.items()}
        return replace(self, widths=widths)

    @property
    def in_percent(self) -> str:
        """The coverage in words, such as "90 %"."""
        return f"{100 * self.coverage:.4g} %"

    @property
    def usable(self) -> tuple[str, ...]:
        """Outputs whose bands are finite, and whose independent errors are enough for the coverage."""
        needed = self.coverage / (1 - self.coverage)
        return tuple(
            name for name, line in self.widths.items() if np.isfinite(line).all() and self.independent[name] >= needed
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each output whose bands are infinite, or with too few independent errors for the coverage."""
        needed, found = self.coverage / (1 - self.coverage), []
        for name, count in self.independent.items():
            if not np.isfinite(self.widths[name]).all():
                found.append(
                    f"bands of {name} are infinite: more than {100 * (1 - self.coverage):.4g} % of the errors they are "
                    "calibrated with are, because runs diverged"
                )
            elif count < needed:
                found.append(
                    f"bands of {name} are as wide as the largest error: about {count:.0f} independent errors cannot "
                    f"show a coverage of {self.in_percent}, which needs {needed:.0f}; use longer records or more folds"
                )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`; widths that are infinite are None."""
        return {
            "coverage": self.coverage,
            "steps": self.steps.tolist(),
            "half_widths": {
                name: [w if np.isfinite(w) else None for w in ws.tolist()] for name, ws in self.widths.items()
            },
            "independent_errors": dict(self.independent),
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "ConformalBands":
        """Returns the bands of which `to_dict` returned `given`."""
        widths = {
            name: np.array([np.inf if w is None else w for w in ws], float) for name, ws in given["half_widths"].items()
        }
        steps, independent = np.array(given["steps"], float), given["independent_errors"]
        if independent.keys() != widths.keys() or any(line.shape != steps.shape for line in widths.values()):
            raise ValueError("half widths, steps and numbers of errors do not match")
        return cls(float(given["coverage"]), steps, widths, {name: float(m) for name, m in independent.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConformalBands) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        widths = tuple((name, line.tobytes()) for name, line in self.widths.items())
        return self.coverage, self.steps.tobytes(), widths, tuple(self.independent.items())

    def __str__(self):
        rows = [("steps", *(f"±{name}" for name in self.widths))]
        for k, step in enumerate(self.steps):
            rows.append((f"{step:.0f}", *(column_digits(float(line[k])) for line in self.widths.values())))
        title = f"half widths that contain {self.in_percent} of the measurements, by steps since the start"
        return "\n".join([title, *aligned(rows, ">"), *(f"note: {note}" for note in self.notes)])


def horizons_of(steps: Sequence[int]) -> Integer[np.ndarray, " time"]:
    """Returns the number of steps since the start of its run for each step of several runs, one after the other.

    Args:
        steps: Number of steps of each run, as in `Forecast.steps`.

    Example:
        >>> horizons_of((3, 2)).tolist()
        [1, 2, 3, 1, 2]
    """
    return np.concatenate([np.arange(1, count + 1) for count in steps]) if steps else np.zeros(0, int)


def _edges(h: Float[np.ndarray, " errors"]) -> Float[np.ndarray, " edges"]:
    """First steps of bins of geometrically growing horizons that hold enough errors, and the end of the last one."""
    last = float(h.max())
    edges = [1.0]
    while edges[-1] <= last:
        stop = edges[-1] + 1
        wanted = max(np.floor(edges[-1] * BIN_RATIO), stop)
        stop = min(wanted, last + 1)
        while stop <= last and np.sum((h >= edges[-1]) & (h < stop)) < LEAST_IN_BIN:
            stop += 1
        edges.append(stop)
    if len(edges) > 2 and np.sum(h >= edges[-2]) < LEAST_IN_BIN:
        del edges[-2]
    return np.array(edges)


def _shape(
    size: Float[np.ndarray, " time"], h: Float[np.ndarray, " time"], edges: Float[np.ndarray, " edges"], coverage: float
) -> Float[np.ndarray, " edges-1"]:
    """The shape w at the bins: quantiles, finite ones, and the nearest curve that does not fall (least squares)."""
    quantiles, counts = [], []
    for start, stop in itertools.pairwise(edges.tolist()):
        here = size[(h >= start) & (h < stop)]
        here = np.sort(here[~np.isnan(here)])
        rank = min(int(np.ceil((here.size + 1) * coverage)), here.size)
        finite = here[np.isfinite(here)]
        quantiles.append(float(finite[min(rank, finite.size) - 1]) if finite.size else np.nan)
        counts.append(here.size)
    found = np.array(quantiles)
    there = np.flatnonzero(~np.isnan(found))
    if not there.size:  # every error is infinite
        return np.ones(len(found))
    filled = found[there[np.argmin(np.abs(np.arange(len(found))[:, None] - there), axis=1)]]
    return _rising(filled, np.maximum(np.array(counts, float), 1e-9))


def _rising(values: Float[np.ndarray, " bins"], weights: Float[np.ndarray, " bins"]) -> Float[np.ndarray, " bins"]:
    """The nearest values that do not fall, by pooling adjacent violators."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, number of bins
    for value, weight in zip(values, weights, strict=True):
        pool = (float(value), float(weight), 1)
        while pools and pools[-1][0] > pool[0]:
            mean, heavy, count = pools.pop()
            total = heavy + pool[1]
            pool = (mean * (heavy / total) + pool[0] * (pool[1] / total), total, count + pool[2])
        pools.append(pool)
    return np.concatenate([np.full(count, mean) for mean, _, count in pools])


def _at(
    h: Float[np.ndarray, "*shape"], centers: Float[np.ndarray, " bins"], widths: Float[np.ndarray, " bins"]
) -> Float[np.ndarray, "*shape"]:
    """Widths at horizons, interpolated over log h."""
    if not np.isfinite(widths).all():
        return np.full(h.shape, np.inf)
    return np.interp(np.log(h), np.log(centers), widths)


def _independent(scores: Float[np.ndarray, " time"], starts: Bool[np.ndarray, " time"]) -> float:
    """Number n / τ of independent scores, by the autocorrelation of 1{r > 1} within runs, up to its first zero."""
    known = ~np.isnan(scores)
    n = int(known.sum())
    outside = np.where(known, (np.where(known, scores, 0.0) > 1).astype(float), np.nan)
    deviation = outside - np.nanmean(outside)
    variance = float(np.nanmean(deviation**2))
    if variance == 0:
        return float(n)
    run = np.cumsum(starts)
    tau, longest = 1.0, int(np.bincount(run).max())
    for k in range(1, longest):
        pairs = (run[k:] == run[:-k]) & known[k:] & known[:-k]
        if not pairs.any():
            break
        # Over n, not over the number of pairs: few pairs at long lags must not count as much.
        rho = float(np.sum(deviation[k:][pairs] * deviation[:-k][pairs])) / (n * variance)
        if rho <= 0:
            break
        tau += 2 * rho
    return n / tau


def _corrected_quantile(scores: Shaped[np.ndarray, " errors"], coverage: float, independent: float) -> float:
    """The ⌈(m + 1) c⌉ / m quantile of scores; the largest if that is more than one."""
    level = min(np.ceil((independent + 1) * coverage) / independent, 1.0)
    ordered = np.sort(scores)
    rank = int(np.ceil(level * len(ordered)))
    return float(ordered[max(rank, 1) - 1])
