"""A lock on a folder, so that two processes do not write the same files.

The lock is the operating system's, on a hidden file in the folder. It ends with its process, however that ends, so a
file that a killed process leaves behind locks nothing.
"""

import contextlib
import logging
import os
import sys
from pathlib import Path

from lddn_jax.errors import LDDNError, shown
from lddn_jax.storage.file_errors import write_error

LOCK_FILE = ".lddn_jax.lock"
_logger = logging.getLogger("lddn_jax")

if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int) -> bool:
        os.lseek(descriptor, 2**30, os.SEEK_SET)  # beyond the process number, which others read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class FolderLock:
    """Exclusive use of a folder, from `acquire` to `release` or to the end of the process; a context manager too.

    Args:
        folder: An existing folder.
        instead: What to do if another process uses the folder, as the end of the error message.
    """

    def __init__(self, folder: Path, instead: str):
        self._folder, self._path, self._instead = folder, folder / LOCK_FILE, instead
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Locks the folder.

        Raises:
            LDDNError: If another process, or another training of this one, has locked the folder; or if no file can be
                written there, for example on a full disk.
        """
        while self._descriptor is None:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except (OSError, ValueError) as error:
                raise write_error(self._folder, error) from None
            try:
                free = _locked(descriptor)
                holder = "" if free else os.read(descriptor, 20).decode("ascii", "replace")
            except OSError as error:  # a file system without locks
                _logger.warning("%s cannot be locked (%s); use it from one process only.", self._folder, error.strerror)
                os.close(descriptor)
                return
            if not free:
                os.close(descriptor)
                raise LDDNError(self._used_by(holder))
            if _is_at(descriptor, self._path):
                self._descriptor = descriptor
            else:  # the previous holder has just removed the file
                os.close(descriptor)
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, str(os.getpid()).encode())
        except OSError as error:  # a full disk takes no results either
            self.release()
            raise write_error(self._folder, error) from None

    def release(self) -> None:
        """Unlocks the folder and removes the file."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):  # the folder may be gone; Windows removes no open file
            if _is_at(self._descriptor, self._path):
                self._path.unlink()
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *_):
        self.release()

    def __del__(self):
        self._close()

    def _used_by(self, holder: str) -> str:
        own = holder == str(os.getpid())
        number = f"process {holder}" if holder.isdecimal() else "another process"
        who = f"this process ({holder}), by another training" if own else number
        return f"{shown(self._folder)} is in use by {who}. Wait until it has ended, or {self._instead}."


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
