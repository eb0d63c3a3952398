"""What was recorded of a run, one array by name."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Shaped

from lddn_jax.checks import did_you_mean
from lddn_jax.errors import NotRecordedError

# Of one epoch; a number, or one for each of several networks.
Row: TypeAlias = dict[str, float | Shaped[np.ndarray, " restarts"]]


class History(Mapping):
    """What was recorded, one array by name with one entry for each epoch.

    `loss` is that of the network before the epoch's step, `validation_loss` that of the network after it, `seconds` the
    time since the start; the rest is the trainer's info. With restarts an entry is an array, one element for each
    network, NaN after that network has stopped.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any] | Shaped[np.ndarray, "epochs ..."]]):
        self._columns = {name: np.asarray(values) for name, values in columns.items()}

    @classmethod
    def of_rows(cls, rows: Sequence[Row]) -> "History":
        """Joins rows that have the same names."""
        if not rows:
            return cls({"loss": [], "seconds": []})
        return cls({name: np.array([row[name] for row in rows]) for name in rows[0]})

    def rows(self) -> list[Row]:
        """The rows that `of_rows` makes the same history of."""
        columns = {name: values.tolist() if values.ndim == 1 else list(values) for name, values in self.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "epochs ..."]:
        if name not in self._columns:
            known = list(self._columns)
            raise NotRecordedError(f"{name!r} was not recorded; known are {known}.{did_you_mean(name, known)}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self):
        return f"History({', '.join(self._columns)}; {len(self['loss'])} epochs)"

    def to_csv(self, path: str | Path) -> None:
        """Writes one row for each epoch, with a header."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            names = [*one_number_each(next(iter(self.rows()), dict(self)))]
            writer.writerow(["epoch", *names])
            writer.writerows([k, *one_number_each(row).values()] for k, row in enumerate(self.rows()))

    def of(self, restart: int) -> "History":
        """Returns the history of one network of several, up to the step at which it stopped."""
        if self["loss"].ndim == 1:
            return self
        count = int(np.sum(~np.isnan(self["loss"][:, restart])))
        columns = {name: v[:count, restart] if v.ndim > 1 else v[:count] for name, v in self.items()}
        return History(columns)


def one_number_each(row: Mapping[str, float | Shaped[np.ndarray, "..."]]) -> dict[str, float]:
    """The numbers of a row; those of several networks under names of their own, `loss_0` and so on.

    Example:
        >>> one_number_each({"loss": np.array([1.0, 2.0]), "seconds": 0.5})
        {'loss_0': 1.0, 'loss_1': 2.0, 'seconds': 0.5}
    """
    numbers = {}
    for name, value in row.items():
        if isinstance(value, np.ndarray):
            numbers |= {f"{name}_{k}": float(each) for k, each in enumerate(value)}
        else:
            numbers[name] = value
    return numbers
