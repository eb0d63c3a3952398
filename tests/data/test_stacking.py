"""Batches of records of unequal length: each counts as it would alone, and padding has no effect."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import declare
from tiers import deep_unless, in_tiers

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.bayesian.evidence import Counts, Strengths
from lddn_jax.bayesian.groups import Groups
from lddn_jax.data import Record, Sequences, stack, whole, windows
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.prediction.free_run import error_of
from lddn_jax.training.trainer import Problem

OPEN = declare(
    "u:2 v:1",
    "hidden:3:tanh y:2:linear z:1:tanh",
    "u>hidden@0,2 v>hidden@1 hidden>hidden@1 hidden>y hidden>z y>hidden@1,3",
    "y z",
)
LENGTHS = (17, 9, 17)
SUM = losses.SumSquaredError()


def record(length, seed, gaps=0, name=""):
    rng = np.random.default_rng(seed)
    y, z = 0.5 * rng.normal(size=(length, 2)), 0.5 * rng.normal(size=(length, 1))
    y[3 + rng.permutation(length - 3)[:gaps], 1] = np.nan  # the first three may serve as delay state
    inputs = {"u": rng.normal(size=(length, 2)), "v": rng.normal(size=(length, 1))}
    return Record(inputs, {"y": y, "z": z}, name=name, missing="mask" if gaps else "error")


RAGGED = [record(length, seed, name=f"number {seed}") for seed, length in enumerate(LENGTHS)]
GAPPY = [record(length, seed, gaps=3) for seed, length in enumerate(LENGTHS)]
EQUAL = [record(12, seed) for seed in range(3)]
NET = lddn.Network(OPEN, key=jax.random.key(0))


def plain(one):
    return Sequences(one.inputs, one.targets)


def whole_by_hand(one):
    """The first three samples are the delay state."""
    held = {"u": one.inputs["u"][1:3], "v": one.inputs["v"][2:3], "y": one.targets["y"][:3], "hidden": np.zeros((1, 3))}
    return Sequences(
        {name: x[3:] for name, x in one.inputs.items()}, {name: x[3:] for name, x in one.targets.items()}, held
    )


MASKED = losses.SumSquaredError(missing="mask")
CASES = {  # a batch, its records without padding, and the loss of these
    "ragged": (stack(RAGGED), [plain(one) for one in RAGGED], SUM),
    "with gaps": (stack(GAPPY), [plain(one) for one in GAPPY], MASKED),
    "whole, with gaps": (whole(OPEN, GAPPY), [whole_by_hand(one) for one in GAPPY], MASKED),
}
TWO = ("ragged", "whole, with gaps")


def assert_close(found, expected, tolerance=1e-12):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max(initial=0))))


def total(pieces):
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *pieces)


# ---- a batch of records is the sum of its records -------------------------------------------------------------------


@pytest.mark.parametrize("method", in_tiers({"BPTT": lddn.BPTT(), "RTRL": lddn.RTRL()}, fast=["BPTT"]))
@pytest.mark.parametrize("case", in_tiers(TWO, fast=TWO[1:]))
def test_value_and_gradient_add_up(case, method):
    batch, singles, loss = CASES[case]
    found = lddn.value_and_grad(SUM, NET, batch, method=method)
    assert_close(found, total([lddn.value_and_grad(loss, NET, one, method=method) for one in singles]))


@pytest.mark.parametrize("method", in_tiers({"BPTT": lddn.BPTT(), "RTRL": lddn.RTRL()}, fast=["RTRL"]))
@pytest.mark.parametrize("case", in_tiers(TWO, fast=TWO[1:]))
def test_normal_equations_add_up(case, method):
    batch, singles, loss = CASES[case]
    found = lddn.gauss_newton(NET, batch, SUM, method=method)
    assert_close(found, total([lddn.gauss_newton(NET, one, loss, method=method) for one in singles]))


@pytest.mark.parametrize("case", in_tiers(TWO, fast=TWO[:1]))
def test_a_levenberg_marquardt_step_is_that_of_the_sums(case):
    """(Σ JᵀJ + μ I) δ = −Σ Jᵀe, over the records alone."""
    batch, singles, loss = CASES[case]
    fitted = lddn.fit(NET, batch, SUM, lddn.LevenbergMarquardt(mu=10.0), epochs=1)
    sums = total([lddn.gauss_newton(NET, one, loss) for one in singles])
    assert float(fitted.history["rejected"][0]) == 0
    x, unravel = NET.ravel()
    assert_close(fitted.net, unravel(x - jnp.linalg.solve(sums.JTJ + 10.0 * jnp.eye(x.size), sums.JTe)))


def known(one):
    return sum(int(np.sum(~np.isnan(y))) for y in one.targets.values())


@pytest.mark.parametrize("loss", [losses.MeanSquaredError, losses.MeanAbsoluteError, losses.Huber])
@pytest.mark.parametrize("case", CASES)
def test_means_divide_by_what_counts(case, loss):
    batch, singles, _ = CASES[case]
    targets = [{name: jnp.asarray(y) for name, y in one.targets.items()} for one in singles]
    outputs = [lddn.predict(NET, one.inputs, one.state) for one in singles]
    values = [float(loss(missing="mask")(a, t)) for a, t in zip(outputs, targets, strict=True)]
    found = loss()(lddn.predict(NET, batch.inputs, batch.state), batch.targets, batch.weights)
    np.testing.assert_allclose(found, np.average(values, weights=[known(one) for one in singles]), rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_errors_count_what_counts(case):
    batch, singles, _ = CASES[case]
    """The mean over outputs of the root mean squared error, over what was measured in the records alone."""
    outputs = [lddn.predict(NET, one.inputs, one.state) for one in singles]
    squares = {
        name: np.concatenate(
            [np.ravel(one.targets[name] - a[name]) ** 2 for one, a in zip(singles, outputs, strict=True)]
        )
        for name in NET.topology.outputs
    }
    expected = np.mean([np.sqrt(np.nanmean(each)) for each in squares.values()])
    np.testing.assert_allclose(error_of(NET, batch)[0], expected, rtol=1e-12)
    assert batch.counted == sum(known(one) for one in singles)


# ---- padding further changes nothing --------------------------------------------------------------------------------


@pytest.mark.deep
def test_bayesian_regularization_does_not_see_padding():
    exact, padded = stack(EQUAL), stack(EQUAL, length=20)
    assert exact.weights is None
    assert padded.weights is not None
    trainer = lddn.BayesianRegularization()
    a, b = (lddn.fit(NET, data, losses.MeanSquaredError(), trainer, epochs=3) for data in (exact, padded))
    for name in ("strengths", "gamma", "log_evidence", "found"):
        assert_close(getattr(b.state, name), getattr(a.state, name))
    names = ("loss", "E_D", "gamma", "alpha", "beta", "log_evidence", "gradient_norm")
    assert_close([b.history[name] for name in names], [a.history[name] for name in names])


@pytest.mark.parametrize("loss", in_tiers({"sum": SUM, "mean": losses.MeanSquaredError()}, fast=["sum"]))
def test_the_evidence_does_not_see_padding(loss):
    strengths, groups = Strengths(jnp.array([0.3]), jnp.array(5.0)), Groups.of(OPEN, "all")
    data = (stack(EQUAL), stack(EQUAL, length=20))
    exact, padded = (lddn.Posterior.at(NET, one, strengths, groups, loss) for one in data)
    assert float(padded.counts.N) == float(exact.counts.N) == 12 * 3 * 3
    for name in ("E_D", "E_W", "gamma", "log_evidence", "counts"):
        assert_close(getattr(padded, name), getattr(exact, name))


@pytest.mark.parametrize("case", ["ragged", "with gaps"])
def test_residuals_of_bayesian_regularization_add_up(case):
    batch, singles, masked = CASES[case]
    found = Counts.of(SUM, batch.targets, batch.weights)
    assert_close(
        found, total([Counts.of(masked, {n: jnp.asarray(y) for n, y in one.targets.items()}, None) for one in singles])
    )
    assert float(found.N) == batch.counted == 43 * 3 - (9 if case == "with gaps" else 0)


TRAINERS = {
    "adam": (lddn.Optax(optax.adam(0.01)), losses.MeanSquaredError()),
    "mini-batches": (lddn.Optax(optax.sgd(0.01), batch_size=2), losses.MeanSquaredError()),
    "levenberg-marquardt": (lddn.LevenbergMarquardt(), losses.MeanSquaredError(regularization=0.1)),
}


@pytest.mark.parametrize(
    ("trainer", "loss"),
    [pytest.param(*pair, id=name, marks=deep_unless(name == "mini-batches")) for name, pair in TRAINERS.items()],
)
def test_training_does_not_see_padding(trainer, loss):
    a, b = (lddn.fit(NET, data, loss, trainer, epochs=3) for data in (stack(EQUAL), stack(EQUAL, length=20)))
    assert_close(b.net, a.net)
    assert_close(b.history["loss"], a.history["loss"])


def test_an_output_that_explodes_after_the_end_of_its_record_does_no_harm():
    """The loop doubles its output; 1100 doublings of 1 are infinite, and the record has ended long before."""
    topology = declare("u:1", "y:1:linear!", "u>y y>y@1", "y")
    taps = {"LW": {("y", "y"): jnp.full((1, 1, 1), 2.0)}, "IW": {("y", "u"): jnp.ones((1, 1, 1))}}
    net = lddn.Network(topology, init="zeros").with_weights(**taps)
    one = Record({"u": np.ones((5, 1))}, {"y": np.zeros((5, 1))})
    exact, padded = stack(one), stack(one, length=1100)
    assert not np.isfinite(lddn.predict(net, padded.inputs)["y"]).all()
    assert_close(
        Problem.of(SUM, net, padded, lddn.BPTT()).value(net), Problem.of(SUM, net, exact, lddn.BPTT()).value(net)
    )
    assert_close(lddn.gauss_newton(net, padded, SUM), lddn.gauss_newton(net, exact, SUM))


# ---- windows and whole ----------------------------------------------------------------------------------------------


def test_windows_of_records_are_those_of_each():
    found = windows(OPEN, RAGGED, length=4)
    singles = [windows(OPEN, one.inputs, one.targets, length=4) for one in RAGGED]
    for kind in ("inputs", "targets", "state"):
        expected = {n: np.concatenate([getattr(one, kind)[n] for one in singles]) for n in getattr(found, kind)}
        jax.tree.map(np.testing.assert_array_equal, getattr(found, kind), expected)
    assert (found.batch, found.dropped, found.weights) == ((3 + 1 + 3,), sum(LENGTHS) - 4 * 7, None)


def test_windows_begin_where_a_delay_state_can_be_filled():
    y = np.arange(14.0)[:, None]
    y[[4, 8]] = np.nan
    closed = declare("u:1", "y:1:linear", "u>y y>y@1,2", "y")
    data = windows(closed, Record({"u": np.zeros((14, 1))}, {"y": y}, missing="mask"), length=3)
    # State 0-1, window 2-4; then 4 is missing until 7, whose state is 5-6, window 7-9; 8 missing until 11.
    np.testing.assert_array_equal(data.state["y"][:, :, 0], [[0, 1], [5, 6], [9, 10]])
    np.testing.assert_array_equal(data.targets["y"][:, :, 0], [[2, 3, 0], [7, 0, 9], [11, 12, 13]])
    np.testing.assert_array_equal(data.weights["y"][:, :, 0], [[1, 1, 0], [1, 0, 1], [1, 1, 1]])
    assert data.dropped == 14 - 9


def test_whole_begins_where_a_delay_state_can_be_filled():
    y = np.arange(8.0)[:, None]
    y[1] = np.nan
    closed = declare("u:1", "y:1:linear", "u>y y>y@1,2", "y")
    data = whole(closed, Record({"u": np.zeros((8, 1))}, {"y": y}, missing="mask"))
    np.testing.assert_array_equal(data.state["y"][0, :, 0], [2, 3])
    np.testing.assert_array_equal(data.targets["y"][0, :, 0], [4, 5, 6, 7])


def test_weights_are_cut_along_and_a_doubtful_state_counts_nothing():
    closed = declare("u:1", "y:1:linear", "u>y y>y@1,2", "y")
    y, weights = np.arange(11.0)[:, None], np.ones((11, 1))
    weights[[4, 6], 0] = 0, 0.5
    data = windows(closed, y * 0, y, 3, weights=weights)
    np.testing.assert_array_equal(data.weights["y"][:, :, 0], [[1, 1, 0], [0, 0, 0], [1, 1, 1]])


@pytest.mark.deep
def test_fit_closed_loop_takes_records():
    """They are the padded batch of arrays, whose windows after the end of a record count nothing."""
    net = lddn.Network(lddn.models.narx({"u": 2, "v": 1}, {"y": 2, "z": 1}, hidden=2), key=jax.random.key(0))
    padded, trainer = stack(RAGGED), lddn.LevenbergMarquardt()
    measured = {f"measured_{name}": y for name, y in padded.targets.items()}
    data = Sequences(padded.inputs | measured, padded.targets, weights=padded.weights)
    a, b = (lddn.fit_closed_loop(net, given, trainer, (1, None), epochs=2) for given in (data, RAGGED))
    for one, other in zip(a.stages, b.stages, strict=True):
        assert_close(other.net, one.net)
        assert_close([other.open_loop, other.closed_loop], [one.open_loop, one.closed_loop])


def test_a_free_run_is_not_scored_after_the_end_of_its_record():
    predicted, targets = {"y": jnp.array([[0.1], [0.9], [jnp.inf]])}, {"y": jnp.array([[0.0], [1.0], [0.0]])}
    assert lddn.diverged_at(predicted, targets) == 2
    assert lddn.diverged_at(predicted, targets, {"y": jnp.array([[1.0], [1.0], [0.0]])}) is None


REFUSED = {
    "no records": (lambda: stack([]), DataError, "stack takes records"),
    "arrays as records": (lambda: stack([np.ones((3, 1))]), DataError, "not .*ndarray"),
    "other signals": (lambda: stack([RAGGED[0], Record({}, {"y": np.ones((6, 1))})]), ShapeError, "number 1"),
    "longer than asked": (lambda: stack(RAGGED, length=10), DataError, "a record has 17 samples"),
    "too short for a window": (
        lambda: windows(OPEN, RAGGED, length=10),
        DataError,
        "record 'number 1' of 9 steps gives no window: 3 are needed.*length=6 or less",
    ),
    "gaps everywhere": (
        lambda: whole(
            OPEN, Record(RAGGED[0].inputs, {"y": np.full((17, 2), np.nan), "z": np.ones((17, 1))}, None, "x", "mask")
        ),
        DataError,
        "record 'x' of 17 steps gives no window of 1: before every possible start",
    ),
    "targets twice": (lambda: windows(OPEN, RAGGED, 10), DataError, r"topology, records, length"),
    "a signal that no record has": (
        lambda: whole(declare("w:1", "y:2:linear", "w>y@1", "y"), RAGGED),
        ShapeError,
        "input 'w' is missing",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
