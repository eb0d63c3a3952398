"""Simulation: outputs of all layers and the final delay state from inputs and an initial delay state.

    n^m(t) = Σ_l Σ_d LW^{m,l}(d) a^l(t−d) + Σ_l Σ_d IW^{m,l}(d) p^l(t−d) + b^m,    a^m(t) = f^m(n^m(t))

(De Jesús & Hagan 2007, eq. 1-2.) No gradient code here.
"""

import math
import operator
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lddn_jax.checks import expect
from lddn_jax.errors import ShapeError
from lddn_jax.network import transfer
from lddn_jax.network.committee import Committee, Model, OfEach, OfMembers, check_model
from lddn_jax.network.factored_network import factored, of_layers
from lddn_jax.network.network import Network, check_network, connection_weights
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals, SignalsLike, StateLike, as_signals
from lddn_jax.numerics.lanes import Values, from_lanes, to_lanes
from lddn_jax.numerics.memory import check_memory
from lddn_jax.numerics.platform import by_platform
from lddn_jax.simulation import recursion
from lddn_jax.simulation.delays import DelayState, as_state, extend, last, piece
from lddn_jax.simulation.member_runs import batch_of_state, member_states, of_members, shared_by_members
from lddn_jax.topology.plan import plan
from lddn_jax.topology.product_factors import product_factors


class Trajectory(eqx.Module):
    """The result of a simulation.

    Attributes:
        n: Net inputs by layer, `(*batch, time, neurons)`; of a committee, with the axis of the members in front.
        a: Layer outputs by layer, `(*batch, time, neurons)`; of a committee, with the axis of the members in front.
        outputs: The outputs of the network's output layers; those of a committee are combined.
        final_state: The delay state after the last step; pass it as `state` to continue the simulation. Layers of a
            committee have the axis of the members in front.
    """

    n: OfEach
    a: OfEach
    outputs: Signals
    final_state: DelayState


def simulate(net: Model, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Trajectory:
    """Simulates a network, or the members of a committee.

    Args:
        net: The network or committee; its dtype is the dtype of the computation.
        inputs: `(*batch, time, size)` by input name; a bare array if there is one input; `{}` or None for a
            network without inputs.
        state: Delay state, `(*batch, longest delay, size)` by source, oldest first; None for zeros. For a committee it
            may have the axis of the members in front, source by source.
        steps: Number of time steps; only needed for a network without inputs.

    Returns:
        A `Trajectory`.

    Raises:
        ShapeError: If a name or shape does not match the topology.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> net = net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[0.5]]]})
        >>> lddn.simulate(net, jnp.ones((4, 1))).outputs["y"][:, 0].tolist()
        [1.0, 1.5, 1.75, 1.875]

    De Jesús & Hagan (2007), eq. 1-2.
    """
    call = "simulate(net, inputs, state)"
    if isinstance(net, Committee):
        found = of_members(_simulate, net, *_prepare_members(net, inputs, state, steps, call))
        return Trajectory(
            found.n,
            found.a,
            net.combined(found.outputs),
            shared_by_members(found.final_state, net.topology.input_names),
        )
    return _simulate(net, *prepare(net, inputs, state, steps, call))


def predict(net: Model, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Signals:
    """Returns the network's outputs, `(*batch, time, size)` by output layer; see `simulate` for the arguments.

    Unlike `simulate` it keeps no other signals, so with long records memory grows with the outputs only.
    """
    if isinstance(net, Committee):
        return net.combined(predict_members(net, inputs, state, steps=steps))
    return _predict(net, *prepare(net, inputs, state, steps, "predict(net, inputs, state)"))


def predict_members(
    net: Committee, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None
) -> OfMembers:
    """Returns the outputs of each member of a committee, `(members, *batch, time, size)` by output layer.

    `net.combined(outputs)`, `net.spread(outputs)` and `net.kept(outputs)` are computed from them.

    Args:
        net: The committee.
        inputs: As in `simulate`.
        state: As in `simulate`.
        steps: As in `simulate`.

    Raises:
        LDDNError: If `net` is not a committee.
        ShapeError: If a name or shape does not match the topology.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.models.fir({"u": 1}, {"y": 1})
        >>> nets = jax.vmap(lambda key: lddn.Network(topology, key=key))(jax.random.split(jax.random.key(0), 5))
        >>> lddn.predict_members(lddn.Committee(nets), jnp.ones((20, 1)))["y"].shape
        (5, 20, 1)
    """
    call = "predict_members(committee, inputs, state)"
    expect(Committee, "net", net, call, "a lddn.Committee: Committee.of([net, net, ...])")
    return of_members(_predict, net, *_prepare_members(net, inputs, state, steps, call))


def prepare(
    net: Network, inputs: SignalsLike, state: StateLike, steps: int | None, call: str = "run(net, inputs, state)"
) -> tuple[Signals, DelayState, int]:
    """Checks the arguments of a simulation; every method that takes inputs starts here.

    Args:
        net: See `simulate`.
        inputs: See `simulate`.
        state: See `simulate`.
        steps: See `simulate`.
        call: The signature shown in errors.

    Returns:
        Inputs, delay state with the batch axes of the inputs, and the number of steps.

    Raises:
        LDDNError: If `net` is not a network.
        ShapeError: If a name or shape is wrong, or the number of steps is unknown.
    """
    check_network(net, call, mapped=True)
    signals, batch, length = measured(net, inputs, state, steps, call)
    return signals, as_state(net.topology, state, batch, net.dtype), length


def prepared_model(
    net: Model, inputs: SignalsLike, state: StateLike, steps: int | None, call: str = "run(net, inputs, state)"
) -> tuple[Signals, DelayState, int]:
    """Returns the same as `prepare` for a network or a committee; delay states as in `member_states`."""
    if not isinstance(net, Committee):
        return prepare(net, inputs, state, steps, call)
    signals, state, _, length = _prepare_members(net, inputs, state, steps, call)
    return signals, state, length


def _prepare_members(
    net: Committee, inputs: SignalsLike, state: StateLike, steps: int | None, call: str
) -> tuple[Signals, DelayState, tuple[int, ...], int]:
    """Returns inputs, delay state, batch axes and number of steps of a committee; see `prepare`."""
    signals, batch, length = measured(net, inputs, state, steps, call)
    return signals, member_states(net, state, batch), batch, length


def measured(
    net: Model, inputs: SignalsLike, state: StateLike, steps: int | None, call: str
) -> tuple[Signals, tuple[int, ...], int]:
    """Returns inputs, sizes of the batch axes and number of steps; see `prepare` for arguments and errors."""
    check_model(net, call, mapped=True)
    topology = net.topology
    sizes = {i.name: i.size for i in topology.inputs}
    signals = as_signals("input", inputs, sizes, net.dtype)
    if signals:
        shape = next(iter(signals.values())).shape
        batch, length = shape[:-2], shape[-2]
        if steps is not None and steps != length:
            raise ShapeError(f"steps={steps} was given, but the inputs have {length} time steps; leave steps out.")
    else:
        if steps is None:
            raise ShapeError(
                "the number of steps of a network without inputs must be given: pass steps, for example "
                "simulate(net, {}, state, steps=100)."
            )
        if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1:
            raise ShapeError(f"steps={steps!r} must be a positive whole number, such as steps=100.")
        batch, length = (), operator.index(steps)
        if isinstance(net, Committee):
            batch = batch_of_state(net, state)
        elif isinstance(state, Mapping) and state:
            batch = np.shape(next(iter(state.values())))[:-2]
    members = net.members if isinstance(net, Committee) else 1
    size = members * math.prod(batch) * length * sum(topology.sizes[name] for name in topology.outputs)
    check_memory(
        size * net.dtype.itemsize,
        f"{call}: the outputs of {length:,} steps",
        "Simulate in shorter pieces: pass `state`.",
    )
    return signals, batch, length


@up_to_date
@jax.jit(static_argnames="steps")
def _simulate(net: Network, inputs: Signals, state: DelayState, steps: int) -> Trajectory:
    batch = batch_axes(inputs, state)
    inputs, state = to_lanes(inputs), to_lanes(state)
    n, a = (of_layers(values, net.topology) for values in run(net, inputs, state, steps, (math.prod(batch),)))
    n, a, final = (from_lanes(values, batch) for values in (n, a, final_state(inputs | a, state)))
    return Trajectory(n, a, {name: a[name] for name in net.topology.outputs}, final)


@up_to_date
@jax.jit(static_argnames="steps")
def _predict(net: Network, inputs: Signals, state: DelayState, steps: int) -> Signals:
    batch = batch_axes(inputs, state)
    inputs, state, lanes = to_lanes(inputs), to_lanes(state), (math.prod(batch),)

    def outputs(length, net, inputs, state):
        if length < steps:
            a, _ = run_in_segments(net, inputs, state, steps, lanes, length)
        else:
            _, a = run(net, inputs, state, steps, lanes)
        return {name: a[name] for name in net.topology.outputs}

    def fitting(platform):
        return plan(net.topology).segments(steps, *lanes, net.dtype.itemsize, platform).length

    return from_lanes(by_platform(fitting, outputs, net, inputs, state), batch)


def run(net: Network, inputs: Values, state: Values, steps: int, lanes: tuple[int, ...]) -> tuple[Values, Values]:
    """Returns `(n, a)` by layer, `(time, neurons, *lanes)`; inputs and delay state are in the internal layout too."""
    return prepared(net, lanes)(inputs, state, steps)


def prepared(net: Network, lanes: tuple[int, ...]) -> Callable[[Values, Values, int], tuple[Values, Values]]:
    """Returns `run` for one network, with all work that depends on the network only done once, outside of loops.

    The factors of products are layers of the result too.
    """
    net = factored(net)
    topology = net.topology
    functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
    network = recursion.prepare(
        plan(topology).blocks, topology.delays, connection_weights(net), lanes, net.dtype, product_factors(topology)
    )
    drive = {
        layer.name: net.b.get(layer.name, jnp.zeros(layer.size, net.dtype)).reshape(1, -1, *(1,) * len(lanes))
        for layer in topology.layers
    }

    def node(name, n, _):
        return functions[name].in_lanes(n)

    def simulation(inputs, state, steps):
        return network(node, known=inputs, drive=drive, extras={}, before=state, steps=steps)

    return simulation


def run_in_segments(
    net: Network, inputs: Values, state: Values, steps: int, lanes: tuple[int, ...], length: int
) -> tuple[Values, Values]:
    """Simulates segment by segment, each from the final delay state of the previous one.

    Only the signals that the caller uses are kept for all times.

    Args:
        net: The network.
        inputs: `(time, size, *lanes)`.
        state: Delay state, `(delay, size, *lanes)`.
        steps: Number of time steps.
        lanes: Sizes of the lane axes, those after time and size.
        length: Steps of a segment; the last one may be shorter.

    Returns:
        Outputs of all layers, and the delay states at the start of each segment, `(segments, delay, size, *lanes)`.
    """
    simulation = prepared(net, lanes)

    def segment(state, start, length):
        here = {name: piece(signal, start, length) for name, signal in inputs.items()}
        _, a = simulation(here, state, length)
        return final_state(here | a, state), (a, state)

    whole, rest = divmod(steps, length)
    starts = jnp.arange(0, whole * length, length)
    state, (a, states) = jax.lax.scan(lambda state, start: segment(state, start, length), state, starts)
    a = {name: value.reshape(whole * length, *value.shape[2:]) for name, value in a.items()}
    if rest:
        _, (tail, final) = segment(state, whole * length, rest)
        a = {name: extend(a[name], tail[name]) for name in a}
        states = {name: extend(states[name], final[name][None]) for name in states}
    return a, states


def final_state(signals: Values, state: Values) -> Values:
    """Returns the delay state after the last step of a simulation that started from `state`."""
    return {name: last(extend(held, signals[name]), held.shape[0]) for name, held in state.items()}


def batch_axes(inputs: Signals, state: DelayState) -> tuple[int, ...]:
    """Returns the sizes of the batch axes of a simulation; none if there is neither an input nor a delay state."""
    for signals in (inputs, state):
        for signal in signals.values():
            return signal.shape[:-2]
    return ()
