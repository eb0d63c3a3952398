"""The input of a report: a trained network, its training, and its predictions of a record."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from lddn_jax.data.sequences import Sequences
from lddn_jax.diagnostics import Scores
from lddn_jax.identification.competition import Competition
from lddn_jax.network.committee import Model
from lddn_jax.network.rewiring import measured_loops
from lddn_jax.prediction.estimated_states import unmeasured_layers
from lddn_jax.prediction.forecast_result import BASELINES, Channels, Forecast
from lddn_jax.training.history import History


@dataclass(frozen=True)
class Evaluation:
    """A model and its predictions. Signals are by element, `(records, time, 1)`, in the units of the record.

    Attributes:
        net: The trained network or committee.
        trained: Summary of the training as text.
        stop_reason: See `lddn_jax.Fitted`.
        history: Training history of the returned network.
        best_epoch: See `lddn_jax.Fitted`; None if unknown.
        forecast: Predictions and measurements.
        loop: The network with its loop closed, and data in the network's units; None if there is no loop.
        opened: The network and data for the horizon profile; None if there is no loop or the data have gaps.
        record: The whole record of an identified network: signals by column, time, and parts.
        record_steps: Number of samples of each piece of `record`.
        scale: Factor by output that converts an error from the units of `opened` to those of the record.
        notes: Sentences on training data and training, by name of their flag; see `lddn_jax.Fitted`.
        competition: The competition of structures that the network comes from; None if it was trained otherwise.
        out_of_fold: Scores of the out-of-fold predictions of the training part; None if there are none.
    """

    net: Model
    trained: str
    stop_reason: str
    history: History
    best_epoch: int | None
    forecast: Forecast
    loop: tuple[Model, Sequences] | None = None
    opened: tuple[Model, Sequences] | None = None
    record: tuple[Mapping[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]] | None = None
    record_steps: tuple[int, ...] | None = None
    scale: dict[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    competition: Competition | None = None
    out_of_fold: Scores | None = None

    @property
    def time(self) -> Float[np.ndarray, " time"]:
        """`(time,)`: time of a single record; step numbers if there are several records, whose longest it is."""
        steps = self.forecast.steps
        return self.forecast.time if len(steps) == 1 else np.arange(max(steps), dtype=float)

    @functools.cached_property
    def inputs(self) -> Channels:
        """Inputs without those that hold measured outputs."""
        return self.forecast.apart(self.forecast.inputs)

    @functools.cached_property
    def measured(self) -> Channels:
        """Measured outputs, NaN where they are missing or in the warm-up."""
        return self.forecast.apart(self.forecast.scored)

    @functools.cached_property
    def predictions(self) -> dict[str, Channels]:
        """Predictions by kind and output."""
        return {kind: self.forecast.apart(lines, "last") for kind, lines in self.forecast.predictions.items()}

    @functools.cached_property
    def std(self) -> Channels:
        """Standard deviation of a measurement in the free run; empty without error bars."""
        return self.forecast.apart(self.forecast.std, "last")

    @property
    def simulates(self) -> bool:
        """Whether the network has states that are not measured and reads no measured output, as a state space."""
        return bool(unmeasured_layers(self.net)) and not measured_loops(self.net.topology)

    @property
    def models(self) -> list[str]:
        """Kinds of predictions of the model, without persistence and the linear model."""
        return [kind for kind in self.forecast.predictions if kind not in BASELINES]

    @functools.cached_property
    def residuals(self) -> Channels:
        """Measured − predicted by output, of the first kind in `models`; NaN from the step at which it diverged."""
        return self.errors_of(self.models[0])

    def errors_of(self, kind: str) -> Channels:
        """Returns measured − predicted by output, for a kind of predictions; NaN from the step at which it diverged."""
        step = self.forecast.diverged(kind)
        until = (np.arange(len(self.time)) < (len(self.time) if step is None else step))[:, None]
        predicted = self.predictions[kind]
        return {name: y - np.where(until, predicted[name], np.nan) for name, y in self.measured.items()}
