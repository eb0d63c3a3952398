"""One recursion over the blocks of a plan, run three ways.

Simulation, its adjoint and its linearization are the same recursion with other values in it:

    x^m(t) = drive^m(t) + Σ_{m reads l} Σ_d W^{m,l}(d) y^l(t−d)        y^m(t) = node(m, x^m(t))

- simulation: y = a, node = f, the drive holds biases; inputs are known signals that are read like layers;
- BPTT: y = n̄, node = multiply by ḟ, the drive is ∂ᵉF/∂a; every connection is turned round (Wᵀ) and time runs back;
- RTRL: y = ∂a/∂x, node = multiply by ḟ, the drive is ∂ᵉn/∂x; one more axis for the parameters.

So how blocks, chunks and delay lines are carried out is decided here, once. What comes from outside a block is
contracted over all time before its loop, unless it comes through a few taps only: then the loop does it in passing, and
no array of all times is made. The loop's carry is one packed array, the delay line of all layers that are read through
a delay inside the block.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lddn_jax.contraction import einsum
from lddn_jax.delays import extend, last, resized, taps, taps_before
from lddn_jax.plan import Block, Pair

# A product over so few elements is cheaper as a sum of multiplications: XLA fuses them with what stands before and
# after, without a call of a matrix product and without an array in between.
FEW = 4

Values = dict[str, Array]
Node = Callable[[str, Array, Any], Array]


def read(line: Array, weights: Array, delays: Sequence[int], steps: int, reverse: bool = False) -> Array:
    """Returns Σ_d W(d) y(t−d) over a whole sequence: one product over the stacked delays.

    Args:
        line: The signal y with its values before t = 0, `(held + steps, *batch, from)`.
        weights: W, `(delay, to, from)`.
        delays: The delay of each matrix.
        steps: Number of time steps.
        reverse: Whether to read y(t+d).

    Returns:
        `(steps, *batch, to)`.
    """
    return _product(taps(line, delays, steps, reverse), _side_by_side(weights))


def sweep(
    blocks: Sequence[Block],
    delays: Mapping[Pair, Sequence[int]],
    weights: Mapping[Pair, Array],
    node: Node,
    *,
    known: Mapping[str, Array],
    drive: Mapping[str, Array],
    extras: Mapping[str, Any],
    before: Mapping[str, Array],
    steps: int,
    batch: tuple[int, ...],
    reverse: bool = False,
) -> tuple[Values, Values]:
    """Runs the recursion over all blocks.

    Args:
        blocks: In the order to run; for the adjoint, reversed and transposed.
        delays: Delays of each pair (to, source).
        weights: `(delay, to, from)` of each pair.
        node: `(layer, x, extra) -> y`, on arrays whose leading axis is time.
        known: Signals that are read but not computed, `(time, *batch, size)`.
        drive: What adds to x of each layer from outside: `(time, *batch, size)`, or with axes of length 1 in front of
            the size if it is the same at all times and in all sequences, as a bias is.
        extras: What `node` needs of a layer beside x: arrays with a leading time axis, or None.
        before: Delay lines before the first step, by source; sources left out are zero there.
        steps: Number of time steps.
        batch: Axes between time and size.
        reverse: Whether time runs from the last step to the first.

    Returns:
        `(x, y)` by layer, each `(time, *batch, size)`.
    """
    x: Values = {}
    y: Values = dict(known)
    lines: Values = {}
    for block in blocks:
        into = {name: drive[name] for name in block.layers}
        narrow: dict[str, list[tuple[Array, Array]]] = {name: [] for name in block.layers}
        for to, source in block.incoming:
            if source not in lines:
                longest = max(d[-1] for (_, s), d in delays.items() if s == source)
                lines[source] = extend(_held(before.get(source), longest, y[source], reverse), y[source], reverse)
            if block.chunk is not None and len(delays[to, source]) * y[source].shape[-1] <= FEW:
                column = taps(lines[source], delays[to, source], steps, reverse)
                narrow[to].append((column, _side_by_side(weights[to, source])))
            else:
                into[to] = into[to] + read(lines[source], weights[to, source], delays[to, source], steps, reverse)
        block_x, block_y = _run(block, delays, weights, node, into, narrow, extras, before, steps, batch, reverse)
        x |= block_x
        y |= block_y
    return x, {name: value for name, value in y.items() if name not in known}


def _run(block, delays, weights, node, drive, narrow, extras, before, steps, batch, reverse) -> tuple[Values, Values]:
    extras = {name: extras.get(name) for name in block.layers}
    if block.chunk is None:
        (name,) = block.layers
        x = jnp.broadcast_to(drive[name], (steps, *batch, drive[name].shape[-1]))
        return {name: x}, {name: node(name, x, extras[name])}

    sizes = {name: drive[name].shape[-1] for name in block.layers}
    # What does not change is not scanned over.
    steady = {name: d for name, d in drive.items() if d.shape[:-1] != (steps, *batch)}
    varying = {name: d for name, d in drive.items() if name not in steady}
    columns = {name: [column for column, _ in reads] for name, reads in narrow.items()}
    instant = {(to, source): _matrix(weights, delays, (to, source), 0) for to, source in block.instant}
    receivers, senders, packed = _pack(block, delays, weights)
    ends = [sum(sizes[r] for r in receivers[: k + 1]) for k in range(len(receivers))]

    def advance(line, chunk):
        count, (chunk_drive, chunk_columns, chunk_extras) = chunk
        arriving = _product(taps_before(line, block.delays, count, reverse), packed)
        arriving = {name: arriving[..., end - sizes[name] : end] for name, end in zip(receivers, ends, strict=True)}
        x, y = {}, {}
        for name in block.layers:
            parts = [chunk_drive[name] if name in chunk_drive else steady[name]]
            parts += [_product(c, matrix) for c, (_, matrix) in zip(chunk_columns[name], narrow[name], strict=True)]
            parts += [arriving[name]] if name in arriving else []
            parts += [_product(y[source], instant[to, source]) for to, source in block.instant if to == name]
            x[name] = jnp.broadcast_to(sum(parts[1:], start=parts[0]), (count, *batch, sizes[name]))
            y[name] = node(name, x[name], chunk_extras[name])
        sent = [y[name] for name in senders]
        sent = sent[0] if len(sent) == 1 else jnp.concatenate(sent, axis=-1)
        line = last(extend(line, sent, reverse), block.longest_delay, reverse)
        return line, (x, y)

    starts = [
        _held(before.get(name), block.longest_delay, jnp.zeros((0, *batch, sizes[name]), packed.dtype), reverse)
        for name in senders
    ]
    line = starts[0] if len(starts) == 1 else jnp.concatenate(starts, axis=-1)
    return _in_chunks(advance, line, (varying, columns, extras), steps, block.chunk, reverse)


def _held(line: Array | None, count: int, like: Array, reverse: bool) -> Array:
    """The delay line before the first step, `count` values long; zero where nothing is given."""
    held = resized(line, count, reverse)
    return jnp.zeros((count, *like.shape[1:]), like.dtype) if held is None else held


def _in_chunks(advance, line, sequences, steps, chunk, reverse):
    """Scans whole chunks, then advances once more over the steps that are left (in reverse: both mirrored)."""
    whole, rest = divmod(steps, chunk)
    cut = whole * chunk
    if whole <= 1 and rest == 0:
        return advance(line, (steps, sequences))[1]
    parts = []
    head = (rest, steps) if reverse else (0, cut)
    if whole:
        chunks = jax.tree.map(lambda s: s[head[0] : head[1]].reshape(whole, chunk, *s.shape[1:]), sequences)
        line, done = jax.lax.scan(
            lambda line, now: advance(line, (chunk, now)), line, chunks, length=whole, reverse=reverse
        )
        parts.append(jax.tree.map(lambda s: s.reshape(cut, *s.shape[2:]), done))
    if rest:
        left = (0, rest) if reverse else (cut, steps)
        parts.append(advance(line, (rest, jax.tree.map(lambda s: s[left[0] : left[1]], sequences)))[1])
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda a, b: extend(a, b, reverse), *parts)


def _pack(block: Block, delays, weights) -> tuple[list[str], list[str], Array]:
    """Packs all delayed weights inside a block into one matrix (receivers, delays · senders)."""
    receivers = [name for name in block.layers if any(to == name for (to, _), _ in block.delayed)]
    senders = sorted({source for (_, source), _ in block.delayed})
    rows_of = {to: weights[to, source].shape[1] for (to, source), _ in block.delayed}
    columns_of = {source: weights[to, source].shape[2] for (to, source), _ in block.delayed}
    inside = {pair: inner for pair, inner in block.delayed}
    some = weights[block.delayed[0][0]]
    rows = []
    for to in receivers:
        row = []
        for d in block.delays:
            for source in senders:
                if d in inside.get((to, source), ()):
                    row.append(_matrix(weights, delays, (to, source), d))
                else:
                    row.append(jnp.zeros((rows_of[to], columns_of[source]), some.dtype))
        rows.append(jnp.concatenate(row, axis=1))
    return receivers, senders, jnp.concatenate(rows, axis=0)


def _matrix(weights, delays, pair: Pair, d: int) -> Array:
    return weights[pair][tuple(delays[pair]).index(d)]


def _side_by_side(weights: Array) -> Array:
    """(delay, to, from) -> (to, delay · from), the matrix for delay-major taps."""
    count, to, from_ = weights.shape
    return weights[0] if count == 1 else einsum("dij->idj", weights).reshape(to, count * from_)


def _product(signal: Array, matrix: Array) -> Array:
    """Returns signal · matrixᵀ."""
    if signal.shape[-1] <= FEW:
        shape = (1,) * (signal.ndim - 1) + (matrix.shape[0],)
        terms = [signal[..., j : j + 1] * matrix[:, j].reshape(shape) for j in range(signal.shape[-1])]
        return sum(terms[1:], start=terms[0])
    return einsum("...j,ij->...i", signal, matrix)
