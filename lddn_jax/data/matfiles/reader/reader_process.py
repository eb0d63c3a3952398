"""Reading of a file in a process of its own, with limits of memory and time.

The C code of SciPy and of HDF5 can crash or run forever on a damaged file. Here that ends another process, which costs
a quarter of a second for a file. The process imports neither JAX nor the package itself, only this folder.

A program that was frozen into one executable has no interpreter to start; there the file is read in its own process.
"""

import contextlib
import json
import math
import multiprocessing.spawn
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lddn_jax.data.matfiles.reader.contents import LIMIT_BYTES, DamagedError, Leaf, TooLargeError, Wanted, printable

# Seconds for any file, and bytes that are read in a further second.
LEAST_SECONDS, BYTES_PER_SECOND = 120, 2**20
# The packages of the same name without what they import, so that only this folder is loaded.
START = """
import sys, types
for name, folder in zip(("lddn_jax", "lddn_jax.data"), sys.argv[1:3]):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
sys.path[:] = sys.argv[3:]
from lddn_jax.data.matfiles.reader.reader_process import serve
serve()
"""
ERRORS: Mapping[str, type[Exception]] = {"DamagedError": DamagedError, "TooLargeError": TooLargeError}


def read_leaves(path: Path, kind: str, names: Sequence[str] | None) -> list[Leaf]:
    """Reads the arrays of a file.

    Args:
        path: The file.
        kind: "hdf5", "version 5" or "version 4".
        names: Names of columns to read; None for all.

    Raises:
        DamagedError: If the file contradicts itself, or the reader crashed.
        TooLargeError: If reading exceeds the limits of memory or time.
    """
    request = {"path": str(path.absolute()), "kind": kind, "names": None if names is None else list(names)}
    interpreter = multiprocessing.spawn.get_executable()
    package = Path(__file__).parents[3]
    if getattr(sys, "frozen", False) or not interpreter or not (package / "__init__.py").is_file():
        return read_here(request)
    folders = [str(package), str(package / "data")]
    seconds = LEAST_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    process = subprocess.Popen(
        [os.fsdecode(interpreter), "-P", "-c", START, *folders, *filter(None, map(str, sys.path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            answer, _ = process.communicate(json.dumps(request).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TooLargeError(f"reading it took more than {seconds:.0f} seconds") from None
        finally:
            process.kill()
    if process.returncode:
        raise DamagedError(f"the library that reads it ended with {_ending(process.returncode)}")
    return _unpacked(answer)


def _ending(code: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"status {code}"


def serve() -> None:
    """Reads the file that stdin asks for, and writes its arrays to stdout; the main function of the process."""
    request, answer = json.loads(sys.stdin.buffer.read()), sys.stdout.buffer
    try:
        _write(answer, read_here(request, limit=True))
    except MemoryError:
        _write_header(answer, {"error": "TooLargeError", "text": "reading it takes more memory than the limit allows"})
    except (DamagedError, TooLargeError) as error:
        _write_header(answer, {"error": type(error).__name__, "text": str(error)})
    answer.flush()


def read_here(request: Mapping[str, Any], limit: bool = False) -> list[Leaf]:
    """Reads a file in this process.

    Args:
        request: Path and kind of the file, and names of columns, as `read_leaves` takes them.
        limit: Whether to limit the memory of this process.

    Raises:
        DamagedError: If the file contradicts itself.
        TooLargeError: If it exceeds the limits.
        MemoryError: If the limit of memory is exceeded.
    """
    wanted = Wanted(request["names"])
    if request["kind"] == "hdf5":
        from lddn_jax.data.matfiles.reader.hdf5 import read_hdf5 as read
    else:
        from lddn_jax.data.matfiles.reader.version5 import read_version_5 as read
    _limit_memory(limit)
    try:
        return read(request["path"], wanted)
    except (DamagedError, TooLargeError, MemoryError):
        raise
    except Exception as error:  # SciPy and h5py have no exception class for damaged files
        raise DamagedError(f"{type(error).__name__}: {printable(error, 200)[1:-1]}") from error


def _limit_memory(limit: bool) -> None:
    """Lets an allocation fail that a file claims without reason, where the platform has such a limit."""
    if not limit or sys.platform == "win32":
        return
    import resource

    most = _reserved_bytes() + 4 * LIMIT_BYTES
    with contextlib.suppress(ValueError, OSError):  # macOS accepts no limit below what is reserved
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _reserved_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:  # not Linux
        return 2**30
    return pages * os.sysconf("SC_PAGE_SIZE")


# ---- the answer: one line of JSON, then the arrays ------------------------------------------------------------------


def _write_header(file: BinaryIO, header: Any) -> None:
    file.write(json.dumps(header).encode() + b"\n")


def _write(file: BinaryIO, found: list[Leaf]) -> None:
    described = [
        {
            "name": leaf.name,
            "group": leaf.group,
            "index": leaf.index,
            "left_out": leaf.left_out,
            "note": leaf.note,
            "shape": leaf.shape if leaf.values is None else leaf.values.shape,
            "is_read": leaf.values is not None,
        }
        for leaf in found
    ]
    _write_header(file, described)
    for leaf in found:
        if leaf.values is not None:
            file.write(np.ascontiguousarray(leaf.values, np.float64).data)


def _unpacked(answer: bytes) -> list[Leaf]:
    line, _, _ = answer.partition(b"\n")
    header = json.loads(line)
    if isinstance(header, dict):
        raise ERRORS[header["error"]](header["text"])
    found, at = [], len(line) + 1
    for entry in header:
        shape, values = entry["shape"] and tuple(entry["shape"]), None
        if entry.pop("is_read"):
            count = math.prod(shape)
            values, shape = np.frombuffer(answer, np.float64, count, at).reshape(shape), None
            at += 8 * count
        found.append(Leaf(**entry | {"index": tuple(entry["index"]), "shape": shape, "values": values}))
    return found
