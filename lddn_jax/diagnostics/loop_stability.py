"""Stability of a closed loop along a trajectory: eigenvalues of its linearization and Lyapunov exponents.

    x(t+1) = F(x(t), p(t)),  x the delay state of the layers        J(t) = ∂F/∂x  at x(t), p(t)

    spectral radius   r(t) = max |eig J(t)|          an equilibrium at this point is stable if r < 1
    exponent          λ = lim 1/T log ‖J(T−1) ⋯ J(0) v‖        neighboring trajectories converge if λ < 0

The exponents are computed by repeated QR factorization, J(t) Q(t) = Q(t+1) R(t), λ_i = mean of log |R_ii(t)|. The
product of the Jacobians itself would overflow, and its columns would all align with the first exponent's direction.

Benettin, Galgani, Giorgilli & Strelcyn (1980), Meccanica 15; Eckmann & Ruelle (1985), Reviews of Modern Physics 57(3).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from lddn_jax.errors import LDDNError
from lddn_jax.network.network import Network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals, SignalsLike, StateLike
from lddn_jax.numerics.contraction import einsum
from lddn_jax.simulation.delays import DelayState, states_along
from lddn_jax.simulation.simulate import prepare, simulate


@dataclass(frozen=True)
class Stability:
    """Stability of a loop along a trajectory, returned by `stability`; `print` shows a summary.

    Attributes:
        radius: Spectral radius r(t), `(*batch, time)`; NaN from the first step with NaN or infinite values on.
        exponents: Lyapunov exponents λ per step, largest first, `(*batch, state)`, one for each number in the delay
            state of the layers; −∞ for a direction that vanishes in finite time, as in every delay line.
        steps: Number of steps that the exponents are averaged over, `(*batch,)`.
    """

    radius: Float[np.ndarray, "*batch time"]
    exponents: Float[np.ndarray, "*batch state"]
    steps: Int[np.ndarray, "*batch"]

    @property
    def exponent(self) -> float:
        """Largest Lyapunov exponent over all sequences, per step; negative if disturbances die out."""
        return float(np.max(self.exponents[..., 0]))

    @property
    def contracting(self) -> bool:
        """True if disturbances die out along every sequence and all values stayed finite."""
        return self.exponent < 0 and bool(np.isfinite(self.radius).all())

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`."""
        return {
            "largest_exponent": self.exponent if np.isfinite(self.exponent) else None,
            "largest_radius": float(np.nanmax(self.radius)),
            "median_radius": float(np.nanmedian(self.radius)),
            "share_of_steps_beyond_one": float(np.mean(self.radius[np.isfinite(self.radius)] > 1)),
            "contracting": self.contracting,
        }

    def __str__(self):
        numbers = self.to_dict()
        beyond = 100 * numbers["share_of_steps_beyond_one"]
        verdict = "disturbances die out" if self.contracting else "disturbances do not die out"
        return "\n".join(
            [
                f"largest Lyapunov exponent {self.exponent:.4g} per step: {verdict}",
                f"largest eigenvalue modulus: median {numbers['median_radius']:.4g}, at most "
                f"{numbers['largest_radius']:.4g}; above 1 at {beyond:.1f} % of steps",
            ]
        )


def stability(net: Network, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Stability:
    """Linearizes a loop at every step of its trajectory and computes spectral radii and Lyapunov exponents.

    Args:
        net: A network with a loop. Pass a NARX network with its loop closed.
        inputs: As in `lddn_jax.simulate`.
        state: As in `lddn_jax.simulate`.
        steps: As in `lddn_jax.simulate`.

    Returns:
        `Stability`: spectral radius at every step, and Lyapunov exponents. Memory grows with time × state².

    Raises:
        LDDNError: If no layer is read through a delay, so the network has no loop.
        ShapeError: If names or shapes do not match the topology.

    Example:
        >>> import lddn_jax as lddn
        >>> topology = lddn.Topology([], [lddn.Layer("y", 1, "linear")], [lddn.Connection("y", "y", (1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(LW={("y", "y"): [[[0.5]]]})
        >>> found = stability(net, {}, steps=10)
        >>> found.radius[0].item(), round(found.exponent, 4)  # log 0.5
        (0.5, -0.6931)

    Benettin et al. (1980).
    """
    inputs, state, steps = prepare(net, inputs, state, steps)
    if not set(state) - net.topology.input_names:
        raise LDDNError(
            f"stability: no layer of {[layer.name for layer in net.topology.layers]} is read through a delay, so the "
            "network has no loop. Close it first: lddn.close_loop(net, output='y', input='measured_y')."
        )
    jacobians, logarithms = (np.asarray(value, float) for value in _linearize(net, inputs, state, steps))
    finite = np.isfinite(jacobians).all(axis=(-2, -1))
    # By LAPACK: JAX has eigenvalues of nonsymmetric matrices on few devices.
    eigenvalues = np.linalg.eigvals(np.where(finite[..., None, None], jacobians, 0.0))
    radius = np.where(finite, np.abs(eigenvalues).max(axis=-1), np.nan)
    count = np.asarray(np.cumprod(finite, axis=-1).sum(axis=-1))  # steps before the first NaN or infinity
    exponents = logarithms / np.maximum(count, 1)[..., None]
    return Stability(radius, np.sort(exponents, axis=-1)[..., ::-1], count)


@up_to_date
@jax.jit(static_argnames="steps")
def _linearize(
    net: Network, inputs: Signals, state: DelayState, steps: int
) -> tuple[Float[Array, "*batch time elements elements"], Float[Array, "*batch elements"]]:
    """J(t), `(*batch, time, state, state)`, and the sum of log |R_ii| over all steps, `(*batch, state)`."""
    trajectory = simulate(net, inputs, state, steps=steps)
    states = states_along(state, inputs | trajectory.a)
    layers = sorted(set(state) - net.topology.input_names)

    def jacobian(inputs, state):
        x, unravel = ravel_pytree({name: state[name] for name in layers})

        def one_step(x):
            after = simulate(net, inputs, state | unravel(x), steps=1).final_state
            return ravel_pytree({name: after[name] for name in layers})[0]

        return jax.jacfwd(one_step)(x)

    single = {name: signal[..., None, :] for name, signal in inputs.items()}  # each step as a sequence of length 1
    batch = next(iter(states.values())).shape[:-2]
    for _ in batch:
        jacobian = jax.vmap(jacobian)
    J = jacobian(single, states)
    grow = _growth
    for _ in batch[:-1]:
        grow = jax.vmap(grow)
    return J, grow(J)


def _growth(jacobians: Float[Array, "time elements elements"]) -> Float[Array, " elements"]:
    """The sum of log |R_ii| over the steps before the first Jacobian with NaN or infinity."""

    def step(carry, J):
        Q, total, alive = carry
        alive = alive & jnp.isfinite(J).all()
        Q_next, R = jnp.linalg.qr(einsum("ij,jk->ik", jnp.where(alive, J, 0), Q))
        logarithms = jnp.log(jnp.abs(jnp.diagonal(R)))
        return (jnp.where(alive, Q_next, Q), total + jnp.where(alive, logarithms, 0), alive), None

    count, dtype = jacobians.shape[-1], jacobians.dtype
    start = (jnp.eye(count, dtype=dtype), jnp.zeros(count, dtype), jnp.array(True))
    (_, total, _), _ = jax.lax.scan(step, start, jacobians)
    return total
