"""Training of the best networks of all folds on everything, with a comparison under stress.

A network that stayed bounded under stress and does not any more is replaced by that of its fold. Those that still do
not are left out, if others do (`stress`), and so are those whose training ended with a much larger loss than others.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lddn_jax.data.fold_blocks import FoldData, Folds
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.starts import AbstractStart
from lddn_jax.losses import AbstractLoss
from lddn_jax.network.committee import Committee
from lddn_jax.network.network import Network
from lddn_jax.numerics.stacked import joined, taken
from lddn_jax.simulation.delays import DelayState, state_sizes, states_along
from lddn_jax.simulation.simulate import simulate
from lddn_jax.trainers.cross_validated import (
    LARGEST_LOSS_RATIO,
    CrossValidated,
    member_state,
    restarts_of,
)
from lddn_jax.trainers.fold_run import FoldRun, Saving
from lddn_jax.trainers.stress import bounded_under_stress
from lddn_jax.training.result import Fitted
from lddn_jax.training.side_by_side import equal_groups, side_by_side
from lddn_jax.training.trainer import AbstractTrainer


def trained_on_everything(
    found: CrossValidated,
    trainer: AbstractTrainer,
    loss: AbstractLoss,
    *,
    epochs: int,
    folds: Sequence[Folds] | None = None,
    start: AbstractStart | None,
    key: PRNGKeyArray,
    saving: Saving,
    progress: bool | None,
    members: Sequence[int] | None = None,
    together: int | None = None,
) -> CrossValidated:
    """Returns a result whose members were trained on all of the records; arguments as in `fit_folds`.

    With `folds`, these are trained on in turn, in place of those that the members come from; if first states are
    trained, they are folds of the same records. `members` are the numbers of the members that are trained, None for
    all. `together` networks are one batch, the last one filled up with copies, for which there may be a compiled
    program already; None to choose their number.
    """
    begun, before = time.perf_counter(), found.members
    if members is not None:
        before = taken(before, list(members))
    count = int(jax.tree.leaves(before)[0].shape[0])
    members = range(count) if members is None else members
    size = count // equal_groups(count) if together is None else together
    groups = -(-count // size)
    batches = np.minimum(np.arange(groups * size), count - 1).reshape(groups, size)

    def on_stage(nets: Network, states: DelayState, data: Sequences, name: str) -> list[Fitted]:
        def of_group(group: int, callbacks: tuple[Any, ...]) -> Fitted:
            those = batches[group] if size > 1 else batches[group, 0]
            own = dataclasses.replace(saving, callbacks=callbacks, name=f"{name}_{group}")
            run = FoldRun(loss, dataclasses.replace(trainer, restarts=size), key, own, progress)
            return run.fitted(taken(nets, those), data, taken(states, those) if states else None, epochs)

        return side_by_side([functools.partial(of_group, group) for group in range(groups)], saving.callbacks)

    stages = [each.whole(before.topology, start) for each in ([found.folds] if folds is None else folds)]
    states = _states_on_folds(found, members, stages[0], start) if stages[0].train.train_state else {}
    fits = on_stage(before, states, stages[0].train, saving.name)
    at_first = np.concatenate([_losses(fitted)[0] for fitted in fits])[:count]
    for number, (done, stage) in enumerate(itertools.pairwise(stages), 1):
        if any(fitted.stop_reason.cut_short for fitted in fits):
            break
        states = {name: line[:count] for name, line in _states_after(done, fits, stage).items()} if states else {}
        fits = on_stage(_trained(fits, count), states, stage.train, f"{saving.name}_after_{number}")
    nets = _trained(fits, count)
    whole = stages[-1].train
    at_last = np.concatenate([_losses(fitted)[1] for fitted in fits])[:count]
    bounded = [bounded_under_stress(each, whole) for each in (before, nets)]
    replaced, kept = _chosen(bounded, [at_first, at_last])
    mixed = jax.tree.map(lambda a, b: np.where(replaced.reshape(-1, *(1,) * (a.ndim - 1)), a, b), before, nets)
    return dataclasses.replace(
        found,
        members=taken(jax.tree.map(jnp.asarray, mixed), np.flatnonzero(kept)),
        refitted=tuple(fits),
        replaced=tuple(np.flatnonzero(replaced).tolist()),
        left_out=tuple(np.flatnonzero(~kept).tolist()),
        seconds=found.seconds + time.perf_counter() - begun,
    )


def _trained(fits: Sequence[Fitted], count: int) -> Network:
    """The networks of all groups, stacked, without copies at the end."""
    return taken(joined([restarts_of(f, np.arange(np.size(f.restart_values)))[0] for f in fits]), np.arange(count))


def _losses(fitted: Fitted) -> tuple[Float[np.ndarray, " restarts"], Float[np.ndarray, " restarts"]]:
    """The training loss of each network before the training, and the smallest."""
    losses = np.asarray(fitted.history["loss"])
    losses = losses.reshape(len(losses), -1)
    return losses[0], np.minimum(np.nan_to_num(losses, nan=np.inf).min(axis=0), fitted.restart_values)


def _chosen(
    bounded: Sequence[Bool[np.ndarray, " members"]], losses: Sequence[Float[np.ndarray, " members"]]
) -> tuple[Bool[np.ndarray, " members"], Bool[np.ndarray, " members"]]:
    """Which members are replaced by the networks before the training, and which are kept.

    Args:
        bounded: Which stay bounded under stress before the training, and after it.
        losses: Their training losses before, and after.
    """
    replaced = bounded[0] & ~bounded[1]
    allowed = bounded[0] | bounded[1]
    allowed = allowed if allowed.any() else np.ones_like(allowed)
    loss = np.where(replaced, *losses)
    least = loss[allowed].min()
    return replaced, allowed & (loss <= LARGEST_LOSS_RATIO * least) if np.isfinite(least) else allowed


def _states_on_folds(
    found: CrossValidated, members: Sequence[int], everything: FoldData, start: AbstractStart | None
) -> dict[str, Float[Array, "members sequences delays=_ size=_"]]:
    """First states to start from: those in which each network of a fold passes the first row of each sequence.

    Each network is simulated through the sequences of its fold, from its trained first states. They hold every row of
    the records, those of held-out blocks too.
    """
    topology = found.members.topology
    known = {
        name: np.zeros((len(members), everything.train.batch[0], *shape))
        for name, shape in state_sizes(topology).items()
        if name not in topology.input_names
    }
    for fold in range(found.folds.count):
        of_fold = [k for k, member in enumerate(members) if found.origins[member][0] == fold]
        if not of_fold:
            continue
        data = found.folds.data(topology, fold, start)
        passed = _passed(found.fits[fold], data.validation, data, everything)
        for name, line in passed.items():
            known[name][of_fold] = line[[found.origins[members[k]][1] for k in of_fold]]
    return {name: jnp.asarray(lines) for name, lines in known.items()}


def _states_after(
    before: FoldData, fits: Sequence[Fitted], everything: FoldData
) -> dict[str, Float[Array, "members sequences delays=_ size=_"]]:
    """First states to start from: those in which networks that were trained on everything pass the first rows."""
    each = [_passed(fitted, before.train, before, everything) for fitted in fits]
    return {name: jnp.concatenate([passed[name] for passed in each]) for name in each[0]}


def _passed(
    fitted: Fitted, sequences: Sequences, data: FoldData, everything: FoldData
) -> dict[str, Float[np.ndarray, "restarts sequences delays=_ size=_"]]:
    """The states in which all networks of a fit pass the first row of each sequence of everything.

    Args:
        fitted: Result of the training on sequences of `data`.
        sequences: Those of `data` that hold every row of the records.
        data: Their places in the records.
        everything: The sequences to start.
    """
    # All restarts, because programs are compiled for a number of networks.
    nets, states = restarts_of(fitted, np.arange(np.size(fitted.restart_values)))
    run = simulate(
        Committee(nets), sequences.inputs or None, member_state(nets, sequences, states), steps=sequences.steps
    )
    names = [name for name in state_sizes(nets.topology) if name not in nets.topology.input_names]
    along = states_along({name: states[name] for name in names}, run.a)
    places = []
    for span, first in zip(everything.spans, everything.firsts, strict=True):
        j = next(k for k, s in enumerate(data.spans) if s.record == span.record and first < s.stop)
        places.append((j, max(first - data.firsts[j], 0)))
    found = {}
    for name, lines in along.items():
        finite = np.nan_to_num(np.asarray(lines), posinf=0.0, neginf=0.0)
        passed = np.stack([finite[:, j, step] for j, step in places], axis=1)
        filled = everything.train.batch[0] - len(places)  # sequences without weight
        found[name] = np.pad(passed, ((0, 0), (0, filled), *((0, 0),) * (passed.ndim - 2)))
    return found
