"""Folds: which rows each fold trains on and holds out, and the sequences that a network gets of them."""

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import data
from lddn_jax.data import FromRecord, Record, Trained, WarmUp, Zeros
from lddn_jax.errors import DataError, LDDNError

TOPOLOGY = lddn.models.state_space({"u": 1}, {"y": 1}, states=1, hidden=0)
CLOSED = lddn.close_loop(
    lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2, feedback_delays=(1, 3)), init="zeros"),
    "y",
    "measured_y",
).topology


def record(length: int, offset: float = 0.0, **more) -> Record:
    """The target of row t is offset + t, so that every value tells its record and row; the input is its negative."""
    rows = offset + np.arange(float(length))[:, None]
    return Record({"u": -rows}, {"y": rows}, **more)


LENGTHS = {"one record": (97,), "unequal records": (50, 7, 120, 31), "more records than folds": (20,) * 7}


def made(lengths, count=4, **more):
    return data.folds([record(n, 1000.0 * k) for k, n in enumerate(lengths)], count, **more)


def held_rows(folds, fold):
    return [(s.record, row) for s in folds.spans(fold) for row in range(s.held_from, s.stop)]


def shapes(sequences):
    parts = (sequences.targets, sequences.inputs, sequences.state, sequences.weights)
    return tuple(leaf.shape for leaf in jax.tree.leaves(parts))


# --- the rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_every_row_is_held_out_once_but_for_the_leads(lengths):
    folds = made(lengths, lead=3)
    found = sorted(row for fold in range(4) for row in held_rows(folds, fold))
    assert found == [(k, row) for k, n in enumerate(lengths) for row in range(3, n)]


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("fold", range(4))
def test_the_spans_of_a_fold_cover_every_row_once(lengths, fold):
    rows = [(s.record, row) for s in made(lengths).spans(fold) for row in range(s.start, s.stop)]
    assert rows == [(k, row) for k, n in enumerate(lengths) for row in range(n)]


def test_a_span_ends_with_its_held_out_block():
    spans = [tuple(span) for span in made((80,), lead=5).spans(0)]
    assert spans == [(0, 0, 20, 5), (0, 20, 80, 80)]
    assert [tuple(span) for span in made((80,)).spans(3)] == [(0, 0, 80, 60)]


def test_a_lead_is_at_most_half_of_its_block():
    assert [tuple(span) for span in made((20, 20), 2).spans(1)] == [(0, 0, 20, 20), (1, 0, 20, 10)]


def test_blocks_of_a_length_are_held_out_in_turn():
    folds = made((60, 40), 2, length=10)
    assert folds.blocks == (tuple(range(0, 61, 10)), tuple(range(0, 41, 10)))
    held = {(s.record, s.held_from) for s in folds.spans(1) if s.held_from < s.stop}
    assert held == {(0, 10), (0, 30), (0, 50), (1, 10), (1, 30)}


PIECES = (6, 13, 25, 200)  # samples


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("fold", range(4))
def test_pieces_cover_every_row_once_and_hold_out_the_same_rows(lengths, fold, piece):
    folds = made(lengths, piece=piece)
    rows = [(s.record, row) for s in folds.spans(fold) for row in range(s.start, s.stop)]
    assert rows == [(k, row) for k, n in enumerate(lengths) for row in range(n)]
    assert held_rows(folds, fold) == held_rows(made(lengths), fold)
    assert {s.held_from for s in folds.spans(fold)} >= {s.held_from for s in made(lengths).spans(fold)}


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("fold", range(4))
def test_no_piece_is_longer_than_it_may_be_and_none_is_empty(lengths, fold, piece):
    folds = made(lengths, piece=piece, lead=3)
    trained = [s.held_from - s.start for s in folds.spans(fold)]
    assert max(trained) <= piece
    assert min(trained) > 0
    stretches = [len(one) for one in folds.training(fold)]
    leads = sum(s.start == 0 and 0 < s.held_from <= 3 < s.stop for s in folds.spans(fold))
    # As few pieces as fit, and the leads of records that begin with a held-out block.
    assert len(trained) == sum(-(-n // piece) for n in stretches) + leads


def test_a_stretch_is_divided_into_equal_pieces():
    folds = made((80,), piece=25)
    assert [tuple(span) for span in folds.spans(2)] == [(0, 0, 20, 20), (0, 20, 60, 40), (0, 60, 80, 80)]
    assert [tuple(span) for span in folds.whole(TOPOLOGY).spans] == [(0, a, a + 20, a + 20) for a in (0, 20, 40, 60)]


def test_training_records_hold_no_row_of_a_held_out_block():
    folds = made((50, 30), 2, length=10, lead=3)
    for fold in range(2):
        rows = {float(y) for piece in folds.training(fold) for y in piece.targets["y"][:, 0]}
        held = {1000.0 * k + row for k, row in held_rows(folds, fold)}
        assert not rows & held
        leads = {1000.0 * k + row for k in range(2) for row in range(3)} if fold == 0 else set()
        everything = {1000.0 * k + row for k, n in enumerate((50, 30)) for row in range(n)}
        # Record 1 begins with block 5, which fold 1 holds out.
        leads = {row for row in leads if row < 1000} if fold == 0 else {1000.0, 1001.0, 1002.0}
        assert rows == everything - held - leads


# --- the sequences ---------------------------------------------------------------------------------------------------

STARTS = {"trained": None, "from the record": FromRecord(), "after a warm-up": WarmUp(2, FromRecord())}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("topology", [TOPOLOGY, CLOSED], ids=["state space", "closed NARX"])
@pytest.mark.parametrize("piece", [None, 13])
def test_all_folds_have_one_shape(topology, start, piece):
    folds = made((50, 7, 120, 31), piece=piece)
    each = [folds.data(topology, fold, start) for fold in range(4)]
    (trained,), (validated,) = {shapes(d.train) for d in each}, {shapes(d.validation) for d in each}
    assert [shape[0] for shape in trained] == [shape[0] for shape in validated]
    # Training ends before the block that a piece of a long record runs into.
    assert piece is None or each[0].train.steps < each[0].validation.steps
    last = [np.flatnonzero(np.asarray(d.train.weights["y"]).any(axis=(0, 2)))[-1] for d in each]
    assert each[0].train.steps == max(last) + 1


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("topology", [TOPOLOGY, CLOSED], ids=["state space", "closed NARX"])
@pytest.mark.parametrize("piece", [None, 13])
@pytest.mark.parametrize("fold", range(3))
def test_training_sequences_have_no_weight_in_blocks(topology, start, piece, fold):
    folds = made((60, 25), 3, piece=piece)
    found = folds.data(topology, fold, start)
    for some, every in ((found.train.inputs, found.validation.inputs), (found.train.targets, found.validation.targets)):
        for name, signal in some.items():
            np.testing.assert_array_equal(signal, every[name][:, : found.train.steps])
    y, weight = (np.asarray(a["y"])[..., 0] for a in (found.train.targets, found.train.weights))
    held = {1000.0 * k + row for k, row in held_rows(folds, fold)}
    assert held.isdisjoint(y[weight > 0].tolist())


@pytest.mark.parametrize("topology", [TOPOLOGY, CLOSED], ids=["state space", "closed NARX"])
def test_each_piece_has_a_first_state_of_its_own(topology):
    folds = made((80,), piece=25, lead=5)
    found = folds.data(topology, 1)
    assert found.train.train_state
    assert [tuple(span) for span in found.spans] == [(0, 0, 40, 20), (0, 40, 60, 60), (0, 60, 80, 80)]
    longest = 1 if topology is TOPOLOGY else 3
    assert found.firsts == (longest, 40, 60)
    assert {len(line) for line in found.train.state.values()} == {4}  # as fold 2 has one sequence more
    np.testing.assert_array_equal(found.train.state["u"][:3, -1, 0], [1 - longest, -39, -59])


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("topology", [TOPOLOGY, CLOSED], ids=["state space", "closed NARX"])
@pytest.mark.parametrize("fold", range(3))
def test_sequences_hold_the_rows_of_their_spans(topology, start, fold):
    folds = made((60, 25), 3)
    found = folds.data(topology, fold, start)
    longest = 1 if topology is TOPOLOGY else 3
    given = found.validation.targets, found.validation.weights, found.train.weights
    y, held, weight = (np.asarray(a["y"]) for a in given)
    held = held > 0
    weight = np.pad(weight, ((0, 0), (0, held.shape[1] - weight.shape[1]), (0, 0)))
    warm = 2 if isinstance(start, WarmUp) else 0
    for k, (span, first) in enumerate(zip(found.spans, found.firsts, strict=True)):
        # Samples before a span fill the delay lines, except at the start of a record.
        assert first == (longest if span.start == 0 else span.start)
        rows = np.arange(first, span.stop)
        np.testing.assert_array_equal(y[k, : len(rows), 0], 1000 * span.record + rows)
        scored = np.arange(len(rows)) >= warm
        np.testing.assert_array_equal(held[k, : len(rows), 0], (rows >= span.held_from) & scored)
        np.testing.assert_array_equal(weight[k, : len(rows), 0], (rows < span.held_from) & scored)
        assert not held[k, len(rows) :].any()
        assert not weight[k, len(rows) :].any()
        u = np.asarray(found.train.state["u"])[k, :, 0]
        np.testing.assert_array_equal(u, -1000 * span.record - np.arange(first - len(u), first))
    assert found.train.train_state == (start is None)
    assert not weight[len(found.spans) :].any()


@pytest.mark.parametrize("start", [Zeros(), Trained(Zeros())], ids=["zeros", "trained from zeros"])
@pytest.mark.parametrize("fold", range(3))
def test_sequences_from_zeros_begin_in_the_first_row_of_their_spans(start, fold):
    """A row before it belongs to a block that is held out."""
    folds = made((60, 25), 3)
    found = folds.data(CLOSED, fold, start)
    assert found.firsts == tuple(span.start for span in found.spans)
    y, weight = (np.asarray(a["y"])[..., 0] for a in (found.train.targets, found.train.weights))
    held = {1000.0 * k + row for k, row in held_rows(folds, fold)}
    assert not held & set(y[weight > 0].tolist())
    assert held == set(y[(np.asarray(found.validation.weights["y"]) > 0)[..., 0]].tolist())
    assert len({folds.data(CLOSED, k, start).train.targets["y"].shape for k in range(3)}) == 1


def test_a_closed_loop_starts_from_measured_outputs():
    found = made((60,), 3).data(CLOSED, 0, FromRecord())
    np.testing.assert_array_equal(found.train.state["y"][:2, :, 0], [[0, 1, 2], [17, 18, 19]])


def test_missing_targets_are_neither_trained_on_nor_held_out():
    y = np.arange(40.0)[:, None]
    y[[3, 25]] = np.nan
    folds = data.folds(Record({"u": np.zeros_like(y)}, {"y": y}, missing="mask"), 2, lead=5)
    sums = [
        (f.train.weights["y"].sum(), f.validation.weights["y"].sum()) for f in (folds.data(TOPOLOGY, k) for k in (0, 1))
    ]
    # Of 39 steps fold 0 holds out rows 5 to 19 and trains on 1, 2, 4 and 20 to 39 without 25.
    assert [tuple(map(int, pair)) for pair in sums] == [(22, 15), (18, 19)]


@pytest.mark.parametrize("topology", [TOPOLOGY, CLOSED], ids=["state space", "closed NARX"])
@pytest.mark.parametrize("piece", [None, 13])
def test_gathered_puts_outputs_into_their_rows(topology, piece):
    folds = made((50, 7, 120, 31), piece=piece)
    every = []
    for fold in range(4):
        found = folds.data(topology, fold)
        every.append(folds.gathered(found, found.validation.targets))
    for k, one in enumerate(folds.records):
        lines = np.stack([rows[k]["y"] for rows in every])
        known = ~np.isnan(lines)
        assert known.sum(axis=0).max() == 1
        rows = known.any(axis=0)[:, 0]
        np.testing.assert_array_equal(np.nansum(lines, axis=0)[rows], one.targets["y"][rows])
        assert rows[20 if len(one) > 40 else len(one) // 2 :].all()


# --- everything ------------------------------------------------------------------------------------------------------


def test_whole_records_are_sequences():
    found = made((60, 25), 3).whole(TOPOLOGY, Trained())
    assert [tuple(span) for span in found.spans] == [(0, 0, 60, 60), (1, 0, 25, 25)]
    assert int(found.train.weights["y"].sum()) == 59 + 24


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("lengths", [(80,), (50, 7, 120, 31)], ids=["one record", "unequal records"])
def test_pieces_of_everything_have_the_shape_of_those_of_a_fold(lengths, start):
    folds = made(lengths, piece=13)
    everything, fold = (f.train for f in (folds.whole(TOPOLOGY, start), folds.data(TOPOLOGY, 0, start)))
    assert everything.steps == fold.steps
    y, weight = (np.asarray(a["y"])[..., 0] for a in (everything.targets, everything.weights))
    warm = 2 if isinstance(start, WarmUp) else 0
    rows = [
        1000.0 * span.record + row
        for span in folds.whole(TOPOLOGY, start).spans
        for row in range(max(span.start, 1) + warm, span.stop)
    ]
    assert y[weight > 0].tolist() == rows


def test_everything_in_fewer_sequences_than_a_fold_is_filled_up():
    folds = made((80,))  # a fold that holds out a block in the middle has two sequences
    everything, fold = folds.whole(TOPOLOGY).train, folds.data(TOPOLOGY, 1).train
    assert everything.batch == fold.batch == (2,)
    assert everything.steps == 79 > fold.steps
    assert int(everything.weights["y"].sum()) == 79
    assert not np.asarray(everything.weights["y"])[1].any()


# --- errors ----------------------------------------------------------------------------------------------------------

WRONG = {
    "one fold": (lambda: made((80,), 1), DataError, "count=1; one fold would hold out everything"),
    "too few samples": (lambda: made((5,), 4), DataError, "5 samples in 1 records do not give 4 blocks"),
    "no lead": (lambda: made((80,), lead=0), LDDNError, "lead"),
    "no piece": (lambda: made((80,), piece=0), LDDNError, "piece"),
    "no length": (lambda: made((80,), length=0), LDDNError, "length"),
    "no record": (lambda: data.folds([], 2), DataError, "folds"),
    "no such fold": (lambda: made((80,)).data(TOPOLOGY, 4), DataError, "fold=4, but there are 4 folds, 0 to 3"),
    "negative count": (lambda: made((80,), -2), LDDNError, "count=-2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_tell_what_was_given(name):
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()
