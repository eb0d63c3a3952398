"""Output folder and files of the commands: JSON, and figures if matplotlib is installed."""

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lddn_jax.cli.arguments import say
from lddn_jax.errors import LDDNError, shown
from lddn_jax.plots.axes import letters_missing_as
from lddn_jax.storage.archive import write_atomically
from lddn_jax.storage.file_errors import write_error
from lddn_jax.storage.folder_lock import FolderLock
from lddn_jax.training.checkpoint import EPOCH_FILES


@contextlib.contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """Makes the folder of `--out` and keeps other processes from using it; without results it is removed again.

    Yields:
        The folder.

    Raises:
        LDDNError: If it cannot be written to, or another process uses it.
    """
    made = []
    try:
        for folder in (*reversed(out.parents), out):
            if not folder.is_dir():
                folder.mkdir()
                made.append(folder)
    except FileExistsError as error:
        # Another process may have made it in the meantime.
        if not out.is_dir():
            raise write_error(error.filename, error) from None
    except (OSError, ValueError) as error:
        raise write_error(out, error) from None
    try:
        with FolderLock(out, "choose another --out"):
            yield out
    finally:
        with contextlib.suppress(OSError):  # they hold results
            for folder in reversed(made):
                folder.rmdir()


def check_checkpoints(folder: Path, resume: bool) -> None:
    """Raises an LDDNError if the folder of checkpoints cannot be used: it holds another run, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise LDDNError(
            f"{shown(folder)} is a file, and the checkpoints need a folder of that name. Move the file, or choose "
            "another --out."
        )
    if folder.exists() and not resume:
        raise LDDNError(
            f"{shown(folder)} holds an interrupted run. Resume it with --resume, remove the folder, or choose another "
            "--out."
        )


def check_no_folders(out: Path, names: Sequence[str]) -> None:
    """Raises an LDDNError before a long computation if a folder has the name of a file that it writes."""
    for name in names:
        if (out / name).is_dir():
            raise LDDNError(
                f"{shown(out / name)} is a folder, and a file of that name is needed. Move it, or choose another --out."
            )


@contextlib.contextmanager
def told_to_resume(folder: Path) -> Iterator[None]:
    """Adds to an error about results that the training itself is saved, if the folder holds its checkpoints."""
    try:
        yield
    except LDDNError as error:
        if not any(folder.rglob(EPOCH_FILES)):
            raise
        raise LDDNError(f"{error} The training is saved: afterwards run the same command with --resume.") from None


def write_json(path: Path, value: Any) -> None:
    """Writes plain values as JSON; NaN and infinity, which JSON does not have, become null."""
    write_atomically(path, (json.dumps(_without_nan(value), indent=2, allow_nan=False) + "\n").encode())


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def written(outputs: Mapping[str, Callable[[], Any]]) -> list[str]:
    """Writes outputs that are not essential; one that fails is reported in one line and does not affect the others.

    Args:
        outputs: What writes each file, by the file's name.

    Returns:
        The names of the files that were written.
    """
    files = []
    for name, write in outputs.items():
        try:
            write()
        except Exception as error:  # of any library: the results are on disk, and stay valid without this file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            say(reason if name in reason else f"{name} was not written: {reason}")
        else:
            files.append(name)
    return files


def can_draw() -> bool:
    """Whether matplotlib is installed; prints a note if it is not."""
    if find_spec("matplotlib") is None:
        say("no figures: they need matplotlib (pip install 'lddn_jax[plot]')")
        return False
    return True


def save_figure(path: Path, figure: Any) -> None:
    """Writes a figure as PNG, atomically."""
    image = io.BytesIO()
    with letters_missing_as("ignore"):
        figure.savefig(image, dpi=120, format="png")
    write_atomically(path, image.getvalue())


def canvas(width: float | int, height: float | int) -> Any:
    """Returns an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
