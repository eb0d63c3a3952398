"""Settings of `identify`, with defaults."""

import dataclasses
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from lddn_jax.bayesian.groups import labelling
from lddn_jax.checks import check_choice, check_not_negative, check_positive, is_number, is_seed
from lddn_jax.data.split import AbstractDividing, Blocks
from lddn_jax.errors import DataError, LDDNError, PrecisionError, shown
from lddn_jax.identification.declared import reads_outputs
from lddn_jax.identification.named_models import NAMED, named_reads_outputs, settings_of, topology_named
from lddn_jax.network import initializers
from lddn_jax.topology.topology import Topology

NEED_FLOAT64 = ("lm", "br")  # trainers on JᵀJ
MODELS = ("narx", "state-space")
OF_NARX_NETWORKS = ("input_delays", "feedback_delays", "linear_path")
OF_NARX_TRAINERS = ("trainer", "bayesian_epochs", "groups", "horizons", "batch_size", "learning_rate", "window")
ONLY_NARX = (*OF_NARX_NETWORKS, *OF_NARX_TRAINERS)  # settings by which the model is a NARX network if none is named


@dataclass(frozen=True)
class Settings:
    """Settings of `identify` and `compare_narx`; see also `lddn_jax.models` and `lddn_jax.fit`.

    Attributes:
        model: "state-space": nonlinear state spaces around a linear model, whose structures compete by
            cross-validation, and a committee of the best; "narx": a network that reads its past outputs; or a network
            of `lddn_jax.models` by name, such as "lstm", "gru" or "hammerstein-wiener", with the settings that it has.
            A `Topology`: that network. Both are trained as a state space is, or as a NARX network if they have an input
            `measured_y` for an output `y`. None: "state-space", or "narx" if a setting that only it has differs from
            its default.
        states: State space: number of states, or several numbers that compete. None: by the order of the best linear
            model; 2 for networks with a name.
        hidden: Number of neurons of the hidden layer. None: 10; for a state space numbers compete.
        output_hidden: State space: number of neurons of the output equation. None: 0 if `hidden` is given.
        folds: State space: number of folds of the cross-validation.
        keep: State space: number of networks of each fold in the committee.
        time_budget: State space: seconds that the training is planned for and ends after, with compilation. None: a
            plan by the size of the records, without a clock, so that results are reproducible.
        input_delays: Delays of every input column.
        feedback_delays: Delays of every measured target column.
        linear_path: Whether the tapped delay lines also feed the outputs directly. The hidden layer saturates
            outside of the training range; a linear path does not.
        init: Initializer of the weights.
        trainer: "lm", "br" or "adam".
        epochs: Steps of Levenberg-Marquardt at each horizon, or passes of Adam over the windows; None: 50, or 6000.
            State space: steps on each fold; None: by the size of the records.
        restarts: Number of networks that Levenberg-Marquardt trains side by side; None: 8, and for a state space by the
            size of the records.
        bayesian_epochs: Steps of Bayesian regularization, after Levenberg-Marquardt ("br").
        groups: Which weights share a prior ("br"); see `lddn_jax.BayesianRegularization`.
        horizons: Free-run steps of the windows, one training stage for each; None for the whole record.
        batch_size: Windows in a mini-batch ("adam").
        learning_rate: Initial learning rate ("adam"); decays to zero along a cosine.
        window: Time steps of a training window ("adam").
        train: Share of the records for training.
        validation: Share of the records for validation; the rest is the test part.
        division: Division into parts, such as `lddn_jax.data.ByRecord()`.
        missing: "error", or "mask" to allow missing targets.
        warmup: Number of steps at the start of each test piece that are not scored.
        dtype: Precision of the training, "float32" or "float64". None: float64 for "lm" and "br", which need it, and
            JAX's default float for "adam". Without `jax_enable_x64` the results of a training in float64 are converted
            to float32.
        seed: Random seed of the initial weights and of shuffling.
        check_gradients: Whether to compare the gradient methods on the closed loop before training; takes seconds.

    Raises:
        PrecisionError: If `trainer` needs float64 and `dtype` is "float32".
        LDDNError: If a setting of the training is invalid; settings of the network and the records are checked when
            these are made, before any training.
        DataError: If `train` and `validation` are not positive with a sum less than 1.
    """

    model: str | Topology | None = None
    states: int | tuple[int, ...] | None = None
    hidden: int | None = None
    output_hidden: int | None = None
    folds: int = 4
    keep: int = 3
    time_budget: float | None = None
    input_delays: tuple[int, ...] = (1, 2)
    feedback_delays: tuple[int, ...] = (1, 2)
    linear_path: bool = True
    init: str = "nguyen-widrow"
    trainer: str = "lm"
    epochs: int | None = None
    restarts: int | None = None
    bayesian_epochs: int = 1000
    groups: str = "all"
    horizons: tuple[int | None, ...] = (1, 5, 20, 100, None)
    batch_size: int = 4
    learning_rate: float = 1e-2
    window: int = 100
    train: float = 0.7
    validation: float = 0.15
    division: AbstractDividing = field(default_factory=Blocks)
    missing: str = "error"
    warmup: int = 0
    dtype: str | None = None
    seed: int = 0
    check_gradients: bool = False

    def __post_init__(self):
        initializers.get(self.init)
        labelling(self.groups)
        optional = [name for name in ("epochs", "restarts") if getattr(self, name) is not None]
        for name in ("bayesian_epochs", "batch_size", "window", "folds", "keep", *optional):
            check_positive(name, getattr(self, name))
        self._check_model()
        check_positive("learning_rate", self.learning_rate, numbers.Real)
        check_not_negative("warmup", self.warmup, int)
        if not isinstance(self.check_gradients, bool):
            raise LDDNError(
                f"check_gradients={self.check_gradients!r} is neither True nor False; write check_gradients=True to "
                "compare the gradient methods before training."
            )
        if str(self.dtype) not in ("None", "float32", "float64"):  # arrays cannot be looked up in a tuple
            raise LDDNError(f'dtype={self.dtype!r}; write dtype="float64", dtype="float32", or None for the default.')
        if str(self.dtype) == "float32" and self.trainer in NEED_FLOAT64:
            raise PrecisionError(
                f'dtype="float32" has too few digits for trainer={self.trainer!r}, because JᵀJ squares the condition '
                'number. Omit dtype, to train in float64 whatever JAX\'s default is; or write trainer="adam".'
            )
        steps = self.horizons if isinstance(self.horizons, tuple | list) else ()
        if not steps or not all(h is None or is_number(h, int, above=0) for h in steps):
            raise LDDNError(
                f"horizons={self.horizons!r} must be positive numbers of steps, or None for the whole record: "
                "horizons=(1, 5, 20, None)."
            )
        if not is_seed(self.seed):
            raise LDDNError(f"seed={shown(self.seed)} is not a seed of random numbers; write a whole number, seed=1.")
        shares = self.train, self.validation
        if not all(isinstance(s, numbers.Real) and s > 0 for s in shares) or not sum(shares) < 1:
            raise DataError(
                f"train={self.train} and validation={self.validation} are shares of the records; both must be "
                "positive, and their sum less than 1, because the rest is the test part."
            )

    def _check_model(self):
        if self.declared is not None or self.named is not None:
            self._check_declared()
        elif self.model is not None:
            check_choice("model", self.model, (*MODELS, *NAMED))
        own = ("states", "output_hidden", "time_budget")
        given = [name for name in own if getattr(self, name) is not None and name not in self._of_declaration]
        if self.chosen_model == "narx" and given:
            raise LDDNError(
                f'{given[0]}={getattr(self, given[0])!r} is a setting of model="state-space", and the model is a NARX '
                f"network{self._why_narx}. Leave out one of them."
            )
        if self.chosen_model == "state-space" and self.trainer != "lm":
            raise LDDNError(
                f'trainer={self.trainer!r} trains model="narx"; a state space is trained by Levenberg-Marquardt. Leave '
                "out one of them."
            )
        if self.folds < 2:
            raise LDDNError(f"folds={self.folds}: one fold would hold out everything; write folds=4.")
        for name in ("hidden", "output_hidden"):
            if (value := getattr(self, name)) is not None:
                check_not_negative(name, value, int)
        if self.time_budget is not None:
            check_positive("time_budget", self.time_budget, numbers.Real)
        if self.states is not None:
            for number in self.orders or (0,):
                check_positive("states", number)

    def _check_declared(self):
        fields = {field.name: field for field in dataclasses.fields(self)}
        others = ["trainer", "bayesian_epochs", "groups", "horizons", "batch_size", "learning_rate", "window"]
        taken = () if self.chosen_model == "narx" else tuple(others)
        for name in ("states", "hidden", "output_hidden", *ONLY_NARX[:3], *taken):
            if getattr(self, name) != fields[name].default and name not in self._of_declaration:
                why = (
                    "trains a network that reads measured outputs, and the declared one has no input measured_y"
                    if name in taken
                    else "is part of a network's declaration"
                    if self.named is None
                    else f"is no setting of model={self.named!r}, which has {list(self._of_declaration)}"
                )
                raise LDDNError(f"{name}={getattr(self, name)!r} {why}. Leave it out, or declare the network with it.")
        if self.named is not None and len(self.orders or (0,)) > 1:
            raise LDDNError(
                f'states={self.states!r}: several numbers compete for model="state-space" only; model={self.named!r} '
                f"has one. Write states={self.states[0] if isinstance(self.states, tuple) else self.states}."
            )

    @property
    def declared(self) -> Topology | None:
        """The network that is declared; None for one that follows from the other settings."""
        return self.model if isinstance(self.model, Topology) else None

    @property
    def named(self) -> str | None:
        """The name of a network that is declared for the signals of the records; None for others."""
        return self.model if isinstance(self.model, str) and self.model in NAMED else None

    @property
    def _of_declaration(self) -> tuple[str, ...]:
        """The settings that the declaration of a network with a name has."""
        if self.named is None:
            return ()
        own = ("states", "hidden", "output_hidden", *OF_NARX_NETWORKS)
        return tuple(name for name in own if name in settings_of(self.named))

    def topology_for(self, inputs: Mapping[str, int], targets: Mapping[str, int]) -> Topology:
        """Returns the network with a name, declared for signals of given sizes.

        Args:
            inputs: Sizes of the inputs by name.
            targets: Sizes of the targets by name.

        Raises:
            TopologyError: If the declaration is invalid.
        """
        assert self.named is not None, "a network with a name"
        given = {name: getattr(self, name) for name in self._of_declaration if getattr(self, name) is not None}
        if self.orders is not None:
            given["states"] = self.orders[0]
        return topology_named(self.named, inputs, targets, given)

    def with_declared(self, topology: Topology) -> "Settings":
        """Returns the settings with a topology in place of a name, and of what it was declared from."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: fields[name] for name in self._of_declaration}, model=topology)

    @property
    def chosen_model(self) -> str:
        """How the model is trained: on folds as a "state-space", or over growing horizons as a "narx"."""
        if isinstance(self.model, Topology):
            return "narx" if reads_outputs(self.model) else "state-space"
        if self.named is not None:
            return "narx" if named_reads_outputs(self.named) else "state-space"
        return self.model or ("narx" if self._why_narx else "state-space")

    @property
    def _why_narx(self) -> str:
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name in ONLY_NARX:
            if getattr(self, name) != fields[name].default:
                return f" because of {name}={getattr(self, name)!r}"
        return ' by model="narx"' if self.model == "narx" else ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain values for `json.dump`."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        declared = {} if self.declared is None else {"model": self.declared.to_dict()}
        return found | {"division": repr(self.division)} | declared

    @property
    def orders(self) -> tuple[int, ...] | None:
        """The numbers of states that compete; None for those around the best linear model."""
        return (self.states,) if isinstance(self.states, int) else self.states

    @property
    def narx_hidden(self) -> int:
        """Number of neurons of a NARX network."""
        return 10 if self.hidden is None else self.hidden

    @property
    def narx_restarts(self) -> int:
        """Number of networks trained side by side over growing horizons."""
        return 8 if self.restarts is None else self.restarts

    @property
    def training_dtype(self) -> np.dtype:
        """The dtype of the network in training."""
        if self.dtype is None and self.trainer not in NEED_FLOAT64:
            return np.dtype(jnp.result_type(float))
        return np.dtype(self.dtype or "float64")
