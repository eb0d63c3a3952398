"""Derivatives of one time step with respect to inputs and delay state, by a gradient method."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lddn_jax.gradients.method import AbstractGradient, pulled_back
from lddn_jax.network.network import Network, assemble
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals
from lddn_jax.simulation.delays import DelayState, inputs_as_state
from lddn_jax.simulation.simulate import simulate


@dataclasses.dataclass(frozen=True, eq=False)
class StepDerivatives:
    """Derivatives of the outputs a(t) of some layers, side by side.

    Attributes:
        of_state: ∂a(t)/∂state by source.
        of_inputs: ∂a(t)/∂u(t) by input.
    """

    of_state: dict[str, Float[np.ndarray, "elements longest_delay=_ size=_"]]
    of_inputs: dict[str, Float[np.ndarray, "elements size=_"]]


def step_derivatives(
    method: AbstractGradient,
    net: Network,
    inputs: Mapping[str, Float[np.ndarray, " size=_"]],
    state: Mapping[str, Float[np.ndarray, "longest_delay=_ size=_"]],
    layers: Sequence[str],
) -> StepDerivatives:
    """Returns the derivatives of one step, by one pullback for each element of the layers.

    Args:
        method: An exact gradient method.
        net: The network.
        inputs: u(t) by name.
        state: The delay state before the step.
        layers: Names of the layers.
    """
    found = _derivatives(method, net, *_as_arrays(net, inputs, state), layers=tuple(layers))
    lines = {name: np.asarray(value, float) for name, value in found.items()}
    rows, sizes = sum(net.topology.sizes[name] for name in layers), net.topology.sizes
    held = {name: len(line) for name, line in state.items()}
    of_inputs = {
        name: lines[name][:, held.get(name, 0)] if name in lines else np.zeros((rows, sizes[name])) for name in inputs
    }
    return StepDerivatives({name: lines[name][:, :count] for name, count in held.items()}, of_inputs)


def after_one_step(
    net: Network,
    inputs: Mapping[str, Float[np.ndarray, " size=_"]],
    state: Mapping[str, Float[np.ndarray, "longest_delay=_ size=_"]],
) -> dict[str, Float[np.ndarray, " size=_"]]:
    """Returns the outputs a(t) of all layers."""
    trajectory = simulate(net, *_as_arrays(net, inputs, state), steps=1)
    return {name: np.asarray(a, float)[0] for name, a in trajectory.a.items()}


def _as_arrays(net: Network, inputs: Mapping, state: Mapping) -> tuple[Signals, DelayState]:
    signals = {name: jnp.asarray(np.asarray(value)[None], net.dtype) for name, value in inputs.items()}
    return signals, {name: jnp.asarray(line, net.dtype) for name, line in state.items()}


@up_to_date
@jax.jit(static_argnames="layers")
def _derivatives(
    method: AbstractGradient, net: Network, inputs: Signals, state: DelayState, layers: tuple[str, ...]
) -> dict[str, Float[Array, "elements _ size=_"]]:
    """By source, oldest value first; the line of an input ends with that of the step itself."""
    moved, lines, signals = net.topology, state, inputs
    if inputs:
        moved, lines, signals = inputs_as_state(net.topology, inputs, state)
    longer = assemble(moved, net.IW, net.LW, net.b)
    done = method.linearize(longer, signals, lines, 1)
    sizes = net.topology.sizes
    ones = np.eye(sum(sizes[name] for name in layers))
    ends = dict(zip(layers, np.cumsum([sizes[name] for name in layers]).tolist(), strict=True))
    cotangents = {name: jnp.asarray(ones[:, None, ends[name] - sizes[name] : ends[name]], net.dtype) for name in layers}
    return jax.vmap(lambda each: pulled_back(done, each, longer, lines, method.name)[1])(cotangents)
