"""From a table to a judged NARX network: the recipe that the command line follows.

The record is cut in time: the first part trains, the next validates, the last tests. Scaling is found on the
training part alone. The network is trained, then tested twice on the whole test part: one step ahead, and in a free
run with its loop closed, which starts from measured values and never sees another. Persistence, y(t) = y(t−1), is what
any model has to beat.

Three ways to train: `lm`, Levenberg-Marquardt on several networks at once, open loop first and then closed over growing
horizons, the best free run on the validation part chosen; `br`, which goes on from there with Bayesian regularization
and so puts error bars on the free run; and `adam`, with the loop open on windows whose delay states come from the
record.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import numpy as np
import optax

from lddn_jax import diagnostics, losses, models
from lddn_jax.data.scaling import AbstractScaler, MinMax
from lddn_jax.data.sequences import Sequences, windows
from lddn_jax.data.tables import Table, uniform_sampling
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.gradients.check import GradientReport, check_gradients
from lddn_jax.network import Network, close_loop, open_loop
from lddn_jax.plan import plan
from lddn_jax.simulate import predict
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
        epochs: Steps at each horizon, and of Bayesian regularization after them, or passes of Adam over the training
            windows; None: 50, 100, or 6000.
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
class Regularized:
    """Levenberg-Marquardt over growing horizons, and what Bayesian regularization made of its network.

    Attributes:
        before: What Levenberg-Marquardt returned.
        horizon: Steps that the windows run free which the posterior is computed on.
        fitted: What Bayesian regularization returned, its loop closed.
        posterior: Of the closed loop, in scaled units.
    """

    before: ClosedLoop
    horizon: int
    fitted: Fitted
    posterior: Posterior

    @property
    def history(self) -> History:
        """That of Bayesian regularization."""
        return self.fitted.history

    def __str__(self):
        return f"{self.before}\n\nhorizon {self.horizon}: {self.fitted}\n{self.posterior}"


@dataclass(frozen=True)
class Identified:
    """A trained network and how it did on the test part.

    Attributes:
        net: The network with its loop open, in scaled units.
        scalers: By column; a feedback input shares its target's.
        trained: What training returned.
        gradients: The check of all gradient methods on the closed loop.
        time: `(time,)` of the test part; `measured`, `one_step` and `closed_loop` by target belong to it.
        scores: "one_step", "closed_loop" and "persistence", each with `rmse` and `r2` in the record's units (None where
            the prediction left the finite numbers, with the first such step as `diverged_at`).
        seconds: By phase.
        std: `(time,)` by target: the standard deviation of a measurement in the closed loop, in the record's units.
            Empty unless trained by Bayesian regularization.
    """

    net: Network
    scalers: dict[str, AbstractScaler]
    trained: "Fitted | ClosedLoop | Regularized"
    gradients: GradientReport
    time: np.ndarray
    measured: dict[str, np.ndarray]
    one_step: dict[str, np.ndarray]
    closed_loop: dict[str, np.ndarray]
    scores: dict[str, dict[str, Any]]
    settings: Settings
    seconds: dict[str, float] = field(default_factory=dict)
    std: dict[str, np.ndarray] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns scores, gradient check, training and settings as plain values, ready for `json.dump`."""
        return {
            "test": self.scores | {"samples": len(self.time)},
            "gradient_check": self.gradients.to_dict(),
            "training": self._training(),
            "parameters": self.net.parameter_count,
            "topology": self.net.topology.to_dict(),
            "scaling": {name: scaler.to_dict() for name, scaler in self.scalers.items()},
            "settings": asdict(self.settings),
            "seconds": self.seconds,
            "dtype": str(np.dtype(self.net.dtype)),
            "seed": self.settings.seed,
        }

    def _training(self) -> dict[str, Any]:
        if isinstance(self.trained, Regularized):
            before = replace(self, trained=self.trained.before)._training()
            after = replace(self, trained=self.trained.fitted)._training()
            return before | after | {"posterior": self.trained.posterior.to_dict()}
        if isinstance(self.trained, Fitted):
            return {
                "stop_reason": self.trained.stop_reason,
                "epochs": len(self.trained.history["loss"]),
                "best_epoch": self.trained.best_epoch,
            }
        stages = [
            {
                "horizon": stage.horizon,
                "stop_reason": stage.fitted.stop_reason,
                "epochs": len(stage.fitted.history["loss"]),
                "open_loop": stage.open_loop,
                "closed_loop": None if stage.diverged_at is not None else stage.closed_loop,
                "diverged_at": stage.diverged_at,
                "seconds": stage.seconds,
            }
            for stage in self.trained.stages
        ]
        best = self.trained.best_stage
        return {"stages": stages, "best_stage": best, "best_restart": self.trained.stages[best].best_restart}


def identify(
    table: Table,
    inputs: Sequence[str],
    targets: Sequence[str],
    settings: Settings | None = None,
    *,
    say: Callable[[str], None] = lambda text: None,
    progress: bool | None = None,
) -> Identified:
    """Identifies a NARX network from a record.

    Args:
        table: The record; a column `time` that is not an input or target is checked for even sampling.
        inputs: Names of input columns; may be empty.
        targets: Names of the columns to predict.
        settings: See `Settings`.
        say: Is told what is going on, a line or a small table at a time.
        progress: As in `lddn_jax.fit`.

    Returns:
        An `Identified`.

    Raises:
        DataError: If columns are missing or hold NaN, or the record is too short.
        TopologyError: If settings describe no network.
    """
    settings = settings or Settings()
    if settings.trainer not in _TRAINERS:
        raise LDDNError(f"trainer={settings.trainer!r} is unknown; known are {sorted(_TRAINERS)}.")
    columns = _columns(table, inputs, targets)
    moment = _time(table, columns)
    first, second = _split(len(moment), settings)
    topology = models.narx(
        dict.fromkeys(inputs, 1),
        dict.fromkeys(targets, 1),
        hidden=settings.hidden,
        input_delays=settings.input_delays,
        feedback_delays=settings.feedback_delays,
        linear_path=settings.linear_path,
    )
    held = max(plan(topology).longest_delays.values())
    say(f"record: {len(moment)} samples; {first} train, {second - first} validate, {len(moment) - second} test")

    key, shuffle = jax.random.split(jax.random.key(settings.seed))
    net = Network(topology, key=key, init=settings.init)
    say(net.summary())
    scalers: dict[str, AbstractScaler] = {name: MinMax.fit(column[:first]) for name, column in columns.items()}
    scaled = {name: np.asarray(scalers[name].apply(column), net.dtype) for name, column in columns.items()}

    def part(start: int, stop: int, length: int, closed: Network | None = None) -> Sequences:
        """Windows of [start, stop); the values before `start` fill the first delay state."""
        rows = slice(max(start - held, 0), stop)
        known = {name: scaled[name][rows] for name in inputs}
        wanted = {name: scaled[name][rows] for name in targets}
        if closed is not None:
            return windows(closed.topology, known, wanted, length)
        return windows(topology, known | {models.measured_name(t): v for t, v in wanted.items()}, wanted, length)

    seconds: dict[str, float] = {}
    loss = losses.MeanSquaredError()
    with _Timer(seconds, "gradient_check"):
        gradients = check_gradients(loss, _closed(net, targets), part(0, held + 2 * 20, 20, _closed(net, targets)))
    say(str(gradients))

    with _Timer(seconds, "training"):
        train = _TRAINERS[settings.trainer]
        opened, trained = train(net, part, (0, first, second), scaled, targets, settings, shuffle, say, progress)
    say(str(trained))

    with _Timer(seconds, "testing"):
        closed = _closed(opened, targets)
        steps = len(moment) - second
        open_part, closed_part = part(second, len(moment), steps), part(second, len(moment), steps, closed)
        one_step = _in_units(predict(opened, open_part.inputs, open_part.state), scalers)
        free_run = _in_units(predict(closed, closed_part.inputs, closed_part.state, steps=steps), scalers)
        measured = {name: columns[name][second:, 0] for name in targets}
        before = {name: columns[name][second - 1 : -1, 0] for name in targets}
        scores = {
            "one_step": _score(measured, one_step),
            "closed_loop": _score(measured, free_run),
            "persistence": _score(measured, before),
        }
    found = Identified(
        opened, scalers, trained, gradients, moment[second:], measured, one_step, free_run, scores, settings, seconds
    )
    if not isinstance(trained, Regularized):
        return found
    with _Timer(seconds, "error_bars"):
        bars = trained.posterior.predict(closed_part.inputs, closed_part.state, steps=steps)
        std = {name: np.asarray(bars.std[name])[0, :, 0] * float(scalers[name].error_scale()[0]) for name in targets}
        covered = [diagnostics.coverage(measured[name], free_run[name], std[name]) for name in targets]
        scores["closed_loop"]["coverage"] = float(np.mean(covered))
    return replace(found, std=std)


def _by_adam(net, part, limits, scaled, targets, settings, key, say, progress) -> tuple[Network, Fitted]:
    start, first, second = limits
    training, held_out = part(start, first, settings.window), part(first, second, second - first)
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
        validation=held_out,
        max_fail=epochs,  # the learning rate falls to zero: the end is part of the recipe
        key=key,
        progress=progress,
    )
    return fitted.net, fitted


def _by_levenberg_marquardt(
    net, part, limits, scaled, targets, settings, key, say, progress
) -> tuple[Network, ClosedLoop]:
    start, first, second = limits
    held = max(plan(net.topology).longest_delays.values())
    feedback = {models.measured_name(t): scaled[t] for t in targets}
    known = {name: scaled[name] for name in net.topology.input_names if name in scaled} | feedback

    def record(begin: int, end: int) -> Sequences:
        rows = slice(max(begin - held, 0), end)
        return Sequences({n: s[rows] for n, s in known.items()}, {t: scaled[t][rows] for t in targets})

    horizons = [h for h in settings.horizons if h is None or h <= first - held]
    epochs = settings.epochs or 50
    several = "1 network" if settings.restarts == 1 else f"{settings.restarts} networks at once"
    shown = ", ".join("all" if h is None else str(h) for h in horizons)
    say(f"training: Levenberg-Marquardt, {several}, {epochs} steps at each horizon: {shown}")
    found = fit_closed_loop(
        net,
        record(start, first),
        LevenbergMarquardt(restarts=settings.restarts, init_of_restarts=settings.init),
        horizons,
        validation=record(first, second),
        epochs=epochs,
        key=key,
        progress=progress,
    )
    return found.opened, found


def _by_bayesian_regularization(
    net, part, limits, scaled, targets, settings, key, say, progress
) -> tuple[Network, Regularized]:
    """Starts where Levenberg-Marquardt ended: with a prior from the first step on, horizons end in a worse basin."""
    _, before = _by_levenberg_marquardt(net, part, limits, scaled, targets, settings, key, say, progress)
    start, first, _ = limits
    held = max(plan(net.topology).longest_delays.values())
    # The longest windows that start from measured values; the whole record is one that nearly does not.
    horizon = max((h for h in settings.horizons if h is not None and h <= first - held), default=first - held)
    data = part(start, first, horizon, before.net)
    trainer, epochs = BayesianRegularization(groups=settings.groups), settings.epochs or 100
    say(f"training: Bayesian regularization, {epochs} steps at horizon {horizon}")
    fitted = fit(before.net, data, losses.MeanSquaredError(), trainer, epochs=epochs, key=key, progress=progress)
    opened = fitted.net
    for input, output in before.loops.items():
        opened = open_loop(opened, output=output, input=input)
    return opened, Regularized(before, horizon, fitted, posterior(fitted, data))


_TRAINERS = {"lm": _by_levenberg_marquardt, "br": _by_bayesian_regularization, "adam": _by_adam}


class _Timer:
    def __init__(self, seconds: dict[str, float], phase: str):
        self._seconds, self._phase = seconds, phase

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._seconds[self._phase] = time.perf_counter() - self._start


def _closed(net: Network, targets: Sequence[str]) -> Network:
    for name in targets:
        net = close_loop(net, output=name, input=models.measured_name(name))
    return net


def _columns(table: Table, inputs: Sequence[str], targets: Sequence[str]) -> dict[str, np.ndarray]:
    if not targets:
        raise DataError(f"no target column was named; choose from {list(table.names)}.")
    both = sorted(set(inputs) & set(targets))
    if both:
        raise DataError(
            f"column {both[0]!r} is both an input and a target; a target's own past is fed back anyway. "
            f"Leave {both[0]!r} out of the inputs."
        )
    columns = {name: table.signal([name]) for name in (*inputs, *targets)}
    for name, column in columns.items():
        missing = np.flatnonzero(~np.isfinite(column[:, 0]))
        if missing.size:
            raise DataError(
                f"column {name!r} has no value in row {missing[0] + 1} of the data ({missing.size} such rows in all). "
                "Fill the gap, or cut the record there."
            )
    return columns


def _time(table: Table, columns: Mapping[str, Any]) -> np.ndarray:
    if "time" not in table.names or "time" in columns:
        return np.arange(len(table), dtype=float)
    uniform_sampling(table["time"])
    return np.asarray(table["time"])


def _split(count: int, settings: Settings) -> tuple[int, int]:
    if not (settings.train > 0 and settings.validation > 0 and settings.train + settings.validation < 1):
        raise DataError(
            f"train={settings.train} and validation={settings.validation} are shares of the record; both must be "
            "positive and leave something to test."
        )
    first = int(settings.train * count)
    second = first + int(settings.validation * count)
    held = max(*settings.input_delays, *settings.feedback_delays, 0)
    window = settings.window if settings.trainer == "adam" else 1
    if first < held + window or second == first:
        raise DataError(
            f"a record of {count} rows is too short: its training part of {first} holds no window of {window} "
            f"steps after {held} rows for the delay state. Pass a shorter window, or bring a longer record."
        )
    return first, second


def _in_units(outputs: Mapping[str, Any], scalers: Mapping[str, AbstractScaler]) -> dict[str, np.ndarray]:
    return {name: np.asarray(scalers[name].invert(output[0]))[:, 0] for name, output in outputs.items()}


def _score(measured: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray]) -> dict[str, Any]:
    def both(y, y_hat):
        broken = np.flatnonzero(~np.isfinite(y_hat))
        if broken.size:
            return {"rmse": None, "r2": None, "diverged_at": int(broken[0])}
        return {"rmse": diagnostics.rmse(y, y_hat), "r2": diagnostics.r2(y, y_hat)}

    names = sorted(measured)
    scores = {name: both(measured[name], predicted[name]) for name in names}
    if len(names) == 1:
        return scores[names[0]]
    if any(s["rmse"] is None for s in scores.values()):
        return {"rmse": None, "r2": None, "targets": scores}
    # Of several targets: all errors pooled, and the mean of their R².
    pooled = float(np.sqrt(np.mean([s["rmse"] ** 2 for s in scores.values()])))
    return {"rmse": pooled, "r2": float(np.mean([s["r2"] for s in scores.values()])), "targets": scores}
