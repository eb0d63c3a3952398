"""Logs of every epoch, those of a run that goes on included, never more than a second behind."""

import abc
import csv
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lddn_jax.errors import DataError
from lddn_jax.training.history import Row, one_number_each
from lddn_jax.training.training_state import TrainingState

WRITE_SECONDS = 1.0  # seconds: to write every line at once takes longer than a step of a small network


class AbstractLog(abc.ABC):
    """Writes a line for each epoch to a file; a run that goes on begins it with all that was recorded before.

    Args:
        path: The file; it is replaced.

    Raises:
        DataError: When training starts, if the file cannot be written.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._file: TextIO | None = None
        self._written, self._next = 0, 0.0

    @abc.abstractmethod
    def lines(self, start: int, rows: Sequence[Row]) -> str:
        """Returns the lines of some rows, the first of which is that of epoch `start`."""

    def on_start(self, state: TrainingState) -> None:
        """Opens the file."""
        try:
            self._file = self._path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            message = f"the log {self._path} cannot be written: {error.strerror}. Make the folder first."
            raise DataError(message) from error
        self._written = 0
        self._write(state)

    def on_step(self, state: TrainingState) -> None:
        """Writes what is new, if a second has passed."""
        if time.monotonic() >= self._next:
            self._write(state)

    def on_end(self, state: TrainingState) -> None:
        """Writes the rest and closes the file."""
        self._write(state)
        if self._file is not None:
            self._file.close()

    def _write(self, state: TrainingState) -> None:
        new = state.rows[self._written : state.epoch]
        if new and self._file is not None:
            self._file.write(self.lines(self._written, new))
            self._file.flush()
        self._written, self._next = state.epoch, time.monotonic() + WRITE_SECONDS


class CSVLog(AbstractLog):
    """Writes a row for each epoch to a CSV file, with a header, like `History.to_csv`.

    Args and Raises are those of `AbstractLog`.

    Example:
        >>> log = CSVLog("run.csv")
    """

    def lines(self, start: int, rows: Sequence[Row]) -> str:
        """Returns rows, and before the first one the header."""
        text = io.StringIO()
        writer = csv.writer(text)
        numbers = [one_number_each(row) for row in rows]
        if start == 0:
            writer.writerow(["epoch", *numbers[0]])
        writer.writerows([start + k, *row.values()] for k, row in enumerate(numbers))
        return text.getvalue()


class JSONLinesLog(AbstractLog):
    """Writes a JSON object for each epoch to a file, one a line; what is not finite becomes null.

    With several networks a value is a list. Args and Raises are those of `AbstractLog`.

    Example:
        >>> log = JSONLinesLog("run.jsonl")
    """

    def lines(self, start: int, rows: Sequence[Row]) -> str:
        """Returns an object for each row."""
        return "".join(f"{_object({'epoch': start + k} | row)}\n" for k, row in enumerate(rows))


def _object(row: Mapping[str, Any]) -> str:
    try:
        return json.dumps(row, allow_nan=False)
    except (TypeError, ValueError):  # of several networks, or not finite: taking it apart takes its time
        return json.dumps({name: _plain(value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    return value if math.isfinite(value) else None
