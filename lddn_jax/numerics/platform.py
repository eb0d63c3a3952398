"""What XLA has to be told on a CPU: how large a loop may be to become a single kernel, and what is not to be batched.

XLA compiles a loop whose body touches little memory into one kernel; any other loop calls a kernel for every operation
of every step. Before JAX 0.12 "little" means 1 KiB, less than ten neurons with two delays need, and an option that is
read from the environment raises it. From JAX 0.12 on the limit is higher by itself.

The environment is the user's. The command line, which is a program, sets the flag; the library says once that it helps.

`vmap` over networks puts them side by side, which fills a GPU. On a CPU, work that fits the cache of a core for one
network does not for many, and then they are faster one after the other.
"""

import functools
import logging
import os
from collections.abc import Callable, MutableMapping
from typing import Any

import jax

_OPTION = "--xla_backend_extra_options"
FLAG = f"{_OPTION}=xla_cpu_small_while_loop_byte_threshold=65536"
SIDE_BY_SIDE = 8  # networks: as many as fill a vector of a CPU
_logger = logging.getLogger("lddn_jax")


def flag_missing(environment: MutableMapping[str, str], version: tuple[int, ...] = jax.__version_info__) -> bool:
    """Whether this version of JAX runs small loops faster with `FLAG`, and no such option was set."""
    return version < (0, 12) and _OPTION not in environment.get("XLA_FLAGS", "")


def set_flag(environment: MutableMapping[str, str]) -> None:
    """Adds `FLAG` to XLA_FLAGS where it is missing; without effect after JAX has computed something."""
    if flag_missing(environment):
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {FLAG}".strip()


@functools.cache
def tell_once() -> None:
    """Logs, the first time that a loop is compiled for the CPU, that the flag would make it faster."""
    if jax.default_backend() == "cpu" and flag_missing(os.environ):
        _logger.warning(
            'JAX %s runs small recurrent networks up to twice as fast on the CPU with XLA_FLAGS="%s" in the '
            "environment, set before JAX starts. JAX 0.12 and newer do not need it.",
            jax.__version__,
            FLAG,
        )


def in_groups(function: Callable[[Any], Any], values: Any) -> Any:
    """Calls a function for all elements of the leading axis: side by side, on a CPU not more than `SIDE_BY_SIDE`.

    A loop that ends when the last of its networks is done keeps fewer waiting in a group.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(function, values, batch_size=SIDE_BY_SIDE)
    return jax.vmap(function)(values)


def one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of arrays that `vmap` calls for one after the other on a CPU, and side by side elsewhere."""
    return jax.custom_batching.sequential_vmap(function) if jax.default_backend() == "cpu" else function
