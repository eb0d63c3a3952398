"""Windowed Jacobian: rows of ∂a(t)/∂x by short backward passes in parallel, with a bound on what is neglected.

A row of the Jacobian is a backward pass from one output element. Contributions from many steps back are often
negligible, so time is cut into blocks of M steps at s_1 < s_2 < …, and rows of a block go back to the beginning of the
block before it: at least M lags, and all passes are independent. With S(s) = ∂(delay state at s)/∂x and λ(t) =
∂a(t)/∂(delay state at s), the derivative with everything before s held fixed,

    ∂a(t)/∂x = [row cut off at s] + λ(t) S(s),        |what is missing| ≤ |λ(t)| ‖S(s)‖

λ is a result of the pass itself. ‖S‖ is bounded from block to block, by rows for the elements of the delay state that
go back one block: they give W, the part of S(s_k) that parameters contribute after s_{k−1}, and Φ = ∂(state at
s_k)/∂(state at s_{k−1}), and

    S(s_k) = W_k + Φ_k S(s_{k−1}),        ‖S(s_k)‖ ≤ ‖W_k‖ + ‖Φ_k‖ ‖S(s_{k−1})‖

Williams & Peng (1990), Neural Computation 2(4), for truncation to a window; the bound is the triangle inequality.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lddn_jax.gradients.gather import parameter_gradient, state_gradient
from lddn_jax.gradients.segments import Forward, adjoint_lines, ahead, longest_held
from lddn_jax.network.network import Network
from lddn_jax.numerics.lanes import Values
from lddn_jax.simulation.delays import held_at, state_sizes

PARALLEL_BLOCK_BYTES = 2**26  # n̄ of all blocks that are computed in parallel
# (n, signals, cotangents, n̄ after the segment) -> n̄ at all its steps
Adjoint: TypeAlias = Callable[[Values, Values, Values, Values], Values]


class Rows(NamedTuple):
    """Results of backward passes over one segment, one row for each.

    Attributes:
        parameters: Contributions of the parameters within the segment, `(rows, parameters)`.
        state: Derivatives with respect to the delay state at its beginning, by source, `(rows, elements)`.
    """

    parameters: Float[Array, "rows parameters"]
    state: dict[str, Float[Array, "rows elements=_"]]


def windowed(
    net: Network, adjoint: Callable[[int], Adjoint], forward: Forward, steps: int, window: int, with_state: bool
) -> tuple[Values, Values]:
    """Returns the Jacobian of one sequence, and a bound on what each row neglects.

    Args:
        net: The network.
        adjoint: Maps a number of lanes to the recursion in n̄.
        forward: Returns the forward pass of a segment, with one lane.
        steps: Number of time steps.
        window: The smallest number of lags of a row.
        with_state: Whether x ends with the elements of the first delay state.

    Returns:
        By output layer `(time, size, x)`, and the bound on the Euclidean norm of what is neglected, `(time, size)`.
    """
    held = longest_held(net)
    length = max(window, held, 1)
    # Blocks are counted from the end; the first may be as long as any delay line, all others have the same length.
    first = held + max(steps - held, 0) % length
    blocks = (steps - first) // length
    whole = blocks <= 1  # every row goes back to the first step
    held_layers = sorted(name for name in state_sizes(net.topology) if name not in net.topology.input_names)
    lines = () if whole else tuple(held_layers)

    def rows(start, ends: Values) -> Rows:
        """Runs backward passes from `ends`, `(time, size, rows)` by layer."""
        steps, _, count = next(iter(ends.values())).shape
        n, signals, before = forward(start, steps)

        def wide(values):
            return {name: jnp.broadcast_to(v, (*v.shape[:2], count)) for name, v in values.items()}

        future = adjoint_lines(net, count)
        n_bar = adjoint(count)(wide(n), wide(signals), ends, future)

        def summed(n_bar):
            return parameter_gradient(net, signals, before, n_bar).ravel()[0]

        parameters = jax.vmap(summed, in_axes=-1)({name: v[:, :, None] for name, v in n_bar.items()})
        state = state_gradient(net, ahead(future, n_bar))
        return Rows(
            parameters,
            {name: jnp.moveaxis(s, -1, 0).reshape(count, s.shape[0] * s.shape[1]) for name, s in state.items()},
        )

    def x_of(found: Rows) -> Float[Array, "rows x"]:
        if not with_state:
            return found.parameters
        return jnp.concatenate([found.parameters, *(found.state[name] for name in sorted(found.state))], axis=1)

    begin = steps if whole else first + length
    ends, count = _ends(net, begin, 0, first, lines)
    head = rows(0, ends)
    J, missing = x_of(head)[:count], jnp.zeros(count, net.dtype)
    found, bounds = [_by_output(net, J, begin)], [_by_output(net, missing, begin)]
    if not whole:
        size = jnp.sqrt(jnp.sum(x_of(head)[count:] ** 2))
        ends, count = _ends(net, 2 * length, length, length, lines)

        def block(start):
            here = rows(start, ends)
            back = jnp.concatenate([here.state[name] for name in lines], axis=1) if lines else here.parameters[:, :0]
            own = jnp.sqrt(jnp.sum(here.parameters[count:] ** 2))
            return here.parameters[:count], jnp.sqrt(jnp.sum(back[:count] ** 2, axis=1)), own, _norm(back[count:])

        one = 2 * length * next(iter(ends.values())).shape[-1] * jnp.dtype(net.dtype).itemsize
        one = one * sum(layer.size for layer in net.topology.layers)
        starts = jnp.arange(first, steps - length, length)
        J, reach, own, factor = jax.lax.map(block, starts, batch_size=max(1, PARALLEL_BLOCK_BYTES // one))

        def grown(size, now):
            own, factor = now
            return own + factor * size, size

        missing = reach * jax.lax.scan(grown, size, (own, factor))[1][:, None]
        if with_state:
            count = sum(longest * size for longest, size in state_sizes(net.topology).values())
            J = jnp.concatenate([J, jnp.zeros((*J.shape[:2], count), J.dtype)], axis=2)
        for values, blocks in ((found, J), (bounds, missing)):
            pieces = jax.vmap(lambda block: _by_output(net, block, length))(blocks)
            values.append({name: p.reshape(p.shape[0] * length, *p.shape[2:]) for name, p in pieces.items()})
    return _joined(found), _joined(bounds)


def _joined(pieces: list[Values]) -> Values:
    return {name: jnp.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _ends(net: Network, steps: int, begin: int, at: int, lines: tuple[str, ...]) -> tuple[Values, int]:
    """Returns ones where rows start: at all output elements from step `begin` on, then at the state at step `at`.

    Returns:
        `(time, size, rows)` by layer, and the number of rows that start at outputs.
    """
    topology = net.topology
    elements = [
        (name, t, i) for name in topology.outputs for t in range(begin, steps) for i in range(topology.sizes[name])
    ]
    count = len(elements)
    for name in lines:
        longest, size = state_sizes(topology)[name]
        elements += [(name, t, i) for t in held_at(at, longest) for i in range(size)]
    ends = {name: np.zeros((steps, topology.sizes[name], len(elements))) for name in {name for name, _, _ in elements}}
    for row, (name, t, i) in enumerate(elements):
        ends[name][t, i, row] = 1
    return {name: jnp.asarray(end, net.dtype) for name, end in ends.items()}, count


def _by_output(net: Network, rows: Float[Array, "rows *columns"], steps: int) -> Values:
    """Splits rows, in the order of `_ends`, into `(time, size, …)` by output."""
    found, start = {}, 0
    for name in net.topology.outputs:
        size = net.topology.sizes[name]
        found[name] = rows[start : start + steps * size].reshape(steps, size, *rows.shape[1:])
        start += steps * size
    return found


def _norm(matrix: Float[Array, "rows columns"]) -> Float[Array, ""]:
    """Returns a bound on the spectral norm: the smaller of the Frobenius norm and √(‖·‖₁ ‖·‖_∞)."""
    columns, rows = (jnp.max(jnp.sum(jnp.abs(matrix), axis=axis), initial=0) for axis in (0, 1))
    return jnp.minimum(jnp.sqrt(jnp.sum(matrix**2)), jnp.sqrt(columns * rows))
