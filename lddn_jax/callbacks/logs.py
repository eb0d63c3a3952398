"""Logs of every epoch, complete at any moment, those of a run that goes on included."""

import csv
import json
import math
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lddn_jax.errors import DataError
from lddn_jax.training.history import Row, one_number_each
from lddn_jax.training.training_state import TrainingState


class CSVLog:
    """Writes a row for each epoch to a CSV file, with a header, like `History.to_csv`.

    A run that goes on begins the file with all that was recorded before.

    Args:
        path: The file; it is replaced.

    Raises:
        DataError: When training starts, if the file cannot be written.

    Example:
        >>> log = CSVLog("run.csv")
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._file: TextIO | None = None

    def on_start(self, state: TrainingState) -> None:
        """Opens the file and writes what was recorded before."""
        self._file = _opened(self._path)
        self._writer = csv.writer(self._file)
        self._count = 0
        self.on_step(state)

    def on_step(self, state: TrainingState) -> None:
        """Writes what is new."""
        for epoch, row in _new(state, self._count):
            numbers = one_number_each(row)
            if epoch == 0:
                self._writer.writerow(["epoch", *numbers])
            self._writer.writerow([epoch, *numbers.values()])
        self._count = state.epoch

    def on_end(self, state: TrainingState) -> None:
        """Closes the file."""
        _close(self._file)


class JSONLinesLog:
    """Writes a JSON object for each epoch to a file, one a line; what is not finite becomes null.

    With several networks a value is a list. A run that goes on begins the file with all that was recorded before.

    Args:
        path: The file; it is replaced.

    Raises:
        DataError: When training starts, if the file cannot be written.

    Example:
        >>> log = JSONLinesLog("run.jsonl")
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._file: TextIO | None = None

    def on_start(self, state: TrainingState) -> None:
        """Opens the file and writes what was recorded before."""
        self._file = _opened(self._path)
        self._count = 0
        self.on_step(state)

    def on_step(self, state: TrainingState) -> None:
        """Writes what is new."""
        for epoch, row in _new(state, self._count):
            line = {"epoch": epoch} | {name: _plain(value) for name, value in row.items()}
            if self._file is not None:
                self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._count = state.epoch

    def on_end(self, state: TrainingState) -> None:
        """Closes the file."""
        _close(self._file)


def _new(state: TrainingState, since: int) -> list[tuple[int, Row]]:
    return list(zip(range(since, state.epoch), state.rows[since : state.epoch], strict=True))


def _opened(path: Path) -> TextIO:
    """The file, every line of which is written at once."""
    try:
        return path.open("w", newline="", encoding="utf-8", buffering=1)
    except OSError as error:
        raise DataError(f"the log {path} cannot be written: {error.strerror}. Make the folder first.") from error


def _close(file: TextIO | None) -> None:
    if file is not None:
        file.close()


def _plain(value: np.ndarray) -> Any:
    numbers = [number if math.isfinite(number) else None for number in np.ravel(value).tolist()]
    return numbers if np.ndim(value) else numbers[0]
