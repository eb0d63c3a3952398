"""Periodic checkpoints, from which a stopped or killed run resumes."""

import logging
import math
import time
from pathlib import Path

from lddn_jax.checks import check_positive
from lddn_jax.errors import CheckpointError, LDDNError, fix
from lddn_jax.storage.archive import temporary_prefix, write_atomically
from lddn_jax.storage.file_errors import write_error
from lddn_jax.storage.folder_lock import FolderLock
from lddn_jax.training.checkpoint import EPOCH_FILES, packed
from lddn_jax.training.stop_reason import Flag
from lddn_jax.training.training_state import TrainingState

_logger = logging.getLogger("lddn_jax")
_EPOCH_DIGITS = 9


class Checkpoint:
    """Saves the run periodically, and when training ends, also after an error or an interruption.

    `fit(..., resume=folder)` resumes from the newest checkpoint, and its result equals that of an uninterrupted run bit
    for bit. Files are written to a temporary name and then renamed, so the previous checkpoint survives a kill at any
    time. If a checkpoint cannot be written, for example on a full disk, an error is logged and training continues.

    Args:
        folder: Folder for the checkpoints; it is created when training starts.
        every: Number of epochs between checkpoints; None to use `seconds` only.
        seconds: Seconds between checkpoints; None to use `every` only.
        keep: Number of newest checkpoints to keep.
        best: Whether to save the best network so far as `best.npz` too, at checkpoints where it has improved.

    Raises:
        LDDNError: If a number is invalid, or neither `every` nor `seconds` is given.
            When training starts, if the folder cannot be written to, or if another training uses it: the folder is
            locked until training ends.
        CheckpointError: When training starts, if the folder holds later checkpoints of another run.

    Example:
        >>> import tempfile, optax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> net, u = lddn.Network(topology, init="zeros"), jnp.ones((5, 1))
        >>> run = net, lddn.Sequences(u, u), lddn.losses.MeanSquaredError(), lddn.Optax(optax.sgd(0.1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoint = Checkpoint(folder, every=2)
        ...     half = lddn.fit(*run, epochs=5, callbacks=[checkpoint])
        ...     whole = lddn.fit(*run, epochs=10, callbacks=[checkpoint], resume=checkpoint.saved)
        >>> len(half.history["loss"]), len(whole.history["loss"])
        (5, 10)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        every: int | None = None,
        seconds: float | int | None = 60.0,
        keep: int = 3,
        best: bool = True,
    ):
        if every is not None:
            check_positive("every", every)
        if seconds is not None:
            check_positive("seconds", seconds, int | float)
        check_positive("keep", keep)
        if every is None and seconds is None:
            raise LDDNError("Checkpoint: give every=EPOCHS, seconds=SECONDS, or both.")
        if "\0" in str(folder):
            raise write_error(folder, ValueError("with a NUL character"))
        self._folder, self._every, self._seconds = Path(folder), every, seconds
        self._keep, self._best = keep, best
        other = fix("choose another folder: Checkpoint('runs/second')", "choose another --out")
        self._lock = FolderLock(self._folder, other)

    def within(self, name: str) -> "Checkpoint":
        """Returns a `Checkpoint` with the same settings for a subfolder, for example for one horizon."""
        folder = self._folder / name
        return Checkpoint(folder, every=self._every, seconds=self._seconds, keep=self._keep, best=self._best)

    @property
    def folder(self) -> Path:
        """Folder of the checkpoints."""
        return self._folder

    @property
    def saved(self) -> Path | None:
        """The folder, or None if it holds no checkpoint: `fit(..., resume=checkpoint.saved)` resumes or starts."""
        return self._folder if any(self._folder.glob(EPOCH_FILES)) else None

    def on_start(self, state: TrainingState) -> None:
        """Creates and locks the folder, and deletes incomplete files of a killed run."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise write_error(self._folder, error) from error
        self._lock.acquire()
        try:
            self._start(state)
        except BaseException:
            self._lock.release()
            raise

    def _start(self, state: TrainingState) -> None:
        later = sorted(path for path in self._folder.glob(EPOCH_FILES) if path.name > self._path(state).name)
        if later and Flag.RESUMED not in state.flags:
            resume = f"fit(..., resume={str(self._folder)!r}), or choose another folder"
            raise CheckpointError(
                f"{self._folder} holds {later[-1].name} of a run that was past epoch {state.epoch}. Resume it with "
                f"{fix(resume, '--resume, or choose another --out')}."
            )
        for path in later:  # damaged, or the run resumed from an earlier one; a resume would take them as the newest
            path.rename(path.with_suffix(".npz.superseded"))
        for pattern in (EPOCH_FILES, "best.npz"):
            for stale in self._folder.glob(temporary_prefix(Path(pattern)) + "*"):
                stale.unlink(missing_ok=True)
        self._saved, self._saved_best = state.epoch, math.inf  # best.npz may be out of date after a kill
        self._time = time.monotonic()

    def on_step(self, state: TrainingState) -> None:
        """Saves a checkpoint if it is due."""
        if (self._every is not None and state.epoch - self._saved >= self._every) or (
            self._seconds is not None and time.monotonic() - self._time >= self._seconds
        ):
            self._save(state)

    def on_end(self, state: TrainingState) -> None:
        """Saves the final state and unlocks the folder."""
        try:
            self._save(state)
        finally:
            self._lock.release()

    def _save(self, state: TrainingState) -> None:
        path, content = self._path(state), packed(state)
        try:
            write_atomically(path, content)
            if self._best and state.best_value < self._saved_best:
                write_atomically(self._folder / "best.npz", content)
                self._saved_best = state.best_value
        except LDDNError as error:
            _logger.error("no checkpoint at epoch %d, training continues: %s", state.epoch, error)
            return
        self._saved, self._time = state.epoch, time.monotonic()
        for old in sorted(self._folder.glob(EPOCH_FILES))[: -self._keep]:
            old.unlink(missing_ok=True)
        _logger.info("checkpoint %s", path)

    def _path(self, state: TrainingState) -> Path:
        return self._folder / EPOCH_FILES.replace("*", f"{state.epoch:0{_EPOCH_DIGITS}d}")
