"""Training on folds: out-of-fold predictions, the committee, and the training on everything."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.data import FromRecord, Record, Zeros, folds
from lddn_jax.errors import LDDNError, ShapeError
from lddn_jax.trainers import cross_validated
from lddn_jax.trainers.fold_run import Saving
from lddn_jax.trainers.refitting import _chosen, _states_after, _states_on_folds, trained_on_everything
from lddn_jax.training import side_by_side

COMPILED = "/jax/core/compile/backend_compile_duration"
COUNT = 3


def record(length, seed=0, missing=()):
    rng = np.random.default_rng(seed)
    u, y = rng.uniform(-1, 1, (length, 1)), np.zeros((length, 1))
    for t in range(1, length):
        y[t] = 0.8 * np.tanh(y[t - 1]) + np.tanh(2 * u[t - 1])
    y[list(missing)] = np.nan
    return Record({"u": u}, {"y": y}, missing="mask")


RECORDS = [record(70), record(41, 1, missing=(5, 6, 30))]
FOLDS = folds(RECORDS, COUNT, lead=5)
TOPOLOGY = lddn.models.state_space({"u": 1}, {"y": 1}, states=1, hidden=2)
NET = lddn.Network(TOPOLOGY, key=jax.random.key(0))
LM = lddn.LevenbergMarquardt(restarts=3)
ONE = lddn.LevenbergMarquardt()
KEY = jax.random.key(1)


def run(net=NET, among=FOLDS, trainer=LM, **more):
    return lddn.fit_folds(net, among, trainer, **({"epochs": 6, "keep": 2, "refit": 0, "key": KEY} | more))


@pytest.fixture(scope="module")
def found():
    return run()


@pytest.fixture(scope="module")
def refitted():
    return run(refit=3)


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


# --- out of fold -----------------------------------------------------------------------------------------------------


def test_every_sample_but_the_leads_is_predicted(found):
    for number, (one, predicted) in enumerate(zip(RECORDS, found.predictions, strict=True)):
        known = ~np.isnan(predicted["y"][:, 0])
        assert known[5:].all(), f"record {number}"
        assert not known[: 5 if number == 0 else 0].any()
        assert predicted["y"].shape == one.targets["y"].shape


def test_predictions_are_those_of_the_networks_of_the_fold(found):
    """Simulated through the block from the trained first states, one network after the other."""
    for fold in range(COUNT):
        data, fitted = FOLDS.data(TOPOLOGY, fold), found.fits[fold]
        runs = []
        for restart in found.kept[fold]:
            net = jax.tree.map(lambda leaf, k=restart: leaf[k], fitted.restarts)
            state = {name: line[restart] for name, line in fitted.restart_states.items()}
            runs.append(np.asarray(lddn.predict(net, data.validation.inputs, data.validation.state | state)["y"]))
        expected = FOLDS.gathered(data, {"y": np.median(runs, axis=0)})
        for rows, predicted in zip(expected, found.predictions, strict=True):
            held = ~np.isnan(rows["y"])
            np.testing.assert_allclose(predicted["y"][held], rows["y"][held], rtol=0, atol=1e-10)


def test_targets_of_a_block_do_not_reach_the_networks_of_its_fold(found):
    """They only choose the step and the restart that are kept."""
    changed = []
    for k, one in enumerate(RECORDS):
        y = one.targets["y"].copy()
        for span in FOLDS.spans(0):
            if span.record == k:
                y[span.held_from : span.stop] += 5.0
        changed.append(Record(one.inputs, {"y": y}, missing="mask"))
    other = run(among=folds(changed, COUNT, lead=5))
    trained = [np.asarray(result.fits[0].history["loss"]) for result in (found, other)]
    assert np.array_equal(*trained)
    assert not np.array_equal(*(result.fits[1].restart_values for result in (found, other)))


def test_errors_are_those_of_the_predictions(found):
    error = np.concatenate([r.targets["y"] - p["y"] for r, p in zip(RECORDS, found.predictions, strict=True)])
    assert found.error == pytest.approx(np.sqrt(np.nanmean(error**2)), rel=1e-12)
    for fold, value in enumerate(found.fold_errors):
        squares = [
            (RECORDS[s.record].targets["y"] - found.predictions[s.record]["y"])[s.held_from : s.stop] ** 2
            for s in FOLDS.spans(fold)
        ]
        assert value == pytest.approx(np.sqrt(np.nanmean(np.concatenate(squares))), rel=1e-12)
    assert f"{found.error:.4g}" in str(found)


def test_training_lowers_the_error_out_of_fold(found):
    scale = np.nanstd(np.concatenate([one.targets["y"] for one in RECORDS]))
    assert found.error < 0.5 * scale
    assert found.error < run(epochs=1).error


# --- the committee ---------------------------------------------------------------------------------------------------


def test_the_best_of_each_fold_are_members(found):
    members = iter(range(10**6))
    for fitted, kept in zip(found.fits, found.kept, strict=True):
        order = np.argsort(fitted.restart_values)
        assert kept == tuple(order[: len(kept)])
        assert len(kept) <= 2
        for restart in kept:
            k = next(members)
            one = jax.tree.map(lambda leaf, k=k: leaf[k], found.members)
            assert same(one, jax.tree.map(lambda leaf, k=restart: leaf[k], fitted.restarts))
    assert next(members) == len(found.in_order) == found.members.b["y"].shape[0]


def test_much_worse_networks_are_not_kept(monkeypatch):
    monkeypatch.setattr(cross_validated, "LARGEST_LOSS_RATIO", 1.0)
    found = run()
    assert [len(kept) for kept in found.kept] == [1] * COUNT
    monkeypatch.setattr(cross_validated, "LARGEST_LOSS_RATIO", np.inf)
    assert [len(kept) for kept in run().kept] == [2] * COUNT


@pytest.mark.parametrize(
    ("losses", "bounded", "expected"),
    [
        ([3.0, 1.0, 2.0, 5.0], [True] * 4, [1, 2]),
        ([3.0, 1.0, 2.0, 5.0], [True, False, True, True], [2, 0]),
        ([9.0, 1.0, 9.0, 9.0], [True, False, True, True], [1]),  # bounded ones are much worse
        ([3.0, 1.0, 2.0, 5.0], [False] * 4, [1, 2]),
        ([np.inf, np.inf, np.nan, np.inf], [True] * 4, [0]),
    ],
    ids=["all bounded", "the best explodes", "all others are worse", "all explode", "none is finite"],
)
def test_networks_that_explode_under_stress_are_not_kept(losses, bounded, expected):
    assert cross_validated.best_restarts(np.array(losses), np.array(bounded), 2).tolist() == expected


def test_the_best_of_all_folds_come_first_in_order(found):
    values = [(rank, fitted.restart_values[r]) for fitted, kept in zip(found.fits, found.kept, strict=True)
              for rank, r in enumerate(kept)]  # fmt: skip
    assert [values[k] for k in found.in_order] == sorted(values)


def test_members_are_trained_on_everything(found, refitted):
    assert same(found.fits[0].restarts, refitted.fits[0].restarts)
    assert found.error == refitted.error
    for fitted in refitted.refitted:
        loss = np.asarray(fitted.history["loss"])
        assert (loss[-1] < loss[0]).all()
    each = [fitted.restarts for fitted in refitted.refitted]
    after = jax.tree.map(lambda *leaves: np.concatenate(leaves), *each)
    kept = [k for k in range(len(found.in_order)) if k not in refitted.left_out]
    for place, k in enumerate(kept):
        expected = found.members if k in refitted.replaced else after
        one = jax.tree.map(lambda leaf, k=k: leaf[k], expected)
        assert same(one, jax.tree.map(lambda leaf, k=place: leaf[k], refitted.members))


def test_members_that_are_replaced_and_kept():
    yes, no = True, False
    bounded = [np.array([yes, yes, no, no, yes]), np.array([yes, no, yes, no, yes])]
    losses = [np.array([3.0, 2.0, 9.0, 0.1, 9.0]), np.array([1.0, 0.5, 3.9, 0.1, 4.1])]
    replaced, kept = _chosen(bounded, losses)
    assert replaced.tolist() == [no, yes, no, no, no]
    assert kept.tolist() == [yes, yes, yes, no, no]  # the fourth is not bounded, the fifth has four times the loss


def test_members_are_kept_if_none_is_bounded():
    none = np.zeros(2, bool)
    replaced, kept = _chosen([none, none], [np.array([1.0, 1.0]), np.array([1.0, 9.0])])
    assert not replaced.any()
    assert kept.tolist() == [True, False]


def test_members_are_kept_if_no_loss_is_finite():
    every = np.ones(2, bool)
    assert _chosen([every, every], [np.full(2, np.inf)] * 2)[1].all()


# --- first states on everything --------------------------------------------------------------------------------------

# Of record 0 all sequences of everything begin in rows 0, 18, 35 and 52, and fold 0 holds rows 5 to 34 out.
PIECES = folds(RECORDS, COUNT, lead=5, piece=18)


@pytest.fixture(scope="module")
def of_pieces():
    return run(among=PIECES)


def passed(found, fold, restart):
    """The state of one network of a fold before each row, by record and row, and the rows where it was trained."""
    data, fitted = PIECES.data(TOPOLOGY, fold), found.fits[fold]
    net = jax.tree.map(lambda leaf: leaf[restart], fitted.restarts)
    first = fitted.restart_states["state"][restart]
    run = lddn.simulate(net, data.validation.inputs, data.validation.state | {"state": first}).a["state"]
    states = {}
    for j, (span, row) in enumerate(zip(data.spans, data.firsts, strict=True)):
        states |= {(span.record, row + t + 1): run[j, t] for t in range(span.stop - row - 1)}
        states[span.record, row] = first[j, 0]
    return states, {(span.record, row) for span, row in zip(data.spans, data.firsts, strict=True)}


@pytest.mark.parametrize("members", [[0, 1, 2, 3, 4, 5], [1, 4]], ids=["all", "two of them"])
def test_first_states_on_everything_are_those_that_the_networks_pass(of_pieces, members):
    everything = PIECES.whole(TOPOLOGY)
    found = _states_on_folds(of_pieces, members, everything, None)
    assert list(found) == ["state"]
    assert found["state"].shape == (len(members), *everything.train.state["state"].shape)
    rows = [(span.record, row) for span, row in zip(everything.spans, everything.firsts, strict=True)]
    for state, member in zip(found["state"], members, strict=True):
        fold, restart = of_pieces.origins[member]
        expected, trained = passed(of_pieces, fold, restart)
        for own, row in zip(state, rows, strict=True):
            np.testing.assert_allclose(own[0], expected[row], rtol=0, atol=0 if row in trained else 1e-12)
        # Row 18 of the first record is within the block that fold 0 holds out.
        assert fold > 0 or [row in trained for row in rows[:4]] == [True, False, True, True]


def test_members_come_from_the_networks_that_were_kept(of_pieces):
    assert of_pieces.origins == tuple((fold, r) for fold, kept in enumerate(of_pieces.kept) for r in kept)
    for k, (fold, restart) in enumerate(of_pieces.origins):
        one = jax.tree.map(lambda leaf, k=k: leaf[k], of_pieces.members)
        assert same(one, jax.tree.map(lambda leaf, k=restart: leaf[k], of_pieces.fits[fold].restarts))


def on_everything(found, **more):
    rest = {"start": None, "key": KEY, "saving": Saving((), None, False, ""), "progress": False}
    return trained_on_everything(found, LM, lddn.losses.MeanSquaredError(), epochs=3, **rest, **more)


@pytest.fixture(scope="module")
def one_by_one(of_pieces):
    return on_everything(of_pieces, together=1)


def close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), one, other)


@pytest.mark.parametrize("together", [None, 2, 4, 8], ids=["as many as suit", "equal", "filled up", "more than all"])
def test_members_do_not_depend_on_how_many_are_trained_together(of_pieces, one_by_one, together):
    found = on_everything(of_pieces, together=together)
    close(found.members, one_by_one.members)
    assert found.replaced == one_by_one.replaced
    if together is not None:
        assert [len(fitted.restart_values) for fitted in found.refitted] == [together] * -(-6 // together)


@pytest.mark.parametrize("members", [[0, 2, 3], [5]], ids=["three", "one"])
def test_some_members_are_trained_as_among_all(of_pieces, one_by_one, members):
    found = on_everything(of_pieces, members=members, together=2)
    close(found.members, jax.tree.map(lambda leaf: leaf[np.array(members)], one_by_one.members))


def test_a_second_stage_begins_where_the_first_one_ended(of_pieces):
    """Sequences of other rows start from the states that the networks pass there."""
    one, both = (on_everything(of_pieces, folds=stages, together=3) for stages in ([PIECES], [PIECES, FOLDS]))
    short, long = PIECES.whole(TOPOLOGY), FOLDS.whole(TOPOLOGY)
    states, rows = _states_after(short, one.refitted, long), [span.record for span in short.spans]
    rows = list(zip(rows, short.firsts, strict=True))
    for group, fitted in enumerate(one.refitted):
        for place, (span, row) in enumerate(zip(long.spans, long.firsts, strict=True)):
            j = [(s.record, first) for s, first in zip(short.spans, short.firsts, strict=True)].index(
                (span.record, row)
            )
            expected = fitted.restart_states["state"][:, j]
            np.testing.assert_array_equal(states["state"][3 * group : 3 * group + 3, place], expected)
        nets, first = fitted.restarts, states["state"][3 * group : 3 * group + 3]
        for k in range(3):
            net = jax.tree.map(lambda leaf, k=k: leaf[k], nets)
            data = dataclasses.replace(long.train, state=long.train.state | {"state": first[k]})
            value = lddn.predict(net, data.inputs, data.state)
            error = (np.asarray(value["y"]) - np.asarray(data.targets["y"])) * (np.asarray(data.weights["y"]) > 0)
            mean = np.sum(error**2) / np.sum(np.asarray(data.weights["y"]) > 0)
            np.testing.assert_allclose(np.asarray(both.refitted[group].history["loss"])[0, k], mean, rtol=1e-9)


def test_training_on_everything_begins_where_the_folds_ended(of_pieces, one_by_one):
    """The first loss is that of the networks of the folds, from the states that they pass."""
    everything = PIECES.whole(TOPOLOGY)
    states = _states_on_folds(of_pieces, range(6), everything, None)["state"]
    for k, fitted in enumerate(one_by_one.refitted):
        net = jax.tree.map(lambda leaf, k=k: leaf[k], of_pieces.members)
        data = everything.train
        outputs = lddn.predict(net, data.inputs, data.state | {"state": states[k]})
        expected = lddn.losses.MeanSquaredError()(outputs, data.targets, weights=data.weights)
        assert float(fitted.history["loss"][0]) == pytest.approx(float(expected), rel=1e-10)


# --- ways to train ---------------------------------------------------------------------------------------------------


def test_networks_of_their_own_for_each_fold():
    nets = [lddn.Network(TOPOLOGY, key=jax.random.key(k)) for k in range(COUNT)]
    one = run(nets, trainer=ONE, keep=1)
    for k, net in enumerate(nets):
        other = run(net, trainer=ONE, keep=1)
        assert same(one.fits[k].net, other.fits[k].net)


def test_first_states_are_passed_on():
    asked = []

    def first_states(fold, data):
        asked.append((fold, data.batch))
        return {"state": jnp.zeros((*data.batch, 1, 1))}

    run(trainer=ONE, keep=1, refit=1, first_states=first_states)
    assert sorted(asked) == [(fold, (COUNT,)) for fold in range(COUNT)]  # all of them have as many sequences


@pytest.mark.parametrize("start", [Zeros(), FromRecord()], ids=["zeros", "from the record"])
def test_starts_without_trained_states(start):
    found = run(start=start, trainer=ONE, keep=1, refit=1)
    assert np.isfinite(found.error)
    assert all(not fitted.initial_state for fitted in found.fits)


def test_results_do_not_depend_on_the_number_of_workers(monkeypatch, refitted):
    found = {}
    for workers in (1, 2):
        for module in (side_by_side,):
            monkeypatch.setattr(module, "at_once", lambda callbacks, n=workers: n)
        found[workers] = run(refit=3)
    assert same(found[1].fits[0].restarts, found[2].fits[0].restarts)
    assert found[1].error == found[2].error == refitted.error


def test_a_run_that_was_saved_resumes_to_the_same_members(tmp_path, refitted):
    checkpoint = lddn.callbacks.Checkpoint(tmp_path, every=2)
    run(epochs=4, checkpoint=checkpoint)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"fold_{k}" for k in range(COUNT)]
    steps = []
    resumed = run(refit=3, checkpoint=checkpoint, resume=True, callbacks=[lambda state: steps.append(state.epoch)])
    assert steps.count(5) == COUNT
    assert 4 not in steps[:COUNT]
    assert same(resumed.fits[0].restarts, refitted.fits[0].restarts)


def test_all_folds_share_their_programs():
    seen = []

    def listen(event, seconds, fun_name="", **_):
        if event == COMPILED:
            seen.append(fun_name)

    among = folds([record(64, 2), record(33, 3)], COUNT, lead=5)
    run(among=among, epochs=2)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        nets = [lddn.Network(TOPOLOGY, key=jax.random.key(k)) for k in range(COUNT)]
        seen.clear()
        run(nets, among=among, epochs=3)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not seen


def test_training_that_is_cut_short_returns_what_there_is():
    found = run(refit=3, callbacks=[lddn.callbacks.TimeLimit(1e-6)])
    assert found.stop_reason == lddn.StopReason.TIME
    assert found.refitted == ()
    assert len(found.fits) == COUNT
    assert np.isfinite(found.error)


WRONG = {
    "keep": (lambda: run(keep=4), LDDNError, "keep=4, but the trainer has restarts=3; write keep=3 or restarts=4"),
    "networks": (lambda: run([NET, NET]), LDDNError, "2 networks for 3 folds; pass one network, or one for each"),
    "epochs": (lambda: run(epochs=0), LDDNError, "epochs"),
    "max_fail": (lambda: run(max_fail=0), LDDNError, "max_fail"),
    "refit": (lambda: run(refit=-1), LDDNError, "refit"),
    "signals": (
        lambda: run(lddn.Network(lddn.models.state_space({"w": 1}, {"y": 1}), key=KEY)),
        ShapeError,
        "input 'w' is missing",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_tell_what_was_given(name):
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()
