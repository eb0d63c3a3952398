"""Simulated magnetic levitation (maglev) plant: a magnet above an electromagnet.

    m ÿ = −g m + α i² sgn(i) / y − β ẏ          y the distance of the magnet from the coil, i the current

with m = 3, g = 9.8, α = 15, β = 12. At a constant current i > 0 the magnet settles at y = α i² / (m g). The current is
held constant over each sample: `current[k]` acts from sample k to sample k + 1, so it first affects `position[k + 1]`,
and `current[-1]` has no effect.

Contact. The equation is singular at y = 0, and gravity or an attracting current pulls the magnet there. The position is
therefore limited to a small height `stop`: on impact the velocity becomes 0 (inelastic, located within the sample by
root finding), and the magnet stays there until the force at that height points upward. With a constant current a magnet
released from rest never falls below its starting point, so there is at most one impact per sample, and this treatment
is exact.

Reference: Hagan, Demuth, Beale & De Jesús, *Neural Network Design*, 2nd ed., chapters 14 and 27. The record distributed
with the book follows the equation without sgn(i): see `signed` in `simulate_maglev`.
"""

import numbers
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from lddn_jax.checks import check_positive
from lddn_jax.data.plants.excitation import (
    check_sample_time,
    double_precision,
    filled_up,
    random_steps,
    require_diffrax,
)
from lddn_jax.data.tables import Table
from lddn_jax.errors import DataError, NumericalError, ShapeError

MASS = 3.0
GRAVITY_M_S2 = 9.8
FIELD_STRENGTH = 15.0  # α
FRICTION = 12.0  # β

LEVELS, HOLDS = (-1.0, 4.0), (0.1, 1.0)


def maglev(
    steps: int,
    key: PRNGKeyArray,
    *,
    sample_time: float | int = 0.01,
    levels: tuple[float | int, float | int] = LEVELS,
    holds: tuple[float | int, float | int] = HOLDS,
    y0: float | int = 0.5,
    v0: float | int = 0.0,
    stop: float | int = 0.01,
    signed: bool = True,
) -> Table:
    """Simulates a record of the maglev plant with a random step current.

    The current takes levels drawn uniformly from `levels`, each held for a time drawn uniformly from `holds`; the
    defaults are those of the record distributed with the book.

    Args:
        steps: Number of samples.
        key: JAX random key; the record does not depend on JAX's default precision.
        sample_time: Sampling interval, in seconds.
        levels: Smallest and largest current, in amperes.
        holds: Shortest and longest time that a level is held, in seconds.
        y0: Position at the first sample.
        v0: Velocity at the first sample, per second.
        stop: Height at which the magnet touches the coil.
        signed: Whether a negative current attracts the magnet; see `simulate_maglev`.

    Returns:
        A `Table` of `steps` rows with the columns time, current and position, in float64.

    Raises:
        DataError: If an argument is out of range.
        LDDNError: If diffrax is not installed.

    Example:
        >>> import jax
        >>> table = maglev(200, jax.random.key(0))
        >>> table.names, len(table), float(table["position"][0])
        (('time', 'current', 'position'), 200, 0.5)
    """
    current = random_steps(
        "maglev", steps, key, sample_time=sample_time, levels=levels, holds=holds, usual=(LEVELS, HOLDS)
    )
    position = simulate_maglev(current, sample_time=sample_time, y0=y0, v0=v0, stop=stop, signed=signed)
    return Table({"time": np.arange(steps) * sample_time, "current": current, "position": position})


def simulate_maglev(
    current: Shaped[ArrayLike, " time"] | Sequence[float | int],
    *,
    sample_time: float | int = 0.01,
    y0: float | int = 0.5,
    v0: float | int = 0.0,
    stop: float | int = 0.01,
    signed: bool = True,
) -> Float[np.ndarray, " time"]:
    """Simulates the position of the magnet for a given coil current.

    Integrated by diffrax (Tsit5, relative tolerance 1e-9) in float64 on the CPU, regardless of JAX's default precision
    and device. JAX's configuration is not changed.

    Args:
        current: Coil current of each sample, `(time,)`, in amperes, held until the next sample.
        sample_time: Sampling interval, in seconds.
        y0: Position at the first sample.
        v0: Velocity at the first sample, per second.
        stop: Height at which the magnet touches the coil.
        signed: True to keep sgn(i), so that a negative current attracts. False to drop it, so that currents of either
            sign repel. The record distributed with the book was made with False: it is reproduced throughout if `stop`
            is below its lowest point, such as 1e-6; with True it agrees until the current first becomes negative.

    Returns:
        Position at each sample, `(time,)`, float64; the first is `y0`.

    Raises:
        DataError: If the current contains NaN or infinity, or another argument is out of range.
        ShapeError: If the current does not have exactly one axis.
        NumericalError: If the integration failed, for example for a very large current.
        LDDNError: If diffrax is not installed.

    Example:
        >>> import numpy as np
        >>> position = simulate_maglev(np.full(1000, 2.0))
        >>> bool(abs(position[-1] - 15 * 2.0**2 / (3 * 9.8)) < 1e-6)
        True
    """
    current = np.asarray(current, dtype=np.float64)
    if current.ndim != 1 or not len(current):
        raise ShapeError(
            f"simulate_maglev was given a current of shape {current.shape}; it needs (time,) with one "
            "sample or more. From a signal (time, size) take one channel: current[:, 0]."
        )
    if not np.isfinite(current).all():
        where = int(np.argmin(np.isfinite(current)))
        raise DataError(
            f"current[{where}] is {current[where]}; every sample must be finite: fill the gap or cut there."
        )
    check_sample_time("simulate_maglev", sample_time)
    check_positive("stop", stop, numbers.Real, infinite=False, call="simulate_maglev", example=0.01, error=DataError)
    if not (np.isfinite([y0, v0]).all() and y0 >= stop):
        raise DataError(
            f"simulate_maglev was given y0={y0}, v0={v0}, stop={stop}; needed are y0 >= stop and a finite velocity: "
            "y0=0.5, v0=0.0, stop=0.01."
        )
    require_diffrax("The magnet is")
    if y0 == stop:
        v0 = max(v0, 0.0)  # the magnet touches the coil: treat it as an impact before the first sample

    with np.errstate(over="ignore"):  # reported below, with the index of the sample
        repulsion = FIELD_STRENGTH / MASS * current**2 * (np.sign(current) if signed else 1.0)
    with double_precision():
        arguments = (jnp.asarray(x, jnp.float64) for x in (filled_up(repulsion), y0, v0, sample_time, stop))
        position, good = (np.asarray(x) for x in _integrate(*arguments))
    position, good = position[: len(current) - 1], good[: len(current) - 1]
    if not good.all():
        where = int(np.argmin(good))
        raise NumericalError(
            f"The magnet's equation could not be integrated from sample {where} to {where + 1} "
            f"(current {current[where]:g} A). Use currents of a few amperes, as in the book (up to 4 A)."
        )
    return np.concatenate([[float(y0)], position])


@jax.jit
def _integrate(
    repulsion: Float[Array, " time"],
    y0: Float[Array, ""],
    v0: Float[Array, ""],
    sample_time: Float[Array, ""],
    stop: Float[Array, ""],
) -> tuple[Float[Array, " time"], Bool[Array, " time"]]:
    """Returns the position at the end of each sample, given α i² sgn(i) / m, and whether the solver succeeded."""
    import diffrax
    import optimistix

    def acceleration(t, state, repulsion):
        y, v = state
        # A trial step may go below `stop`; without this floor it would reach the singularity.
        return v, -GRAVITY_M_S2 + repulsion / jnp.maximum(y, stop) - FRICTION / MASS * v

    solve = partial(
        diffrax.diffeqsolve,
        diffrax.ODETerm(acceleration),
        diffrax.Tsit5(),
        stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-11),
        event=diffrax.Event(
            lambda t, y, args, **kwargs: y[0] - stop,
            optimistix.Bisection(rtol=1e-12, atol=1e-14),
            direction=False,
        ),
        max_steps=10_000,
        throw=False,
    )

    def sample(state, repulsion):
        def moving(leg):
            t, y, v, good = leg
            lies = (y <= stop) & (v <= 0) & (repulsion / stop <= GRAVITY_M_S2)
            return (t < sample_time) & ~lies & good

        def move(leg):
            """Moves to the end of the sample or to the impact, whichever comes first."""
            t, y, v, good = leg
            solution = solve(t0=t, t1=sample_time, dt0=(sample_time - t) / 2, y0=(y, v), args=repulsion)
            impact = solution.result == diffrax.RESULTS.event_occurred
            t, (y, v) = jax.tree.map(lambda x: x[-1], (solution.ts, solution.ys))
            return (
                jnp.where(impact, t, sample_time),
                jnp.where(impact, stop, y),
                jnp.where(impact, 0.0, v),
                good & diffrax.is_okay(solution.result),
            )

        _, y, v, good = lax.while_loop(moving, move, (jnp.zeros_like(sample_time), *state))
        return (y, v, good), (y, good)

    return lax.scan(sample, (y0, v0, jnp.array(True)), repulsion)[1]
