"""History of a training run: recorded quantities as arrays over epochs, by name."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Shaped

from lddn_jax.checks import did_you_mean
from lddn_jax.errors import NotRecordedError
from lddn_jax.storage.archive import write_atomically

# The quantities of one epoch: a number each, or one per network.
Row: TypeAlias = dict[str, float | Shaped[np.ndarray, " restarts"]]


class History(Mapping):
    """Recorded quantities by name, each an array `(epochs,)`, or `(epochs, restarts)` with restarts.

    `loss` is the training loss before the step of an epoch, `validation_loss` the validation loss after it, `seconds`
    the time since the start; the other columns are the trainer's info. With restarts, values are NaN after a network
    has stopped.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any] | Shaped[np.ndarray, "epochs ..."]]):
        self._columns = {name: np.asarray(values) for name, values in columns.items()}

    @classmethod
    def of_rows(cls, rows: Sequence[Row]) -> "History":
        """Builds a history from rows with the same names."""
        if not rows:
            return cls({"loss": [], "seconds": []})
        return cls({name: np.array([row[name] for row in rows]) for name in rows[0]})

    def rows(self) -> list[Row]:
        """Returns the history as rows, one dict per epoch; the inverse of `of_rows`."""
        columns = {name: values.tolist() if values.ndim == 1 else list(values) for name, values in self.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "epochs ..."]:
        if name not in self._columns:
            known = list(self._columns)
            raise NotRecordedError(f"{name!r} was not recorded; recorded are {known}.{did_you_mean(name, known)}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self):
        return f"History({', '.join(self._columns)}; {len(self['loss'])} epochs)"

    def to_csv(self, path: str | Path) -> None:
        """Writes a CSV file with a header and one row per epoch, atomically."""
        text = io.StringIO()
        writer = csv.writer(text)
        names = [*one_number_each(next(iter(self.rows()), dict(self)))]
        writer.writerow(["epoch", *names])
        writer.writerows([k, *one_number_each(row).values()] for k, row in enumerate(self.rows()))
        write_atomically(path, text.getvalue().encode())

    def of(self, restart: int) -> "History":
        """Returns the history of one restart, up to the step at which it stopped."""
        if self["loss"].ndim == 1:
            return self
        count = int(np.sum(~np.isnan(self["loss"][:, restart])))
        columns = {name: v[:count, restart] if v.ndim > 1 else v[:count] for name, v in self.items()}
        return History(columns)


def one_number_each(row: Mapping[str, float | Shaped[np.ndarray, "..."]]) -> dict[str, float]:
    """Returns the numbers of a row; with restarts one per network, named `loss_0`, `loss_1` and so on.

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
