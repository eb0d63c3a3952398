"""Helpers of the simulated plants: random step inputs, temporary double precision, and padding to few lengths.

Inputs are held constant over each sample (zero-order hold). Random levels of random duration excite both transients
and steady states.
"""

import contextlib
import numbers

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from lddn_jax.checks import check_positive
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.numerics.memory import check_memory

LENGTH_UNIT_SAMPLES = 512  # records are padded to this times a power of two, so that few programs are compiled


def random_steps(
    where: str,
    steps: int,
    key: PRNGKeyArray,
    *,
    sample_time: float | int,
    levels: tuple[float | int, float | int],
    holds: tuple[float | int, float | int],
    usual: tuple[tuple[float, float], tuple[float, float]],
) -> Float[np.ndarray, " time"]:
    """Draws a random step input: levels uniform in `levels`, each held for a time uniform in `holds`.

    Args:
        where: Name of the function in error messages.
        steps: Number of samples.
        key: JAX random key; the input does not depend on JAX's default precision.
        sample_time: Sampling interval.
        levels: Smallest and largest level.
        holds: Shortest and longest time that a level is held.
        usual: Levels and holds suggested in error messages.

    Returns:
        `(time,)`, float64.

    Raises:
        DataError: If an argument is out of its range.
    """
    check_positive("steps", steps, numbers.Integral, call=where, example=4000, error=DataError)
    check_memory(32 * steps, f"{where}: time, state and input of {steps} steps", "Simulate fewer.", error=DataError)
    check_sample_time(where, sample_time)
    for name, (lower, upper), floor, good in zip(
        ("levels", "holds"), (levels, holds), (-np.inf, 0.0), usual, strict=True
    ):
        if not (np.isfinite([lower, upper]).all() and floor <= lower <= upper):
            raise DataError(
                f"{where} was given {name}={(lower, upper)}; it needs finite numbers, the smaller first"
                f"{' and neither negative' if floor == 0 else ''}: {name}={good}."
            )
    shortest, longest = (max(1, round(hold / sample_time)) for hold in holds)
    count = -(-steps // shortest)
    level_key, hold_key = jax.random.split(key)
    with double_precision():
        level = jax.random.uniform(level_key, (count,), jnp.float64, levels[0], levels[1])
        samples = jax.random.randint(hold_key, (count,), shortest, longest + 1)
    return np.repeat(np.asarray(level), np.asarray(samples))[:steps]


def filled_up(signal: Float[np.ndarray, "time *rest"]) -> Float[np.ndarray, "_ *rest"]:
    """Pads a signal `(time, ...)` with zeros to one of a few lengths."""
    steps = len(signal)
    room = LENGTH_UNIT_SAMPLES * 2 ** max(0, int(np.ceil(np.log2(steps / LENGTH_UNIT_SAMPLES))))
    return np.concatenate([signal, np.zeros((room - steps, *signal.shape[1:]))])


@contextlib.contextmanager
def double_precision():
    """Context manager for float64 on the CPU; thousands of tiny sequential steps do not suit an accelerator."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        with contextlib.suppress(RuntimeError):  # JAX has no CPU backend: use the default device
            stack.enter_context(jax.default_device(jax.local_devices(backend="cpu")[0]))
        yield


def check_sample_time(where: str, sample_time: float | int) -> None:
    """Raises a DataError unless the sampling interval is a positive, finite number."""
    check_positive("sample_time", sample_time, numbers.Real, infinite=False, call=where, example=0.01, error=DataError)


def require_diffrax(plant: str) -> None:
    """Raises an LDDNError with the install command if diffrax is missing."""
    try:
        import diffrax  # noqa: F401
    except ImportError as error:
        raise LDDNError(
            f"{plant} simulated by diffrax, which is not installed: pip install 'lddn_jax[demo]'"
        ) from error
