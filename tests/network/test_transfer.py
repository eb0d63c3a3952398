"""Transfer functions: values against NumPy, slopes against the complex step and JAX, and functions of one's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import KINKED, SMOOTH, declare, registered, swish, swish_slope
from oracle import ALIASES, TRANSFER

import lddn_jax as lddn
from lddn_jax import transfer
from lddn_jax.errors import TopologyError

BUILT_IN = frozenset(transfer.names())  # before any test registers another
FORMULA = {name: formula for name, formula in TRANSFER.items() if not name.startswith("own_")}
ELEMENTWISE = sorted(name for name in FORMULA if name in BUILT_IN and transfer.get(name).elementwise)
POINTS = np.random.default_rng(0).uniform(-3, 3, (20, 3))
KINKS = np.array([-1.0, -0.0, 0.0, 1.0])


def functions(name):
    found = transfer.get(name)
    return found.function, lambda n: found.slope(n, found.function(n))


def test_every_function_is_in_the_tables():
    assert {*FORMULA, *ALIASES} == BUILT_IN
    assert sorted(SMOOTH + KINKED) == sorted(FORMULA)
    assert {*ELEMENTWISE} == {*ASYMPTOTES} - {"own_swish"}


@pytest.mark.parametrize("name", FORMULA)
def test_value(name):
    function, _ = functions(name)
    np.testing.assert_allclose(function(jnp.asarray(POINTS)), FORMULA[name](POINTS), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_value_at_kinks(name):
    function, _ = functions(name)
    np.testing.assert_allclose(function(jnp.asarray(KINKS)), FORMULA[name](KINKS), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slope_is_the_complex_step(name):
    _, slope = functions(name)
    expected = np.imag(FORMULA[name](POINTS + 1e-20j)) / 1e-20
    np.testing.assert_allclose(slope(jnp.asarray(POINTS)), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "points", [KINKS, POINTS.ravel(), np.array([-20.0, -8.0, 8.0, 20.0])], ids=["kinks", "random", "saturated"]
)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slope_is_that_of_automatic_differentiation(name, points):
    """At kinks too, and to the last digits where a function saturates, since methods are compared that closely."""
    function, slope = functions(name)
    expected = jax.jvp(function, (jnp.asarray(points),), (jnp.ones(points.shape),))[1]
    np.testing.assert_allclose(slope(jnp.asarray(points)), expected, rtol=1e-13, atol=1e-300)


def test_softmax_slope_is_a_matrix():
    _, slope = functions("softmax")
    step = 1e-20j * np.eye(3)  # into each net input in turn
    expected = np.imag(FORMULA["softmax"](POINTS[:, None, :] + step)) / 1e-20  # (point, from, to)
    np.testing.assert_allclose(slope(jnp.asarray(POINTS)), expected.swapaxes(-1, -2), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("batch", [(), (4,), (4, 5)], ids=str)
def test_softmax_slope_under_any_batch(batch):
    function, slope = functions("softmax")
    n = jnp.asarray(np.random.default_rng(1).normal(size=(*batch, 3)))
    expected = jax.jacfwd(function)(n.reshape(-1, 3)[0])
    np.testing.assert_allclose(slope(n).reshape(-1, 3, 3)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("lanes", [(5,), (2, 6)], ids=str)
@pytest.mark.parametrize("transpose", [False, True])
def test_times_slope(transpose, lanes):
    rng = np.random.default_rng(2)
    vector, matrix = rng.normal(size=(4, 3, *lanes)), rng.normal(size=(4, lanes[0], 3, 3))
    tanh, mixing = transfer.get("tanh"), transfer.get("softmax")
    expected = np.einsum("tbji,tjb...->tib..." if transpose else "tbij,tjb...->tib...", matrix, vector)
    found = mixing.times_slope(jnp.asarray(matrix), jnp.asarray(vector), transpose=transpose)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    diagonal = vector[..., 0] if len(lanes) > 1 else vector + 1
    found = tanh.times_slope(jnp.asarray(diagonal), jnp.asarray(vector), transpose=transpose)
    np.testing.assert_allclose(found, (diagonal[..., None] if len(lanes) > 1 else diagonal) * vector, rtol=1e-15)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_alias(alias, name):
    assert transfer.get(alias) is transfer.get(name)


@pytest.mark.parametrize("name", FORMULA)
def test_float32_stays_float32(name):
    function, slope = functions(name)
    n = jnp.asarray(POINTS, jnp.float32)
    assert function(n).dtype == slope(n).dtype == jnp.float32
    np.testing.assert_allclose(function(n), FORMULA[name](POINTS), rtol=1e-5, atol=1e-6)


# ---- far out --------------------------------------------------------------------------------------------------------

# Lines that a function approaches as n → −∞ and as n → ∞: (slope, intercept).
FLAT = (0, 0)
ASYMPTOTES = {
    "linear": ((1, 0), (1, 0)),
    "complement": ((-1, 1), (-1, 1)),
    "tanh": ((0, -1), (0, 1)),
    "logistic": (FLAT, (0, 1)),
    "relu": (FLAT, (1, 0)),
    "leaky_relu": ((0.01, 0), (1, 0)),
    "elu": ((0, -1), (1, 0)),
    "softplus": (FLAT, (1, 0)),
    "satlin": (FLAT, (0, 1)),
    "satlins": ((0, -1), (0, 1)),
    "radbas": (FLAT, FLAT),
    "elliotsig": ((0, -1), (0, 1)),
    "tribas": (FLAT, FLAT),
    "hardlim": (FLAT, (0, 1)),
    "own_swish": (FLAT, (1, 0)),
}
DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])


@functools.partial(jax.jit, static_argnums=(0, 1))
def four_ways(function, slope, n):
    """Value, hand-written slope, and JAX's slope forward and in reverse, of a function of one neuron or of a vector."""
    return function(n), slope(n, function(n)), jax.jacfwd(function)(n), jax.jacrev(function)(n)


def assert_right_far_out(asymptotes, function, slope, dtype):
    """Asserts that value and all slopes are finite from 0 to the largest number, agree, and approach the asymptotes."""
    limits = np.finfo(dtype)
    size = np.array([0, limits.tiny, 1, 20, 1e3, 1e9, limits.max / 2, limits.max], dtype)
    n = np.concatenate([-size, size])
    ways = jax.vmap(functools.partial(four_ways, function, slope))(jnp.asarray(n))
    value, by_hand, forward, reverse = (np.asarray(way) for way in ways)
    assert {way.dtype for way in ways} == {np.dtype(dtype)}
    assert all(np.isfinite(way).all() for way in (value, by_hand, forward, reverse))
    tolerance = {"rtol": 20 * limits.eps, "atol": 20 * limits.tiny}  # the next smaller numbers are rounded to zero
    np.testing.assert_allclose(by_hand, forward, **tolerance)
    np.testing.assert_allclose(reverse, forward, **tolerance)
    for far, (k, c) in zip((n <= -1e9, n >= 1e9), asymptotes, strict=True):
        np.testing.assert_allclose(value[far], np.asarray(k, dtype) * n[far] + c, rtol=2 * limits.eps, atol=2e-9)
        np.testing.assert_allclose(by_hand[far], k, rtol=2 * limits.eps, atol=2e-9)


@DTYPE
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_right_far_out(name, dtype):
    found = transfer.get(name)
    assert_right_far_out(ASYMPTOTES[name], found.function, found.slope, dtype)


@DTYPE
@pytest.mark.parametrize("slope", [None, swish_slope], ids=["automatic", "by hand"])
def test_a_registered_function_is_right_far_out(register, slope, dtype):
    found = register("another swish", swish, slope)
    assert_right_far_out(ASYMPTOTES["own_swish"], swish, found.slope, dtype)


MISTAKEN = {  # all of them right where |n| is small
    "flat beyond 8": lambda n, a: jnp.where(jnp.abs(n) < 8, swish_slope(n, a), 0),
    "one beyond 8": lambda n, a: jnp.where(jnp.abs(n) < 8, swish_slope(n, a), 1),
    "infinity times zero on the left": lambda n, a: 1 / (1 + jnp.exp(-n)) + n * jnp.exp(-n) / (1 + jnp.exp(-n)) ** 2,
    "infinity times zero at the largest numbers": lambda n, a: (
        jax.nn.sigmoid(n) + 2 * n * jax.nn.sigmoid(n) * jax.nn.sigmoid(-n) / 2
    ),
    "float64": lambda n, a: swish_slope(n, a).astype(jnp.float64),
}


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_a_slope_that_is_wrong_far_out_alone_is_noticed(register, mistake):
    found = register("another swish", swish, MISTAKEN[mistake])
    near = jnp.linspace(-3, 3, 7)
    np.testing.assert_allclose(found.slope(near, swish(near)), swish_slope(near, swish(near)), rtol=1e-14)
    with pytest.raises(AssertionError):
        assert_right_far_out(ASYMPTOTES["own_swish"], swish, found.slope, "float32")


@DTYPE
@pytest.mark.parametrize("kind", ["max", "tiny", "one large", "-max"])
@pytest.mark.parametrize("name", ["softmax", "own_sphere"])
def test_functions_that_mix_are_right_far_out(name, kind, dtype):
    limits = np.finfo(dtype)
    n, expected = {
        "max": ([limits.max, -limits.max, 0], {"softmax": [1, 0, 0], "own_sphere": [0.5**0.5, -(0.5**0.5), 0]}),
        "tiny": (
            [limits.tiny, -limits.tiny, 0],
            {"softmax": [1 / 3] * 3, "own_sphere": [limits.tiny, -limits.tiny, 0]},
        ),
        "one large": ([0, 1, 1e9], {"softmax": [0, 0, 1], "own_sphere": [0, 1e-9, 1]}),
        "-max": ([-limits.max] * 3, {"softmax": [1 / 3] * 3, "own_sphere": [-(3**-0.5)] * 3}),
    }[kind]
    registered()
    found = transfer.get(name)
    ways = four_ways(found.function, found.slope, jnp.asarray(n, dtype))
    value, by_hand, forward, reverse = (np.asarray(way) for way in ways)
    assert {way.dtype for way in ways} == {np.dtype(dtype)}
    np.testing.assert_allclose(value, expected[name], rtol=20 * limits.eps, atol=20 * limits.tiny)
    np.testing.assert_allclose(by_hand, forward, rtol=20 * limits.eps, atol=20 * limits.eps)
    np.testing.assert_allclose(reverse, forward, rtol=20 * limits.eps, atol=20 * limits.eps)


def test_unknown_name():
    with pytest.raises(
        TopologyError, match=r"no transfer function 'tansigg'. Did you mean 'tansig'.*lddn.transfer.register"
    ):
        transfer.get("tansigg")


def test_a_network_with_an_unknown_function_is_refused():
    with pytest.raises(TopologyError, match="no transfer function 'tahn'"):
        lddn.Network(declare("u:1", "y:1:tahn", "u>y", "y"), init="zeros")


# ---- functions of one's own -----------------------------------------------------------------------------------------


@pytest.fixture
def register(monkeypatch):
    """`transfer.register`, undone after the test."""
    monkeypatch.setattr(transfer, "_FUNCTIONS", dict(transfer._FUNCTIONS))
    return transfer.register


def test_register_with_a_slope(register):
    cube = register("a cube", lambda n: n**3, lambda n, a: 3 * n**2, active=(-1.0, 1.0))
    assert transfer.get("a cube") is cube
    assert "a cube" in transfer.names()
    assert cube.active == (-1.0, 1.0)
    np.testing.assert_allclose(cube.slope(jnp.asarray(POINTS), None), 3 * POINTS**2, rtol=1e-15)


def test_register_without_a_slope(register):
    found = register("a swish", lambda n: n * jax.nn.sigmoid(n))
    s = 1 / (1 + np.exp(-POINTS))
    np.testing.assert_allclose(found.slope(jnp.asarray(POINTS), None), s + POINTS * s * (1 - s), rtol=1e-12)


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)], ids=str)
def test_register_a_mixing_function_without_a_slope(register, batch):
    found = register("another softmax", lambda n: jax.nn.softmax(n, axis=-1), elementwise=False)
    n = jnp.asarray(np.random.default_rng(3).normal(size=(*batch, 3)))
    _, slope = functions("softmax")
    np.testing.assert_allclose(found.slope(n, found.function(n)), slope(n), rtol=1e-12)


def normalized(n):
    return n / jnp.sqrt(1 + jnp.sum(n * n, axis=-1, keepdims=True))


def normalized_slope(n, a):
    size, scale = n.shape[-1], jnp.sqrt(1 + jnp.sum(n * n, axis=-1))[..., None, None]
    delta = jnp.eye(size).reshape((1,) * (n.ndim - 1) + (size, size))
    return (delta - a[..., :, None] * a[..., None, :]) / scale


@pytest.mark.parametrize("name", ["normalized", "normalized_by_hand"])
def test_methods_agree_on_a_function_of_ones_own(register, name):
    register(name, normalized, normalized_slope if name.endswith("by_hand") else None, elementwise=False)
    topology = declare("u:1", f"h:3:{name} y:1:linear", "u>h@0,1 h>h@1 h>y", "y")
    net = lddn.Network(topology, key=jax.random.key(0), init="uniform")
    rng = np.random.default_rng(4)
    data = lddn.Sequences(rng.normal(size=(2, 5, 1)), rng.normal(size=(2, 5, 1)))
    loss = lddn.losses.SumSquaredError()
    gradients = [lddn.value_and_grad(loss, net, data, method)[1] for method in (lddn.BPTT(), lddn.Autodiff())]
    by_hand, automatic = (np.asarray(gradient.ravel()[0]) for gradient in gradients)
    np.testing.assert_allclose(by_hand, automatic, rtol=1e-11)


def test_check_gradients_shows_that_a_slope_is_not_the_derivative(register):
    register("tanh with a wrong slope", jnp.tanh, lambda n, a: 1 - a)
    topology = lddn.Topology(
        [lddn.Input("u", 1)], [lddn.Layer("y", 1, "tanh with a wrong slope")], [lddn.Connection("u", "y")], ["y"]
    )
    net, record = lddn.Network(topology, key=jax.random.key(0)), np.linspace(-1, 1, 5)[:, None]
    report = lddn.check_gradients(
        lddn.losses.SumSquaredError(), net, lddn.Sequences(record, record), (lddn.BPTT(), lddn.Autodiff())
    )
    assert "methods DISAGREE" in str(report)


def test_a_name_that_is_taken_is_refused(register):
    with pytest.raises(TopologyError, match=r"'tanh' is taken.*replace=True"):
        register("tanh", jnp.sin)


@pytest.mark.parametrize("replace", [False, True])
def test_an_alias_is_not_replaced(register, replace):
    with pytest.raises(TopologyError, match=r"'tansig' is taken.*alias"):
        register("tansig", jnp.sin, replace=replace)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("", jnp.sin), "non-empty string", id="empty name"),
        pytest.param((3, jnp.sin), "is 3; it must be", id="no name"),
        pytest.param(("sine", "sin"), r"function of 'sine' is 'sin', which is not callable.*register\(", id="function"),
        pytest.param(("sine", jnp.sin, "cos"), "slope of 'sine' is 'cos', which is not callable", id="slope"),
    ],
)
def test_what_cannot_be_registered(register, arguments, message):
    with pytest.raises(TopologyError, match=message):
        register(*arguments)


# One weight w = 1 from u = 1 to y, whose function is k·n: y = k, and with the target 0 the loss is k², its slope 2k².
SSE = lddn.losses.SumSquaredError()
RECORD = lddn.Sequences(np.ones((1, 1)), np.zeros((1, 1)))


def fitted(trainer):
    return lambda net: lddn.fit(net, RECORD, SSE, trainer, epochs=1).history["loss"][0]


def outputs_held(net):
    """Residuals of the user's, which call the package; that no parameter changes them ends the search at its start."""
    return jax.lax.stop_gradient(lddn.predict(net, RECORD.inputs)["y"])


CALLS = {
    "predict": (lambda net: lddn.predict(net, RECORD.inputs)["y"], lambda k: k),
    "simulate": (lambda net: lddn.simulate(net, RECORD.inputs).a["y"], lambda k: k),
    "differentiable": (lambda net: lddn.differentiable(lddn.BPTT())(net, RECORD.inputs)["y"], lambda k: k),
    "value": (lambda net: lddn.value_and_grad(SSE, net, RECORD)[0], lambda k: k**2),
    **{
        f"gradient by {method.name}": (
            lambda net, method=method: lddn.value_and_grad(SSE, net, RECORD, method)[1].IW["y", "u"],
            lambda k: 2 * k**2,
        )
        for method in (lddn.BPTT(), lddn.RTRL(), lddn.SensitivityBPTT(), lddn.Autodiff())
    },
    "pullback": (
        lambda net: lddn.BPTT().pullback(net, RECORD.inputs, None, {"y": np.ones((1, 1))})[0].IW["y", "u"],
        lambda k: k,
    ),
    "jacobian": (lambda net: lddn.jacobian(net, RECORD)["y"], lambda k: k),
    "gauss_newton": (lambda net: lddn.gauss_newton(net, RECORD, SSE).JTJ, lambda k: k**2),
    "fit": (fitted(lddn.Optax(optax.sgd(0.0))), lambda k: k**2),
    "fit by Levenberg-Marquardt": (fitted(lddn.LevenbergMarquardt()), lambda k: k**2),
    "adapt": (
        lambda net: lddn.adapt(net, RECORD, optax.sgd(0.0)).outputs["y"],
        lambda k: k,
    ),
    "levenberg_marquardt": (lambda net: lddn.levenberg_marquardt(outputs_held, net).value, lambda k: k**2),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_replaced_function_is_used_at_once(register, name):
    (call, expected), own = CALLS[name], f"to be replaced, {name}"
    register(own, lambda n: 2 * n, lambda n, a: 2 + 0 * n, replace=True)
    topology = declare("u:1", "y:1:linear", "u>y", "y")
    layer = lddn.Layer("y", 1, own, bias=False)
    net = lddn.Network(lddn.Topology(topology.inputs, [layer], topology.connections, ["y"]), init="zeros")
    net = net.with_weights(IW={("y", "u"): [[[1.0]]]})
    before = np.asarray(call(net)).item()
    register(own, lambda n: 3 * n, lambda n, a: 3 + 0 * n, replace=True)
    after = np.asarray(call(net)).item()
    assert (before, after) == (pytest.approx(expected(2), rel=1e-14), pytest.approx(expected(3), rel=1e-14))


def test_compiled_programs_of_others_outlive_a_replacement(register):
    """And what the package itself compiled before is found again only by its own calls."""
    traced = []
    theirs = jax.jit(lambda x: traced.append(x) or x + 1)
    theirs(1.0)
    register("to be replaced", jnp.sin)
    register("to be replaced", jnp.cos, replace=True)
    theirs(1.0)
    assert len(traced) == 1


def test_after_a_replacement_a_program_is_compiled_once(register):
    register("to be replaced", lambda n: traced.append(n) or 2 * n, replace=True)
    register("to be replaced", lambda n: traced.append(n) or 3 * n, replace=True)
    topology = lddn.Topology(
        [lddn.Input("u", 1)], [lddn.Layer("y", 1, "to be replaced")], [lddn.Connection("u", "y")], ["y"]
    )
    net, traced = lddn.Network(topology, init="zeros"), []
    for _ in range(2):
        lddn.predict(net, np.ones((4, 1)))
    assert len(traced) == 1


def test_a_function_of_the_users_own_is_compiled_anew_after_clear_cache(register):
    """What the docstring of `register` says."""
    register("to be replaced", lambda n: 2 * n, replace=True)
    topology = lddn.Topology(
        [lddn.Input("u", 1)], [lddn.Layer("y", 1, "to be replaced")], [lddn.Connection("u", "y")], ["y"]
    )
    net = lddn.Network(topology, init="zeros").with_weights(b={"y": [1.0]})
    theirs = jax.jit(lambda net: lddn.predict(net, np.zeros((1, 1)))["y"])
    before = theirs(net).item()
    register("to be replaced", lambda n: 3 * n, replace=True)
    theirs.clear_cache()
    assert (before, theirs(net).item()) == (2.0, 3.0)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_no_output_leaves_the_reach_of_a_function_and_some_come_close(name):
    found = transfer.get(name)
    n = jnp.concatenate([-jnp.geomspace(1e9, 1e-9, 300), jnp.zeros(1), jnp.geomspace(1e-9, 1e9, 300)])
    a = found.function(n if found.elementwise else jnp.stack([n, jnp.zeros_like(n)], axis=-1))
    low, high = found.reach
    assert low <= float(a.min())
    assert float(a.max()) <= high
    assert float(a.min()) < (low + 1e-6 if np.isfinite(low) else -1e6)
    assert float(a.max()) > (high - 1e-6 if np.isfinite(high) else 1e6)
