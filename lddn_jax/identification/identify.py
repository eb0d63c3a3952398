"""Identification of a model from records: divide, scale, train, and score on the test part.

`experiment.py` divides and scales the records, `search.py` trains state spaces and `recipes.py` a NARX network,
`prediction/evaluator.py` evaluates the result.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from lddn_jax.checks import expect
from lddn_jax.data.reading import Reading
from lddn_jax.diagnostics.lagged import element_names
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.gradients.gradient_report import GradientReport
from lddn_jax.identification.competition import Competition
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.gradient_check import check_closed_loop
from lddn_jax.identification.recipes import TRAINERS, Regularized, Supervision, check_horizons, noted, unrepeated
from lddn_jax.identification.search import by_competition
from lddn_jax.identification.settings import Settings
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.moesp import subspace
from lddn_jax.network.committee import Model
from lddn_jax.network.network import Network
from lddn_jax.numerics.precision import computing_in, in_default_float, is_default
from lddn_jax.prediction.conformal import ConformalBands
from lddn_jax.prediction.evaluator import evaluate
from lddn_jax.prediction.forecast_result import Forecast
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.prediction.training_sampling import TrainingSampling
from lddn_jax.trainers.closed_loop import ClosedLoop
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.callbacks.time_limit import one_run
from lddn_jax.training.result import Fitted


@dataclass(frozen=True)
class Identified:
    """Result of `identify`: a trained model and its predictions of the test part.

    Attributes:
        model: A committee of state spaces, or a NARX network with its loop open, and its scalers.
        trained: Result of the training; a `Competition` of state spaces by default.
        gradients: The check of the gradient methods on the closed loop; None unless `settings.check_gradients`.
        test: Predictions of the test part: free run, persistence and the linear model, and one step ahead for a NARX
            network; with error bars for a committee and after Bayesian regularization.
        settings: The settings of the identification.
        experiment: The records, divided and scaled.
        seconds: Duration by phase: "training", "testing", and "gradient_check" and "error_bars" if they were run.
    """

    model: Scaled
    trained: Fitted | ClosedLoop | Regularized | Competition
    gradients: GradientReport | None
    test: Forecast
    settings: Settings
    experiment: Experiment
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def bands(self) -> ConformalBands | None:
        """Bands of free runs in the units of the records, from out-of-fold errors; None for a NARX network."""
        return self.model.bands

    @property
    def net(self) -> Model:
        """The network with its loop open, in scaled units."""
        return self.model.net

    def to_dict(self) -> dict[str, Any]:
        """Returns scores, bands and gradient check (or None), training and settings as plain values for `json.dump`."""
        return {
            "test": self.test.scores | {"samples": len(self.test.time)},
            "bands": None if self.bands is None else self.bands.to_dict(),
            "gradient_check": None if self.gradients is None else self.gradients.to_dict(),
            "training": self.trained.to_dict(),
            "parameters": self.net.parameter_count,
            "topology": self.net.topology.to_dict(),
            "scaling": {name: scaler.to_dict() for name, scaler in self.model.scalers.items()},
            "settings": self.settings.to_dict(),
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
    reading: Reading | None = None,
) -> Identified:
    """Identifies a model from records.

    By default it is a committee of nonlinear state spaces around a linear model, whose structure is chosen by
    cross-validation on the training and validation shares of the records; see `lddn_jax.models.state_space` and
    `lddn_jax.fit_folds`. `Settings(model="narx")` trains a NARX network over growing horizons.

    State spaces, "lm" and "br" are trained in float64, whether `jax_enable_x64` is set or not; without it the result is
    then converted to float32, so that its predictions compute in the precision of the calling program.

    Args:
        records: A `Table`, a path of a .csv or .mat file, a `lddn_jax.data.Record`, or a list of them; see `Record.of`.
            A column `time` that is not an input or target is checked for a constant sampling interval.
        inputs: Names of input columns; may be empty.
        targets: Names of the columns to predict.
        settings: See `Settings`.
        validation: Validation records, in the same forms as `records`; None: a share of `records`. For state spaces
            they are further training records, because folds hold out every part in turn.
        say: A function that is called with progress messages: lines and small tables of text.
        callbacks: As in `lddn_jax.fit`.
        checkpoint: Saves each stage of the training in its own folder.
        resume: Whether to resume from the files of `checkpoint`.
        progress: As in `lddn_jax.fit`.
        reading: How files are read; see `lddn_jax.data.Reading`.

    Returns:
        An `Identified`.

    Raises:
        DataError: If columns are missing or hold NaN where they may not, or a part is too short.
        TopologyError: If the settings give an invalid topology.
    """
    call = "identify(records, inputs, targets, settings)"
    settings = Settings() if settings is None else settings
    expect(Settings, "settings", settings, call, "settings such as lddn.Settings(hidden=5)")
    for name, given in (("inputs", inputs), ("targets", targets)):
        if isinstance(given, str):
            raise DataError(f"{name}={given!r} is one name; {call} takes a list of names: write {name}=[{given!r}].")
    if settings.trainer not in TRAINERS:
        raise LDDNError(f"trainer={settings.trainer!r} is unknown; known are {sorted(TRAINERS)}.")
    supervision = Supervision(say, callbacks, checkpoint, resume, progress)
    dtype = settings.training_dtype
    with computing_in(dtype):
        found = _identified(records, inputs, targets, settings, validation, supervision, reading)
    if not is_default(dtype):
        say(
            "trained in float64; the model is returned in float32, JAX's default: set "
            'jax.config.update("jax_enable_x64", True) to keep float64'
        )
    return in_default_float(found)


def _identified(
    records: Any,
    inputs: Sequence[str],
    targets: Sequence[str],
    settings: Settings,
    validation: Any,
    supervision: Supervision,
    reading: Reading | None,
) -> Identified:
    say = supervision.say
    experiment = Experiment.of(records, inputs, targets, settings, validation, reading)
    if settings.named is not None:
        settings = settings.with_declared(experiment.topology)
    if experiment.reading_notes:
        say("\n".join(experiment.reading_notes))
    longest_test = max(map(len, experiment.test)) - experiment.held
    if settings.warmup >= longest_test:
        raise LDDNError(f"warmup={settings.warmup}, but no test piece is longer than {longest_test} steps.")
    narx = settings.chosen_model == "narx"
    if narx:
        check_horizons(settings, experiment)
    say(str(experiment))
    for remark in experiment.remarks:
        say(remark)
    key, shuffle = jax.random.split(jax.random.key(settings.seed))
    for note in experiment.notes.values():
        say(f"note: {note}")

    seconds: dict[str, float] = {}
    gradients = None
    init, dtype = experiment.initializer(settings.init), settings.training_dtype
    net = Network(experiment.topology, key=key, init=init, dtype=dtype)
    if narx or settings.declared is not None:
        say(net.summary())
    if settings.check_gradients:
        with _Timer(seconds, "gradient_check"):
            gradients = check_closed_loop(net, experiment)
        say(str(gradients))

    with _Timer(seconds, "training"), one_run(supervision.callbacks):
        if narx:
            opened, trained = TRAINERS[settings.trainer](net, experiment, settings, shuffle, supervision)
        else:
            opened, trained = by_competition(experiment, settings, key, supervision)
    trained = noted(trained, experiment.notes)
    say(str(unrepeated(trained, experiment.notes)))

    model = Scaled(
        opened,
        dict(experiment.scalers),
        bands=_bands(experiment, trained),
        sampling=TrainingSampling.of(experiment.train),
    )
    with _Timer(seconds, "testing"):
        linear = _linear(experiment, trained)
        test = evaluate(model, experiment.test, warmup=settings.warmup, persistence=True, linear=linear)
    if isinstance(trained, Regularized):
        with _Timer(seconds, "error_bars"):
            run = test.run
            assert run is not None, "records with measured outputs have one"
            bars = trained.posterior.predict(run.inputs, run.state, steps=run.steps)
            test = replace(test, std=test.joined(model.errors_in_units(bars.std)))
    return Identified(model, trained, gradients, test, settings, experiment, seconds)


def _bands(experiment: Experiment, trained: Any) -> ConformalBands | None:
    """The bands of free runs in the units of the records; None for a network that was not trained on folds."""
    if not isinstance(trained, Competition) or trained.bands is None:
        return None
    factors = {name: np.asarray(experiment.scalers[name].error_scale(), float) for name in experiment.targets}
    return trained.bands.rescaled(
        {
            label: float(factor[k])
            for name, factor in factors.items()
            for k, label in enumerate(element_names(name, factor.size))
        }
    )


def _linear(experiment: Experiment, trained: Any) -> LinearModel | None:
    """The linear model of the training part to compare with, in the units of the records; None if it is too short."""
    chosen = trained.linear if isinstance(trained, Competition) else None
    states, feedthrough = (chosen.states, chosen.feedthrough) if chosen is not None else (None, False)
    try:
        return subspace(experiment.train, states, feedthrough=feedthrough, stabilize=True)
    except DataError:
        return None


class _Timer:
    def __init__(self, seconds: dict[str, float], phase: str):
        self._seconds, self._phase = seconds, phase

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._seconds[self._phase] = time.perf_counter() - self._start
