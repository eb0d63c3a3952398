"""A plant of two inputs and two outputs: two tanks side by side, joined by a pipe, each with a pump and an outlet.

    A₁ dh₁/dt = k₁ u₁ − a₁ q(h₁) − a₁₂ q(h₁ − h₂)            h the levels in cm, u the voltages of the pumps
    A₂ dh₂/dt = k₂ u₂ − a₂ q(h₂) + a₁₂ q(h₁ − h₂)            q(h) = √(2g) h / (h² + ε²)^¼, Torricelli's law

q(h) is ±√(2g|h|), but for heads of less than about ε = 0.1 mm, where flow is laminar. So it is smooth, a level never
falls below 0, and the tanks come to rest. Each pump moves both levels, faster its own: what a model of one input and
one output at a time cannot tell.

Areas, outlets and pumps are those of the lower tanks of Johansson (2000), IEEE Transactions on Control Systems
Technology 8(3), "The quadruple-tank process"; the pipe between them is ours.
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
GAP_SAMPLES = 5  # samples that a gap lasts

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
    """Simulates a record: two coupled tanks under pumps of random steps, their levels measured with noise and gaps.

    Args:
        steps: The number of samples.
        key: A JAX random key; the same key gives the same record, whatever JAX's default precision.
        noise: The standard deviation of what is added to the levels, in cm.
        gaps: The share of each level's samples that are missing, NaN, in gaps of five samples.
        sample_time: The time between two samples, in seconds.
        levels: The smallest and largest voltage of a pump, in volts.
        holds: The shortest and longest time that a voltage is held, in seconds.

    Returns:
        A `Table` of `steps` rows with the columns time, pump_1, pump_2, level_1 and level_2, in float64.

    Raises:
        DataError: An argument is out of its range.
        LDDNError: diffrax is not installed.

    Example:
        >>> import jax, numpy as np
        >>> table = tanks(100, jax.random.key(0), gaps=0.1)
        >>> table.names, int(np.isnan(table["level_1"]).sum())
        (('time', 'pump_1', 'pump_2', 'level_1', 'level_2'), 10)
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise DataError(f"tanks was given noise={noise}; a standard deviation is finite and not negative: noise=0.1.")
    if not 0 <= gaps < 1:
        raise DataError(f"tanks was given gaps={gaps}; it is the share of samples that are missing: gaps=0.05.")
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
    """Simulates several records of unequal length, with gaps in the targets.

    Args:
        key: A JAX random key.
        lengths: The number of samples of each.
        noise: As in `tanks`.
        gaps: As in `tanks`.

    Returns:
        Records of the inputs pump_1 and pump_2 and the targets level_1 and level_2, called "run 1", "run 2", …

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
    """The levels of the tanks under given voltages of the pumps.

    Integrated by diffrax (Tsit5, relative tolerance 1e-9) in float64 on the CPU, whatever JAX's default precision and
    device; the configuration of JAX is left as it is.

    Args:
        pumps: The voltages of each sample, `(time, 2)`, in volts, not negative, held until the next sample.
        sample_time: The time between two samples, in seconds.
        h0: The levels at the first sample, in cm.

    Returns:
        The levels at each sample, `(time, 2)`, in cm, float64; the first are `h0`.

    Raises:
        DataError: A voltage is negative, NaN or infinite, or another argument is out of its range.
        ShapeError: The voltages are not `(time, 2)`.
        NumericalError: The integration failed.
        LDDNError: diffrax is not installed.

    Example:
        >>> import numpy as np
        >>> levels = simulate_tanks(np.full((2000, 2), 3.0))
        >>> rest = 3.33 * 3 + 3.35 * 3  # what is pumped in flows out again
        >>> bool(abs(0.071 * np.sqrt(1962 * levels[-1, 0]) + 0.057 * np.sqrt(1962 * levels[-1, 1]) - rest) < 1e-4)
        True
    """
    pumps = np.asarray(pumps, dtype=np.float64)
    if pumps.ndim != 2 or pumps.shape[1] != 2 or not len(pumps):
        turned = " It looks transposed: write pumps.T." if pumps.ndim == 2 and len(pumps) == 2 else ""
        raise ShapeError(f"simulate_tanks was given pumps of shape {pumps.shape}; it needs (time, 2).{turned}")
    if not (np.isfinite(pumps) & (pumps >= 0)).all():
        step, pump = np.argwhere(~(np.isfinite(pumps) & (pumps >= 0)))[0]
        raise DataError(f"pumps[{step}, {pump}] is {pumps[step, pump]}; pumps only pump in: finite and not negative.")
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
            f"{pumps[where]} V). A few volts, and sample times of seconds, are meant."
        )
    return np.concatenate([np.asarray(h0, np.float64)[None], height])


@jax.jit
def _integrate(
    pumps: Float[Array, "time 2"], h0: Float[Array, "2"], sample_time: Float[Array, ""]
) -> tuple[Float[Array, "time 2"], Bool[Array, " time"]]:
    """The levels at the end of each sample, and whether the solver succeeded."""
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
