"""Bytes of a file, or an error that says why there are none."""

from pathlib import Path

from lddn_jax.checks import did_you_mean
from lddn_jax.errors import DataError, shown

MOST_NEIGHBORS = 1000


def bytes_of(path: Path, needed: str, count: int = -1) -> bytes:
    """Returns the first bytes of a file.

    Args:
        path: The file.
        needed: The kind of file that is needed, for the error message.
        count: Number of bytes; -1 for all.

    Raises:
        DataError: If there is no such file, it is a folder, or it cannot be read.
    """
    name = shown(path)
    try:
        if path.is_dir():
            raise DataError(f"{name} is a folder. Give the path of {needed} in it.")
        if count >= 0 and path.is_fifo():
            raise DataError(f"{name} is a pipe, but this format needs a file: write it to a disk first.")
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        raise DataError(f"There is no file {name} (looked in {_folder(path)}).{_near(path)}") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}. Give the path of {needed}.") from error
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} cannot be the path of a file: {error}.") from None  # with a zero byte, for example


def _folder(path: Path) -> str:
    try:
        return shown(path.parent.resolve())
    except OSError:
        return shown(path.parent)


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry, _ in zip(path.parent.iterdir(), range(MOST_NEIGHBORS), strict=False)]
    except OSError:  # there is no such folder, or it may not be read
        return ""
    return did_you_mean(path.name, names)
