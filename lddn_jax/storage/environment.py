"""The environment of a computation: versions, device, and settings of JAX and XLA."""

import functools
import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping

import jax

PACKAGES = ("jax", "jaxlib", "optax", "equinox", "numpy")


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of this package, of Python and of the packages that results depend on."""
    own = {"lddn_jax": sys.modules["lddn_jax"].__version__, "python": platform.python_version()}
    return own | {name: importlib.metadata.version(name) for name in PACKAGES}


def environment() -> dict[str, str]:
    """Returns what may make results differ between two runs with equal arguments, by name."""
    device = jax.devices()[0]
    return versions() | {
        "device": f"{device.platform}: {device.device_kind}",
        "float": str(jax.numpy.result_type(float)),
        "matmul precision": str(jax.config.jax_default_matmul_precision),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Returns the differences between two environments, as sentences.

    Example:
        >>> differences({"jax": "0.10.1", "device": "cpu"}, {"jax": "0.12.0", "device": "cpu"})
        ['jax was 0.10.1 and is 0.12.0']
    """
    names = dict.fromkeys((*then, *now))
    changed = [(name, then.get(name, "absent"), now.get(name, "absent")) for name in names]
    return [
        f"{name} was {before or 'empty'} and is {after or 'empty'}"
        for name, before, after in changed
        if before != after
    ]
