"""Ready-made topologies have the structure their names promise, run, and have right gradients."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import models

IN, OUT = {"u": 2}, {"y": 1}


@dataclass(frozen=True)
class Model:
    """A model as MATLAB makes it by default, and a small one whose gradients are compared.

    Attributes:
        built: With all defaults.
        expected: The same, written out in the notation of `networks.declare`.
        small: Few neurons, several layers and outputs where the model has them.
        loops: Whether it recurs.
    """

    built: lddn.Topology
    expected: tuple[str, str, str, str]
    small: lddn.Topology
    loops: bool = False


TWO = {"y": 2, "z": 1}
MODELS = {
    "narx": Model(  # narxnet(1:2, 1:2, 10)
        models.narx(IN, OUT),
        ("u:2 measured_y:1", "hidden:10:tanh y:1:linear", "u>hidden@1,2 measured_y>hidden@1,2 hidden>y", "y"),
        models.narx({"u": 1, "v": 2}, TWO, hidden=(3, 2), input_delays=(0, 2), linear_path=True),
    ),
    "nar": Model(  # narnet(1:2, 10)
        models.nar(OUT),
        ("measured_y:1", "hidden:10:tanh y:1:linear", "measured_y>hidden@1,2 hidden>y", "y"),
        models.nar(TWO, hidden=2, feedback_delays=(1, 3), transfer="logistic", linear_path=True),
    ),
    "time_delay": Model(  # timedelaynet(1:2, 10)
        models.time_delay(IN, OUT),
        ("u:2", "hidden:10:tanh y:1:linear", "u>hidden@1,2 hidden>y", "y"),
        models.time_delay({"u": 1, "v": 2}, TWO, hidden=(3, 2), delays=(0, 3)),
    ),
    "distributed_delay": Model(  # distdelaynet({1:2, 1:2}, 10)
        models.distributed_delay(IN, OUT),
        ("u:2", "hidden:10:tanh y:1:linear", "u>hidden@1,2 hidden>y@1,2", "y"),
        models.distributed_delay({"u": 1, "v": 2}, TWO, hidden=(3, 2), delays=((0, 1), (1,), (0, 3))),
    ),
    "elman": Model(  # elmannet(1:2, 10)
        models.elman(IN, OUT),
        ("u:2", "hidden:10:tanh y:1:linear", "u>hidden hidden>hidden@1,2 hidden>y", "y"),
        models.elman({"u": 1, "v": 2}, TWO, hidden=3, delays=(1,)),
        loops=True,
    ),
    "jordan": Model(
        models.jordan(IN, OUT),
        ("u:2", "hidden:10:tanh y:1:linear", "u>hidden y>hidden@1 hidden>y", "y"),
        models.jordan({"u": 1, "v": 2}, TWO, hidden=(3, 2), input_delays=(0, 1), feedback_delays=(1, 3)),
        loops=True,
    ),
    "layer_recurrent": Model(  # layrecnet(1:2, 10)
        models.layer_recurrent(IN, OUT),
        ("u:2", "hidden:10:tanh y:1:linear", "u>hidden hidden>hidden@1,2 hidden>y", "y"),
        models.layer_recurrent({"u": 1, "v": 2}, TWO, hidden=(3, 2), delays=(1, 3), input_delays=(0, 2)),
        loops=True,
    ),
    "feedforward": Model(  # feedforwardnet(10)
        models.feedforward(IN, OUT),
        ("u:2", "hidden:10:tanh y:1:linear", "u>hidden hidden>y", "y"),
        models.feedforward({"u": 1, "v": 2}, TWO, hidden=(3, 2)),
    ),
    "cascade_forward": Model(  # cascadeforwardnet(10)
        models.cascade_forward(IN, OUT),
        ("u:2", "hidden:10:tanh y:1:linear", "u>hidden u>y hidden>y", "y"),
        models.cascade_forward({"u": 1, "v": 2}, TWO, hidden=(3, 2)),
    ),
    "fir": Model(  # linearlayer(0)
        models.fir(IN, OUT),
        ("u:2", "y:1:linear", "u>y", "y"),
        models.fir({"u": 1, "v": 2}, TWO, delays=(0, 1, 4)),
    ),
    "lstm": Model(
        models.lstm(IN, OUT),
        (
            "u:2",
            "input_gate:10:logistic forget_gate:10:logistic output_gate:10:logistic candidate:10:tanh kept:10:linear* "
            "written:10:linear* cell:10:linear! cell_output:10:tanh! hidden:10:linear* y:1:linear",
            "u>input_gate u>forget_gate u>output_gate u>candidate hidden>input_gate@1 hidden>forget_gate@1 "
            "hidden>output_gate@1 hidden>candidate@1 forget_gate>kept:identity cell>kept@1:identity "
            "input_gate>written:identity candidate>written:identity kept>cell:identity written>cell:identity "
            "cell>cell_output:identity output_gate>hidden:identity cell_output>hidden:identity hidden>y",
            "y",
        ),
        models.lstm({"u": 1, "v": 2}, TWO, hidden=(3, 2), peepholes=True),
        loops=True,
    ),
    "gru": Model(
        models.gru(IN, OUT),
        (
            "u:2",
            "reset_gate:10:logistic update_gate:10:logistic recalled:10:linear passed:10:linear* candidate:10:tanh "
            "renewal_gate:10:complement! kept:10:linear* written:10:linear* hidden:10:linear! y:1:linear",
            "u>reset_gate u>update_gate u>candidate hidden>reset_gate@1 hidden>update_gate@1 hidden>recalled@1 "
            "reset_gate>passed:identity recalled>passed:identity passed>candidate:identity "
            "update_gate>renewal_gate:identity update_gate>kept:identity hidden>kept@1:identity "
            "renewal_gate>written:identity candidate>written:identity kept>hidden:identity written>hidden:identity "
            "hidden>y",
            "y",
        ),
        models.gru({"u": 1, "v": 2}, TWO, hidden=(3, 2)),
        loops=True,
    ),
    "bilinear": Model(
        models.bilinear(IN, OUT),
        (
            "u:2",
            "state:2:linear! gain:4:linear! modulated:4:linear* y:1:linear",
            "u>state@1 state>state@1 u>gain@1 state>modulated@1 gain>modulated:identity modulated>state state>y",
            "y",
        ),
        models.bilinear({"u": 1, "v": 2}, TWO, states=3, products=4, feedthrough=True),
        loops=True,
    ),
    "hammerstein": Model(
        models.hammerstein(IN, OUT),
        (
            "u:2",
            "hidden:10:tanh shaped:1:linear! state:2:linear! y:1:linear",
            "u>hidden hidden>shaped u>shaped shaped>state@1 state>state@1 state>y",
            "y",
        ),
        models.hammerstein({"u": 1, "v": 2}, TWO, hidden=3, channels=2, feedthrough=True),
        loops=True,
    ),
    "wiener": Model(
        models.wiener(IN, OUT),
        (
            "u:2",
            "state:2:linear! filtered:1:linear! hidden:10:tanh y:1:linear",
            "u>state@1 state>state@1 state>filtered filtered>hidden hidden>y filtered>y",
            "y",
        ),
        models.wiener({"u": 1, "v": 2}, TWO, hidden=3, delays=(0, 2)),
    ),
    "hammerstein_wiener": Model(
        models.hammerstein_wiener(IN, OUT),
        (
            "u:2",
            "input_hidden:10:tanh shaped:1:linear! state:2:linear! filtered:1:linear! output_hidden:10:tanh y:1:linear",
            "u>input_hidden input_hidden>shaped u>shaped shaped>state@1 state>state@1 state>filtered "
            "filtered>output_hidden output_hidden>y filtered>y",
            "y",
        ),
        models.hammerstein_wiener({"u": 1, "v": 2}, TWO, hidden=3, states=3, channels=2),
        loops=True,
    ),
    "wiener_hammerstein": Model(
        models.wiener_hammerstein(IN, OUT),
        (
            "u:2",
            "input_state:2:linear! filtered:1:linear! hidden:10:tanh shaped:1:linear! output_state:2:linear! "
            "y:1:linear",
            "u>input_state@1 input_state>input_state@1 input_state>filtered filtered>hidden hidden>shaped "
            "filtered>shaped shaped>output_state@1 output_state>output_state@1 output_state>y",
            "y",
        ),
        models.wiener_hammerstein({"u": 1, "v": 2}, TWO, hidden=3, states=3, channels=2, feedthrough=True),
        loops=True,
    ),
    "linear_state_space": Model(  # ss(A, B, C, 0) of two states
        models.linear_state_space(IN, OUT),
        ("u:2", "state:2:linear! y:1:linear!", "u>state@1 state>state@1 state>y", "y"),
        models.linear_state_space({"u": 1, "v": 2}, TWO, states=3, feedthrough=True),
        loops=True,
    ),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return request.param


def random_data(topology, steps=7):
    """Two sequences with random inputs, targets and delay states."""
    key = jax.random.key(5)

    def draw(name, *shape):
        return jax.random.normal(jax.random.fold_in(key, sum(map(ord, name))), (2, *shape))

    state = {name: draw(f"state of {name}", *held.shape) for name, held in lddn.zero_state(topology).items()}
    return lddn.Sequences(
        {i.name: draw(i.name, steps, i.size) for i in topology.inputs},
        {name: draw(f"target {name}", steps, topology.sizes[name]) for name in topology.outputs},
        state,
    )


def test_the_default_is_that_of_matlab(model):
    assert model.built == declare(*model.expected)


def test_it_runs_and_recurs_only_if_it_should(model):
    net, data = lddn.Network(model.small, key=jax.random.key(0)), random_data(model.small)
    outputs = lddn.predict(net, data.inputs, data.state)
    assert {name: a.shape for name, a in outputs.items()} == {name: (2, 7, n) for name, n in TWO.items()}
    assert lddn.plan(model.small).loops == model.loops


@pytest.mark.parametrize("model", in_tiers(MODELS, ["elman", "linear_state_space"]), indirect=True)
def test_its_gradient_is_right(model):
    net, data = lddn.Network(model.small, key=jax.random.key(0)), random_data(model.small)
    loss = lddn.losses.SumSquaredError()
    value, gradient = lddn.value_and_grad(loss, net, data, lddn.BPTT())
    expected_value, expected = lddn.value_and_grad(loss, net, data, lddn.Autodiff())
    np.testing.assert_allclose(value, expected_value, rtol=1e-13)
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=0, atol=1e-11), gradient, expected)
    assert all(np.abs(block).max() > 1e-6 for block in jax.tree.leaves(gradient))  # nothing is idle


@pytest.mark.parametrize("inputs", [{"u": 1}, {"u": 2, "v": 1}], ids=["one input", "two inputs"])
@pytest.mark.parametrize("hidden", [4, (3, 2)], ids=["one layer", "two layers"])
def test_a_jordan_network_is_a_closed_narx_network(inputs, hidden):
    delays = {"hidden": hidden, "input_delays": (0, 1), "feedback_delays": (1, 3)}
    opened = lddn.Network(models.narx(inputs, OUT, **delays), key=jax.random.key(1))
    closed = lddn.close_loop(opened, output="y", input="measured_y")
    topology = models.jordan(inputs, OUT, **delays)
    assert closed.topology == topology
    data = random_data(topology)
    net = lddn.Network(topology, key=jax.random.key(2)).with_weights(IW=closed.IW, LW=closed.LW, b=closed.b)
    found = lddn.predict(net, data.inputs, data.state)
    np.testing.assert_array_equal(found["y"], lddn.predict(closed, data.inputs, data.state)["y"])


def test_a_fir_network_convolves():
    h = np.array([0.5, 0.0, -2.0, 1.0])  # of the delays 0 to 3
    u = np.random.default_rng(0).standard_normal(50)
    net = lddn.Network(models.fir({"u": 1}, {"y": 1}, delays=(0, 2, 3)), init="zeros")
    net = net.with_weights(IW={("y", "u"): h[[0, 2, 3], None, None]}, b={"y": [0.25]})
    y = lddn.predict(net, jnp.asarray(u[:, None]))["y"][:, 0]
    np.testing.assert_allclose(y, np.convolve(u, h)[:50] + 0.25, rtol=0, atol=1e-13)


@pytest.mark.parametrize("feedthrough", [False, True], ids=["D = 0", "with D"])
def test_a_linear_state_space_is_its_recursion(feedthrough):
    draw = np.random.default_rng(1).standard_normal
    A, B, C, D = 0.4 * draw((3, 3)), draw((3, 2)), draw((1, 3)), feedthrough * draw((1, 2))
    topology = models.linear_state_space({"u": 2}, {"y": 1}, states=3, feedthrough=feedthrough)
    net = lddn.Network(topology, init="zeros").with_weights(
        IW={("state", "u"): B[None]} | ({("y", "u"): D[None]} if feedthrough else {}),
        LW={("state", "state"): A[None], ("y", "state"): C[None]},
    )
    u, before, x = draw((40, 2)), draw((1, 2)), draw(3)
    state = {"u": jnp.asarray(before), "state": jnp.asarray(x[None])}
    expected = []
    for last, now in zip(np.concatenate((before, u[:-1])), u, strict=True):
        x = A @ x + B @ last
        expected.append(C @ x + D @ now)
    np.testing.assert_allclose(lddn.predict(net, jnp.asarray(u), state)["y"], expected, rtol=0, atol=1e-12)


def test_a_bilinear_system_is_its_recursion():
    draw = np.random.default_rng(2).standard_normal
    A, B, C, N = 0.3 * draw((2, 2)), draw((2, 1)), draw((1, 2)), 0.2 * draw((2, 2))
    net = lddn.Network(models.bilinear({"u": 1}, {"y": 1}), init="zeros").with_weights(
        IW={("state", "u"): B[None], ("gain", "u"): np.ones((1, 2, 1))},
        LW={("state", "state"): A[None], ("modulated", "state"): np.eye(2)[None], ("state", "modulated"): N[None],
            ("y", "state"): C[None]},
    )  # fmt: skip
    u, x, expected = draw((30, 1)), np.zeros(2), []
    for now in u:
        expected.append(C @ x)
        x = A @ x + B @ now + N @ (x * now)
    np.testing.assert_allclose(lddn.predict(net, jnp.asarray(u))["y"], expected, rtol=0, atol=1e-12)


def test_a_bilinear_system_starts_as_a_linear_one():
    draw = np.random.default_rng(3).standard_normal
    u, x, y = draw((200, 1)), np.zeros(2), []
    for now in u:
        y.append([x[0]])
        x = np.array([[0.7, 0.3], [-0.3, 0.6]]) @ x + np.array([1.0, 0.5]) * now
    linear = lddn.linear.subspace(lddn.data.Record({"u": u}, {"y": np.array(y)}), 2)
    start = lddn.initializers.FromLinear(linear)
    net = lddn.Network(models.bilinear({"u": 1}, {"y": 1}), key=jax.random.key(0), init=start)
    assert np.all(net.LW["state", "modulated"] == 0)
    same = lddn.Network(models.linear_state_space({"u": 1}, {"y": 1}), key=jax.random.key(0), init=start)
    found, expected = (lddn.predict(each, jnp.asarray(u))["y"] for each in (net, same))
    np.testing.assert_allclose(found - np.asarray(linear.biases()["y"])[None], expected, rtol=0, atol=1e-12)


def test_narma_l2_is_affine_in_the_newest_input():
    topology = models.narma_l2({"u": 1}, {"y": 1}, hidden=3, input_delays=(2, 3))
    net = lddn.Network(topology, key=jax.random.key(0), init="uniform")
    state = jax.tree.map(lambda held: held + 0.5, lddn.zero_state(topology))

    def after(newest):  # y(2), of which u(0) is the newest input
        u = jnp.asarray([[newest], [0.3], [0.1]])
        return float(lddn.predict(net, {"u": u, "measured_y": 0.2 * jnp.ones((3, 1))}, state)["y"][2, 0])

    assert abs(after(1.0) - after(0.0)) > 1e-3
    np.testing.assert_allclose(after(2.0) - after(1.0), after(1.0) - after(0.0), rtol=1e-12)


def test_the_loop_of_a_narma_l2_model_closes():
    net = lddn.Network(models.narma_l2({"u": 1}, {"y": 1}), init="zeros")
    assert lddn.close_loop(net, output="y", input="measured_y").topology.input_names == {"u"}


def test_adaline_is_the_linear_layer():
    assert models.adaline(IN, OUT, delays=(0, 1)) == models.fir(IN, OUT, delays=(0, 1))


def test_elman_is_a_recurrent_layer():
    assert models.elman(IN, OUT, hidden=3) == models.layer_recurrent(IN, OUT, hidden=(3,))


def test_nar_is_narx_without_inputs():
    assert models.nar(OUT, hidden=4, linear_path=True) == models.narx({}, OUT, hidden=4, linear_path=True)


def test_a_linear_path_reads_the_same_delays():
    topology = models.narx({"u": 1}, {"y": 1, "z": 1}, linear_path=True)
    sources = ("u", "measured_y", "measured_z")
    expected = {(to, source): (1, 2) for to in ("hidden", "y", "z") for source in sources}
    assert {pair: delays for pair, delays in topology.delays.items() if pair[1] in sources} == expected


def test_its_loop_closes():
    net = lddn.Network(models.narx({"u": 1}, {"y": 1}, linear_path=True), init="zeros")
    closed = lddn.close_loop(net, output="y", input="measured_y")
    assert closed.topology.input_names == {"u"}
    assert lddn.plan(closed.topology).blocks[0].chunk == 1


REFUSED = {
    "narx, a loop without delay": (
        lambda: models.narx(IN, OUT, feedback_delays=(0, 1)),
        r"narx: feedback_delays=\(0, 1\).*positive delays only: \(1,\)",
    ),
    "nar, a loop without delay": (lambda: models.nar(OUT, feedback_delays=(0,)), r"nar: feedback_delays=\(0,\)"),
    "jordan, a loop without delay": (
        lambda: models.jordan(IN, OUT, feedback_delays=(0, 2)),
        r"jordan: feedback_delays=\(0, 2\).*only: \(2,\)",
    ),
    "elman, a loop without delay": (lambda: models.elman(IN, OUT, delays=(0, 1)), r"elman: delays=\(0, 1\)"),
    "layer_recurrent, a loop without delay": (
        lambda: models.layer_recurrent(IN, OUT, delays=(0,)),
        r"layer_recurrent: delays=\(0,\)",
    ),
    "no hidden layer": (lambda: models.feedforward(IN, OUT, hidden=()), "no hidden layer.*models.fir"),
    "too few delays": (
        lambda: models.distributed_delay(IN, OUT, hidden=(3, 2)),
        r"2 tuples of delays were given for 2 hidden layers.*\(\(1, 2\), \(1, 2\), \(1, 2\)\)",
    ),
    "narma_l2, a loop without delay": (
        lambda: models.narma_l2({"u": 1}, OUT, feedback_delays=(0, 1)),
        r"narma_l2: feedback_delays=\(0, 1\)",
    ),
    "narma_l2, of two inputs": (
        lambda: models.narma_l2({"u": 1, "v": 1}, OUT),
        r"narma_l2: .*one input and one output of the same size.*narma_l2\(\{'u': 1\}",
    ),
    "narma_l2, of unequal sizes": (lambda: models.narma_l2(IN, OUT), "one input and one output of the same size"),
    "an output called state": (lambda: models.linear_state_space(IN, {"state": 1}), "'state' is used twice"),
    "an output called hidden": (lambda: models.time_delay(IN, {"hidden": 1}), "'hidden' is used twice"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(lddn.TopologyError, match=message):
        build()
