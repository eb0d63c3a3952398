"""Text files as people have them: every one of the table in `support/text_files.py` gives the same record."""

import random
import re

import numpy as np
import pytest
from text_files import FILES, TIMED, U, Y, rows

from lddn_jax.data import Reading, Record, read_csv
from lddn_jax.errors import DataError, LDDNError


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="record.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_it_is_with_a_note(name, write):
    content, note = FILES[name]
    record = Record.of(write(content), ["u"], ["y"], missing="mask")
    np.testing.assert_array_equal(record.inputs["u"][-8:, 0], U)
    np.testing.assert_array_equal(record.targets["y"][-8:, 0], Y)
    said = "; ".join(record.notes)
    assert re.search(note, said) if note else not said, said


@pytest.mark.parametrize("name", TIMED)
def test_times_and_dates_are_read_and_checked(name, write):
    content, note, step = TIMED[name]
    record = Record.of(write(content), ["u"], ["y"])
    assert record.sample_time == (None if step is None else pytest.approx(step))
    said = "; ".join(record.notes)
    assert re.search(note, said) if note else not said, said
    np.testing.assert_array_equal(record.targets["y"][:, 0], Y)
    assert Record.of(record_path(content, write), ["u"], ["y"], time=False).time is None


def record_path(content, write):
    return write(content, "again.dat")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("extension", [".csv", ".dat", ".txt", ".tsv", ".lvm", ""])
def test_without_a_header_columns_have_numbers(end, extension, write):
    path = write(rows("  {u}\t  {y}\t", end), f"dryer{extension}")
    record = Record.of(path, ["1"], ["2"])
    np.testing.assert_array_equal(record.inputs["1"][:, 0], U)
    assert re.search("no header, so the columns are called 1 to 2", record.notes[0])
    named = Record.of(path, ["u"], ["y"], reading=Reading(names=["u", "y"]))
    np.testing.assert_array_equal(named.targets["y"][:, 0], Y)


def test_a_series_of_one_column_without_a_name(write):
    record = Record.of(write(rows("{u}")), [], ["1"])
    np.testing.assert_array_equal(record.targets["1"][:, 0], U)


@pytest.mark.parametrize(
    ("content", "reading", "u"),
    [
        pytest.param(
            "2019,2020\n" + rows("{u},{y}"), Reading(skip_rows=1, names=["u", "y"]), U, id="numbers as a header"
        ),
        pytest.param("a,b\n" + rows("{u},{y}"), Reading(names=["u", "y"]), U, id="names for names"),
        pytest.param(
            "u,y\n1,-200\n-200.0,1\noff,1\n", Reading(missing_values=[-200, "OFF"]), [1] + 2 * [np.nan], id="codes"
        ),
        pytest.param("u:y\n1:2\n3:4\n", Reading(delimiter=":"), [1, 3], id="delimiter"),
        pytest.param("u y\n1 2\n3 4\n", Reading(delimiter="space"), [1, 3], id="named delimiter"),
        pytest.param('u,y\n"1,500","2,500"\n', Reading(decimal=","), [1.5], id="decimal comma of three digits"),
        pytest.param("u;y\n1,500;2\n", Reading(), [1.5], id="decimal comma where nothing else is likely"),
        pytest.param("é,u,y\n1,2,3\n".encode("utf-16-be"), Reading(encoding="utf-16-be"), [2], id="encoding"),
    ],
)
def test_options_decide_otherwise(content, reading, u, write):
    path = write(content)
    np.testing.assert_array_equal(read_csv(path, ["u"], reading=reading)["u"], u)
    record = Record.of(path, [], ["u"], missing="mask", reading=reading)
    np.testing.assert_array_equal(record.targets["u"][:, 0], u)


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_only_line_ends_end_lines(separator, write):
    table = read_csv(write(f"a{separator}b,y\n" + rows("{u},{y}")))
    assert table.names == (f"a{separator}b", "y")
    assert len(table) == 8


def test_a_blank_line_in_one_column_is_a_missing_value(write):
    np.testing.assert_array_equal(read_csv(write("y\n1\n\n3\n\n"))["y"], [1, np.nan, 3])


def test_all_columns_are_read_but_nameless_ones_and_words(write):
    table = read_csv(write(",day,u\n0,Monday,1\n1,Tuesday,2\n"))
    assert table.names == ("u",)
    assert any("'day': words, left out" in note for note in table.notes)


def test_monthly_dates_count_months(write):
    months = [f"{1949 + k // 12}-{k % 12 + 1:02}-01" for k in range(30)]
    record = Record.of(
        write("ds,y\n" + "".join(f"{month},{k}\n" for k, month in enumerate(months))), [], ["y"], time="ds"
    )
    assert record.sample_time == 1.0
    ends = ["2021-01-31", "2021-02-28", "2021-03-31", "2021-04-30"]
    record = Record.of(write("date,y\n" + "".join(f"{month},1\n" for month in ends)), [], ["y"])
    assert record.time.tolist() == [0, 1, 2, 3]


def test_times_of_day_continue_after_midnight(write):
    clock = ["23:59:58", "23:59:59", "00:00:00", "00:00:01"]
    record = Record.of(write("time,y\n" + "".join(f"{time},1\n" for time in clock)), [], ["y"])
    assert record.time.tolist() == [0, 1, 2, 3]


def test_dates_as_text_in_memory_are_times_too():
    stamps = np.array([f"2021-11-05 00:00:{k:02}" for k in range(0, 40, 10)])
    record = Record.of({"Time": stamps, "y": np.ones(4)}, [], ["y"])
    assert record.sample_time == 10.0
    assert Record.of({"Time": stamps, "y": np.ones(4)}, [], ["y"], time=False).time is None


def test_missing_inputs_cut_a_record_with_mask(write):
    path = write("u,y\n1,1\n2,2\n,3\n4,4\n5,\n6,6\n")
    record = Record.of(path, ["u"], ["y"], missing="mask")
    assert [len(piece) for piece in record.unbroken(1)] == [2, 1, 1]
    assert [len(piece) for piece in record.unbroken(1, targets=False)] == [2, 3]


def test_wide_files_are_read_in_no_time(write):
    names = [f"c{k}" for k in range(20_000)]
    path = write(",".join(names) + "\n" + 2 * ("1," * 19_999 + "1\n"))
    assert read_csv(path, ["c7", "c19999"])["c7"].tolist() == [1, 1]
    with pytest.raises(DataError, match=r"No column 'c20000' .*and 19988 more") as caught:
        read_csv(path, ["c20000"])
    assert len(str(caught.value)) < 500


def damaged(count, seed):
    """Contents of the tables, cut short or with a few bytes changed."""
    chance = random.Random(seed)
    contents = [content for content, *_ in (*FILES.values(), *TIMED.values())]
    for _ in range(count):
        given = chance.choice(contents)
        found = bytearray(given if isinstance(given, bytes) else given.encode())
        if chance.random() < 0.3:
            del found[chance.randrange(len(found)) :]
        for _ in range(chance.randrange(5) if found else 0):
            found[chance.randrange(len(found))] = chance.randrange(256)
        yield bytes(found)


@pytest.mark.parametrize("count", [30, pytest.param(400, marks=pytest.mark.deep)])
def test_damaged_files_are_read_or_rejected_in_one_short_line(count, write):
    for content in damaged(count, seed=count):
        path = write(content)
        for read in (read_csv, lambda path: Record.of(path, ["u"], ["y"]), lambda path: Record.of(path, [], ["1"])):
            said = ""
            try:
                read(path)
            except LDDNError as error:
                said = str(error)
            assert len(said) < 1000, content
            assert said.isprintable(), content
