"""Runs of the members of a committee, side by side.

    members share the inputs; each has its own delay state, because layers that are not measured differ

A delay state is given once for all members, `(*batch, longest delay, size)`, or once for each, with one more axis in
front, `(members, *batch, longest delay, size)`; each source separately.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lddn_jax.network.committee import Committee, Model
from lddn_jax.network.network import Network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals, StateLike
from lddn_jax.simulation.delays import DelayState, as_state


def batch_of_state(committee: Committee, state: StateLike) -> tuple[int, ...]:
    """Returns the batch axes of a committee without inputs, from its delay state.

    If the first axis of a state has as many entries as there are members, they are those of the members.
    """
    if not isinstance(state, Mapping) or not state:
        return ()
    shape = np.shape(next(iter(state.values())))[:-2]
    return shape[1:] if shape and shape[0] == committee.members else shape


def member_states(committee: Committee, given: StateLike, batch: tuple[int, ...]) -> DelayState:
    """Returns a checked delay state; sources that were given once for each member keep the axis of the members.

    Raises:
        ShapeError: If a source is missing or unknown, or a shape is wrong.
    """
    topology, dtype = committee.topology, committee.dtype
    if not isinstance(given, Mapping):
        return as_state(topology, given, batch, dtype)
    own = {name: np.shape(value)[:-2] == (committee.members, *batch) for name, value in given.items()}
    shared = {name: jnp.asarray(value)[0] if own[name] else value for name, value in given.items()}
    found = as_state(topology, shared, batch, dtype)  # checks names and shapes
    return {name: jnp.asarray(given[name], dtype) if own[name] else line for name, line in found.items()}


def each_member(committee: Committee, state: DelayState, batch: tuple[int, ...]) -> DelayState:
    """Returns a delay state with the axis of the members for every source."""
    own = _own(state, batch)
    return {
        name: line if own[name] else jnp.broadcast_to(line[None], (committee.members, *line.shape))
        for name, line in state.items()
    }


def members_with_states(model: Model, state: StateLike, batch: tuple[int, ...]) -> list[tuple[Network, StateLike]]:
    """Returns each member of a committee with its delay state, or a network with its own.

    Args:
        model: The model.
        state: Delay state of all members.
        batch: Sizes of the batch axes.
    """
    if not isinstance(model, Committee):
        return [(model, state)]
    if not isinstance(state, Mapping):
        return [(net, state) for net in model.networks]
    every = each_member(model, {name: jnp.asarray(line) for name, line in state.items()}, batch)
    return [(net, {name: line[k] for name, line in every.items()}) for k, net in enumerate(model.networks)]


def _own(state: DelayState, batch: tuple[int, ...]) -> dict[str, bool]:
    return {name: line.ndim == len(batch) + 3 for name, line in state.items()}


@up_to_date
@jax.jit(static_argnames=("run", "batch", "steps"))
def of_members(
    run: Callable[..., Any],
    committee: Committee,
    inputs: Signals,
    state: DelayState,
    batch: tuple[int, ...],
    steps: int,
) -> Any:
    """Calls `run(net, inputs, state, steps)` for every member, and stacks the results on a first axis.

    Args:
        run: A simulation.
        committee: The committee.
        inputs: `(*batch, time, size)`, the same for all members.
        state: From `member_states`.
        batch: Sizes of the batch axes.
        steps: Number of time steps.
    """
    axes = {name: 0 if own else None for name, own in _own(state, batch).items()}
    return jax.vmap(lambda net, state: run(net, inputs, state, steps), in_axes=(0, axes))(committee.nets, state)


def shared_by_members(
    state: dict[str, Float[Array, "members ..."]], names: Mapping[str, Any] | frozenset[str]
) -> DelayState:
    """Returns a delay state of all members, in which the named sources, equal for all, are given only once."""
    return {name: line[0] if name in names else line for name, line in state.items()}
