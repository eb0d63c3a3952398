"""Training recipes for a NARX network: `lm`, `br` and `adam`.

- `lm`: Levenberg-Marquardt on several networks at once, first with the loop open and then closed over growing horizons;
  returns the network with the smallest free-run error on the validation part, over all restarts and horizons.
- `br`: continues from the result of `lm` at its best horizon with Bayesian regularization, on the training and
  validation parts together, because the evidence needs no held-out data. Gives error bars for the free run.
- `adam`: Adam with the loop open, on windows whose delay states come from the record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optax
from jaxtyping import PRNGKeyArray

from lddn_jax import losses
from lddn_jax.bayesian.bayesian import BayesianRegularization
from lddn_jax.bayesian.posterior import Posterior, posterior
from lddn_jax.data.records import Record
from lddn_jax.errors import DataError
from lddn_jax.identification.experiment import Experiment
from lddn_jax.identification.settings import Settings
from lddn_jax.network.network import Network
from lddn_jax.network.rewiring import closed_over, opened_at
from lddn_jax.prediction.free_run import free_run
from lddn_jax.trainers.closed_loop import ClosedLoop, fit_closed_loop
from lddn_jax.trainers.first_order import Optax
from lddn_jax.trainers.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.fit import fit
from lddn_jax.training.history import History
from lddn_jax.training.result import Fitted, divergence_first
from lddn_jax.training.state_parameters import network_of
from lddn_jax.training.stop_reason import Flag, StopReason

LEAST_SHARE = 0.5  # smallest share of the training samples in pieces that are long enough for a horizon


@dataclass(frozen=True)
class Supervision:
    """Messages, callbacks and checkpoints of a training.

    Attributes:
        say: A function that is called with progress messages.
        callbacks: As in `lddn_jax.fit`.
        checkpoint: Saves each stage of the training in its own folder.
        resume: Whether to resume from the files of `checkpoint`.
        progress: As in `lddn_jax.fit`.
    """

    say: Callable[[str], None] = lambda text: None
    callbacks: Sequence[Any] = ()
    checkpoint: Checkpoint | None = None
    resume: bool = False
    progress: bool | None = None

    def of(self, part: str) -> dict[str, Any]:
        """Returns the arguments of `fit` for one stage of the training."""
        own = None if self.checkpoint is None else self.checkpoint.within(part)
        return {
            "callbacks": self.callbacks if own is None else (*self.callbacks, own),
            "resume": own.saved if own is not None and self.resume else None,
            "progress": self.progress,
        }


@dataclass(frozen=True)
class Regularized:
    """Result of `br`: Levenberg-Marquardt over growing horizons, then Bayesian regularization.

    Attributes:
        before: Result of Levenberg-Marquardt.
        after: Result of Bayesian regularization, with the loop closed.
        posterior: Posterior of the closed loop, in scaled units.
        horizon: Free-run steps of a window; None for the whole record.
    """

    before: ClosedLoop
    after: Fitted
    posterior: Posterior
    horizon: int | None

    @property
    def flags(self) -> frozenset[str]:
        """What is remarkable about data and result, as in `lddn_jax.Fitted`."""
        return self.after.flags

    @property
    def notes(self) -> Mapping[str, str]:
        """Sentences on data and result, by name of their flag."""
        return self.after.notes

    @property
    def stop_reason(self) -> StopReason:
        """Why Bayesian regularization stopped."""
        return self.after.stop_reason

    @property
    def history(self) -> History:
        """Training history of Bayesian regularization."""
        return self.after.history

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values for `json.dump`."""
        after = self.after.to_dict() | {"horizon": self.horizon}
        return {"before": self.before.to_dict(), "after": after, "posterior": self.posterior.to_dict()}

    def __str__(self):
        first, rest = divergence_first(self.notes)
        before = replace(self.before, notes={})  # which `after` repeats
        after = replace(self.after, notes=rest, flags=self.flags - {Flag.FREE_RUN_DIVERGES})
        return "\n".join([*first, f"{before}\n\nBayesian regularization: {after}\n{self.posterior}"])


def noted(found: Any, notes: Mapping[str, str]) -> Any:
    """Returns the result of a training, of any kind, with more notes."""
    if not notes:
        return found
    if isinstance(found, Regularized):
        return replace(found, after=noted(found.after, notes))
    more = {**found.notes, **notes}
    return replace(found, notes=more, **({"flags": found.flags.union(more)} if isinstance(found, Fitted) else {}))


def unrepeated(found: Any, said: Mapping[str, str]) -> Any:
    """Returns a result for printing without what was said before training: notes, and pieces that are left out.

    Args:
        found: Result of the training, of any kind.
        said: Notes that were printed, by name of their flag.
    """
    if isinstance(found, Regularized):
        return replace(found, before=unrepeated(found.before, said), after=unrepeated(found.after, said))
    rest = {flag: note for flag, note in found.notes.items() if flag not in said}
    if isinstance(found, Fitted):
        return replace(found, notes=rest, flags=found.flags.difference(said))
    if isinstance(found, ClosedLoop):
        return replace(found, notes=rest, stages=tuple(replace(stage, left_out=0) for stage in found.stages))
    return replace(found, notes=rest)


def by_adam(
    net: Network,
    experiment: Experiment,
    settings: Settings,
    key: PRNGKeyArray,
    supervision: Supervision,
) -> tuple[Network, Fitted]:
    """Trains by `adam`; returns the network with its loop open, and the result of the training."""
    training = experiment.cut(experiment.scaled_train, settings.window)
    epochs = settings.epochs or 6000
    batch_size = min(settings.batch_size, training.batch[0])
    updates = epochs * -(-training.batch[0] // batch_size)
    trainer = Optax(optax.adam(optax.cosine_decay_schedule(settings.learning_rate, updates)), batch_size)
    supervision.say(f"training: Adam, {epochs} epochs of {training.batch[0]} windows of {settings.window} steps")
    fitted = fit(
        net,
        training,
        losses.MeanSquaredError(),
        trainer,
        epochs=epochs,
        validation=experiment.cut(experiment.scaled_validation, None),
        max_fail=epochs,  # never stop early: the learning rate schedule ends at zero
        key=key,
        **supervision.of("adam"),
    )
    return _steady_of(fitted, experiment)


def _steady_of(fitted: Fitted, experiment: Experiment) -> tuple[Network, Fitted]:
    """Returns the network of a fit whose free run does not diverge on its own records, and the fit with a note if none.

    The network with the smallest validation loss comes first, then that with the smallest training loss and the last.
    """
    t = fitted.training
    assert t is not None, "a fit that has ended holds its training state"
    net = first_steady([fitted.net, network_of(t.lowest.trained), network_of(t.trained)], experiment)
    if net is None:
        return fitted.net, noted(fitted, _divergence(diverges_at(fitted.net, experiment)))
    return net, fitted if net is fitted.net else replace(fitted, net=net)


def first_steady(nets: Sequence[Network], experiment: Experiment) -> Network | None:
    """Returns the first network whose free run does not diverge on the training and validation part, or None."""
    return next((net for net in nets if diverges_at(net, experiment) is None), None)


def _divergence(step: int | None) -> dict[str, str]:
    return {
        str(Flag.FREE_RUN_DIVERGES): f"THE FREE RUN DIVERGES on the network's own records, at step {step}. Use it with "
        "its loop open only, or train over growing horizons (lm), with fewer neurons, or from another seed"
    }


def diverges_at(net: Network, experiment: Experiment) -> int | None:
    """Returns the first step at which the free run diverges on the training or validation part; None if it does not.

    Args:
        net: The network with its loop open.
        experiment: The records.
    """
    closed = closed_over(net, experiment.loops)
    steps = [
        free_run(closed, experiment.cut(part, None, closed.topology))[1]
        for part in (experiment.scaled_train, experiment.scaled_validation)
    ]
    return next((step for step in steps if step is not None), None)


def by_levenberg_marquardt(net, experiment, settings, key, supervision) -> tuple[Network, ClosedLoop]:
    """Trains by `lm`; returns the network with its loop open, and the result of the training."""
    horizons = _horizons(settings, experiment)
    for line in _about_horizons(settings, experiment):
        supervision.say(line)
    epochs = settings.epochs or 50
    several = "1 network" if settings.narx_restarts == 1 else f"{settings.narx_restarts} networks at once"
    shown = ", ".join("all" if h is None else str(h) for h in horizons)
    supervision.say(f"training: Levenberg-Marquardt, {several}, {epochs} steps at each horizon: {shown}")
    found = fit_closed_loop(
        net,
        experiment.scaled_train,
        LevenbergMarquardt(restarts=settings.narx_restarts, init_of_restarts=experiment.initializer(settings.init)),
        horizons,
        validation=experiment.scaled_validation,
        epochs=epochs,
        key=key,
        callbacks=supervision.callbacks,
        checkpoint=supervision.checkpoint,
        resume=supervision.resume,
        progress=supervision.progress,
    )
    return found.opened, found


def check_horizons(settings: Settings, experiment: Experiment) -> None:
    """Raises a DataError if the trainer needs horizons and all of them are longer than most of the training part."""
    if settings.trainer != "adam" and not _horizons(settings, experiment):
        longest = max(map(len, experiment.train)) - experiment.held
        raise DataError(
            f"horizons={settings.horizons}, but the longest training piece has {longest} steps, and too few samples "
            f"are in pieces of {min(h for h in settings.horizons if h)} steps; write horizons=(1, 5, None), on the "
            "command line --horizons 1,5,all, or use longer records."
        )


def _horizons(settings: Settings, experiment: Experiment) -> list[int | None]:
    """The horizons for which most of the training samples are in pieces that are long enough."""
    return [h for h in settings.horizons if h is None or _share(experiment, h) >= LEAST_SHARE]


def _about_horizons(settings: Settings, experiment: Experiment) -> list[str]:
    """What is left out of which horizon, in words."""
    kept, lines, pieces = _horizons(settings, experiment), [], len(experiment.train)
    for h in settings.horizons:
        if h is None or _share(experiment, h) == 1:
            continue
        short = sum(not _holds(experiment, piece, h) for piece in experiment.train)
        rest = (
            "left out of it" if h in kept else "hold most of the samples, so that the training leaves this horizon out"
        )
        lines.append(f"horizon {h}: {short} of {pieces} training pieces are shorter, and {rest}")
    return lines


def _share(experiment: Experiment, horizon: int) -> float:
    """Share of the training samples in pieces that are long enough for a horizon."""
    long = sum(len(piece) for piece in experiment.train if _holds(experiment, piece, horizon))
    return long / sum(map(len, experiment.train))


def _holds(experiment: Experiment, piece: Record, horizon: int) -> bool:
    return len(piece) - experiment.held >= horizon


def by_bayesian_regularization(net, experiment, settings, key, supervision) -> tuple[Network, Regularized | ClosedLoop]:
    """Trains by `br`; returns the network with its loop open, and the result.

    That is a `ClosedLoop` if training was cut short, or if only Levenberg-Marquardt gave a network whose free run does
    not diverge on its own records.
    """
    opened, before = by_levenberg_marquardt(net, experiment, settings, key, supervision)
    if before.stop_reason.cut_short:
        return opened, before
    horizon = before.stages[before.best_stage].horizon
    closed = closed_over(opened, experiment.loops)
    needed = experiment.held + (horizon or 1)
    records = [record for record in (*experiment.scaled_train, *experiment.scaled_validation) if len(record) >= needed]
    data = experiment.cut(records, horizon, closed.topology)
    epochs = settings.bayesian_epochs
    free = "the whole record" if horizon is None else f"{horizon} step{'s' if horizon > 1 else ''}"
    supervision.say(f"training: Bayesian regularization, {epochs} steps, free runs over {free}")
    trainer = BayesianRegularization(groups=settings.groups)
    more = supervision.of("bayesian")
    after = fit(closed, data, losses.MeanSquaredError(), trainer, epochs=epochs, key=key, **more)
    regularized = opened_at(after.net, experiment.loops)
    step = diverges_at(regularized, experiment)
    if step is not None and Flag.FREE_RUN_DIVERGES not in before.notes:
        note = (
            f"the free run of the regularized network diverges at step {step} of its own records, so the network "
            "before Bayesian regularization is returned, without error bars"
        )
        return opened, noted(before, {str(Flag.REGULARIZED_DIVERGES): note})
    after = after if step is None else noted(after, _divergence(step))
    return regularized, Regularized(before, after, posterior(after, data), horizon)


TRAINERS: dict[str, Callable[..., tuple[Network, Any]]] = {
    "lm": by_levenberg_marquardt,
    "br": by_bayesian_regularization,
    "adam": by_adam,
}
