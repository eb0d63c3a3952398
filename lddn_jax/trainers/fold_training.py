"""Training by cross-validation: networks on the folds of records, and a committee of the best of all folds.

    fold k           masks its blocks, simulates through them, and keeps the step of each restart with the smallest
                     error there
    out of fold      the predictions of all blocks by the networks that did not see them; their error estimates the
                     error on new data
    committee        the best `keep` networks of each fold, trained for `refit` more steps on everything

Every sample is used for training, and every sample is predicted by networks that were not trained on it.

Stone (1974), Journal of the Royal Statistical Society B 36(2); Krogh & Vedelsby (1995), NIPS 7, for committees of
networks from different folds.
"""

import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from lddn_jax.checks import check_key, check_not_negative, check_positive, expect
from lddn_jax.data.fold_blocks import Folds
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.starts import AbstractStart
from lddn_jax.errors import LDDNError
from lddn_jax.losses import AbstractLoss, MeanSquaredError
from lddn_jax.network.committee import Committee
from lddn_jax.network.network import Network, check_network
from lddn_jax.numerics.stacked import joined
from lddn_jax.simulation.delays import DelayState
from lddn_jax.trainers.cross_validated import CrossValidated, best_restarts, outputs_of_members, restarts_of
from lddn_jax.trainers.fold_run import FirstStates, FoldRun, Saving
from lddn_jax.trainers.refitting import trained_on_everything
from lddn_jax.trainers.stress import bounded_under_stress
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.callbacks.time_limit import one_run
from lddn_jax.training.side_by_side import side_by_side
from lddn_jax.training.trainer import AbstractTrainer

FIT_FOLDS_CALL = "fit_folds(net, folds, trainer)"


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
        keep: Number of networks that are kept of each fold; fewer if others have more than four times the validation
            loss of the best one, or do not stay bounded under stress; see `lddn_jax.trainers.stress`.
        refit: Number of steps of these networks on all of the records; 0 for none. Those whose loss is then more than
            four times that of the best one are left out.
        max_fail: Training on a fold stops for a restart after this many steps without a smaller error in the held-out
            blocks. A start from a linear model first raises that error, so small numbers return the linear model.
        start: How sequences start, `lddn_jax.data.Trained()` if None.
        first_states: Function from the number of a fold and its sequences to the first states to start from, as
            `initial_state` of `lddn_jax.fit`.
        key: As in `fit`.
        callbacks: As in `fit`; they are called on every fold.
        checkpoint: Saves the training on each fold in a subfolder of its folder.
        resume: Whether to resume from the checkpoints, where there are some.
        progress: As in `fit`.

    Returns:
        `CrossValidated`. If training is cut short, each fold returns its best network so far.

    Raises:
        LDDNError: If an argument is invalid, or there are not as many networks as folds.
        DataError: If a record is too short.

    Example:
        >>> import jax, numpy as np, lddn_jax as lddn
        >>> u = np.random.default_rng(0).uniform(-1, 1, (120, 1))
        >>> y = np.zeros((120, 1))
        >>> for t in range(1, 120):
        ...     y[t] = 0.7 * np.tanh(y[t - 1]) + u[t - 1]
        >>> record = lddn.data.Record({"u": u}, {"y": y})
        >>> topology = lddn.models.state_space({"u": 1}, {"y": 1}, states=1, hidden=2)
        >>> start = lddn.initializers.FromLinear(lddn.linear.subspace(record, 1))
        >>> net = lddn.Network(topology, init=start, key=jax.random.key(0))
        >>> trainer = lddn.LevenbergMarquardt(restarts=2, allow_float32=True)
        >>> found = lddn.fit_folds(net, lddn.data.folds(record, 3), trainer, epochs=15, keep=1, refit=2)
        >>> bool(found.error < 0.2 * y.std()), [len(kept) for kept in found.kept]
        (True, [1, 1, 1])
    """
    expect(
        AbstractTrainer, "trainer", trainer, FIT_FOLDS_CALL, "a trainer, such as lddn.LevenbergMarquardt(restarts=8)"
    )
    expect(Folds, "folds", folds, FIT_FOLDS_CALL, "the folds of records, such as lddn.data.folds(records, 4)")
    for name, value in (("epochs", epochs), ("keep", keep), ("max_fail", max_fail)):
        check_positive(name, value)
    check_not_negative("refit", refit, int)
    if keep > trainer.restarts:
        raise LDDNError(
            f"fit_folds: keep={keep}, but the trainer has restarts={trainer.restarts}; write "
            f"keep={trainer.restarts} or restarts={keep}."
        )
    nets = list(net) if isinstance(net, Sequence) else [net] * folds.count
    if len(nets) != folds.count:
        raise LDDNError(f"fit_folds: {len(nets)} networks for {folds.count} folds; pass one network, or one for each.")
    for one in nets:
        check_network(one, FIT_FOLDS_CALL, several=True)
    if key is not None:
        check_key(key)
    key = jax.random.key(0) if key is None else key
    topology, loss = nets[0].topology, loss or MeanSquaredError()
    begun = time.perf_counter()

    def of_fold(number: int, callbacks: tuple[Any, ...]) -> tuple[Any, ...]:
        fold = folds.data(topology, number, start)
        own = Saving(callbacks, checkpoint, resume, f"fold_{number}")
        run = FoldRun(loss, trainer, jax.random.fold_in(key, number), own, progress)
        state = None if first_states is None else first_states(number, fold.train)
        fitted = run.fitted(nets[number], fold.train, state, epochs, validation=fold.validation, max_fail=max_fail)
        # All are simulated, and others left out, because programs are compiled for a number of networks.
        every, states = restarts_of(fitted, np.arange(len(fitted.restart_values)))
        bounded = bounded_under_stress(every, fold.validation, states)
        order = best_restarts(fitted.restart_values, bounded, keep)
        chosen, _ = restarts_of(fitted, order)
        outputs = _combined(every, states, order, fold.validation)
        return fitted, tuple(order.tolist()), bounded[order], chosen, folds.gathered(fold, outputs)

    with one_run(callbacks):
        each = side_by_side([functools.partial(of_fold, number) for number in range(folds.count)], callbacks)
        fits, kept, bounded, members, blocks = map(tuple, zip(*each, strict=True))
        stacked = joined(members)
        found = CrossValidated(
            folds=folds,
            fits=fits,
            kept=kept,
            bounded=tuple(np.concatenate(bounded).tolist()),
            members=stacked,
            refitted=(),
            replaced=(),
            left_out=(),
            predictions=tuple(_joined([block[k] for block in blocks]) for k in range(len(folds.records))),
            seconds=time.perf_counter() - begun,
        )
        if not refit or found.stop_reason.cut_short:
            return found
        return trained_on_everything(
            found,
            trainer,
            loss,
            epochs=refit,
            start=start,
            key=jax.random.fold_in(key, folds.count),
            saving=Saving(tuple(callbacks), checkpoint, resume, "everything"),
            progress=progress,
        )


def _combined(
    nets: Network, states: DelayState, order: Int[np.ndarray, " kept"], data: Sequences
) -> dict[str, np.ndarray]:
    """The outputs of the networks that are kept as those of a committee, infinite where all of them diverged."""
    without = ~np.isin(np.arange(jax.tree.leaves(nets)[0].shape[0]), order)
    outputs = outputs_of_members(nets, data, states)
    kept = {name: jnp.asarray(np.where(without[:, None, None, None], np.nan, y)) for name, y in outputs.items()}
    combined = Committee(nets).combined(kept)
    return {name: np.where(np.isnan(y), np.inf, y) for name, y in combined.items()}


def _joined(blocks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The predictions of all folds for one record."""
    found = blocks[0]
    for more in blocks[1:]:
        found = {name: np.where(np.isnan(line), more[name], line) for name, line in found.items()}
    return found
