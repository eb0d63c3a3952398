"""Backpropagation through time, written by hand for arbitrary connections and delays.

With F the performance index, ∂ᵉ the explicit derivative (through the outputs of the same step only) and n̄^m(t)
= ∂F/∂n^m(t), the chain rule over everything that reads a^m(t) now or later gives

    ā^m(t) = ∂ᵉF/∂a^m(t) + Σ_{k: m feeds k} Σ_{d ∈ DL_{k,m}} LW^{k,m}(d)ᵀ n̄^k(t+d)
    n̄^m(t) = ḟ^m(n^m(t)) ā^m(t)

    ∂F/∂LW^{m,l}(d) = Σ_t n̄^m(t) a^l(t−d)ᵀ    ∂F/∂IW^{m,l}(d) = Σ_t n̄^m(t) p^l(t−d)ᵀ    ∂F/∂b^m = Σ_t n̄^m(t)

and ∂F/∂a^l(τ) for τ < 0, a value of the delay state, is the sum in the first line at t = τ.

The first two lines are a network too: every connection turned round, time running back, "multiply by the slope"
as transfer function. So they run through the same recursion as the simulation, blocks and chunks included.

De Jesús & Hagan (2007), section III; the recursion in n̄ needs no sensitivities S^{u,m} of the static part.
"""

import jax.numpy as jnp

from lddn_jax import transfer
from lddn_jax.contraction import einsum
from lddn_jax.delays import DelayState
from lddn_jax.gradients.base import AbstractAdjoint, AbstractLinearization
from lddn_jax.gradients.gather import gather
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.recursion import Values, sweep
from lddn_jax.signals import Signals
from lddn_jax.simulate import run, time_first, time_last


class BPTT(AbstractAdjoint):
    """Hand-written backpropagation through time; see the module's equations.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(IW={("y", "u"): [[[1.0]]]})
        >>> gradient, _ = BPTT().pullback(net, jnp.ones((3, 1)), None, {"y": jnp.ones((3, 1))})
        >>> float(gradient.LW["y", "y"][0, 0, 0])  # y(t−1) summed over the steps that have one
        2.0
    """

    def linearize(self, net: Network, inputs: Signals, state: DelayState, steps: int) -> AbstractLinearization:
        """Simulates and keeps slopes and signals."""
        n, a = run(net, inputs, state, steps)
        return _BPTTLinearization(time_last(a), net, n, time_first(inputs) | a, time_first(state))


class _BPTTLinearization(AbstractLinearization):
    a: Signals
    net: Network
    n: Values
    signals: Values
    before: Values

    def pullback(self, cotangents: Signals) -> tuple[Network, DelayState]:
        topology = self.net.topology
        functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
        some = next(iter(self.n.values()))
        nothing = {
            layer.name: jnp.zeros((1,) * (some.ndim - 1) + (layer.size,), some.dtype) for layer in topology.layers
        }

        def node(name, a_bar, now):
            n, a = now
            return functions[name].times_slope(functions[name].slope(n, a), a_bar, transpose=True)

        _, n_bar = sweep(
            plan(topology).adjoint_blocks,
            {(source, to): delays for (to, source), delays in topology.delays.items() if (to, source) in self.net.LW},
            {(source, to): einsum("dij->dji", weights) for (to, source), weights in self.net.LW.items()},
            node,
            known={},
            drive=nothing | time_first(cotangents),
            extras={name: (n, self.signals[name]) for name, n in self.n.items()},
            before={},
            steps=some.shape[0],
            batch=some.shape[1:-1],
            reverse=True,
        )
        return gather(self.net, self.signals, self.before, n_bar)
