"""Keeping networks and posteriors: an .npz of arrays with a JSON header, and no pickle.

The header holds the format, the topology, the dtype and a SHA-256 of the arrays; that of a posterior its groups as
well, that of a network with scalers what these are. Files are written next to their destination and then put in its
place in one step, so a file is either the old one or the whole new one.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lddn_jax.data import scaling
from lddn_jax.data.scaling import AbstractScaler
from lddn_jax.errors import CheckpointError, LDDNError, PrecisionError
from lddn_jax.losses import SumSquaredError
from lddn_jax.network import Network
from lddn_jax.scaled import Scaled
from lddn_jax.topology import Topology
from lddn_jax.training.evidence import Counts, Strengths
from lddn_jax.training.groups import Groups
from lddn_jax.training.posterior import Posterior

FORMAT, VERSION = "lddn_jax network", 1
FORMAT_OF_POSTERIORS = "lddn_jax posterior"
FORMAT_OF_SCALED = "lddn_jax scaled network"
FORMATS = (FORMAT, FORMAT_OF_POSTERIORS, FORMAT_OF_SCALED)


def save(path: str | Path, net: Network | Posterior | Scaled) -> None:
    """Writes a network, with its scalers or without, or a posterior to a file, whole or not at all.

    Args:
        path: Where; by convention it ends in `.npz`.
        net: The network, or a `Scaled`; or a posterior, whose data is left out.

    Raises:
        CheckpointError: If `net` is none of these, or the folder does not exist.

    Example:
        >>> import tempfile, jax, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1)], [lddn.Connection("u", to="y")], ["y"])
        >>> net = lddn.Network(topology, key=jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lddn.save(f"{folder}/net.npz", net)
        ...     lddn.load(f"{folder}/net.npz").topology == topology
        True
    """
    net, more, header = _parts(net)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((net, more))]
    header |= {
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


def load(path: str | Path) -> Any:
    """Reads what `save` wrote, in the dtype it was written in.

    A posterior comes back without its data, and with the sum of squares that its loss is a multiple of.

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
    return _read(path, header, leaves)


def _parts(given: Any) -> tuple[Network, Any, dict[str, Any]]:
    """The network, what else has arrays, and what the header says of it."""
    if isinstance(given, Network):
        return given, (), {"format": FORMAT}
    if isinstance(given, Scaled):
        return given.net, given.scalers, {"format": FORMAT_OF_SCALED, "scaling": given.to_dict()["scaling"]}
    if not isinstance(given, Posterior):
        raise CheckpointError(
            f"save writes a Network, a Scaled or a Posterior; {type(given).__name__} was given. "
            "Write save(path, fitted.net)?"
        )
    header = {
        "format": FORMAT_OF_POSTERIORS,
        "groups": asdict(given.groups),
        "loss": {"missing": given.loss.missing, "output_weights": dict(given.loss.output_weights)},
    }
    numbers = (given.strengths, given.gamma, given.log_evidence, given.E_D, given.E_W, given.counts, given.root)
    return given.net, numbers, header


def _read(path: Path, header: Any, leaves: list[np.ndarray]) -> Any:
    if not isinstance(header, dict) or header.get("format") not in FORMATS:
        raise CheckpointError(f"{path} is not a network written by lddn.save.")
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {header.get('version')}, this package reads version {VERSION}. "
            "Install the version of lddn_jax that wrote it."
        )
    if _digest(leaves) != header.get("sha256"):
        raise CheckpointError(f"{path} is damaged: its arrays differ from what was written (SHA-256).")
    if any(leaf.dtype == "float64" for leaf in leaves) and jax.numpy.result_type(float) != "float64":
        raise PrecisionError(
            f"{path} holds float64 numbers while JAX is set to 32 bits. Put "
            'jax.config.update("jax_enable_x64", True) before loading it.'
        )
    try:
        structure = Network(Topology.from_dict(header["topology"]), init="zeros", dtype=header["dtype"])
    except (LDDNError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} holds a topology that cannot be used here: {error}") from error
    if header["format"] == FORMAT_OF_SCALED:
        return Scaled(*_filled(path, leaves, (structure, _scalers(path, header, structure))))
    if header["format"] == FORMAT:
        return _filled(path, leaves, structure)
    groups = _groups(path, header)
    net, numbers = _filled(path, leaves, (structure, _numbers(structure.parameter_count, len(groups.labels))))
    strengths, gamma, log_evidence, E_D, E_W, counts, root = numbers
    loss = SumSquaredError(**header["loss"])
    return Posterior(net, strengths, gamma, log_evidence, E_D, E_W, counts, root, loss, None, groups)


def _filled(path: Path, leaves: list[np.ndarray], structure: Any) -> Any:
    """A pytree of this structure and these shapes with the arrays of the file."""
    if [leaf.shape for leaf in leaves] != [leaf.shape for leaf in jax.tree.leaves(structure)]:
        raise CheckpointError(f"{path} is damaged: its arrays do not fit its topology.")
    return jax.tree.unflatten(jax.tree.structure(structure), [jax.numpy.asarray(leaf) for leaf in leaves])


def _scalers(path: Path, header: dict[str, Any], net: Network) -> dict[str, AbstractScaler]:
    """Scalers of the kinds of those in the file, which fit the network."""
    try:
        return Scaled(net, {name: scaling.from_dict(scaler) for name, scaler in header["scaling"].items()}).scalers
    except (LDDNError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: its scalers cannot be read ({error}).") from error


def _numbers(parameters: int, groups: int) -> tuple:
    """Arrays of the shapes of those of a posterior."""
    one, each, root = (jax.numpy.zeros(shape) for shape in ((), groups, (parameters, parameters)))
    return Strengths(each, one), each, one, one, each, Counts(one, one, one), root


def _groups(path: Path, header: dict[str, Any]) -> Groups:
    try:
        known = header["groups"]
        taps = tuple((to, source, delay) for to, source, delay in known["taps"])
        return Groups(tuple(known["labels"]), taps, tuple(known["of_taps"]), tuple(known["members"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: its groups of parameters cannot be read ({error}).") from error


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
