"""Errors of the operating system on files, in words that say what to do."""

import errno
from os import PathLike
from pathlib import Path

from lddn_jax.errors import CheckpointError, LDDNError, shown

_REASONS = {
    errno.ENOSPC: "the disk is full. Free some space, or choose another folder",
    errno.EDQUOT: "the quota of the disk is used up. Free some space, or choose another folder",
    errno.EROFS: "the file system is read-only. Choose a folder that can be written to",
    errno.EACCES: "permission is denied. Choose another folder, or change the permissions",
    errno.EPERM: "permission is denied. Choose another folder, or change the permissions",
    errno.EISDIR: "it is a folder. Give the name of a file",
    errno.ENOTDIR: "a part of its path is a file, not a folder. Choose another path",
    errno.EEXIST: "a file of this name is in the way. Move it, or choose another folder",
    errno.ENAMETOOLONG: "its name is too long. Shorten it; most file systems allow 255 bytes",
    errno.ELOOP: "its links lead in a circle. Choose another path",
}


def write_error(path: str | PathLike[str], error: OSError | ValueError) -> LDDNError:
    """Returns the error for a file or folder that could not be written."""
    missing = "its folder does not exist. Make the folder first, or choose another"
    return LDDNError(f"{shown(Path(path))} could not be written: {_reason(error, missing)}.")


def read_error(path: str | PathLike[str], error: OSError | ValueError) -> CheckpointError:
    """Returns the error for a file of this package that could not be read."""
    missing = "there is no such file. Check the path"
    return CheckpointError(f"{shown(Path(path))} cannot be read: {_reason(error, missing)}.")


def described(error: OSError) -> str:
    """Returns an error of the operating system as one line: the file, the reason and what to do."""
    missing = "there is no such file or folder. Check the path"
    where = f"{shown(Path(str(error.filename)))}: " if error.filename else ""
    return f"{where}{_reason(error, missing)}."


def _reason(error: OSError | ValueError, missing: str) -> str:
    if not isinstance(error, OSError):  # of a NUL character or a lone surrogate in a path
        return f"it is not a valid path ({error}). Use another name"
    if error.errno == errno.ENOENT:
        return missing
    return _REASONS.get(error.errno or 0) or f"{error.strerror or error}. Choose another path"
