"""What a report is made of: a trained network, how it was trained, and its predictions of a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from lddn_jax.data.sequences import Sequences
from lddn_jax.network.network import Network
from lddn_jax.prediction.forecast import PERSISTENCE, Channels, Forecast
from lddn_jax.training.history import History


@dataclass(frozen=True)
class Evaluation:
    """A network and its predictions. Signals are by element, `(records, time, 1)`, in the units of the record.

    Attributes:
        net: The network as it was trained.
        trained: What training returned, in words.
        stop_reason: See `lddn_jax.Fitted`.
        history: Of the network returned.
        best_epoch: See `lddn_jax.Fitted`; None where there is no such thing.
        forecast: Predictions, and what was measured.
        loop: The network whose loop is closed, and data for it in its own units; None if there is no loop.
        opened: The network and data that the horizon profile is made of; None if there is no loop, or a gap in it.
        record: Of an identified network the whole record by column, its time and its parts.
        ranges: Of signals in the part that trained; empty if it is not known.
        scale: What turns an error of an output from the units of `opened` into the record's.
    """

    net: Network
    trained: str
    stop_reason: str
    history: History
    best_epoch: int | None
    forecast: Forecast
    loop: tuple[Network, Sequences] | None = None
    opened: tuple[Network, Sequences] | None = None
    record: tuple[Mapping[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]] | None = None
    ranges: Mapping[str, Any] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)

    @property
    def time(self) -> Float[np.ndarray, " time"]:
        """`(time,)` of one record; numbers of steps where there are several, side by side."""
        steps = self.forecast.steps
        return self.forecast.time if len(steps) == 1 else np.arange(max(steps), dtype=float)

    @property
    def inputs(self) -> Channels:
        """Inputs that carry no measured output."""
        return self.forecast.apart(self.forecast.inputs)

    @property
    def measured(self) -> Channels:
        """Measured outputs, NaN where they do not count: in the warm-up, or where they are missing."""
        return self.forecast.apart(self.forecast.scored)

    @property
    def predictions(self) -> dict[str, Channels]:
        """By kind, and by output."""
        return {kind: self.forecast.apart(lines, "last") for kind, lines in self.forecast.predictions.items()}

    @property
    def std(self) -> Channels:
        """Standard deviation of a measurement in the free run; empty unless there are error bars."""
        return self.forecast.apart(self.forecast.std, "last")

    @property
    def models(self) -> list[str]:
        """Kinds of predictions, persistence apart."""
        return [kind for kind in self.forecast.predictions if kind != PERSISTENCE]

    @property
    def residuals(self) -> Channels:
        """Measured − predicted by output, of the first of `predictions`; NaN from where that diverged."""
        first = self.predictions[self.models[0]]
        step = self.forecast.diverged(self.models[0])
        until = (np.arange(len(self.time)) < (len(self.time) if step is None else step))[:, None]
        return {name: y - np.where(until, first[name], np.nan) for name, y in self.measured.items()}
