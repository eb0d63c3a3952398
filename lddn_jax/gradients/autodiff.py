"""Automatic differentiation of a plain scan: the reference for the hand-written methods.

The simulation here is a literal transcription of the equations: one `lax.scan` over time, with one product for each
connection and delay. It shares no blocks, chunks or slopes with the rest of the package, so that the comparison reveals
errors in these.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from lddn_jax.gradients.method import (
    AbstractGradient,
    AbstractLinearization,
    Derivatives,
    nothing_neglected,
    over_sequences,
)
from lddn_jax.network import transfer
from lddn_jax.network.network import Network, connection_weights
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.connection_product import ConnectionWeights
from lddn_jax.numerics.contraction import einsum
from lddn_jax.simulation.delays import DelayState, extend, last, tap
from lddn_jax.simulation.simulate import batch_axes
from lddn_jax.topology.plan import plan


class Autodiff(AbstractGradient):
    """Automatic differentiation of a plain scan: `jax.vjp` for pullbacks, `jax.jacfwd` for Jacobians."""

    def linearize(self, net: Network, inputs: Signals, state: DelayState, steps: int) -> AbstractLinearization:
        """Simulates by `jax.vjp`."""
        a, pull = jax.vjp(lambda net, state: plain_scan(net, inputs, state, steps), net, state)
        return _AutodiffLinearization(a, pull)

    def derivatives(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool = False
    ) -> tuple[Derivatives, Signals]:
        """Returns ∂(outputs)/∂x by `jax.jacfwd`."""
        flat, unravel = net.ravel()

        def one_sequence(inputs, state):
            start, to_state = ravel_pytree(state)

            def outputs(x):
                moved = to_state(x[flat.size :]) if with_state else state
                a = plain_scan(unravel(x[: flat.size]), inputs, moved, steps)
                return {name: a[name] for name in net.topology.outputs}

            return jax.jacfwd(outputs)(jnp.concatenate([flat, start]) if with_state and start.size else flat)

        return nothing_neglected(over_sequences(one_sequence, inputs, state))


class _AutodiffLinearization(AbstractLinearization):
    a: Signals
    pull: Any

    def pullback(self, cotangents):
        zeros = {name: jnp.zeros_like(a) for name, a in self.a.items()}
        return self.pull(zeros | cotangents)


def plain_scan(net: Network, inputs: Signals, state: DelayState, steps: int) -> Signals:
    """Returns every layer's output, `(*batch, time, neurons)`, by a literal transcription of the equations."""
    topology = net.topology
    weights = {
        pair: W if topology.connected[pair].trained else jax.lax.stop_gradient(W)
        for pair, W in connection_weights(net).items()
    }
    shape = batch_axes(inputs, state)

    def step(lines, now):
        values = dict(now)
        for name in plan(topology).simulation_order:
            multiplies = topology.layer(name).net_input == "product"
            n = zero = jnp.zeros((*shape, topology.sizes[name]), net.dtype)
            if multiplies:
                n = jnp.ones_like(zero)
            if name in net.b:
                n = n + net.b[name].reshape((1,) * len(shape) + net.b[name].shape)
            for (to, source), delays in topology.delays.items():
                if to == name:
                    z = zero if multiplies else n
                    for k, d in enumerate(delays):
                        value = values[source] if d == 0 else tap(lines[source], d)
                        z = z + _times(weights[to, source], k, value)
                    n = n * z if multiplies else z
            values[name] = transfer.get(topology.layer(name).transfer).function(n)
        lines = {name: last(extend(line, values[name][None]), line.shape[0]) for name, line in lines.items()}
        return lines, {layer.name: values[layer.name] for layer in topology.layers}

    a = jax.lax.scan(step, _time_first(state), _time_first(inputs), length=steps)[1]
    return {name: jnp.moveaxis(value, 0, -2) for name, value in a.items()}


def _times(weights: ConnectionWeights, k: int, value: Float[Array, "*batch from"]) -> Float[Array, "*batch to"]:
    """Returns W(d) s(t−d), d the k-th delay; W is a matrix, diagonal, or the identity."""
    if weights is None:
        return value
    return (
        einsum("...j,ij->...i", value, weights[k]) if weights.ndim == 3 else einsum("...i,i->...i", value, weights[k])
    )


def _time_first(
    signals: dict[str, Float[Array, "... time=_ size=_"]],
) -> dict[str, Float[Array, "time=_ ... size=_"]]:
    return {name: jnp.moveaxis(signal, -2, 0) for name, signal in signals.items()}
