"""Linearization of a network at an operating point or along a trajectory.

With X(t) the delay state before step t, every number that it holds,

    X(t+1) = f(X(t), u(t)),  y(t) = g(X(t), u(t))
    A = ∂f/∂X,  B = ∂f/∂u,  C = ∂g/∂X,  D = ∂g/∂u        at X₀, u₀

describe small deviations x = X − X₀:

    x(t) = A x(t−1) + B (u(t−1) − u₀),    y(t) = y₀ + C x(t) + D (u(t) − u₀)

in an equilibrium. Along a trajectory they change with time, and x is the deviation from it.

The derivatives are those of a gradient method; what delay lines do is known: values move on by one place.

Khalil (2002), *Nonlinear Systems*, 3rd ed., section 4.3; Rugh (1996), *Linear System Theory*, 2nd ed., chapter 2.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np

from lddn_jax.checks import expect
from lddn_jax.errors import LDDNError
from lddn_jax.gradients.accuracy import Exact
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.method import AbstractGradient, check_method
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.operating_points import OperatingPoint, equilibrium, in_scaled_units, network_of
from lddn_jax.linear.pieces import columns_of_signals
from lddn_jax.linear.step_derivatives import step_derivatives
from lddn_jax.network.network import Network
from lddn_jax.prediction.scaled import Scaled

LINEARIZE_CALL = "linearize(model, at=point)"


@overload
def linearize(
    model: Network | Scaled,
    at: OperatingPoint | None = None,
    *,
    method: AbstractGradient | None = None,
    sample_time: float | None = None,
) -> LinearModel: ...
@overload
def linearize(
    model: Network | Scaled,
    at: Sequence[OperatingPoint],
    *,
    method: AbstractGradient | None = None,
    sample_time: float | None = None,
) -> list[LinearModel]: ...
def linearize(
    model: Network | Scaled,
    at: OperatingPoint | Sequence[OperatingPoint] | None = None,
    *,
    method: AbstractGradient | None = None,
    sample_time: float | None = None,
) -> LinearModel | list[LinearModel]:
    """Returns A, B, C and D of a network at an operating point, as a linear model for `lddn_jax.plots.bode` and others.

    Args:
        model: A network, or one with scalers; then inputs and outputs are in the units of the record.
        at: An operating point, such as `lddn_jax.equilibrium(model, inputs)`, or a list of them, such as
            `lddn_jax.linear.OperatingPoint.along(model, inputs)`; None for the equilibrium of inputs that are zero.
        method: An exact gradient method; `BPTT()` if None.
        sample_time: Sampling interval in seconds, for the model's poles and plots; None if unknown.

    Returns:
        The linear model; for a list of points, one of each.

    Raises:
        LDDNError: If the model is a committee, or the method is not exact.

    Example:
        >>> import lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "tanh")],
        ...     [lddn.Connection("u", "y"), lddn.Connection("y", "y", (1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> net = net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[0.5]]]})
        >>> lddn.linearize(net).poles.tolist()  # at y = 0, where the slope of tanh is 1
        [(0.5+0j)]
    """
    method = BPTT() if method is None else method
    check_method(method, LINEARIZE_CALL)
    if not isinstance(method.accuracy, Exact):
        raise LDDNError(f"linearize: {method.name} is not exact. Pass method=lddn.BPTT() or another exact method.")
    net = network_of(model, LINEARIZE_CALL)
    if at is None:
        sizes = {i.name: i.size for i in net.topology.inputs}
        at = equilibrium(model, {name: np.zeros(size) for name, size in sizes.items()} or None)
    if isinstance(at, OperatingPoint):
        return _at(model, at, method, sample_time)
    for point in at:
        expect(
            OperatingPoint, "at", point, LINEARIZE_CALL, "an operating point, such as lddn.equilibrium(model, inputs)"
        )
    return [_at(model, point, method, sample_time) for point in at]


def _at(
    model: Network | Scaled, point: OperatingPoint, method: AbstractGradient, sample_time: float | None
) -> LinearModel:
    net = network_of(model, LINEARIZE_CALL)
    inputs, state = in_scaled_units(model, point)
    topology, sizes, lines = net.topology, net.topology.sizes, sorted(state)
    names, outputs = [i.name for i in topology.inputs], list(topology.outputs)
    layers = sorted({*outputs, *lines} - topology.input_names)
    derivatives = step_derivatives(method, net, inputs, state, layers)
    rows = columns_of_signals({name: sizes[name] for name in layers})
    places = columns_of_signals({name: state[name].size for name in lines})
    columns = columns_of_signals({name: sizes[name] for name in names})
    n, k = sum(state[name].size for name in lines), sum(sizes[name] for name in names)

    def of_state(name):
        of_layer = [derivatives.of_state[line][rows[name]] for line in lines]
        return np.concatenate([np.zeros((sizes[name], 0)), *(d.reshape(len(d), -1) for d in of_layer)], axis=1)

    def of_inputs(name):
        found = [derivatives.of_inputs[input][rows[name]] for input in names]
        return np.concatenate([np.zeros((sizes[name], 0)), *found], axis=1)

    A, B = np.zeros((n, n)), np.zeros((n, k))
    for name in lines:
        at, size = places[name], sizes[name]
        A[at, at] = np.eye(state[name].size, k=size)  # oldest first: each value becomes the next older one
        newest = slice(at.stop - size, at.stop)
        if name in columns:
            B[newest, columns[name]] = np.eye(size)
        else:
            A[newest], B[newest] = of_state(name), of_inputs(name)
    C = np.concatenate([of_state(name) for name in outputs])
    D = np.concatenate([of_inputs(name) for name in outputs])
    u_scale, y_scale = (_scales(model, given, sizes) for given in (names, outputs))
    return LinearModel(
        A,
        B / u_scale,
        y_scale[:, None] * C,
        y_scale[:, None] * D / u_scale,
        {name: sizes[name] for name in names},
        {name: sizes[name] for name in outputs},
        np.concatenate([np.zeros(0), *(point.inputs[name] for name in names)]),
        np.concatenate([point.outputs[name] for name in outputs]),
        sample_time,
    )


def _scales(model: Network | Scaled, names: Sequence[str], sizes: dict[str, int]) -> np.ndarray:
    """How much of a unit of the record a scaled unit is, for each element."""
    each = [
        np.asarray(model.scalers[name].error_scale(), float) if isinstance(model, Scaled) else np.ones(sizes[name])
        for name in names
    ]
    return np.concatenate([np.zeros(0), *each])
