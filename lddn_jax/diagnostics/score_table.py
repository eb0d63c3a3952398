"""Table of scores of a prediction: overall, by output and by record.

A *channel* is one element of one output. Over several channels, RMSE and MAE pool all errors regardless of their
units; NRMSE, R² and fit are computed for each channel, relative to its standard deviation, and averaged over the
channels that are not constant.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lddn_jax.diagnostics.lagged import channels
from lddn_jax.diagnostics.metrics import mae, nrmse, rmse
from lddn_jax.errors import ShapeError
from lddn_jax.network.signals import ArrayOrList, WeightsLike, by_name
from lddn_jax.numerics.text_table import aligned, column_digits, ratio_digits

WORSE_THAN_MEAN = "worse than the mean"  # of a fit below zero, whose number says no more


@dataclass(frozen=True)
class Score:
    """Scores over a set of measured values; NaN if nothing was measured, and for relative scores of constant values.

    Attributes:
        rmse: √mean(e²).
        nrmse: RMSE / standard deviation of the measurement.
        mae: mean(|e|).
        r2: 1 − NRMSE².
        fit: 100 (1 − NRMSE), in percent.
        count: Number of measured values with nonzero weight.
    """

    rmse: float
    nrmse: float
    mae: float
    r2: float
    fit: float
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`; None for values that are not finite."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}

    def in_words(self) -> dict[str, str]:
        """Returns RMSE, NRMSE, MAE, R² and fit as text, by their names in a table.

        Example:
            >>> Score(rmse=0.5, nrmse=1.5, mae=0.5, r2=-1.25, fit=-50.0, count=9).in_words()["fit in %"]
            'worse than the mean'
        """
        constant = np.isfinite(self.rmse) and not np.isfinite(self.nrmse)
        relative = (
            column_digits(self.nrmse),
            ratio_digits(self.r2),
            f"{self.fit:.2f}" if self.fit >= 0 else WORSE_THAN_MEAN,
        )
        nrmse, r2, fit = ("undefined",) * 3 if constant or np.isnan(self.nrmse) else relative
        return {
            "RMSE": column_digits(self.rmse),
            "NRMSE": nrmse,
            "MAE": column_digits(self.mae),
            "R²": r2,
            "fit in %": fit,
        }


@dataclass(frozen=True)
class Scores:
    """Table of scores, returned by `scores`; `print` shows it.

    Attributes:
        all: Overall scores.
        by_output: Scores by output `"y"`, or by element `"y[0]"`, `"y[1]"` … if it has several.
        by_record: Scores by index of the record on the batch axes, such as `(0,)`; empty without batch axes.
    """

    all: Score
    by_output: dict[str, Score]
    by_record: dict[tuple[int, ...], Score]

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`; record names are "0", or "0,1" on two batch axes."""
        return {
            "all": self.all.to_dict(),
            "by_output": {name: score.to_dict() for name, score in self.by_output.items()},
            "by_record": {",".join(map(str, at)): score.to_dict() for at, score in self.by_record.items()},
        }

    def rows(self) -> list[tuple[str, Score]]:
        """Returns the rows of the table: label and scores."""
        rows = list(self.by_output.items())
        rows += [("all", self.all)] if len(rows) > 1 or self.by_record else []
        return rows + [(f"record {', '.join(map(str, at))}", score) for at, score in self.by_record.items()]

    def __str__(self):
        rows = self.rows()
        table = [["", *rows[0][1].in_words(), "values"]]
        table += [[label, *score.in_words().values(), str(score.count)] for label, score in rows]
        return "\n".join(aligned(table))


def scores(
    measured: Mapping[str, ArrayOrList] | ArrayOrList,
    predicted: Mapping[str, ArrayOrList] | ArrayOrList,
    weights: WeightsLike = None,
) -> Scores:
    """Computes all scores of a prediction: overall, by output and by record.

    Args:
        measured: `(*batch, time, size)` by output layer, or one array if there is one output; NaN where missing.
        predicted: The same names and shapes.
        weights: Weights by output layer, or one array for all outputs, each broadcast to `(*batch, time, size)`; 0 to
            ignore a value. None for equal weights.

    Returns:
        `Scores`; `print` shows the table.

    Raises:
        ShapeError: If names or shapes differ, or no value was measured.
        DataError: If a weight is negative or NaN.

    Example:
        >>> import numpy as np
        >>> found = scores({"y": np.array([[0.0], [2.0]])}, {"y": np.array([[0.5], [1.5]])})
        >>> found.all.rmse, found.by_output["y"].fit
        (0.5, 50.0)

    See `lddn_jax.diagnostics.metrics` for the formulas.
    """
    measured = measured if isinstance(measured, Mapping) else {"output": measured}
    predicted = by_name("prediction", predicted, measured)
    if weights is not None and not isinstance(weights, Mapping):
        weights = dict.fromkeys(measured, weights)
    factors: dict[str, Any] = dict.fromkeys(measured, 1.0) if weights is None else by_name("weight", weights, measured)
    shapes = {name: np.shape(y) for name, y in measured.items()}
    batch = next(iter(shapes.values()), ())[:-2]
    for name, shape in shapes.items():
        if len(shape) < 2 or shape != np.shape(predicted[name]) or shape[:-2] != batch:
            raise ShapeError(
                f"output {name!r}: measured has shape {shape} and predicted {np.shape(predicted[name])}; both must be "
                "(*batch, time, size), with the same batch axes for all outputs. For one sequence of one element "
                "pass signal[:, None]."
            )
        try:
            factors[name] = np.broadcast_to(np.asarray(factors[name], float), shape) * ~np.isnan(measured[name])
        except ValueError:
            raise ShapeError(
                f"weights of {name!r} have shape {np.shape(factors[name])}; they must broadcast to {shape}."
            ) from None
    parts = [channels({name: part[name] for name in sorted(measured)}) for part in (measured, predicted, factors)]
    by_channel = {label: tuple(part[label] for part in parts) for label in parts[0]}
    records = list(np.ndindex(*batch)) if batch else []
    everything = _score(list(by_channel.values()))
    if not everything.count:
        raise ShapeError("there is no measured value to compare with; all are NaN or have weight 0.")
    return Scores(
        everything,
        {label: _score([channel]) for label, channel in by_channel.items()},
        {at: _score([tuple(part[at] for part in channel) for channel in by_channel.values()]) for at in records},
    )


def _score(of: list[tuple[Float[np.ndarray, "..."], ...]]) -> Score:
    """The score over several channels, each given as (measured, predicted, weights)."""
    of = [channel for channel in of if not (channel[2] == 0).all()]
    count = sum(int(np.sum(w != 0)) for _, _, w in of)
    if not count:
        nothing = float("nan")
        return Score(nothing, nothing, nothing, nothing, nothing, 0)
    pooled = [np.concatenate([channel[k].ravel() for channel in of]) for k in range(3)]
    # A constant measurement has no deviation to compare with, not even for a prediction that is exact.
    known = [y[w != 0] for y, _, w in of]
    moving = [channel for channel, y in zip(of, known, strict=True) if y.min() < y.max()]
    relative = np.array([nrmse(*channel) for channel in moving] or [np.nan])
    with np.errstate(over="ignore"):  # then they are −∞
        r2, fit = np.mean(1 - relative**2), np.mean(100 * (1 - relative))
    return Score(rmse(*pooled), float(np.mean(relative)), mae(*pooled), float(r2), float(fit), count)
