"""Conversion of data sources to channels by name, as float64 arrays `(time, elements)`.

A source is a `Table`, a mapping of arrays, a data frame (pandas, polars, or any object with `columns` and access by
column name), the path of a file, or an object with arrays `u` and `y`. Data frame packages are not imported: NumPy
converts the columns.

The first axis of an array is time; the time axis is never guessed.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Shaped

from lddn_jax.checks import did_you_mean, expect
from lddn_jax.data.matfiles.cell_records import cells_of
from lddn_jax.data.matfiles.mat_file import MatFile
from lddn_jax.data.matlab import open_mat
from lddn_jax.data.reading import READING, Reading
from lddn_jax.data.tables import Table
from lddn_jax.data.text.conversion import converted
from lddn_jax.data.text.delimited import MOST_COMPARED_NAMES, TextFile, open_text
from lddn_jax.data.text.instants import StampError, seconds_of, time_columns
from lddn_jax.errors import DataError, ShapeError, fix, listed, shown
from lddn_jax.network.signals import real

Channels: TypeAlias = dict[str, Float[np.ndarray, "time size=_"]]
# Selection of channels: names, or mappings of a signal name to the channels it consists of.
Chosen: TypeAlias = str | Mapping[str, str | Sequence[str]]
Names: TypeAlias = Chosen | Sequence[Chosen]

TEXT_EXTENSIONS = ("", ".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".asc", ".prn", ".lvm", ".out")
MAT_EXTENSIONS = (".mat", ".h5", ".hdf5", ".hdf", ".he5")
RENAME = "Rename the file if it is one of these, or read it into a Table yourself."
_SHEET, _ARCHIVE = "Save the sheet as CSV.", "Unpack the archive first."
OTHER_KINDS = {kind: _SHEET for kind in (".xlsx", ".xls", ".xlsm", ".ods")} | {
    kind: _ARCHIVE for kind in (".gz", ".zip", ".bz2", ".xz", ".7z")
}


def signals_of(
    source: Any, inputs: Names, targets: Names, time: str | bool | None = None, reading: Reading | None = None
) -> tuple[Channels, Channels, Float[np.ndarray, " time"] | None, tuple[str, ...]]:
    """Returns inputs and targets, `(time, size)` by name, sampling instants, `(time,)` or None, and notes.

    Args:
        source: Any source described in this module.
        inputs: Names of channels, or mappings of a signal name to several channels.
        targets: In the same form as `inputs`.
        time: The channel of sampling instants; True for one that is called time or date, if there is one; False for
            none; None for what `reading` says.
        reading: How a file is read; None for the defaults.

    Raises:
        DataError: If the source has an unknown type, a channel is missing, one is not numeric, or names are invalid.
        ShapeError: If an array has more than two axes, or channels of one signal differ in length.
    """
    reading = READING if reading is None else reading
    expect(Reading, "reading", reading, "Record.of(source, ..., reading=...)", "Reading(skip_rows=1), for example")
    time = reading.time if time is None else time
    groups = (_groups("inputs", inputs), _groups("targets", targets))
    driving, measured = ([column for columns in named.values() for column in columns] for named in groups)
    channels, instants, notes = _channels_of(source, driving, measured, time, reading)
    found, wanted = (
        {name: _side_by_side(name, [channels[c] for c in named[name]]) for name in named} for named in groups
    )
    if instants is None and time is not False:
        instants = instants_of(source, len(next(iter(channels.values()), ())))
    return found, wanted, instants, notes


def _channels_of(
    source: Any, inputs: Sequence[str], targets: Sequence[str], time: str | bool, reading: Reading
) -> tuple[Channels, Float[np.ndarray, " time"] | None, tuple[str, ...]]:
    """Returns the selected channels, each `(time, elements)`, sampling instants and notes.

    For an object with `u` and `y`, `inputs` name the columns of `u`, and `targets` those of `y`.
    """
    wanted = [*dict.fromkeys([*inputs, *targets])]
    if isinstance(source, (str, PathLike)):
        source = opened_source(source, reading, [*wanted, *([time] if isinstance(time, str) else [])])
    if isinstance(source, TextFile):
        found = converted(source, wanted, time)
        return {name: found.columns[name][:, None] for name in wanted}, found.instants, found.notes
    if isinstance(source, MatFile):
        return _variables_of(source, wanted, time)
    if not isinstance(source, (Table, Mapping)) and not (hasattr(source, "columns") and hasattr(source, "__getitem__")):
        if not (hasattr(source, "u") and hasattr(source, "y")):
            raise DataError(
                f"a record cannot be made from {type(source).__name__}. Pass a Table, a dict of arrays, a pandas or "
                "polars data frame, the path of a .csv or .mat file, or an object with .u and .y."
            )
        if isinstance(time, str):
            raise DataError(f"time={time!r}: a source with .u and .y has no such column; omit time.")
        driving = [name for name in inputs if name not in targets]  # an input may be the measured past of a target
        return _columns_named("u", source.u, driving) | _columns_named("y", source.y, targets), None, ()
    notes = getattr(source, "notes", ()) if isinstance(source, Table) else ()
    columns: Any = source.columns if isinstance(source, Table) else source
    is_frame = not isinstance(columns, Mapping)
    names = {str(name): name for name in columns.columns} if is_frame else columns
    channels = {
        name: _channel(name, columns[_found(name, names)] if is_frame else _found(name, names)) for name in wanted
    }
    for name, channel in channels.items():
        if is_frame and channel.shape[1] != 1:
            raise DataError(f"The data frame has {channel.shape[1]} columns named {name!r}; rename them.")
    if time is False:
        return channels, None, tuple(notes)
    if isinstance(time, str):
        column = columns[_found(time, names)] if is_frame else _found(time, names)
        return channels, _seconds(time, column), tuple(notes)
    for name in time_columns([name for name in names if isinstance(name, str) and name not in wanted]):
        try:
            return channels, _seconds(name, columns[names[name]] if is_frame else columns[name]), tuple(notes)
        except (DataError, ShapeError) as error:
            notes = (*notes, f"{name!r} ignored, as it holds no times: {error}")
    return channels, None, tuple(notes)


def _variables_of(
    file: MatFile, wanted: Sequence[str], time: str | bool
) -> tuple[Channels, Float[np.ndarray, " time"] | None, tuple[str, ...]]:
    """The channels of a MATLAB or HDF5 file; other variables do not matter, whatever they are."""
    channels, notes = file.channels([*dict.fromkeys([*wanted, *([time] if isinstance(time, str) else [])])])
    if isinstance(time, str):
        instants = channels[time]
        if instants.shape[1] != 1:
            raise ShapeError(f"time {time!r} has shape {instants.shape}; instants are (time,).")
        return {name: channels[name] for name in wanted}, instants[:, 0], notes
    vectors = file.vectors(len(next(iter(channels.values()), ()))) if time else {}
    last = {name.rpartition(".")[2]: name for name in reversed(vectors) if name not in wanted}
    found = time_columns(list(last))
    return channels, vectors[last[found[0]]] if found else None, notes


def opened_sources(
    source: Any, reading: Reading | None = None, wanted: Sequence[str] = (), further: Sequence[str] = ()
) -> list[Any]:
    """Returns the path of a file as parsed files, one for each record in it, so that it is parsed once.

    Any other source is returned unchanged, in a list.

    Args:
        source: Any source described in this module.
        reading: How a file is read; None for the defaults.
        wanted: Columns that will be asked for, which help to find the header of a text file.
        further: Columns that will be asked for if the file has them.

    Raises:
        DataError: If the extension is unknown, or the file cannot be read.
    """
    if not isinstance(source, (str, PathLike)):
        return [source]
    reading = READING if reading is None else reading
    path = Path(source)
    kind = path.suffix.lower()
    if kind in TEXT_EXTENSIONS:
        return [open_text(path, reading, wanted)]
    if kind in MAT_EXTENSIONS:
        names = [*wanted, *further]
        file = open_mat(path, names or None, records=reading.records, transpose=reading.transpose)
        return cells_of(file, reading.records, names or None) if reading.records else [file]
    raise DataError(
        f"{shown(path)}: the extension must be .csv, .tsv, .txt, .dat, .mat or .hdf5. {OTHER_KINDS.get(kind, RENAME)}"
    )


def opened_source(
    source: Any, reading: Reading | None = None, wanted: Sequence[str] = (), further: Sequence[str] = ()
) -> Any:
    """Returns the only entry of `opened_sources`.

    Raises:
        DataError: As in `opened_sources`, or if the file holds several records.
    """
    opened = opened_sources(source, reading, wanted, further)
    if len(opened) > 1:
        one = fix('Reading(records="y{2}")', "--records 'y{2}'")
        raise DataError(
            f"{shown(Path(source))} holds {len(opened)} records, and one is needed here. Name one cell, such as {one}."
        )
    return opened[0]


def columns_of(names: Names) -> list[str]:
    """Returns the channels that names or groups of names consist of."""
    return [column for columns in _groups("names", names).values() for column in columns]


def names_of(source: Any) -> tuple[str, ...]:
    """Returns the channel names of a source; empty for an object with `u` and `y`, whose channels are unnamed."""
    source = opened_source(source)
    if isinstance(source, (TextFile, MatFile)):
        return source.names
    columns = source if isinstance(source, Mapping) else getattr(source, "columns", ())
    return tuple(map(str, columns))


def label_of(source: Any) -> str:
    """Returns the stem of a file name, or the attribute `name` of an object; else an empty string."""
    if isinstance(source, MatFile) and source.cell:
        return f"{source.path.stem}, {source.cell}"
    source = source.path if isinstance(source, (TextFile, MatFile)) else source
    if isinstance(source, (str, PathLike)):
        return Path(source).stem
    name = None if isinstance(source, Mapping) or hasattr(source, "columns") else getattr(source, "name", None)
    return name if isinstance(name, str) else ""


def instants_of(source: Any, steps: int) -> Float[np.ndarray, " time"] | None:
    """Returns sampling instants `(time,)` from the attribute `sampling_time` of a source; None if it has none."""
    step = None if isinstance(source, Mapping) or hasattr(source, "columns") else getattr(source, "sampling_time", None)
    known = isinstance(step, (int, float, np.number)) and np.isfinite(step) and step > 0
    return np.arange(steps) * float(step) if known and step is not None else None


def _found(name: str, columns: Mapping[str, Any]) -> Any:
    if name not in columns:
        known = [str(known) for known in columns]
        close = did_you_mean(name, known[:MOST_COMPARED_NAMES])
        raise DataError(f"No channel {name!r} in the source; it has {listed(known)}.{close}")
    return columns[name]


def _columns_named(attribute: str, signal: Any, names: Sequence[str]) -> Channels:
    """The columns of `u` or `y` under the given names."""
    if not names:
        return {}
    array = _channel(f".{attribute}", signal)
    if array.shape[1] != len(names):
        raise DataError(
            f"the source's .{attribute} has {array.shape[1]} channel(s), shape {array.shape}, and "
            f"{len(names)} names were given: {list(names)}. Give one name per column; for one signal of several "
            f"elements write {{'{attribute}': ['{attribute}_1', '{attribute}_2', ...]}}."
        )
    return {name: array[:, [k]] for k, name in enumerate(names)}


def _channel(name: str, values: Any) -> Float[np.ndarray, "time size"]:
    array: Any = np.asarray(values) if not isinstance(values, list) else real(f"channel {name!r}", values)
    if array.dtype == object:
        array = _numbers(name, values, array)
    array = np.asarray(real(f"channel {name!r}", array), np.float64)
    if array.ndim not in (1, 2):
        raise ShapeError(f"channel {name!r} has shape {array.shape}; a channel is (time,) or (time, elements).")
    return array if array.ndim == 2 else array[:, None]


def _seconds(name: str, values: Any) -> Float[np.ndarray, " time"]:
    """Sampling instants: numbers as they are; dates, also those written as text, in seconds since the first."""
    array: Any = np.asarray(values)
    if array.dtype.kind in "mM" and len(array):
        array = (array - array[0]) / np.timedelta64(1, "s")
    if array.dtype == object and array.size and all(hasattr(value, "timestamp") for value in array.flat):
        array = np.array([value.timestamp() for value in array.flat])  # dates with a time zone
    is_text = array.dtype.kind in "U" or (array.dtype == object and all(isinstance(v, str) for v in array.flat))
    if is_text and array.ndim == 1 and len(array):
        try:
            return seconds_of([str(value) for value in array])[0]
        except StampError as error:
            raise DataError(f"channel {name!r}: {error}, in row {error.row}.") from None
    instants = _channel(name, array)
    if instants.shape[1] != 1:
        raise ShapeError(f"time {name!r} has shape {instants.shape}; instants are (time,).")
    return instants[:, 0]


def _numbers(name: str, values: Any, array: Shaped[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Converts numbers stored as Python objects, including a data frame's marker for missing values."""
    odd = next((v for v in array.flat if isinstance(v, (str, bytes)) or hasattr(v, "timestamp")), None)
    try:
        if odd is None:
            return np.asarray(values, dtype=np.float64)
        problem = f"it contains {odd!r}"
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise DataError(f"channel {name!r} is not numeric: {problem}. Convert it, with NaN for missing values.")


def _groups(kind: str, given: Names) -> dict[str, list[str]]:
    """Channels by signal; an entry is a name, or a mapping of a signal name to channels."""
    entries = [given] if isinstance(given, (str, Mapping)) else given
    groups: dict[str, list[str]] = {}
    for entry in entries if isinstance(entries, Sequence) else [entries]:
        named = {entry: [entry]} if isinstance(entry, str) else entry
        if not isinstance(named, Mapping):
            raise DataError(f"{kind}={given!r}; write names of columns, ['a', 'b'], or groups, [{{'u': ['a', 'b']}}].")
        for signal, columns in named.items():
            if signal in groups:
                raise DataError(f"{kind}={given!r} names {signal!r} twice; rename one of them.")
            groups[signal] = [columns] if isinstance(columns, str) else list(columns)
            if not groups[signal]:
                raise DataError(f"{kind}: {signal!r} has no columns; name at least one.")
    return groups


def _side_by_side(signal: str, channels: list[Float[np.ndarray, "_ _"]]) -> Float[np.ndarray, "time size"]:
    lengths = [len(channel) for channel in channels]
    if len(set(lengths)) > 1:
        raise ShapeError(f"the columns of {signal!r} differ in length: {lengths}. Cut all to one length.")
    return np.concatenate(channels, axis=1)
