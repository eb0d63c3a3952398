"""Is a loop stable along the way it goes: eigenvalues of its linearization, and the Lyapunov exponent.

    x(t+1) = F(x(t), p(t)),  x the delay state of the layers        J(t) = ∂F/∂x  at x(t), p(t)

    spectral radius   r(t) = max |eig J(t)|          a loop that stood still here would be stable if r < 1
    exponent          λ = lim 1/T log ‖J(T−1) ⋯ J(0) v‖        two runs that start close come closer if λ < 0

The exponents are found by orthogonalization, J(t) Q(t) = Q(t+1) R(t), λ_i = mean of log |R_ii(t)|: the product itself
would overflow, and all of its columns turn into the first.

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
    """How stable a loop is along a trajectory; print it to read a summary.

    Attributes:
        radius: r(t), the largest modulus of an eigenvalue, `(*batch, time)`; NaN from where the run is not finite.
        exponents: λ, one for each number in the delay state of the layers, largest first, `(*batch, state)`, per step;
            −∞ for a direction that is forgotten within finite time, as every delay line has some.
        steps: How many steps the exponents are the mean of, `(*batch,)`.
    """

    radius: Float[np.ndarray, "*batch time"]
    exponents: Float[np.ndarray, "*batch state"]
    steps: Int[np.ndarray, "*batch"]

    @property
    def exponent(self) -> float:
        """The largest Lyapunov exponent of any sequence, per step; negative if a disturbance dies out."""
        return float(np.max(self.exponents[..., 0]))

    @property
    def contracting(self) -> bool:
        """Whether disturbances die out along every sequence, which therefore stayed finite."""
        return self.exponent < 0 and bool(np.isfinite(self.radius).all())

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for `json.dump`."""
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
    """Linearizes a loop at every step of its trajectory.

    Args:
        net: A network with a loop; of a NARX network the one with its loop closed.
        inputs: As in `lddn_jax.simulation.simulate`.
        state: As in `lddn_jax.simulation.simulate`.
        steps: As in `lddn_jax.simulation.simulate`.

    Returns:
        `Stability`: eigenvalues step by step and Lyapunov exponents. Memory grows with time × state².

    Raises:
        LDDNError: If no layer is read through a delay, so that there is nothing to be stable.
        ShapeError: If something does not fit the topology.

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
    # LAPACK's eigenvalues of matrices that are not symmetric; JAX has them on few devices.
    eigenvalues = np.linalg.eigvals(np.where(finite[..., None, None], jacobians, 0.0))
    radius = np.where(finite, np.abs(eigenvalues).max(axis=-1), np.nan)
    count = np.asarray(np.cumprod(finite, axis=-1).sum(axis=-1))  # of steps before the first that is not finite
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

    single = {name: signal[..., None, :] for name, signal in inputs.items()}  # every step a sequence of its own
    batch = next(iter(states.values())).shape[:-2]
    for _ in batch:
        jacobian = jax.vmap(jacobian)
    J = jacobian(single, states)
    grow = _growth
    for _ in batch[:-1]:
        grow = jax.vmap(grow)
    return J, grow(J)


def _growth(jacobians: Float[Array, "time elements elements"]) -> Float[Array, " elements"]:
    """The sum of log |R_ii| over the steps before the first that is not finite."""

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
