"""MATLAB's files, of version 7 written by SciPy and of version 7.3 by h5py, read back."""

import sys

import h5py
import numpy as np
import pytest
import scipy.io

from lddn_jax.data import Record, read_mat
from lddn_jax.errors import DataError, LDDNError, ShapeError

RNG = np.random.default_rng(0)
U, Y, T = RNG.normal(size=8), RNG.normal(size=(8, 2)), np.arange(8) * 0.1
CELLS = [RNG.normal(size=(n, 1)) for n in (5, 7, 6)]
VARIABLES = {
    "t": T[:, None],
    "u": U[None, :],
    "run": {"y": Y, "more": {"k": np.arange(8, dtype=np.int16)[:, None]}},
    "rate": 10.0,
}


def by_scipy(path, variables):
    def cell(value):
        if not isinstance(value, list):
            return value
        array = np.zeros((1, len(value)), object)
        array[0, :] = value
        return array

    scipy.io.savemat(path, {name: cell(value) for name, value in variables.items()})


def by_h5py(path, variables):
    """As MATLAB writes it: transposed, structs as groups, cells as references to datasets of `#refs#`."""

    def write(group, name, value):
        if isinstance(value, dict):
            struct = group.create_group(name)
            struct.attrs["MATLAB_class"] = np.bytes_("struct")
            for field, inner in value.items():
                write(struct, field, inner)
        elif isinstance(value, list):
            refs = group.file.require_group("#refs#")
            each = [refs.create_dataset(f"{name}{k}", data=np.atleast_2d(x).T).ref for k, x in enumerate(value)]
            cell = group.create_dataset(name, data=np.array(each, dtype=h5py.ref_dtype)[:, None], dtype=h5py.ref_dtype)
            cell.attrs["MATLAB_class"] = np.bytes_("cell")
        elif isinstance(value, str):
            text = group.create_dataset(name, data=np.array([[ord(c)] for c in value], np.uint16))
            text.attrs["MATLAB_class"] = np.bytes_("char")
        else:
            group.create_dataset(name, data=np.atleast_2d(value).T).attrs["MATLAB_class"] = np.bytes_("double")

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            write(file, name, value)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.fixture(params=[by_scipy, by_h5py], ids=["7", "7.3"])
def saved(request, tmp_path):
    def save(variables):
        request.param(tmp_path / "record.mat", variables)
        return tmp_path / "record.mat"

    return save


def test_vectors_matrices_and_structs(saved):
    table = read_mat(saved(VARIABLES | {"comment": "a word"}))
    assert set(table.names) == {"t", "u", "run.y_1", "run.y_2", "run.more.k"}
    np.testing.assert_array_equal(table["t"], T)
    np.testing.assert_array_equal(table["u"], U)
    np.testing.assert_array_equal(table.signal(["run.y_1", "run.y_2"]), Y)
    np.testing.assert_array_equal(table["run.more.k"], np.arange(8.0))


@pytest.mark.parametrize(
    ("columns", "names"),
    [(["u", "t"], ("u", "t")), (["run.y_2"], ("run.y_2",)), (["run.y", "u"], ("run.y_1", "run.y_2", "u"))],
    ids=["vectors", "one of a matrix", "a matrix"],
)
def test_columns_wanted(saved, columns, names):
    """Whatever else is in the file may have another length."""
    assert read_mat(saved(VARIABLES | {"other": np.zeros((3, 1))}), columns).names == names


def test_cells_are_records(saved):
    path = saved({"y": CELLS, "u": [2 * x for x in CELLS], "gain": np.ones((9, 1))})
    tables = read_mat(path, records=True)
    assert [len(table) for table in tables] == [5, 7, 6]
    for table, cell in zip(tables, CELLS, strict=True):
        np.testing.assert_array_equal(table["y"], cell[:, 0])
        np.testing.assert_array_equal(table["u"], 2 * cell[:, 0])


def test_an_array_of_structs_is_records(tmp_path):
    runs = np.array([(cell, 2 * cell) for cell in CELLS], dtype=[("u", object), ("y", object)])
    scipy.io.savemat(tmp_path / "runs.mat", {"runs": runs})
    tables = read_mat(tmp_path / "runs.mat", records=True)
    assert [(table.names, len(table)) for table in tables] == [(("runs.u", "runs.y"), n) for n in (5, 7, 6)]
    np.testing.assert_array_equal(tables[2]["runs.y"], 2 * CELLS[2][:, 0])


def test_what_is_wanted_of_cells(saved):
    path = saved({"y": CELLS, "u": CELLS, "other": CELLS[:2]})
    assert [table.names for table in read_mat(path, ["u"], records=True)] == 3 * [("u",)]


def test_a_record_of_a_file(saved):
    one = Record.of(saved(VARIABLES), inputs=["u"], targets=[{"y": ["run.y_1", "run.y_2"]}], time="t")
    np.testing.assert_array_equal(one.targets["y"], Y)
    assert (one.name, len(one)) == ("record", 8)


REFUSED = {
    "turned": ({"Y": Y.T}, {}, ShapeError, r"'Y' is 2-by-8.*transpose=True.*transpose=False"),
    "square": ({"Y": np.ones((3, 3))}, {}, ShapeError, "'Y' is 3-by-3"),
    "other lengths": ({"u": U, "v": U[:5]}, {}, DataError, "differ in length: u: 8, v: 5.*columns="),
    "misspelt": ({"u": U, "current": U}, {"columns": ["curent"]}, DataError, "no 'curent'.*Did you mean 'current'"),
    "no such column": ({"Y": Y}, {"columns": ["Y_3"]}, DataError, "no column 'Y_3'"),
    "text only": ({"s": "hello"}, {}, DataError, "no vector or matrix of numbers"),
    "cells only": ({"y": CELLS}, {}, DataError, "cell arrays, y: write records=.all."),
    "a cell by name": ({"y": CELLS, "u": U}, {"columns": ["y"]}, DataError, "'y' is a cell array"),
    "no cells": ({"u": U}, {"records": True}, DataError, "no cell array"),
    "cells of two experiments": (
        {"y": CELLS, "u": CELLS[:2]},
        {"records": True},
        DataError,
        "different numbers of records",
    ),
}


@pytest.mark.parametrize(("variables", "options", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(saved, variables, options, error, message):
    with pytest.raises(error, match=message):
        read_mat(saved(variables), **options)


GARBAGE = {
    "noise": RNG.bytes(2000),
    "text": b"time,current\n1,2\n" * 50,
    "nothing": b"",
    "the beginning of HDF5": b"\x89HDF\r\n\x1a\n" + RNG.bytes(100),
    "a header alone": b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM",
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage(tmp_path, content):
    path = tmp_path / "garbage.mat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"garbage.mat (is not a MATLAB file|holds no vector|is damaged)"):
        read_mat(path)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        read_mat(tmp_path / "nowhere.mat")


def test_without_h5py(tmp_path, monkeypatch):
    by_h5py(tmp_path / "new.mat", {"u": U})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(LDDNError, match=r"pip install 'lddn_jax\[io\]'.*-v7"):
        read_mat(tmp_path / "new.mat")
