"""From records to a judged NARX network: the recipe that the command line follows.

The network is trained, then tested twice on each piece of the test part: one step ahead, and in a free run with its
loop closed, which starts from measured values and never sees another. Persistence, y(t) = y(t−1), is what any model has
to beat.

How records are divided and scaled is in `experiment.py`, how the network is trained in `recipes.py`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from lddn_jax import diagnostics
from lddn_jax.checks import expect
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.gradients.gradient_report import GradientReport
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.gradient_check import check_closed_loop
from lddn_jax.identification.recipes import TRAINERS, Regularized, Supervision, check_horizons
from lddn_jax.identification.settings import Settings
from lddn_jax.network.network import Network
from lddn_jax.network.rewiring import closed_over
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.simulate import predict
from lddn_jax.trainers.closed_loop import ClosedLoop
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.result import Fitted


@dataclass(frozen=True)
class Identified:
    """A trained network and how it did on the test part.

    Attributes:
        model: The network with its loop open, and its scalers.
        trained: What training returned.
        gradients: The check of the gradient methods on the closed loop; None unless `settings.check_gradients`.
        time: `(time,)` of the test part, its pieces one after the other; `measured`, `one_step` and `closed_loop` by
            target belong to it.
        scores: "one_step", "closed_loop" and "persistence", each with `rmse` and `r2` in the record's units (None where
            the prediction left the finite numbers, with the first such step as `diverged_at`).
        experiment: The records it was identified from, divided and scaled.
        seconds: By phase: "training", "testing", and "gradient_check" and "error_bars" where there are any.
        std: `(time,)` by target: the standard deviation of a measurement in the closed loop, in the record's units.
            Empty unless trained by Bayesian regularization.
    """

    model: Scaled
    trained: "Fitted | ClosedLoop | Regularized"
    gradients: GradientReport | None
    time: Float[np.ndarray, " time"]
    measured: dict[str, Float[np.ndarray, " time"]]
    one_step: dict[str, Float[np.ndarray, " time"]]
    closed_loop: dict[str, Float[np.ndarray, " time"]]
    scores: dict[str, dict[str, Any]]
    settings: Settings
    experiment: Experiment
    seconds: dict[str, float] = field(default_factory=dict)
    std: dict[str, Float[np.ndarray, " time"]] = field(default_factory=dict)

    @property
    def net(self) -> Network:
        """The network with its loop open, in scaled units."""
        return self.model.net

    def to_dict(self) -> dict[str, Any]:
        """Returns scores, gradient check (or None), training and settings as plain values, ready for `json.dump`."""
        return {
            "test": self.scores | {"samples": len(self.time)},
            "gradient_check": None if self.gradients is None else self.gradients.to_dict(),
            "training": self.trained.to_dict(),
            "parameters": self.net.parameter_count,
            "topology": self.net.topology.to_dict(),
            "scaling": {name: scaler.to_dict() for name, scaler in self.model.scalers.items()},
            "settings": asdict(self.settings) | {"division": repr(self.settings.division)},
            "seconds": self.seconds,
            "dtype": str(np.dtype(self.net.dtype)),
            "seed": self.settings.seed,
        }


def identify(
    records: Any,
    inputs: Sequence[str],
    targets: Sequence[str],
    settings: Settings | None = None,
    *,
    validation: Any = None,
    say: Callable[[str], None] = lambda text: None,
    callbacks: Sequence[Any] = (),
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Identified:
    """Identifies a NARX network from records.

    Args:
        records: A `Table`, a path of a .csv or .mat file, a `lddn_jax.data.Record`, or a list of them; see `Record.of`.
            A column `time` that is not an input or target is checked for even sampling.
        inputs: Names of input columns; may be empty.
        targets: Names of the columns to predict.
        settings: See `Settings`.
        validation: Records that validate, likewise; None: a share of those above.
        say: Is told what is going on, a line or a small table at a time.
        callbacks: As in `lddn_jax.fit`.
        checkpoint: Saves every part of the training in a folder of its own.
        resume: Whether to go on from what `checkpoint` saved.
        progress: As in `lddn_jax.fit`.

    Returns:
        An `Identified`.

    Raises:
        DataError: If columns are missing or hold NaN where they may not, or a part is too short.
        TopologyError: If settings describe no network.
    """
    call = "identify(records, inputs, targets, settings)"
    settings = Settings() if settings is None else settings
    expect(Settings, "settings", settings, call, "settings such as lddn.Settings(hidden=5)")
    for name, given in (("inputs", inputs), ("targets", targets)):
        if isinstance(given, str):
            raise DataError(f"{name}={given!r} is one name; {call} takes a list of them: write {name}=[{given!r}].")
    if settings.trainer not in TRAINERS:
        raise LDDNError(f"trainer={settings.trainer!r} is unknown; known are {sorted(TRAINERS)}.")
    experiment = Experiment.of(records, inputs, targets, settings, validation)
    longest_test = max(map(len, experiment.test)) - experiment.held
    if settings.warmup >= longest_test:
        raise LDDNError(f"warmup={settings.warmup}, but no test piece is longer than {longest_test} steps.")
    check_horizons(settings, experiment)
    say(str(experiment))
    key, shuffle = jax.random.split(jax.random.key(settings.seed))
    dtype = None if settings.dtype is None else np.dtype(settings.dtype)
    net = Network(experiment.topology, key=key, init=settings.init, dtype=dtype)
    say(net.summary())

    seconds: dict[str, float] = {}
    gradients = None
    if settings.check_gradients:
        with _Timer(seconds, "gradient_check"):
            gradients = check_closed_loop(net, experiment)
        say(str(gradients))

    with _Timer(seconds, "training"):
        supervision = Supervision(say, callbacks, checkpoint, resume, progress)
        opened, trained = TRAINERS[settings.trainer](net, experiment, settings, shuffle, supervision)
    say(str(trained))

    with _Timer(seconds, "testing"):
        model = Scaled(opened, dict(experiment.scalers))
        closed = closed_over(opened, experiment.loops)
        open_part = experiment.cut(experiment.test, None)
        closed_part = experiment.cut(experiment.test, None, closed.topology)
        steps = [len(record) - experiment.held for record in experiment.test]
        one_step, free_run = (
            _joined(model.in_units(predict(net, part.inputs, part.state, steps=part.steps)), steps)
            for net, part in ((opened, open_part), (closed, closed_part))
        )
        known = [{name: record.targets[name] for name in experiment.targets} for record in experiment.test]
        measured = _joined(_stacked(known, experiment.held, 0), steps)
        before = _joined(_stacked(known, experiment.held - 1, 1), steps)
        scored = np.concatenate([np.arange(count) >= settings.warmup for count in steps])
        scores = {
            name: _score({k: np.where(scored, y, np.nan) for k, y in measured.items()}, predicted)
            for name, predicted in (("one_step", one_step), ("closed_loop", free_run), ("persistence", before))
        }
    found = Identified(
        model=model,
        trained=trained,
        gradients=gradients,
        time=_moments(experiment, steps),
        measured=measured,
        one_step=one_step,
        closed_loop=free_run,
        scores=scores,
        settings=settings,
        experiment=experiment,
        seconds=seconds,
    )
    if not isinstance(trained, Regularized):
        return found
    with _Timer(seconds, "error_bars"):
        bars = trained.posterior.predict(closed_part.inputs, closed_part.state, steps=closed_part.steps)
        std = _joined(model.errors_in_units(bars.std), steps)
        covered = [diagnostics.coverage(measured[k][scored], free_run[k][scored], std[k][scored]) for k in measured]
        scores["closed_loop"]["coverage"] = float(np.mean(covered))
    return replace(found, std=std)


class _Timer:
    def __init__(self, seconds: dict[str, float], phase: str):
        self._seconds, self._phase = seconds, phase

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._seconds[self._phase] = time.perf_counter() - self._start


def _stacked(known: Sequence[Mapping[str, np.ndarray]], start: int, before_end: int) -> dict[str, list[np.ndarray]]:
    """Rows of every piece, from `start` on and without the last ones, by target."""
    return {name: [piece[name][start : len(piece[name]) - before_end] for piece in known] for name in known[0]}


def _joined(outputs: Mapping[str, Any], steps: Sequence[int]) -> dict[str, np.ndarray]:
    """The pieces of a part one after the other, without what fills them up: `(time,)` by target or element of one."""
    whole = {
        name: np.concatenate([np.asarray(piece)[:count] for piece, count in zip(pieces, steps, strict=True)])
        for name, pieces in outputs.items()
    }
    return {name: signal[:, 0] for name, signal in channels(whole).items()}


def _moments(experiment: Experiment, steps: Sequence[int]) -> np.ndarray:
    """The instants of one test piece; of several, or where they are not known, numbers of samples."""
    only = experiment.test[0]
    if len(experiment.test) > 1 or only.time is None:
        return np.arange(sum(steps), dtype=float)
    return np.asarray(only.time[experiment.held :])


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
