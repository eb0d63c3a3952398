"""Training by cross-validation: networks on the folds of records, and a committee of the best of all folds.

    fold k           masks its blocks, simulates through them, and keeps of each restart the step with the smallest error
                     there
    out of fold      the predictions of all blocks by the networks that did not see them; their error is the estimate of
                     the error on new data
    committee        the best `keep` networks of each fold, trained for `refit` more steps on everything

Every sample is used for training, and every sample is predicted by networks that were not trained on it. A network that
became worse by the steps on everything is replaced by that of its fold: its output is compared under inputs scaled by
1.5, −1.5 and 2 and reversed in time, outside of the range that it was trained in.

Stone (1974), Journal of the Royal Statistical Society B 36(2); Krogh & Vedelsby (1995), NIPS 7, for committees of
networks from different folds.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from lddn_jax.checks import check_key, check_positive, expect
from lddn_jax.data.fold_blocks import FoldData, Folds
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.starts import AbstractStart
from lddn_jax.errors import LDDNError
from lddn_jax.losses import AbstractLoss, MeanSquaredError
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.simulate import predict
from lddn_jax.trainers.initial_state import estimate_state
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.callbacks.time_limit import one_run
from lddn_jax.training.fit import fit
from lddn_jax.training.result import Fitted
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.trainer import AbstractTrainer

CALL = "fit_folds(net, folds, trainer)"
STRESSES = ((1.5, 1), (-1.5, 1), (2.0, 1), (1.0, -1))  # factor of the inputs, and direction of time
LARGEST_GROWTH = 3.0  # of the largest output under stress by training on everything

# First states of the layers for all sequences of a fold; with the axis of restarts, one set for each.
FirstStates = Callable[[int | None, Sequences], DelayState]


@dataclasses.dataclass(frozen=True)
class CrossValidated:
    """Result of `fit_folds`.

    Attributes:
        folds: The folds.
        fits: Result of the training on each fold.
        kept: Numbers of the restarts that were kept, best first, by fold.
        members: The networks of the committee, stacked: the best of each fold, after the training on everything.
        refitted: Result of the training on everything; None if there was none.
        replaced: Numbers of the members for which the network of the fold was kept in place of the refitted one.
        predictions: Out-of-fold predictions for each record, by output layer; NaN where no block was predicted.
        seconds: Duration.
    """

    folds: Folds
    fits: tuple[Fitted, ...]
    kept: tuple[tuple[int, ...], ...]
    members: Network
    refitted: Fitted | None
    replaced: tuple[int, ...]
    predictions: tuple[Mapping[str, Float[np.ndarray, "time size=_"]], ...]
    seconds: float

    @property
    def errors(self) -> dict[str, Float[np.ndarray, "time size=_"]]:
        """Measured − predicted out of fold, all records one after the other, by output layer; NaN if unknown."""
        pairs = list(zip(self.folds.records, self.predictions, strict=True))
        return {name: np.concatenate([r.targets[name] - p[name] for r, p in pairs]) for name in self.predictions[0]}

    @property
    def error(self) -> float:
        """Root mean square of the out-of-fold errors over all outputs, the estimate of the error on new data."""
        return _root_mean_square(self.errors)

    @property
    def fold_errors(self) -> tuple[float, ...]:
        """Root mean square of the errors in the blocks of each fold."""
        found = []
        for fold in range(self.folds.count):
            inside = [_held_rows(self.folds, fold, record) for record in range(len(self.folds.records))]
            rows = np.concatenate(inside)
            found.append(_root_mean_square({name: error[rows] for name, error in self.errors.items()}))
        return tuple(found)

    @property
    def stop_reason(self) -> StopReason:
        """Why the last training stopped."""
        return (self.fits[-1] if self.refitted is None else self.refitted).stop_reason

    def __str__(self):
        errors = ", ".join(f"{error:.4g}" for error in self.fold_errors)
        of_each = f"{len(self.kept[0])} of each fold" if self.kept else "none"
        return f"out-of-fold error {self.error:.4g} (folds {errors}); {of_each} kept; {self.seconds:.1f} s"


def fit_folds(
    net: Network | Sequence[Network],
    folds: Folds,
    trainer: AbstractTrainer,
    *,
    loss: AbstractLoss | None = None,
    epochs: int = 60,
    keep: int = 3,
    refit: int = 30,
    max_fail: int = 60,
    windows: Sequence[int] = (),
    window_epochs: int = 25,
    start: AbstractStart | None = None,
    first_states: FirstStates | None = None,
    key: PRNGKeyArray | None = None,
    callbacks: Sequence[Any] = (),
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> CrossValidated:
    """Trains a network on each fold, keeps the best steps of the best restarts, and trains these on everything.

    Args:
        net: The initial network, beside which the trainer draws others; or stacked networks, one for each restart; or
            a list of these, one for each fold.
        folds: From `lddn_jax.data.folds`, in the units of the network.
        trainer: For example `LevenbergMarquardt(restarts=8)`.
        loss: `MeanSquaredError()` if None.
        epochs: Maximum number of steps on each fold.
        keep: Number of networks that are kept of each fold.
        refit: Number of steps of these networks on all of the records; 0 for none.
        max_fail: Training on a fold stops for a restart after this many steps without a smaller error in the held-out
            blocks. A start from a linear model first raises that error, so small numbers return the linear model.
        windows: Numbers of samples of windows, increasing, that networks are trained on before they are trained on
            whole stretches, each window with a first state of its own. The error of short windows is a smoother
            function of the weights (Ribeiro et al. 2020), which plants far from linear need.
        window_epochs: Number of steps on the windows of each length.
        start: How sequences start, `lddn_jax.data.Trained()` if None.
        first_states: Function from the number of a fold (None for everything) and its sequences to the first states to
            start from, as `initial_state` of `lddn_jax.fit`.
        key: As in `fit`.
        callbacks: As in `fit`; they are called on every fold.
        checkpoint: Saves the training on each fold in a subfolder of its folder.
        resume: Whether to resume from the checkpoints, where there are some.
        progress: As in `fit`.

    Returns:
        `CrossValidated`. If training is cut short, the folds so far are returned.

    Raises:
        LDDNError: If an argument is invalid, or there are not as many networks as folds.
        DataError: If a record is too short.

    Example:
        >>> import jax, numpy as np, lddn_jax as lddn
        >>> u = np.random.default_rng(0).uniform(-1, 1, (120, 1))
        >>> y = np.zeros((120, 1))
        >>> for t in range(1, 120):
        ...     y[t] = 0.7 * np.tanh(y[t - 1]) + u[t - 1]
        >>> net = lddn.Network(lddn.models.state_space({"u": 1}, {"y": 1}, states=1, hidden=2), key=jax.random.key(0))
        >>> trainer = lddn.LevenbergMarquardt(restarts=2, allow_float32=True)
        >>> folds = lddn.data.folds(lddn.data.Record({"u": u}, {"y": y}), 3)
        >>> found = lddn.fit_folds(net, folds, trainer, epochs=15, keep=1, refit=2)
        >>> bool(found.error < 0.3 * y.std()), found.members.b["y"].shape
        (True, (3, 1))
    """
    expect(AbstractTrainer, "trainer", trainer, CALL, "a trainer, such as lddn.LevenbergMarquardt(restarts=8)")
    expect(Folds, "folds", folds, CALL, "the folds of records, such as lddn.data.folds(records, 4)")
    for name, value in (("epochs", epochs), ("keep", keep), ("max_fail", max_fail)):
        check_positive(name, value)
    if keep > trainer.restarts:
        raise LDDNError(
            f"fit_folds: keep={keep}, but the trainer has restarts={trainer.restarts}; write keep={trainer.restarts} or "
            f"restarts={keep}."
        )
    nets = list(net) if isinstance(net, Sequence) else [net] * folds.count
    if len(nets) != folds.count:
        raise LDDNError(f"fit_folds: {len(nets)} networks for {folds.count} folds; pass one network, or one for each.")
    for one in nets:
        check_network(one, CALL, several=True)
    if key is not None:
        check_key(key)
    key = jax.random.key(0) if key is None else key
    saving = functools.partial(_Saving, tuple(callbacks), checkpoint, resume)
    topology, loss = nets[0].topology, loss or MeanSquaredError()
    begun, fits, kept, members, blocks = time.perf_counter(), [], [], [], []
    with one_run(callbacks):
        for number, one in enumerate(nets):
            fold = folds.data(topology, number, start)
            run = _Run(loss, trainer, jax.random.fold_in(key, number), saving(f"fold_{number}"), progress)
            begins = None if first_states is None else functools.partial(first_states, number)
            cuts = [folds.windows(topology, number, window, start) for window in windows]
            one, state, last = run.over_windows(one, cuts, window_epochs, begins)
            state = _carried_over(state, last, fold, begins)
            fitted = run.fitted(one, fold.train, state, epochs, validation=fold.validation, max_fail=max_fail)
            order = np.argsort(fitted.restart_values, kind="stable")[:keep]
            chosen, states = _chosen(fitted, order)
            outputs = outputs_of_members(chosen, fold.train, states)
            blocks.append(folds.gathered(fold, middle(outputs)))
            fits.append(fitted)
            kept.append(tuple(order.tolist()))
            members.append(chosen)
            if fitted.stop_reason.cut_short:
                break
        stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *members)
        refitted, replaced, after = None, (), stacked
        if refit and not fits[-1].stop_reason.cut_short:
            whole = folds.whole(topology, start)
            count = keep * folds.count
            several = dataclasses.replace(trainer, restarts=count)
            run = _Run(loss, several, jax.random.fold_in(key, folds.count), saving("everything"), progress)
            one = stacked if count > 1 else jax.tree.map(lambda leaf: leaf[0], stacked)
            state = None
            if whole.train.train_state:
                guess = whole.train.state if first_states is None else first_states(None, whole.train)
                state = _estimated(one, whole.train, guess, count)
            refitted = run.fitted(one, whole.train, state, refit)
            after = refitted.restarts if refitted.restarts is not None else _expanded(refitted.net)
            after, replaced = _under_stress(stacked, after, whole.train)
    return CrossValidated(
        folds=folds,
        fits=tuple(fits),
        kept=tuple(kept),
        members=after,
        refitted=refitted,
        replaced=replaced,
        predictions=tuple(_joined([block[k] for block in blocks]) for k in range(len(folds.records))),
        seconds=time.perf_counter() - begun,
    )


@dataclasses.dataclass(frozen=True)
class _Saving:
    """The callbacks of a part of the training, and the checkpoint that it resumes from."""

    callbacks: tuple[Any, ...]
    checkpoint: Checkpoint | None
    resume: bool
    name: str

    def of(self, part: str) -> tuple[tuple[Any, ...], Path | None]:
        if self.checkpoint is None:
            return self.callbacks, None
        own = self.checkpoint.within(self.name)
        own = own.within(part) if part else own
        return (*self.callbacks, own), own.saved if self.resume else None


@dataclasses.dataclass(frozen=True)
class _Run:
    """What all calls of `fit` on a fold share."""

    loss: AbstractLoss
    trainer: AbstractTrainer
    key: PRNGKeyArray
    saving: _Saving
    progress: bool | None

    def fitted(
        self,
        net: Network,
        data: Sequences,
        state: DelayState | None,
        epochs: int,
        part: str = "",
        **more: Any,
    ) -> Fitted:
        callbacks, resume = self.saving.of(part)
        return fit(
            net,
            data,
            self.loss,
            self.trainer,
            epochs=epochs,
            key=self.key,
            callbacks=callbacks,
            resume=resume,
            progress=self.progress,
            initial_state=state,
            **more,
        )

    def over_windows(
        self, net: Network, cuts: Sequence[FoldData], epochs: int, begins: Callable[[Sequences], DelayState] | None
    ) -> tuple[Network, DelayState | None, FoldData | None]:
        """Trains on windows of growing length; returns the networks, their first states and the last windows."""
        state: DelayState | None = None
        last: FoldData | None = None
        for cut in cuts:
            state = _carried_over(state, last, cut, begins)
            fitted = self.fitted(net, cut.train, state, epochs, part=f"windows_{len(cut.spans)}")
            net = fitted.net if fitted.restarts is None else fitted.restarts
            state = fitted.initial_state if fitted.restarts is None else fitted.restart_states
            last = cut
            if fitted.stop_reason.cut_short:
                break
        return net, state, last


def _carried_over(
    state: DelayState | None,
    before: FoldData | None,
    after: FoldData,
    begins: Callable[[Sequences], DelayState] | None,
) -> DelayState | None:
    """The first states of sequences: those of the windows that start in the same rows, or a guess if there are none."""
    if not after.train.train_state:
        return None
    guess = None if begins is None else begins(after.train)
    if state is None or before is None:
        return guess
    places = {(span.record, span.start): k for k, span in enumerate(before.spans)}
    index = np.array([places[span.record, span.start] for span in after.spans], int)
    index = np.concatenate([index, np.zeros(after.train.batch[0] - len(index), int)])  # sequences without weight
    return {name: jnp.take(line, index, axis=-3) for name, line in state.items()}


def _estimated(nets: Network, data: Sequences, guess: DelayState | None, count: int) -> DelayState:
    """First states of sequences for networks that were not trained on them."""
    if count == 1:
        return estimate_state(nets, dataclasses.replace(data, state={**dict(data.state or {}), **dict(guess or {})}))
    given = dataclasses.replace(data, state={**dict(data.state or {}), **dict(guess or {})})
    each = [estimate_state(jax.tree.map(lambda leaf, k=k: leaf[k], nets), given) for k in range(count)]
    return jax.tree.map(lambda *lines: jnp.stack(lines), *each)


def middle(outputs: Signals) -> Signals:
    """Returns the pointwise median over members, `(sequences, time, size)`, of those with finite outputs."""
    return {name: jnp.nanmedian(jnp.where(jnp.isfinite(y), y, jnp.nan), axis=0) for name, y in outputs.items()}


@up_to_date
@jax.jit(static_argnames="steps")
def _outputs(nets: Network, inputs: Signals, state: DelayState, own: DelayState, steps: int) -> Signals:
    return jax.lax.map(lambda run: predict(run[0], inputs, state | run[1], steps=steps), (nets, own))


def outputs_of_members(nets: Network, data: Sequences, states: DelayState) -> Signals:
    """Returns the outputs of stacked networks, `(members, sequences, time, size)`.

    Args:
        nets: The networks.
        data: The sequences.
        states: Delay states of layers, one set for each network; may be empty.
    """
    inputs, state = dict(data.inputs or {}), dict(data.state or {})  # type: ignore[arg-type]
    return _outputs(nets, inputs, state, dict(states), steps=data.steps)


def _chosen(fitted: Fitted, order: np.ndarray) -> tuple[Network, DelayState]:
    """The networks of some restarts, stacked, and their first states."""
    if fitted.restarts is None:
        states = fitted.initial_state or {}
        return _expanded(fitted.net), {name: line[None] for name, line in states.items()}
    states = fitted.restart_states or {}
    take = jnp.asarray(order)
    return jax.tree.map(lambda leaf: leaf[take], fitted.restarts), {name: line[take] for name, line in states.items()}


def _expanded(net: Network) -> Network:
    return jax.tree.map(lambda leaf: leaf[None], net)


def _under_stress(before: Network, after: Network, data: Sequences) -> tuple[Network, tuple[int, ...]]:
    """The refitted networks, and the numbers of those replaced because they explode where those before did not."""
    inputs = dict(data.inputs or {})  # type: ignore[arg-type]
    if not inputs:
        return after, ()
    largest = []
    for nets in (before, after):
        each = [
            outputs_of_members(
                nets,
                dataclasses.replace(data, inputs={name: factor * signal[:, ::way] for name, signal in inputs.items()}),
                {},
            )
            for factor, way in STRESSES
        ]
        rows = [np.abs(np.asarray(y)).max(axis=(1, 2, 3)) for outputs in each for y in outputs.values()]
        largest.append(np.nan_to_num(np.stack(rows), nan=np.inf, posinf=np.inf))
    worse = (largest[1] > LARGEST_GROWTH * largest[0]).any(axis=0)
    if not worse.any():
        return after, ()
    mask = jnp.asarray(worse)
    kept = jax.tree.map(lambda a, b: jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b), before, after)
    return kept, tuple(np.flatnonzero(worse).tolist())


def _held_rows(folds: Folds, fold: int, record: int) -> np.ndarray:
    """True for rows of a record that a fold holds out."""
    rows = np.zeros(len(folds.records[record]), bool)
    for span in folds.spans(fold):
        if span.record == record:
            rows[span.held_from : span.stop] = True
    return rows


def _joined(blocks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The predictions of all folds for one record."""
    found = blocks[0]
    for more in blocks[1:]:
        found = {name: np.where(np.isnan(line), more[name], line) for name, line in found.items()}
    return found


def _root_mean_square(errors: Mapping[str, np.ndarray]) -> float:
    squares = np.concatenate([(error[~np.isnan(error)] ** 2).ravel() for error in errors.values()])
    return float(np.sqrt(squares.mean())) if squares.size else float("nan")
