"""Backpropagation through time as in the textbook, with sensitivities of the static part.

If the network is cut at its positive delays, the part within one time step is static, and

    S^{u,m}(t) = ∂ᵉa^u(t)/∂n^m(t)
    S^{u,u} = Ḟ^u(n^u(t)),    S^{u,m} = Σ_{k: m feeds k, delay 0} S^{u,k} LW^{k,m}(0) Ḟ^m(n^m(t))

is computed by following each static path backward. With the sets

    U         layers compared with a target, or read through a positive delay
    X         layers fed by an input, or through a positive delay
    E^X_LW(u) layers x of X that read u through a positive delay
    E^U_S(x)  layers u of U with S^{u,x} ≠ 0

**The recursion, derived.** F depends on parameters only through the outputs a^u(t), u ∈ U. Let φ^u(t) be the
derivative of F with respect to a^u(t), with the other outputs of U at the same time held fixed; their dependence on
each other within the step is contained in S and must not be counted twice. Then a^u(t) affects F directly, and
through every net input n^x(t+d), d > 0, that reads it; and n^x(t+d) affects F through all outputs a^{u'}(t+d) of its
own step:

    φ^u(t) = ∂ᵉF/∂a^u(t) + Σ_{x ∈ E^X_LW(u)} Σ_{d ∈ DL_{x,u}, d > 0} LW^{x,u}(d)ᵀ n̄^x(t+d)
    n̄^x(t+d) = Σ_{u' ∈ E^U_S(x)} S^{u',x}(t+d)ᵀ φ^{u'}(t+d)

and, once φ is known at all times, for every layer

    n̄^m(t) = Σ_{u ∈ E^U_S(m)} S^{u,m}(t)ᵀ φ^u(t)

This is the correct form of eq. (14.39) of the book: an error in that equation as printed was reported and confirmed
by the authors, and the equations that follow it in the book agree with this one. The points that matter: sensitivity
and φ are both taken at t + d, never one of them at t; the sum is over the u' that x affects, not over the u that it
reads; both factors are transposed; only positive delays appear, since zero delays are contained in S.

Hagan, Demuth, Beale & De Jesús, *Neural Network Design*, 2nd ed., ch. 14; De Jesús & Hagan (2007), section III.
"""

import math
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.gradients.gather import gather
from lddn_jax.gradients.method import AbstractAdjoint, AbstractLinearization
from lddn_jax.gradients.slopes import factor_slopes
from lddn_jax.network import transfer
from lddn_jax.network.factored_network import declared, factored, of_layers
from lddn_jax.network.network import Network, matrices
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import Values, from_lanes, neurons_last, neurons_second, to_lanes
from lddn_jax.simulation.delays import DelayState, extend, last, tap
from lddn_jax.simulation.simulate import batch_axes, run
from lddn_jax.topology.plan import Pair, plan
from lddn_jax.topology.topology import Topology

# S^{u,m}(t) by (u, m)
StaticSensitivities: TypeAlias = dict[Pair, Float[Array, "... neurons_of_u=_ neurons_of_m=_"]]


class SensitivityBPTT(AbstractAdjoint):
    """The textbook's backpropagation through time, by S^{u,m} and φ^u; see the derivation in the module's docstring.

    It costs a product of matrices for each pair (u, m), so use `BPTT` for training; this method is for study and for
    comparison.
    """

    def linearize(self, net: Network, inputs: Signals, state: DelayState, steps: int) -> AbstractLinearization:
        """Simulates and stores net inputs and outputs."""
        topology, net, batch = net.topology, factored(net), batch_axes(inputs, state)
        inputs, state = to_lanes(inputs), to_lanes(state)
        n, a = run(net, inputs, state, steps, (math.prod(batch),))
        return _Sensitivities(from_lanes(of_layers(a, topology), batch), topology, net, n, inputs | a, state)


class _Sensitivities(AbstractLinearization):
    a: Signals
    topology: Topology = eqx.field(static=True)
    net: Network
    n: Values
    signals: Values
    before: Values

    def pullback(self, cotangents: Signals) -> tuple[Network, DelayState]:
        delayed = _delayed(self.net)
        n, a, explicit = (
            {name: neurons_last(value) for name, value in values.items()}
            for values in (self.n, self.signals, to_lanes(cotangents))
        )
        U = sorted({*explicit, *(source for _, source in delayed)})
        X = sorted({to for to, _ in delayed})  # layers fed by inputs need no recursion: inputs have no n̄
        S = static_sensitivities(self.net, U, n, a)
        phi = self._phi(explicit, a, U, X, S, delayed)
        n_bar = {name: neurons_second(_through(S, U, name, phi, n[name])) for name in n}
        gradient, state = gather(self.net, self.signals, self.before, n_bar)
        return declared(gradient, self.topology), from_lanes(state, next(iter(self.a.values())).shape[:-2])

    def _phi(self, explicit: Values, a: Values, U: list[str], X: list[str], S: StaticSensitivities, delayed) -> Values:
        """Runs the recursion for φ^u from the last step to the first."""
        explicit = {u: explicit.get(u, jnp.zeros_like(a[u])) for u in U}
        if not delayed:
            return explicit

        matrix = matrices(self.net)

        def step(future, now):
            explicit_now, S_now = now
            phi = dict(explicit_now)
            for (x, u), delays in delayed.items():
                for d in delays:
                    weights = matrix[x, u][self.net.topology.delays[x, u].index(d)]
                    ahead = tap(future[x], d, reverse=True)
                    phi[u] = phi[u] + einsum("ij,...i->...j", weights, ahead)
            n_bar = {x: _through(S_now, U, x, phi, future[x][0]) for x in X}
            future = {
                x: last(extend(line, n_bar[x][None], reverse=True), line.shape[0], reverse=True)
                for x, line in future.items()
            }
            return future, phi

        def nothing_after(x):
            longest = max(delays[-1] for (to, _), delays in delayed.items() if to == x)
            return jnp.zeros((longest, *a[x].shape[1:]), a[x].dtype)

        needed = {(u, x): value for (u, x), value in S.items() if x in X}
        return jax.lax.scan(step, {x: nothing_after(x) for x in X}, (explicit, needed), reverse=True)[1]


def static_sensitivities(net: Network, U: list[str], n: Values, a: Values) -> StaticSensitivities:
    """Returns S^{u,m}(t) where it is nonzero, `(time, lanes, neurons of u, neurons of m)` by (u, m)."""
    topology, weights = net.topology, matrices(net)
    functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
    of_factors = factor_slopes(topology, n, a)
    slopes = {name: f.slope(n[name], a[name]) for name, f in functions.items() if name not in of_factors} | of_factors
    S: StaticSensitivities = {}
    for u in U:
        for m in reversed(plan(topology).simulation_order):
            reached = jnp.broadcast_to(jnp.eye(topology.sizes[u], dtype=net.dtype), (*a[u].shape, topology.sizes[u]))
            paths = [reached] if m == u else []
            for (k, source), delays in topology.delays.items():
                if source == m and delays[0] == 0 and (u, k) in S:
                    paths.append(einsum("...uk,km->...um", S[u, k], weights[k, m][0]))
            if paths:
                total = sum(paths[1:], start=paths[0])
                if functions[m].elementwise:
                    S[u, m] = total * slopes[m][..., None, :]
                else:
                    S[u, m] = einsum("...uk,...km->...um", total, slopes[m])
    return S


def _delayed(net: Network) -> dict[Pair, tuple[int, ...]]:
    """Returns the positive delays of all layer weights that have any, by (x, u)."""
    topology = net.topology
    layer_weights = {pair: delays for pair, delays in topology.delays.items() if pair[1] not in topology.input_names}
    positive = {pair: tuple(d for d in delays if d > 0) for pair, delays in layer_weights.items()}
    return {pair: delays for pair, delays in sorted(positive.items()) if delays}


def _through(
    S: StaticSensitivities, U: list[str], m: str, phi: Values, like: Float[Array, "*lanes neurons"]
) -> Float[Array, "*lanes neurons"]:
    """Returns n̄^m = Σ_{u ∈ E^U_S(m)} S^{u,m}ᵀ φ^u."""
    n_bar = jnp.zeros_like(like)
    for u in U:
        if (u, m) in S:
            n_bar = n_bar + einsum("...um,...u->...m", S[u, m], phi[u])
    return n_bar
