"""Division: no sample twice, none lost, shares kept, and no target of one part in another."""

import dataclasses

import jax
import numpy as np
import pytest
from networks import declare
from tiers import in_tiers

from lddn_jax.data import (
    Blocks,
    ByRecord,
    Interleaved,
    RandomWindows,
    Record,
    Standard,
    divide,
    scaled,
    scalers_of,
    whole,
    windows,
)
from lddn_jax.errors import DataError

PARTS = ("train", "validation", "test")
CLOSED = declare("u:1", "y:1:linear", "u>y@1,4 y>y@1,3", "y")


def record(length, name="", first=0):
    """Every sample says which one it is."""
    u = np.arange(first, first + length, dtype=float)[:, None]
    return Record({"u": u}, {"y": -u}, u[:, 0] * 0.1, name)


RECORDS = [record(200, "a"), record(150, "b", 1000), record(90, "c", 2000), record(120, "d", 3000)]
WAYS = {
    "blocks": Blocks(),
    "interleaved": Interleaved(10),
    "random": RandomWindows(10, jax.random.key(0)),
    "by record": ByRecord(),
    "by name": ByRecord(validation=("b",), test=("d",)),
}


def samples(records):
    return np.concatenate([one.inputs["u"][:, 0] for one in records])


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_every_sample_is_in_one_part(how):
    division = divide(RECORDS, how)
    found = np.concatenate([samples(getattr(division, part)) for part in PARTS])
    np.testing.assert_array_equal(np.sort(found), samples(RECORDS))


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_pieces_are_records(how):
    """Each with the name and the instants of its own, and targets that belong to its inputs."""
    division = divide(RECORDS, how)
    pieces = [piece for part in PARTS for piece in getattr(division, part)]
    np.testing.assert_allclose(
        np.concatenate([piece.time for piece in pieces]), np.concatenate([samples([p]) for p in pieces]) * 0.1
    )
    np.testing.assert_array_equal(
        np.concatenate([piece.targets["y"] for piece in pieces])[:, 0], -np.concatenate([samples([p]) for p in pieces])
    )
    assert {piece.name: int(samples([piece])[0]) // 1000 for piece in pieces} == {"a": 0, "b": 1, "c": 2, "d": 3}


@pytest.mark.parametrize(
    "how", [WAYS["blocks"], WAYS["interleaved"], WAYS["random"]], ids=["blocks", "interleaved", "random"]
)
@pytest.mark.parametrize("shares", [(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.2, 0.0)], ids=str)
def test_shares(how, shares):
    division = divide(RECORDS, how, shares)
    found = np.array([sum(map(len, getattr(division, part))) for part in PARTS]) / 560
    np.testing.assert_allclose(found, shares, atol=0.02)  # one stretch of 10 of 560 samples


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_the_same_division_twice(how):
    assert str(divide(RECORDS, how)) == str(divide(RECORDS, how))
    np.testing.assert_array_equal(samples(divide(RECORDS, how).test), samples(divide(RECORDS, how).test))


def test_blocks_follow_in_time():
    division = divide(record(20))
    assert [samples(getattr(division, part)).tolist() for part in PARTS] == [
        list(range(14)),
        [14, 15, 16],
        [17, 18, 19],
    ]


def test_interleaved_pieces_are_joined():
    division = divide(record(100), Interleaved(10), (0.5, 0.25, 0.25))
    assert [(int(samples([p])[0]), len(p)) for p in division.train] == [(0, 10), (30, 20), (70, 20)]


def test_other_keys_divide_otherwise():
    first, second = (divide(RECORDS, RandomWindows(10, jax.random.key(k))) for k in (0, 1))
    assert set(samples(first.test)) != set(samples(second.test))


def test_records_whole():
    division = divide(RECORDS, ByRecord())
    assert [[one.name for one in getattr(division, part)] for part in PARTS] == [["a", "b"], ["d"], ["c"]]
    division = divide(RECORDS, ByRecord(test="a"))
    assert [[one.name for one in getattr(division, part)] for part in PARTS] == [["b", "c", "d"], [], ["a"]]


def test_three_equal_records_fill_three_parts():
    division = divide([record(50, name) for name in "abc"], ByRecord())
    assert [len(getattr(division, part)) for part in PARTS] == [1, 1, 1]


FORMS = {"whole": whole, "windows": lambda topology, records: windows(topology, records, length=2)}


@pytest.mark.parametrize("form", in_tiers(FORMS, fast=["whole"]))
@pytest.mark.parametrize("part", in_tiers(PARTS, ["train"]))
@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_no_target_leaks_across_a_border(how, part, form):
    """Change the targets of one part: what a closed loop is given of the others, its delay states too, stays."""
    before = divide(RECORDS, how)
    changed = set(samples(getattr(before, part)))
    others = [
        dataclasses.replace(
            one, targets={"y": np.where(np.isin(one.inputs["u"], list(changed)), 77.0, one.targets["y"])}
        )
        for one in RECORDS
    ]
    after = divide(others, how)
    assert (form(CLOSED, getattr(after, part)).targets["y"] == 77).sum() > 0
    for other in set(PARTS) - {part}:
        a, b = (form(CLOSED, getattr(division, other)) for division in (before, after))
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_scalers_of_several_records():
    gappy = dataclasses.replace(
        RECORDS[0], targets={"y": np.where(RECORDS[0].inputs["u"] == 5, np.nan, 1.0)}, missing="mask"
    )
    scalers = scalers_of([*RECORDS[1:], gappy])
    assert (float(scalers["u"].lowest[0]), float(scalers["u"].highest[0])) == (0.0, 3119.0)
    one = scaled(gappy, scalers)
    assert np.isnan(one.targets["y"][5, 0])
    np.testing.assert_allclose(scalers["u"].invert(one.inputs["u"]), gappy.inputs["u"], atol=1e-9)
    assert (one.name, one.missing) == ("a", "mask")


def test_a_measured_past_shares_the_scaler_of_its_target():
    one = Record({"measured_y": np.arange(9.0)[:, None] * 3}, {"y": np.arange(9.0)[:, None]})
    scalers = scalers_of(one, Standard, shared={"measured_y": "y"})
    assert scalers["measured_y"] is scalers["y"]
    assert float(scalers["y"].mean[0]) == 4.0


REFUSED = {
    "too short": (
        lambda: divide([record(20), record(6, "tiny")]),
        "record 'tiny', 6 samples, only 1 would belong to validation",
    ),
    "shorter than the delays": (
        lambda: divide(record(40), shortest=10),
        r"only 6 would belong to validation, \[28, 34\)",
    ),
    "shares of more": (lambda: divide(RECORDS, shares=(0.7, 0.2, 0.2)), "sum to 1"),
    "two shares": (
        lambda: divide(RECORDS, shares=(0.8, 0.2)),
        "shares=.0.8, 0.2. must be three numbers, for train, validation and test",
    ),
    "nothing trains": (lambda: divide(RECORDS, shares=(0.0, 0.5, 0.5)), "with train > 0"),
    "no way": (lambda: divide(RECORDS, "blocks"), r"how=lddn.data.Blocks\(\)"),
    "two records for three parts": (lambda: divide(RECORDS[:2], ByRecord()), r"2 record\(s\) cannot be.*Blocks"),
    "unknown name": (lambda: divide(RECORDS, ByRecord(test=("aa",))), "no record 'aa'.*Did you mean 'a'"),
    "one name twice": (lambda: divide(RECORDS, ByRecord(("a",), ("a",))), "cannot be both validation and test"),
    "all named": (lambda: divide(RECORDS[:2], ByRecord(("a",), ("b",))), "none is left to train"),
    "long stretches": (lambda: divide(record(100), Interleaved(50)), r"have 2 window\(s\) of 50 samples"),
    "long windows": (lambda: divide(record(100), RandomWindows(40, jax.random.key(0))), "none is left for"),
    "no length": (lambda: divide(record(100), Interleaved(0)), "length=0"),
    "unknown shared": (lambda: scalers_of(RECORDS, shared={"z": "y"}), "shared names 'z'"),
    "nothing known": (
        lambda: scalers_of(Record({}, {"y": np.full((5, 1), np.nan)}, missing="mask")),
        "signal 'y': MinMax.fit: channel 0 of 1 is all NaN",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
