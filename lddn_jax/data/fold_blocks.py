"""Cross-validation of dynamic models: folds of records that mask blocks of time and simulate through them.

    record      |   block 0   |   block 1   |   block 2   |   block 3   |
    fold 0      | ll········· | xxxxxxxxxxx | xxxxxxxxxxx | xxxxxxxxxxx |      x trained on   · held out
    fold 1      | xxxxxxxxxxx > ··········· | xxxxxxxxxxx | xxxxxxxxxxx |      > the simulation continues

Each fold holds out every `count`-th block. A sequence runs from the training samples before a held-out block through
it, so the block is predicted in free run from a state that the training samples determine; what follows the block is a
new sequence with a first state of its own. A block at the start of a record has nothing before it, so its first
samples, `lead`, are trained on.

Single samples are never held out at random, because neighboring samples are correlated.

Training stops before a held-out block, where its weights are zero, so training sequences are shorter than those of the
validation. With `piece`, long stretches are divided into sequences of about this many training samples, each with a
first state of its own: all sequences of a batch take as long as the longest one.

Bergmeir, Hyndman & Koo (2018), Computational Statistics & Data Analysis 120, for time series.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lddn_jax.checks import check_positive
from lddn_jax.data.records import Record, Records, as_records
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.starts import AbstractStart, Trained, begin
from lddn_jax.data.windowing import starts_of
from lddn_jax.errors import DataError
from lddn_jax.losses import error_weights
from lddn_jax.network.signals import Signals
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology


class Span(NamedTuple):
    """The rows [start, stop) of a record as one sequence; [held_from, stop) are held out, none if it equals `stop`."""

    record: int
    start: int
    stop: int
    held_from: int


@dataclasses.dataclass(frozen=True)
class FoldData:
    """The sequences of one fold.

    Attributes:
        train: The sequences up to their held-out blocks, or further with weights of zero.
        validation: The same sequences to their ends, with error weights other than zero in held-out blocks only.
        spans: The rows of each sequence.
        firsts: The row of the first step of each sequence.
    """

    train: Sequences
    validation: Sequences
    spans: tuple[Span, ...]
    firsts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Folds:
    """Records, and the blocks of them that each fold holds out; from `folds`.

    Attributes:
        records: The records.
        count: Number of folds.
        blocks: Blocks of each record as the rows of their edges.
        lead: Number of samples at the start of a record that a held-out block leaves to training; at most half of it.
        piece: Training samples of a sequence, at most; None for no limit.
    """

    records: tuple[Record, ...]
    count: int
    blocks: tuple[tuple[int, ...], ...]
    lead: int
    piece: int | None = None

    def spans(self, fold: int) -> list[Span]:
        """Returns the sequences of a fold as rows of the records."""
        found, number = [], 0
        for record, edges in enumerate(self.blocks):
            start = edges[0]
            for a, b in itertools.pairwise(edges):
                if number % self.count == fold:
                    *before, start = self._cut(start, a)
                    found += [Span(record, *rows, rows[1]) for rows in itertools.pairwise((*before, start))]
                    found.append(Span(record, start, b, a if a > start else a + min(self.lead, (b - a) // 2)))
                    start = b
                number += 1
            found += self._trained(record, start, edges[-1])
        return found

    def _cut(self, start: int, stop: int) -> list[int]:
        """The first rows of the sequences of a stretch of training samples."""
        count = 1 if self.piece is None else max(1, -(-(stop - start) // self.piece))
        return np.round(np.linspace(start, stop, count + 1)).astype(int).tolist()[:-1]

    def _trained(self, record: int, start: int, stop: int) -> list[Span]:
        """The sequences of a stretch without a held-out block."""
        rows = itertools.pairwise((*self._cut(start, stop), stop))
        return [Span(record, a, b, b) for a, b in rows if b > a]

    def usable_spans(self, topology: Topology, fold: int) -> list[Span]:
        """Returns the sequences of a fold that are longer than the delay lines of a network, those of `data`."""
        return self._long_enough(topology, self.spans(fold))

    def training(self, fold: int) -> list[Record]:
        """Returns the stretches of the records that a fold trains on, without the leads of held-out blocks."""
        found, number = [], 0
        for record, edges in zip(self.records, self.blocks, strict=True):
            start = edges[0]
            for a, b in itertools.pairwise(edges):
                if number % self.count == fold:
                    found += [record.piece(start, a)] if a > start else []
                    start = b
                number += 1
            found += [record.piece(start, edges[-1])] if edges[-1] > start else []
        return found

    def data(self, topology: Topology, fold: int, start: AbstractStart | None = None) -> FoldData:
        """Returns the sequences of a fold for a network.

        All folds have the same shape, so that they share compiled programs: those with fewer sequences are filled up
        with sequences of weight zero.

        Args:
            topology: Topology of the network.
            fold: Number of the fold, from 0.
            start: How sequences start; `Trained()` if None. See `lddn_jax.data.begin`.

        Raises:
            DataError: If `fold` is not a fold.
        """
        self._check(fold)
        spans = self.usable_spans(topology, fold)
        firsts, data, filling = self._begun(topology, spans, start)
        count, trained_steps, steps = self._shape(topology, filling)
        data = _padded(data, count, steps)
        held = np.zeros((*data.batch, data.steps, 1), bool)
        for k, (span, first) in enumerate(zip(spans, firsts, strict=True)):
            held[k, max(span.held_from - first, 0) : span.stop - first] = True
        weights = error_weights(data.weights, _targets(data))
        trained, left = ({name: jnp.asarray(np.where(m, w, 0)) for name, w in weights.items()} for m in (~held, held))
        return FoldData(
            _shortened(dataclasses.replace(data, weights=trained), trained_steps),
            dataclasses.replace(data, weights=left),
            tuple(spans),
            firsts,
        )

    def whole(self, topology: Topology, start: AbstractStart | None = None) -> FoldData:
        """Returns all of the records as sequences, for training after the choice of a model.

        Their shape is that of the training sequences of a fold if they are not longer.
        """
        spans = self._whole(topology)
        firsts, data, filling = self._begun(topology, spans, start)
        count, steps, _ = self._shape(topology, filling)
        data = _padded(data, max(count, len(spans)), max(steps, data.steps))
        return FoldData(data, data, tuple(spans), firsts)

    def _whole(self, topology: Topology) -> list[Span]:
        every = [self._trained(record, edges[0], edges[-1]) for record, edges in enumerate(self.blocks)]
        return self._long_enough(topology, list(itertools.chain.from_iterable(every)))

    def _shape(self, topology: Topology, filling: int) -> tuple[int, int, int]:
        """Number of sequences of a fold, of steps to train on, and of steps with the held-out blocks."""
        every = [self.usable_spans(topology, number) for number in range(self.count)]
        first = [[max(span.start, filling) for span in spans] for spans in every]
        pairs = [pair for spans, rows in zip(every, first, strict=True) for pair in zip(spans, rows, strict=True)]
        trained = max(span.held_from - row for span, row in pairs)
        return max(map(len, every)), trained, max(span.stop - row for span, row in pairs)

    def gathered(
        self, fold: FoldData, outputs: Mapping[str, Float[Array | np.ndarray, "sequences time size=_"]]
    ) -> list[dict[str, Float[np.ndarray, "rows=_ size=_"]]]:
        """Returns the outputs in held-out blocks as rows of the records, NaN elsewhere.

        Args:
            fold: From `data`.
            outputs: Outputs of a network for these sequences.
        """
        found = [
            {name: np.full((len(record), np.shape(outputs[name])[-1]), np.nan) for name in outputs}
            for record in self.records
        ]
        for k, (span, first) in enumerate(zip(fold.spans, fold.firsts, strict=True)):
            a, b = max(span.held_from, first), span.stop
            for name, output in outputs.items():
                found[span.record][name][a:b] = np.asarray(output)[k, a - first : b - first]
        return found

    def _check(self, fold: int) -> None:
        if not 0 <= fold < self.count:
            raise DataError(f"fold={fold}, but there are {self.count} folds, 0 to {self.count - 1}.")

    def _first(self, topology: Topology, span: Span) -> int:
        """The row of the first step; the rows before it fill the delay state."""
        longest = max(plan(topology).longest_delays.values(), default=0)
        return max(span.start, longest)

    def _begun(
        self, topology: Topology, spans: list[Span], start: AbstractStart | None
    ) -> tuple[tuple[int, ...], Sequences, int]:
        """The row of the first step of each sequence, the sequences, and how many rows fill their delay lines."""
        longest = max(plan(topology).longest_delays.values(), default=0)
        start = Trained() if start is None else start
        rows = [max(span.start - longest, 0) for span in spans]
        pieces = self._pieces(spans, rows)
        data = begin(topology, pieces, start)
        if data.steps == max(map(len, pieces)):  # all rows are steps, so none may come from before its span
            rows = [span.start for span in spans]
            return tuple(rows), begin(topology, self._pieces(spans, rows), start), 0
        return (
            tuple(row + starts_of(topology, piece, 1)[0] for row, piece in zip(rows, pieces, strict=True)),
            data,
            longest,
        )

    def _pieces(self, spans: list[Span], rows: list[int]) -> list[Record]:
        return [self.records[span.record].piece(row, span.stop) for span, row in zip(spans, rows, strict=True)]

    def _long_enough(self, topology: Topology, spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.stop > self._first(topology, span)]


def folds(
    records: Records, count: int = 4, *, length: int | None = None, lead: int = 20, piece: int | None = None
) -> Folds:
    """Divides records into folds for cross-validation in free run.

    Args:
        records: A `Record` or a list of records, of any length. Missing targets are neither trained on nor scored.
        count: Number of folds.
        length: Samples of a block, about; None for as many blocks as folds. Blocks are counted over all records, and
            fold k holds out those whose number is k modulo `count`.
        lead: Number of samples at the start of a record that are trained on even if its first block is held out,
            because they determine its first state; at most half of the block.
        piece: Training samples of a sequence, at most. Long stretches are divided, so that sequences are equally long
            and computed faster; each has a first state of its own. None to divide only where a block is held out.

    Returns:
        `Folds`.

    Raises:
        DataError: If a number is invalid, or there are fewer blocks than folds.

    Example:
        >>> import numpy as np, lddn_jax as lddn
        >>> record = Record({"u": np.ones((80, 1))}, {"y": np.ones((80, 1))})
        >>> found = folds(record, 4, lead=5)
        >>> [tuple(span) for span in found.spans(1)]
        [(0, 0, 40, 20), (0, 40, 80, 80)]
        >>> data = found.data(lddn.models.state_space({"u": 1}, {"y": 1}), 1)
        >>> data.train.batch, int(data.train.weights["y"].sum()), int(data.validation.weights["y"].sum())
        ((2,), 59, 20)
    """
    records = as_records(records, "folds")
    for name, value in (("count", count), ("lead", lead), ("length", length), ("piece", piece)):
        if value is not None:
            check_positive(name, value)
    if count < 2:
        raise DataError(f"folds: count={count}; one fold would hold out everything. Write count=4.")
    total = sum(map(len, records))
    size = total / count if length is None else length
    blocks = []
    for record in records:
        number = max(1, round(len(record) / size))
        blocks.append(tuple(np.round(np.linspace(0, len(record), number + 1)).astype(int).tolist()))
    # Rounding may give one long record fewer blocks than folds.
    if sum(len(edges) - 1 for edges in blocks) < count:
        longest = int(np.argmax([len(record) for record in records]))
        number = count - sum(len(edges) - 1 for k, edges in enumerate(blocks) if k != longest)
        blocks[longest] = tuple(np.round(np.linspace(0, len(records[longest]), number + 1)).astype(int).tolist())
    if min(b - a for edges in blocks for a, b in itertools.pairwise(edges)) < 2:
        raise DataError(
            f"folds: {total} samples in {len(records)} records do not give {count} blocks of at least 2 samples. "
            "Use fewer folds, or longer records."
        )
    return Folds(tuple(records), count, tuple(blocks), lead, piece)


def _padded(data: Sequences, count: int, steps: int) -> Sequences:
    """The sequences with others of weight zero appended, and with steps of weight zero at their ends."""
    more, longer = count - data.batch[0], steps - data.steps

    def filled(signal, value):
        mode = "edge" if value is None else "constant"
        steps = np.pad(np.asarray(signal), ((0, 0), (0, longer), (0, 0)), mode=mode)
        return jnp.asarray(np.pad(steps, ((0, more), (0, 0), (0, 0))))

    weights = error_weights(data.weights, _targets(data))
    return dataclasses.replace(
        data,
        inputs={name: filled(signal, None) for name, signal in cast(Signals, data.inputs or {}).items()},
        targets={name: filled(signal, 0) for name, signal in _targets(data).items()},
        state=data.state
        and {name: jnp.asarray(np.pad(line, ((0, more), (0, 0), (0, 0)))) for name, line in data.state.items()},
        weights={name: filled(signal, 0) for name, signal in weights.items()},
    )


def _shortened(data: Sequences, steps: int) -> Sequences:
    """The first steps of the sequences."""

    def first(signals):
        return {name: jnp.asarray(np.asarray(signal)[:, :steps]) for name, signal in (signals or {}).items()}

    return dataclasses.replace(
        data, inputs=first(data.inputs), targets=first(data.targets), weights=first(data.weights)
    )


def _targets(data: Sequences) -> Signals:
    return cast(Signals, data.targets)
