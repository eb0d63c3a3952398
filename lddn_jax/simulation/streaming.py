"""Streaming: a network that runs in real time, one sample in and one out.

The delay state is a network's whole memory, so a simulation can be interrupted after any step:

    (a(t), state(t+1)) = step(p(t), state(t))
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jax.typing import DTypeLike

from lddn_jax.errors import ShapeError
from lddn_jax.network.committee import Model, check_model
from lddn_jax.network.signals import Moment, MomentLike, Signals, StateLike, as_array, by_name
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.simulate import simulate


def step(net: Model, sample: MomentLike, state: StateLike = None) -> tuple[Moment, DelayState]:
    """Advances a network, or the members of a committee, by one sample.

    Args:
        net: The network or committee.
        sample: The current input, `(*batch, size)` by name; a bare array if there is one input; None without inputs.
        state: The delay state returned by the previous step; None for zeros.

    Returns:
        Outputs `(*batch, size)` by output layer, and the delay state for the next step.

    Raises:
        ShapeError: If a name or shape does not match the topology.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> net = net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[0.5]]]})
        >>> state, seen = None, []
        >>> for u in (1.0, 1.0, 1.0):
        ...     outputs, state = lddn.step(net, jnp.array([u]), state)
        ...     seen.append(float(outputs["y"][0]))
        >>> seen
        [1.0, 1.5, 1.75]

    De Jesús & Hagan (2007), eq. 1-2.
    """
    check_model(net, "step(net, sample, state)", mapped=True)
    trajectory = simulate(net, as_record(net, sample), state, steps=None if net.topology.inputs else 1)
    return {name: a[..., 0, :] for name, a in trajectory.outputs.items()}, trajectory.final_state


def as_record(net: Model, sample: MomentLike) -> Signals:
    """Returns a sample as a record of one time step, `(*batch, 1, size)` by input.

    Raises:
        ShapeError: If a name or shape is wrong.
    """
    sizes = {i.name: i.size for i in net.topology.inputs}
    return one_moment("input", sample, sizes, net.dtype)


def one_moment(kind: str, sample: MomentLike, sizes: Mapping[str, int], dtype: DTypeLike) -> Signals:
    """Returns samples `(*batch, size)` with a time axis of length 1; see `as_record`."""
    found = {}
    for name, value in by_name(kind, sample, sizes).items():
        value = as_array(f"{kind} {name!r}", value, dtype)
        if value.ndim < 1 or value.shape[-1] != sizes[name]:
            raise ShapeError(
                f"the sample of {kind} {name!r} has shape {value.shape}; it must be (*batch, {sizes[name]}), one time "
                "step without a time axis. For a whole record use lddn.predict(net, inputs)."
            )
        found[name] = value
    return {name: jnp.expand_dims(value, -2) for name, value in found.items()}
