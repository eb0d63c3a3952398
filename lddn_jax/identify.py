"""From a table to a judged NARX network: the recipe that the command line follows.

The record is cut in time: the first part trains, the next validates, the last tests. Scaling is found on the
training part alone. The network is trained, then tested twice on the whole test part: one step ahead, and in a free
run with its loop closed, which starts from measured values and never sees another. Persistence, y(t) = y(t−1), is what
any model has to beat.

How it is trained is in `recipes.py`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import numpy as np

from lddn_jax import diagnostics, losses
from lddn_jax.data.scaling import AbstractScaler
from lddn_jax.data.tables import Table
from lddn_jax.errors import LDDNError
from lddn_jax.experiment import Experiment
from lddn_jax.gradients.check import GradientReport, check_gradients
from lddn_jax.network import Network
from lddn_jax.recipes import TRAINERS, Regularized
from lddn_jax.settings import Settings
from lddn_jax.simulate import predict
from lddn_jax.training.closed_loop import ClosedLoop, closed_over
from lddn_jax.training.fit import Fitted


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
        record: What it was identified from; the last part tests.
        seconds: By phase.
        std: `(time,)` by target: the standard deviation of a measurement in the closed loop, in the record's units.
            Empty unless trained by Bayesian regularization.
    """

    net: Network
    scalers: Mapping[str, AbstractScaler]
    trained: "Fitted | ClosedLoop | Regularized"
    gradients: GradientReport
    time: np.ndarray
    measured: dict[str, np.ndarray]
    one_step: dict[str, np.ndarray]
    closed_loop: dict[str, np.ndarray]
    scores: dict[str, dict[str, Any]]
    settings: Settings
    record: Experiment
    seconds: dict[str, float] = field(default_factory=dict)
    std: dict[str, np.ndarray] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns scores, gradient check, training and settings as plain values, ready for `json.dump`."""
        return {
            "test": self.scores | {"samples": len(self.time)},
            "gradient_check": self.gradients.to_dict(),
            "training": self.trained.to_dict(),
            "parameters": self.net.parameter_count,
            "topology": self.net.topology.to_dict(),
            "scaling": {name: scaler.to_dict() for name, scaler in self.scalers.items()},
            "settings": asdict(self.settings),
            "seconds": self.seconds,
            "dtype": str(np.dtype(self.net.dtype)),
            "seed": self.settings.seed,
        }


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
    if settings.trainer not in TRAINERS:
        raise LDDNError(f"trainer={settings.trainer!r} is unknown; known are {sorted(TRAINERS)}.")
    record = Experiment.of(table, inputs, targets, settings)
    columns, scalers, moment, second = record.columns, record.scalers, record.time, record.second
    say(str(record))

    key, shuffle = jax.random.split(jax.random.key(settings.seed))
    net = Network(record.topology, key=key, init=settings.init)
    say(net.summary())

    seconds: dict[str, float] = {}
    loss = losses.MeanSquaredError()
    with _Timer(seconds, "gradient_check"):
        closed = closed_over(net, record.loops)
        gradients = check_gradients(loss, closed, record.windows(0, record.held + 2 * 20, 20, closed.topology))
    say(str(gradients))

    with _Timer(seconds, "training"):
        opened, trained = TRAINERS[settings.trainer](net, record, settings, shuffle, say, progress)
    say(str(trained))

    with _Timer(seconds, "testing"):
        closed = closed_over(opened, record.loops)
        steps = len(moment) - second
        open_part = record.windows(second, len(moment), steps)
        closed_part = record.windows(second, len(moment), steps, closed.topology)
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
        net=opened,
        scalers=scalers,
        trained=trained,
        gradients=gradients,
        time=moment[second:],
        measured=measured,
        one_step=one_step,
        closed_loop=free_run,
        scores=scores,
        settings=settings,
        record=record,
        seconds=seconds,
    )
    if not isinstance(trained, Regularized):
        return found
    with _Timer(seconds, "error_bars"):
        bars = trained.posterior.predict(closed_part.inputs, closed_part.state, steps=steps)
        std = {name: np.asarray(bars.std[name])[0, :, 0] * float(scalers[name].error_scale()[0]) for name in targets}
        covered = [diagnostics.coverage(measured[name], free_run[name], std[name]) for name in targets]
        scores["closed_loop"]["coverage"] = float(np.mean(covered))
    return replace(found, std=std)


class _Timer:
    def __init__(self, seconds: dict[str, float], phase: str):
        self._seconds, self._phase = seconds, phase

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._seconds[self._phase] = time.perf_counter() - self._start


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
