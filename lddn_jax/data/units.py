"""Records in scaled units: one scaler for each signal, found on all training records at once.

Scalers are found on the records that train, and applied to all. An input that carries the measured past of a target
has to share its scaler, or the loop could not be closed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lddn_jax.data.records import Record, as_records
from lddn_jax.data.scaling import AbstractScaler, MinMax, check_kind
from lddn_jax.errors import DataError


def scalers_of(
    records: Any, kind: type[MinMax] | type[Any] = MinMax, *, shared: Mapping[str, str] | None = None
) -> dict[str, AbstractScaler]:
    """Finds a scaler for each signal of some records.

    Args:
        records: A `Record`, or a list of them, usually those that train; missing targets are ignored.
        kind: `MinMax` or `Standard`.
        shared: The signal whose scaler another one shares: `{"measured_level": "level"}`.

    Returns:
        Scalers by the names of inputs and targets.

    Raises:
        DataError: If a signal has no value at all, or `shared` names an unknown one.

    Example:
        >>> records = [Record({"u": np.full((5, 1), high)}, {"y": np.eye(5)[:, :1]}) for high in (0.0, 4.0)]
        >>> scalers = scalers_of(records)
        >>> float(scalers["u"].highest[0]), scaled(records[1], scalers).inputs["u"][0].tolist()
        (4.0, [1.0])
    """
    records = as_records(records, "scalers_of")
    check_kind(kind, "scalers_of(records, kind)")
    names = {name: side for side in ("inputs", "targets") for name in getattr(records[0], side)}
    shared = dict(shared or {})
    for name in (*shared, *shared.values()):
        if name not in names:
            raise DataError(f"scalers_of: shared names {name!r}; the signals are {list(names)}.")
    found = {}
    for name, side in names.items():
        if name in shared:
            continue
        try:
            found[name] = kind.fit(np.concatenate([getattr(record, side)[name] for record in records]))
        except DataError as error:
            raise DataError(f"signal {name!r}: {error}") from error
    return {name: found[shared.get(name, name)] for name in names}


def scaled(record: Record, scalers: Mapping[str, AbstractScaler]) -> Record:
    """Returns a record in scaled units; missing targets stay missing.

    Args:
        record: In its own units.
        scalers: By name; signals without one stay as they are.
    """

    def each(signals):
        return {name: scalers[name].apply(x) if name in scalers else x for name, x in signals.items()}

    return dataclasses.replace(record, inputs=each(record.inputs), targets=each(record.targets))
