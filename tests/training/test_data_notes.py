"""Data that make a result doubtful are named in the flags and notes of a fit; others give no note."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax import Connection, Input, Layer
from lddn_jax.training.data_notes import data_notes, loss_of_mean
from lddn_jax.training.stop_reason import Flag
from lddn_jax.training.trainer import Problem

MASKED = lddn.losses.MeanSquaredError(missing="mask")
RNG = np.random.default_rng(0)
U = RNG.normal(size=(300, 1))
Y = np.tanh(U) + 0.1 * RNG.normal(size=U.shape)


def network(hidden: int = 3, output: str = "linear", inputs: dict[str, int] | None = None) -> lddn.Network:
    declared = {"u": 1} if inputs is None else inputs
    topology = lddn.Topology(
        [Input(name, size) for name, size in declared.items()],
        [Layer("h", hidden), Layer("y", 1, output)],
        [*(Connection(name, "h") for name in declared), Connection("h", "y")],
        ["y"],
    )
    return lddn.Network(topology, init="zeros")


def notes(net: lddn.Network, inputs, targets, weights=None, loss=MASKED) -> dict[str, str]:
    return data_notes(net, Problem.of(loss, net, lddn.Sequences(inputs, targets, weights=weights), lddn.BPTT()))


def gap(signal: np.ndarray, start: int, stop: int) -> np.ndarray:
    found = signal.copy()
    found[start:stop] = np.nan
    return found


TWO = {"a": 2, "b": 1}
CASES = {
    "65 weights on 4 targets": (network(21), U[:4], Y[:4], "few_targets", "64 weights and biases for 4 measured"),
    "one target": (network(1), U[:1], Y[:1], "few_targets", "4 weights and biases for 1 measured target:"),
    "310 weights on 300 targets": (network(103), U, Y, "few_targets", "310 weights and biases for 300"),
    "missing targets do not count": (network(3), U, gap(Y, 5, 300), "few_targets", "10 weights and biases for 5"),
    "logistic to 4": (network(output="logistic"), U, 4 * np.abs(Y), "unreachable_targets", r"of 300 .*'y' .*\[0, 1\]"),
    "tanh by its other name": (network(output="tansig"), U, 2 * Y, "unreachable_targets", r"\[-1, 1\].*'tansig'"),
    "relu below zero": (network(output="relu"), U, Y, "unreachable_targets", r"\[0, ∞\).*range from -1"),
    "sequences of 1e-3 and 1e6": (
        network(),
        np.stack([U * 1e-3, U * 1e6]),
        np.stack([Y * 1e-3, Y * 1e6]),
        "unequal_scales",
        "target 'y' is about 6e\\+05 in one sequence and 0.0006 in another",
    ),
    "inputs of 1e-3 and 1e6": (
        network(inputs=TWO),
        {"a": np.hstack([U * 1e-3, U]), "b": U * 1e6},
        Y,
        "unequal_scales",
        "input element 0 of 'a' is about 0.001 and input 'b' about 1e\\+06",
    ),
    "input that stands still": (network(), np.full_like(U, 5), Y, "constant_input", "input 'u' does not vary"),
    "element that stands still": (
        network(inputs=TWO),
        {"a": np.hstack([U, np.full_like(U, 5)]), "b": U},
        Y,
        "constant_input",
        "input element 1 of 'a' does not vary",
    ),
    "inputs that stand still": (
        network(inputs=TWO),
        {"a": np.zeros((300, 2)), "b": np.ones_like(U)},
        Y,
        "constant_input",
        "inputs 'a', 'b' do not vary",
    ),
    "target that stands still": (network(), U, np.full_like(U, -2), "constant_target", "target 'y' does not vary"),
    "target that stands still where it is known": (
        network(),
        U,
        gap(np.where(np.arange(300)[:, None] < 100, Y, 1.0), 0, 100),
        "constant_target",
        "target 'y' does not vary",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("net", "inputs", "targets", "flag", "words"), CASES.values(), ids=CASES)
def test_what_makes_a_result_doubtful(net, inputs, targets, flag, words):
    found = notes(net, inputs, targets)
    assert list(found) == [flag]
    assert re.search(words, found[flag]), found


ORDINARY = {
    "measured": (network(), U, Y),
    "with gaps": (network(), U, gap(Y, 50, 90)),
    "of one sequence among several at rest": (network(), np.stack([U, 0 * U]), np.stack([Y, 0 * Y])),
    "as many targets as weights": (network(2), U[:7], Y[:7]),
    "within reach": (network(output="logistic"), U, np.clip(np.abs(Y), 0, 1)),
    "inputs of other units": (network(inputs=TWO), {"a": np.hstack([U, U]), "b": 1e3 * U}, Y),
}


@pytest.mark.parametrize(("net", "inputs", "targets"), ORDINARY.values(), ids=ORDINARY)
def test_ordinary_data_get_no_note(net, inputs, targets):
    assert notes(net, inputs, targets) == {}


def test_an_input_that_varies_before_the_first_step_does_vary():
    net = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 1)), init="zeros")
    still = np.ones_like(U)
    for first, flags in ((1.0, {"constant_input"}), (2.0, set())):
        data = lddn.Sequences(still, Y, {"u": np.full((1, 1), first)})
        assert data_notes(net, Problem.of(MASKED, net, data, lddn.BPTT())).keys() == flags


def test_targets_of_weight_zero_do_not_count():
    weights = (np.arange(300) < 4).astype(float)[:, None]
    assert "for 4 measured targets" in notes(network(), U, np.where(weights > 0, Y, 1e9), weights)["few_targets"]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_the_mean_is_that_of_the_best_constant(weighted):
    """A network of a bias alone can do no better."""
    net = network()
    weights = RNG.uniform(size=U.shape) if weighted else None
    loss = lddn.losses.MeanSquaredError(missing="mask", output_weights={"y": 3.0})
    data = lddn.Sequences(U, gap(Y, 20, 60), weights=weights)
    problem = Problem.of(loss, net, data, lddn.BPTT())
    fitted = lddn.fit(net, data, loss, lddn.Optax(optax.sgd(0.1)), epochs=200)
    assert float(fitted.net.b["y"][0]) != 0
    assert loss_of_mean(problem) == pytest.approx(float(problem.value(fitted.net)), rel=1e-9)


def test_a_loss_of_other_errors_has_none():
    for loss in (lddn.losses.Huber(), lddn.losses.MeanSquaredError(regularization=0.1)):
        assert loss_of_mean(Problem.of(loss, network(), lddn.Sequences(U, Y), lddn.BPTT())) is None


@pytest.fixture(scope="module")
def learned_nothing():
    """A fit to targets around 1000 by steps that are far too small."""
    data = lddn.Sequences(np.full_like(U, 5), 1e3 + Y)
    return lddn.fit(network(), data, MASKED, lddn.Optax(optax.sgd(1e-9)), epochs=2)


def test_a_loss_above_the_variance_is_no_silent_success(learned_nothing):
    fitted = learned_nothing
    assert fitted.success
    assert {Flag.NOTHING_LEARNED, Flag.CONSTANT_INPUT} == fitted.flags == fitted.notes.keys()
    assert "note: the smallest training loss, 9.999e+05, is not below that of predicting the mean" in str(fitted)
    assert json.loads(json.dumps(fitted.to_dict()))["flags"] == ["constant_input", "nothing_learned"]


def test_notes_are_saved_with_the_history(learned_nothing, tmp_path):
    lddn.save(tmp_path / "fit.npz", learned_nothing)
    found = lddn.load(tmp_path / "fit.npz")
    assert (found.flags, found.notes) == (learned_nothing.flags, learned_nothing.notes)


def test_a_run_that_learns_has_no_note():
    net = lddn.Network(network().topology, key=jax.random.key(0))
    fitted = lddn.fit(net, lddn.Sequences(jnp.asarray(U), jnp.asarray(Y)), MASKED, lddn.LevenbergMarquardt(), epochs=5)
    assert (fitted.flags, fitted.notes) == (frozenset(), {})


def test_large_targets_do_not_overflow_the_loss_of_the_mean():
    """In float32 a sum of squares overflows before their mean does."""
    with jax.enable_x64(False):
        net = lddn.Network(network().topology, init="zeros", dtype="float32")
        problem = Problem.of(MASKED, net, lddn.Sequences(U, 1e18 * Y), lddn.BPTT())
        assert loss_of_mean(problem) == pytest.approx(1e36 * Y.var(), rel=1e-5)
