"""Forward derivatives of few layers: all other layers are eliminated within each time step.

A forward recursion must carry the derivatives of layers that are read through a delay, and of the requested layers. A
layer that is read within its own time step only, such as the hidden layer of a NARX network, is part of the static path
from one of these to the next. With S^{u,m}(t) = ∂a^u(t)/∂n^m(t) along static paths through such layers, computed
backward from u as in the textbook's recursion,

    S^{u,u} = Ḟ^u,        S^{u,m}(t) = Σ_{k: m feeds k, delay 0} S^{u,k}(t) LW^{k,m}(0) Ḟ^m(n^m(t))

the derivatives of the carried layers satisfy

    ∂a^u(t)/∂x = Σ_m S^{u,m}(t) ∂ᵉn^m(t)/∂x + Σ_l Σ_d W^{u,l}(d, t) ∂a^l(t−d)/∂x
    W^{u,l}(d, t) = Σ_m S^{u,m}(t) LW^{m,l}(d)

The first sum and W are computed for all times at once; only the second sum needs a loop. For a closed-loop NARX network
with ten hidden neurons and one output, it carries one row of derivatives instead of eleven.

De Jesús & Hagan (2007), section II and III, for S and the set U of layers that are carried.
"""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.gradients.columns import Columns, parameters_of
from lddn_jax.gradients.slopes import factor_slopes
from lddn_jax.network import transfer
from lddn_jax.network.network import Network, matrices
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import Values
from lddn_jax.simulation.delays import extend, last, tap, taps
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology

LEAST_REDUCTION = 2  # least factor between all neurons and those carried for which the elimination is faster
LONGEST_REBUILT_DELAY = 16  # delay lines up to this length are copied at every step


@functools.lru_cache(maxsize=1024)
def carried(topology: Topology, layers: tuple[str, ...]) -> tuple[str, ...] | None:
    """Returns the layers to carry for derivatives of `layers`; None if carrying all layers is as fast."""
    longest = plan(topology).longest_delays
    found = tuple(name for name in plan(topology).simulation_order if name in longest or name in layers)
    few = LEAST_REDUCTION * sum(topology.sizes[name] for name in found) <= sum(layer.size for layer in topology.layers)
    return found if few and max((longest.get(name, 0) for name in found), default=0) <= LONGEST_REBUILT_DELAY else None


class Reduced:
    """The recursion in ∂a/∂x of the carried layers, with the same interface as that of all layers."""

    chunk = 1

    def __init__(self, net: Network, columns: Columns, lanes: int, layers: Sequence[str]):
        self.net, self.columns, self.lanes, self.layers = net, columns, lanes, tuple(layers)
        topology = net.topology
        self.functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
        self.weights = matrices(net)
        self.static = {name: self._static(name) for name in self.layers}

    def _static(self, name: str) -> tuple[str, ...]:
        """Returns the layer and the eliminated layers with a static path to it, in backward order."""
        found = {name}
        for m in reversed(plan(self.net.topology).simulation_order):
            reads = (to for (to, source) in self.net.topology.delays if source == m and to in found)
            if m not in self.layers and any(True for _ in reads):
                found.add(m)
        return tuple(m for m in reversed(plan(self.net.topology).simulation_order) if m in found)

    def bytes_of_a_step(self) -> int:
        """Returns the bytes of one step's derivatives of one sequence, including intermediate results."""
        sizes = self.net.topology.sizes
        elements = sum(sizes[name] * self.columns.width(self.columns.of[name]) for name in self.layers)
        return max(1, 2 * elements * jnp.dtype(self.net.dtype).itemsize)

    def start(self) -> Values:
        """Returns ∂a^l(τ)/∂x for τ < 0: zeros."""
        topology, columns = self.net.topology, self.columns
        return {
            name: jnp.zeros(
                (longest, topology.sizes[name], self.lanes, columns.width(columns.of[name])), self.net.dtype
            )
            for name, longest in plan(topology).longest_delays.items()
            if name in self.layers
        }

    def __call__(self, n: Values, signals: Values, before: Values, lines: Values, steps: int) -> tuple[Values, Values]:
        """Returns ∂a/∂x of the carried layers, `(time, neurons, lanes, columns)`, and the delay lines after them."""
        of_factors = factor_slopes(self.net.topology, n, signals)
        slopes = {
            name: of_factors[name]
            if name in of_factors
            else self.functions[name].slope_in_lanes(n[name], signals[name])
            for name in n
        }
        S = {name: self._sensitivities(name, slopes, steps) for name in self.layers}
        drive = {name: self._explicit(name, S[name], signals, before, steps) for name in self.layers}
        found: Values = {}
        for block in plan(self.net.topology).blocks:
            layers = [name for name in block.layers if name in self.layers]
            inside = {}
            for name in layers:
                inside[name] = {}
                for (source, d), W in self._weights(name, S[name]).items():
                    if source in layers:
                        inside[name][source, d] = W
                        continue
                    column = self.columns.moved(
                        extend(lines.get(source), found[source]), self.columns.of[source], self.columns.of[name]
                    )
                    drive[name] = drive[name] + _times(W, taps(column, (d,), steps))
            if any(inside.values()):
                held = {name: lines[name] for name in layers if name in lines}
                found |= self._in_a_loop(layers, drive, inside, held)
            else:
                found |= {name: drive[name] for name in layers}
        lines = {name: last(extend(line, found[name]), line.shape[0]) for name, line in lines.items()}
        return found, lines

    def _sensitivities(self, name: str, slopes: Values, steps: int) -> Values:
        """Returns S^{u,m} of the static paths to a layer u, `(time, from, lanes, to)` by m."""
        topology, size = self.net.topology, self.net.topology.sizes[name]
        one = jnp.broadcast_to(jnp.eye(size, dtype=self.net.dtype)[:, None], (steps, size, self.lanes, size))
        S = {name: self.functions[name].times_slope(slopes[name], one, transpose=True)}
        for m in self.static[name][1:]:
            back = [
                einsum("ij,ti...->tj...", self.weights[k, m][0], S[k])
                for k in self.static[name]
                if k in S and (k, m) in topology.delays
            ]
            S[m] = self.functions[m].times_slope(slopes[m], sum(back[1:], start=back[0]), transpose=True)
        return S

    def _weights(self, name: str, S: Values) -> dict[tuple[str, int], Float[Array, "time to=_ from=_ lanes"]]:
        """Returns W^{u,l}(d, t), `(time, to, from, lanes)` by (l, d)."""
        found: dict[tuple[str, int], Float[Array, "time to=_ from=_ lanes"]] = {}
        for m in self.static[name]:
            for (to, source), delays in self.net.topology.delays.items():
                if to == m and source in self.layers:
                    for weights, d in zip(self.weights[to, source], delays, strict=True):
                        W = einsum("ij,ti...k->tkj...", weights, S[m])
                        found[source, d] = found[source, d] + W if (source, d) in found else W
        return found

    def _explicit(
        self, name: str, S: Values, signals: Values, before: Values, steps: int
    ) -> Float[Array, "time neurons lanes columns"]:
        """Returns Σ_m S^{u,m} ∂ᵉn^m/∂x, `(time, neurons, lanes, columns)`: S times delayed signals."""
        topology, size = self.net.topology, self.net.topology.sizes[name]
        pieces = []
        for kind, where in self.columns.of[name]:
            width = self.columns.widths[kind, where]
            if kind in ("IW", "LW") and where[0] in S:
                to, source = where
                delays = topology.delays[where]
                values = taps(extend(before.get(source), signals[source]), delays, steps)
                values = values.reshape(steps, len(delays), topology.sizes[source], self.lanes)
                subscripts = "tibk,tdjb->tkbdij" if len(topology.weight_shapes[where]) == 3 else "tibk,tdib->tkbdi"
                outer = einsum(subscripts, S[to], values)
                pieces.append(parameters_of(topology, where, outer.reshape(steps, size, self.lanes, -1)))
            elif kind == "b" and where in S:
                pieces.append(einsum("tibk->tkbi", S[where]))
            else:
                pieces.append(jnp.zeros((steps, size, self.lanes, width), self.net.dtype))
        return jnp.concatenate(pieces, axis=-1) if pieces else jnp.zeros((steps, size, self.lanes, 0), self.net.dtype)

    def _in_a_loop(self, layers: Sequence[str], drive: Values, inside: Mapping[str, Mapping], lines: Values) -> Values:
        """Runs the layers of one block step by step."""
        reads = {name: tuple(inside[name]) for name in layers}
        weights = {name: jnp.concatenate(list(inside[name].values()), axis=2) for name in layers if reads[name]}

        def step(lines, now):
            drive, weights = now
            values: Values = {}
            for name in layers:
                values[name] = drive[name]
                if reads[name]:
                    column = [values[source] if d == 0 else tap(lines[source], d) for source, d in reads[name]]
                    values[name] = drive[name] + _times(weights[name], jnp.concatenate(column))
            lines = {name: last(extend(line, values[name][None]), line.shape[0]) for name, line in lines.items()}
            return lines, values

        return jax.lax.scan(step, lines, ({name: drive[name] for name in layers}, weights))[1]


def _times(
    W: Float[Array, "*time to from lanes"], column: Float[Array, "*time from lanes columns"]
) -> Float[Array, "*time to lanes columns"]:
    """Returns Σ_j W_kj x_j, with W `(…, to, from, lanes)` and x `(…, from, lanes, columns)`, for few neurons."""
    return jnp.sum(W[..., None] * jnp.expand_dims(column, -4), axis=-3)
