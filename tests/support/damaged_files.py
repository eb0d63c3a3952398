"""Damaged MATLAB and HDF5 files, read one by one in processes that may crash; prints how often each outcome occurred.

    python damaged_files.py FOLDER NUMBER SEED

Each file is read as `lddn_jax.data.matfiles` reads it, without JAX, in a fork of this process: that takes milliseconds
where a new interpreter takes a third of a second. Outcomes are "rejected", "equal" (the numbers are those of the whole
file), "other" (numbers that no checksum protects), "crash" and "traceback"; "other" of a compressed file would be
silent damage.
"""

import collections
import io
import json
import os
import random
import sys
import types
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "lddn_jax"
for name, folder in (("lddn_jax", PACKAGE), ("lddn_jax.data", PACKAGE / "data")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(folder)]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import scipy.io  # noqa: E402
import scipy.sparse  # noqa: E402

from lddn_jax.data.file_kinds import LONGEST_HEAD, READERS, kind_of  # noqa: E402
from lddn_jax.data.matfiles.reader import reader_process  # noqa: E402
from lddn_jax.data.matfiles.reader.contents import DamagedError, TooLargeError  # noqa: E402

OUTCOMES = ("rejected", "equal", "other", "memory", "traceback")


def whole_files() -> dict[str, bytes]:
    """Files of all versions with variables of all kinds."""
    rng = np.random.default_rng(0)
    u, y = rng.normal(size=(40, 1)), rng.normal(size=(40, 2))
    cells = np.zeros((1, 3), object)
    cells[0, :] = [rng.normal(size=(n, 1)) for n in (5, 6, 7)]
    variables = {
        "u": u,
        "y": y,
        "cells": cells,
        "run": {"k": np.arange(40, dtype=np.int16)[:, None], "inner": {"z": u}},
        "text": "a word",
        "sparse": scipy.sparse.csc_array(np.where(u > 0.5, u, 0)),
        "complex": u * 1j,
        "flag": u > 0,
    }
    plain = {name: variables[name] for name in ("u", "y", "text", "sparse", "complex")}
    found = {}
    for kind, given, options in (
        ("7, compressed", variables, {"do_compression": True}),
        ("6, uncompressed", variables, {}),
        ("4", plain, {"format": "4"}),
    ):
        stream = io.BytesIO()
        scipy.io.savemat(stream, given, **options)
        found[kind] = stream.getvalue()
    for kind, options in (("7.3, compressed", {"chunks": True, "compression": "gzip"}), ("HDF5", {})):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            for name, value in (("u", u), ("y", y), ("run/k", np.arange(40, dtype=np.int16)[:, None])):
                file.create_dataset(name, data=value.T, **options).attrs["MATLAB_class"] = np.bytes_("double")
            file.create_dataset("cells", data=[file["u"].ref, file["y"].ref], dtype=h5py.ref_dtype)
        found[kind] = stream.getvalue()
    return found


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cuts the end off, or changes one to four bytes; half of the changes are in the first kilobyte."""
    changed = bytearray(content)
    if draw.random() < 0.25:
        return content[: draw.randrange(len(content))]
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(min(1024, len(content)) if draw.random() < 0.5 else len(content))
        changed[place] = draw.choice((changed[place] ^ 1 << draw.randrange(8), draw.randrange(256), 0, 255))
    return bytes(changed)


def read(path: Path, limit: bool = False) -> dict[str, bytes]:
    """The numbers of a file by name."""
    with path.open("rb") as file:
        kind = kind_of(file.read(LONGEST_HEAD))
    if kind not in READERS:
        raise DamagedError(kind)
    request = {"path": str(path), "kind": kind, "names": None}
    return {
        leaf.name: leaf.values.tobytes() for leaf in reader_process.read_here(request, limit) if leaf.values is not None
    }


def outcome(path: Path, right: dict[str, bytes]) -> str:
    """What reading a file gives, in a process of its own."""
    child = os.fork()
    if not child:
        code = OUTCOMES.index("traceback")
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            found = read(path, limit=True)
            code = 1 if all(right.get(name) == found[name] for name in found) else 2
        except (DamagedError, TooLargeError) as error:
            code = 0
            if os.environ.get("SHOW"):
                print(kind_of(path.read_bytes()[:LONGEST_HEAD])[:40], str(error)[:150], flush=True)
        except MemoryError:
            code = 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else OUTCOMES[os.WEXITSTATUS(status)]


def main(folder: Path, number: int, seed: int) -> None:
    """Prints the counts of outcomes as JSON, by kind of file."""
    counts = {}
    path = folder / "damaged.mat"
    for kind, content in whole_files().items():
        draw = random.Random(f"{kind} {seed}")
        path.write_bytes(content)
        right = read(path)
        counts[kind] = collections.Counter()
        for _ in range(number):
            path.write_bytes(damaged(content, draw))
            result = outcome(path, right)
            counts[kind][result] += 1
            if result.startswith("signal") or result == "traceback":
                (folder / f"{result} {counts[kind][result]}.mat").write_bytes(path.read_bytes())
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
