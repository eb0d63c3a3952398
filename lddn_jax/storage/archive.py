"""Archive files: arrays and a JSON header in one .npz, without pickle, with a SHA-256 checksum.

    | zip archive: header.npy, name/0000.npy, name/0001.npy … | its comment: "sha256:", digest of every byte before |

The checksum is stored in the zip comment, so NumPy can open the file too, and any flipped bit or missing byte is
detected. It protects from accidents, not from somebody who writes a file on purpose and computes it anew: for that case
nothing in a file is executed, and `members.py` and `Archive.reading` check sizes and structure.

Files are written atomically: to a temporary file in the same folder, which then replaces the destination. So the
destination holds either the old file or the complete new one, even on power loss.
"""

import contextlib
import hashlib
import io
import json
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from lddn_jax.errors import CheckpointError, LDDNError, PrecisionError, shown
from lddn_jax.storage import strict_json
from lddn_jax.storage.file_errors import read_error, write_error
from lddn_jax.storage.members import arrays_in

FORMAT_VERSION = 3
_SEAL = b"sha256:"
_SEAL_LENGTH = len(_SEAL) + 64
_COMMENT_LENGTH = 2  # bytes: the field at the end of a zip archive that holds the length of its comment
TEMPORARY_PREFIX_BYTES = 200  # of the name; with random letters it must not become too long for the file system
REASON_CHARACTERS = 300  # of the reason in an error about a damaged file
# What zipfile, NumPy and the readers of headers raise on content that is damaged or made up; errors of a device, which
# are RuntimeErrors, are not the file's.
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
HOST_ONLY = "host/"  # prefix of the names of arrays that stay in NumPy, in float64 whatever JAX is set to


@dataclass(frozen=True)
class Archive:
    """The content of a file.

    Attributes:
        path: Path of the file.
        header: Values of JSON types by name.
        arrays: The leaves of each pytree, by its name.
    """

    path: Path
    header: dict[str, Any]
    arrays: dict[str, list[Any]]

    @property
    def format(self) -> str:
        """The kind of file, such as "lddn_jax network"."""
        return self.header["format"]

    def filled(self, name: str, structure: Any) -> Any:
        """Returns a pytree like `structure`, filled with the arrays called `name`.

        Raises:
            CheckpointError: If number, shapes or dtypes of the arrays differ from those of `structure`.
        """
        wanted, given = jax.tree.leaves(structure), self.arrays.get(name, [])
        expected, found = ([(leaf.shape, str(leaf.dtype)) for leaf in leaves] for leaves in (wanted, given))
        if expected != found:
            odd = next((pair for pair in zip(expected, found, strict=False) if pair[0] != pair[1]), None)
            detail = f"{len(found)} arrays instead of {len(expected)}" if odd is None else f"{odd[1]}, not {odd[0]}"
            raise CheckpointError(f"{self.path} does not fit: its arrays {name!r} are others than needed ({detail}).")
        leaves = given if name.startswith(HOST_ONLY) else [jax.device_put(leaf) for leaf in given]
        return jax.tree.unflatten(jax.tree.structure(structure), leaves)

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Turns errors about a part of the header that cannot be used into a CheckpointError."""
        try:
            yield
        except CheckpointError:
            raise
        except UNREADABLE as error:
            raise CheckpointError(
                f"{shown(self.path)} is damaged: {what} cannot be read ({_in_words(error)})."
            ) from error


def packed(format: str, header: Mapping[str, Any], trees: Mapping[str, Any]) -> bytes:
    """Returns the bytes of a file, for `write_atomically`.

    Args:
        format: The kind of file.
        header: Values of JSON types by name.
        trees: Pytrees of arrays by name; the arrays may be random keys.
    """
    arrays: dict[str, Any] = {}
    notes: dict[str, dict[str, str]] = {}
    for name, tree in trees.items():
        for k, leaf in enumerate(jax.tree.leaves(tree)):
            label = f"{name}/{k:04d}"
            arrays[label], note = _to_host(leaf)
            if note:
                notes[label] = note
    whole = {**header, "format": format, "version": FORMAT_VERSION, "notes": notes}
    text = np.frombuffer(json.dumps(whole, allow_nan=False).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, header=text, **arrays)
    content = buffer.getvalue()[:-_COMMENT_LENGTH] + _SEAL_LENGTH.to_bytes(_COMMENT_LENGTH, "little")
    return content + _seal(content)


def read(path: str | Path) -> Archive:
    """Reads a file written with `packed`; files of older format versions are migrated.

    Raises:
        CheckpointError: If the file is missing, damaged, of a newer format, or was not written by this package.
        PrecisionError: If the file holds float64 numbers while JAX is set to 32 bits.
    """
    path = Path(path)
    content = _content(path)
    body, seal = content[:-_SEAL_LENGTH], content[-_SEAL_LENGTH:]
    sealed = seal.startswith(_SEAL)
    if sealed and seal != _seal(body):
        raise CheckpointError(f"{path} is damaged: its SHA-256 checksum does not match. Use another copy.")
    try:
        arrays = arrays_in(content)
        header = strict_json.parsed(arrays.pop("header").tobytes())
    except UNREADABLE as error:
        raise CheckpointError(
            f"{shown(path)} is damaged or was not written by lddn.save ({_in_words(error)})."
        ) from error
    arrays = {name: arrays[name] for name in sorted(arrays, key=_by_number)}
    if not isinstance(header, dict) or not str(header.get("format")).startswith("lddn_jax "):
        raise CheckpointError(f"{path} was not written by lddn.save.")
    version = header.get("version")
    if version not in (*MIGRATIONS, FORMAT_VERSION):
        raise CheckpointError(
            f"{path} has format version {version}, this package reads versions up to {FORMAT_VERSION}. "
            "Install the version of lddn_jax that wrote it."
        )
    if not sealed and version > 1:
        raise CheckpointError(f"{path} is damaged: the checksum at its end is missing. Use another copy.")
    while version != FORMAT_VERSION:
        header, arrays = MIGRATIONS[version](path, header, arrays)
        version = header["version"]
    _check_precision(path, arrays)
    file = Archive(path, header, {})
    with file.reading("what it notes on its arrays"):
        return Archive(path, header, _grouped(arrays, header["notes"]))


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a device or a pipe may never end
            raise CheckpointError(f"{shown(path)} is not a file, but a device or a pipe. Check the path.")
        with path.open("rb") as file:
            start = file.read(2)
            if start != b"PK":  # with which every zip archive starts
                raise CheckpointError(
                    f"{shown(path)} is damaged or was not written by lddn.save: it is not a zip archive."
                )
            return start + file.read()
    except CheckpointError:
        raise
    except MemoryError:
        raise CheckpointError(f"{shown(path)} is too large for the memory of this machine.") from None
    except (OSError, ValueError) as error:
        raise read_error(path, error) from None


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file under a temporary name and moves it into place.

    Raises:
        LDDNError: If the folder does not exist or cannot be written to.
    """
    path = Path(path)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=temporary_prefix(path), delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                file.close()
                temporary.chmod(0o666 & ~_umask())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:
        raise write_error(path, error) from error


def temporary_prefix(path: Path) -> str:
    """Returns the prefix of the temporary files that `path` is written to; a leftover means that a write was killed."""
    return f".{path.name.encode(errors='ignore')[:TEMPORARY_PREFIX_BYTES].decode(errors='ignore')}."


def _sync_folder(folder: Path) -> None:
    """Flushes the folder, so that the new name is on disk; only POSIX systems can do that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _by_number(label: str) -> tuple[str, int, str]:
    """Sorts `values/9999` before `values/10000`."""
    group, _, number = label.rpartition("/")
    return group, len(number), number


def _in_words(error: Exception) -> str:
    """Returns an error as one short line: of a missing entry its name, of an error without words its class."""
    if isinstance(error, KeyError) and not isinstance(error, LDDNError):
        return f"it lacks {shown(error.args[0])}" if error.args else "an entry is missing"
    text = " ".join(str(error).split())
    return text[:REASON_CHARACTERS] if text else type(error).__name__


def _seal(content: bytes) -> bytes:
    return _SEAL + hashlib.sha256(content).hexdigest().encode()


def _to_host(leaf: Any) -> tuple[Shaped[np.ndarray, "..."], dict[str, str]]:
    """Returns the leaf as a NumPy array, and notes on what NumPy's file format cannot store."""
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(leaf)), {"key": str(jax.random.key_impl(leaf))}
    value = np.asarray(leaf)
    if value.dtype.kind == "V":  # bfloat16 and similar types, which NumPy's format does not store
        return value.view(f"u{value.dtype.itemsize}"), {"dtype": value.dtype.name}
    return value, {}


def _grouped(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], notes: Mapping[str, Mapping[str, str]]
) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for label, value in arrays.items():
        note = notes.get(label, {})
        if "key" in note:
            value = jax.random.wrap_key_data(jax.device_put(value), impl=note["key"])
        elif "dtype" in note:
            dtype = jax.numpy.dtype(note["dtype"])
            if dtype.kind != "V" or dtype.itemsize != value.itemsize:
                raise ValueError(f"the dtype {shown(note['dtype'])}")
            value = value.view(dtype)
        groups.setdefault(label.rpartition("/")[0], []).append(value)
    return groups


def _check_precision(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
    wide = any(value.dtype == "float64" for name, value in arrays.items() if not name.startswith(HOST_ONLY))
    if wide and jax.numpy.result_type(float) != "float64":
        raise PrecisionError(
            f"{path} holds float64 numbers while JAX is set to 32 bits. Put "
            'jax.config.update("jax_enable_x64", True) before loading it.'
        )


def _from_version_1(
    path: Path, header: dict[str, Any], arrays: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts version 1, in which arrays had running numbers and the digest covered the arrays only."""
    digest = hashlib.sha256()
    for value in arrays.values():
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    if digest.hexdigest() != header.get("sha256"):
        raise CheckpointError(f"{path} is damaged: its arrays differ from what was written (SHA-256).")
    return {**header, "version": 2, "notes": {}}, {f"values/{name}": value for name, value in arrays.items()}


def _from_version_2(
    path: Path, header: dict[str, Any], arrays: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts version 2, which differs in what its topologies can declare: nothing that is not read as before."""
    return {**header, "version": 3}, arrays


MIGRATIONS = {1: _from_version_1, 2: _from_version_2}
