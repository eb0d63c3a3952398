"""All loops of a network at once: which input carries the measured values of which output."""

from collections.abc import Mapping

from lddn_jax.errors import LDDNError
from lddn_jax.network import Network
from lddn_jax.rewiring import close_loop, open_loop
from lddn_jax.signals import measured_name
from lddn_jax.topology import Topology


def closed_over(net: Network, loops: Mapping[str, str]) -> Network:
    """Returns the network with several loops closed: the output of each input that carries its measured values."""
    for input, output in loops.items():
        net = close_loop(net, output=output, input=input)
    return net


def opened_at(net: Network, loops: Mapping[str, str]) -> Network:
    """Returns the network with several loops opened; see `closed_over`."""
    for input, output in loops.items():
        net = open_loop(net, output=output, input=input)
    return net


def measured_loops(topology: Topology) -> dict[str, str]:
    """The output of each input that carries its measured values by its name, `y` of `measured_y`."""
    names = {measured_name(output): output for output in topology.outputs}
    return {input: output for input, output in names.items() if input in topology.input_names}


def loops_of(net: Network, given: Mapping[str, str] | None) -> dict[str, str]:
    """Returns the output of each input that carries its measured values; by default `y` of `measured_y`.

    Raises:
        LDDNError: If there is none.
    """
    topology = net.topology
    given = measured_loops(topology) if given is None else given
    if not isinstance(given, Mapping):
        raise LDDNError(
            f"loops={given!r} must name the output of each input that carries its measured values: "
            f"loops={{'measured': {topology.outputs[0]!r}}}."
        )
    if not given:
        raise LDDNError(
            f"none of the inputs {sorted(topology.input_names)} is the measurement of one of the outputs "
            f"{list(topology.outputs)}. Say which is, for example loops={{'measured': {topology.outputs[0]!r}}}."
        )
    return dict(given)
