"""A structure in a frame, that is with weights of zero in a larger network, is trained as without it."""

import jax
import numpy as np
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax.data import Record, folds
from lddn_jax.errors import LDDNError
from lddn_jax.identification.frames import cut, masked
from lddn_jax.identification.structures import LinearStarts, Structure, at_random, common_frame

RESTARTS = 4  # two from the linear model, two at random
FRAME, THROUGH = Structure(3, 3, 2), Structure(3, 3, 2, feedthrough=True)
CONSTANT = {"u": (1,)}
# Structure, frame and elements of inputs that do not vary.
CASES = {
    "fewer states": (Structure(1, 3, 2), FRAME, {}),
    "fewer neurons": (Structure(3, 1, 1), FRAME, {}),
    "no neurons of the states": (Structure(3, 0, 2), FRAME, {}),
    "no neurons of the outputs": (Structure(3, 3, 0), FRAME, {}),
    "feedthrough": (Structure(2, 2, 0, feedthrough=True), THROUGH, {}),
    "constant input": (FRAME, FRAME, CONSTANT),
    "all of these": (Structure(1, 2, 0, feedthrough=True), THROUGH, CONSTANT),
}


def record(length=60):
    """The second element of the input does not vary."""
    rng = np.random.default_rng(0)
    u, y, x = rng.uniform(-1, 1, (length, 2)) * (1, 0), np.zeros((length, 1)), 0.0
    for t in range(length):
        y[t] = np.tanh(x) + 0.3 * u[t, 0] + 0.02 * rng.normal()
        x = 0.8 * np.tanh(x) + u[t, 0]
    return Record({"u": u}, {"y": y})


FOLDS = folds(record(), 2, lead=5, piece=25)


def begun(name):
    """Networks of the second fold in the frame, sequences, and the first states in the frame."""
    structure, frame, constant = CASES[name]
    starts = LinearStarts(FOLDS, structure.feedthrough, constant)
    nets = starts.networks(structure, 1, RESTARTS, jax.random.key(2), frame)
    data = FOLDS.data(frame.topology(record()), 1).train
    return nets, data, starts.first_states(structure, 1, RESTARTS, data, frame)


def trained(nets, data, states):
    loss, trainer = lddn.losses.MeanSquaredError(), lddn.LevenbergMarquardt(restarts=RESTARTS)
    return lddn.fit(nets, data, loss, trainer, epochs=4, initial_state=states, progress=False)


@pytest.fixture(scope="module", params=CASES)
def both(request):
    """The case, and the results of training in the frame and without one, from the same weights."""
    structure, _, _ = CASES[request.param]
    nets, data, states = begun(request.param)
    alone = structure.topology(record())
    cut_states = {"state": states["state"][..., : structure.states]}
    framed = trained(nets, data, states)
    return request.param, framed, trained(cut(nets, alone), FOLDS.data(alone, 1).train, cut_states)


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_losses_are_those_without_a_frame(both):
    _, framed, alone = both
    near(framed.history["loss"], alone.history["loss"])
    near(framed.restart_values, alone.restart_values)
    assert (np.asarray(framed.history["loss"])[-1] < np.asarray(framed.history["loss"])[0]).all()


def test_weights_and_first_states_are_those_without_a_frame(both):
    name, framed, alone = both
    structure, _, _ = CASES[name]
    found = cut(framed.restarts, structure.topology(record()))
    assert jax.tree.structure(found) == jax.tree.structure(alone.restarts)
    jax.tree.map(near, found, alone.restarts)
    near(framed.restart_states["state"][..., : structure.states], alone.restart_states["state"])


def test_what_a_structure_does_not_have_stays_exactly_zero(both):
    name, framed, _ = both
    structure, _, constant = CASES[name]
    inside = {layer: slice(size) for layer, size in structure.sizes.items()}
    net = framed.restarts
    for (to, source), weight in (net.IW | net.LW).items():
        outside = np.array(weight)
        outside[..., inside.get(to, slice(None)), inside.get(source, slice(None))] = 0
        assert not outside.any()
        assert not np.asarray(weight)[..., list(constant.get(source, ()))].any()
    for layer, bias in net.b.items():
        assert layer not in inside or not np.asarray(bias)[..., structure.sizes[layer] :].any()
    assert not np.asarray(framed.restart_states["state"])[..., structure.states :].any()


def test_what_a_structure_has_is_trained(both):
    name, framed, _ = both
    structure, _, constant = CASES[name]
    nets, _, _ = begun(name)
    # Weights of a constant input that are not masked are drawn, and have no gradient.
    inside = masked(masked(jax.tree.map(np.ones_like, nets), structure.sizes, constant), {}, CONSTANT)
    for weight, before, after in zip(*map(jax.tree.leaves, (inside, nets, framed.restarts)), strict=True):
        assert (np.asarray(before) != np.asarray(after))[np.asarray(weight) == 1].all()


@pytest.mark.parametrize("name", CASES)
def test_hidden_weights_are_drawn_and_act_only_in_networks_at_random(name):
    structure, _, _ = CASES[name]
    nets, _, _ = begun(name)
    for layer, to in (("hidden", "state"), ("output_hidden", "y")):
        size = structure.sizes[layer]
        if (layer, "state") in nets.LW:
            assert np.asarray(nets.LW[layer, "state"])[:, :, :size, : structure.states].all()
            acting = np.asarray(nets.LW[to, layer] != 0).any(axis=(1, 2, 3))
            assert acting.tolist() == [False] * 2 + [size > 0] * 2
    assert at_random(RESTARTS) == 2


@pytest.mark.parametrize("frame", [None, FRAME], ids=["no frame", "a frame"])
@pytest.mark.parametrize("restarts", [1, RESTARTS])
def test_networks_from_the_linear_model_predict_as_it_does(frame, restarts):
    structure, starts = Structure(2, 1, 0), LinearStarts(FOLDS)
    nets = starts.networks(structure, 0, restarts, jax.random.key(0), frame)
    data = FOLDS.data((frame or structure).topology(record()), 0).train
    state = starts.first_states(structure, 0, restarts, data, frame)["state"]
    net = nets if restarts == 1 else jax.tree.map(lambda leaf: leaf[0], nets)
    state = state if restarts == 1 else state[0]
    found = lddn.predict(net, data.inputs, data.state | {"state": state})["y"]
    linear = starts.model(2, 0)
    # The model has its first state one row before the first step of the sequence.
    before = {"u": np.concatenate([data.state["u"][0, -1:], data.inputs["u"][0]])}
    run = linear.free_run(Record(before, {"y": np.zeros((len(before["u"]), 1))}), np.asarray(state)[0, 0, :2])
    np.testing.assert_allclose(found[0], run["y"][1:], rtol=0, atol=1e-10)


def test_a_cut_network_predicts_as_in_the_frame():
    structure, _, _ = CASES["all of these"]
    nets, data, states = begun("all of these")
    net, small = (jax.tree.map(lambda leaf: leaf[-1], each) for each in (nets, cut(nets, structure.topology(record()))))
    state = np.zeros(states["state"].shape[1:])
    state[..., : structure.states] = 0.5
    found = lddn.predict(net, data.inputs, data.state | {"state": state})["y"]
    expected = lddn.predict(small, data.inputs, data.state | {"state": state[..., : structure.states]})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_common_frame_contains_all():
    assert common_frame([Structure(1, 4, 0), Structure(3, 0, 2), Structure(2, 2, 1)]) == Structure(3, 4, 2)
    assert common_frame([Structure(1, 1, 0, True), Structure(2, 0, 0, True)]) == Structure(2, 1, 0, True)


def test_a_feedthrough_is_in_all_structures_of_a_frame_or_in_none():
    with pytest.raises(LDDNError, match="with and without a feedthrough were given"):
        common_frame([Structure(1, 1, 0), Structure(1, 1, 0, feedthrough=True)])


def test_diagonal_weights_and_layers_without_bias():
    frame, smaller = (declare("u:4", f"h:{n}:tanh! y:1:linear", "u>h h>h@1,2:diagonal h>y", "y") for n in (4, 2))
    net = lddn.Network(frame, key=jax.random.key(0))
    inside = masked(net, {"h": 2}, {})
    assert np.count_nonzero(inside.LW["h", "h"]) == 4
    found = cut(inside, smaller)
    assert set(found.b) == {"y"}
    np.testing.assert_array_equal(found.LW["h", "h"], net.LW["h", "h"][:, :2])
    u = jax.random.normal(jax.random.key(1), (6, 4))
    np.testing.assert_allclose(lddn.predict(found, u)["y"], lddn.predict(inside, u)["y"], rtol=0, atol=1e-14)
