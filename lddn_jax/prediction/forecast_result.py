"""Predictions of records in their units, with scores and divergence: the result of every evaluation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from lddn_jax import diagnostics
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.tables import Table
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.diagnostics.ranges import Excursion, Range, excursions
from lddn_jax.numerics.text_table import aligned, column_digits, digits, ratio_digits
from lddn_jax.prediction.conformal import ConformalBands, horizons_of
from lddn_jax.prediction.continuation import Continuation
from lddn_jax.prediction.free_run import diverged_at

ONE_STEP, FREE_RUN, FORECAST = "one step ahead", "free run", "forecast"
PERSISTENCE, LINEAR = "persistence", "linear model"  # what models are compared with
BASELINES = (PERSISTENCE, LINEAR)
MOST_PRINTED_STEPS = 10  # steps of a forecast that are printed

Channels: TypeAlias = dict[str, Float[np.ndarray, "records time 1"]]
Lines: TypeAlias = dict[str, Float[np.ndarray, " time=_"]]


def steps_ahead(k: int) -> str:
    """Returns the name of predictions k steps ahead."""
    return ONE_STEP if k == 1 else f"{k} steps ahead"


def joined(outputs: Mapping[str, Any], steps: Sequence[int]) -> Lines:
    """Concatenates signals `(records, time, size)` over records to `(time,)` by element."""
    pieces = {
        name: np.concatenate([np.asarray(piece)[:count] for piece, count in zip(signal, steps, strict=True)])
        for name, signal in outputs.items()
    }
    return {name: line[:, 0] for name, line in channels(pieces).items()}


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Predictions and measured outputs of records, in the units of the records; `print` shows the scores.

    Arrays are `(time,)`, one per element of a signal, with all records concatenated. The samples that fill the first
    delay state of a record are not included, and those after the last measured outputs are in `future`.

    Attributes:
        time: Time of the predicted steps of a record, or of pieces of one; row numbers if the record has no times, or
            if there are several records.
        measured: Measured outputs by name; NaN where missing, empty if no output was measured.
        predictions: Predictions by kind and output: {"free run": {"y": …}, "one step ahead": {"y": …}}.
        warmup: Number of first steps of each record that are not scored.
        steps: Number of predicted steps of each record.
        inputs: Inputs by name, without the feedback inputs.
        std: Standard deviation of a measurement in the free run, by output; empty without error bars.
        trained_on: Smallest and largest value in training, by name; empty if unknown.
        run: Sequences of the free run, `(records, time, size)` in scaled units; None if no output was measured.
        ahead: Number of steps ahead of a prediction with the loop open, the smallest delay of the measured outputs.
        spans: Usual range of the outputs, for `diverged_at`; empty if unknown.
        future: Forecast of the steps after the last measured outputs; None if there are none.
        notes: How the file was read, what first states were estimated from, and members of a committee left out.
        fitted_steps: Number of first steps of each record that the first states of layers that are not measured were
            estimated from; 0 if none was.
        conformal: Bands of the free run by the number of steps since its start, from errors on data that the model was
            not fitted to; None if unknown.
    """

    time: Float[np.ndarray, " time"]
    measured: Mapping[str, Float[np.ndarray, " time"]]
    predictions: Mapping[str, Mapping[str, Float[np.ndarray, " time"]]]
    warmup: int
    steps: tuple[int, ...]
    inputs: Mapping[str, Float[np.ndarray, " time"]] = dataclasses.field(default_factory=dict)
    std: Mapping[str, Float[np.ndarray, " time"]] = dataclasses.field(default_factory=dict)
    trained_on: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    run: Sequences | None = None
    ahead: int = 1
    spans: Mapping[str, float] = dataclasses.field(default_factory=dict)
    future: Continuation | None = None
    notes: tuple[str, ...] = ()
    fitted_steps: int = 0
    conformal: ConformalBands | None = None

    @property
    def open_loop(self) -> str:
        """Kind of the predictions with the loop open: "one step ahead", or "2 steps ahead", for example."""
        return steps_ahead(self.ahead)

    @property
    def outside(self) -> dict[str, Excursion]:
        """Inputs, also those of a forecast, and measured outputs that leave the training range."""
        coming: Mapping[str, Any] = {} if self.future is None else self.future.inputs
        inputs = {
            name: np.append(self.inputs.get(name, ()), coming.get(name, ())) for name in {**self.inputs, **coming}
        }
        return excursions({name: x[:, None] for name, x in {**inputs, **self.scored}.items()}, self.trained_on)

    @property
    def scored(self) -> Lines:
        """Measured outputs, with NaN in the warm-up steps."""
        counts = np.concatenate([np.arange(count) >= self.warmup for count in self.steps])
        return {name: np.where(counts, y, np.nan) for name, y in self.measured.items()}

    @property
    def bands(self) -> Lines:
        """Half width of the band of the free run by output, `(time,)`, without outputs whose bands are not usable."""
        if self.conformal is None or FREE_RUN not in self.predictions:
            return {}
        return self.conformal.half_width(horizons_of(self.steps), self.conformal.usable)

    @property
    def band_coverage(self) -> dict[str, float]:
        """Share of the measurements within the bands of the free run, by output, without the warm-up."""
        scored, bands = self.scored, self.bands
        missed = {name: np.abs(scored[name] - self.predictions[FREE_RUN][name]) for name in bands if name in scored}
        return {
            name: float(np.mean(missed[name][there] <= bands[name][there]))
            for name in missed
            if (there := ~np.isnan(scored[name])).any()
        }

    @property
    def scores(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Scores by kind of prediction and output, without the warm-up; empty if no output was measured.

        `rmse` is in the units of the record, `r2` the coefficient of determination. If a prediction diverged, both are
        None and `diverged_at` is the first such step in any record. With error bars, `coverage` is the fraction of
        measurements within two standard deviations of the free run; with bands, `band_coverage` that within the bands.
        """
        scored = self.scored
        found = {
            kind: {name: self._score(y, lines[name], name) for name, y in scored.items()}
            for kind, lines in self.predictions.items()
            if scored
        }
        for name, std in self.std.items():
            y, there = scored[name], ~np.isnan(scored[name])
            share = diagnostics.coverage(y[there], self.predictions[FREE_RUN][name][there], std[there])
            found[FREE_RUN][name]["coverage"] = share
        for name, share in self.band_coverage.items():
            found[FREE_RUN][name]["band_coverage"] = share
        return found

    @property
    def future_bands(self) -> Lines:
        """Half width of the band of `future` by output, `(steps,)`."""
        if self.conformal is None or self.future is None:
            return {}
        return self.conformal.half_width(horizons_of((len(self.future),)), self.conformal.usable)

    def diverged(self, kind: str) -> int | None:
        """Returns the first step at which a kind of prediction diverged in any record, or None; see `diverged_at`."""
        if not self.measured:
            return None
        return diverged_at(self.apart(self.predictions[kind], "last"), self.apart(self.scored), ranges=self.spans)

    def joined(self, outputs: Mapping[str, Any]) -> Lines:
        """Concatenates outputs `(records, time, size)` to `(time,)` by element, without the padding of short records.

        Args:
            outputs: Outputs by output layer.
        """
        return joined(outputs, self.steps)

    def apart(self, lines: Mapping[str, Float[np.ndarray, " time=_"]], fill: str = "nan") -> Channels:
        """Splits concatenated signals into records, `(records, time, 1)`; the inverse of `joined`.

        Args:
            lines: Signals `(time,)` by name.
            fill: Padding of short records: "nan", or "last" for their last value.
        """
        longest, ends = max(self.steps), np.cumsum(self.steps)[:-1]

        def padded(piece: Float[np.ndarray, " own_steps"]) -> Float[np.ndarray, " longest"]:
            return np.append(piece, np.full(longest - len(piece), np.nan if fill == "nan" else piece[-1]))

        return {
            name: np.stack([padded(piece) for piece in np.split(np.asarray(line, float), ends)])[..., None]
            for name, line in lines.items()
        }

    def to_table(self) -> Table:
        """Returns times, measured outputs, predictions and standard deviations as a `Table`.

        A column that ends in "band" has half the width of a conformal band.

        The steps of `future` are the last rows: their predictions are in the columns of the forecast, which have no
        value in the rows before, and all other columns have none in them.
        """
        columns = {"time": self.time, **self.measured}
        for kind, found in self.predictions.items():
            columns |= {f"{name} {kind}": value for name, value in found.items()}
            if kind == FREE_RUN:
                columns |= {f"{name} {kind} std": value for name, value in self.std.items()}
                columns |= {f"{name} {kind} band": value for name, value in self.bands.items()}
        if self.future is None:
            return Table(columns)
        nothing, later = np.full(len(self.time), np.nan), np.full(len(self.future), np.nan)
        columns = {name: np.append(value, later) for name, value in columns.items()}
        columns["time"] = np.append(self.time, self.future.time)
        coming = (
            (FORECAST, self.future.predictions),
            (f"{FORECAST} std", self.future.std),
            (f"{FORECAST} band", self.future_bands),
        )
        for what, lines in coming:
            columns |= {f"{name} {what}": np.append(nothing, line) for name, line in lines.items()}
        return Table(columns)

    def __str__(self):
        of_each = " of each record" if len(self.steps) > 1 else ""
        skipped = f"; the first {self.warmup}{of_each} are warm-up and not scored" if self.warmup else ""
        unmeasured = (
            "" if self.measured or not len(self.time) else "; the record has no measured outputs to compare with"
        )
        lines = [f"{len(self.time)} steps{skipped}{unmeasured}"]
        # Causes come before scores.
        beyond = [
            e.about(f"{'measured' if name in self.measured else 'input'} {name}") for name, e in self.outside.items()
        ]
        coming = [] if self.future is None else ["", *self._future_lines(self.future)]
        if not len(self.time):
            return "\n".join(["all measured outputs are needed to start from; none is left to score", *beyond, *coming])
        lines += beyond
        if not self.measured:
            return "\n".join(lines)
        constant = [name for name, y in self.scored.items() if np.nanmin(y) == np.nanmax(y)]
        rows: list[tuple[str, ...]] = [("", "RMSE", "R²")]
        for kind, outputs in self.scores.items():
            for name, score in outputs.items():
                r2 = "undefined" if score["r2"] is None or name in constant else ratio_digits(score["r2"])
                broken = "diverged", f"at step {score.get('diverged_at')}"
                rows.append(
                    (f"{name}, {kind}", *(broken if score["rmse"] is None else (column_digits(score["rmse"]), r2)))
                )
        lines += aligned(rows)
        if constant:
            lines.append(f"measured {', '.join(constant)} is constant here, so R² is undefined")
        if any(np.isnan(y).any() for y in self.measured.values()):
            lines.append("measured outputs have gaps, so only a free run is possible")
        lines += self._band_lines()
        return "\n".join([*lines, *coming])

    def _band_lines(self) -> list[str]:
        """What share of the measurements the bands contain, and why others cannot be used."""
        if self.conformal is None or FREE_RUN not in self.predictions:
            return []
        shares = self.band_coverage
        several = len(self.measured) > 1
        each = ", ".join(f"{100 * share:.0f} %{f' of {name}' if several else ''}" for name, share in shares.items())
        found = [f"{self.conformal.in_percent} conformal bands contain {each} of the measurements"] if shares else []
        return [*found, *self.conformal.notes]

    def _future_lines(self, future: Continuation) -> list[str]:
        """The forecast in words: its first and last steps."""
        count, place = len(future), f"from {future.time[0]:.9g}"
        lines = [f"forecast of {count} step{'s' if count > 1 else ''} after the last measured outputs, {place}:"]
        if future.diverged_at is not None:
            lines.append(f"it diverges at step {future.diverged_at}")
        foreseen = {name: line[:, None] for name, line in future.predictions.items()}
        beyond = excursions(foreseen, self.trained_on)
        lines += [each.about(f"forecast {name}") for name, each in beyond.items() if each.low < each.high]
        half = MOST_PRINTED_STEPS // 2
        shown = range(count) if count <= MOST_PRINTED_STEPS else [*range(half), *range(count - half, count)]
        bands = self.future_bands
        bars = {name: ("± 2 std", 2 * std) for name, std in future.std.items()}
        if self.conformal is not None:  # they hold whatever the distribution of the errors is
            bars |= {name: (f"± {self.conformal.in_percent}", half) for name, half in bands.items()}
        columns = [each for name in future.predictions for each in (name, *([bars[name][0]] if name in bars else []))]
        rows: list[tuple[str, ...]] = [("time", *columns)]
        for k in shown:
            if count > MOST_PRINTED_STEPS and k == count - half:
                rows.append(("…", *("" for _ in columns)))
            cells = [
                digits(float(each))
                for name, line in future.predictions.items()
                for each in (line[k], *([bars[name][1][k]] if name in bars else []))
            ]
            rows.append((f"{future.time[k]:.9g}", *cells))
        return lines + aligned(rows)

    def _score(self, measured: np.ndarray, predicted: np.ndarray, name: str) -> dict[str, Any]:
        broken = diverged_at(self.apart({name: predicted}, "last"), self.apart({name: measured}), ranges=self.spans)
        if broken is not None:
            return {"rmse": None, "r2": None, "diverged_at": broken}
        moves = np.nanmin(measured) < np.nanmax(measured)  # the R² of a constant target is undefined
        r2 = diagnostics.r2(measured, predicted) if moves else np.inf
        return {"rmse": diagnostics.rmse(measured, predicted), "r2": r2 if np.isfinite(r2) else None}
