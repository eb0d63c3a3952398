"""Records as networks take them: inputs and targets with the delay state that each starts from."""

import logging
import math
import operator
from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from lddn_jax.delays import cut, state_sizes
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.plan import plan
from lddn_jax.signals import as_signals, first_nan, real
from lddn_jax.topology import Topology

_logger = logging.getLogger("lddn_jax")


def _real(kind: str, given: Any) -> Any:
    if isinstance(given, Mapping):
        return {name: real(f"{kind} {name!r}", signal) for name, signal in given.items()}
    return None if given is None else real(kind, given)


class Sequences(eqx.Module):
    """Inputs and targets of one or many sequences of one length.

    Args:
        inputs: `(*batch, time, size)` by input name; a bare array where the network has one input; None or `{}` for a
            network without inputs.
        targets: `(*batch, time, size)` by output layer, or a bare array; NaN where missing.
        state: Delay state each sequence starts from, `(*batch, longest delay, size)` by source; None for zeros.
        weights: Error weights that broadcast over batch, time and element: by output layer, or one for all.
        train_state: Whether `fit` takes the state of layers as a first guess and trains it with the network.

    Attributes:
        dropped: Samples that `windows` could not use.

    Raises:
        DataError: If an input or state is NaN, or something is not made of real numbers.
        ShapeError: If inputs and targets differ in batch or length, or there are neither.

    Example:
        >>> data = Sequences({"u": jnp.zeros((3, 50, 1))}, {"y": jnp.zeros((3, 50, 1))})
        >>> data.batch, data.steps
        ((3,), 50)
    """

    inputs: Any = eqx.field(converter=partial(_real, "input"))
    targets: Any = eqx.field(converter=partial(_real, "target"))
    state: Any = eqx.field(default=None, converter=partial(_real, "delay state"))
    weights: Any = None
    dropped: int = eqx.field(default=0, static=True)
    train_state: bool = eqx.field(default=False, static=True)

    def __check_init__(self):
        shapes = {}
        for kind, given in (("input", self.inputs), ("target", self.targets), ("delay state", self.state)):
            for name, signal in _named(given).items():
                what = kind + (f" {name!r}" if name else "")
                if jnp.ndim(signal) < 2:
                    raise ShapeError(
                        f"{what} has shape {jnp.shape(signal)}, but a signal is (*batch, time, size). "
                        "For one sequence of one element write signal[:, None]."
                    )
                if kind != "target" and (where := first_nan(signal)) is not None:
                    raise DataError(
                        f"{what} is NaN at index {where} of (*batch, time, element); a simulation would carry it on to "
                        "every later step. Fill the gap, or cut the record there."
                    )
                if kind != "delay state":
                    shapes[what] = tuple(jnp.shape(signal)[:-1])
        if not shapes:
            raise ShapeError("neither inputs nor targets were given, so there is no sequence. Give at least targets.")
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{shape} for {what}" for what, shape in shapes.items())
            raise ShapeError(f"signals differ in (*batch, time): {listed}. Cut all to one length.")

    @property
    def batch(self) -> tuple[int, ...]:
        """Batch axes."""
        return self._shape[:-1]

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return self._shape[-1]

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(jnp.shape(jax.tree.leaves((self.targets, self.inputs))[0])[:-1])


def windows(topology: Topology, inputs: Any, targets: Any, length: int = 100) -> Sequences:
    """Cuts long records into windows and fills each one's delay state from the samples before it.

    Delayed inputs are taken from `inputs`; delayed outputs, as a closed loop needs them, from `targets`. Other
    delayed layers have no record to take values from and start from zero. The first samples (as many as the longest
    delay) serve as the first window's delay state; what is left at the end and fills no window is dropped. The
    result's `dropped` counts both.

    Args:
        topology: The network's declaration.
        inputs: `(*batch, time, size)` by input name, or a bare array.
        targets: `(*batch, time, size)` by output layer, or a bare array.
        length: Time steps of a window.

    Returns:
        `Sequences` of shape `(*batch · windows, length, size)`, the windows of one record side by side.

    Raises:
        DataError: If the record is too short for one window, or a target needed in a delay state is NaN.
        ShapeError: If names or shapes do not fit.

    Example:
        >>> from lddn_jax.topology import *
        >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", to="y", delays=(1, 2))], ["y"])
        >>> data = windows(topology, jnp.zeros((205, 1)), jnp.zeros((205, 1)), length=100)
        >>> data.batch, data.dropped
        ((2,), 5)
    """
    if not hasattr(length, "__index__") or length < 1:
        raise DataError(f"windows: length={length!r}; a window has a whole number of time steps, at least 1.")
    length = operator.index(length)
    dtype = jnp.result_type(float)
    sizes = topology.sizes
    inputs = as_signals("input", inputs, {name: sizes[name] for name in topology.input_names}, dtype)
    targets = as_signals("target", targets, {name: sizes[name] for name in topology.outputs}, dtype)
    known = inputs | targets
    shapes = {name: signal.shape[:-1] for name, signal in known.items()}
    if len(set(shapes.values())) > 1:
        raise ShapeError(f"inputs and targets differ in (*batch, time): {shapes}. Cut all to one length.")
    batch, steps = (shape := next(iter(shapes.values())))[:-1], shape[-1]
    longest = max(plan(topology).longest_delays.values(), default=0)
    count = (steps - longest) // length
    if count < 1:
        raise DataError(
            f"a record of {steps} steps gives no window: {longest} are needed for the delay state and {length} for one "
            f"window. "
            + (
                f"Pass length={steps - longest} or less, or a longer record."
                if steps > longest
                else "Give a longer one."
            )
        )
    starts = [longest + k * length for k in range(count)]

    def gathered(signal, before, after):
        """(*batch, time, size) -> (*batch · windows, before + after, size) around each start."""
        pieces = cut(signal, starts, before, after)
        return pieces.reshape(count * math.prod(batch), before + after, signal.shape[-1])

    state = {}
    for name, (held, size) in state_sizes(topology).items():
        if name in known:
            state[name] = gathered(known[name], held, 0)
            if (where := first_nan(state[name])) is not None:
                raise DataError(
                    f"the delay state of {name!r} would be NaN in window {where[0]}: a value just before it is "
                    "missing from the record. Fill that gap, or choose windows that start elsewhere."
                )
        else:
            state[name] = jnp.zeros((count * math.prod(batch), held, size), dtype)
            _logger.info("windows: no record tells the delay state of layer %r; it starts from zero.", name)
    dropped = steps - count * length
    _logger.info(
        "windows: %d of %d steps; %d dropped (%d fill the first delay state).",
        count * length,
        steps,
        dropped,
        longest,
    )
    return Sequences(
        {name: gathered(signal, 0, length) for name, signal in inputs.items()},
        {name: gathered(signal, 0, length) for name, signal in targets.items()},
        state,
        dropped=dropped,
    )


def _named(given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    return given if isinstance(given, Mapping) else {"": given}
