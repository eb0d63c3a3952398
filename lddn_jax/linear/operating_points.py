"""Operating points of networks: equilibria by Newton's method, and points along a trajectory.

The delay state is constant in an equilibrium, and so is the output of every layer that is read through a delay. With a
these outputs, side by side, and F(a, u) those of the next step if all delay lines are constant,

    a = F(a, u)        Newton:  a ← a + λ (I − ∂F/∂a)⁻¹ (F(a, u) − a),   λ = 1, ½, ¼ … until the residual falls

Equilibria that are not stable are found, too.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lddn_jax.checks import expect
from lddn_jax.errors import LDDNError
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.linear.step_derivatives import after_one_step, step_derivatives
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.signals import MomentLike, SignalsLike, StateLike
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.delays import state_sizes, states_along
from lddn_jax.simulation.simulate import prepare, simulate
from lddn_jax.simulation.streaming import as_record

MOST_NEWTON_STEPS = 100
SMALLEST_SHARE_OF_A_STEP = 2.0**-30
Values = dict[str, Float[np.ndarray, " size=_"]]


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingPoint:
    """A point at which a network is linearized, in the units of the model.

    Attributes:
        inputs: u(t) by name.
        state: The delay state before step t, `(longest delay, size)` by source, oldest value first.
        outputs: y(t) by output layer.
    """

    inputs: Values
    state: dict[str, Float[np.ndarray, "longest_delay=_ size=_"]]
    outputs: Values

    @classmethod
    def along(
        cls, model: Network | Scaled, inputs: SignalsLike, state: StateLike = None, rows: Sequence[int] | None = None
    ) -> list["OperatingPoint"]:
        """Returns the points of a trajectory.

        Args:
            model: A network, or one with scalers.
            inputs: `(time, size)` by name, as in `lddn_jax.simulate`.
            state: The delay state before the first step; None for zeros.
            rows: Steps of the trajectory; None for all.

        Raises:
            ShapeError: If names or shapes do not match the topology.
            LDDNError: If a value is NaN or infinite, because the trajectory diverged.
        """
        net = network_of(model, "OperatingPoint.along(model, inputs)")
        scaled = model.scaled_inputs(inputs) if isinstance(model, Scaled) else inputs
        first = model.scaled_state(state) if isinstance(model, Scaled) else state
        signals, lines, steps = prepare(net, scaled, first, None, "OperatingPoint.along(model, inputs)")
        trajectory = simulate(net, signals, lines, steps=steps)
        before = {name: np.asarray(line) for name, line in states_along(lines, signals | trajectory.a).items()}
        found = []
        for row in range(steps) if rows is None else rows:
            values = {name: np.asarray(signal)[row] for name, signal in signals.items()}
            outputs = {name: np.asarray(a)[row] for name, a in trajectory.outputs.items()}
            state = {name: line[row] for name, line in before.items()}
            if not all(np.isfinite(x).all() for x in (*state.values(), *outputs.values())):
                raise LDDNError(f"OperatingPoint.along: the trajectory has NaN or infinite values at step {row}.")
            found.append(_in_units(model, values, state, outputs))
        return found


def equilibrium(
    model: Network | Scaled,
    inputs: MomentLike = None,
    *,
    guess: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
) -> OperatingPoint:
    """Returns an equilibrium for constant inputs, stable or not, by Newton's method.

    Args:
        model: A network, or one with scalers, in whose units everything is given and returned.
        inputs: Constant inputs, `(size,)` by name; a bare array if there is one input; None without inputs.
        guess: Outputs of layers that are read through a delay, `(size,)` by name, to start from; zeros in scaled units
            for those left out. It decides which of several equilibria is found.
        tolerance: Largest change of a layer's output in a step, in scaled units; None for 1e-10 in float64 and 1e-5 in
            float32.

    Raises:
        LDDNError: If none is found.
        ShapeError: If a name or shape does not match the topology.

    Example:
        >>> import lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")],
        ...     [lddn.Connection("u", "y"), lddn.Connection("y", "y", (1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> net = net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[0.5]]]})
        >>> equilibrium(net, [3.0]).outputs["y"].tolist()  # y = 0.5 y + 3
        [6.0]

    Khalil (2002), *Nonlinear Systems*, 3rd ed., section 1.2; Nocedal & Wright (2006), *Numerical Optimization*,
    section 11.1.
    """
    call = "equilibrium(model, inputs)"
    net = network_of(model, call)
    record = as_record(net, _scaled_moment(model, inputs))
    u = {name: np.asarray(signal, float)[0] for name, signal in record.items()}
    sizes = state_sizes(net.topology)
    layers = sorted(set(sizes) - net.topology.input_names)
    a = _first_guess(model, guess, layers, net)
    allowed = tolerance or (1e-10 if net.dtype == np.float64 else 1e-5)

    def evaluated(a: Values) -> tuple[dict, Float[np.ndarray, " elements"]]:
        state = {name: np.tile((a | u)[name], (longest, 1)) for name, (longest, _) in sizes.items()}
        after = after_one_step(net, u, state)
        return state, np.concatenate([np.zeros(0), *(after[name] - a[name] for name in layers)])

    state, residual = evaluated(a)
    for _ in range(MOST_NEWTON_STEPS):
        if np.abs(residual).max(initial=0.0) <= allowed:
            outputs = after_one_step(net, u, state)
            return _in_units(model, u, state, {name: outputs[name] for name in net.topology.outputs})
        derivatives = step_derivatives(BPTT(), net, u, state, layers)
        J = np.concatenate([derivatives.of_state[name].sum(axis=1) for name in layers], axis=1)
        try:
            whole = np.linalg.solve(np.eye(len(J)) - J, residual)
        except np.linalg.LinAlgError:
            break  # an integrator
        share = 1.0
        while share >= SMALLEST_SHARE_OF_A_STEP:
            tried = _moved(a, share * whole, layers)
            state_tried, residual_tried = evaluated(tried)
            if np.linalg.norm(residual_tried) < (1 - 1e-4 * share) * np.linalg.norm(residual):
                break
            share /= 2
        else:
            break
        a, state, residual = tried, state_tried, residual_tried
    raise LDDNError(
        f"{call}: no equilibrium was found; the last values change by {np.abs(residual).max():.3g} in a step, and "
        f"{allowed:.3g} is allowed. Start elsewhere, guess={{{layers[0]!r}: values}}; a network that integrates its "
        "input has none."
    )


def network_of(model: Any, call: str) -> Network:
    """Returns the network of a model; raises an LDDNError if it is a committee, or no model."""
    expect((Network, Scaled), "model", model, call, "a network, or a Scaled network")
    net = model.net if isinstance(model, Scaled) else model
    if not isinstance(net, Network):
        raise LDDNError(
            f"{call} takes one network, and this is a committee: the median of several has no derivative. Take one of "
            "them: model.with_net(model.net.member(0))."
        )
    check_network(net, call)
    return net


def in_scaled_units(model: Network | Scaled, point: OperatingPoint) -> tuple[Values, dict[str, np.ndarray]]:
    """Returns inputs and delay state of a point in the units of the network."""
    if not isinstance(model, Scaled):
        return point.inputs, point.state
    inputs = {name: np.asarray(model.scalers[name].apply(x), float) for name, x in point.inputs.items()}
    return inputs, {name: np.asarray(x, float) for name, x in (model.scaled_state(point.state) or {}).items()}


def _scaled_moment(model: Network | Scaled, inputs: MomentLike) -> MomentLike:
    if not isinstance(model, Scaled) or inputs is None:
        return inputs
    record = as_record(model.net, inputs)
    return {name: jnp.asarray(model.scalers[name].apply(signal[0])) for name, signal in record.items()}


def _first_guess(model: Network | Scaled, guess: Mapping[str, Any] | None, layers: list[str], net: Network) -> Values:
    given = dict(guess or {})
    unknown = sorted(set(given) - set(layers))
    if unknown:
        raise LDDNError(f"equilibrium: guess has {unknown[0]!r}; layers read through a delay are {layers}.")
    found = {}
    for name in layers:
        size = net.topology.sizes[name]
        value = np.asarray(given.get(name, np.zeros(size)), float)
        if value.shape != (size,):
            raise LDDNError(f"equilibrium: guess[{name!r}] has shape {value.shape}; needed is ({size},).")
        if isinstance(model, Scaled) and name in given and name in model.scalers:
            value = np.asarray(model.scalers[name].apply(value), float)
        found[name] = value
    return found


def _moved(a: Values, by: Float[np.ndarray, " elements"], layers: list[str]) -> Values:
    ends = dict(zip(layers, np.cumsum([a[name].size for name in layers]), strict=True))
    return {name: a[name] + by[ends[name] - a[name].size : ends[name]] for name in layers}


def _in_units(model: Network | Scaled, inputs: Values, state: dict[str, np.ndarray], outputs: Values) -> OperatingPoint:
    if not isinstance(model, Scaled):
        return OperatingPoint(inputs, state, outputs)

    given = {name: jnp.asarray(line) for name, line in state.items()}
    ends = model.in_units({name: y[None] for name, y in outputs.items()})
    return OperatingPoint(
        {name: np.asarray(model.scalers[name].invert(x), float) for name, x in inputs.items()},
        {name: np.asarray(line, float) for name, line in model.state_in_units(given).items()},
        {name: np.asarray(y, float)[0] for name, y in ends.items()},
    )
