"""Memory of the machine, and a check of what a computation needs at least before it is compiled.

XLA ends the process, or the system does, when memory runs out. The limit here is all memory of the machine, and the
estimate what a computation needs at least, so nothing is rejected that would run.
"""

import os
from pathlib import Path
from typing import Any

from lddn_jax.errors import LDDNError
from lddn_jax.numerics.platform import default_device

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of containers, v2 and v1
UNCHECKED_BYTES = 2**28  # every machine has as much
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def memory_bytes(device: Any) -> int | None:
    """Returns the memory of a device of JAX, for a CPU that of the machine or container; None if it is unknown."""
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    return min(filter(None, (_physical(), *map(_number_in, _LIMITS))), default=None)


def check_memory(needed: float | int, what: str, fix: str, *, error: type[LDDNError] = LDDNError) -> None:
    """Raises an error if a computation on JAX's default device needs more memory than there is.

    Args:
        needed: The least number of bytes that it needs.
        what: What needs them, as the start of the error message.
        fix: What to do, as its end.
        error: The class of the error.

    Example:
        >>> check_memory(10**30, "the network has 10 weights, which", "Use fewer neurons.")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        lddn_jax.errors.LDDNError: the network has 10 weights, which take 8.7e+11 EiB; this machine has ... Use ...
    """
    if needed < UNCHECKED_BYTES:
        return
    device = default_device()
    there_is = memory_bytes(device)
    if there_is is not None and needed > there_is:
        where = "this machine" if device.platform == "cpu" else f"the {device.device_kind}"
        raise error(f"{what} take {in_units(needed)}; {where} has {in_units(there_is)}. {fix}")


def in_units(size: float | int) -> str:
    """Returns a number of bytes in words, such as "1.5 GiB"."""
    power = 0
    while size >= 1024 and power < len(_UNITS) - 1:
        size, power = size / 1024, power + 1
    return f"{size:.2g} {_UNITS[power]}" if size < 10 or size >= 1024 else f"{size:.0f} {_UNITS[power]}"


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _swap()
    except (AttributeError, OSError, ValueError):  # of systems other than POSIX
        return None


def _swap() -> int:
    """Returns the bytes of swap space of Linux, which a computation may use, slowly."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("SwapTotal:"))


def _number_in(path: str) -> int | None:
    """Returns the number in a file; None without such a file, or for "max"."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
