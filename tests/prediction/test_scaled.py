"""A network with its scalers predicts in the units of the record what the network predicts in its own."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from altered import rewrite
from networks import declare

import lddn_jax as lddn
from lddn_jax import Scaled, models
from lddn_jax.data import MinMax, Standard
from lddn_jax.prediction.error_bars import Prediction

KINDS = {"MinMax": MinMax, "Standard": Standard}
NETWORKS = {
    "narx": lambda: models.narx({"u": 1, "v": 2}, {"y": 2}, hidden=3),
    "recurrent": lambda: models.layer_recurrent({"u": 1}, {"y": 2}, hidden=3, input_delays=(0, 2)),
    "jordan": lambda: models.jordan({"u": 2}, {"y": 2, "z": 1}, hidden=3, input_delays=(0, 2)),
    "autonomous": lambda: declare("", "x:3:tanh y:2:linear", "x>x@1 x>y y>x@2", "y"),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


ONE_OF_A_KIND = {"jordan", "autonomous"}


@pytest.fixture(
    params=[
        pytest.param(make, id=name, marks=[] if name in ONE_OF_A_KIND else pytest.mark.deep)
        for name, make in NETWORKS.items()
    ]
)
def net(request):
    return lddn.Network(request.param(), key=jax.random.key(0))


def record(topology, batch=(2,), steps=9):
    """A record in units far from those of a network: every channel has an offset and a width of its own."""
    draw = np.random.default_rng(4).standard_normal

    def signal(name, length):
        size = topology.sizes[name]
        return (50 + 10 * np.arange(size)) + (3 + np.arange(size)) * draw((*batch, length, size))

    held = lddn.zero_state(topology)
    units = {*topology.input_names, *topology.outputs}
    return lddn.Sequences(
        {i.name: signal(i.name, steps) for i in topology.inputs},
        {name: signal(name, steps) for name in topology.outputs},
        {
            name: signal(name, zeros.shape[0]) if name in units else draw((*batch, *zeros.shape))
            for name, zeros in held.items()
        },
    )


def constants(kind, x):
    """Offset and factor of each channel by MATLAB's formulas: z = (x − offset) · factor."""
    columns = x.reshape(-1, x.shape[-1])
    if kind is MinMax:  # mapminmax: z = 2 (x − min) / (max − min) − 1
        low, high = columns.min(axis=0), columns.max(axis=0)
        return (low + high) / 2, 2 / (high - low)
    return columns.mean(axis=0), 1 / columns.std(axis=0, ddof=1)  # mapstd: z = (x − mean) / std


def by_hand(net, data, kind):
    """Offsets and factors by name; what carries the same signal shares them."""
    known = {name: constants(kind, target) for name, target in data.targets.items()}
    for name, signal in data.inputs.items():
        known[name] = known.get(name.removeprefix("measured_")) or constants(kind, signal)
    return known


def test_it_predicts_what_scaling_by_hand_predicts(net, kind):
    data, known = record(net.topology), by_hand(net, record(net.topology), kind)

    def scaled(signals):
        return {name: (x - known[name][0]) * known[name][1] if name in known else x for name, x in signals.items()}

    steps = None if net.topology.inputs else data.steps
    expected = lddn.predict(net, scaled(data.inputs), scaled(data.state), steps=steps)
    found = Scaled.fit(net, data, kind).predict(data.inputs, data.state, steps=steps)
    for name in net.topology.outputs:
        offset, factor = known[name]
        np.testing.assert_allclose(found[name], np.asarray(expected[name]) / factor + offset, rtol=1e-13)


def test_it_is_trained_on_the_scaled_record(net, kind):
    data, scaled = record(net.topology), Scaled.fit(net, record(net.topology), kind)
    inside = scaled.scale(data)
    for name, target in data.targets.items():
        offset, factor = by_hand(net, data, kind)[name]
        np.testing.assert_allclose(inside.targets[name], (target - offset) * factor, rtol=0, atol=1e-12)
    # Residuals in scaled units are those of the record times a factor.
    steps = None if net.topology.inputs else data.steps
    outside = scaled.predict(data.inputs, data.state, steps=steps)
    outputs = lddn.predict(net, inside.inputs, inside.state, steps=steps)
    errors = scaled.errors_in_units({name: inside.targets[name] - outputs[name] for name in outputs})
    for name, error in errors.items():
        np.testing.assert_allclose(error, data.targets[name] - outside[name], rtol=0, atol=1e-11)


def test_a_split_simulation_is_the_whole_one(net, kind):
    data, scaled = record(net.topology), Scaled.fit(net, record(net.topology), kind)
    if not net.topology.inputs:
        whole = scaled.simulate({}, data.state, steps=9).outputs["y"]
        first = scaled.simulate({}, data.state, steps=4)
        second = scaled.predict({}, first.final_state, steps=5)
    else:
        whole = scaled.simulate(data.inputs, data.state).outputs["y"]
        first = scaled.simulate({name: x[:, :4] for name, x in data.inputs.items()}, data.state)
        second = scaled.predict({name: x[:, 4:] for name, x in data.inputs.items()}, first.final_state)
    together = jnp.concatenate((first.outputs["y"], second["y"]), axis=1)
    np.testing.assert_allclose(together, whole, rtol=1e-12)


def test_sample_by_sample_it_predicts_the_same(net, kind):
    data, scaled = record(net.topology), Scaled.fit(net, record(net.topology), kind)
    steps = None if net.topology.inputs else 9
    whole, state, seen = scaled.predict(data.inputs, data.state, steps=steps), data.state, []
    for t in range(next(iter(whole.values())).shape[1]):
        outputs, state = scaled.step({name: x[:, t] for name, x in data.inputs.items()} or None, state)
        seen.append(outputs)
    for name, output in whole.items():
        together = jnp.stack([outputs[name] for outputs in seen], axis=1)
        np.testing.assert_allclose(together, output, rtol=1e-10, atol=1e-10)  # scaled and back at every step


def narx():
    return lddn.Network(models.narx({"u": 1}, {"y": 2}, hidden=3), key=jax.random.key(1))


def test_a_feedback_input_shares_the_scaler_of_its_output(kind):
    scaled = Scaled.fit(narx(), record(narx().topology), kind)
    assert scaled.scalers["measured_y"] is scaled.scalers["y"]


def test_a_closed_loop_is_the_open_loop_fed_its_own_outputs(kind):
    net = narx()
    data = record(net.topology)
    scaled = Scaled.fit(net, data, kind)
    closed = scaled.close_loop("y", "measured_y")
    state = {"u": data.state["u"], "y": data.state["measured_y"]}
    free = closed.predict({"u": data.inputs["u"]}, state)["y"]
    fed = np.concatenate((data.state["measured_y"], free), axis=1)[:, 2:]
    one_step = scaled.predict({"u": data.inputs["u"], "measured_y": fed}, data.state)["y"]
    np.testing.assert_allclose(one_step, free, rtol=1e-12)
    again = closed.open_loop("y", "measured_y")
    assert again.net.topology == net.topology
    jax.tree.map(np.testing.assert_array_equal, again, scaled)


def test_constant_channels_come_back_as_they_are(kind):
    net = lddn.Network(models.fir({"u": 2}, {"y": 1}), init="zeros")
    u = np.stack((np.full(6, 7.0), np.arange(6.0)), axis=1)
    scaled = Scaled.fit(net, lddn.Sequences(u, np.full((6, 1), 3.0)), kind)
    np.testing.assert_array_equal(scaled.scale(lddn.Sequences(u, np.full((6, 1), 3.0))).inputs["u"][:, 0], 0.0)
    np.testing.assert_array_equal(scaled.predict(u)["y"], 3.0)


def test_missing_targets_are_ignored_and_stay_missing(kind):
    net, data = narx(), record(narx().topology)
    gaps = np.array(data.targets["y"])
    gaps[0, 3] = np.nan
    holed = lddn.Sequences(data.inputs, {"y": gaps}, data.state)
    found = Scaled.fit(net, holed, kind).scale(holed).targets["y"]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(gaps))


def test_gradients_flow_through_it(kind):
    net, data = narx(), record(narx().topology)
    scaled = Scaled.fit(net, data, kind)

    def loss(net):
        return ((scaled.with_net(net).predict(data.inputs, data.state)["y"] - data.targets["y"]) ** 2).sum()

    gradient = jax.jit(jax.grad(loss))(net)
    inside, span = scaled.scale(data), scaled.scalers["y"].error_scale()
    weights = {"y": span[None, None] ** 2}  # Σ (span e)²
    weighted = lddn.Sequences(inside.inputs, inside.targets, inside.state, weights)
    _, expected = lddn.value_and_grad(lddn.losses.SumSquaredError(), net, weighted, lddn.BPTT())
    for found, block in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, block, rtol=0, atol=1e-9 * np.abs(block).max())


def test_error_bars_are_scaled_with_their_outputs(kind):
    scaled = Scaled.fit(narx(), record(narx().topology), kind)
    ones = {"y": jnp.ones((2, 5, 2))}
    bars = scaled.in_units(Prediction(ones, {"y": 3 * ones["y"]}, {"y": 4 * ones["y"]}))
    scale = np.asarray(scaled.scalers["y"].error_scale())
    np.testing.assert_allclose(bars.std["y"], np.broadcast_to(5 * scale, (2, 5, 2)), rtol=1e-14)
    np.testing.assert_allclose(bars.mean["y"], scaled.in_units(ones)["y"], rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_comes_back_from_a_file_bit_for_bit(tmp_path, kind, dtype):
    net = lddn.Network(narx().topology, key=jax.random.key(1), dtype=dtype)
    data = record(net.topology)
    scaled = Scaled.fit(net, data, kind)
    lddn.save(tmp_path / "net.npz", scaled)
    again = lddn.load(tmp_path / "net.npz")
    assert jax.tree.structure(again) == jax.tree.structure(scaled)
    for there, here in zip(jax.tree.leaves(again), jax.tree.leaves(scaled), strict=True):
        assert there.dtype == here.dtype
        np.testing.assert_array_equal(there, here)
    np.testing.assert_array_equal(again.predict(data.inputs)["y"], scaled.predict(data.inputs)["y"])


def test_a_range_of_its_own_comes_back_too(tmp_path):
    net = lddn.Network(models.fir({"u": 1}, {"y": 1}), init="zeros")
    x = np.arange(5.0)[:, None]
    scaled = Scaled(net, {"u": MinMax.fit(x, low=0.0, high=1.0), "y": Standard.fit(x)})
    lddn.save(tmp_path / "net.npz", scaled)
    assert lddn.load(tmp_path / "net.npz").scalers["u"].low == 0.0


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("scaling"),
        lambda header: header["scaling"].pop("u"),
        lambda header: header["scaling"]["u"].update(kind="Robust"),
        lambda header: header.update(scaling=3),
    ],
    ids=["no scalers", "a scaler lost", "an unknown kind", "a number"],
)
def test_an_altered_file_is_refused(tmp_path, change):
    lddn.save(tmp_path / "net.npz", Scaled.fit(narx(), record(narx().topology)))
    rewrite(tmp_path / "net.npz", tmp_path / "net.npz", lambda header, arrays: change(header))
    with pytest.raises(lddn.CheckpointError, match="scalers cannot be read"):
        lddn.load(tmp_path / "net.npz")


def test_its_dict_is_json(kind):
    scaled = Scaled.fit(narx(), record(narx().topology), kind)
    found = json.loads(json.dumps(scaled.to_dict()))
    assert lddn.Topology.from_dict(found["topology"]) == scaled.net.topology
    assert {name: scaler["kind"] for name, scaler in found["scaling"].items()} == dict.fromkeys(
        ("measured_y", "u", "y"), kind.__name__
    )


def fitted():
    return Scaled.fit(narx(), record(narx().topology))


def with_scaler(name, scaler):
    return fitted().scalers | {name: scaler}


REFUSED = {
    "a scaler missing": (
        lambda: Scaled(narx(), {"y": fitted().scalers["y"]}),
        lddn.DataError,
        r"given for \['y'\]; needed .*\['measured_y', 'u', 'y'\].*Scaled.fit",
    ),
    "a scaler too many": (
        lambda: Scaled(narx(), fitted().scalers | {"x": MinMax.fit(np.eye(2))}),
        lddn.DataError,
        "'x'",
    ),
    "another number of channels": (
        lambda: Scaled(narx(), with_scaler("u", MinMax.fit(np.eye(3)))),
        lddn.ShapeError,
        "scaler of 'u' has 3 channels, but 'u' has 1",
    ),
    "a loop of two scalers": (
        lambda: Scaled(narx(), with_scaler("measured_y", MinMax.fit(np.eye(2)))).close_loop("y", "measured_y"),
        lddn.DataError,
        "'measured_y' and 'y' have different scalers",
    ),
    "a loop of two kinds": (
        lambda: Scaled(narx(), with_scaler("measured_y", Standard.fit(np.eye(2)))).close_loop("y", "measured_y"),
        lddn.DataError,
        "have different scalers",
    ),
    "an input missing": (lambda: fitted().predict({"u": np.ones((5, 1))}), lddn.ShapeError, "'measured_y' is missing"),
    "an input of another size": (
        lambda: fitted().predict({"u": np.ones((5, 2)), "measured_y": np.ones((5, 2))}),
        lddn.ShapeError,
        r"input 'u' has shape \(5, 2\)",
    ),
    "a state of an unknown layer": (
        lambda: fitted().predict({"u": np.ones((5, 1)), "measured_y": np.ones((5, 2))}, {"x": np.ones((1, 1))}),
        lddn.ShapeError,
        "'x'",
    ),
    "no output": (
        lambda: fitted().in_units({"hidden": np.ones((5, 3))}),
        lddn.ShapeError,
        r"'hidden' is not an output",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_it_is_a_pytree_of_its_numbers():
    scaled = fitted()
    assert all(eqx.is_array(leaf) for leaf in jax.tree.leaves(scaled))
    data = record(narx().topology)
    plain = scaled.predict(data.inputs)["y"]
    np.testing.assert_allclose(jax.jit(lambda s, x: s.predict(x)["y"])(scaled, data.inputs), plain, rtol=1e-12)
