"""How test programs are compiled: once, without XLA's optimizations unless a test is about them, and kept.

Most of the time of the tests is XLA's. What it compiled is kept in pytest's cache, between runs and between processes,
in a folder for each set of versions and instructions; `pytest --cache-clear` starts anew.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

KEPT_BYTES = 2 * 2**30
MEMORY_MAPS = 20_000  # Linux gives a process 65530; a compiled program takes several, and a file of tests thousands


def keep_programs(cache) -> None:
    """Has JAX, here and in processes started from here, keep compiled programs in pytest's cache.

    A program that is read back has neither memory statistics nor costs; see `nothing_read_back`.
    """
    if cache is None or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = Path(cache.mkdir("programs"))
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _forget(folder)
    for name, value in {
        "jax_compilation_cache_dir": str(folder / _key()),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }.items():
        jax.config.update(name, value)
        os.environ.setdefault(name.upper(), str(value))


@contextlib.contextmanager
def as_users_have_it():
    """Compiles with all of XLA's optimizations, and forgets before and after what was compiled otherwise."""
    before = not jax.config.values["jax_disable_most_optimizations"]
    jax.clear_caches()
    optimize(True)
    try:
        yield
    finally:
        optimize(before)
        jax.clear_caches()


@contextlib.contextmanager
def nothing_read_back():
    """Compiles anew whatever was kept: only then is it known how much memory a program takes."""
    before = jax.config.values["jax_enable_compilation_cache"]
    _keep(False)
    try:
        yield
    finally:
        _keep(before)


def optimize(wanted: bool) -> None:
    """Whether XLA optimizes what it compiles from now on. Values do not need it, and it takes a third of the time."""
    jax.config.update("jax_disable_most_optimizations", not wanted)


def drop_programs_before_memory_maps_run_out() -> None:
    """Clears JAX's caches when this process holds many memory maps; where a system does not tell, it has no limit."""
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MEMORY_MAPS:
        jax.clear_caches()


def _keep(wanted: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", wanted)
    compilation_cache.reset_cache()  # else JAX abides by what it decided at the first program


def _key() -> str:
    """Versions, and the processor: a program made on another one may hold instructions that this one lacks."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else [platform.processor()]
    told = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))} or set(lines[:1]))
    instructions = hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]
    versions = "-".join(importlib.metadata.version(name) for name in ("jax", "jaxlib"))
    return f"jax-{versions}-{platform.machine()}-{instructions}"


def _forget(folder: Path) -> None:
    """Removes all programs once they take more than `KEPT_BYTES`."""
    if sum(path.stat().st_size for path in folder.rglob("*-cache")) > KEPT_BYTES:
        shutil.rmtree(folder, ignore_errors=True)
