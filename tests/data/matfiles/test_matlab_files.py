"""MATLAB's files, of version 7 written by SciPy and of version 7.3 by h5py, read back."""

import sys

import h5py
import jax
import numpy as np
import pytest
import scipy.io
import scipy.sparse

import lddn_jax as lddn
from lddn_jax.data import Reading, Record, matlab, read_mat
from lddn_jax.data.matfiles.reader import reader_process, version5
from lddn_jax.data.matfiles.reader.contents import LeftOut
from lddn_jax.data.records import records_in
from lddn_jax.data.sources import names_of, opened_source
from lddn_jax.errors import DataError, LDDNError, ShapeError
from lddn_jax.prediction.feedback import record_for

RNG = np.random.default_rng(0)
U, Y, T = RNG.normal(size=8), RNG.normal(size=(8, 2)), np.arange(8) * 0.1
CELLS = [RNG.normal(size=(n, 1)) for n in (5, 7, 6)]
VARIABLES = {
    "t": T[:, None],
    "u": U[None, :],
    "run": {"y": Y, "more": {"k": np.arange(8, dtype=np.int16)[:, None]}},
    "rate": 10.0,
}


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """Files are read here, as in a frozen program, and not in a process of their own, which takes longer."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)


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


def record(path, inputs=("u",), targets=("y",), **options):
    return Record.of(path, list(inputs), list(targets), reading=Reading(**options))


SECOND = "time runs along the second axis of y, 2-by-8"
ORIENTED = {
    "rows are time": ({"u": U, "y": Y}, {}, ()),
    "columns are time": ({"u": U, "y": Y.T}, {}, (SECOND,)),
    "by a matrix": ({"u": np.c_[U, U, U].T, "y": Y.T}, {}, ("time runs along the second axis of u, 3-by-8", SECOND)),
    "by a taller matrix": ({"u": np.c_[U, U], "y": Y.T}, {}, (SECOND,)),
    "three axes": ({"u": U, "y": Y.T[:, None, :]}, {}, (SECOND,)),
    "by an option": ({"u": Y.T, "y": Y.T}, {"transpose": True}, (SECOND.replace("of y", "of u"), SECOND)),
    "by the time": ({"u": Y.T, "y": Y.T, "t": T}, {}, (SECOND.replace("of y", "of u"), SECOND)),
}


@pytest.mark.parametrize(("variables", "options", "notes"), ORIENTED.values(), ids=ORIENTED)
def test_the_axis_of_time(saved, variables, options, notes):
    """The lengths of the other variables decide, and an option where they do not."""
    one = record(saved(variables | {"gains": np.arange(5.0), "matrix": np.eye(3)}), **options)
    np.testing.assert_array_equal(one.targets["y"], Y)
    assert (len(one), one.notes) == (8, notes)


@pytest.mark.parametrize(
    ("name", "variable"),
    [("y_2", Y), ("y(:,2)", Y), ("y[:,1]", Y), ("y_2", Y.T), ("y(2,:)", Y.T), ("y[1]", Y.T), ("y[1,:]", Y.T)],
)
def test_a_column_of_a_matrix(saved, name, variable):
    one = record(saved({"u": U, "y": variable}), targets=[name])
    np.testing.assert_array_equal(one.targets[name][:, 0], Y[:, 1])


OTHERS = {"gains": np.arange(5.0), "note": "a word", "cells": CELLS, "scalar": 3.0, "matrix": np.eye(4)}


@pytest.mark.parametrize("columns", [["u", "y"], ["y"]], ids=str)
def test_other_variables_do_not_matter(saved, columns):
    one = record(saved({"u": U, "y": Y} | OTHERS), columns[:-1], columns[-1:])
    np.testing.assert_array_equal(one.targets["y"], Y)


def test_a_field_by_its_last_name(saved):
    one = record(saved({"data": {"u": U, "y": Y}}))
    np.testing.assert_array_equal(one.inputs["u"][:, 0], U)
    assert one.notes == ("u is data.u", "y is data.y")
    one = record(saved({"data": {"u": U, "y": Y}}), ["data/u"], ["data.y"])
    np.testing.assert_array_equal(one.inputs["data/u"][:, 0], U)
    assert one.notes == ()


@pytest.mark.parametrize("time", [True, "time", False], ids=str)
def test_sampling_instants(saved, time):
    one = record(saved({"u": U, "y": Y, "time": T, "t": T[:5]}), time=time)
    assert (one.time is None) == (time is False)
    assert time is False or one.sample_time == pytest.approx(0.1)


KINDS = {
    "whole numbers": np.arange(8, dtype=np.int16),
    "large ones": np.arange(8, dtype=np.uint64) + 2**60,
    "logical": np.arange(8) > 3,
    "float32": U.astype(np.float32),
}


@pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)
def test_kinds_of_numbers(saved, values):
    table = read_mat(saved({"u": values}))
    np.testing.assert_array_equal(table["u"], values.astype(np.float64))
    assert table["u"].dtype == np.float64
    assert bool(table.notes) == (values.dtype == np.uint64)


def test_complex_numbers_without_an_imaginary_part(tmp_path):
    by_scipy(tmp_path / "z.mat", {"u": U + 0j})
    table = read_mat(tmp_path / "z.mat")
    np.testing.assert_array_equal(table["u"], U)
    assert table.notes == ("u: its imaginary part, zero, was dropped",)


def test_sparse_matrices(tmp_path):
    sparse = np.where(Y > 0, Y, 0)
    scipy.io.savemat(tmp_path / "s.mat", {"y": scipy.sparse.csc_array(sparse)})
    np.testing.assert_array_equal(read_mat(tmp_path / "s.mat").signal(["y_1", "y_2"]), sparse)
    with h5py.File(tmp_path / "s73.mat", "w") as file:
        group, csc = file.create_group("y"), scipy.sparse.csc_array(sparse)
        group.attrs["MATLAB_sparse"] = np.uint64(8)
        group["data"], group["ir"], group["jc"] = csc.data, csc.indices, csc.indptr
    np.testing.assert_array_equal(read_mat(tmp_path / "s73.mat").signal(["y_1", "y_2"]), sparse)


def test_a_cell_array_of_numbers_is_a_matrix(saved):
    """As MATLAB's xlsread returns a sheet."""
    np.testing.assert_array_equal(read_mat(saved({"raw": [*U]}))["raw"], U)


# ---- records in cells ----------------------------------------------------------------------------------------------


def in_two(rows):
    """Cells in two dimensions."""
    cells = np.zeros((len(rows), len(rows[0])), object)
    for k, row in enumerate(rows):
        for j, value in enumerate(row):
            cells[k, j] = value
    return cells


PAIRS = [[cell, 2 * cell] for cell in CELLS]
EQUAL = [[CELLS[0], 2 * CELLS[0]]] * 3
TWO_WAYS = {
    "rows are records": (in_two(PAIRS), None, 3),
    "columns are records": (in_two(PAIRS).T, None, 3),
    "equal lengths": (in_two(EQUAL), None, 3),
    "equal lengths in columns": (in_two(EQUAL).T, True, 3),
    "equal lengths in rows": (in_two(EQUAL).T, False, 2),
    "nested": (in_two([[in_two([pair]) for pair in PAIRS]]), None, 3),
}


@pytest.mark.parametrize(("cells", "transpose", "count"), TWO_WAYS.values(), ids=TWO_WAYS)
def test_cells_in_two_dimensions(tmp_path, cells, transpose, count):
    """The signals of a record have one length, which tells rows from columns."""
    scipy.io.savemat(tmp_path / "cells.mat", {"c": cells})
    tables = read_mat(tmp_path / "cells.mat", records="c", transpose=transpose)
    assert len(tables) == count
    if count == 3:
        for table in tables:
            np.testing.assert_array_equal(2 * table["c_1"], table["c_2"])


@pytest.mark.parametrize(
    ("chosen", "lengths"),
    [("all", [5, 7, 6]), ("y", [5, 7, 6]), ("y{2}", [7]), ("all(3)", [6])],
    ids=lambda value: str(value),
)
def test_chosen_records(saved, chosen, lengths):
    path = saved({"y": CELLS, "u": [2 * cell for cell in CELLS], "k": CELLS[:2]})
    tables = read_mat(path, ["u", "y"], records=chosen)
    assert [len(table) for table in tables] == lengths
    assert all(np.array_equal(table["u"], 2 * table["y"]) for table in tables)


def test_one_cell_as_a_column(saved):
    one = record(saved({"y": CELLS, "u": [2 * cell for cell in CELLS]}), ["u{2}"], ["y{2}"])
    np.testing.assert_array_equal(one.inputs["u{2}"], 2 * CELLS[1])


def test_empty_cells_are_left_out(tmp_path):
    by_scipy(tmp_path / "c.mat", {"y": [CELLS[0], np.zeros((0, 0)), CELLS[2]], "u": CELLS})
    tables = read_mat(tmp_path / "c.mat", records="all")
    assert [len(table) for table in tables] == [5, 6]
    assert tables[0].notes == ("cell 2 left out, where a signal is empty or not numeric",)


def test_a_file_of_one_record_per_cell_is_identified(saved):
    path = saved({"y": [np.tile(cell, (9, 1)) for cell in CELLS], "u": [np.tile(cell, (9, 1)) for cell in CELLS]})
    records = records_in(path, ["u"], ["y"], reading=Reading(records="all"))
    assert [(one.name, len(one)) for one in records] == [
        ("record, cell 1", 45),
        ("record, cell 2", 63),
        ("record, cell 3", 54),
    ]


# ---- any HDF5 file -------------------------------------------------------------------------------------------------


@pytest.fixture
def hdf5(tmp_path):
    """An HDF5 file of all kinds of objects that are no invention of MATLAB."""
    with h5py.File(tmp_path / "record.hdf5", "w") as file:
        file.attrs["rate"], file.attrs["MATLAB_class"] = 100.0, 3
        file["u"], file["y"] = U, Y
        file["u"].attrs["MATLAB_class"] = np.arange(3)
        file["u"].attrs["unit"] = "V"
        file["run/u"], file["run/note"] = U, "a word"
        file["run/around"] = file["run"]
        file["soft"], file["loop"] = h5py.SoftLink("/run/u"), h5py.SoftLink("/loop")
        file["outside"] = h5py.ExternalLink("/etc/hostname", "/u")
        file["through"] = h5py.SoftLink("/outside")
        file.create_dataset("elsewhere", (8,), "f8", external=[("other.bin", 0, 64)])
        layout = h5py.VirtualLayout((8,), "f8")
        layout[:] = h5py.VirtualSource("other.hdf5", "u", (8,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("vast", (10**12,), "f8", chunks=(1000,))
        file.create_dataset("unwritten", (8,), "f8")
        file.create_dataset("partly", (8,), "f8", chunks=(2,))[:3] = 1
        file["table"] = np.array([(u, b"x") for u in U], [("u", "f4"), ("s", "S1")])
        file.create_dataset("state", data=np.arange(8) % 2, dtype=h5py.enum_dtype({"OFF": 0, "ON": 1}, "i1"))
        ragged = file.create_dataset("ragged", (2,), h5py.vlen_dtype("f8"))
        ragged[0], ragged[1] = U, U[:5]
        file["complex"], file["text"], file["type"] = U * 1j, [b"a"] * 8, np.dtype("f8")
        file["empty"] = h5py.Empty("f8")
    return tmp_path / "record.hdf5"


READ = {"u": U, "y_2": Y[:, 1], "run/u": U, "soft": U, "table.u": U.astype("f4"), "state": np.arange(8) % 2}


@pytest.mark.parametrize(("name", "right"), READ.items(), ids=READ)
def test_datasets(hdf5, name, right):
    np.testing.assert_array_equal(read_mat(hdf5, [name])[name], right)


def test_a_dataset_of_vectors_is_cells(hdf5):
    assert [len(table) for table in read_mat(hdf5, ["ragged"], records="ragged")] == [8, 5]


def test_what_was_never_written_is_missing(hdf5):
    """HDF5 returns a fill value there, usually zero, which nobody measured."""
    table = read_mat(hdf5, ["partly"])
    np.testing.assert_array_equal(table["partly"], [1, 1, 1, 0, *4 * [np.nan]])
    assert table.notes == ("partly: 4 of its numbers were never written and count as missing",)


NOT_NUMBERS = {
    "outside": "a link to another file",
    "through": "a link to another file",
    "loop": "a link to nothing",
    "elsewhere": "a dataset whose numbers lie in another file",
    "virtual": "a virtual dataset",
    "unwritten": "numbers that were never written",
    "complex": "complex numbers",
    "text": "text",
    "type": "a type",
    "run/note": "text",
    "empty": "is empty",
    "vast": "1,000,000,000,000 elements, 7,450.6 GiB",
    "ragged": "'ragged' is a cell array",
    "run": "struct; name one of its fields: run.around, run.note, run.u",
}


@pytest.mark.parametrize(("name", "words"), NOT_NUMBERS.items(), ids=NOT_NUMBERS)
def test_datasets_that_are_no_signals(hdf5, name, words):
    with pytest.raises(DataError, match=words):
        read_mat(hdf5, [name])


@pytest.mark.parametrize("kind", ["table", "timeseries", "datetime", "iddata"])
def test_objects_are_named_with_what_to_save(tmp_path, kind):
    """MATLAB stores a number in place of an object in files of version 7.3."""
    with h5py.File(tmp_path / "objects.mat", "w") as file:
        file["u"], file["x"] = U, np.arange(6, dtype=np.uint32)
        file["x"].attrs["MATLAB_class"], file["x"].attrs["MATLAB_object_decode"] = np.bytes_(kind), 3
    with pytest.raises(DataError, match=rf"'x' is not.*but a {kind}.*x\.?.*save\('record.mat'"):
        read_mat(tmp_path / "objects.mat", ["x"])
    table = read_mat(tmp_path / "objects.mat")
    assert (table.names, table.notes) == (("u",), (f"left out: x ({kind})",))


def test_objects_of_version_7(tmp_path):
    """SciPy returns their class and a reference to data that it cannot read."""
    opaque = scipy.io.matlab.MatlabOpaque(
        np.array(
            [(b"x", b"MCOS", b"table", np.zeros((6, 1), np.uint32))],
            [(name, object) for name in ("s0", "s1", "s2", "arr")],
        )
    )
    assert version5._converted(opaque) == LeftOut("table")
    handle = scipy.io.matlab.MatlabFunction(np.zeros((1, 1)))
    assert version5._converted(handle) == LeftOut("a function handle")


# ---- once ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def readings(monkeypatch):
    """The files that were read, as they come."""
    found = []

    def counted(path, *others):
        found.append(path.name)
        return reader_process.read_leaves(path, *others)

    monkeypatch.setattr(matlab, "read_leaves", counted)
    return found


def test_a_file_is_read_once(saved, readings, tmp_path):
    long = np.arange(200.0)
    path = saved({"u": np.sin(long), "y": np.cumsum(np.sin(long)) / 9, "time": long * 0.1, "gains": np.arange(5.0)})
    record(path)
    assert readings == ["record.mat"]
    top = lddn.models.narx({"u": 1}, {"y": 1}, hidden=2)
    u, y = np.zeros((2, 30, 1))
    model = lddn.Scaled.fit(lddn.Network(top, key=jax.random.key(0)), lddn.Sequences({"u": u + 1, "measured_y": y}, y))
    assert len(record_for(model, path)) == 200
    assert readings == 2 * ["record.mat"]
    opened = opened_source(path, None, ["u"], ["y"])
    assert {"u", "y", "gains"} <= set(names_of(opened))
    record(opened)
    assert readings == 3 * ["record.mat"]
