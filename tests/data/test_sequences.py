"""Records: what `Sequences` accepts, and windows whose delay states come from the samples before them."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax import Sequences, windows
from lddn_jax.errors import DataError, ShapeError

RNG = np.random.default_rng(0)
NARX = declare(
    "current:1 measured:2",
    "hidden:3:tanh position:2:linear",
    "current>hidden@0,3 measured>hidden@1,2 hidden>position",
    "position",
)
CLOSED = declare(
    "current:1",
    "hidden:3:tanh position:2:linear",
    "current>hidden@0,3 position>hidden@1,2 hidden>hidden@1 hidden>position",
    "position",
)
STEPS = 25  # 3 for the delay state, two windows of 9, 4 left over
U, Y = RNG.normal(size=(STEPS, 1)), RNG.normal(size=(STEPS, 2))
STARTS = (3, 12)


# ---- Sequences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_batch_and_steps(batch):
    data = Sequences({"u": np.zeros((*batch, 7, 1))}, {"y": np.zeros((*batch, 7, 2))})
    assert (data.batch, data.steps, data.dropped) == (batch, 7, 0)


@pytest.mark.parametrize("inputs", [None, {}], ids=str)
def test_without_inputs(inputs):
    data = Sequences(inputs, np.zeros((4, 7, 2)))
    assert (data.batch, data.steps) == ((4,), 7)


def test_lists_become_arrays():
    data = Sequences([[1.0], [2.0]], {"y": [[1], [2]]}, {"u": [[0.0]]})
    assert (data.batch, data.steps) == ((), 2)
    assert data.inputs.shape == data.targets["y"].shape == (2, 1)
    assert data.state["u"].shape == (1, 1)


def test_arrays_stay_what_they_are():
    inputs, targets = jnp.zeros((5, 1)), np.zeros((5, 1), np.float32)
    data = Sequences(inputs, targets)
    assert data.inputs is inputs
    assert data.targets is targets


def test_missing_targets_are_allowed():
    assert Sequences(np.zeros((3, 1)), np.full((3, 1), np.nan)).steps == 3


def test_sequences_are_a_pytree():
    data = Sequences({"u": np.zeros((3, 5, 1))}, {"y": np.ones((3, 5, 1))}, {"u": np.zeros((3, 2, 1))}, dropped=4)
    sums = jax.vmap(lambda one: one.targets["y"].sum() + one.steps + one.dropped)(data)
    np.testing.assert_array_equal(sums, 3 * [5 + 5 + 4])


REFUSED = {
    "a vector": ((np.zeros(5), np.zeros((5, 1))), ShapeError, r"input has shape \(5,\).*signal\[:, None\]"),
    "a number": (({"u": 1.0}, np.zeros((5, 1))), ShapeError, r"input 'u' has shape \(\)"),
    "ragged": (([[1.0], [2.0, 3.0]], np.zeros((2, 1))), ShapeError, "input is ragged"),
    "words": ((np.zeros((1, 1)), {"y": np.array([["high"]])}), DataError, "target 'y' holds <U4.*real numbers"),
    "complex numbers": ((np.zeros((1, 1)), jnp.asarray([[1j]])), DataError, "target holds complex128"),
    "another length": (
        ({"u": np.zeros((5, 1))}, {"y": np.zeros((6, 1))}),
        ShapeError,
        r"differ in \(\*batch, time\): \(5,\) for input 'u', \(6,\) for target 'y'",
    ),
    "another batch": (
        (np.zeros((2, 5, 1)), np.zeros((3, 5, 1))),
        ShapeError,
        r"\(2, 5\) for input, \(3, 5\) for target",
    ),
    "an input of NaN": (
        ({"u": np.array([[[0.0], [np.nan]]])}, np.zeros((1, 2, 1))),
        DataError,
        r"input 'u' is NaN at index \(0, 1, 0\).*Fill the gap",
    ),
    "a state of NaN": (
        (np.zeros((2, 1)), np.zeros((2, 1)), {"y": np.array([[np.nan]])}),
        DataError,
        r"delay state 'y' is NaN at index \(0, 0\)",
    ),
    "nothing": ((None, {}), ShapeError, "neither inputs nor targets"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Sequences(*arguments)


# ---- windows --------------------------------------------------------------------------------------------------------


def pieces(signal, before, after):
    return np.stack([signal[start - before : start + after] for start in STARTS])


def test_windows_of_an_open_loop():
    data = windows(NARX, {"current": U, "measured": Y}, Y, length=9)
    assert (data.batch, data.steps, data.dropped) == ((2,), 9, STEPS - 18)
    np.testing.assert_array_equal(data.inputs["current"], pieces(U, 0, 9))
    np.testing.assert_array_equal(data.inputs["measured"], pieces(Y, 0, 9))
    np.testing.assert_array_equal(data.targets["position"], pieces(Y, 0, 9))
    assert set(data.state) == {"current", "measured"}
    np.testing.assert_array_equal(data.state["current"], pieces(U, 3, 0))
    np.testing.assert_array_equal(data.state["measured"], pieces(Y, 2, 0))


def test_windows_of_a_closed_loop_start_from_targets_and_hidden_layers_from_zero(caplog):
    with caplog.at_level(logging.INFO, logger="lddn_jax"):
        data = windows(CLOSED, U, Y, length=9)
    assert set(data.state) == {"current", "position", "hidden"}
    np.testing.assert_array_equal(data.state["position"], pieces(Y, 2, 0))
    np.testing.assert_array_equal(data.state["hidden"], np.zeros((2, 1, 3)))
    assert "layer 'hidden' is not measured; its delay state starts from zero" in caplog.text
    assert "18 of 25 steps; 7 dropped (3 fill the first delay state)" in caplog.text


@pytest.mark.parametrize("batch", [(2,), (2, 3)], ids=str)
def test_windows_of_several_records_stand_side_by_side(batch):
    u, y = RNG.normal(size=(*batch, STEPS, 1)), RNG.normal(size=(*batch, STEPS, 2))
    data = windows(CLOSED, u, y, length=9)
    assert (data.batch, data.dropped) == ((2 * np.prod(batch),), 7)
    for k, record in enumerate(np.ndindex(batch)):
        here = slice(2 * k, 2 * k + 2)
        np.testing.assert_array_equal(data.inputs["current"][here], pieces(u[record], 0, 9))
        np.testing.assert_array_equal(data.state["current"][here], pieces(u[record], 3, 0))
        np.testing.assert_array_equal(data.state["position"][here], pieces(y[record], 2, 0))


@pytest.mark.parametrize(
    ("steps", "length", "count", "dropped"),
    [(23, 20, 1, 3), (24, 20, 1, 4), (43, 20, 2, 3), (4, 1, 1, 3), (103, 100, 1, 3)],
)
def test_counts(steps, length, count, dropped):
    data = windows(CLOSED, np.zeros((steps, 1)), np.zeros((steps, 2)), length=length)
    assert (data.batch, data.steps, data.dropped) == ((count,), length, dropped)


def test_the_default_length_is_100():
    assert windows(CLOSED, np.zeros((203, 1)), np.zeros((203, 2))).inputs["current"].shape == (2, 100, 1)


def test_a_network_without_delays_loses_only_the_rest():
    data = windows(declare("u:1", "y:1:linear", "u>y", "y"), np.arange(7.0)[:, None], np.zeros((7, 1)), length=3)
    np.testing.assert_array_equal(data.inputs["u"][..., 0], [[0, 1, 2], [3, 4, 5]])
    assert (data.state, data.dropped) == ({}, 1)


def test_an_autonomous_network():
    data = windows(declare("", "y:2:tanh", "y>y@1,2", "y"), None, Y, length=10)
    assert data.inputs == {}
    np.testing.assert_array_equal(data.state["y"], np.stack([Y[0:2], Y[10:12]]))


def test_missing_targets_within_a_window_stay_missing():
    y = Y.copy()
    y[5] = np.nan
    data = windows(CLOSED, U, y, length=9)
    np.testing.assert_array_equal(np.argwhere(jnp.isnan(data.targets["position"][..., 0])), [[0, 2]])


def test_windows_simulate_as_the_whole_record_does():
    """Delay states of an open loop are known from the record, so windows give the outputs of the whole record."""
    net = lddn.Network(NARX, key=jax.random.key(0))
    inputs = {"current": U, "measured": Y}
    whole = np.asarray(lddn.predict(net, inputs)["position"])
    data = windows(NARX, inputs, Y, length=9)
    found = lddn.predict(net, data.inputs, data.state)["position"]
    np.testing.assert_allclose(found, pieces(whole, 0, 9), rtol=1e-13)


WINDOWS_REFUSED = {
    "too long a window": (
        {"length": 23},
        DataError,
        "25 steps gives no window: 3 are needed for the delay state and 23 for one.*length=22 or less",
    ),
    "too short a record": (
        {"inputs": U[:3], "targets": Y[:3], "length": 1},
        DataError,
        "a record of 3 steps gives no window.*longer one",
    ),
    "no length": ({"length": 0}, DataError, "length=0; a window has a whole number"),
    "half a length": ({"length": 4.5}, DataError, "length=4.5; a window has a whole number"),
    "another length": ({"targets": Y[:-1]}, ShapeError, r"inputs and targets differ in \(\*batch, time\)"),
    "misspelt input": ({"inputs": {"curent": U}}, ShapeError, "input 'curent'.*Did you mean 'current'?"),
    "misspelt target": ({"targets": {"positoin": Y}}, ShapeError, "target 'positoin'.*Did you mean 'position'?"),
    "transposed": ({"inputs": U.T}, ShapeError, r"input 'current' has shape \(1, 25\).*transposed"),
    "an input of NaN": ({"inputs": np.where(np.arange(25) == 7, np.nan, 1.0)[:, None]}, DataError, "'current' is NaN"),
    "a target missing where a state needs it": (
        {"targets": np.where(np.arange(25) == 11, np.nan, 1.0)[:, None] * np.ones(2)},
        DataError,
        "delay state of 'position' would be NaN in window 1",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("change", "error", "message"), WINDOWS_REFUSED.values(), ids=WINDOWS_REFUSED)
def test_windows_refuses(change, error, message):
    arguments = {"inputs": U, "targets": Y, "length": 9} | change
    with pytest.raises(error, match=message):
        windows(CLOSED, **arguments)
