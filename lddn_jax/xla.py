"""The one XLA flag that matters: how large a loop may be to become a single kernel on the CPU.

XLA compiles a loop whose body touches little memory into one kernel; any other loop calls a kernel for every operation
of every step. Before JAX 0.12 "little" means 1 KiB, less than ten neurons with two delays need, and an option that is
read from the environment raises it. From JAX 0.12 on the limit is higher by itself.

The environment is the user's. The command line, which is a program, sets the flag; the library says once that it helps.
"""

import functools
import logging
import os
from collections.abc import MutableMapping

import jax

_OPTION = "--xla_backend_extra_options"
FLAG = f"{_OPTION}=xla_cpu_small_while_loop_byte_threshold=65536"
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
