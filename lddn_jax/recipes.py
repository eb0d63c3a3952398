"""Three ways to train a NARX network on a record: `lm`, `br` and `adam`.

- `lm`: Levenberg-Marquardt on several networks at once, open loop first and then closed over growing horizons; of all
  networks at all horizons the one is taken that runs free best on the validation part.
- `br`: goes on from there with Bayesian regularization, over the same horizons and chosen in the same way, and so puts
  error bars on the free run.
- `adam`: with the loop open, on windows whose delay states come from the record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optax
from jaxtyping import Array

from lddn_jax import losses, models
from lddn_jax.data.sequences import Sequences, windows
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.topology import Topology
from lddn_jax.training.base import AbstractTrainer
from lddn_jax.training.bayesian import BayesianRegularization
from lddn_jax.training.closed_loop import ClosedLoop, fit_closed_loop
from lddn_jax.training.first_order import Optax
from lddn_jax.training.fit import Fitted, History, fit
from lddn_jax.training.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.training.posterior import Posterior, posterior


@dataclass(frozen=True)
class Settings:
    """What can be chosen; see `lddn_jax.models.narx` and `lddn_jax.fit`.

    Attributes:
        hidden: Neurons of the hidden layer.
        input_delays: Delays of every input column.
        feedback_delays: Delays of every measured target column.
        linear_path: Whether the tapped delay lines also feed the outputs directly. The hidden layer saturates
            outside of the range it was trained in; a linear path goes on.
        init: Initializer.
        trainer: "lm", "br" or "adam".
        epochs: Steps at each horizon, or passes of Adam over the training windows; None: 50, or 6000.
        restarts: Networks that Levenberg-Marquardt trains side by side.
        groups: Of Bayesian regularization: which weights share a prior; see `lddn_jax.BayesianRegularization`.
        horizons: Steps that windows run free, one horizon after the other; None for the whole record.
        batch_size: Windows in a mini-batch of Adam.
        learning_rate: Of Adam at the start; it falls to zero along a cosine.
        window: Time steps of a training window of Adam.
        train: Share of the record that trains.
        validation: Share of the record, after that, that validates.
        seed: Of the first weights and of the shuffling.
    """

    hidden: int = 10
    input_delays: tuple[int, ...] = (1, 2)
    feedback_delays: tuple[int, ...] = (1, 2)
    linear_path: bool = True
    init: str = "nguyen-widrow"
    trainer: str = "lm"
    epochs: int | None = None
    restarts: int = 8
    groups: str = "all"
    horizons: tuple[int | None, ...] = (1, 5, 20, 100, None)
    batch_size: int = 4
    learning_rate: float = 1e-2
    window: int = 100
    train: float = 0.6
    validation: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """A record in scaled units: the first part trains, the second validates, the last tests.

    Attributes:
        topology: Of the network with its loop open.
        columns: `(time, 1)` by input and target.
        targets: Names of the columns to predict.
        first: Where the training part ends.
        second: Where the validation part ends.
    """

    topology: Topology
    columns: Mapping[str, np.ndarray]
    targets: tuple[str, ...]
    first: int
    second: int

    @property
    def held(self) -> int:
        """Samples that fill the first delay state."""
        return max(plan(self.topology).longest_delays.values())

    @property
    def loops(self) -> dict[str, str]:
        """Target by the input that carries its measured values."""
        return {models.measured_name(target): target for target in self.targets}

    def whole(self, start: int, stop: int) -> Sequences:
        """Samples [start, stop) in one piece, with those before `start` that fill the first delay state."""
        rows = slice(max(start - self.held, 0), stop)
        measured = {input: self.columns[target][rows] for input, target in self.loops.items()}
        others = {name: self.columns[name][rows] for name in self.topology.input_names - measured.keys()}
        return Sequences(others | measured, {target: self.columns[target][rows] for target in self.targets})

    def windows(self, start: int, stop: int, length: int, topology: Topology | None = None) -> Sequences:
        """The same cut into windows, for the network with its loop open or another topology."""
        topology, cut = topology or self.topology, self.whole(start, stop)
        inputs = {name: signal for name, signal in cut.inputs.items() if name in topology.input_names}
        return windows(topology, inputs, cut.targets, length)


@dataclass(frozen=True)
class Regularized:
    """Levenberg-Marquardt over growing horizons, and what Bayesian regularization made of its network.

    Attributes:
        before: By Levenberg-Marquardt.
        after: By Bayesian regularization.
        posterior: Of the closed loop, in scaled units, on the windows of the best stage.
    """

    before: ClosedLoop
    after: ClosedLoop
    posterior: Posterior

    @property
    def history(self) -> History:
        """That of Bayesian regularization."""
        return self.after.history

    def to_dict(self) -> dict[str, Any]:
        """Returns its numbers as plain values, ready for `json.dump`."""
        return {"before": self.before.to_dict()} | self.after.to_dict() | {"posterior": self.posterior.to_dict()}

    def __str__(self):
        return f"{self.before}\n\nBayesian regularization\n{self.after}\n{self.posterior}"


def by_adam(
    net: Network, record: Record, settings: Settings, key: Array, say: Callable[[str], None], progress: bool | None
) -> tuple[Network, Fitted]:
    """Returns the network with its loop open, and how it was trained."""
    training = record.windows(0, record.first, settings.window)
    epochs = settings.epochs or 6000
    batch_size = min(settings.batch_size, training.batch[0])
    updates = epochs * -(-training.batch[0] // batch_size)
    trainer = Optax(optax.adam(optax.cosine_decay_schedule(settings.learning_rate, updates)), batch_size)
    say(f"training: Adam, {epochs} epochs of {training.batch[0]} windows of {settings.window} steps")
    fitted = fit(
        net,
        training,
        losses.MeanSquaredError(),
        trainer,
        epochs=epochs,
        validation=record.windows(record.first, record.second, record.second - record.first),
        max_fail=epochs,  # the learning rate falls to zero: the end is part of the recipe
        key=key,
        progress=progress,
    )
    return fitted.net, fitted


def by_levenberg_marquardt(net, record, settings, key, say, progress) -> tuple[Network, ClosedLoop]:
    """Returns the network with its loop open, and how it was trained."""
    trainer = LevenbergMarquardt(restarts=settings.restarts, init_of_restarts=settings.init)
    found = _over_horizons("Levenberg-Marquardt", trainer, net, record, settings, key, say, progress)
    return found.opened, found


def by_bayesian_regularization(net, record, settings, key, say, progress) -> tuple[Network, Regularized]:
    """Returns the network with its loop open, and how it was trained."""
    opened, before = by_levenberg_marquardt(net, record, settings, key, say, progress)
    trainer = BayesianRegularization(groups=settings.groups)
    after = _over_horizons("Bayesian regularization", trainer, opened, record, settings, key, say, progress)
    stage = after.stages[after.best_stage]
    length = stage.horizon or record.first - record.held
    data = record.windows(0, record.first, length, after.net.topology)
    return after.opened, Regularized(before, after, posterior(stage.fitted, data))


TRAINERS: dict[str, Callable[..., tuple[Network, Any]]] = {
    "lm": by_levenberg_marquardt,
    "br": by_bayesian_regularization,
    "adam": by_adam,
}


def _over_horizons(
    name: str, trainer: AbstractTrainer, net: Network, record: Record, settings: Settings, key, say, progress
) -> ClosedLoop:
    horizons = [h for h in settings.horizons if h is None or h <= record.first - record.held]
    epochs = settings.epochs or 50
    several = "1 network" if trainer.restarts == 1 else f"{trainer.restarts} networks at once"
    shown = ", ".join("all" if h is None else str(h) for h in horizons)
    say(f"training: {name}, {several}, {epochs} steps at each horizon: {shown}")
    return fit_closed_loop(
        net,
        record.whole(0, record.first),
        trainer,
        horizons,
        validation=record.whole(record.first, record.second),
        epochs=epochs,
        key=key,
        progress=progress,
    )
