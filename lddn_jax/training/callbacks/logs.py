"""Log files with one line per epoch, as CSV or JSON lines, flushed about once a second."""

import abc
import contextlib
import csv
import io
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lddn_jax.storage.file_errors import write_error
from lddn_jax.training.history import Row, one_number_each
from lddn_jax.training.training_state import TrainingState

_logger = logging.getLogger("lddn_jax")
WRITE_SECONDS = 1.0  # lines are buffered, because a write takes longer than a step of a small network


class AbstractLog(abc.ABC):
    """Base class of callbacks that write a line per epoch to a file; a resumed run writes earlier epochs again.

    Args:
        path: The file; an existing one is overwritten.

    Raises:
        LDDNError: When training starts, if the file cannot be written. Later, for example on a full disk, an error is
            logged and training continues.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._file: TextIO | None = None
        self._written, self._next = 0, 0.0

    @abc.abstractmethod
    def lines(self, start: int, rows: Sequence[Row]) -> str:
        """Returns the lines of consecutive rows, the first of them from epoch `start`."""

    def on_start(self, state: TrainingState) -> None:
        """Opens the file."""
        try:
            self._file = self._path.open("w", newline="", encoding="utf-8")
        except (OSError, ValueError) as error:
            raise write_error(self._path, error) from error
        self._written = 0
        self._write(state)

    def on_step(self, state: TrainingState) -> None:
        """Writes new rows, at most once a second."""
        if time.monotonic() >= self._next:
            self._write(state)

    def on_end(self, state: TrainingState) -> None:
        """Writes the remaining rows and closes the file."""
        self._write(state)
        self._close()

    def _write(self, state: TrainingState) -> None:
        new = state.rows[self._written : state.epoch]
        if new and self._file is not None:
            try:
                self._file.write(self.lines(self._written, new))
                self._file.flush()
            except OSError as error:
                _logger.error(
                    "no log after epoch %d, training continues: %s", state.epoch, write_error(self._path, error)
                )
                self._close()
        self._written, self._next = state.epoch, time.monotonic() + WRITE_SECONDS

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # of lines that were not written, which has been reported
                self._file.close()
        self._file = None


class CSVLog(AbstractLog):
    """Writes a CSV file with a header and one row per epoch, in the format of `History.to_csv`.

    Args:
        path: The file; an existing one is overwritten.

    Raises:
        LDDNError: When training starts, if the file cannot be written. Later, for example on a full disk, an error is
            logged and training continues.

    Example:
        >>> log = CSVLog("run.csv")
    """

    def lines(self, start: int, rows: Sequence[Row]) -> str:
        """Returns CSV rows, with the header before epoch 0."""
        text = io.StringIO()
        writer = csv.writer(text)
        numbers = [one_number_each(row) for row in rows]
        if start == 0:
            writer.writerow(["epoch", *numbers[0]])
        writer.writerows([start + k, *row.values()] for k, row in enumerate(numbers))
        return text.getvalue()


class JSONLinesLog(AbstractLog):
    """Writes a JSON Lines file with one object per epoch; NaN and infinity become null.

    With restarts, values are lists. Arguments and errors are those of `CSVLog`.

    Example:
        >>> log = JSONLinesLog("run.jsonl")
    """

    def lines(self, start: int, rows: Sequence[Row]) -> str:
        """Returns a JSON object per row."""
        return "".join(f"{_object({'epoch': start + k} | row)}\n" for k, row in enumerate(rows))


def _object(row: Mapping[str, Any]) -> str:
    try:
        return json.dumps(row, allow_nan=False)
    except (TypeError, ValueError):  # arrays, NaN or infinity: convert them, which is slower
        return json.dumps({name: _plain(value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    return value if math.isfinite(value) else None
