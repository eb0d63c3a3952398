"""The recursion over the blocks of a plan, shared by simulation, BPTT and RTRL.

All three are the same recursion with different quantities:

    x^m(t) = drive^m(t) + Σ_{m reads l} Σ_d W^{m,l}(d) y^l(t−d)        y^m(t) = node(m, x^m(t))

where a layer that multiplies has x^m(t) = ⊙_l y^l(t), the product of its factors (`topology/product_factors.py`).

- simulation: y = a, node = f, the drive is the biases; inputs are known signals that are read like layers;
- BPTT: y = n̄, node = multiply by ḟ, the drive is ∂ᵉF/∂a; connections are reversed (Wᵀ) and time runs backward;
- RTRL: y = ∂a/∂x, node = multiply by ḟ, the drive is ∂ᵉn/∂x; one more axis of lanes for the parameters.

So blocks, chunks and delay lines are implemented only here. Connections from outside a block are contracted over all
time before the loop; those with few taps are multiplied inside it, without an intermediate array of all times. The
carry of the loop is one packed array, the delay line of all layers that are read through a delay inside the block.
"""

import functools
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.numerics import platform
from lddn_jax.numerics.connection_product import ConnectionWeights, is_elementwise, single_product, tapped_product
from lddn_jax.numerics.contraction import Product, apart, few, product
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
        elementwise: The pairs whose products are elementwise.
        products: The layers that multiply what they read, at delay 0, where the others add.
        lanes: Sizes of the lane axes, those after time and size.
    """

    blocks: Sequence[Block]
    delays: Mapping[Pair, Sequence[int]]
    incoming: Mapping[Pair, Product]
    inside: Mapping[Block, "Inside"]
    instant: Mapping[Pair, Product]
    elementwise: frozenset[Pair]
    products: frozenset[str]
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
            into = {name: drive[name] for name in block.layers if name not in self.products}
            narrow: dict[str, list[tuple[Array, Product]]] = {name: [] for name in block.layers}
            for to, source in block.incoming:
                if source not in lines:
                    longest = max(d[-1] for (_, s), d in self.delays.items() if s == source)
                    lines[source] = extend(_held(before.get(source), longest, y[source], reverse), y[source], reverse)
                column = taps(lines[source], self.delays[to, source], steps, reverse)
                if block.chunk is not None and self._inside_the_loop((to, source), column):
                    narrow[to].append((column, self.incoming[to, source]))
                else:
                    arrived = self.incoming[to, source](column)
                    into[to] = self._combined(to, [into[to], arrived]) if to in into else arrived
            if block.chunk is None:
                found = self._at_once(block, node, into, extras, steps)
            else:
                sizes = {name: drive[name].shape[1] for name in block.layers}
                found = self._in_a_loop(block, node, sizes, into, narrow, extras, before, steps, reverse)
            x |= found[0]
            y |= found[1]
        return x, {name: value for name, value in y.items() if name not in known}

    def _combined(self, name: str, parts: list[Float[Array, "..."]]) -> Float[Array, "..."]:
        """Returns the net input of a layer: the sum of all parts, or their product."""
        return functools.reduce(operator.mul if name in self.products else operator.add, parts)

    def _inside_the_loop(self, pair: Pair, column: Float[Array, "time taps *lanes"]) -> bool:
        """Whether the product with taps from outside of a loop is computed inside of it."""
        if pair in self.elementwise:
            return len(self.delays[pair]) == 1
        return few(column.shape[1], self.lanes)

    def _summed_apart(self, block: Block, name: str) -> bool:
        """Whether a net input is computed by a kernel of its own: not if all its connections are elementwise."""
        delayed = {pair for pair, _ in block.delayed}
        read = {pair for pair in {*block.incoming, *block.instant, *delayed} if pair[0] == name}
        return apart(self.lanes) and not (read and read <= self.elementwise)

    def _at_once(self, block, node, drive, extras, steps) -> tuple[Values, Values]:
        (name,) = block.layers
        x = jnp.broadcast_to(drive[name], (steps, drive[name].shape[1], *self.lanes))
        return {name: x}, {name: node(name, x, extras.get(name))}

    def _in_a_loop(self, block, node, sizes, drive, narrow, extras, before, steps, reverse) -> tuple[Values, Values]:
        inside, lanes = self.inside[block], self.lanes
        # Constant drives are not scanned over.
        steady = {name: d for name, d in drive.items() if d.shape != (steps, sizes[name], *lanes)}
        varying = {name: d for name, d in drive.items() if name not in steady}
        columns = {name: [column for column, _ in reads] for name, reads in narrow.items()}
        kernels = {name: self._summed_apart(block, name) for name in block.layers}

        held = [
            _held(before.get(name), block.longest_delay, jnp.zeros((0, sizes[name], *lanes), inside.dtype), reverse)
            for name in inside.senders
        ]
        line = line_inside(held[0] if len(held) == 1 else jnp.concatenate(held, axis=1), steps, reverse)

        def advance(carried, t, length, sequences):
            chunk_drive, chunk_columns, chunk_extras = sequences
            arriving = inside(lambda delays: line.taps(carried, t, delays, length), sizes)
            x, y = {}, {}
            for name in block.layers:
                parts = [given[name] for given in (chunk_drive, steady) if name in given]
                parts += [times(c) for c, (_, times) in zip(chunk_columns[name], narrow[name], strict=True)]
                parts += arriving.get(name, [])
                parts += [self.instant[to, source](y[source]) for to, source in block.instant if to == name]
                x[name] = jnp.broadcast_to(self._combined(name, parts), (length, sizes[name], *lanes))
                if kernels[name]:
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
    """All delayed connections inside a block: those with matrices as one matrix product, the others elementwise.

    Attributes:
        receivers: Layers that read through matrices and a delay, in the order of the product's rows.
        senders: Layers that are read through a delay, in the order of the delay line; first those read by matrices.
        read: Those read by matrices.
        delays: The delays at which they are read.
        product: The product with the taps of these layers.
        elementwise: Pairs (to, source), a delay, and the elementwise product with the source's value.
        dtype: The dtype of the weights.
    """

    receivers: tuple[str, ...]
    senders: tuple[str, ...]
    read: tuple[str, ...]
    delays: tuple[int, ...]
    product: Product | None
    elementwise: tuple[tuple[Pair, int, Product], ...]
    dtype: Any

    def __call__(
        self, taps: Callable[[Sequence[int]], Float[Array, "time _ *lanes"]], sizes: Mapping[str, int]
    ) -> dict[str, list[Float[Array, "time size=_ *lanes"]]]:
        """Returns what arrives at each layer.

        Args:
            taps: Returns the values of all senders at some delays, stacked on the axis of neurons.
            sizes: Sizes of all layers of the block.
        """
        found: dict[str, list[Array]] = {}
        windows = {d: taps((d,)) for d in sorted({d for _, d, _ in self.elementwise})}
        if self.product is not None:
            width = sum(sizes[name] for name in self.read)
            if self.read == self.senders:
                column = taps(self.delays)
            else:
                column = jnp.concatenate(
                    [(windows[d] if d in windows else taps((d,)))[:, :width] for d in self.delays], axis=1
                )
            rows, end = self.product(column), 0
            for name in self.receivers:
                end += sizes[name]
                found[name] = [rows[:, end - sizes[name] : end]]
        starts = {name: sum(sizes[s] for s in self.senders[:k]) for k, name in enumerate(self.senders)}
        for (to, source), d, times in self.elementwise:
            value = windows[d][:, starts[source] : starts[source] + sizes[source]]
            found.setdefault(to, []).append(times(value))
        return found


def prepare(
    blocks: Sequence[Block],
    delays: Mapping[Pair, Sequence[int]],
    weights: Mapping[Pair, ConnectionWeights],
    lanes: tuple[int, ...],
    dtype: Any,
    products: Collection[str] = (),
) -> Recursion:
    """Converts the matrices of a recursion to the form in which they are multiplied.

    Args:
        blocks: The blocks in the order they run in; for the adjoint, reversed and transposed.
        delays: Delays of each pair (to, source).
        weights: Weights of each pair, see `connection_product.py`.
        lanes: Sizes of the lane axes, those after time and size.
        dtype: The dtype of the weights.
        products: The layers that multiply what they read.
    """
    if any(block.chunk is not None for block in blocks):
        platform.tell_of_the_flag()
    return Recursion(
        blocks,
        delays,
        {pair: tapped_product(weights[pair], len(delays[pair]), lanes) for block in blocks for pair in block.incoming},
        {block: _pack(block, delays, weights, lanes, dtype) for block in blocks if block.chunk is not None},
        {
            pair: single_product(weights[pair], _place(delays, pair, 0), lanes)
            for block in blocks
            for pair in block.instant
        },
        frozenset(pair for pair in delays if pair in weights and is_elementwise(weights[pair])),
        frozenset(products),
        lanes,
    )


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


def _pack(block: Block, delays, weights, lanes, dtype) -> Inside:
    inside = {pair: inner for pair, inner in block.delayed}
    dense = {pair: inner for pair, inner in inside.items() if not is_elementwise(weights[pair])}
    receivers = tuple(name for name in block.layers if any(to == name for to, _ in dense))
    read = tuple(sorted({source for _, source in dense}))
    senders = (*read, *sorted({source for _, source in inside} - set(read)))
    rows_of = {to: weights[to, source].shape[1] for to, source in dense}
    columns_of = {source: weights[to, source].shape[2] for to, source in dense}
    used = tuple(sorted({d for inner in dense.values() for d in inner}))
    rows = []
    for to in receivers:
        row = []
        for d in used:
            for source in read:
                if d in dense.get((to, source), ()):
                    row.append(weights[to, source][_place(delays, (to, source), d)])
                else:
                    row.append(jnp.zeros((rows_of[to], columns_of[source]), dtype))
        rows.append(jnp.concatenate(row, axis=1))
    elementwise = tuple(
        (pair, d, single_product(weights[pair], _place(delays, pair, d), lanes))
        for pair, inner in inside.items()
        if pair not in dense
        for d in inner
    )
    times = product(jnp.concatenate(rows, axis=0), lanes) if rows else None
    return Inside(receivers, senders, read, used, times, elementwise, dtype)


def _place(delays: Mapping[Pair, Sequence[int]], pair: Pair, d: int) -> int:
    """Returns the place of a delay among those of its connection."""
    return tuple(delays[pair]).index(d)
