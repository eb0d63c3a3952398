"""Linearization of networks at operating points and along trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import FEW_CASES

import lddn_jax as lddn
from lddn_jax.data import MinMax, Standard
from lddn_jax.linear import LinearModel, OperatingPoint

METHODS = [lddn.BPTT(), lddn.SensitivityBPTT(), lddn.RTRL(), lddn.Autodiff(), lddn.BPTT(checkpoint=2)]
STEP = 1e-6  # of central differences


def packed(state):
    return np.concatenate([np.zeros(0), *(np.ravel(state[name]) for name in sorted(state))])


def unpacked(values, like):
    ends = np.cumsum([like[name].size for name in sorted(like)])
    pieces = [
        piece.reshape(like[name].shape) for name, piece in zip(sorted(like), np.split(values, ends), strict=False)
    ]
    return dict(zip(sorted(like), pieces, strict=True))


def by_differences(model, point):
    """A, B, C and D by central differences of one step, as it is computed for users."""
    topology = (model.net if isinstance(model, lddn.Scaled) else model).topology
    names, outputs = [i.name for i in topology.inputs], topology.outputs
    u0 = np.concatenate([np.zeros(0), *(point.inputs[name] for name in names)])
    x0 = packed(point.state)

    def after(x, u):
        ends = np.cumsum([point.inputs[name].size for name in names])
        sample = {name: jnp.asarray(part) for name, part in zip(names, np.split(u, ends), strict=False)}
        step = model.step if isinstance(model, lddn.Scaled) else lambda *args: lddn.step(model, *args)
        y, state = step(sample, {name: jnp.asarray(line) for name, line in unpacked(x, point.state).items()})
        return np.concatenate(
            [packed(jax.tree.map(np.asarray, dict(state))), *(np.asarray(y[name]) for name in outputs)]
        )

    rows = len(x0) + sum(y.size for y in point.outputs.values())

    def columns(along):
        moves = STEP * np.eye(len(x0) + len(u0))[:, along]
        found = [
            after(x0 + m[: len(x0)], u0 + m[len(x0) :]) - after(x0 - m[: len(x0)], u0 - m[len(x0) :]) for m in moves.T
        ]
        return np.array(found).reshape(len(found), rows).T / (2 * STEP)

    of_x, of_u = columns(slice(0, len(x0))), columns(slice(len(x0), None))
    return of_x[: len(x0)], of_u[: len(x0)], of_x[len(x0) :], of_u[len(x0) :]


def point_of(net, seed=0):
    """A point far from any equilibrium."""
    rng = np.random.default_rng(seed)
    inputs = {i.name: rng.normal(size=i.size) for i in net.topology.inputs}
    state = {name: rng.normal(size=np.shape(line)) for name, line in lddn.zero_state(net.topology).items()}
    outputs, _ = lddn.step(net, {name: jnp.asarray(u) for name, u in inputs.items()} or None, state)
    return OperatingPoint(inputs, state, {name: np.asarray(y) for name, y in outputs.items()})


def matrices(linear):
    return linear.A, linear.B, linear.C, linear.D


@FEW_CASES
def test_all_matrices_are_the_derivatives_of_a_step(case):
    net = lddn.Network(case.topology, key=jax.random.key(3), dtype="float64")
    point = point_of(net)
    for found, expected in zip(matrices(lddn.linearize(net, point)), by_differences(net, point), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_methods_agree(method):
    net = lddn.Network(
        lddn.models.narx({"u": 2}, {"y": 1, "z": 2}, hidden=3, input_delays=(0, 2)),
        key=jax.random.key(0),
        dtype="float64",
    )
    net = lddn.close_loop(net, output="y", input="measured_y")
    point = point_of(net)
    expected = lddn.linearize(net, point)
    for one, other in zip(matrices(lddn.linearize(net, point, method=method)), matrices(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("feedthrough", [False, True])
def test_a_linear_network_is_its_linear_model(feedthrough):
    rng = np.random.default_rng(1)
    A, D = np.array([[0.9, 0.2], [-0.3, 0.7]]), rng.normal(size=(2, 3)) * feedthrough
    B, C, none = rng.normal(size=(2, 3)), rng.normal(size=(2, 2)), np.zeros(3)
    given = LinearModel(A, B, C, D, {"u": 1, "v": 2}, {"y": 2}, none, none[:2], 0.1)
    topology = lddn.models.linear_state_space({"u": 1, "v": 2}, {"y": 2}, states=2, feedthrough=feedthrough)
    net = lddn.Network(topology, init=lddn.initializers.FromLinear(given), key=jax.random.key(0), dtype="float64")
    at = lddn.equilibrium(net, {"u": jnp.array([0.5]), "v": jnp.array([1.0, -1.0])})
    found = lddn.linearize(net, at, sample_time=0.1)
    w = np.linspace(0.01, 3, 20)
    np.testing.assert_allclose(found.frequency_response(w), given.frequency_response(w), rtol=1e-12)
    np.testing.assert_allclose(found.poles[:2], given.poles, rtol=1e-12)
    assert found.sample_time == 0.1
    assert (found.input_sizes, found.output_sizes) == (given.input_sizes, given.output_sizes)
    # In the equilibrium, the outputs are those of the gain at zero frequency.
    gain = given.frequency_response(np.zeros(1))[0].real
    np.testing.assert_allclose(found.output_offset, gain @ np.array([0.5, 1.0, -1.0]), rtol=1e-9)


@pytest.mark.parametrize("kind", [MinMax, Standard], ids=["MinMax", "Standard"])
def test_models_with_scalers_are_linearized_in_the_units_of_the_record(kind):
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 2}, hidden=3), key=jax.random.key(0), dtype="float64")
    rng = np.random.default_rng(0)
    data = lddn.Sequences(
        {"u": 5 + 3 * rng.normal(size=(50, 1)), "measured_y": rng.normal(size=(50, 2))}, 100 * rng.normal(size=(50, 2))
    )
    model = lddn.Scaled.fit(net, data, kind).close_loop("y", "measured_y")
    point = lddn.equilibrium(model, [6.0])
    found, expected = lddn.linearize(model, point), by_differences(model, point)
    assert found.input_offset.tolist() == pytest.approx([6.0])
    w = np.linspace(0.01, 3, 9)
    in_units = LinearModel(*expected, {"u": 1}, {"y": 2}, point.inputs["u"], point.outputs["y"])
    np.testing.assert_allclose(found.frequency_response(w), in_units.frequency_response(w), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(np.sort(np.abs(found.poles)), np.sort(np.abs(in_units.poles)), atol=1e-6)


def test_deviations_along_a_trajectory_follow_the_linear_models():
    net = lddn.Network(lddn.models.elman({"u": 1}, {"y": 1}, hidden=4), key=jax.random.key(0), dtype="float64")
    rng = np.random.default_rng(0)
    u, du = rng.normal(size=(2, 12, 1))
    points = OperatingPoint.along(net, u)
    models = lddn.linearize(net, points)
    y = np.asarray(lddn.predict(net, u)["y"])
    moved = np.asarray(lddn.predict(net, u + 1e-6 * du)["y"])
    x = np.zeros(models[0].states)
    for t, model in enumerate(models):
        np.testing.assert_allclose(points[t].outputs["y"], y[t], rtol=1e-12)
        np.testing.assert_allclose((moved[t] - y[t]) / 1e-6, model.C @ x + model.D @ du[t], atol=1e-5)
        x = model.A @ x + model.B @ du[t]
    assert [p.inputs["u"][0] for p in OperatingPoint.along(net, u, rows=[2, 5])] == [u[2, 0], u[5, 0]]


# --- equilibria -----------------------------------------------------------------------------------------------------


def scalar(feedback, drive=1.0, transfer="tanh"):
    """y(t) = f(feedback y(t−1) + drive u(t))."""
    topology = lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer("y", 1, transfer, bias=False)],
        [lddn.Connection("u", "y"), lddn.Connection("y", "y", (1,))],
        ["y"],
    )
    net = lddn.Network(topology, init="zeros", dtype="float64")
    return net.with_weights(IW={("y", "u"): [[[drive]]]}, LW={("y", "y"): [[[feedback]]]})


def test_the_network_stays_in_its_equilibrium():
    net = lddn.Network(
        lddn.models.layer_recurrent({"u": 2}, {"y": 1}, hidden=(3, 2)), key=jax.random.key(0), dtype="float64"
    )
    u = np.array([0.3, -0.2])
    at = lddn.equilibrium(net, u)
    y = np.asarray(lddn.predict(net, np.tile(u, (50, 1)), at.state)["y"])
    np.testing.assert_allclose(y, np.tile(at.outputs["y"], (50, 1)), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("guess", "expected"), [(0.0, 0.0), (2.0, 0.9575040240772687), (-2.0, -0.9575040240772687)])
def test_the_guess_decides_which_of_several_equilibria_is_found(guess, expected):
    """y = tanh(2 y) has three solutions, and that at 0 is not stable."""
    at = lddn.equilibrium(scalar(2.0), [0.0], guess={"y": [guess]})
    assert at.outputs["y"][0] == pytest.approx(expected, abs=1e-9)
    assert lddn.linearize(scalar(2.0), at).stable == (guess != 0)


def test_without_a_point_it_is_the_equilibrium_of_inputs_of_zero():
    assert lddn.linearize(scalar(0.5)).poles.tolist() == [0.5]


def test_networks_without_loops_and_without_inputs():
    fir = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 2)), key=jax.random.key(0), dtype="float64")
    found = lddn.linearize(fir, lddn.equilibrium(fir, [1.0]))
    z = np.exp(1j * 0.4)
    now, before = np.asarray(fir.IW["y", "u"])
    expected = now + before / z**2
    np.testing.assert_allclose(found.frequency_response(np.array([0.4]))[0], expected, rtol=1e-12)
    own = lddn.Topology([], [lddn.Layer("y", 1, "linear")], [lddn.Connection("y", "y", (1,))], ["y"])
    net = lddn.Network(own, init="zeros", dtype="float64").with_weights(LW={("y", "y"): [[[0.5]]]}, b={"y": [1.0]})
    assert lddn.equilibrium(net).outputs["y"].tolist() == [2.0]
    assert lddn.linearize(net).B.shape == (1, 0)


def test_the_bode_plot_takes_it():
    axes = lddn.plots.bode(lddn.linearize(scalar(0.5)))
    assert len(axes) == 2


# --- what is not possible -------------------------------------------------------------------------------------------


def test_an_integrator_has_no_equilibrium():
    with pytest.raises(lddn.LDDNError, match="integrates"):
        lddn.equilibrium(scalar(1.0, transfer="linear"), [1.0])


def test_a_committee_has_no_derivative():
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), scalar(0.5))
    for call in (lddn.linearize, lddn.equilibrium):
        with pytest.raises(lddn.LDDNError, match="this is a committee"):
            call(
                lddn.Scaled(lddn.Committee(members), {"u": MinMax.fit([[0.0], [1.0]]), "y": MinMax.fit([[0.0], [1.0]])})
            )


@pytest.mark.parametrize("method", [lddn.BPTT(truncation=3), lddn.FiniteDifference()], ids=lambda method: method.name)
def test_methods_that_are_not_exact(method):
    with pytest.raises(lddn.LDDNError, match="is not exact"):
        lddn.linearize(scalar(0.5), method=method)


@pytest.mark.parametrize(
    ("guess", "message"),
    [({"u": [0.0]}, "guess has 'u'; layers read through a delay"), ({"y": [1.0, 2.0]}, "needed is")],
)
def test_guesses_of_other_layers_or_sizes(guess, message):
    with pytest.raises(lddn.LDDNError, match=message):
        lddn.equilibrium(scalar(0.5), [0.0], guess=guess)


def test_a_trajectory_that_diverges():
    with pytest.raises(lddn.LDDNError, match="at step"):
        OperatingPoint.along(scalar(1e200, transfer="linear"), np.ones((6, 1)))
