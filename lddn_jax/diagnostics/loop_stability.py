"""Stability of a closed loop along a trajectory: eigenvalues of its linearization and Lyapunov exponents.

    x(t+1) = F(x(t), p(t)),  x the delay state of the layers        J(t) = ∂F/∂x  at x(t), p(t)

    spectral radius   r(t) = max |eig J(t)|          an equilibrium at this point is stable if r < 1
    exponent          λ = lim 1/T log ‖J(T−1) ⋯ J(0) v‖        neighboring trajectories converge if λ < 0

The exponents are computed by repeated QR factorization, J(t) Q(t) = Q(t+1) R(t), λ_i = mean of log |R_ii(t)|. The
product of the Jacobians itself would overflow, and its columns would all align with the first exponent's direction.

A record is finite, and Q(0) is unknown. It is found by repeating the record before its first step until the directions
are those of the record, so that transients are not counted as growth. Directions that still turn from one end of the
record to the other, those of a pair of complex eigenvalues, grow alike: their exponents are averaged. So for a constant
J the exponents are log |eig J| at any length of the record. The standard error of the largest exponent is computed from
means over parts of the record; the sign of an exponent that is less than twice as large is not known.

Benettin, Galgani, Giorgilli & Strelcyn (1980), Meccanica 15; Eckmann & Ruelle (1985), Reviews of Modern Physics 57(3).
"""

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from lddn_jax.errors import LDDNError
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals, SignalsLike, StateLike
from lddn_jax.numerics.contraction import einsum
from lddn_jax.simulation.delays import DelayState, states_along
from lddn_jax.simulation.simulate import prepare, simulate

STEPS_BEFORE = 1000  # steps before the record over which the directions are found
LEAST_DELAYS = 2  # smallest number of steps, in longest delays, for which exponents are known
LEAST_TURN = 1e-3  # smallest element of Q(0)ᵀ Q(T) that counts as a turn
PARTS_OF_RECORD = 10  # parts whose means give the standard error
SURE_ERRORS = 2.0  # standard errors from zero at which the sign of an exponent is known
EIGENVALUE_ROUNDING = 1e-9  # by which the modulus of an eigenvalue 1 may differ from 1
NOTABLE_GROWTH = 0.1  # exponent times steps of a disturbance that grows or dies out along the record


@dataclass(frozen=True)
class Stability:
    """Stability of a loop along a trajectory, returned by `stability`; `print` shows a summary.

    Attributes:
        radius: Spectral radius r(t), `(*batch, time)`; NaN from the first step with NaN or infinite values on.
        exponents: Lyapunov exponents λ per step, largest first, `(*batch, state)`, one for each number in the delay
            state of the layers; −∞ for a direction that vanishes in finite time, as in every delay line. NaN if there
            are fewer steps than twice the longest delay.
        steps: Number of steps that the exponents are averaged over, `(*batch,)`.
        std: Standard error of the largest exponent, `(*batch,)`; 0 for a constant Jacobian.
    """

    radius: Float[np.ndarray, "*batch time"]
    exponents: Float[np.ndarray, "*batch state"]
    steps: Int[np.ndarray, "*batch"]
    std: Float[np.ndarray, "*batch"]

    @property
    def exponent(self) -> float:
        """Largest Lyapunov exponent over all sequences, per step; NaN if the record is too short."""
        largest = self.exponents[..., 0]
        return float("nan") if np.isnan(largest).any() else float(np.max(largest))

    @property
    def growth(self) -> str:
        """What becomes of a disturbance: "grows", "dies out", "neither" over the record, or "unknown".

        It is unknown if the record is too short: if there are fewer steps than twice the longest delay, if the exponent
        is not twice as large as its standard error, or if it contradicts all eigenvalues along the record.
        """
        kinds = [self._growth(*at) for at in zip(*self._each(), strict=True)]
        return next((kind for kind in ("unknown", "grows", "neither") if kind in kinds), "dies out")

    @property
    def contracting(self) -> bool:
        """True if disturbances die out along every sequence and all values stayed finite."""
        return self.growth == "dies out" and bool(np.isfinite(self.radius).all())

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`."""
        finite = self.radius[np.isfinite(self.radius)]
        return {
            "largest_exponent": self.exponent if np.isfinite(self.exponent) else None,
            "disturbance": self.growth,
            "largest_radius": float(finite.max()) if finite.size else None,
            "median_radius": float(np.median(finite)) if finite.size else None,
            "share_of_steps_beyond_one": float(np.mean(finite > 1 + EIGENVALUE_ROUNDING)) if finite.size else None,
            "contracting": self.contracting,
        }

    def __str__(self):
        if not np.isfinite(self.radius).any():
            return "no step has finite values, so nothing is known of the stability"
        numbers = self.to_dict()
        beyond = 100 * numbers["share_of_steps_beyond_one"]
        verdict = {
            "grows": "disturbances grow",
            "dies out": "disturbances die out",
            "neither": "disturbances neither grow nor die out along the record",
            "unknown": "the record is too short to tell whether disturbances grow or die out",
        }[self.growth]
        known = "" if np.isnan(self.exponent) else f"largest Lyapunov exponent {self.exponent:.4g} per step: "
        return "\n".join(
            [
                f"{known}{verdict}",
                f"largest eigenvalue modulus: median {numbers['median_radius']:.4g}, at most "
                f"{numbers['largest_radius']:.4g}; above 1 at {beyond:.1f} % of steps",
            ]
        )

    def _each(self) -> tuple[list[Any], ...]:
        """Exponent, standard error, number of steps, smallest and largest radius of each sequence."""
        radius = np.where(np.isfinite(self.radius), self.radius, np.nan)
        low, high = (np.where(np.isnan(radius), fill, radius) for fill in (np.inf, -np.inf))
        values = self.exponents[..., 0], self.std, self.steps, low.min(axis=-1), high.max(axis=-1)
        return tuple(np.ravel(value).tolist() for value in values)

    @staticmethod
    def _growth(exponent: float, std: float, steps: int, least: float, most: float) -> str:
        if np.isnan(exponent):
            return "unknown"
        if (abs(exponent) + SURE_ERRORS * std) * steps < NOTABLE_GROWTH:
            return "neither"
        if abs(exponent) < SURE_ERRORS * std:
            return "unknown"
        if (exponent > 0 and most < 1) or (exponent < 0 and least > 1):
            return "unknown"
        return "grows" if exponent > 0 else "dies out"


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
    call = "stability(net, inputs, state)"
    check_network(net, call)
    inputs, state, steps = prepare(net, inputs, state, steps, call)
    if not set(state) - net.topology.input_names:
        raise LDDNError(
            f"stability: no layer of {[layer.name for layer in net.topology.layers]} is read through a delay, so the "
            "network has no loop. Close it first: lddn.close_loop(net, output='y', input='measured_y')."
        )
    jacobians, growth, turned = (np.asarray(value, float) for value in _linearize(net, inputs, state, steps))
    finite = np.isfinite(jacobians).all(axis=(-2, -1))
    # By LAPACK: JAX has eigenvalues of nonsymmetric matrices on few devices.
    eigenvalues = np.linalg.eigvals(np.where(finite[..., None, None], jacobians, 0.0))
    radius = np.where(finite, np.abs(eigenvalues).max(axis=-1), np.nan)
    count = np.asarray(np.cumprod(finite, axis=-1).sum(axis=-1))  # steps before the first NaN or infinity
    longest = max(line.shape[-2] for name, line in state.items() if name not in net.topology.input_names)
    places = list(np.ndindex(*count.shape))
    found = [_exponents(growth[at][: count[at]], turned[at], LEAST_DELAYS * longest) for at in places]
    elements = growth.shape[-1]
    exponents = np.array([each for each, _ in found]).reshape(*count.shape, elements)
    std = np.array([each for _, each in found]).reshape(count.shape)
    return Stability(radius, exponents, count, std)


def _exponents(
    growth: Float[np.ndarray, "steps elements"], turned: Float[np.ndarray, "elements elements"], least: int
) -> tuple[Float[np.ndarray, " elements"], float]:
    """Exponents, largest first, and the standard error of the largest.

    Args:
        growth: log |R_ii(t)|.
        turned: Q(0)ᵀ Q(T), which mixes the directions of complex pairs.
        least: Number of steps below which nothing is known.
    """
    elements = growth.shape[-1]
    if len(growth) < max(least, 1):
        return np.full(elements, np.nan), float("nan")
    linked = np.abs(turned) > LEAST_TURN
    # Neighbors are linked if any direction up to one of them turned into one after it.
    cuts = [0, *(k for k in range(1, elements) if not (linked[:k, k:].any() or linked[k:, :k].any())), elements]
    alike = growth.copy()
    for first, last in itertools.pairwise(cuts):
        alike[:, first:last] = growth[:, first:last].mean(axis=1, keepdims=True)
    mean = alike.mean(axis=0)
    largest = int(np.argmax(mean))
    parts = [part.mean() for part in np.array_split(alike[:, largest], min(PARTS_OF_RECORD, len(growth)))]
    with np.errstate(invalid="ignore"):  # all −∞
        std = np.std(parts, ddof=1) / np.sqrt(len(parts)) if len(parts) > 1 else 0.0
    return np.sort(mean)[::-1], float(np.nan_to_num(std, nan=0.0))


@up_to_date
@jax.jit(static_argnames="steps")
def _linearize(
    net: Network, inputs: Signals, state: DelayState, steps: int
) -> tuple[
    Float[Array, "*batch time elements elements"],
    Float[Array, "*batch time elements"],
    Float[Array, "*batch elements elements"],
]:
    """J(t), `(*batch, time, state, state)`; log |R_ii(t)|, `(*batch, time, state)`; and Q(0)ᵀ Q(T)."""
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
    return J, *grow(J)


def _growth(
    jacobians: Float[Array, "time elements elements"],
) -> tuple[Float[Array, "time elements"], Float[Array, "elements elements"]]:
    """Log |R_ii(t)| at every step, and Q(0)ᵀ Q(T), where Q(0) is found by repeating the record before its start.

    Steps from the first Jacobian with NaN or infinity on have no effect.
    """
    steps, count, dtype = jacobians.shape[0], jacobians.shape[-1], jacobians.dtype
    alive = jnp.cumprod(jnp.isfinite(jacobians).all(axis=(-2, -1))).astype(bool)
    J = jnp.where(alive[:, None, None], jacobians, jnp.eye(count, dtype=dtype))

    def step(Q, J):
        Q_next, R = jnp.linalg.qr(einsum("ij,jk->ik", J, Q))
        size = jnp.abs(jnp.diagonal(R))
        rounding = count * jnp.finfo(dtype).eps * jnp.max(jnp.abs(R))
        return Q_next, jnp.log(jnp.where(size > rounding, size, 0))

    def repeat(Q, _):
        return jax.lax.scan(step, Q, J)[0], None

    # Random, because a direction that vanishes at once would never turn into the one that grows most.
    random = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(count, count)))[0], dtype)
    if steps < STEPS_BEFORE:
        repeated = -(-STEPS_BEFORE // steps)
        start, _ = jax.lax.scan(repeat, random, length=repeated)
    else:
        start, _ = jax.lax.scan(step, random, J[-STEPS_BEFORE:])
    final, growth = jax.lax.scan(step, start, J)
    return growth, einsum("ji,jk->ik", start, final)
