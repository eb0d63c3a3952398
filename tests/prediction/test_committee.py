"""A committee predicts as the median or mean of its members, wherever a network stands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from altered import rewrite
from networks import declare

import lddn_jax as lddn
from lddn_jax import Committee
from lddn_jax.prediction.model_outputs import outputs_of

MEMBERS, BATCH = 4, (2,)
TOPOLOGIES = {
    "narx": lambda: lddn.models.narx({"u": 1, "v": 2}, {"y": 2}, hidden=2),
    "recurrent": lambda: lddn.models.layer_recurrent({"u": 1, "v": 2}, {"y": 2}, hidden=2, input_delays=(0, 2)),
}
STATISTICS = {"median": np.median, "mean": np.mean}


def committee_of(topology, combine="median", noise=None, members=MEMBERS):
    keys = jax.random.split(jax.random.key(0), members)
    return Committee(jax.vmap(lambda key: lddn.Network(topology, key=key))(keys), combine, noise)


def signals(topology, batch=BATCH, steps=30):
    draw = np.random.default_rng(1).standard_normal
    inputs = {name: draw((*batch, steps, topology.sizes[name])) for name in sorted(topology.input_names)}
    return inputs, {name: draw((*batch, steps, topology.sizes[name])) for name in topology.outputs}


@pytest.fixture(params=TOPOLOGIES.values(), ids=TOPOLOGIES)
def topology(request):
    return request.param()


@pytest.mark.parametrize("combine", STATISTICS)
def test_predictions_are_combined_pointwise(topology, combine):
    committee, (inputs, _) = committee_of(topology, combine), signals(topology)
    each = [np.asarray(lddn.predict(net, inputs)["y"]) for net in committee.networks]
    found = lddn.predict(committee, inputs)["y"]
    np.testing.assert_allclose(found, STATISTICS[combine](each, axis=0), rtol=1e-12)
    np.testing.assert_allclose(lddn.predict_members(committee, inputs)["y"], each, rtol=1e-12)


def test_a_committee_is_stacked_networks(topology):
    committee = committee_of(topology)
    again = Committee.of([Committee.of(committee.networks[:2]), *committee.networks[2:]])
    jax.tree.map(np.testing.assert_array_equal, again, committee)
    assert again.members == MEMBERS
    assert again.topology == topology
    assert again.parameter_count == MEMBERS * committee.member(0).parameter_count
    assert committee.summary().endswith("committee of 4 members, combined by their median")


def test_each_member_has_its_state(topology):
    """A split run is the whole run, with the state that `simulate` returns."""
    committee, (inputs, _) = committee_of(topology), signals(topology)
    whole = lddn.simulate(committee, inputs)
    first = lddn.simulate(committee, {name: x[..., :11, :] for name, x in inputs.items()})
    second = lddn.simulate(committee, {name: x[..., 11:, :] for name, x in inputs.items()}, first.final_state)
    joined = np.concatenate([first.outputs["y"], second.outputs["y"]], axis=-2)
    np.testing.assert_allclose(joined, whole.outputs["y"], rtol=1e-12)
    for name, line in second.final_state.items():
        members = () if name in topology.input_names else (MEMBERS,)
        assert line.shape[: -2 - len(BATCH)] == members
        np.testing.assert_allclose(line, whole.final_state[name], rtol=1e-12)


def test_a_state_of_all_members_may_be_shared():
    topology = TOPOLOGIES["recurrent"]()
    committee, (inputs, _) = committee_of(topology), signals(topology)
    draw = np.random.default_rng(2).standard_normal
    shared = {name: draw((*BATCH, *line.shape)) for name, line in lddn.zero_state(topology).items()}
    each = [np.asarray(lddn.predict(net, inputs, shared)["y"]) for net in committee.networks]
    np.testing.assert_allclose(lddn.predict(committee, inputs, shared)["y"], np.median(each, axis=0), rtol=1e-12)
    own = {name: np.stack([k * line for k in range(MEMBERS)]) for name, line in shared.items()}
    each = [
        np.asarray(lddn.predict(net, inputs, {name: line[k] for name, line in own.items()})["y"])
        for k, net in enumerate(committee.networks)
    ]
    np.testing.assert_allclose(lddn.predict(committee, inputs, own)["y"], np.median(each, axis=0), rtol=1e-12)


@pytest.mark.parametrize("scaled", [False, True], ids=["network", "scaled"])
def test_steps_are_the_whole_run(topology, scaled):
    committee, (inputs, targets) = committee_of(topology), signals(topology, steps=6)
    model = lddn.Scaled.fit(committee, lddn.Sequences(inputs, targets)) if scaled else committee
    step = model.step if scaled else lambda sample, state: lddn.step(committee, sample, state)
    whole = model.predict(inputs) if scaled else lddn.predict(committee, inputs)
    state, seen = None, []
    for t in range(6):
        outputs, state = step({name: x[..., t, :] for name, x in inputs.items()}, state)
        seen.append(outputs["y"])
    np.testing.assert_allclose(np.stack(seen, axis=-2), whole["y"], rtol=1e-11)


def test_a_network_without_inputs():
    committee = committee_of(declare("", "x:3:tanh y:2:linear", "x>x@1 x>y y>x@2", "y"))
    state = {"x": np.full((3, 1, 3), 0.1), "y": np.full((3, 2, 2), -0.1)}
    each = [np.asarray(lddn.predict(net, {}, state, steps=5)["y"]) for net in committee.networks]
    np.testing.assert_allclose(lddn.predict(committee, {}, state, steps=5)["y"], np.median(each, axis=0), rtol=1e-12)
    first = lddn.simulate(committee, {}, state, steps=2)
    rest = lddn.predict(committee, {}, first.final_state, steps=3)["y"]
    np.testing.assert_allclose(rest, lddn.predict(committee, {}, state, steps=5)["y"][:, 2:], rtol=1e-12)


def test_loops_are_closed_and_opened_as_a_whole():
    committee = committee_of(TOPOLOGIES["narx"]())
    closed = lddn.close_loop(committee, "y", "measured_y")
    expected = [lddn.close_loop(net, "y", "measured_y") for net in committee.networks]
    for found, net in zip(closed.networks, expected, strict=True):
        jax.tree.map(np.testing.assert_array_equal, found, net)
    jax.tree.map(np.testing.assert_array_equal, lddn.open_loop(closed, "y", "measured_y"), committee)
    jax.tree.map(np.testing.assert_array_equal, lddn.remove_delay(lddn.add_delay(committee, 2), 2), committee)


@pytest.mark.parametrize("k", [1, 3])
def test_k_steps_ahead(k):
    topology = TOPOLOGIES["narx"]()
    committee, (inputs, targets) = committee_of(topology), signals(topology)
    data = lddn.Sequences(inputs | {"measured_y": targets["y"]}, targets)
    each = [np.asarray(lddn.k_step(net, data, k)["y"]) for net in committee.networks]
    np.testing.assert_allclose(lddn.k_step(committee, data, k)["y"], np.median(each, axis=0), rtol=1e-12)


def test_the_error_by_horizon_is_that_of_the_combined_prediction():
    topology = lddn.models.jordan({"u": 1}, {"y": 1}, hidden=2, input_delays=(0, 2))  # a layer that is not measured
    committee, (inputs, targets) = committee_of(topology), signals(topology)
    data = lddn.Sequences(inputs, targets)
    profile = lddn.horizon_profile(committee, data, (1, 4))
    ahead = np.asarray(lddn.k_step(committee, data, 4)["y"])[:, 3:]
    expected = np.sqrt(np.mean((ahead - targets["y"][:, 3:]) ** 2))
    np.testing.assert_allclose(profile.rmse["y"][1], expected, rtol=1e-12)
    alone = lddn.horizon_profile(committee.member(0), data, (1, 4))
    np.testing.assert_allclose(profile.persistence["y"], alone.persistence["y"])


def exploding(combine="median", last=1.5):
    """Members y(t) = d y(t−1) + u(t), of which the last one is unstable."""
    topology = declare("u:1", "y:1:linear", "u>y y>y@1", "y")
    zero = lddn.Network(topology, init="zeros")
    return Committee.of(
        [zero.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[d]]]}) for d in (0.1, 0.2, 0.3, last)],
        combine,
    )


@pytest.mark.parametrize("combine", STATISTICS)
@pytest.mark.parametrize("last", [1.5, np.nan, 1e40], ids=["explodes", "NaN", "overflows"])
def test_a_member_that_explodes_is_left_out(combine, last):
    committee, u = exploding(combine, last), np.ones((60, 1))
    each = [np.asarray(lddn.predict(net, u)["y"]) for net in committee.networks[:3]]
    found = outputs_of(committee, u)
    np.testing.assert_allclose(found.mean["y"], STATISTICS[combine](each, axis=0), rtol=1e-12)
    assert found.notes == ("committee: member 3 of 4 left out, because it became NaN or infinite, or exploded",)
    assert np.isfinite(found.bars.std["y"]).all()


def test_it_is_left_out_only_of_the_sequence_in_which_it_explodes():
    committee, u = exploding(last=1.5), np.stack([np.ones((60, 1)), np.zeros((60, 1))])
    kept = committee.kept(lddn.predict_members(committee, u))
    assert kept.tolist() == [[True, True], [True, True], [True, True], [False, True]]
    assert "3 (in 1 of 2 records) of 4" in outputs_of(committee, u).notes[0]


def test_without_any_member_there_is_no_prediction():
    committee = Committee.of([exploding(last=np.nan).member(3)] * 2)
    found = outputs_of(committee, np.ones((5, 1)))
    assert np.isnan(found.mean["y"]).all()
    assert found.notes[0].endswith("no member is left, so there is no prediction")


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_members_that_merely_differ_are_kept(unit):
    topology = declare("u:1", "y:1:linear", "u>y", "y")
    zero = lddn.Network(topology, init="zeros")
    committee = Committee.of([zero.with_weights(b={"y": [unit * k]}) for k in (-3.0, 0.0, 0.1, 40.0)])
    assert committee.kept(lddn.predict_members(committee, np.zeros((9, 1)))).all()


@pytest.mark.parametrize("combine", STATISTICS)
def test_the_spread_is_a_standard_deviation(combine):
    topology = declare("u:1", "y:1:linear", "u>y", "y")
    zero, drawn = lddn.Network(topology, init="zeros"), np.random.default_rng(0).normal(5, 2, 400)
    nets = Committee.of([zero] * 400).nets.with_weights(b={"y": drawn[:, None]})
    committee = Committee(nets, combine)
    spread = committee.spread(lddn.predict_members(committee, np.zeros((3, 1))))["y"]
    low, high = np.percentile(drawn, [15.87, 84.13])
    np.testing.assert_allclose(spread, (high - low) / 2 if combine == "median" else np.std(drawn, ddof=1))
    np.testing.assert_allclose(spread, 2, rtol=0.1)  # 400 members
    alone = Committee.of(committee.networks[:1], combine)
    assert not alone.spread(lddn.predict_members(alone, np.zeros((3, 1))))["y"].any()


def record_and_model(noise=None):
    topology = lddn.models.narx({"u": 1}, {"y": 1}, hidden=2)
    committee = committee_of(topology, noise=noise)
    u = np.random.default_rng(3).normal(size=(80, 1))
    y = 20 + 5 * np.tanh(np.cumsum(u, axis=0))
    model = lddn.Scaled.fit(committee, lddn.Sequences({"u": u, "measured_y": y}, y))
    return {"u": u[:, 0], "y": y[:, 0]}, model


def test_a_forecast_has_the_median_and_the_spread_in_units():
    source, model = record_and_model()
    cut = source | {"y": source["y"][:60]}
    each = [lddn.forecast(model.with_net(net), cut, (1, 3)) for net in model.net.networks]
    found = lddn.forecast(model, cut, (1, 3))
    for kind in ("one step ahead", "3 steps ahead", "free run"):
        lines = [one.predictions[kind]["y"] for one in each]
        np.testing.assert_allclose(found.predictions[kind]["y"], np.median(lines, axis=0), rtol=1e-11)
    lines = [one.future.predictions["y"] for one in each]
    np.testing.assert_allclose(found.future.predictions["y"], np.median(lines, axis=0), rtol=1e-11)
    low, high = np.percentile(lines, [15.87, 84.13], axis=0)
    np.testing.assert_allclose(found.future.std["y"], (high - low) / 2, rtol=1e-9)
    noisy = lddn.forecast(record_and_model({"y": [0.3]})[1], cut)
    noise = 0.3 * float(model.scalers["y"].error_scale()[0])
    np.testing.assert_allclose(noisy.std["y"] ** 2, found.std["y"] ** 2 + noise**2, rtol=1e-9)


def test_a_forecast_names_members_that_are_left_out():
    source, model = record_and_model()
    wild = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), model.net.nets)
    found = lddn.forecast(model.with_net(model.net.with_nets(wild)), source)
    assert found.notes == ("committee: member 1 of 4 left out, because it became NaN or infinite, or exploded",)
    assert found.scores["free run"]["y"]["rmse"] is not None


def test_the_state_after_measured_rows_is_that_of_each_member():
    """A hidden layer with a delay is not measured: each member has simulated its own."""
    topology = lddn.models.jordan({"u": 1}, {"y": 1}, hidden=2).with_connection("hidden", "hidden", (1,))
    u = np.random.default_rng(3).normal(size=(40, 1))
    data = lddn.Sequences({"u": u}, np.tanh(u))
    model = lddn.Scaled.fit(committee_of(topology), data)
    source = {"u": u[:, 0], "y": np.tanh(u[:30, 0])}
    each = [lddn.forecast(model.with_net(net), source).future.predictions["y"] for net in model.net.networks]
    np.testing.assert_allclose(lddn.forecast(model, source).future.predictions["y"], np.median(each, axis=0), rtol=1e-9)


@pytest.mark.parametrize("noise", [None, {"y": [0.2]}], ids=["spread", "spread and noise"])
@pytest.mark.parametrize("scaled", [False, True], ids=["committee", "scaled"])
def test_a_saved_committee_is_read(tmp_path, scaled, noise):
    model = record_and_model(noise)[1]
    saved = model if scaled else model.net
    lddn.save(tmp_path / "model.npz", saved)
    found = lddn.load(tmp_path / "model.npz")
    assert type(found) is type(saved)
    assert jax.tree.structure(found) == jax.tree.structure(saved)
    jax.tree.map(np.testing.assert_array_equal, found, saved)


@pytest.mark.parametrize(
    "known", [{"members": 3}, {"members": 0}, {"members": True}, {"combine": "mode"}, {"noise": 1}, None], ids=repr
)
def test_a_damaged_header_is_an_error(tmp_path, known):
    path = tmp_path / "model.npz"
    lddn.save(path, record_and_model()[1])
    header = {"members": MEMBERS, "combine": "median", "noise": False}

    def change(whole, arrays):
        whole["committee"] = None if known is None else header | known

    rewrite(path, path, change)
    with pytest.raises(lddn.CheckpointError):
        lddn.load(path)


def test_a_report_is_that_of_the_committee():
    source, model = record_and_model()
    page = lddn.report(model, lddn.data.Record.of(source, ["u"], ["y"]))
    assert page.summary.startswith("52 parameters")
    figures = [figure.caption for section in page.sections for figure in section.figures]
    assert any("from the spread of its 4 members alone" in caption for caption in figures)
    assert any("Weights and biases of the first member" in caption for caption in figures)


REJECTED = {
    "a list": (lambda c: Committee([c.member(0)]), "Committee.of"),
    "a single network": (lambda c: Committee(c.member(0)), "a single network"),
    "two axes": (lambda c: Committee(jax.tree.map(lambda x: x[None], c.nets)), "1 x 4 stacked networks"),
    "no network": (lambda c: Committee.of([]), "Committee.of"),
    "other topologies": (
        lambda c: Committee.of([c.member(0), lddn.add_delay(c.member(1))]),
        "another topology or dtype",
    ),
    "another combination": (lambda c: Committee(c.nets, "mode"), "combine='mode' is unknown"),
    "a member too many": (lambda c: c.member(4), "4 members, numbered from 0"),
    "noise of another name": (lambda c: Committee(c.nets, noise={"z": [1.0]}), r"noise=\{'y'"),
    "noise of another size": (lambda c: Committee(c.nets, noise={"y": [1.0]}), r"needed is \(2,\)"),
    "a gradient": (
        lambda c: lddn.jacobian(c, lddn.Sequences(*signals(c.topology))),
        r"committee.member\(0\)",
    ),
    "members of a network": (lambda c: lddn.predict_members(c.member(0), signals(c.topology)[0]), "Committee.of"),
}


@pytest.mark.parametrize(("call", "words"), REJECTED.values(), ids=REJECTED)
def test_an_error_says_what_was_needed(call, words, unchecked):
    with pytest.raises(lddn.LDDNError, match=words):
        call(committee_of(TOPOLOGIES["narx"]()))
