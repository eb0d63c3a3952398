"""The process that reads MATLAB and HDF5 files: what it costs, what it may not do, and how its end is told."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from lddn_jax.data import read_mat
from lddn_jax.data.matfiles.reader import contents, reader_process
from lddn_jax.data.matfiles.reader.contents import Cells, Fields, leaves
from lddn_jax.errors import DataError

U = np.random.default_rng(0).normal(size=(50, 1))
SCRIPT = Path(__file__).parents[2] / "support" / "damaged_files.py"


@pytest.fixture
def path(tmp_path):
    scipy.io.savemat(tmp_path / "record.mat", {"u": U, "cells": np.array([U, 2 * U, 3], object), "text": "a word"})
    return tmp_path / "record.mat"


def test_the_process_returns_what_a_reader_finds(path):
    """Names, indices, shapes and values, bit for bit."""
    request = {"path": str(path), "kind": "version 5", "names": None}
    found, right = reader_process.read_leaves(path, "version 5", None), reader_process.read_here(request)
    for there, here in zip(found, right, strict=True):
        assert (there.name, there.group, there.index, there.left_out) == (
            here.name,
            here.group,
            here.index,
            here.left_out,
        )
        np.testing.assert_array_equal(there.values, here.values)


def test_the_process_does_not_import_jax():
    folders = [str(Path(reader_process.__file__).parents[k]) for k in (3, 2)]
    code = reader_process.START.replace("serve()", "from lddn_jax.data.matfiles.reader import hdf5, version5")
    code += "\nprint(sorted({'jax', 'jaxlib', 'equinox', 'jaxtyping'} & set(sys.modules)))"
    command = [sys.executable, "-P", "-c", code, *folders, *sys.path]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_large_variables_that_nobody_asked_for_are_not_read(tmp_path):
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file["u"] = U
        file.create_dataset("large", (3_000_000,), "f4", fillvalue=1.0)
    found = {leaf.name: leaf for leaf in reader_process.read_leaves(tmp_path / "large.h5", "hdf5", ["u"])}
    assert found["large"].values is None
    assert found["large"].shape == (3_000_000,)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended with SIGSEGV"),
        ("import os; os._exit(7)", "ended with status 7"),
        ("import time; time.sleep(60)", "took more than 0 seconds"),
    ],
    ids=["crash", "exit", "forever"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="has no signals")
def test_its_end_is_an_error_of_the_file(path, monkeypatch, code, words):
    monkeypatch.setattr(reader_process, "START", code)
    if "sleep" in code:
        monkeypatch.setattr(reader_process, "LEAST_SECONDS", 0.3)
    with pytest.raises(DataError, match=rf"record\.mat is .*damaged: .*{words}"):
        read_mat(path)


# ---- sizes ---------------------------------------------------------------------------------------------------------


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def variable(array_class, shape, *parts, name=b"u"):
    """An element of version 5 whose parts may contradict its shape."""
    flags, size = struct.pack("<II", array_class, 0), struct.pack(f"<{len(shape)}i", *shape)
    return element(14, element(6, flags) + element(5, size) + element(1, name) + b"".join(parts))


HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
NUMBERS = element(9, bytes(8))


def compressed(content):
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


VAST = 2**31 - 1
CLAIMS = {
    "an array": variable(6, (VAST, VAST), NUMBERS),
    "cells": variable(1, (VAST, 1)),
    "structs": variable(2, (VAST, 1), element(5, struct.pack("<i", 8)), element(1, b"field".ljust(8, b"\0"))),
    "text": variable(4, (1, VAST), element(4, b"ab")),
    "bytes": variable(6, (1, 1), struct.pack("<II", 9, 2**32 - 8)),
    "negative": variable(6, (-1, 1), NUMBERS),
    "axes": variable(6, (1,) * 100, NUMBERS),
    "a small element": variable(6, (1, 1), struct.pack("<HHI", 9, 800, 0)),
    "a class": variable(99, (1, 1), NUMBERS),
    "a type": variable(6, (1, 1), element(77, bytes(8))),
    "field names": variable(2, (1, 1), element(5, struct.pack("<i", 0)), element(1, b"")),
    "nested": variable(1, (1, 1), NUMBERS),
}


@pytest.mark.parametrize("pack", [bytes, compressed], ids=["plain", "compressed"])
@pytest.mark.parametrize("content", CLAIMS.values(), ids=CLAIMS)
def test_a_small_file_cannot_claim_a_large_array(tmp_path, monkeypatch, content, pack):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    (tmp_path / "claim.mat").write_bytes(HEADER + pack(content))
    with pytest.raises(DataError, match=r"claim\.mat is (too large or )?damaged: .*\d"):
        read_mat(tmp_path / "claim.mat")


def test_cells_in_cells_in_cells(tmp_path, monkeypatch):
    """SciPy's reader calls itself for each level and ends the process at some thousand of them."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    inner = variable(6, (1, 1), NUMBERS, name=b"")
    for _ in range(2000):
        inner = variable(1, (1, 1), inner, name=b"")
    (tmp_path / "deep.mat").write_bytes(HEADER + variable(1, (1, 1), inner))
    with pytest.raises(DataError, match="nested more than 32 levels"):
        read_mat(tmp_path / "deep.mat")


def test_a_large_compressed_variable(tmp_path, monkeypatch):
    """Of zeros, which inflate a thousandfold: they are counted piece by piece."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    stream, packed = zlib.compressobj(), b""
    packed += stream.compress(struct.pack("<II", 14, 2**32 - 8) + element(6, struct.pack("<II", 6, 0)))
    packed += stream.compress(element(5, struct.pack("<2i", 2**29 - 8, 1)) + element(1, b"u") + bytes(10**6))
    packed += stream.flush()
    (tmp_path / "bomb.mat").write_bytes(HEADER + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(DataError, match="claims 4,294,967,288 bytes and has 1,000,"):
        read_mat(tmp_path / "bomb.mat")


def test_the_wrong_checksum(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    content = bytearray(HEADER + compressed(variable(6, (1, 50), element(9, U.tobytes()))))
    content[-1] ^= 1
    (tmp_path / "sum.mat").write_bytes(content)
    with pytest.raises(DataError, match="incorrect data check"):
        read_mat(tmp_path / "sum.mat")


def test_deep_and_many_cells_are_left_out(monkeypatch):
    deep = U
    for _ in range(40):
        deep = Fields(inner=deep)
    (leaf,) = leaves("deep", deep)
    assert leaf.left_out == "nested more than 32 levels deep"
    monkeypatch.setattr(contents, "MOST_LEAVES", 10)
    many = np.full((1, 11), None, object)
    many[0, :] = [U] * 11
    (leaf,) = leaves("many", Cells(many))
    assert leaf.left_out == "more than 10 cells"


# ---- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="reads each file in a fork")
@pytest.mark.parametrize("number", [6, pytest.param(80, marks=pytest.mark.deep)], ids=["few", "many"])
def test_random_damage(tmp_path, number):
    """Truncated files and changed bytes, of all versions: no crash, no traceback, no wrong number behind a checksum."""
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, str(number), "0"], stdout=subprocess.PIPE, check=True, text=True
    )
    counts = json.loads(done.stdout)
    assert sum(sum(found.values()) for found in counts.values()) == 5 * number
    assert {outcome for found in counts.values() for outcome in found} <= {"rejected", "equal", "other"}
    assert set(counts["7, compressed"]) <= {"rejected", "equal"}
    assert all(found["rejected"] for found in counts.values())
