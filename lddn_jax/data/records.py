"""`Record`: one measured record, with inputs and targets by name.

A record holds evenly sampled signals, u(0) … u(T−1) and y(0) … y(T−1). Several records, of unequal length and with
gaps, are passed as a list to `stack`, `windows`, `whole` and `divide`.

Signals may have missing values with `missing="mask"`. It excludes missing targets from losses and scores. Missing
inputs cut the record, because a simulation would propagate NaN to all later steps: see `unbroken`.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from lddn_jax.checks import called, whole_number
from lddn_jax.data.decimation import decimated
from lddn_jax.data.reading import READING, Reading
from lddn_jax.data.sampling import uniform_sampling
from lddn_jax.data.sources import Names, columns_of, label_of, opened_sources, signals_of
from lddn_jax.errors import DataError, ShapeError, fix
from lddn_jax.network.signals import SignalLike, real

LEAST_DECIMATED_SAMPLES = 10  # of a record, below which decimation is a mistake


@dataclasses.dataclass(frozen=True, eq=False, repr=False, init=False)
class Record:
    """One measured record, immutable. `Record.of` builds one from a table, data frame or file.

    Args:
        inputs: `(time, size)` by name; may be empty.
        targets: `(time, size)` by name; NaN where missing.
        time: Sampling instants, `(time,)`, in seconds or any other unit; None if unknown.
        name: Name of the record in error messages.
        missing: "error" to reject signals that are NaN; "mask" to exclude missing targets from losses and scores, and
            to cut the record where inputs are missing.
        notes: How the file was read that the record comes from, where there was a choice.

    Attributes:
        inputs, targets, time: The arguments as read-only float64 arrays.

    Raises:
        DataError: If a signal is infinite, or NaN with `missing="error"`, sampling is uneven, or there is no target.
        ShapeError: If a signal is not `(time, size)`, or lengths differ.

    Example:
        >>> import numpy as np
        >>> record = Record({"u": np.zeros((50, 1))}, {"y": np.ones((50, 2))}, name="monday")
        >>> record
        Record('monday', 50 samples of u:1 -> y:2)
        >>> len(record.piece(10, 30))
        20
    """

    inputs: Mapping[str, Float[np.ndarray, "time size=_"]]
    targets: Mapping[str, Float[np.ndarray, "time size=_"]]
    time: Float[np.ndarray, " time"] | None = None
    name: str = ""
    missing: str = "error"
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        inputs: Mapping[str, SignalLike],
        targets: Mapping[str, SignalLike],
        time: Shaped[ArrayLike, " time"] | Sequence[float | int] | None = None,
        name: str = "",
        missing: str = "error",
        notes: Sequence[str] = (),
    ):
        fields = {"inputs": inputs, "targets": targets, "time": time, "name": name, "missing": missing}
        fields |= {"notes": tuple(notes)}
        for field, value in fields.items():
            object.__setattr__(self, field, value)
        if self.missing not in ("error", "mask"):
            raise DataError(f'missing={self.missing!r}; write missing="error" or missing="mask".')
        for kind, example in (("inputs", "u"), ("targets", "y")):
            given = getattr(self, kind)
            if not isinstance(given, Mapping):
                raise ShapeError(
                    f"{self._called}: {kind} is {called(given)}, but signals are given by name: "
                    f"{kind}={{'{example}': array}}."
                )
        if not self.targets:
            raise DataError(f"{self._called} has no targets; pass at least one signal to predict.")
        both = sorted(set(self.inputs) & set(self.targets))
        if both:
            past = fix(
                f"Give the measured past of the target another name: inputs=[{{'measured_{both[0]}': ['{both[0]}']}}]",
                "Its past is fed back without being named, so leave it out of --inputs",
            )
            raise DataError(f"{self._called}: {both[0]!r} is both an input and a target. {past}.")
        for kind in ("input", "target"):
            given = getattr(self, f"{kind}s")
            object.__setattr__(self, f"{kind}s", {name: self._signal(kind, name, x) for name, x in given.items()})
        lengths = {name: x.shape[0] for name, x in {**self.inputs, **self.targets}.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"{self._called}: signals differ in length: {lengths} samples. Cut all to one length.")
        self._check_time()
        for kind, signals in (("input", self.inputs), ("target", self.targets)):
            for name, signal in signals.items():
                self._check_finite(kind, name, signal)

    @classmethod
    def of(
        cls,
        source: Any,
        inputs: Names = (),
        targets: Names = (),
        *,
        time: str | bool | None = None,
        name: str = "",
        missing: str = "error",
        reading: Reading | None = None,
    ) -> "Record":
        """Builds a record from a table, mapping, data frame, file or object.

        Args:
            source: A `Table`; a mapping of arrays `(time,)` or `(time, size)`; a pandas or polars data frame; the path
                of a .csv or .mat file; or an object with arrays `u` and `y`, whose channels get the names given here.
            inputs: Names of the input columns. `{"u": ["u_1", "u_2"]}` in place of a name combines columns into one
                signal.
            targets: Names of the target columns, in the same form.
            time: Name of the column of sampling instants, numbers or dates; it is checked for even sampling. By default
                one that is called time, timestamp or date, if there is one; False for none.
            name: Name of the record in error messages; by default the name of the file.
            missing: "error" to reject signals that are NaN, or "mask" for gaps, as in `Record`.
            reading: How a file is read; see `Reading`.

        Raises:
            DataError: If a column is missing, not numeric, or has a NaN that is not allowed.
            ShapeError: If an array is not `(time, size)`.

        Example:
            >>> import numpy as np
            >>> from lddn_jax.data.tables import Table
            >>> table = Table({"t": np.arange(9) * 0.1, "a": np.ones(9), "b": np.ones(9), "level": np.zeros(9)})
            >>> Record.of(table, inputs=[{"pumps": ["a", "b"]}], targets=["level"], time="t")
            Record(9 samples of pumps:2 -> level:1)
        """
        name = name or label_of(source)
        try:
            driving, measured, instants, notes = signals_of(source, inputs, targets, time, reading)
        except (DataError, ShapeError) as error:
            raise type(error)(f"record {name!r}: {error}" if name else str(error)) from error
        record = cls(driving, measured, instants, name, missing, notes)
        return record.decimate((READING if reading is None else reading).decimate)

    def __len__(self) -> int:
        """Number of samples."""
        return next(iter(self.targets.values())).shape[0]

    def __repr__(self) -> str:
        def listed(signals):
            return ", ".join(f"{name}:{signal.shape[1]}" for name, signal in signals.items()) or "nothing"

        called = f"{self.name!r}, " if self.name else ""
        return f"Record({called}{len(self)} samples of {listed(self.inputs)} -> {listed(self.targets)})"

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Number of elements by signal name, for "inputs" and "targets"."""
        signals = {"inputs": self.inputs, "targets": self.targets}
        return {kind: {name: x.shape[1] for name, x in named.items()} for kind, named in signals.items()}

    @property
    def sample_time(self) -> float | None:
        """Sampling interval; None if `time` is None."""
        return None if self.time is None or len(self) < 2 else uniform_sampling(self.time)

    def measured_rows(self, targets: Iterable[str] | None = None) -> int:
        """Returns the number of rows up to the last one in which a target was measured; 0 if none was.

        Args:
            targets: Names of the targets to look at; None for all.

        Example:
            >>> import numpy as np
            >>> y = np.array([0, np.nan, 2, np.nan])[:, None]
            >>> Record({}, {"y": y}, missing="mask").measured_rows()
            3
        """
        names = self.targets if targets is None else targets
        known = np.any([~np.isnan(self.targets[name]).all(axis=1) for name in names], axis=0)
        return int(np.flatnonzero(known)[-1]) + 1 if known.any() else 0

    def piece(self, start: int, stop: int) -> "Record":
        """Returns the samples [start, stop) as a record with the same name."""
        if not 0 <= start < stop <= len(self):
            raise DataError(f"{self._called} has {len(self)} samples, so it has no piece [{start}, {stop}).")
        rows = slice(start, stop)
        return self.replaced(
            inputs={name: signal[rows] for name, signal in self.inputs.items()},
            targets={name: signal[rows] for name, signal in self.targets.items()},
            time=None if self.time is None else self.time[rows],
        )

    def decimate(self, n: int) -> "Record":
        """Returns every n-th sample of inputs and targets, after a low-pass filter against aliasing.

        For records that are sampled far too fast: fewer samples train faster, and delays of a few samples see the
        dynamics. The filter, that of `scipy.signal.decimate` without phase shift, passes what is slower than the new
        Nyquist frequency. A sample is missing in the result if any of those it stands for is.

        Args:
            n: The factor; 1 returns the record itself.

        Raises:
            DataError: If n is not a positive whole number, or fewer than ten samples are left.

        Example:
            >>> import numpy as np
            >>> t = 0.001 * np.arange(5000)
            >>> record = Record({"u": np.sin(t)[:, None]}, {"y": np.cos(t)[:, None]}, time=t)
            >>> fewer = record.decimate(50)
            >>> fewer, fewer.sample_time, bool(np.abs(fewer.inputs["u"][:, 0] - np.sin(fewer.time)).max() < 1e-3)
            (Record(100 samples of u:1 -> y:1), 0.05, True)
        """
        n = whole_number(n, "decimate: n", 1, error=DataError)
        left = -(-len(self) // n)
        if n == 1:
            return self
        if left < LEAST_DECIMATED_SAMPLES:
            given = fix(f"decimate({n})", f"--decimate {n}")
            most = len(self) // LEAST_DECIMATED_SAMPLES
            advice = f"Use a factor up to {most}." if most > 1 else "Leave it as it is."
            raise DataError(f"{given} leaves {left} of the {len(self)} samples of {self._called}. {advice}")
        known = self.sample_time
        every = "" if known is None else f", to one sample every {n * known:.6g}"
        fewer = self.replaced(
            inputs={name: decimated(signal, n) for name, signal in self.inputs.items()},
            targets={name: decimated(signal, n) for name, signal in self.targets.items()},
            time=None if self.time is None else self.time[::n],
        )
        return fewer.replaced(notes=(*self.notes, f"decimated by {n}{every}"))

    def unbroken(self, shortest: int = 2, *, targets: bool = True) -> list["Record"]:
        """Splits the record into pieces without missing values.

        Args:
            shortest: Minimum number of samples of a piece; it must exceed the longest delay of the network. Shorter
                pieces are dropped.
            targets: Whether to split also where only targets are missing, or just where inputs are.

        Example:
            >>> import numpy as np
            >>> y = np.array([0, 1, 2, np.nan, 4, np.nan, 6, 7])[:, None]
            >>> [len(piece) for piece in Record({}, {"y": y}, missing="mask").unbroken()]
            [3, 2]
        """
        signals = [*self.inputs.values(), *(self.targets.values() if targets else [])]
        known = ~np.any([np.isnan(x).any(axis=1) for x in signals] or [np.zeros(len(self), bool)], axis=0)
        edges = np.flatnonzero(np.diff(known, prepend=False, append=False))  # where known pieces begin and end
        return [self.piece(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= shortest]

    def measured(self, loops: Mapping[str, str]) -> "Record":
        """Returns the record with measured targets added to its inputs, for a network with its loop open.

        Args:
            loops: Target by name of the feedback input, {"measured_y": "y"}. The target must not have missing values;
                see `unbroken`.

        Raises:
            DataError: If there is no such target, or it has missing values.
        """
        for target in loops.values():
            if target not in self.targets:
                raise DataError(f"{self._called} has no target {target!r}; it has {list(self.targets)}.")
        added = {name: self.targets[target] for name, target in loops.items()}
        for name, signal in added.items():
            gaps = np.isnan(signal).any(axis=1)
            if gaps.any():
                first = int(np.argmax(gaps))
                raise DataError(
                    f"{self._called}: input {name!r} is nan at sample {first}, the first of {gaps.sum()}. Pass pieces "
                    "without missing targets: record.unbroken()."
                )
        return self.replaced(inputs={**self.inputs, **added})

    def replaced(
        self,
        inputs: Mapping[str, SignalLike] | None = None,
        targets: Mapping[str, SignalLike] | None = None,
        time: Float[np.ndarray, " time"] | None = None,
        notes: tuple[str, ...] | None = None,
    ) -> "Record":
        """Returns a copy with other signals, times or notes, which are not checked again; None keeps what there is.

        Unlike a new record, the copy may have fewer samples than elements.

        Args:
            inputs: `(time, size)` by name.
            targets: `(time, size)` by name.
            time: Sampling instants, `(time,)`.
            notes: How the record was made.
        """
        made = object.__new__(Record)
        given = {"inputs": inputs, "targets": targets, "time": time, "notes": notes}
        for field in dataclasses.fields(self):
            new = given.get(field.name)
            object.__setattr__(made, field.name, getattr(self, field.name) if new is None else new)
        for kind in ("inputs", "targets"):
            signals = {name: np.asarray(signal, np.float64).view() for name, signal in getattr(made, kind).items()}
            for signal in signals.values():
                signal.setflags(write=False)
            object.__setattr__(made, kind, signals)
        return made

    @property
    def _called(self) -> str:
        return f"record {self.name!r}" if self.name else "the record"

    def _signal(self, kind: str, name: str, given: SignalLike) -> Float[np.ndarray, "time size"]:
        what = f"{self._called}: {kind} {name!r}"
        signal = np.array(real(what, given), dtype=np.float64)
        if signal.ndim != 2:
            remedy = " Write x[:, None] for one element." if signal.ndim == 1 else " Pass a list of records instead."
            raise ShapeError(f"{what} has shape {signal.shape}; a signal of a record is (time, size).{remedy}")
        steps, size = signal.shape
        if not steps or not size:
            raise ShapeError(f"{what} has shape {signal.shape}, so it is empty; a signal is (time, size).")
        if steps < size:
            raise ShapeError(
                f"{what} has shape {signal.shape}, which would be {steps} sample(s) of {size} elements; a signal is "
                f"(time, size). If time runs along the second axis, write "
                f"{fix(f'{name}.T', '--transpose')}, of shape {signal.shape[::-1]}."
            )
        signal.setflags(write=False)
        return signal

    def _check_time(self):
        if self.time is None:
            return
        time = np.array(real(f"{self._called}: time", self.time), dtype=np.float64)
        if time.shape != (len(self),):
            raise ShapeError(
                f"{self._called}: time has shape {time.shape}; needed is one instant per sample, ({len(self)},)."
            )
        if len(time) > 1:
            try:
                uniform_sampling(time)
            except DataError as error:
                raise DataError(f"{self._called}: {error}") from None
        time.setflags(write=False)
        object.__setattr__(self, "time", time)

    def _check_finite(self, kind: str, name: str, signal: Float[np.ndarray, "time size"]):
        bad = np.isinf(signal) if self.missing == "mask" else ~np.isfinite(signal)
        if not bad.any():
            return
        step, element = np.argwhere(bad)[0]
        when = "" if self.time is None else f" (time {self.time[step]:.9g})"
        channel = f"{kind} {name!r}" + (f", element {element}," if signal.shape[1] > 1 else "")
        masked = fix('missing="mask"', "--missing mask")
        fixes = {
            "input": f"A simulation would propagate it: fill the gap, or cut the record there with {masked}.",
            "target": f"Fill the gap, or ignore missing targets with {masked}.",
        }
        remedy = fixes[kind] if np.isnan(signal[step, element]) else "Correct it, or mark it as missing with NaN."
        raise DataError(
            f"{self._called}: {channel} is {signal[step, element]} at sample {step}{when}, the first of "
            f"{np.count_nonzero(bad.any(axis=1))}. {remedy}"
        )


Records: TypeAlias = Record | Iterable[Record]


def records_in(
    source: Any, inputs: Names = (), targets: Names = (), *, missing: str = "error", reading: Reading | None = None
) -> list[Record]:
    """Returns all records of a source: one, unless it is a file whose cell arrays hold several.

    Args:
        source: As in `Record.of`.
        inputs: As in `Record.of`.
        targets: As in `Record.of`.
        missing: As in `Record.of`.
        reading: How a file is read; `Reading(records="all")` for one record per cell.
    """
    opened = opened_sources(source, reading, columns_of(inputs) + columns_of(targets))
    return [Record.of(each, inputs, targets, missing=missing, reading=reading) for each in opened]


def notes_on(records: Iterable[Record]) -> tuple[str, ...]:
    """Returns how the files of records were read: one line for each file about which there is something to say.

    Records of which the same is said share a line.
    """
    names: dict[tuple[str, ...], dict[str, None]] = {}
    for record in records:
        if record.notes:
            names.setdefault(record.notes, {})[record.name or "the record"] = None
    more = {notes: f" and {len(found) - 1} more" if len(found) > 1 else "" for notes, found in names.items()}
    return tuple(f"{next(iter(found))}{more[notes]}: {'; '.join(notes)}" for notes, found in names.items())


def as_records(given: Records, where: str) -> list[Record]:
    """Returns a list of records, after checking that their signals agree in names and sizes.

    Args:
        given: A `Record`, or an iterable of records.
        where: Name of the function in error messages.

    Raises:
        DataError: If there is no record, or an entry is not a record.
        ShapeError: If names or sizes differ.
    """
    records: list[Any] = [given] if isinstance(given, Record) or not isinstance(given, Iterable) else [*given]
    if not records or not all(isinstance(record, Record) for record in records):
        kinds = sorted({type(record).__name__ for record in records}) or "an empty list"
        raise DataError(f"{where} takes records, not {kinds}: {where}([lddn.data.Record.of(table, ...), ...]).")
    first = records[0]
    for place, record in enumerate(records):
        if record.sizes != first.sizes:
            raise ShapeError(
                f"{where}: all records of a list need the same signals, but number 0 is {first} and number {place} "
                f"is {record}."
            )
    return records


def holds_records(given: Any) -> TypeGuard[Record | list[Record] | tuple[Record, ...]]:
    """True for a record, or a nonempty list or tuple of records."""
    return isinstance(given, Record) or (
        isinstance(given, (list, tuple)) and bool(given) and all(isinstance(entry, Record) for entry in given)
    )
