"""The recursion over the blocks of a plan, shared by simulation, BPTT and RTRL.

All three are the same recursion with different quantities:

    x^m(t) = drive^m(t) + Σ_{m reads l} Σ_d W^{m,l}(d) y^l(t−d)        y^m(t) = node(m, x^m(t))

- simulation: y = a, node = f, the drive is the biases; inputs are known signals that are read like layers;
- BPTT: y = n̄, node = multiply by ḟ, the drive is ∂ᵉF/∂a; connections are reversed (Wᵀ) and time runs backward;
- RTRL: y = ∂a/∂x, node = multiply by ḟ, the drive is ∂ᵉn/∂x; one more axis of lanes for the parameters.

So blocks, chunks and delay lines are implemented only here. Connections from outside a block are contracted over all
time before the loop; those with few taps are multiplied inside it, without an intermediate array of all times. The
carry of the loop is one packed array, the delay line of all layers that are read through a delay inside the block.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.numerics import platform
from lddn_jax.numerics.contraction import Product, apart, einsum, few, product
from lddn_jax.numerics.lanes import Values
from lddn_jax.simulation.delays import History, extend, line_inside, resized, taps
from lddn_jax.topology.plan import Block, Pair

Node: TypeAlias = Callable[[str, Float[Array, "time size *lanes"], Any], Float[Array, "time size *lanes"]]


@dataclass(frozen=True)
class Recursion:
    """A recursion with prepared matrices: `prepare` creates it outside a loop, calling it inside runs it.

    Attributes:
        blocks: The blocks in the order they run in.
        delays: Delays of each pair (to, source).
        incoming: For each pair between blocks, the product with its taps.
        inside: For each block with a loop, the product with the taps of its delay line.
        instant: For each pair within a block with delay zero, the product with its source.
        lanes: Sizes of the lane axes, those after time and size.
    """

    blocks: Sequence[Block]
    delays: Mapping[Pair, Sequence[int]]
    incoming: Mapping[Pair, Product]
    inside: Mapping[Block, "Inside"]
    instant: Mapping[Pair, Product]
    lanes: tuple[int, ...]

    def __call__(
        self,
        node: Node,
        *,
        known: Mapping[str, Float[Array, "time size=_ *lanes"]],
        drive: Mapping[str, Float[Array, "time=_ size=_ ..."]],
        extras: Mapping[str, Any],
        before: Mapping[str, Float[Array, "longest_delay=_ size=_ *lanes"]],
        steps: int,
        reverse: bool = False,
    ) -> tuple[Values, Values]:
        """Runs the recursion over all blocks.

        Args:
            node: `(layer, x, extra) -> y`, on arrays `(time, size, *lanes)`.
            known: Signals that are read but not computed, `(time, size, *lanes)`.
            drive: External contribution to x of each layer: `(time, size, *lanes)`, or with axes of length 1 for time
                and lanes if it is constant, such as a bias.
            extras: Further arguments of `node` by layer: arrays with a leading time axis, or None.
            before: Delay lines before the first step, by source; zero for sources left out.
            steps: Number of time steps.
            reverse: Whether time runs from the last step to the first.

        Returns:
            `(x, y)` by layer, each `(time, size, *lanes)`.
        """
        x: Values = {}
        y: Values = dict(known)
        lines: Values = {}
        for block in self.blocks:
            into = {name: drive[name] for name in block.layers}
            narrow: dict[str, list[tuple[Array, Product]]] = {name: [] for name in block.layers}
            for to, source in block.incoming:
                if source not in lines:
                    longest = max(d[-1] for (_, s), d in self.delays.items() if s == source)
                    lines[source] = extend(_held(before.get(source), longest, y[source], reverse), y[source], reverse)
                column = taps(lines[source], self.delays[to, source], steps, reverse)
                if block.chunk is not None and few(column.shape[1], self.lanes):
                    narrow[to].append((column, self.incoming[to, source]))
                else:
                    into[to] = into[to] + self.incoming[to, source](column)
            if block.chunk is None:
                found = self._at_once(block, node, into, extras, steps)
            else:
                found = self._in_a_loop(block, node, into, narrow, extras, before, steps, reverse)
            x |= found[0]
            y |= found[1]
        return x, {name: value for name, value in y.items() if name not in known}

    def _at_once(self, block, node, drive, extras, steps) -> tuple[Values, Values]:
        (name,) = block.layers
        x = jnp.broadcast_to(drive[name], (steps, drive[name].shape[1], *self.lanes))
        return {name: x}, {name: node(name, x, extras.get(name))}

    def _in_a_loop(self, block, node, drive, narrow, extras, before, steps, reverse) -> tuple[Values, Values]:
        inside, lanes = self.inside[block], self.lanes
        sizes = {name: drive[name].shape[1] for name in block.layers}
        # Constant drives are not scanned over.
        steady = {name: d for name, d in drive.items() if d.shape != (steps, sizes[name], *lanes)}
        varying = {name: d for name, d in drive.items() if name not in steady}
        columns = {name: [column for column, _ in reads] for name, reads in narrow.items()}
        ends = [sum(sizes[r] for r in inside.receivers[: k + 1]) for k in range(len(inside.receivers))]

        held = [
            _held(before.get(name), block.longest_delay, jnp.zeros((0, sizes[name], *lanes), inside.dtype), reverse)
            for name in inside.senders
        ]
        line = line_inside(held[0] if len(held) == 1 else jnp.concatenate(held, axis=1), steps, reverse)

        def advance(carried, t, length, sequences):
            chunk_drive, chunk_columns, chunk_extras = sequences
            arriving = inside.product(line.taps(carried, t, block.delays, length))
            arriving = {
                name: arriving[:, end - sizes[name] : end] for name, end in zip(inside.receivers, ends, strict=True)
            }
            x, y = {}, {}
            for name in block.layers:
                parts = [chunk_drive[name] if name in chunk_drive else steady[name]]
                parts += [times(c) for c, (_, times) in zip(chunk_columns[name], narrow[name], strict=True)]
                parts += [arriving[name]] if name in arriving else []
                parts += [self.instant[to, source](y[source]) for to, source in block.instant if to == name]
                x[name] = jnp.broadcast_to(sum(parts[1:], start=parts[0]), (length, sizes[name], *lanes))
                if apart(lanes):
                    x[name] = platform.barrier(x[name])
                y[name] = node(name, x[name], chunk_extras[name])
            sent = [y[name] for name in inside.senders]
            carried = line.push(carried, t, sent[0] if len(sent) == 1 else jnp.concatenate(sent, axis=1))
            return carried, (
                x,
                {name: value for name, value in y.items() if not (line.kept and name in inside.senders)},
            )

        sequences = varying, columns, {name: extras.get(name) for name in block.layers}
        carried, (x, y) = _in_chunks(advance, line.start, sequences, steps, block.chunk, reverse)
        if isinstance(line, History):
            end, signal = 0, line.signal(carried)
            for name in inside.senders:
                end += sizes[name]
                y[name] = signal[:, end - sizes[name] : end]
        return x, y


@dataclass(frozen=True)
class Inside:
    """All delayed connections inside a block as one matrix product.

    Attributes:
        receivers: Layers that read through a delay, in the order of the product's rows.
        senders: Layers that are read through a delay, in the order of the delay line.
        product: The product with the taps of the delay line.
        dtype: The dtype of the matrix.
    """

    receivers: tuple[str, ...]
    senders: tuple[str, ...]
    product: Product
    dtype: Any


def prepare(
    blocks: Sequence[Block],
    delays: Mapping[Pair, Sequence[int]],
    weights: Mapping[Pair, Float[Array, "delays=_ to=_ from=_"]],
    lanes: tuple[int, ...],
) -> Recursion:
    """Converts the matrices of a recursion to the form in which they are multiplied.

    Args:
        blocks: The blocks in the order they run in; for the adjoint, reversed and transposed.
        delays: Delays of each pair (to, source).
        weights: `(delay, to, from)` of each pair.
        lanes: Sizes of the lane axes, those after time and size.
    """
    if any(block.chunk is not None for block in blocks):
        platform.tell_of_the_flag()
    return Recursion(
        blocks,
        delays,
        {pair: stacked(weights[pair], lanes) for block in blocks for pair in block.incoming},
        {block: _pack(block, delays, weights, lanes) for block in blocks if block.chunk is not None},
        {pair: product(_matrix(weights, delays, pair, 0), lanes) for block in blocks for pair in block.instant},
        lanes,
    )


def stacked(weights: Float[Array, "delays to from"], lanes: tuple[int, ...]) -> Product:
    """Returns the function from the taps of all delays to Σ_d W(d) y(t−d); `weights` is `(delay, to, from)`."""
    count, to, from_ = weights.shape
    side_by_side = weights[0] if count == 1 else einsum("dij->idj", weights).reshape(to, count * from_)
    return product(side_by_side, lanes)


def _held(
    line: Float[Array, "_ size *lanes"] | None, count: int, like: Float[Array, "_ size *lanes"], reverse: bool
) -> Float[Array, "{count} size *lanes"]:
    """Returns the delay line before the first step, `count` values long; zeros if none is given."""
    held = resized(line, count, reverse)
    return jnp.zeros((count, *like.shape[1:]), like.dtype) if held is None else held


def _in_chunks(advance, carried, sequences, steps, chunk, reverse):
    """Scans over whole chunks, then advances over the remaining steps (in reverse, these are the first)."""
    whole, rest = divmod(steps, chunk)
    cut = whole * chunk
    if whole <= 1 and rest == 0:
        return advance(carried, 0, steps, sequences)
    parts = []
    first, left = (rest, 0) if reverse else (0, cut)
    if whole:
        chunks = jax.tree.map(lambda s: s[first : first + cut].reshape(whole, chunk, *s.shape[1:]), sequences)
        carried, done = jax.lax.scan(
            lambda carried, now: advance(carried, now[0], chunk, now[1]),
            carried,
            (jnp.arange(first, first + cut, chunk), chunks),
            reverse=reverse,
        )
        parts.append(jax.tree.map(lambda s: s.reshape(cut, *s.shape[2:]), done))
    if rest:
        remaining = jax.tree.map(lambda s: s[left : left + rest], sequences)
        carried, done = advance(carried, left, rest, remaining)
        parts.append(done)
    if len(parts) == 1:
        return carried, parts[0]
    return carried, jax.tree.map(lambda a, b: extend(a, b, reverse), *parts)


def _pack(block: Block, delays, weights, lanes) -> Inside:
    receivers = tuple(name for name in block.layers if any(to == name for (to, _), _ in block.delayed))
    senders = tuple(sorted({source for (_, source), _ in block.delayed}))
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
    return Inside(receivers, senders, product(jnp.concatenate(rows, axis=0), lanes), some.dtype)


def _matrix(weights, delays, pair: Pair, d: int) -> Float[Array, "to from"]:
    return weights[pair][tuple(delays[pair]).index(d)]
