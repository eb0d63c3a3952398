"""Pruning: removes delays that the data hardly determine.

The weights of a tap with a small γ/P are held near zero by the prior, so removing the tap hardly changes the outputs.

MacKay (1994), *Bayesian methods for backpropagation networks*.
"""

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp

from lddn_jax.bayesian.groups import Tap
from lddn_jax.bayesian.posterior import Posterior, check_posterior
from lddn_jax.bayesian.relevance import relevance
from lddn_jax.checks import is_number
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import LDDNError
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.rewiring import carry_over
from lddn_jax.simulation.delays import cut, started, state_sizes
from lddn_jax.simulation.simulate import predict
from lddn_jax.topology.topology import Topology
from lddn_jax.topology.validation import reached


@dataclass(frozen=True)
class Pruned:
    """Result of `prune`.

    Attributes:
        net: The smaller network, with the remaining weights.
        removed: The removed taps.
        change: Root mean square of the change of each output, by output layer and in its units.
    """

    net: Network
    removed: tuple[Tap, ...]
    change: Mapping[str, float]

    def data(self, data: Sequences) -> Sequences:
        """Returns the records for the smaller network, without removed inputs and delays."""
        return _fitting(self.net.topology, data)


def prune(net: Network, posterior: Posterior, threshold: float = 0.1, *, data: Sequences | None = None) -> Pruned:
    """Removes delays that the data hardly determine.

    Connections without delays are removed, and so are layers and inputs that no longer reach an output. Biases stay.
    Retrain the smaller network, because its weights were trained together with the removed ones:
    `lddn.fit(pruned.net, pruned.data(data), loss, trainer)`.

    Args:
        net: A network of the posterior's topology; usually `posterior.net`.
        posterior: From `lddn_jax.posterior`.
        threshold: Taps with γ/P below this are removed.
        data: `Sequences` on which the change of the outputs is measured; the posterior's if None.

    Returns:
        `Pruned`: the network, the removed taps, and the change of its outputs.

    Raises:
        LDDNError: If the topologies differ, the threshold is not between 0 and 1, or no data are available.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...                          [lddn.Connection("u", to="y", delays=(0, 1, 2))], ["y"])
        >>> u, noise = jax.random.normal(jax.random.key(0), (2, 200, 1))
        >>> data = lddn.Sequences(u, 2 * u + 0.1 * noise)
        >>> trainer = lddn.BayesianRegularization(groups="delay", allow_float32=True)
        >>> net = lddn.Network(topology, key=jax.random.key(1))
        >>> fitted = lddn.fit(net, data, lddn.losses.SumSquaredError(), trainer, epochs=30)
        >>> lddn.prune(fitted.net, lddn.posterior(fitted, data), 0.5).net.topology.delays
        {('y', 'u'): (0,)}

    MacKay (1994).
    """
    call = "prune(net, posterior, threshold)"
    check_posterior(posterior, call)
    check_network(net, call)
    data = posterior.data if data is None else data
    if net.topology != posterior.net.topology:
        raise LDDNError(
            "prune: the network and the posterior have different topologies; write prune(posterior.net, ...)."
        )
    if not (is_number(threshold, numbers.Real, at_least=0) and threshold <= 1):
        raise LDDNError(f"threshold={threshold!r} is a share γ/P, between 0 (prune nothing) and 1.")
    if data is None:
        raise LDDNError(
            "prune: the posterior has no data, because a loop was closed or opened or it was loaded; pass "
            "data=sequences."
        )
    topology = net.topology
    weak = {row.tap for row in relevance(posterior) if row.source is not None and row.determined < threshold}
    smaller = _without(topology, weak)
    kept = {(to, source, d) for (to, source), delays in smaller.delays.items() for d in delays}
    after = carry_over(net, smaller)
    removed = tuple((to, s, d) for to, s, d in posterior.groups.taps if s is not None and (to, s, d) not in kept)
    less = _fitting(smaller, data)
    old = predict(net, data.inputs, started(topology, data), steps=None if topology.inputs else data.steps)
    new = predict(after, less.inputs, started(smaller, less), steps=None if smaller.inputs else data.steps)
    change = {name: float(jnp.sqrt(jnp.mean((old[name] - new[name]) ** 2))) for name in topology.outputs}
    return Pruned(after, removed, change)


def _without(topology: Topology, weak: set[Tap]) -> Topology:
    """Returns the topology without the weak taps, and without layers and inputs that no longer reach an output."""
    connections = []
    for c in topology.connections:
        delays = tuple(d for d in c.delays if (c.to, c.source, d) not in weak)
        if not delays and topology.layer(c.to).net_input == "product":
            delays = c.delays  # without a factor, a product is another one
        mask = c.mask
        if mask is not None and isinstance(mask[0][0], tuple):  # one matrix for each delay
            mask = tuple(matrix for d, matrix in zip(c.delays, mask, strict=True) if d in delays)
        connections += [replace(c, delays=delays, mask=mask)] if delays else []
    fed: dict[str, set[str]] = {name: set() for name in topology.sizes}
    for c in connections:
        fed[c.to].add(c.source)
    useful = reached(fed, topology.outputs)
    layers = [layer for layer in topology.layers if layer.name in useful]
    inputs = [i for i in topology.inputs if i.name in useful]
    return Topology(inputs, layers, [c for c in connections if c.to in useful], topology.outputs)


def _fitting(topology: Topology, data: Sequences) -> Sequences:
    inputs = data.inputs
    if isinstance(inputs, Mapping):
        inputs = {name: signal for name, signal in inputs.items() if name in topology.input_names}
    elif not topology.inputs:
        inputs = {}
    state = data.state
    if state is not None:
        held = {name: size[0] for name, size in state_sizes(topology).items()}
        # Keep the newest values of each delay line that is still read.
        state = {
            name: cut(jnp.asarray(line), [line.shape[-2]], held[name], 0)[..., 0, :, :]
            for name, line in state.items()
            if name in held
        }
    return Sequences(inputs, data.targets, state, data.weights, data.dropped)
