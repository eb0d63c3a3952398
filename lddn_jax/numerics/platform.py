"""The platform that a program is compiled for, and the settings that depend on it.

`Platform` holds all decisions that depend on the target. On a CPU, time is cut into segments that fit the cache of a
core, few networks are computed side by side, and barriers prevent fusions that XLA would not vectorize. On a GPU or TPU
none of this applies: `vmap` over networks and whole sequences are faster there.

The target of a program is not always the platform of the process: `jax.jit(f).trace(x).lower(lowering_platforms=
("cuda",))` compiles for a GPU in a process that has none. So `by_platform` lets JAX select the branch when the traced
program is lowered: one trace serves all platforms, also in a `jax.export` for several of them. Where the platform is
known before tracing, from the devices of the arguments of a training run or from `compiling_for`, it is selected while
tracing, and only one branch is traced.

XLA:CPU compiles a loop whose body touches little memory into one kernel; any other loop calls a kernel for every
operation of every step. Before JAX 0.12 the limit is 1 KiB, too little for ten neurons with two delays; `FLAG`, an XLA
option that is read from the environment, raises it. JAX 0.12 and newer have a higher limit. The library does not change
the environment; it logs once that the flag helps. The command line sets the flag.

XLA:CPU hands products and sums to YNNPACK, by default since JAX 0.10.2, which keeps them from being fused with what is
around them: a Levenberg-Marquardt step of a large state space takes a third longer, and half as long again if two cores
share the work. `COMPILER_OPTIONS` turns that off for the programs of a training; other platforms do not read them.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import jax
from jax.core import Tracer
from jaxtyping import Array

from lddn_jax.errors import LDDNError

_OPTION = "--xla_backend_extra_options"
FLAG = f"{_OPTION}=xla_cpu_small_while_loop_byte_threshold=65536"
NETWORKS_IN_A_CPU_GROUP = 8  # enough to fill a CPU's vector register
COMPILER_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}  # of `jax.jit`, which takes them for a whole program
_logger = logging.getLogger("lddn_jax")


@dataclass(frozen=True)
class Platform:
    """The target platform of a program.

    Attributes:
        name: "cpu", "cuda", "rocm", "tpu" or that of a plugin, as in `lowering_platforms` of `jax.stages.Traced.lower`.

    Example:
        >>> Platform("cuda").cuts_time
        False
    """

    name: str

    def __post_init__(self):
        if self.name == "gpu":  # any other name may be that of a plugin, which is not a CPU
            raise LDDNError(f"Platform({self.name!r}): the platforms are {', '.join(map(repr, _NAMES))}.")

    @classmethod
    def of(cls, *where: Any) -> "Platform":
        """Returns the platform of devices, meshes, shardings or arrays, or of pytrees of them.

        The first object that is bound to a device decides; arrays that JAX may move (not *committed*) are used only
        if there is no other. Without arguments it is the platform of JAX's default device.

        Example:
            >>> import jax
            >>> Platform.of(jax.devices("cpu")[0])
            Platform(name='cpu')
        """
        movable = None
        for leaf in jax.tree.leaves(where):
            if isinstance(leaf, Platform):
                return leaf
            if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):
                device = next(iter(leaf.devices()))
                if leaf.committed:
                    return cls._of_device(device)
                movable = movable or device
            elif (device := _device_of(leaf)) is not None:
                return cls._of_device(device)
        if movable is None:
            movable = default_device()
        return cls._of_device(movable)

    @classmethod
    def _of_device(cls, device: Any) -> "Platform":
        if device.platform != "gpu":
            return cls(device.platform)
        return cls("rocm" if "rocm" in device.client.platform_version.lower() else "cuda")

    @property
    def cuts_time(self) -> bool:
        """Whether time is cut into segments that fit a cache; see `Plan.segments`."""
        return self.name == "cpu"

    @property
    def needs_barriers(self) -> bool:
        """Whether barriers prevent fusions that XLA would not vectorize; see `barrier`."""
        return self.name == "cpu"

    @property
    def one_network_fits(self) -> bool:
        """Whether the arrays of one network fit the cache and those of many do not; see `one_at_a_time`."""
        return self.name == "cpu"

    @property
    def group_size(self) -> int | None:
        """The largest number of networks trained side by side; None for all; see `in_groups`."""
        return NETWORKS_IN_A_CPU_GROUP if self.name == "cpu" else None


_NAMES = ("cpu", "cuda", "rocm", "tpu")
CPU = Platform("cpu")
CUDA = Platform("cuda")
PLATFORMS = tuple(map(Platform, _NAMES))

# JAX caches programs separately for each value of this context.
_target = jax.make_user_context(None)


def default_device() -> Any:
    """Returns the device on which JAX computes unless told otherwise."""
    default = getattr(jax.config, "jax_default_device")  # noqa: B009  (JAX adds its options at run time)
    return default if isinstance(default, jax.Device) else jax.devices(default)[0]


def _device_of(where: Any) -> Any:
    """Returns a device of a device, mesh or sharding; None for anything else."""
    if isinstance(where, jax.Device):
        return where
    if isinstance(where, jax.sharding.Mesh):
        return where.devices.flat[0]
    if isinstance(where, jax.sharding.Sharding):
        return next(iter(where.device_set))
    return None


@contextlib.contextmanager
def compiling_for(platform: Platform | None) -> Iterator[None]:
    """Context manager in which everything is traced for `platform` only; None: for any platform.

    Not needed for `lower(lowering_platforms=...)`; it avoids tracing the branches of other platforms.
    """
    with _target(platform):
        yield


def by_platform(rule: Callable[[Platform], Any], body: Callable[..., Any], *operands: Any) -> Any:
    """Calls `body(rule(platform), *operands)` for the platform that the program is compiled for.

    Args:
        rule: Maps a `Platform` to a hashable decision. Platforms with the same decision share a branch; if all
            decisions are equal, there is only one.
        body: A function of the decision and the operands. Its results have the same shapes on every platform.
        *operands: Pytrees of arrays.

    Example:
        >>> import jax.numpy as jnp
        >>> where = by_platform(lambda platform: platform.name == "cpu", lambda cpu, x: x if cpu else -x, jnp.ones(()))
        >>> float(where)  # on a CPU
        1.0
    """
    if _target.value is not None:
        return body(rule(_target.value), *operands)
    decided = {platform: rule(platform) for platform in PLATFORMS}
    if len(set(decided.values())) == 1:
        return body(decided[CPU], *operands)
    branches = {decision: functools.partial(body, decision) for decision in decided.values()}
    per_platform = {platform.name: branches[decision] for platform, decision in decided.items()}
    # The default is for platforms not listed here, which are not CPUs.
    return jax.lax.platform_dependent(*operands, **per_platform, default=branches[decided[CUDA]])


def barrier(x: Array) -> Array:
    """Returns x; on a CPU it is not fused with the operations that follow."""
    return by_platform(
        lambda p: p.needs_barriers, lambda needed, x: jax.lax.optimization_barrier(x) if needed else x, x
    )


def in_groups(function: Callable[[Any], Any], values: Any) -> Any:
    """Maps a function over the leading axis: by `vmap` over all elements, on a CPU in groups one after the other.

    In a small group, fewer networks wait for the last one to leave its `while_loop`.
    """

    def called(size, values):
        return jax.vmap(function)(values) if size is None else jax.lax.map(function, values, batch_size=size)

    return by_platform(lambda p: p.group_size, called, values)


def one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `function` with another rule for `vmap`: a sequential loop on a CPU, the usual one elsewhere."""
    one_by_one = jax.custom_batching.sequential_vmap(function)
    if _target.value is not None:
        return one_by_one if _target.value.one_network_fits else function
    either = jax.custom_batching.custom_vmap(function)

    @either.def_vmap
    def rule(size, batched, *arguments):
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, batched)

        def mapped(sequential, *arguments):
            chosen = one_by_one if sequential else function
            return jax.vmap(chosen, axes, axis_size=size)(*arguments)

        found = by_platform(lambda p: p.one_network_fits, mapped, *arguments)
        return found, jax.tree.map(lambda _: True, found)

    return either


def flag_missing(environment: MutableMapping[str, str], version: tuple[int, ...] = jax.__version_info__) -> bool:
    """Whether this version of JAX runs small loops faster with `FLAG`, and XLA_FLAGS has no such option yet."""
    return version < (0, 12) and _OPTION not in environment.get("XLA_FLAGS", "")


def set_flag(environment: MutableMapping[str, str]) -> None:
    """Adds `FLAG` to XLA_FLAGS if it is missing; has no effect once JAX has started."""
    if flag_missing(environment):
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {FLAG}".strip()


def tell_of_the_flag() -> None:
    """Logs once, when a loop is traced for the CPU, that `FLAG` would make it faster."""
    if (_target.value or Platform.of()) == CPU:
        _tell_once()


@functools.cache
def _tell_once() -> None:
    if flag_missing(os.environ):
        _logger.warning(
            'JAX %s runs small recurrent networks up to twice as fast on the CPU with XLA_FLAGS="%s" in the '
            "environment, set before JAX starts. JAX 0.12 and newer do not need it.",
            jax.__version__,
            FLAG,
        )
