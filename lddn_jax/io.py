"""Saving and loading of networks, linear models, posteriors and results of training, in the format of `archive.py`.

The header holds the kind of file, the topology and the dtype; for a posterior also its groups, for a network with
scalers their kinds, bands and sampling, and for a fit all that is needed to resume training (`training/checkpoint.py`).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lddn_jax.bayesian.evidence import Counts, Strengths
from lddn_jax.bayesian.groups import Groups
from lddn_jax.bayesian.posterior import Posterior
from lddn_jax.checks import expect
from lddn_jax.data import scaling
from lddn_jax.data.scaling import AbstractScaler
from lddn_jax.errors import CheckpointError, LDDNError
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.losses import SumSquaredError
from lddn_jax.network.committee import COMBINATIONS, Committee, representative
from lddn_jax.network.network import Network, check_single
from lddn_jax.prediction.conformal import ConformalBands
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.prediction.training_sampling import TrainingSampling
from lddn_jax.storage import archive
from lddn_jax.storage.archive import Archive
from lddn_jax.training import checkpoint
from lddn_jax.training.result import Fitted

NETWORK, SCALED, POSTERIOR = "lddn_jax network", "lddn_jax scaled network", "lddn_jax posterior"
COMMITTEE, SCALED_COMMITTEE = "lddn_jax committee", "lddn_jax scaled committee"
LINEAR = "lddn_jax linear model"


def save(path: str | Path, net: Network | Committee | Posterior | Scaled | LinearModel | Fitted) -> None:
    """Writes a network or committee, with or without scalers, a posterior or the result of `fit`, atomically.

    Args:
        path: Path of the file, by convention ending in `.npz`.
        net: A `Network`; a `Committee`; a `Scaled`; a `lddn_jax.linear.LinearModel`; a `Posterior`, saved without its
            data; or a `Fitted`, which
            `fit(..., resume=path)` continues.

    Raises:
        LDDNError: If `net` is of another type, or the folder does not exist.

    Example:
        >>> import tempfile, jax, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1)], [lddn.Connection("u", to="y")], ["y"])
        >>> net = lddn.Network(topology, key=jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lddn.save(f"{folder}/net.npz", net)
        ...     lddn.load(f"{folder}/net.npz").topology == topology
        True
    """
    expect((str, Path), "path", path, "save(path, net)", "the name of a file first")
    if isinstance(net, Fitted) and net.training is not None:
        archive.write_atomically(path, checkpoint.packed(net.training))
        return
    if isinstance(net, LinearModel):
        archive.write_atomically(path, archive.packed(LINEAR, {"model": net.to_dict()}, {}))
        return
    format, net, more, header = _parts(net)
    header |= {"topology": net.topology.to_dict(), "dtype": str(np.dtype(net.dtype))}
    archive.write_atomically(path, archive.packed(format, header, {"values": (net, more)}))


def load(path: str | Path) -> Any:
    """Reads a file of `save` or of the callback `lddn_jax.callbacks.Checkpoint`, in the dtype of the file.

    A posterior is loaded without its data, and with `SumSquaredError` as its loss. The trainer's state of a `Fitted` is
    loaded as its class if that is registered (`register_trainer_state`), such as the one of `LevenbergMarquardt`, and
    otherwise as arrays by name, because only `fit(..., resume=path)` has the trainer. The `Fitted` of a checkpoint
    holds the best network so far, and its stop reason is "unfinished" if the run had not ended.

    Args:
        path: Path of the file.

    Returns:
        A `Network`, `Committee`, `Scaled`, `LinearModel`, `Posterior` or `Fitted`.

    Raises:
        CheckpointError: If the file is missing, damaged, of another kind, or was written by a newer version.
        PrecisionError: If it holds float64 while JAX is set to 32 bits.
    """
    expect((str, Path), "path", path, "load(path)", "the name of a file")
    file = archive.read(path)
    if file.format == checkpoint.FORMAT:
        return Fitted.of(checkpoint.loaded(file))
    if file.format == LINEAR:
        with file.reading("the linear model"):
            return LinearModel.from_dict(file.header["model"])
    structure = checkpoint.network_like(file)
    if file.format in (COMMITTEE, SCALED_COMMITTEE):
        return _committee(file, structure)
    if file.format == NETWORK:
        return file.filled("values", structure)
    if file.format == SCALED:
        return Scaled(*file.filled("values", (structure, _scalers(file, structure))), **_bands_and_sampling(file))
    if file.format == POSTERIOR:
        return _posterior(file, structure)
    raise CheckpointError(f"{file.path} has the unknown format {file.format!r}; install a newer lddn_jax.")


def _parts(given: object) -> tuple[str, Network, Any, dict[str, Any]]:
    """Returns the kind of file, the network, other values with arrays, and the header."""
    if isinstance(given, Committee):
        return COMMITTEE, given.nets, given.noise, {"committee": _members(given)}
    if isinstance(given, Scaled) and isinstance(given.net, Committee):
        header = {"committee": _members(given.net)} | _known_of(given)
        return SCALED_COMMITTEE, given.net.nets, (given.net.noise, given.scalers), header
    net = given.net if isinstance(given, Scaled | Posterior) else given
    if isinstance(net, Network):
        check_single(net, "save(path, net)", "Save them as one model: save(path, lddn.Committee(nets)).")
    if isinstance(given, Network):
        return NETWORK, given, (), {}
    if isinstance(given, Scaled):
        return SCALED, representative(given.net), given.scalers, _known_of(given)
    if not isinstance(given, Posterior):
        raise LDDNError(
            "save writes a Network, a Committee, a Scaled, a LinearModel, a Posterior or the result of fit, not a "
            f"{type(given).__name__}. Did you mean save(path, fitted.net)?"
        )
    header = {
        "groups": asdict(given.groups),
        "prior_mean": given.prior_mean is not None,
        "loss": {"missing": given.loss.missing, "output_weights": dict(given.loss.output_weights)},
    }
    numbers = (given.strengths, given.gamma, given.log_evidence, given.E_D, given.E_W, given.counts, given.root)
    return POSTERIOR, given.net, (*numbers, given.prior_mean), header


def _members(committee: Committee) -> dict[str, Any]:
    return {"members": committee.members, "combine": committee.combine, "noise": bool(committee.noise)}


def _known_of(model: Scaled) -> dict[str, Any]:
    """The header of a network with scalers: their kinds, bands and sampling."""
    return {
        "scaling": model.to_dict()["scaling"],
        "bands": None if model.bands is None else model.bands.to_dict(),
        "sampling": None if model.sampling is None else model.sampling.to_dict(),
    }


def _bands_and_sampling(file: Archive) -> dict[str, Any]:
    """Bands and sampling of a network with scalers; files of older versions have none."""
    with file.reading("its bands and sampling"):
        bands, sampling = file.header.get("bands"), file.header.get("sampling")
        return {
            "bands": None if bands is None else ConformalBands.from_dict(bands),
            "sampling": None if sampling is None else TrainingSampling.from_dict(sampling),
        }


def _committee(file: Archive, member: Network) -> Committee | Scaled:
    """Returns a committee of networks like `member`, with its scalers if the file has them."""
    with file.reading("its members"):
        known = file.header["committee"]
        count, combine, has_noise = known["members"], known["combine"], known["noise"]
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{count!r} members")
        if combine not in COMBINATIONS or not isinstance(has_noise, bool):
            raise ValueError(f"combined by {combine!r}, with noise {has_noise!r}")
    topology = member.topology
    nets = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), member)
    sizes = {name: topology.sizes[name] for name in topology.outputs} if has_noise else {}
    noise = {name: jax.ShapeDtypeStruct((size,), member.dtype) for name, size in sizes.items()}
    if file.format == COMMITTEE:
        nets, noise = file.filled("values", (nets, noise))
        return Committee(nets, combine, noise)
    nets, (noise, scalers) = file.filled("values", (nets, (noise, _scalers(file, member))))
    return Scaled(Committee(nets, combine, noise), scalers, **_bands_and_sampling(file))


def _posterior(file: Archive, structure: Network) -> Posterior:
    count = structure.parameter_count
    with file.reading("its groups of parameters"):
        groups, loss = Groups.from_dict(file.header["groups"]), SumSquaredError(**file.header["loss"])
        if len(groups.of_parameters) != count:
            raise ValueError(f"groups of {len(groups.of_parameters)} parameters, not of {count}")
        if len(groups.sizes) != len(groups.labels):
            raise ValueError(f"{len(groups.labels)} labels of {len(groups.sizes)} groups")

    def numbers():
        shapes = (), (len(groups.labels),), (count, count), (count,)
        one, each, root, mean = (jax.numpy.zeros(shape, structure.dtype) for shape in shapes)
        mean = mean if file.header.get("prior_mean") else None
        return Strengths(each, one), each, one, one, each, Counts(one, one, one), root, mean

    net, (strengths, gamma, log_evidence, E_D, E_W, counts, root, prior_mean) = file.filled(
        "values", (structure, jax.eval_shape(numbers))
    )
    return Posterior(
        net=net,
        strengths=strengths,
        gamma=gamma,
        log_evidence=log_evidence,
        E_D=E_D,
        E_W=E_W,
        counts=counts,
        root=root,
        loss=loss,
        data=None,
        prior_mean=prior_mean,
        groups=groups,
    )


def _scalers(file: Archive, net: Network) -> dict[str, AbstractScaler]:
    """Returns scalers of the kinds in the file, with the sizes of the network."""
    with file.reading("its scalers"):
        known = file.header["scaling"]
        return Scaled(net, {name: scaling.from_dict(scaler) for name, scaler in known.items()}).scalers
