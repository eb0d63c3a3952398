"""Backpropagation step by step, which may keep what it needs of the simulation in half precision.

    ā^m(t) = ∂ᵉF/∂a^m(t) + Σ_{k: m feeds k} Σ_{d ∈ DL_{k,m}} LW^{k,m}(d)ᵀ n̄^k(t+d)        n̄^m(t) = Ḟ^m(t)ᵀ ā^m(t)

    ∂F/∂LW^{m,l}(d) = Σ_t n̄^m(t) a^l(t−d)ᵀ    ∂F/∂IW^{m,l}(d) = Σ_t n̄^m(t) p^l(t−d)ᵀ    ∂F/∂b^m = Σ_t n̄^m(t)

A value of the delay state is read by n̄^k(t+d) with t < 0, so its derivative is the sum in the first line.

Every step is written out, so it is meant for short records.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

import lddn_jax as lddn


class StepwiseBPTT(lddn.AbstractAdjoint):
    """Backpropagation through time, one step after the other.

    Args:
        half: Whether slopes and signals are kept in half precision, for half the memory.
    """

    half: bool = eqx.field(default=False, static=True)

    @property
    def accuracy(self):
        """Half precision has a relative rounding error of 5e-4, and a few of them add up."""
        return lddn.accuracy.Approximate(1e-2) if self.half else lddn.accuracy.Exact()

    def linearize(self, net, inputs, state, steps):
        """Simulates, and keeps slopes and signals."""
        found = lddn.simulate(net, inputs, state, steps=steps)
        functions = {layer.name: lddn.transfer.get(layer.transfer) for layer in net.topology.layers}
        slopes = {name: f.slope(found.n[name], found.a[name]) for name, f in functions.items()}
        signals = {
            name: jnp.concatenate([state[name], signal], axis=-2) if name in state else signal
            for name, signal in (inputs | found.a).items()
        }
        if self.half:
            slopes, signals = jax.tree.map(lambda x: x.astype(jnp.float16), (slopes, signals))
        return _Linearization(found.a, net, slopes, signals, state, steps)


class _Linearization(lddn.AbstractLinearization):
    a: dict
    net: lddn.Network
    slopes: dict
    signals: dict  # those of the delay state in front
    state: dict
    steps: int = eqx.field(static=True)

    def pullback(self, cotangents):
        """Walks back, layer by layer and step by step."""
        topology = self.net.topology
        weights = self.net.IW | self.net.LW
        n_bar = {layer.name: {} for layer in topology.layers}
        batch = next(iter(self.a.values())).shape[:-2]

        def sent_back(source, t):
            """Σ Wᵀ n̄(t+d) over everything that reads the source's value of time t."""
            total = jnp.zeros((*batch, topology.sizes[source]), self.net.dtype)
            for (to, read), delays in topology.delays.items():
                for k, d in enumerate(delays):
                    if read == source and 0 <= t + d < self.steps:
                        total += jnp.einsum("...i,ij->...j", n_bar[to][t + d], weights[to, read][k])
            return total

        for t in reversed(range(self.steps)):
            for name in reversed(lddn.plan(topology).simulation_order):
                a_bar = sent_back(name, t)
                if name in cotangents:
                    a_bar += cotangents[name][..., t, :]
                slope = self.slopes[name].astype(self.net.dtype)
                if lddn.transfer.get(topology.layer(name).transfer).elementwise:
                    n_bar[name][t] = slope[..., t, :] * a_bar
                else:
                    n_bar[name][t] = jnp.einsum("...ij,...i->...j", slope[..., t, :, :], a_bar)
        n_bar_of = {
            name: jnp.stack([found[t] for t in range(self.steps)], axis=-2).reshape(
                -1, self.steps, topology.sizes[name]
            )
            for name, found in n_bar.items()
        }

        def gradient(to, source):
            signal = self.signals[source].astype(self.net.dtype)
            signal = signal.reshape(-1, *signal.shape[-2:])
            held = signal.shape[-2] - self.steps
            lagged = [signal[:, held - d : held - d + self.steps] for d in topology.delays[to, source]]
            return jnp.einsum("bti,dbtj->dij", n_bar_of[to], jnp.stack(lagged))

        parameters = self.net.with_weights(
            IW={pair: gradient(*pair) for pair in self.net.IW},
            LW={pair: gradient(*pair) for pair in self.net.LW},
            b={name: n_bar_of[name].sum(axis=(0, 1)) for name in self.net.b},
        )
        before = {
            name: jnp.stack([sent_back(name, t) for t in range(-line.shape[-2], 0)], axis=-2)
            for name, line in self.state.items()
        }
        return parameters, before
