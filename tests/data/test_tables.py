"""Reading records: what is accepted, and what every refusal says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lddn_jax.data import Table, read_csv, uniform_sampling
from lddn_jax.errors import DataError, ShapeError


@pytest.fixture
def write(tmp_path):
    def write_file(content):
        path = tmp_path / "record.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("time,current\n0,1.5\n0.1,-2e3\n", id="plain"),
        pytest.param("time;current\n0;1.5\n0.1;-2e3\n", id="semicolons"),
        pytest.param("time\tcurrent\n0\t1.5\n0.1\t-2e3\n", id="tabs"),
        pytest.param(" time , current \n 0 , 1.5\n0.1, -2e3", id="spaces, no last line end"),
        pytest.param('"time","current"\n"0","1.5"\n0.1,-2e3\n', id="quotes"),
        pytest.param("# a rig\n\ntime,current\n#, begins,\n0,1.5\n  # goes on\n0.1,-2e3\n\n \n", id="comments"),
        pytest.param("time,current\r\n0,1.5\r\n0.1,-2e3\r\n\r\n", id="Windows"),
        pytest.param("\ufefftime,current\n0,1.5\n0.1,-2e3\n", id="byte-order mark"),
    ],
)
def test_it_reads(write, content):
    table = read_csv(write(content))
    assert table.names == ("time", "current")
    np.testing.assert_array_equal(table.signal(["time", "current"]), [[0.0, 1.5], [0.1, -2000.0]])


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8"])
def test_it_reads_other_encodings(write, encoding):
    path = write("Größe\n1\n".encode(encoding))
    assert read_csv(path, encoding=encoding)["Größe"].tolist() == [1.0]


def test_missing_values_become_nan(write):
    table = read_csv(write("a,b\n1,\nNaN,2\nnan, \n"))
    np.testing.assert_array_equal(table.signal(["a", "b"]), [[1, np.nan], [np.nan, 2], [np.nan, np.nan]])


def test_only_the_columns_wanted_are_read(write):
    table = read_csv(write("day,a,b\nMonday,1,2\nTuesday,3,4\n"), columns=["b", "a"], dtype=np.float32)
    assert table.names == ("b", "a")
    assert table["b"].dtype == np.float32
    np.testing.assert_array_equal(table.signal(table.names), [[2, 1], [4, 3]])


@settings(deadline=None, max_examples=30)
@given(
    array=hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(allow_nan=False))
)
def test_what_is_written_is_read_back_without_loss(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("tables") / "record.csv"
    Table({f"channel {k}": column for k, column in enumerate(array.T)}).to_csv(path)
    back = read_csv(path)
    np.testing.assert_array_equal(back.signal(back.names), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "is empty. It needs a header", id="empty"),
        pytest.param("# only this\n\n", "is empty", id="only comments"),
        pytest.param("time,current\n", "has no row of numbers below its header", id="no rows"),
        pytest.param("a,b,a\n1,2,3\n", "the header has 'a' more than once; rename one", id="repeated name"),
        pytest.param("a,b\n1,2\n#\n3\n", r"line 4 has 1 cell, .* names 2 columns \(a, b\)", id="short row"),
        pytest.param("a,b\n1,2,3\n", "line 2 has 3 cells", id="long row"),
        pytest.param("a,b\n1,2\n3,off\n", "line 3, column 'b': 'off' is not a number", id="a word"),
        pytest.param("a,b\n1,2\n3,1_000\n", "line 3, column 'b': '1_000'", id="an underscore"),
        pytest.param(b"a\n1\0\n", "zero bytes.*Export it as CSV", id="binary"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_and_the_fix(write, content, message):
    with pytest.raises(DataError, match=message):
        read_csv(write(content))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["curent"]}, "No column 'curent' in .*it has time, current. Did you mean 'current'?"),
        ({"columns": []}, "0 columns were requested"),
        ({"dtype": int}, "pass a floating-point dtype"),
        ({"encoding": "utf-9"}, "Unknown encoding 'utf-9'"),
    ],
)
def test_a_bad_request_is_refused(write, arguments, message):
    with pytest.raises(DataError, match=message):
        read_csv(write("time,current\n0,1\n"), **arguments)


def test_a_missing_file_is_named_with_the_closest_one(write):
    path = write("a\n1\n")
    with pytest.raises(DataError, match=r"no file .*recrod.csv .*Did you mean 'record.csv'"):
        read_csv(path.with_name("recrod.csv"))
    with pytest.raises(DataError, match="no file"):
        read_csv(path.parent / "no folder" / "record.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_csv(path.parent)


def test_a_table_is_a_mapping_with_rows():
    table = Table({"a": np.arange(3.0), "b": np.ones(3)})
    assert (len(table), list(table), "a" in table, "c" in table) == (3, ["a", "b"], True, False)
    assert repr(table) == "Table(3 rows of a, b)"
    assert table.signal("a").shape == (3, 1)
    with pytest.raises(DataError, match=r"No column 'A'.*it has a, b"):
        table["A"]
    with pytest.raises(DataError, match="needs column names"):
        table.signal([])


def test_a_table_keeps_its_own_values():
    column = np.arange(3.0)
    table = Table({"a": column})
    column[0] = 99.0
    assert table["a"][0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        table["a"][0] = 99.0


@pytest.mark.usefixtures("unchecked")
def test_a_table_refuses_what_is_no_table():
    with pytest.raises(DataError, match=r"equal length.*'a': 1, 'b': 2"):
        Table({"a": np.ones(1), "b": np.ones(2)})
    with pytest.raises(ShapeError, match=r"'a' of a Table has shape \(2, 2\)"):
        Table({"a": np.ones((2, 2))})
    with pytest.raises(DataError, match="at least one column"):
        Table({})


@pytest.mark.parametrize("time", [np.arange(4001) * 0.01, np.arange(100, dtype=np.float32) * np.float32(0.01) + 7])
def test_the_sample_time_of_an_even_record(time):
    np.testing.assert_allclose(uniform_sampling(time), 0.01, rtol=1e-4)  # one of the two is float32


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("time", "message"),
    [
        ([0.0], "two or more instants"),
        ([[0.0, 1.0]], "two or more instants"),
        ([0.0, 1.0, np.nan, 3.0], r"time\[2\] = nan.*it is missing"),
        ([np.nan, np.nan], r"time\[0\] = nan"),
        ([0.0, 1.0, 1.0, 2.0], r"time\[2\] = 1 after time\[1\] = 1: it is not later"),
        (
            [0.0, 1.0, 2.0, 4.0, 5.0],
            r"time\[3\] = 4 after time\[2\] = 2: the step is not the usual one .usual step 1.",
        ),
        ([0.0, 1.0, 2.0, 3.02], r"time\[3\]"),
    ],
)
def test_uneven_sampling_is_refused_at_its_first_index(time, message):
    with pytest.raises(DataError, match=message):
        uniform_sampling(np.array(time))
