"""Starts of state spaces from networks that were fitted one step ahead."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_step import KEY, TINY, free_run_errors, record, resonant, starts

import lddn_jax as lddn
from lddn_jax.data import Record
from lddn_jax.identification import one_step_starts
from lddn_jax.identification.one_step_starts import HIDDEN, OUTPUTS, REGRESSORS
from lddn_jax.identification.structures import Structure
from lddn_jax.linear.network_weights import STATE

# --- regressors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "outputs", "lags", "states"),
    [(1, 1, (2, 1), 2), (1, 1, (1, 2), 2), (1, 1, (2, 2), 3), (2, 2, (2, 1), 4), (2, 2, (1, 2), 4), (0, 1, (3, 0), 3)],
)
def test_the_lags_of_the_plant_are_found(inputs, outputs, lags, states):
    """As many regressors as there are states, and u(t−1)."""
    assert starts(record(inputs, outputs, lags=lags)).lags(states) == lags


def test_fewer_states_than_outputs_are_not_possible():
    found = starts(record())
    assert not found.possible(Structure(1, 2, 0))
    assert found.possible(Structure(2, 2, 0))


def test_outputs_with_gaps_are_not_possible():
    given = record(1, 1)
    y = given.targets["y"].copy()
    y[50] = np.nan
    assert not starts(Record(given.inputs, {"y": y}, missing="mask")).possible(Structure(2, 2, 0))


# --- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "outputs", "lags", "frame"),
    [
        (1, 1, (2, 1), Structure(2, 2, 0)),
        (2, 2, (2, 2), Structure(7, 4, 2)),
        (1, 1, (1, 3), Structure(4, 2, 0)),
        (0, 2, (2, 0), Structure(4, 3, 0)),
        (2, 1, (3, 1), Structure(3, 2, 1)),
    ],
    ids=["smallest", "all lags in a frame", "inputs", "no inputs", "outputs"],
)
def test_a_state_space_computes_in_free_run_what_the_static_network_does_one_step_ahead(inputs, outputs, lags, frame):
    given, (p, q) = record(inputs, outputs), lags
    found = starts(given)
    topology = frame.topology(given)
    drawn = jax.tree.map(lambda leaf: leaf[None], lddn.Network(topology, key=KEY, dtype="float64"))
    regressors = p * outputs + q * inputs
    static = lddn.Network(
        lddn.models.cascade_forward({REGRESSORS: regressors}, {OUTPUTS: outputs}, hidden=frame.hidden),
        key=jax.random.key(1),
        dtype="float64",
    )
    static = jax.tree.map(lambda leaf: 0.5 * leaf[None], static)
    net = jax.tree.map(lambda leaf: leaf[0], found._as_state_space(static, lags, drawn))

    rng = np.random.default_rng(1)
    u, y = rng.uniform(-1, 1, (40, inputs)), np.zeros((40, outputs))
    lines = []
    for t in range(3, 40):
        r = np.concatenate([*(y[t - i] for i in range(1, p + 1)), *(u[t - j] for j in range(1, q + 1))])
        V, L = (np.asarray(static.IW[to, REGRESSORS])[0, 0] for to in (HIDDEN, OUTPUTS))
        W = np.asarray(static.LW[OUTPUTS, HIDDEN])[0, 0]
        y[t] = L @ r + W @ np.tanh(V @ r + np.asarray(static.b[HIDDEN])[0]) + np.asarray(static.b[OUTPUTS])[0]
        lines.append(y[t])
    # x(2) = [y(2), y(1) …, u(1), u(0) …]
    first = np.concatenate([np.zeros(p * outputs), *(u[2 - j] for j in range(1, q))])
    state = {STATE: jnp.asarray(np.pad(first, (0, frame.states - first.size)))[None]}
    named = {"u": u[:, :1], "v": u[:, 1:]} if inputs > 1 else {"u": u} if inputs else {}
    state |= {name: jnp.asarray(signal[2:3]) for name, signal in named.items()}
    outputs_found = lddn.predict(
        net, {name: jnp.asarray(signal[3:]) for name, signal in named.items()} or None, state, steps=37
    )
    np.testing.assert_allclose(np.concatenate(list(outputs_found.values()), axis=1), lines, rtol=0, atol=1e-12)


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_plant_without_noise_is_found_by_training_one_step_ahead(restarts):
    given, structure, frame = resonant(0.0), Structure(2, 3, 0), Structure(3, 3, 1)
    errors, untrained = (
        free_run_errors(starts(given, trained), structure, frame, restarts)["y"] for trained in (True, False)
    )
    assert errors < 1e-3 * untrained


def test_what_the_structure_does_not_have_is_zero():
    given = record(1, 1)
    found = starts(Record({"u": np.zeros_like(given.inputs["u"])}, given.targets), constant={"u": (0,)})
    net = found.networks(Structure(2, 2, 0), 0, 2, KEY, Structure(3, 4, 1))
    assert not np.asarray(net.LW[STATE, STATE])[:, 0, 2].any()
    assert not np.asarray(net.LW[HIDDEN, STATE])[:, 0, 2:].any()
    assert not np.asarray(net.IW[STATE, "u"]).any()
    assert not np.asarray(net.LW["y", "output_hidden"]).any()
    assert np.asarray(net.LW[HIDDEN, STATE])[:, 0, :2, :2].all()


def test_first_states_are_those_of_the_first_measured_values():
    given = record(2, 1)
    found = starts(given)
    frame = Structure(5, 2, 0)
    fold = found.folds.data(frame.topology(given), 0)
    states = np.asarray(found.first_states(Structure(4, 2, 0), 0, 2, fold.train, frame)[STATE])
    assert states.shape == (2, *fold.train.batch, 1, 5)
    (p, q), row = found.lags(4), fold.firsts[0]
    y, u = given.targets["y"][row], np.concatenate([given.inputs[name][row] for name in ("u", "v")])
    np.testing.assert_allclose(states[1, 0, 0, :4], np.concatenate([*[y] * p, *[u] * (q - 1)]))
    assert not states[..., 4:].any()


# --- in the search --------------------------------------------------------------------------------------------------


@functools.cache
def identified(noise):
    """The result for a plant with noise, and the messages."""
    said = []
    return lddn.identify(resonant(noise), ["u"], ["y"], TINY, say=said.append), said


@pytest.mark.parametrize("noise", [0.0, 0.2], ids=["no noise", "noise"])
def test_such_starts_are_tried_if_their_free_runs_are_good(noise):
    found, _ = identified(noise)
    tried = [entry for entry in found.trained.entries if entry.structure.one_step]
    assert bool(tried) == (noise == 0)
    if tried:
        others = [entry for entry in found.trained.entries if not entry.structure.one_step]
        assert tried[0].found.error < min(entry.found.error for entry in others)
        assert "started one step ahead  <- committee" in str(found.trained)


def test_the_committee_is_trained_anew_on_everything():
    found, said = identified(0.0)
    assert any("growing horizons: 2 of 2 networks, 2 steps each" in message for message in said)
    chosen = found.trained.chosen
    assert (len(chosen.found.refitted), chosen.effort.refit) == (1, 2)
    assert 1 <= found.trained.size <= 2


def test_most_steps_are_few(monkeypatch):
    monkeypatch.setattr(one_step_starts, "STEPS", 1)
    assert free_run_errors(starts(resonant(0.0)), Structure(2, 3, 0), Structure(3, 3, 1), 1)["y"] > 1e-3


def test_stacked_networks_have_the_topology_of_the_frame():
    frame = Structure(3, 3, 1)
    net = starts(record(1, 1)).networks(Structure(2, 2, 0), 0, 2, KEY, frame)
    assert net.topology == frame.topology(record(1, 1))
    whole = lddn.Network(net.topology, init="zeros", dtype="float64")
    shapes = jax.tree.map(lambda a, b: a.shape == (2, *b.shape), net, whole)
    assert all(jax.tree.leaves(shapes))
