"""Tapped delay lines and delay states; only this file computes t − d.

Internally time is the first axis, `(time, size, *lanes)` (`lanes.py`), so that reading a tap is a slice of the
first axis. The tapped delay line of a whole sequence is the signal preceded by the values before its first step, and
each delay reads one window of it:

    line = [ a(−D) … a(−1) | a(0) … a(T−1) ]        a(t−d), t = 0…T−1:   line[D−d : D−d+T]

The adjoint reads future values: line = [ n̄(0) … n̄(T−1) | 0 … 0 ], n̄(t+d): line[d : d+T]. This is what
`reverse=True` selects in all functions below. XLA compiles windows of an array to plain reads, but not a ring buffer.

Inside a loop the line grows with every step: `ShortLine` and `History` are two ways to carry it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Shaped

from lddn_jax.errors import ShapeError
from lddn_jax.network.signals import SequencesLike, Signals, StateLike, as_array, by_name, check_last_axes
from lddn_jax.numerics.memory import check_memory
from lddn_jax.topology.plan import SHORT_DELAY_STEPS, plan
from lddn_jax.topology.topology import Topology, check_topology, with_longer_input_delays

# The last values of every source that is read through a delay, oldest first. Sources differ in length and size.
DelayState: TypeAlias = dict[str, Float[Array, "... longest_delay=_ size=_"]]
AnyArray = TypeVar("AnyArray", Array, np.ndarray)


def state_sizes(topology: Topology) -> dict[str, tuple[int, int]]:
    """Returns `(longest delay, size)` for every input and layer that is read through a delay."""
    return {name: (d, topology.sizes[name]) for name, d in plan(topology).longest_delays.items()}


def zero_state(topology: Topology, batch: tuple[int, ...] = (), dtype: DTypeLike | None = None) -> DelayState:
    """Returns a delay state of zeros: `(*batch, longest delay, size)` by input or layer, oldest value first.

    Args:
        topology: The topology.
        batch: Sizes of the batch axes.
        dtype: The dtype of the arrays; None: JAX's default float.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", to="y", delays=(0, 3))], ["y"])
        >>> zero_state(topology)["u"].shape
        (3, 1)
    """
    check_topology(topology, "zero_state(topology, batch)")
    dtype = jnp.result_type(float) if dtype is None else dtype
    held = sum(math.prod(shape) for shape in state_sizes(topology).values())
    longest = max((delay for delays in topology.delays.values() for delay in delays), default=0)
    check_memory(
        held * math.prod(batch) * np.dtype(dtype).itemsize,
        f"the delay states of {math.prod(batch):,} sequences, with delays up to {longest:,}, which",
        "Use shorter delays or fewer sequences.",
    )
    # Created by NumPy, so that nothing is compiled.
    zeros = {name: np.zeros((*batch, *shape), dtype) for name, shape in state_sizes(topology).items()}
    return {name: jax.device_put(value) for name, value in zeros.items()}


def as_state(topology: Topology, given: StateLike, batch: tuple[int, ...], dtype: DTypeLike) -> DelayState:
    """Returns a checked delay state of shape `(*batch, longest delay, size)`; None gives zeros.

    A state without batch axes is used for every sequence of a batch.

    Args:
        topology: The topology.
        given: By input and layer, `(*batch, longest delay, size)`, oldest value first; or None.
        batch: Sizes of the batch axes of the signals.
        dtype: The dtype of the arrays returned.

    Raises:
        ShapeError: If a source is missing or unknown, or a shape is wrong.
    """
    if given is None:
        return zero_state(topology, batch, dtype)
    sizes = state_sizes(topology)
    if not isinstance(given, Mapping):
        raise ShapeError(
            f"{type(given).__name__} was given as a delay state; it must be a dict by input and layer, here with "
            f"{sorted(sizes)}."
        )
    state = {}
    for name, value in by_name("delay state", given, sizes).items():
        what, (longest, size) = f"delay state of {name!r}", sizes[name]
        value = as_array(what, value, dtype)
        check_last_axes(what, value.shape, size)
        if value.shape[-2] != longest:
            raise ShapeError(
                f"{what} has shape {value.shape}; it must hold the last {longest} values, oldest first: "
                f"(*batch, {longest}, {size})."
            )
        if value.shape[:-2] not in ((), batch):
            raise ShapeError(
                f"{what} has batch shape {value.shape[:-2]}, but the signals have {batch}. "
                "Give one state for each sequence, or one without batch axes for all."
            )
        state[name] = value
    return {name: _for_each(value, batch) for name, value in state.items()}


def started(topology: Topology, data: SequencesLike) -> StateLike:
    """Returns the delay state of data; zeros for each sequence of a network without inputs, if they have none.

    Without inputs and delay state, only the targets tell how many sequences there are.

    Args:
        topology: The topology.
        data: `Sequences`.
    """
    if topology.inputs or data.state is not None or data.targets is None:
        return data.state
    given = data.targets
    target = next(iter(given.values())) if isinstance(given, Mapping) else given
    return zero_state(topology, np.shape(target)[:-2]) or None


def _for_each(
    value: Float[Array, "... longest_delay size"], batch: tuple[int, ...]
) -> Float[Array, "... longest_delay size"]:
    """Returns one delay state for each sequence of a batch."""
    if value.shape[:-2] == batch:
        return value
    return jnp.broadcast_to(value.reshape((1,) * len(batch) + value.shape), (*batch, *value.shape))


def extend(
    before: Float[Array, "held *rest"] | None, signal: Float[Array, "steps *rest"], reverse: bool = False
) -> Float[Array, "_ *rest"]:
    """Joins a signal with the values before it (after it, in reverse) along time."""
    if before is None:
        return signal
    return jnp.concatenate((signal, before) if reverse else (before, signal))


def last(line: Float[Array, "time *rest"], count: int, reverse: bool = False) -> Float[Array, "{count} *rest"]:
    """Returns the last `count` values (the first, in reverse): the new content of a delay line."""
    return line[:count] if reverse else line[line.shape[0] - count :]


def taps(
    line: Float[Array, "_ size *lanes"], delays: Sequence[int], steps: int, reverse: bool = False
) -> Float[Array, "{steps} {len(delays)}*size *lanes"]:
    """Reads an extended signal through all `delays`, stacked on the axis of neurons.

    Args:
        line: The result of `extend`, for a signal of `steps` steps.
        delays: The delays to read.
        steps: Number of time steps to read.
        reverse: Whether to read t + d instead of t − d.

    Returns:
        `(steps, len(delays) · size, *lanes)`: all elements of the first delay, then of the next.
    """
    held = line.shape[0] - steps
    starts = [d if reverse else held - d for d in delays]
    return _below([line[start : start + steps] for start in starts])


class ShortLine:
    """A delay line inside a loop that is copied at every step, `(longest delay, size, *lanes)`.

    Fast for short lines, since the cost of the copy is proportional to the length.
    """

    kept = False

    def __init__(self, held: Float[Array, "longest_delay size *lanes"], steps: int, reverse: bool):
        """Initializes with the values before the first step, for a loop over `steps` steps."""
        self.start, self.longest, self.reverse = held, held.shape[0], reverse

    def taps(
        self, line: Float[Array, "_ size *lanes"], t: int | Int[Array, ""], delays: Sequence[int], steps: int
    ) -> Float[Array, "{steps} {len(delays)}*size *lanes"]:
        """Reads all delays for `steps` steps from t on; no delay may be shorter than `steps`."""
        starts = [d - steps if self.reverse else self.longest - d for d in delays]
        return _below([line[start : start + steps] for start in starts])

    def push(
        self, line: Float[Array, "held size *lanes"], t: int | Int[Array, ""], values: Float[Array, "_ size *lanes"]
    ) -> Float[Array, "held size *lanes"]:
        """Returns the line after the values from t on were appended."""
        return last(extend(line, values, self.reverse), self.longest, self.reverse)


class History:
    """A delay line inside a loop that is one array of all times, updated in place and read by windows.

    Its cost does not depend on the delays, and after the loop it holds the signal of all steps.
    """

    kept = True

    def __init__(self, held: Float[Array, "longest_delay size *lanes"], steps: int, reverse: bool):
        """Initializes with the values before the first step, for a loop over `steps` steps."""
        nothing = jnp.zeros((steps, *held.shape[1:]), held.dtype)
        self.start, self.reverse = extend(held, nothing, reverse), reverse
        self.first, self.steps = 0 if reverse else held.shape[0], steps

    def taps(
        self, line: Float[Array, "_ size *lanes"], t: int | Int[Array, ""], delays: Sequence[int], steps: int
    ) -> Float[Array, "{steps} {len(delays)}*size *lanes"]:
        """Reads all delays for `steps` steps from t on; no delay may be shorter than `steps`."""
        return _below([piece(line, self.first + (t + d if self.reverse else t - d), steps) for d in delays])

    def push(
        self, line: Float[Array, "held size *lanes"], t: int | Int[Array, ""], values: Float[Array, "_ size *lanes"]
    ) -> Float[Array, "held size *lanes"]:
        """Returns the line after the values from t on were written."""
        return jax.lax.dynamic_update_slice_in_dim(line, values, self.first + t, axis=0)

    def signal(self, line: Float[Array, "_ size *lanes"]) -> Float[Array, "{self.steps} size *lanes"]:
        """Returns the signal of all steps, after the loop."""
        return line[self.first : self.first + self.steps]


def line_inside(held: Float[Array, "longest_delay size *lanes"], steps: int, reverse: bool) -> ShortLine | History:
    """Returns the kind of delay line that is faster for this length."""
    return (ShortLine if held.shape[0] <= SHORT_DELAY_STEPS else History)(held, steps, reverse)


def _below(windows: list[Float[Array, "steps size *lanes"]]) -> Float[Array, "steps _ *lanes"]:
    return windows[0] if len(windows) == 1 else jnp.concatenate(windows, axis=1)


def tap(line: Float[Array, "time *rest"], d: int, reverse: bool = False) -> Float[Array, "*rest"]:
    """Returns the value d steps before the end of the line, a(t−d) of `[… a(t−2), a(t−1)]`; n̄(t+d) in reverse."""
    return line[d - 1 if reverse else line.shape[0] - d]


def resized(
    line: Float[Array, "time *rest"] | None, count: int, reverse: bool = False
) -> Float[Array, "{count} *rest"] | None:
    """Cuts a delay line to its nearest `count` values, or pads its far end with zeros."""
    if line is None:
        return None
    missing = count - line.shape[0]
    if missing <= 0:
        return last(line, count, reverse)
    zeros = jnp.zeros((missing, *line.shape[1:]), line.dtype)
    return jnp.concatenate((line, zeros) if reverse else (zeros, line))


def reaching_back(
    adjoint: Float[Array, "time size *lanes"], delays: Sequence[int], longest: int
) -> Float[Array, "{longest} {len(delays)}*size *lanes"]:
    """Reads n̄(τ + d) at τ = −D … −1, the times of the values in a delay state; n̄ is zero before t = 0.

    Args:
        adjoint: n̄, `(time, size, *lanes)`.
        delays: The delays d to read through.
        longest: D, the length of the state.

    Returns:
        `(longest, len(delays) · size, *lanes)`.
    """
    near = adjoint[:longest]
    before = jnp.zeros((longest, *adjoint.shape[1:]), adjoint.dtype)
    after = jnp.zeros((longest - near.shape[0], *adjoint.shape[1:]), adjoint.dtype)
    return taps(jnp.concatenate((before, near, after)), delays, longest, reverse=True)


def piece(signal: Shaped[Array, "time *rest"], start: int | Int[Array, ""], length: int) -> Shaped[Array, "_ *rest"]:
    """Returns `length` steps from `start` on; `start` may be a traced number."""
    if isinstance(start, int):
        return signal[start : start + length]
    return jax.lax.dynamic_slice_in_dim(signal, start, length)


def state_before(
    held: Float[Array, "longest_delay *rest"], signal: Float[Array, "time *rest"], start: int | Int[Array, ""]
) -> Float[Array, "longest_delay *rest"]:
    """Returns the delay line before step `start` of a signal whose simulation started from the line `held`.

    A traced `start` must be at least the length of the line.
    """
    longest = held.shape[0]
    if isinstance(start, int):
        return last(extend(held, signal[:start]), longest)
    return piece(signal, start - longest, longest)


def held_at(t: int, longest: int) -> range:
    """Returns the steps whose values a delay line holds before step t, oldest first."""
    return range(t - longest, t)


def cut(signal: AnyArray, starts: Sequence[int] | np.ndarray, before: int, after: int) -> AnyArray:
    """Returns the `before` values up to each start and the `after` values from it on.

    From `(*batch, time, size)` to `(*batch, starts, before + after, size)`.
    """
    return signal[..., np.asarray(starts)[:, None] + np.arange(-before, after), :]


def known_before(known: Bool[np.ndarray, " time"], held: int) -> Bool[np.ndarray, " time+1"]:
    """Returns whether all `held` values before each step are known, so that a delay state can be filled.

    Args:
        known: `(time,)`, whether each value is known.
        held: Length of the delay state.

    Returns:
        `(time + 1,)`: for every step, and for the one after the last.
    """
    unknown = np.concatenate([[0], np.cumsum(~known)])
    filled = np.arange(len(unknown)) >= held
    filled[held:] &= unknown[held:] == unknown[: len(unknown) - held]
    return filled


def states_along(
    state: DelayState, signals: Mapping[str, Float[Array, "... time size=_"]]
) -> dict[str, Float[Array, "... time longest_delay=_ size=_"]]:
    """Returns the delay states before every step of a simulation that started from `state`.

    Args:
        state: By source, `(*batch, longest delay, size)`; layers of a committee have the axis of the members in front.
        signals: Inputs and layer outputs of the simulation, `(*batch, time, size)` for every source in `state`.

    Returns:
        `(*batch, time, longest delay, size)` by source.
    """
    lines = {name: jnp.concatenate([held, signals[name]], axis=-2) for name, held in state.items()}
    return {
        name: cut(line, range(state[name].shape[-2], line.shape[-2]), state[name].shape[-2], 0)
        for name, line in lines.items()
    }


def inputs_as_state(topology: Topology, inputs: Signals, state: DelayState) -> tuple[Topology, DelayState, Signals]:
    """Returns the same simulation with every input sequence moved into the delay state.

    If an input is read through T more delays and is itself zero, its sequence is read from the state: p(t−d) with
    p in [0, T) is the value T + d steps back in a line that ends with p. So a method that differentiates with
    respect to delay states also gives derivatives with respect to inputs.

    Returns:
        The topology with longer delays, its delay state, and inputs of zeros. The weights are unchanged.
    """
    steps = next(iter(inputs.values())).shape[-2]
    moved = with_longer_input_delays(topology, steps)
    longer = dict(state)
    for name in moved.input_names & plan(moved).longest_delays.keys():
        parts = [state[name]] if name in state else []
        longer[name] = jnp.concatenate([*parts, inputs[name]], axis=-2)
    return moved, longer, {name: jnp.zeros_like(signal) for name, signal in inputs.items()}
