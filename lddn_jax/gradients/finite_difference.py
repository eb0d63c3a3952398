"""Finite differences: derivatives from simulations with one parameter changed at a time.

    order 2:  ∂a/∂x ≈ [a(x+h) − a(x−h)] / 2h                                   error O(h²)
    order 4:  ∂a/∂x ≈ [−a(x+2h) + 8 a(x+h) − 8 a(x−h) + a(x−2h)] / 12h         error O(h⁴)

Slow and approximate, but independent of all derivations: reveals an error shared by all other methods.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.accuracy import Accuracy, Approximate
from lddn_jax.gradients.method import AbstractForward, Derivatives
from lddn_jax.network.factored_network import of_layers
from lddn_jax.network.network import Network
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import from_lanes, to_lanes
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.simulate import batch_axes, run

_DEFAULT_STEP = {2: 1 / 3, 4: 2 / 7}  # powers of the machine epsilon
_STENCILS = {2: ((1, 0.5),), 4: ((1, 8 / 12), (2, -1 / 12))}


class FiniteDifference(AbstractForward):
    """Central differences of the outputs.

    Args:
        order: 2 (two points) or 4 (five points).
        step: h, relative to max(1, |x|). None is ε^(1/3) for order 2 and ε^(2/7) for order 4, ε the machine epsilon.
            The first balances rounding and truncation for derivatives of size one; the second lies below that
            balance, ε^(1/5), because the fifth derivatives of a recurrent network are large.

    Raises:
        LDDNError: If the order is not 2 or 4, or the step is not positive.

    Press et al., *Numerical Recipes*, 3rd ed., section 5.7; Fornberg (1988) for the five-point weights.
    """

    order: int = eqx.field(default=2, static=True)
    step: float | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        if self.order not in _STENCILS:
            raise LDDNError(f"FiniteDifference(order={self.order!r}): order is 2 or 4.")
        if self.step is not None and (isinstance(self.step, str) or not self.step > 0):
            raise LDDNError(f"FiniteDifference(step={self.step!r}): step must be positive; omit it for the default.")

    @property
    def accuracy(self) -> Accuracy:
        """Tolerance that covers rounding and the error of the stencil."""
        return Approximate(1e-6, float32=3e-2)

    def step_in(self, dtype: DTypeLike) -> float:
        """Returns h for networks of this dtype."""
        return self.step or float(jnp.finfo(dtype).eps) ** _DEFAULT_STEP[self.order]

    def sensitivities(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, layers: Sequence[str], with_state: bool
    ) -> tuple[Signals, Derivatives]:
        """Simulates two (or four) times for each parameter."""
        batch = batch_axes(inputs, state)

        def outputs(net, state):
            a = run(net, to_lanes(inputs), to_lanes(state), steps, (math.prod(batch),))[1]
            return from_lanes(of_layers(a, net.topology), batch)

        a = outputs(net, state)
        if not layers:
            return a, {}
        weights, unravel = net.ravel()
        count = weights.size
        starts = jax.tree.leaves(state) if with_state else []
        total = count + sum(s.shape[-1] * s.shape[-2] for s in starts)
        epsilon = self.step_in(net.dtype)

        def moved(k, distance):
            """Outputs of the chosen layers with element k of x changed (of the state: in every sequence)."""
            shifted, place, leaves = (
                unravel(weights + jnp.where(jnp.arange(count) == k, distance, 0)),
                count,
                [],
            )
            for s in starts:
                size = s.shape[-1] * s.shape[-2]
                here = (jnp.arange(size) + place == k).reshape((1,) * (s.ndim - 2) + s.shape[-2:])
                leaves.append(s + jnp.where(jnp.broadcast_to(here, s.shape), distance, 0))
                place += size
            changed = jax.tree.unflatten(jax.tree.structure(state), leaves) if with_state else state
            found = outputs(shifted, changed)
            return {name: found[name] for name in layers}

        def derivative(k):
            x = jnp.where(k < count, weights[jnp.minimum(k, count - 1)], 0) if count else jnp.zeros((), net.dtype)
            h = epsilon * jnp.maximum(jnp.abs(x), 1)
            points, factors = (jnp.asarray(row, net.dtype) for row in zip(*_STENCILS[self.order], strict=True))
            found = jax.vmap(moved, (None, 0))(k, h * jnp.concatenate((points, -points)))
            # Pairs are subtracted by a product with ±1: XLA could fuse a plain subtraction with the products that made
            # its operands, and then columns that must be exactly zero would have rounding errors.
            pairs = jnp.concatenate((jnp.eye(points.size), -jnp.eye(points.size)), axis=1).astype(net.dtype)
            return jax.tree.map(lambda f: einsum("s,s...->...", factors / h, einsum("sk,k...->s...", pairs, f)), found)

        rows = jax.lax.map(derivative, jnp.arange(total), batch_size=64)
        return a, {name: jnp.moveaxis(row, 0, -1) for name, row in rows.items()}
