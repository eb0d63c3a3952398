"""Time cut into segments, from the last to the first: what memory and cache ask of backpropagation through time.

Nothing in the recursion of BPTT looks at more than the steps around t: n̄(t) needs n̄(t+1) … n̄(t+D), and the weight
gradients are sums over t. So a backward pass over a whole record is a loop over segments of it, whose carry is

    future     n̄ of the D steps that follow the segment, by layer: the adjoint's delay line
    gradient   Σ over all later segments

and a segment needs from the forward pass its own net inputs and signals, and the delay state that it begins with. Three
ways to cut time are this one loop:

- segments that fit the cache: weight gradients are summed while n̄ is still near, and n̄ of all times is never stored;
- checkpoints: only the delay states at the beginnings were kept, and the segment is simulated once more;
- truncation: n̄ does not pass from a segment to the one before, so the gradient is cut short.
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
        forward: What a segment needs of the forward pass.
        cotangents: ∂ᵉF/∂a, `(time, size, lanes)` by layer.
        lines: n̄ after the last step, zeros, by layer, as long as it is read.
        cut: Where time is cut.

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
    """Where time is cut: like segments in the middle, which a loop runs over, and what remains at both ends.

    Attributes:
        length: Steps of a segment of the loop.
        first: Where the first segment of the loop starts.
        count: Number of segments in the loop.
        after: (start, length) of what lies after them, last first.
        before: (start, length) of what lies before them, last first.
        truncated: Whether n̄ stays within its segment.
    """

    length: int
    first: int
    count: int
    after: tuple[tuple[int, int], ...]
    before: tuple[tuple[int, int], ...]
    truncated: bool


def cut(steps: int, length: int, held: int = 0, *, truncated: bool = False, uneven: bool = False) -> Cut:
    """Decides where to cut.

    Args:
        steps: Number of time steps.
        length: Of a segment.
        held: The first steps, whose delay states reach back before t = 0 and so are no slices of a signal.
        truncated: Whether n̄ stays within its segment.
        uneven: Whether segments outside of the loop may be joined.
    """
    length = min(length, steps)
    whole, rest = divmod(steps, length)
    head = min(whole, -(-held // length))
    if whole - head <= 1:  # a loop of one turn is none
        head = whole
    after = ((whole * length, rest),) if rest else ()
    before = tuple((k * length, length) for k in reversed(range(head)))
    if uneven and head == whole:
        after, before = (), ((0, steps),)
    elif uneven and head:
        before = ((0, head * length),)
    return Cut(length, head * length, whole - head, after, before, truncated)


class Kept(eqx.Module):
    """What a segment needs, cut out of a forward pass that was kept whole."""

    n: Values
    signals: Values
    state: Values

    def ready(self) -> Forward:
        """Returns the function that a loop calls."""

        def forward(start, length):
            n, signals = (
                {name: piece(value, start, length) for name, value in values.items()}
                for values in (self.n, self.signals)
            )
            before = {name: state_before(held, self.signals[name], start) for name, held in self.state.items()}
            return n, signals, before

        return forward


class SimulatedAgain(eqx.Module):
    """What a segment needs, simulated from the delay state at its beginning, `(segments, delay, size, lanes)`."""

    net: Network
    inputs: Values
    states: Values
    length: int = eqx.field(static=True)
    lanes: int = eqx.field(static=True)

    def ready(self) -> Forward:
        """Returns the function that a loop calls."""
        simulation = prepared(self.net, (self.lanes,))

        def forward(start, length):
            state = {name: held[start // self.length] for name, held in self.states.items()}
            inputs = {name: piece(signal, start, length) for name, signal in self.inputs.items()}
            n, a = simulation(inputs, state, length)
            return n, inputs | a, state

        return forward


def adjoint_lines(net: Network, lanes: int) -> Values:
    """n̄ after the last step: zeros, `(longest delay read, size, lanes)` of every layer that reads through a delay."""
    longest: dict[str, int] = {}
    for (to, _), delays in net.topology.delays.items():
        longest[to] = max(longest.get(to, 0), delays[-1])
    return {to: jnp.zeros((d, net.topology.sizes[to], lanes), net.dtype) for to, d in sorted(longest.items()) if d > 0}


def ahead(lines: Values, n_bar: Values) -> Values:
    """The adjoint's delay lines for the segment before the one that n̄ was computed on."""
    return {
        name: last(extend(line, n_bar[name], reverse=True), line.shape[0], reverse=True) for name, line in lines.items()
    }


def longest_held(net: Network) -> int:
    """Steps that the longest delay line holds."""
    return max((d for d, _ in state_sizes(net.topology).values()), default=0)


def square_root(steps: int) -> int:
    """The length of segments with which memory grows with √T."""
    return math.isqrt(max(steps - 1, 0)) + 1
