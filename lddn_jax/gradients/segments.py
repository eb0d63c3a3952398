"""Backward passes in segments: time cut to limit memory or to fit the cache, processed from last to first.

The recursion of BPTT only uses steps near t: n̄(t) needs n̄(t+1) … n̄(t+D), and weight gradients are sums over t. So a
backward pass over a whole record is a loop over segments, whose carry is

    future     n̄ of the D steps that follow the segment, by layer: the adjoint's delay line
    gradient   Σ over all later segments

and a segment needs its net inputs and signals from the forward pass, and the delay state at its beginning. The same
loop implements three ways to cut time:

- segments that fit the cache: weight gradients are summed while n̄ is in the cache, and n̄ of all times is never stored;
- checkpoints: only the delay states at the beginnings are stored, and each segment is simulated again;
- truncation: n̄ is not passed from a segment to the one before, so the gradient is truncated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from lddn_jax.network.network import Network
from lddn_jax.numerics.lanes import Values
from lddn_jax.simulation.delays import extend, last, piece, state_before, state_sizes
from lddn_jax.simulation.simulate import prepared

# (start, length) -> net inputs, signals, and the delay state at the beginning
Forward: TypeAlias = Callable[[int | Int[Array, ""], int], tuple[Values, Values, Values]]
# (n, signals, before, cotangents, future) -> ∂F/∂parameters and n̄ at the beginning
Adjoint = Callable[[Values, Values, Values, Values, Values], tuple[Network, Values]]


def backward(
    net: Network, adjoint: Adjoint, forward: Forward, cotangents: Values, lines: Values, cut: "Cut"
) -> tuple[Network, Values]:
    """Runs the adjoint over all segments, from the last to the first.

    Args:
        net: The network.
        adjoint: The recursion over one segment.
        forward: Returns the forward pass of a segment.
        cotangents: ∂ᵉF/∂a, `(time, size, lanes)` by layer.
        lines: n̄ after the last step, zeros, by layer, of the length that is read.
        cut: The segments.

    Returns:
        ∂F/∂parameters, and n̄ of the first steps.
    """

    def step(carry, start, length):
        gradient, future = carry
        if cut.truncated:
            future = jax.tree.map(jnp.zeros_like, future)
        here = {name: piece(c, start, length) for name, c in cotangents.items()}
        found, future = adjoint(*forward(start, length), here, future)
        return (found if gradient is None else jax.tree.map(jnp.add, gradient, found)), future

    carry = (None, lines)
    for start, length in cut.after:
        carry = step(carry, start, length)
    if cut.count:
        if carry[0] is None:
            carry = (jax.tree.map(jnp.zeros_like, net), lines)
        starts = jnp.arange(cut.first, cut.first + cut.count * cut.length, cut.length)
        carry, _ = jax.lax.scan(
            lambda carry, start: (step(carry, start, cut.length), None), carry, starts, reverse=True
        )
    for start, length in cut.before:
        carry = step(carry, start, length)
    return carry


@dataclass(frozen=True)
class Cut:
    """Segments in time: equal segments in the middle, over which a loop runs, and the rest at both ends.

    Attributes:
        length: Number of steps in a segment of the loop.
        first: The first step of the loop's first segment.
        count: Number of segments in the loop.
        after: (start, length) of the segments after the loop, last first.
        before: (start, length) of the segments before the loop, last first.
        truncated: Whether n̄ is not passed between segments.
    """

    length: int
    first: int
    count: int
    after: tuple[tuple[int, int], ...]
    before: tuple[tuple[int, int], ...]
    truncated: bool


def cut(steps: int, length: int, held: int = 0, *, truncated: bool = False, uneven: bool = False) -> Cut:
    """Returns the segments of a backward pass.

    Args:
        steps: Number of time steps.
        length: Number of steps in a segment.
        held: Number of first steps whose delay states reach back before t = 0 and so are not slices of a signal.
        truncated: Whether n̄ is not passed between segments.
        uneven: Whether segments outside the loop may be joined.
    """
    length = min(length, steps)
    whole, rest = divmod(steps, length)
    head = min(whole, -(-held // length))
    if whole - head <= 1:  # a single segment needs no loop
        head = whole
    after = ((whole * length, rest),) if rest else ()
    before = tuple((k * length, length) for k in reversed(range(head)))
    if uneven and head == whole:
        after, before = (), ((0, steps),)
    elif uneven and head:
        before = ((0, head * length),)
    return Cut(length, head * length, whole - head, after, before, truncated)


class Kept(eqx.Module):
    """The forward pass of a segment, cut out of a whole one that was stored."""

    n: Values
    signals: Values
    state: Values

    def ready(self) -> Forward:
        """Returns the function to call for each segment."""

        def forward(start, length):
            n, signals = (
                {name: piece(value, start, length) for name, value in values.items()}
                for values in (self.n, self.signals)
            )
            before = {name: state_before(held, self.signals[name], start) for name, held in self.state.items()}
            return n, signals, before

        return forward


class SimulatedAgain(eqx.Module):
    """The forward pass of a segment, simulated from stored delay states, `(segments, delay, size, lanes)`."""

    net: Network
    inputs: Values
    states: Values
    length: int = eqx.field(static=True)
    lanes: int = eqx.field(static=True)

    def ready(self) -> Forward:
        """Returns the function to call for each segment."""
        simulation = prepared(self.net, (self.lanes,))

        def forward(start, length):
            state = {name: held[start // self.length] for name, held in self.states.items()}
            inputs = {name: piece(signal, start, length) for name, signal in self.inputs.items()}
            n, a = simulation(inputs, state, length)
            return n, inputs | a, state

        return forward


def adjoint_lines(net: Network, lanes: int) -> Values:
    """Returns n̄ after the last step: zeros, `(longest delay, size, lanes)`, of all layers with delayed inputs."""
    longest: dict[str, int] = {}
    for (to, _), delays in net.topology.delays.items():
        longest[to] = max(longest.get(to, 0), delays[-1])
    return {to: jnp.zeros((d, net.topology.sizes[to], lanes), net.dtype) for to, d in sorted(longest.items()) if d > 0}


def ahead(lines: Values, n_bar: Values) -> Values:
    """Returns the adjoint's delay lines for the segment before the one of `n_bar`."""
    return {
        name: last(extend(line, n_bar[name], reverse=True), line.shape[0], reverse=True) for name, line in lines.items()
    }


def longest_held(net: Network) -> int:
    """Returns the length of the longest delay line."""
    return max((d for d, _ in state_sizes(net.topology).values()), default=0)


def square_root(steps: int) -> int:
    """Returns the segment length √T, for which memory grows with √T."""
    return math.isqrt(max(steps - 1, 0)) + 1
