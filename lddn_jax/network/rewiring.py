"""Rewiring of networks: closing and opening loops, shifting delays, and carrying weights over to another topology.

Each function returns a network with another topology; there is no mode to switch. Weights stay with their connection
and delay.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from lddn_jax.checks import whole_number
from lddn_jax.errors import LDDNError, TopologyError
from lddn_jax.network import initializers
from lddn_jax.network.committee import Committee, Model
from lddn_jax.network.network import Network, assemble, check_network, where_unmasked
from lddn_jax.network.signals import measured_name
from lddn_jax.topology.topology import Input, Topology, check_topology, with_longer_input_delays

AnyModel = TypeVar("AnyModel", bound=Network | Committee)


def close_loop(net: AnyModel, output: str, input: str) -> AnyModel:
    """Replaces an input by a layer's output: every `IW[to, input]` becomes `LW[to, output]`.

    The topology changes; the weights are the same arrays.

    Args:
        net: A network, or a committee, in which `input` carries measured values of `output`.
        output: The layer to feed back.
        input: The input that it replaces.

    Raises:
        TopologyError: If sizes differ, a name is unknown, a pair would have two connections, or the loop would
            have no delay.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> narx = Topology([Input("y_measured", 1)], [Layer("y", 1)],
        ...                 [Connection("y_measured", to="y", delays=(1, 2))], ["y"])
        >>> closed = close_loop(Network(narx, init="zeros"), output="y", input="y_measured")
        >>> str(closed.topology.connections[0])
        'y -> y delay 1, 2'
    """
    return _rewired(net, lambda net: _closed(net, output, input))


def _closed(net: Network, output: str, input: str) -> Network:
    check_network(net, "close_loop(net, output, input)", several=True)
    topology = net.topology
    names = sorted(topology.input_names)
    if output in names:
        raise TopologyError(
            f"close_loop: output {output!r} is an input; write close_loop(net, output={input!r}, input={output!r})?"
        )
    layer = topology.layer(output)
    if input not in names:
        raise TopologyError(f"close_loop: there is no input {input!r}; the inputs are {names}.")
    if topology.sizes[input] != layer.size:
        raise TopologyError(
            f"close_loop: output {output!r} has {layer.size} elements and input {input!r} has "
            f"{topology.sizes[input]}; they must have the same size."
        )
    twice = [c.to for c in topology.connections if c.source == input and (c.to, output) in topology.delays]
    if twice:
        raise TopologyError(
            f"close_loop: {output!r} -> {twice[0]!r} exists already, and {input!r} -> {twice[0]!r} would become "
            f"another connection of that pair. Remove {output!r} -> {twice[0]!r} from the topology first."
        )
    closed = Topology(
        [i for i in topology.inputs if i.name != input],
        topology.layers,
        [replace(c, source=output) if c.source == input else c for c in topology.connections],
        topology.outputs,
    )
    moved = {(to, output): w for (to, source), w in net.IW.items() if source == input}
    kept = {pair: w for pair, w in net.IW.items() if pair[1] != input}
    return assemble(closed, IW=kept, LW=net.LW | moved, b=net.b)


def open_loop(net: AnyModel, output: str, input: str, to: str | Iterable[str] | None = None) -> AnyModel:
    """Replaces a layer by a new input as the source of its connections; the inverse of `close_loop`.

    Args:
        net: A network, or a committee, in which other layers, or the layer itself, read layer `output`.
        output: The layer whose connections are cut.
        input: Name of the new input.
        to: The layer or layers whose connection from `output` is cut; None for all.

    Raises:
        TopologyError: If a name is unknown or taken.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> closed = Topology([], [Layer("y", 1)], [Connection("y", to="y", delays=(1, 2))], ["y"])
        >>> opened = open_loop(Network(closed, init="zeros"), output="y", input="y_measured")
        >>> str(opened.topology.connections[0])
        'y_measured -> y delay 1, 2'
    """
    return _rewired(net, lambda net: _opened(net, output, input, to))


def _opened(net: Network, output: str, input: str, to: str | Iterable[str] | None) -> Network:
    check_network(net, "open_loop(net, output, input)", several=True)
    topology = net.topology
    layer = topology.layer(output)
    fed = [c.to for c in topology.connections if c.source == output]
    if input in topology.sizes:
        raise TopologyError(
            f"open_loop: the name {input!r} is taken; an input of that name exists, or a layer. Choose another, "
            f"for example {input + '_measured'!r}."
        )
    cut = fed if to is None else [to] if isinstance(to, str) else list(to)
    if not cut or any(name not in fed for name in cut):
        raise TopologyError(
            f"open_loop: layer {output!r} feeds {fed}, but to={cut}; name some of the layers that it feeds."
        )

    def is_cut(pair):
        return pair[1] == output and pair[0] in cut

    opened = Topology(
        [*topology.inputs, Input(input, layer.size)],
        topology.layers,
        [replace(c, source=input) if is_cut((c.to, c.source)) else c for c in topology.connections],
        topology.outputs,
    )
    moved = {(pair[0], input): w for pair, w in net.LW.items() if is_cut(pair)}
    kept = {pair: w for pair, w in net.LW.items() if not is_cut(pair)}
    return assemble(opened, IW=net.IW | moved, LW=kept, b=net.b)


def remove_delay(net: AnyModel, n: int = 1) -> AnyModel:
    """Subtracts `n` from the delays of every connection from an input (MATLAB's `removedelay`).

        y'(t) = y(t+n):    IW(d) p(t−d) becomes IW(d) p(t−(d−n))

    A network trained to predict y(t) from inputs up to t − n then predicts y(t+n) from inputs up to t, `n` steps
    ahead of its data. Weights are unchanged. Recurrent layers, as in a closed loop, are ahead by `n` steps too: a delay
    state holds their values from `n` steps later, and `n` fewer values of each input.

    Args:
        net: A network that reads all inputs through delays of at least `n`.
        n: Number of steps.

    Raises:
        TopologyError: If an input is read through a shorter delay, or the network has no inputs.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", "y", (1, 2))], ["y"])
        >>> print(remove_delay(Network(topology, init="zeros")).topology.connections[0])
        u -> y delay 0, 1

    MathWorks, *Deep Learning Toolbox*, `removedelay`.
    """
    return _rewired(net, lambda net: _with_shorter_delays(net, n))


def _with_shorter_delays(net: Network, n: int) -> Network:
    n = _steps("remove_delay", net, n)
    read = [c for c in net.topology.connections if c.source in net.topology.input_names]
    shortest = min(read, key=lambda c: c.delays[0], default=None)
    if shortest is not None and shortest.delays[0] < n:
        least, (source, to) = shortest.delays[0], (shortest.source, shortest.to)
        raise TopologyError(
            f"remove_delay: {shortest} reads an input with a delay of {least}; {n} later it would need future values. "
            + (f"Remove at most {least}: remove_delay(net, {least}); or train" if least else "Train")
            + f" with delays of at least {n}: topology.with_delays({source!r}, {to!r}, ...)."
        )
    return assemble(with_longer_input_delays(net.topology, -n), net.IW, net.LW, net.b)


def add_delay(net: AnyModel, n: int = 1) -> AnyModel:
    """Adds `n` to the delays of every connection from an input (MATLAB's `adddelay`); the inverse of `remove_delay`.

        y'(t) = y(t−n):    IW(d) p(t−d) becomes IW(d) p(t−(d+n))

    Args:
        net: The network.
        n: Number of steps.

    Raises:
        TopologyError: If the network has no inputs.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", "y", (0, 1))], ["y"])
        >>> print(add_delay(Network(topology, init="zeros"), 2).topology.connections[0])
        u -> y delay 2, 3

    MathWorks, *Deep Learning Toolbox*, `adddelay`.
    """

    def longer(net: Network) -> Network:
        return assemble(with_longer_input_delays(net.topology, _steps("add_delay", net, n)), net.IW, net.LW, net.b)

    return _rewired(net, longer)


def carry_over(
    net: Network, topology: Topology, *, key: PRNGKeyArray | None = None, init: str | initializers.Initializer = "zeros"
) -> Network:
    """Returns a network of another topology that keeps this network's weights where they fit.

    A matrix fits if the new topology has its connection and delay between layers of the same sizes; a bias, if its
    layer has the same size. Everything else is initialized. With zeros, adding a connection or a delay does not change
    the outputs; a new layer needs random weights, because it cannot be trained from zeros.

    Args:
        net: The network.
        topology: For example an edited `net.topology`.
        key: A JAX key; may be left out when `init` is "zeros".
        init: Initializer of everything else; see `lddn_jax.Network`.

    Raises:
        TopologyError: If a transfer function or the initializer is unknown, or a key is missing.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> fir = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", "y", (0, 1))], ["y"])
        >>> net = Network(fir, init="zeros").with_weights(IW={("y", "u"): [[[1.0]], [[2.0]]]})
        >>> carry_over(net, fir.with_delays("u", "y", (1, 2))).IW["y", "u"].ravel().tolist()
        [2.0, 0.0]
    """
    check_network(net, "carry_over(net, topology)", mapped=True)
    check_topology(topology, "carry_over(net, topology)")
    fresh, old = Network(topology, key=key, init=init, dtype=net.dtype), net.IW | net.LW

    def weights(pair, new):
        if pair not in old or old[pair].shape[1:] != new.shape[1:]:
            return new
        place = {d: k for k, d in enumerate(net.topology.delays[pair])}
        delays = topology.delays[pair]
        kept = jnp.stack([old[pair][place[d]] if d in place else new[k] for k, d in enumerate(delays)])
        return where_unmasked(topology, pair, kept)

    def bias(name, new):
        return net.b[name] if name in net.b and net.b[name].shape == new.shape else new

    return assemble(
        topology,
        {pair: weights(pair, new) for pair, new in fresh.IW.items()},
        {pair: weights(pair, new) for pair, new in fresh.LW.items()},
        {name: bias(name, new) for name, new in fresh.b.items()},
    )


def _rewired(net: AnyModel, rewire: Callable[[Network], Network]) -> AnyModel:
    """Rewires a network, or the stacked members of a committee, which have one topology."""
    found: Any = net.with_nets(rewire(net.nets)) if isinstance(net, Committee) else rewire(net)
    return cast(AnyModel, found)


def _steps(verb: str, net: Network, n: int) -> int:
    check_network(net, f"{verb}(net, n)", several=True)
    if not net.topology.inputs:
        raise TopologyError(
            f"{verb}: the network has no inputs, so there is no delay to shift. If its loop is closed, open it first: "
            f"{verb}(open_loop(net, output=..., input=...))."
        )
    return whole_number(n, f"{verb}: the number of steps", least=1)


def closed_over(net: AnyModel, loops: Mapping[str, str]) -> AnyModel:
    """Returns the network with several loops closed; `loops` maps each input with measured values to its output."""
    for input, output in loops.items():
        net = close_loop(net, output=output, input=input)
    return net


def opened_at(net: AnyModel, loops: Mapping[str, str]) -> AnyModel:
    """Returns the network with several loops opened; `loops` as in `closed_over`."""
    for input, output in loops.items():
        net = open_loop(net, output=output, input=input)
    return net


def measured_loops(topology: Topology) -> dict[str, str]:
    """Returns the output of each input that is named after it, such as `y` for `measured_y`."""
    names = {measured_name(output): output for output in topology.outputs}
    return {input: output for input, output in names.items() if input in topology.input_names}


def loops_of(net: Model, given: Mapping[str, str] | None) -> dict[str, str]:
    """Returns the output of each input that carries its measured values; by default `y` for `measured_y`.

    Raises:
        LDDNError: If there is no such input.
    """
    topology = net.topology
    given = measured_loops(topology) if given is None else given
    if not isinstance(given, Mapping):
        raise LDDNError(
            f"loops={given!r} must map each input with measured values to its output: "
            f"loops={{'measured': {topology.outputs[0]!r}}}."
        )
    if not given:
        raise LDDNError(
            f"none of the inputs {sorted(topology.input_names)} is named after one of the outputs "
            f"{list(topology.outputs)}. Name the input, for example loops={{'measured': {topology.outputs[0]!r}}}."
        )
    return dict(given)
