"""k steps ahead, by horizon, and one sample at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import BY_NAME
from tiers import in_tiers

import lddn_jax as lddn

NARX = lddn.models.narx({"u": 1}, {"y": 1, "z": 2}, hidden=3, input_delays=(0, 2), feedback_delays=(1, 3))
# A hidden layer that remembers: no measurement tells its state.
MEMORY = lddn.Topology(
    [lddn.Input("u", 1), lddn.Input("measured_y", 1)],
    [lddn.Layer("hidden", 2), lddn.Layer("y", 1, transfer="linear")],
    [
        lddn.Connection("u", "hidden"),
        lddn.Connection("measured_y", "hidden", (2,)),
        lddn.Connection("hidden", "hidden", (1,)),
        lddn.Connection("hidden", "y"),
    ],
    ["y"],
)


def record(topology, batch=(), steps=25, seed=0):
    keys = iter(jax.random.split(jax.random.key(seed), 99))
    net = lddn.Network(topology, key=next(keys))
    targets = {n: jax.random.normal(next(keys), (*batch, steps, topology.sizes[n])) for n in topology.outputs}
    inputs = {
        n: targets[n.removeprefix("measured_")]
        if n.startswith("measured_")
        else jax.random.normal(next(keys), (*batch, steps, 1))
        for n in sorted(topology.input_names)
    }
    state = lddn.zero_state(topology, batch)
    state = {n: jax.random.normal(next(keys), line.shape) for n, line in sorted(state.items())}
    return net, lddn.Sequences(inputs, targets, state)


KINDS = {"narx": (NARX, ()), "batch": (NARX, (2,)), "memory": (MEMORY, ())}


@pytest.fixture(scope="module", params=in_tiers(KINDS, ["narx", "memory"]))
def case(request):
    topology, batch = request.param
    return record(topology, batch)


def by_hand(net, data, k, t):
    """The prediction of step t by opening the loop until its start, and closing it from there on, sample by sample."""
    state = data.state
    known = {name: np.asarray(signal) for name, signal in data.inputs.items()}
    for now in range(t + 1):
        sample = {name: signal[..., now, :] for name, signal in known.items()}
        outputs, state = lddn.step(net, sample, state)
        if now > t - k:  # the loop is closed: what was predicted is what the network will remember as measured
            state |= {
                f"measured_{name}": state[f"measured_{name}"].at[..., -1, :].set(value)
                for name, value in outputs.items()
            }
    return outputs


def test_one_step_is_the_open_loop(case):
    net, data = case
    expected = lddn.predict(net, data.inputs, data.state)
    found = lddn.k_step(net, data, 1)
    assert all(np.max(np.abs(found[name] - expected[name])) < 1e-13 for name in expected)


@pytest.mark.parametrize("k", [25, 1000])
def test_as_many_steps_as_the_record_is_a_free_run(case, k):
    net, data = case
    closed, state = net, {}
    for name in net.topology.outputs:
        closed = lddn.close_loop(closed, output=name, input=f"measured_{name}")
    for name in lddn.zero_state(closed.topology):
        state[name] = data.state[f"measured_{name}" if name in net.topology.outputs else name]
    inputs = {name: signal for name, signal in data.inputs.items() if name in closed.topology.input_names}
    expected, found = lddn.predict(closed, inputs, state), lddn.k_step(net, data, k)
    assert all(np.max(np.abs(found[name] - expected[name])) < 1e-13 for name in expected)


@pytest.mark.parametrize("t", [0, 2, 17])
def test_four_steps_ahead_by_hand(case, t):
    net, data = case
    expected, found = by_hand(net, data, 4, t), lddn.k_step(net, data, 4)
    assert all(np.max(np.abs(found[name][..., t, :] - expected[name])) < 1e-13 for name in expected)


def test_groups_of_starts_do_not_matter(case, monkeypatch):
    net, data = case
    expected = lddn.k_step(net, data, 4)
    monkeypatch.setattr("lddn_jax.prediction.horizons.OUTPUTS_AT_ONCE", 100)
    found = lddn.k_step(net, data, 4)
    assert all(np.max(np.abs(found[name] - expected[name])) < 1e-13 for name in expected)


def test_the_profile_is_the_error_of_k_steps(case):
    net, data = case
    late = "hidden" in net.topology.sizes and net.topology.sizes["hidden"] == 2  # reads measured outputs two steps late
    profile = lddn.horizon_profile(net, data, (2 if late else 1, 4, 6))
    assert profile.starts == 20
    for place, k in enumerate(profile.horizons):
        found = lddn.k_step(net, data, k)
        for name, target in data.targets.items():
            # A run from start s reaches step s + k − 1.
            error = (target - found[name])[..., k - 1 : k + 19, :]
            assert profile.rmse[name][place] == pytest.approx(float(np.sqrt(np.mean(error**2))), rel=1e-12)


def test_persistence_is_the_last_measured_value():
    net, data = record(NARX)
    profile = lddn.horizon_profile(net, data, (2,))
    y = np.concatenate([np.asarray(data.state["measured_y"])[-1:], np.asarray(data.targets["y"])])
    assert profile.persistence["y"][0] == pytest.approx(np.sqrt(np.mean((y[2:] - y[:-2]) ** 2)))


def test_missing_targets_are_left_out():
    net, data = record(NARX)
    holes = dict(data.targets) | {"y": data.targets["y"].at[5].set(jnp.nan)}
    profile = lddn.horizon_profile(net, lddn.Sequences(data.inputs, holes, data.state), (1,))
    error = np.delete(np.asarray(data.targets["y"] - lddn.k_step(net, data, 1)["y"]), 5)
    assert profile.rmse["y"][0] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert "persistence" in str(profile)
    assert profile.to_dict()["horizons"] == [1]


def test_what_fills_up_a_shorter_record_is_left_out():
    net, data = record(NARX, (2,))
    steps = data.steps
    weights = {name: jnp.ones_like(y).at[1, 15:].set(0) for name, y in data.targets.items()}
    padded = {name: y.at[1, 15:].set(0) for name, y in data.targets.items()}
    profile = lddn.horizon_profile(net, lddn.Sequences(data.inputs, padded, data.state, weights), (1,))
    error = data.targets["y"] - lddn.k_step(net, data, 1)["y"]
    counted = np.concatenate([np.ravel(error[0, :steps]), np.ravel(error[1, :15])])
    assert profile.rmse["y"][0] == pytest.approx(np.sqrt(np.mean(counted**2)))


@pytest.mark.parametrize("horizons", [(), (2, 1), (0, 1), (1, 26), (True,)])
def test_horizons_must_ascend_within_the_record(horizons):
    net, data = record(NARX)
    with pytest.raises(lddn.LDDNError, match="ascending integers"):
        lddn.horizon_profile(net, data, horizons)


def test_a_closed_loop_is_opened_by_its_targets():
    net, data = record(NARX)
    expected = lddn.k_step(net, data, 4)
    closed = lddn.close_loop(lddn.close_loop(net, "y", "measured_y"), "z", "measured_z")
    state = {name.removeprefix("measured_"): line for name, line in data.state.items()}
    found = lddn.k_step(closed, lddn.Sequences({"u": data.inputs["u"]}, data.targets, state), 4)
    assert all(np.max(np.abs(found[name] - expected[name])) < 1e-13 for name in expected)
    gap = dict(data.targets) | {"y": data.targets["y"].at[5].set(jnp.nan)}
    with pytest.raises(lddn.DataError, match="'y' is NaN at"):
        lddn.k_step(closed, lddn.Sequences({"u": data.inputs["u"]}, gap, state), 4)


def test_a_gap_that_a_closed_loop_would_start_from_is_refused_and_the_end_of_a_record_is_not():
    net = lddn.close_loop(lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}), key=jax.random.key(0)), "y", "measured_y")
    u, y = jax.random.normal(jax.random.key(1), (2, 30, 1))
    gap, end = (jnp.ones_like(y).at[rows].set(0) for rows in (slice(10, 15), slice(20, 30)))
    with pytest.raises(lddn.DataError, match=r"NaN at \(10, 0\)"):
        lddn.horizon_profile(net, lddn.Sequences(u, y * gap, weights={"y": gap}), (1, 3))
    padded = lddn.horizon_profile(net, lddn.Sequences(u, y * end, weights={"y": end}), (1,))
    alone = lddn.horizon_profile(net, lddn.Sequences(u[:20], y[:20]), (1,))
    assert padded.rmse["y"] == pytest.approx(alone.rmse["y"])


def test_without_a_loop_all_horizons_are_one():
    net, data = record(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 2)))
    expected, found = lddn.predict(net, data.inputs, data.state), lddn.k_step(net, data, 4)
    assert np.max(np.abs(found["y"] - expected["y"])) < 1e-13


@pytest.mark.parametrize(
    "name",
    in_tiers(
        ["awkward", "awkward-two-batch-axes", "fir-in-series", "multi-rate", "autonomous"],
        fast=["awkward", "fir-in-series"],
    ),
)
def test_streaming_is_predicting(name):
    case = BY_NAME[name]
    net, data = case.net, case.data
    expected = lddn.predict(net, data.inputs, data.state, steps=data.steps)
    state, found = data.state, []
    for t in range(data.steps):
        sample = {n: signal[..., t, :] for n, signal in dict(data.inputs).items()}
        outputs, state = lddn.step(net, sample, state)
        found.append(outputs)
    for output in expected:
        error = np.stack([np.asarray(a[output]) for a in found], axis=-2) - expected[output]
        assert np.max(np.abs(error)) < 1e-13


@pytest.mark.usefixtures("unchecked")
def test_a_sample_has_no_time_axis():
    net, data = record(NARX)
    with pytest.raises(lddn.ShapeError, match="one time step without a time axis"):
        lddn.step(net, {name: signal[0, 0] for name, signal in data.inputs.items()})
