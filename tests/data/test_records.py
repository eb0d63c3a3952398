"""Records: what they are made of, where they come from, and what they refuse."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from lddn_jax.data import Record, Table
from lddn_jax.data.records import notes_on
from lddn_jax.errors import DataError, ShapeError

COLUMNS = {"t": np.arange(6) * 0.5, "a": np.arange(6.0), "b": np.arange(6) + 10, "y": np.linspace(0, 1, 6)}


class Frame:
    """What pandas and polars have in common."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]


def csv(folder):
    path = folder / "monday.csv"
    Table(COLUMNS).to_csv(path)
    return path


SOURCES = {
    "table": lambda folder: Table(COLUMNS),
    "mapping": lambda folder: COLUMNS,
    "lists": lambda folder: {name: column.tolist() for name, column in COLUMNS.items()},
    "JAX arrays": lambda folder: {name: jnp.asarray(column) for name, column in COLUMNS.items()},
    "frame": lambda folder: Frame(COLUMNS),
    "path": csv,
    "name of a path": lambda folder: str(csv(folder)),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_sources(source, tmp_path):
    one = Record.of(source(tmp_path), inputs=["b", {"both": ["b", "a"]}], targets={"level": "y"}, time="t")
    np.testing.assert_array_equal(one.inputs["b"][:, 0], COLUMNS["b"])
    np.testing.assert_array_equal(one.inputs["both"], np.stack([COLUMNS["b"], COLUMNS["a"]], axis=1))
    np.testing.assert_array_equal(one.targets["level"][:, 0], COLUMNS["y"])
    np.testing.assert_array_equal(one.time, COLUMNS["t"])
    assert one.sample_time == 0.5
    assert {x.dtype for x in (one.inputs | one.targets).values()} == {np.dtype(float)}
    assert one.name == ("monday" if list(tmp_path.iterdir()) else "")


def test_a_benchmark_with_u_and_y():
    data = types.SimpleNamespace(
        u=COLUMNS["a"], y=np.stack([COLUMNS["b"], COLUMNS["y"]], 1), sampling_time=0.5, name="bench"
    )
    one = Record.of(data, inputs=["force", {"measured": ["high"]}], targets=["low", "high"])
    np.testing.assert_array_equal(one.inputs["force"][:, 0], COLUMNS["a"])
    np.testing.assert_array_equal(one.inputs["measured"], one.targets["high"])
    np.testing.assert_array_equal(one.targets["low"][:, 0], COLUMNS["b"])
    np.testing.assert_array_equal(one.time, COLUMNS["t"])
    assert one.name == "bench"


def test_matrices_are_signals_of_several_elements():
    one = Record.of({"u": np.ones((6, 3)), "y": np.ones(6)}, ["u"], ["y"])
    assert one.sizes == {"inputs": {"u": 3}, "targets": {"y": 1}}


def test_dates_become_seconds():
    days = np.datetime64("2024-03-01T00:00:00") + np.arange(6) * np.timedelta64(250, "ms")
    assert Record.of(COLUMNS | {"t": days}, ["a"], ["y"], time="t").sample_time == 0.25


@dataclasses.dataclass
class Date:
    """A date with a time zone, as frames keep them: an object that knows its seconds."""

    seconds: float

    def timestamp(self):
        return self.seconds


def test_dates_of_a_time_zone_become_seconds():
    days = np.array([Date(1.7e9 + 0.25 * k) for k in range(6)], object)
    assert Record.of(COLUMNS | {"t": days}, ["a"], ["y"], time="t").sample_time == 0.25


def test_pieces_between_gaps():
    a, b = np.arange(9.0)[:, None], np.arange(9.0)[:, None]
    a[[2, 7]] = b[3] = np.nan
    pieces = Record({"u": np.arange(9.0)[:, None]}, {"a": a, "b": b}, missing="mask").unbroken()
    assert [piece.inputs["u"][:, 0].tolist() for piece in pieces] == [[0, 1], [4, 5, 6]]


def test_measured_targets_become_inputs():
    one = Record.of(COLUMNS, ["a"], ["y"]).measured({"measured_y": "y"})
    np.testing.assert_array_equal(one.inputs["measured_y"], one.targets["y"])
    assert set(one.inputs) == {"a", "measured_y"}


def test_a_piece_keeps_name_and_instants():
    one = Record.of(COLUMNS, ["a"], ["y"], time="t", name="monday").piece(2, 5)
    assert (one.name, len(one), one.time.tolist()) == ("monday", 3, [1.0, 1.5, 2.0])


def test_records_cannot_be_changed():
    one = Record.of(COLUMNS, ["a"], ["y"], time="t")
    with pytest.raises(ValueError, match="read-only"):
        one.targets["y"][0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "tuesday"


def of(changed=(), inputs=("a",), targets=("y",), **options):
    return lambda: Record.of(
        COLUMNS | dict(changed), list(inputs), list(targets), **({"name": "monday", "time": "t"} | options)
    )


def spoilt(name, place, value):
    column = COLUMNS[name].astype(float)
    column[place] = value
    return {name: column}


REFUSED = {
    "input NaN": (of(spoilt("a", 3, np.nan)), DataError, r"'monday': input 'a' is nan at sample 3 \(time 1.5\).*fill"),
    "input infinite": (of(spoilt("a", 3, np.inf)), DataError, "input 'a' is inf at sample 3.*mark it as missing"),
    "target NaN": (of(spoilt("y", 0, np.nan)), DataError, "target 'y' is nan at sample 0.*missing=\"mask\""),
    "target infinite": (of(spoilt("y", 0, np.inf), missing="mask"), DataError, "target 'y' is inf at sample 0"),
    "uneven time": (of(spoilt("t", 3, 1.7)), DataError, r"'monday': time\[3\] = 1.7.*evenly spaced"),
    "no such column": (of(inputs=["aa"]), DataError, "'monday': No channel 'aa'.*Did you mean 'a'"),
    "words": (of({"a": np.array(list("abcdef"))}), DataError, "channel 'a' holds <U1"),
    "words as objects": (of({"a": np.array([*"abcde", 1.0], object)}), DataError, "channel 'a' is not numeric"),
    "turned": (of({"u": np.zeros((2, 6))}, ["u"]), ShapeError, r"\(2, 6\).*write u.T, of shape \(6, 2\)"),
    "three axes": (of({"u": np.zeros((6, 2, 1))}, ["u"]), ShapeError, "channel 'u' has shape"),
    "another length": (of({"u": np.zeros(7)}, ["u"]), ShapeError, "differ in length"),
    "both": (of(inputs=["y"]), DataError, "'y' is both an input and a target.*measured_y"),
    "dates": (
        of({"a": np.array([Date(1.0)] * 6, object)}),
        DataError,
        "channel 'a' is not numeric: it contains Date",
    ),
    "measured gaps": (
        lambda: Record({}, {"y": np.full((4, 1), np.nan)}, missing="mask").measured({"m": "y"}),
        DataError,
        "input 'm' is nan at sample 0",
    ),
    "measured nothing": (lambda: Record({}, {"y": np.ones((4, 1))}).measured({"m": "x"}), DataError, "no target 'x'"),
    "twice": (of(inputs=["a", "a"]), DataError, "names 'a' twice"),
    "no target": (of(targets=[]), DataError, "has no targets"),
    "numbers as names": (of(inputs=[1]), DataError, r"write names of columns"),
    "missing misspelt": (of(missing="maks"), DataError, 'missing="mask"'),
    "no source": (lambda: Record.of(3.0, ["a"], ["y"]), DataError, "cannot be made from float"),
    "no file": (lambda: Record.of("nowhere.csv", ["a"], ["y"]), DataError, "There is no file nowhere.csv"),
    "a strange file": (lambda: Record.of("a.xls", ["a"], ["y"]), DataError, "extension must be .csv"),
    "columns of u": (
        lambda: Record.of(types.SimpleNamespace(u=np.ones((6, 2)), y=np.ones(6)), ["u"], ["y"]),
        DataError,
        r"\.u has 2 channel.*\['u'\]",
    ),
    "a vector": (lambda: Record({"u": np.ones(6)}, {"y": np.ones((6, 1))}), ShapeError, r"x\[:, None\]"),
    "a batch": (lambda: Record({}, {"y": np.ones((2, 6, 1))}), ShapeError, "list of records"),
    "instants": (lambda: Record({}, {"y": np.ones((6, 1))}, np.arange(5)), ShapeError, "one instant per sample"),
    "no piece": (lambda: Record({}, {"y": np.ones((6, 1))}).piece(4, 9), DataError, r"no piece \[4, 9\)"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_notes_that_records_share_are_one_line():
    def noted(name, *notes):
        return Record({}, {"y": np.ones((3, 1))}, name=name, notes=notes)

    records = [noted("a", "no header"), noted("b"), noted("c", "no header"), noted("c", "no header"), noted("d", "x")]
    assert notes_on(records) == ("a and 1 more: no header", "d: x")
