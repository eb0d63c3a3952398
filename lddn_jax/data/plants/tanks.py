"""Simulated plant with two inputs and two outputs: two coupled tanks, each with a pump and an outlet.

    A₁ dh₁/dt = k₁ u₁ − a₁ q(h₁) − a₁₂ q(h₁ − h₂)            h the levels in cm, u the voltages of the pumps
    A₂ dh₂/dt = k₂ u₂ − a₂ q(h₂) + a₁₂ q(h₁ − h₂)            q(h) = √(2g) h / (h² + ε²)^¼, Torricelli's law

q(h) is ±√(2g|h|) except for heads below about ε = 0.1 mm, where the flow is laminar. So it is smooth, a level never
falls below 0, and the tanks reach a steady state. Each pump affects both levels, its own one faster, which separate
single-input, single-output models cannot describe.

Areas, outlets and pumps are those of the lower tanks of Johansson (2000), IEEE Transactions on Control Systems
Technology 8(3), "The quadruple-tank process"; the connecting pipe is an addition.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from lddn_jax.data.plants.excitation import (
    check_sample_time,
    double_precision,
    filled_up,
    random_steps,
    require_diffrax,
)
from lddn_jax.data.records import Record
from lddn_jax.data.tables import Table
from lddn_jax.errors import DataError, NumericalError, ShapeError

AREAS_CM2 = (28.0, 32.0)  # A, cm²
OUTLETS_CM2 = (0.071, 0.057)  # a, cm²
PIPE_CM2 = 0.05  # a₁₂, cm²
PUMP_GAINS_CM3_VS = (3.33, 3.35)  # k, cm³/Vs
GRAVITY_CM_S2 = 981.0  # cm/s²
LAMINAR_CM = 0.01  # ε, cm
GAP_SAMPLES = 5  # length of a gap

LEVELS, HOLDS = (1.0, 5.0), (50.0, 400.0)


def tanks(
    steps: int,
    key: PRNGKeyArray,
    noise: float | int = 0.1,
    gaps: float | int = 0.0,
    *,
    sample_time: float | int = 5.0,
    levels: tuple[float | int, float | int] = LEVELS,
    holds: tuple[float | int, float | int] = HOLDS,
) -> Table:
    """Simulates a record of the coupled tanks with random step inputs, measurement noise and missing values.

    Args:
        steps: Number of samples.
        key: JAX random key; the record does not depend on JAX's default precision.
        noise: Standard deviation of the measurement noise of the levels, in cm.
        gaps: Fraction of samples of each level that are missing (NaN), in gaps of five samples.
        sample_time: Sampling interval, in seconds.
        levels: Smallest and largest pump voltage, in volts.
        holds: Shortest and longest time that a voltage is held, in seconds.

    Returns:
        A `Table` of `steps` rows with the columns time, pump_1, pump_2, level_1 and level_2, in float64.

    Raises:
        DataError: If an argument is out of range.
        LDDNError: If diffrax is not installed.

    Example:
        >>> import jax, numpy as np
        >>> table = tanks(100, jax.random.key(0), gaps=0.1)
        >>> table.names, int(np.isnan(table["level_1"]).sum())
        (('time', 'pump_1', 'pump_2', 'level_1', 'level_2'), 10)
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise DataError(f"tanks was given noise={noise}; a standard deviation is finite and not negative: noise=0.1.")
    if not 0 <= gaps < 1:
        raise DataError(f"tanks was given gaps={gaps}; needed is a fraction of samples in [0, 1): gaps=0.05.")
    first, second, third, fourth = jax.random.split(key, 4)
    pumps = [
        random_steps(
            "tanks",
            steps,
            k,
            sample_time=sample_time,
            levels=levels,
            holds=holds,
            usual=(LEVELS, HOLDS),
        )
        for k in (first, second)
    ]
    height = simulate_tanks(np.stack(pumps, axis=1), sample_time=sample_time)
    with double_precision():
        measured = height + noise * np.asarray(jax.random.normal(third, height.shape, jnp.float64))
    for column, k in enumerate(jax.random.split(fourth)):
        slots = np.asarray(jax.random.permutation(k, steps // GAP_SAMPLES))[: round(gaps * steps / GAP_SAMPLES)]
        measured[(slots[:, None] * GAP_SAMPLES + np.arange(GAP_SAMPLES)).ravel(), column] = np.nan
    names = ("pump_1", "pump_2", "level_1", "level_2")
    return Table({"time": np.arange(steps) * sample_time} | dict(zip(names, [*pumps, *measured.T], strict=True)))


def tank_records(
    key: PRNGKeyArray, lengths: Sequence[int] = (600, 400, 250), noise: float | int = 0.1, gaps: float | int = 0.05
) -> list[Record]:
    """Simulates several records of the coupled tanks, of unequal length and with gaps in the targets.

    Args:
        key: JAX random key.
        lengths: Number of samples of each record.
        noise: As in `tanks`.
        gaps: As in `tanks`.

    Returns:
        Records with inputs pump_1 and pump_2 and targets level_1 and level_2, named "run 1", "run 2", …

    Example:
        >>> import jax
        >>> tank_records(jax.random.key(0), (100, 60))[1]
        Record('run 2', 60 samples of pump_1:1, pump_2:1 -> level_1:1, level_2:1)
    """
    signals = {"inputs": ["pump_1", "pump_2"], "targets": ["level_1", "level_2"], "time": "time", "missing": "mask"}
    tables = [tanks(n, k, noise, gaps) for n, k in zip(lengths, jax.random.split(key, len(lengths)), strict=True)]
    return [Record.of(table, **signals, name=f"run {number}") for number, table in enumerate(tables, start=1)]


def simulate_tanks(
    pumps: Shaped[ArrayLike, "time 2"] | Sequence[Sequence[float | int]],
    *,
    sample_time: float | int = 5.0,
    h0: tuple[float | int, float | int] = (10.0, 10.0),
) -> Float[np.ndarray, "time 2"]:
    """Simulates the levels of the tanks for given pump voltages.

    Integrated by diffrax (Tsit5, relative tolerance 1e-9) in float64 on the CPU, regardless of JAX's default precision
    and device. JAX's configuration is not changed.

    Args:
        pumps: Pump voltages of each sample, `(time, 2)`, in volts, not negative, held until the next sample.
        sample_time: Sampling interval, in seconds.
        h0: Levels at the first sample, in cm.

    Returns:
        Levels at each sample, `(time, 2)`, in cm, float64; the first are `h0`.

    Raises:
        DataError: If a voltage is negative, NaN or infinite, or another argument is out of range.
        ShapeError: If the voltages are not `(time, 2)`.
        NumericalError: If the integration failed.
        LDDNError: If diffrax is not installed.

    Example:
        >>> import numpy as np
        >>> levels = simulate_tanks(np.full((2000, 2), 3.0))
        >>> rest = 3.33 * 3 + 3.35 * 3  # what is pumped in flows out again
        >>> bool(abs(0.071 * np.sqrt(1962 * levels[-1, 0]) + 0.057 * np.sqrt(1962 * levels[-1, 1]) - rest) < 1e-4)
        True
    """
    pumps = np.asarray(pumps, dtype=np.float64)
    if pumps.ndim != 2 or pumps.shape[1] != 2 or not len(pumps):
        turned = " It seems transposed: pass pumps.T." if pumps.ndim == 2 and len(pumps) == 2 else ""
        raise ShapeError(f"simulate_tanks was given pumps of shape {pumps.shape}; it needs (time, 2).{turned}")
    if not (np.isfinite(pumps) & (pumps >= 0)).all():
        step, pump = np.argwhere(~(np.isfinite(pumps) & (pumps >= 0)))[0]
        raise DataError(f"pumps[{step}, {pump}] is {pumps[step, pump]}; voltages must be finite and not negative.")
    check_sample_time("simulate_tanks", sample_time)
    if not (np.isfinite(h0).all() and min(h0) >= 0):
        raise DataError(f"simulate_tanks was given h0={h0}; levels are finite and not negative: h0=(10.0, 10.0).")
    require_diffrax("The tanks are")
    with double_precision():
        arguments = (jnp.asarray(x, jnp.float64) for x in (filled_up(pumps), h0, sample_time))
        height, good = (np.asarray(x)[: len(pumps) - 1] for x in _integrate(*arguments))
    if not good.all():
        where = int(np.argmin(good))
        raise NumericalError(
            f"The equation of the tanks could not be integrated from sample {where} to {where + 1} (pumps "
            f"{pumps[where]} V). Use voltages of a few volts and a sample_time of seconds."
        )
    return np.concatenate([np.asarray(h0, np.float64)[None], height])


@jax.jit
def _integrate(
    pumps: Float[Array, "time 2"], h0: Float[Array, "2"], sample_time: Float[Array, ""]
) -> tuple[Float[Array, "time 2"], Bool[Array, " time"]]:
    """Returns the levels at the end of each sample, and whether the solver succeeded."""
    import diffrax

    area, outlet, pump = (jnp.asarray(x, pumps.dtype) for x in (AREAS_CM2, OUTLETS_CM2, PUMP_GAINS_CM3_VS))

    def flow(head):
        return jnp.sqrt(2 * GRAVITY_CM_S2) * head / (head**2 + LAMINAR_CM**2) ** 0.25

    def slope(t, height, voltage):
        across = PIPE_CM2 * flow(height[0] - height[1])
        return (pump * voltage - outlet * flow(height) + jnp.stack([-across, across])) / area

    def sample(height, voltage):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Tsit5(),
            t0=0.0,
            t1=sample_time,
            dt0=None,
            y0=height,
            args=voltage,
            stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-11),
            max_steps=10_000,
            throw=False,
        )
        height = jax.tree.map(lambda y: y[0], solution.ys)
        return height, (height, diffrax.is_okay(solution.result))

    return lax.scan(sample, h0, pumps)[1]
