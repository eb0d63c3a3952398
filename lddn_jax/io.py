"""Keeping networks: an .npz of arrays with a JSON header, and no pickle.

The header holds the format, the topology, the dtype and a SHA-256 of the arrays. Files are written next to
their destination and then put in its place in one step, so a file is either the old one or the whole new one.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lddn_jax.errors import CheckpointError, LDDNError, PrecisionError
from lddn_jax.network import Network
from lddn_jax.topology import Topology

FORMAT, VERSION = "lddn_jax network", 1


def save(path: str | Path, net: Network) -> None:
    """Writes a network to a file, whole or not at all.

    Args:
        path: Where; by convention it ends in `.npz`.
        net: The network.

    Raises:
        CheckpointError: If `net` is not a network, or the folder does not exist.

    Example:
        >>> import tempfile, jax, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1)], [lddn.Connection("u", to="y")], ["y"])
        >>> net = lddn.Network(topology, key=jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lddn.save(f"{folder}/net.npz", net)
        ...     lddn.load(f"{folder}/net.npz").topology == topology
        True
    """
    if not isinstance(net, Network):
        raise CheckpointError(f"save writes networks; {type(net).__name__} was given. Write save(path, fitted.net)?")
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(net)]
    header = {
        "format": FORMAT,
        "version": VERSION,
        "topology": net.topology.to_dict(),
        "dtype": str(np.dtype(net.dtype)),
        "sha256": _digest(leaves),
    }
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    arrays: dict[str, Any] = {f"{k:04d}": leaf for k, leaf in enumerate(leaves)}
    np.savez(buffer, header=text, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: str | Path) -> Network:
    """Reads a network that `save` wrote, in the dtype it was written in.

    Raises:
        CheckpointError: If the file is missing, damaged, or of another kind.
        PrecisionError: If it holds float64 while JAX is set to 32 bits.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            header = json.loads(bytes(file["header"]))
            leaves = [file[name] for name in sorted(file.files) if name != "header"]
    # What zipfile, zlib and NumPy raise on damaged archives.
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{path} is damaged or was not written by lddn.save ({error}).") from error
    return _network(path, header, leaves)


def _network(path: Path, header: Any, leaves: list[np.ndarray]) -> Network:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a network written by lddn.save.")
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {header.get('version')}, this package reads version {VERSION}. "
            "Install the version of lddn_jax that wrote it."
        )
    if _digest(leaves) != header.get("sha256"):
        raise CheckpointError(f"{path} is damaged: its arrays differ from what was written (SHA-256).")
    if header.get("dtype") == "float64" and jax.numpy.result_type(float) != "float64":
        raise PrecisionError(
            f"{path} holds a float64 network while JAX is set to 32 bits. Put "
            'jax.config.update("jax_enable_x64", True) before loading it.'
        )
    try:
        structure = Network(Topology.from_dict(header["topology"]), init="zeros", dtype=header["dtype"])
    except (LDDNError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} holds a topology that cannot be used here: {error}") from error
    expected = [leaf.shape for leaf in jax.tree.leaves(structure)]
    if [leaf.shape for leaf in leaves] != expected:
        raise CheckpointError(f"{path} is damaged: its arrays do not fit its topology.")
    arrays = [jax.numpy.asarray(leaf) for leaf in leaves]
    return jax.tree.unflatten(jax.tree.structure(structure), arrays)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes a file under a temporary name and moves it into place.

    Raises:
        CheckpointError: If the folder does not exist or cannot be written to.
    """
    path = Path(path)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
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
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror}. Make the folder first, or choose another."
        ) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _digest(leaves: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for leaf in leaves:
        digest.update(f"{leaf.dtype.str}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
