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

from lddn_jax.checks import did_you_mean
from lddn_jax.data.delimited import read_rows
from lddn_jax.data.matlab import read_mat
from lddn_jax.data.tables import Table, read_csv
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import real

Channels: TypeAlias = dict[str, Float[np.ndarray, "time size=_"]]
# Selection of channels: names, or mappings of a signal name to the channels it consists of.
Chosen: TypeAlias = str | Mapping[str, str | Sequence[str]]
Names: TypeAlias = Chosen | Sequence[Chosen]


def signals_of(
    source: Any, inputs: Names, targets: Names, time: str | None
) -> tuple[Channels, Channels, Float[np.ndarray, " time"] | None]:
    """Returns inputs and targets, `(time, size)` by name, and the sampling instants, `(time,)` or None.

    Args:
        source: Any source described in this module.
        inputs: Names of channels, or mappings of a signal name to several channels.
        targets: In the same form as `inputs`.
        time: The channel of sampling instants, or None.

    Raises:
        DataError: As in `channels_of`, or if names are invalid.
        ShapeError: As in `channels_of`, or if channels of one signal differ in length.
    """
    groups = (_groups("inputs", inputs), _groups("targets", targets))
    driving, measured = ([column for columns in named.values() for column in columns] for named in groups)
    channels = channels_of(source, driving, measured, time)
    found, wanted = (
        {name: _side_by_side(name, [channels[c] for c in named[name]]) for name in named} for named in groups
    )
    if time is None:
        return found, wanted, instants_of(source, len(next(iter(channels.values()), ())))
    if channels[time].shape[1] != 1:
        raise ShapeError(f"time {time!r} has shape {channels[time].shape}; instants are (time,).")
    return found, wanted, channels[time][:, 0]


def channels_of(source: Any, inputs: Sequence[str], targets: Sequence[str], time: str | None) -> Channels:
    """Returns the selected channels, each `(time, elements)`; dates in the channel `time` are converted to seconds.

    Args:
        source: Any source described in this module.
        inputs: Names of channels. For an object with `u` and `y`, these name the columns of `u`.
        targets: Names of channels. For an object with `u` and `y`, these name the columns of `y`.
        time: The channel of sampling instants, or None.

    Raises:
        DataError: If the source has an unknown type, a channel is missing, or one is not numeric.
        ShapeError: If an array has more than two axes.
    """
    wanted = [*inputs, *targets, *([time] if time is not None else [])]
    if isinstance(source, (str, PathLike)):
        source = read_table(source, wanted)
    if isinstance(source, Table):
        source = source.columns
    if isinstance(source, Mapping):
        return {name: _channel(name, _found(name, source), name == time) for name in wanted}
    if hasattr(source, "columns") and hasattr(source, "__getitem__"):
        names = {str(name): name for name in source.columns}
        found = {name: _channel(name, source[_found(name, names)], name == time) for name in wanted}
        for name, channel in found.items():
            if channel.shape[1] != 1:
                raise DataError(f"The data frame has {channel.shape[1]} columns named {name!r}; rename them.")
        return found
    if hasattr(source, "u") and hasattr(source, "y"):
        if time is not None:
            raise DataError(f"time={time!r}: a source with .u and .y has no such column; omit time.")
        driving = [name for name in inputs if name not in targets]  # an input may be the measured past of a target
        return _columns_named("u", source.u, driving) | _columns_named("y", source.y, targets)
    raise DataError(
        f"a record cannot be made from {type(source).__name__}. Pass a Table, a dict of arrays, a pandas or polars "
        "data frame, the path of a .csv or .mat file, or an object with .u and .y."
    )


def names_of(source: Any) -> tuple[str, ...]:
    """Returns the channel names of a source; empty for an object with `u` and `y`, whose channels are unnamed."""
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        return read_mat(path).names if path.suffix.lower() == ".mat" else tuple(read_rows(path, "utf-8")[0])
    columns = source if isinstance(source, Mapping) else getattr(source, "columns", ())
    return tuple(map(str, columns))


def read_table(path: str | PathLike[str], columns: Sequence[str] | None = None) -> Table:
    """Reads columns of a file; the extension of its name selects the format.

    Raises:
        DataError: If the extension is unknown, or the file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return read_csv(path, columns)
    if path.suffix.lower() == ".mat":
        return read_mat(path, columns)
    raise DataError(
        f"{path}: the extension must be .csv, .tsv, .txt or .mat. Rename the file, or read it into a Table yourself."
    )


def label_of(source: Any) -> str:
    """Returns the stem of a file name, or the attribute `name` of an object; else an empty string."""
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
        raise DataError(f"No channel {name!r} in the source; it has {', '.join(known)}.{did_you_mean(name, known)}")
    return columns[name]


def _columns_named(attribute: str, signal: Any, names: Sequence[str]) -> Channels:
    """The columns of `u` or `y` under the given names."""
    if not names:
        return {}
    array = _channel(f".{attribute}", signal, False)
    if array.shape[1] != len(names):
        raise DataError(
            f"the source's .{attribute} has {array.shape[1]} channel(s), shape {array.shape}, and "
            f"{len(names)} names were given: {list(names)}. Give one name per column; for one signal of several "
            f"elements write {{'{attribute}': ['{attribute}_1', '{attribute}_2', ...]}}."
        )
    return {name: array[:, [k]] for k, name in enumerate(names)}


def _channel(name: str, values: Any, is_time: bool) -> Float[np.ndarray, "time size"]:
    array: Any = np.asarray(values) if not isinstance(values, list) else real(f"channel {name!r}", values)
    if is_time and array.dtype.kind in "mM" and len(array):
        array = (array - array[0]) / np.timedelta64(1, "s")
    if is_time and array.dtype == object and all(hasattr(value, "timestamp") for value in array.flat):
        array = np.array([value.timestamp() for value in array.flat])  # dates with a time zone
    if array.dtype == object:
        array = _numbers(name, values, array)
    array = np.asarray(real(f"channel {name!r}", array), np.float64)
    if array.ndim not in (1, 2):
        raise ShapeError(f"channel {name!r} has shape {array.shape}; a channel is (time,) or (time, elements).")
    return array if array.ndim == 2 else array[:, None]


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
