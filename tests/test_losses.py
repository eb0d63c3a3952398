"""Losses: values against NumPy, weights, missing targets, weight decay, residuals, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.errors import DataError, LDDNError, ShapeError

RNG = np.random.default_rng(0)
SHAPES = {"y": (2, 5, 3), "z": (2, 5, 1)}
OUTPUTS = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
TARGETS = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
PROBABLE = {name: np.exp(a) / np.exp(a).sum(axis=-1, keepdims=True) for name, a in OUTPUTS.items()}
GAPS = {"y": TARGETS["y"].copy(), "z": TARGETS["z"].copy()}
GAPS["y"][0, 2, 1] = GAPS["y"][1, 4] = GAPS["z"][1, 0] = np.nan


def huber(e, delta=0.7):
    return np.where(np.abs(e) <= delta, e**2 / 2, delta * (np.abs(e) - delta / 2))


# loss, its error of one element, whether it divides by the count
LOSSES = {
    "SumSquaredError": (losses.SumSquaredError, np.square, False),
    "MeanSquaredError": (losses.MeanSquaredError, np.square, True),
    "MeanAbsoluteError": (losses.MeanAbsoluteError, np.abs, True),
    "Huber": (lambda **options: losses.Huber(delta=0.7, **options), huber, True),
}
WEIGHTS = {
    "none": None,
    "one number": 2.5,
    "by element": {"y": np.array([1.0, 0.0, 3.0]), "z": np.array([2.0])},
    "by time": np.linspace(0, 1, 5)[:, None],
    "by sequence": np.array([1.0, 0.25])[:, None, None],
    "by everything": {name: np.random.default_rng(1).uniform(size=shape) for name, shape in SHAPES.items()},
}
FACTORS = {"no factors": {}, "factors": {"y": 0.5, "z": 3.0}, "one factor": {"z": 2.0}}


def on_device(signals):
    return {name: jnp.asarray(signal) for name, signal in signals.items()}


def by_output(weights):
    return [weights[name] if isinstance(weights, dict) else 1.0 if weights is None else weights for name in SHAPES]


def expected(error, mean, outputs, targets, weights=None, factors=None):
    total, count = 0.0, 0
    for name, output in outputs.items():
        weight = weights[name] if isinstance(weights, dict) else 1.0 if weights is None else weights
        terms = (factors or {}).get(name, 1.0) * weight * error(targets[name] - output)
        total += np.nansum(np.broadcast_to(terms, output.shape))
        count += np.sum(~np.isnan(targets[name]) & (np.broadcast_to(weight, output.shape) > 0))
    return total / count if mean else total


@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS)
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(("loss", "error", "mean"), LOSSES.values(), ids=LOSSES)
def test_value(loss, error, mean, weights, factors):
    value = loss(output_weights=factors)(on_device(OUTPUTS), on_device(TARGETS), weights)
    assert value.shape == ()
    np.testing.assert_allclose(value, expected(error, mean, OUTPUTS, TARGETS, weights, factors), rtol=1e-13)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(("loss", "error", "mean"), LOSSES.values(), ids=LOSSES)
def test_missing_targets_are_dont_cares(loss, error, mean, weights):
    """They add nothing to the value, are not counted, and have a gradient of zero."""
    masked = loss(missing="mask")
    value, gradient = jax.value_and_grad(masked)(on_device(OUTPUTS), on_device(GAPS), weights)
    np.testing.assert_allclose(value, expected(error, mean, OUTPUTS, GAPS, weights), rtol=1e-13)
    filled = {name: np.where(np.isnan(target), OUTPUTS[name], target) for name, target in GAPS.items()}
    both = [
        (np.broadcast_to(w, t.shape) > 0, ~np.isnan(t)) for w, t in zip(by_output(weights), GAPS.values(), strict=True)
    ]
    share = sum(np.sum(w & t) for w, t in both) / sum(np.sum(w) for w, _ in both) if mean else 1.0  # that are counted
    whole = jax.grad(masked)(on_device(OUTPUTS), on_device(filled), weights)
    for name, target in GAPS.items():
        assert np.isfinite(gradient[name]).all()
        np.testing.assert_array_equal(gradient[name][np.isnan(target)], 0.0)
        np.testing.assert_allclose(gradient[name], np.asarray(whole[name]) / share, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("loss", "error", "mean"), LOSSES.values(), ids=LOSSES)
def test_nothing_known_is_no_loss(loss, error, mean):
    nothing = {"y": jnp.full(SHAPES["y"], jnp.nan)}
    value, gradient = jax.value_and_grad(loss(missing="mask"))({"y": jnp.asarray(OUTPUTS["y"])}, nothing)
    assert float(value) == 0.0
    np.testing.assert_array_equal(gradient["y"], 0.0)


@pytest.mark.parametrize(
    "loss", [*(entry[0] for entry in LOSSES.values()), losses.CrossEntropy], ids=[*LOSSES, "CrossEntropy"]
)
def test_a_missing_target_is_an_error_that_says_where(loss):
    with pytest.raises(DataError, match=r"target 'y' is NaN at sequence \(0,\), time 2, element 1.*missing=\"mask\""):
        loss()(on_device(PROBABLE), on_device(GAPS))


def test_a_missing_target_of_a_single_sequence():
    with pytest.raises(DataError, match="target 'z' is NaN at time 0, element 0"):
        losses.SumSquaredError()({"z": jnp.zeros((5, 1))}, {"z": jnp.asarray(GAPS["z"][1])})


def test_a_missing_target_is_never_masked_unasked():
    """Under jit its place is not known any more, but the value tells."""
    assert jnp.isnan(jax.jit(losses.SumSquaredError())(on_device(OUTPUTS), on_device(GAPS)))


def test_value_and_grad_and_check_of_missing_targets():
    net = lddn.Network(declare("u:1", "y:1:linear", "u>y", "y"), init="zeros")
    data = lddn.Sequences(jnp.ones((4, 1)), jnp.array([[1.0], [2.0], [jnp.nan], [4.0]]))
    with pytest.raises(DataError, match="target 'y' is NaN at time 2, element 0"):
        lddn.value_and_grad(losses.MeanSquaredError(), net, data)
    value, gradient = lddn.value_and_grad(losses.MeanSquaredError(missing="mask"), net, data)
    np.testing.assert_allclose(value, (1 + 4 + 16) / 3)
    np.testing.assert_allclose(gradient.b["y"], [-2 * (1 + 2 + 4) / 3])


# ---- kinks ----------------------------------------------------------------------------------------------------------


def test_the_absolute_error_has_slope_zero_at_zero():
    zero = {"y": jnp.zeros((1, 1))}
    assert float(jax.grad(losses.MeanAbsoluteError())(zero, zero)["y"][0, 0]) == 0.0


@pytest.mark.parametrize("e", [-0.7, 0.0, 0.7])
def test_huber_is_smooth(e):
    slope = jax.grad(losses.Huber(delta=0.7))({"y": jnp.zeros((1, 1))}, {"y": jnp.full((1, 1), e)})["y"][0, 0]
    np.testing.assert_allclose(slope, -e)


# ---- cross-entropy --------------------------------------------------------------------------------------------------

LABELS = {name: np.eye(shape[-1])[RNG.integers(shape[-1], size=shape[:-1])] for name, shape in SHAPES.items()}


@pytest.mark.parametrize("targets", [LABELS, {n: PROBABLE[n][::-1] for n in PROBABLE}], ids=["one-hot", "soft"])
def test_cross_entropy_of_logits_is_optax(targets):
    name = "y"
    value = losses.CrossEntropy(logits=True)({name: jnp.asarray(OUTPUTS[name])}, {name: jnp.asarray(targets[name])})
    each = optax.softmax_cross_entropy(jnp.asarray(OUTPUTS[name]), jnp.asarray(targets[name]))
    np.testing.assert_allclose(value, each.mean(), rtol=1e-13)


def test_cross_entropy_of_probabilities_is_that_of_their_logits():
    logits = losses.CrossEntropy(logits=True)(on_device(OUTPUTS), on_device(LABELS))
    probabilities = losses.CrossEntropy()(on_device(PROBABLE), on_device(LABELS))
    np.testing.assert_allclose(probabilities, logits, rtol=1e-13)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_cross_entropy(weights):
    """Averaged over the vectors without a gap: one element missing takes its vector out."""
    targets = {name: np.where(np.isnan(GAPS[name]), np.nan, LABELS[name]) for name in LABELS}
    loss = losses.CrossEntropy(missing="mask", output_weights={"y": 0.5})
    value, gradient = jax.value_and_grad(loss)(on_device(PROBABLE), on_device(targets), weights)
    total, count = 0.0, 0
    for name, target in targets.items():
        weight = weights[name] if isinstance(weights, dict) else 1.0 if weights is None else weights
        terms = -{"y": 0.5, "z": 1.0}[name] * np.broadcast_to(weight, target.shape) * target * np.log(PROBABLE[name])
        whole = ~np.isnan(target).any(axis=-1) & (np.broadcast_to(weight, target.shape) > 0).any(axis=-1)
        total, count = total + terms[whole].sum(), count + whole.sum()
        np.testing.assert_array_equal(gradient[name][~whole], 0.0)
        assert np.isfinite(gradient[name]).all()
    np.testing.assert_allclose(value, total / count, rtol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("logits", [False, True])
def test_cross_entropy_of_certainty_is_finite(logits, dtype):
    outputs = {"y": jnp.asarray([[[1e3, -1e3]], [[-1e3, 1e3]]] if logits else [[[1, 0]], [[0, 1]]], dtype)}
    targets = {"y": jnp.asarray([[[1, 0]], [[1, 0]]], dtype)}
    value, gradient = jax.value_and_grad(losses.CrossEntropy(logits=logits))(outputs, targets)
    assert jnp.isfinite(value)
    assert float(value) > 10
    assert jnp.isfinite(gradient["y"]).all()


# ---- residuals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("loss", [losses.SumSquaredError, losses.MeanSquaredError], ids=lambda loss: loss.__name__)
def test_residuals(loss, weights):
    loss = loss(missing="mask", output_weights={"y": 2.0})
    outputs, targets = on_device(OUTPUTS), on_device(GAPS)
    residuals = loss.residuals(outputs, targets, weights)
    assert {name: r.shape for name, r in residuals.items()} == SHAPES
    both = zip(by_output(weights), GAPS.values(), strict=True)
    counted = sum(np.sum((np.broadcast_to(weight, target.shape) > 0) & ~np.isnan(target)) for weight, target in both)
    count = float(counted) if isinstance(loss, losses.MeanSquaredError) else 1.0
    total = sum(float(jnp.sum(r * r)) for r in residuals.values())
    np.testing.assert_allclose(total, count * loss(outputs, targets, weights), rtol=1e-13)
    signs = {name: np.sign(np.nan_to_num(GAPS[name] - OUTPUTS[name])) for name in SHAPES}
    assert all((np.asarray(r) * signs[name] >= 0).all() for name, r in residuals.items())  # target − output


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("loss", [losses.SumSquaredError, losses.MeanSquaredError], ids=lambda loss: loss.__name__)
def test_factors_and_residuals_give_the_loss(loss, weights):
    """F = factor · Σ r² + factor' · Σ x²: what Levenberg-Marquardt makes small is the loss."""
    loss = loss(missing="mask", output_weights={"y": 2.0}, regularization=0.3)
    net = lddn.Network(declare("u:1", "y:3:tanh z:1:linear", "u>y y>z", "y z"), key=jax.random.key(0))
    outputs, targets = on_device(OUTPUTS), on_device(GAPS)
    factor, decay = loss.factors(targets, net.parameter_count, weights)
    squares = sum(float(jnp.sum(r * r)) for r in loss.residuals(outputs, targets, weights).values())
    found = factor * squares + decay * jnp.sum(net.ravel()[0] ** 2)
    np.testing.assert_allclose(found, loss.value(net, outputs, targets, weights), rtol=1e-13)


def test_only_least_squares_has_residuals():
    assert {name for name, (loss, *_) in LOSSES.items() if isinstance(loss(), losses.AbstractLeastSquares)} == {
        "SumSquaredError",
        "MeanSquaredError",
    }


# ---- weight decay ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "mean"),
    [(losses.SumSquaredError, False), (losses.MeanSquaredError, True), (losses.MeanAbsoluteError, True)],
)
def test_regularization(loss, mean):
    net = lddn.Network(declare("u:1", "y:3:tanh z:1:linear", "u>y y>z", "y z"), key=jax.random.key(0))
    outputs, targets = on_device(OUTPUTS), on_device(TARGETS)
    flat = np.asarray(net.ravel()[0])
    decay = np.mean(flat**2) if mean else np.sum(flat**2)
    plain = float(loss().value(net, outputs, targets))
    assert plain == float(loss()(outputs, targets))
    found = loss(regularization=0.3).value(net, outputs, targets)
    np.testing.assert_allclose(found, 0.7 * plain + 0.3 * decay, rtol=1e-13)
    slope = jax.grad(lambda net: loss(regularization=0.3).value(net, outputs, targets))(net).ravel()[0]
    np.testing.assert_allclose(slope, 0.3 * 2 * flat / (flat.size if mean else 1), rtol=1e-13)


# ---- dtypes and errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "error", "mean"), LOSSES.values(), ids=LOSSES)
def test_the_outputs_dtype_counts(loss, error, mean):
    outputs = {name: jnp.asarray(output, jnp.float32) for name, output in OUTPUTS.items()}
    value = loss(output_weights={"y": 2.0})(outputs, on_device(TARGETS), np.ones((5, 1)))
    assert value.dtype == jnp.float32


def test_losses_are_static_data():
    options = {"missing": "mask", "output_weights": {"y": 2.0}, "regularization": 0.1}
    first, second = losses.MeanSquaredError(**options), losses.MeanSquaredError(**options)
    assert first == second
    assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(second))
    assert jax.tree.leaves(first) == []


REFUSED = {
    "missing": (lambda: losses.SumSquaredError(missing="ignore"), LDDNError, "'ignore'.*missing=\"mask\""),
    "regularization": (lambda: losses.SumSquaredError(regularization=1.0), LDDNError, r"1.0 must lie in \[0, 1\)"),
    "delta": (lambda: losses.Huber(delta=0.0), LDDNError, "delta=0.0.*positive"),
    "output_weights that is a number": (
        lambda: losses.SumSquaredError(output_weights=2.0),
        LDDNError,
        r'output_weights=2.0.*output_weights=\{"y": 2.0\}',
    ),
    "negative output weight": (
        lambda: losses.SumSquaredError(output_weights={"y": -1.0}),
        LDDNError,
        "'y': -1.0.*not negative",
    ),
    "output weight of nothing": (
        lambda: losses.SumSquaredError(output_weights={"x": 1.0})(on_device(OUTPUTS), on_device(TARGETS)),
        ShapeError,
        r"output_weights names 'x', but the outputs are \['y', 'z'\]",
    ),
    "missing target": (
        lambda: losses.SumSquaredError()(on_device(OUTPUTS), {"y": jnp.asarray(TARGETS["y"])}),
        ShapeError,
        "target 'z' is missing",
    ),
    "misspelt target": (
        lambda: losses.SumSquaredError()(on_device(OUTPUTS), on_device(TARGETS | {"yy": TARGETS["y"]})),
        ShapeError,
        "target 'yy' was given.*Did you mean 'y'?",
    ),
    "target of another shape": (
        lambda: losses.SumSquaredError()({"y": jnp.zeros((2, 5, 1))}, {"y": jnp.zeros((2, 6, 1))}),
        ShapeError,
        r"target 'y' has shape \(2, 6, 1\), but the output has \(2, 5, 1\)",
    ),
    "target that would broadcast": (
        lambda: losses.SumSquaredError().residuals({"y": jnp.zeros((2, 5, 1))}, {"y": jnp.zeros((1, 5, 1))}),
        ShapeError,
        r"target 'y' has shape \(1, 5, 1\)",
    ),
    "weights of another shape": (
        lambda: losses.SumSquaredError()(on_device(OUTPUTS), on_device(TARGETS), np.ones(4)),
        ShapeError,
        r"error weights of 'y' have shape \(4,\); they must broadcast to \(2, 5, 3\)",
    ),
    "weights larger than the output": (
        lambda: losses.SumSquaredError()({"z": jnp.zeros((5, 1))}, {"z": jnp.zeros((5, 1))}, np.ones((2, 5, 1))),
        ShapeError,
        r"error weights of 'z' have shape \(2, 5, 1\)",
    ),
    "weights of one output only": (
        lambda: losses.SumSquaredError()(on_device(OUTPUTS), on_device(TARGETS), {"y": 1.0}),
        ShapeError,
        "error weight 'z' is missing",
    ),
    "negative weights": (
        lambda: losses.SumSquaredError()(on_device(OUTPUTS), on_device(TARGETS), -1.0),
        DataError,
        "error weights of 'y' are negative",
    ),
    "outputs without names": (
        lambda: losses.SumSquaredError()(jnp.zeros((5, 1)), jnp.zeros((5, 1))),
        ShapeError,
        r"dict by output layer.*predict\(net, inputs\)",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("build", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("name", ["AbstractLoss", "AbstractElementwise", "AbstractLeastSquares"])
def test_an_abstract_loss_is_never_made(name):
    with pytest.raises(TypeError, match="abstract"):
        getattr(losses, name)()


def test_a_loss_that_lacks_a_part_is_never_made():
    with pytest.raises(TypeError, match="error"):
        type("Quartic", (losses.AbstractElementwise,), {})()


def test_a_loss_of_ones_own():
    class Quartic(losses.AbstractElementwise):
        def error(self, e):
            return e**4

    outputs, targets = ({name: jnp.asarray(a) for name, a in signals.items()} for signals in (OUTPUTS, GAPS))
    found = Quartic(missing="mask")(outputs, targets, 2.0)
    errors = np.concatenate([(GAPS[name] - OUTPUTS[name]).ravel() for name in SHAPES])
    np.testing.assert_allclose(found, 2 * np.nanmean(errors**4), rtol=1e-14)
