"""A trained network and its signals on a record, in one form whatever it comes from.

An identified network comes with its record and is judged on the test part, in the record's units; a fit is judged on
the data that it is given with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from lddn_jax.data.sequences import Sequences
from lddn_jax.network.network import Network
from lddn_jax.prediction.free_run import diverged_at
from lddn_jax.training.history import History

ONE_STEP, FREE_RUN, PERSISTENCE = "one step ahead", "closed loop (free run)", "persistence y(t) = y(t−1)"

Channels = dict[str, np.ndarray]


@dataclass(frozen=True)
class Judged:
    """A network and its record. Signals are by element, `(*batch, time, 1)`, in the record's units.

    Attributes:
        net: The network as it was trained.
        trained: What training returned, in words.
        stop_reason: See `lddn_jax.Fitted`.
        history: Of the network returned.
        best_epoch: See `lddn_jax.Fitted`; None where there is no such thing.
        time: `(time,)` of the judged part.
        inputs: Inputs of the judged part, by name.
        measured: Measured outputs.
        predictions: By what they are, and by output.
        loop: The network whose loop is closed, and data for it in its own units; None if there is no loop.
        opened: The network and data that the horizon profile is made of; None if there is no loop, or a gap in it.
        record: Of an identified network the whole record by column, its time and its parts.
        ranges: Of signals in the part that trained; empty if it is not known.
        std: Standard deviation of a measurement in the free run, by output; empty unless there are error bars.
        scale: What turns an error of an output from the units of `opened` into the record's.
    """

    net: Network
    trained: str
    stop_reason: str
    history: History
    best_epoch: int | None
    time: np.ndarray
    inputs: Channels
    measured: Channels
    predictions: dict[str, Channels]
    loop: tuple[Network, Sequences] | None = None
    opened: tuple[Network, Sequences] | None = None
    record: tuple[Mapping[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]] | None = None
    ranges: Mapping[str, Any] = field(default_factory=dict)
    std: Channels = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """What there are predictions of, persistence apart."""
        return [kind for kind in self.predictions if kind != PERSISTENCE]

    def diverged(self, kind: str) -> int | None:
        """Returns the first step at which a prediction left the finite numbers or all that was measured."""
        with np.errstate(over="ignore"):
            signals = [{k: jnp.asarray(v) for k, v in part.items()} for part in (self.predictions[kind], self.measured)]
        return diverged_at(*signals)

    @property
    def residuals(self) -> Channels:
        """Measured − predicted by output, of the first of `predictions`; NaN from where that diverged."""
        first = self.predictions[self.models[0]]
        step = self.diverged(self.models[0])
        until = (np.arange(len(self.time)) < (len(self.time) if step is None else step))[:, None]
        return {name: y - np.where(until, first[name], np.nan) for name, y in self.measured.items()}
