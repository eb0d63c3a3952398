"""Saves a `TrainingState` to a checkpoint file and resumes training from it.

The file holds every array that the next step depends on, bit for bit, so a resumed run gives the same results as an
uninterrupted one. The code of trainer and loss, which cannot be saved without pickle, is stored as a description that
is compared with the arguments of `fit` when training resumes.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lddn_jax.checks import called
from lddn_jax.errors import CheckpointError, LDDNError, shown
from lddn_jax.network.network import Network
from lddn_jax.storage import archive
from lddn_jax.storage.archive import Archive
from lddn_jax.storage.environment import differences, environment
from lddn_jax.topology.topology import Topology
from lddn_jax.training.fingerprint import Identity
from lddn_jax.training.history import History, Row
from lddn_jax.training.non_finite import NonFinite
from lddn_jax.training.result import Fitted
from lddn_jax.training.state_parameters import Started, network_of
from lddn_jax.training.state_registry import describe, restored
from lddn_jax.training.stop_reason import Flag, StopReason
from lddn_jax.training.training_state import Kept, TrainingState

FORMAT = "lddn_jax training"
EPOCH_FILES = "epoch_*.npz"
_logger = logging.getLogger("lddn_jax")
_KINDS = {
    "columns": list,
    "lines": list,
    "flags": list,
    "reasons": list,
    "ends": list,
    "non_finite": list,
    "validated": bool,
    "ended": bool,
    "seconds": int | float,
    "limits": dict,
    "identity": dict,
    "environment": dict,
}


def packed(t: TrainingState) -> bytes:
    """Returns the content of a checkpoint file."""
    net, history = network_of(t.trained), t.history
    lines = {} if t.delay_lines is None else t.delay_lines
    header = {
        "topology": net.topology.to_dict(),
        "dtype": str(np.dtype(net.dtype)),
        "restarts": t.restarts,
        "trained lines": sorted(t.trained.state) if isinstance(t.trained, Started) else None,
        "lines": sorted(lines),
        "trainer": describe(t.trainer),
        "epoch": t.epoch,
        "epochs": t.epochs,
        "validated": t.best is not None,
        "ended": t.values is not None and t.scores is not None,
        "reasons": [reason and reason.to_json() for reason in t.stop_reasons],
        "ends": list(t.ends),
        "columns": list(history),
        "seconds": t.seconds,
        "limits": dict(t.limits),
        "identity": t.identity.lines,
        "environment": environment(),
        "stop": t.stop_reason and t.stop_reason.to_json(),
        "non_finite": [asdict(place) | {"value": repr(place.value)} for place in t.non_finite],
        "flags": sorted(t.flags),
        "findings": dict(t.notes),
    }
    kept = {"lowest": t.lowest} | ({} if t.best is None else {"best": t.best})
    ended = () if t.values is None or t.scores is None else (t.values, t.scores)
    trees = {
        "trained": t.trained,
        "trainer": t.trainer,
        "key": t.key,
        "lines": lines,
        **{name: each.trained for name, each in kept.items()},
        **{f"host/{name}": (each.epochs, each.values) for name, each in kept.items()},
        "host/history": list(history.values()),
        "host/ended": ended,
    }
    return archive.packed(FORMAT, header, trees)


def opened(source: object) -> Archive | TrainingState:
    """Returns the run to resume: a checkpoint file, the newest one in a folder, or the state held by a `Fitted`.

    Raises:
        CheckpointError: If the file cannot be read or is not a training checkpoint.
        LDDNError: If `source` is neither a path nor a run.
    """
    if isinstance(source, (str, Path)):
        return _read(Path(source))
    found = source.training if isinstance(source, Fitted) else source
    if not isinstance(found, TrainingState):
        raise LDDNError(
            f"resume={called(source)} is not a saved run; pass the path of a checkpoint, a folder of checkpoints, or "
            "the result of fit."
        )
    return found


def resumed(
    source: Archive | TrainingState, structure: Any, identity: Identity, limits: Mapping[str, float | None], epochs: int
) -> TrainingState:
    """Returns the state to resume from.

    Args:
        source: From `opened`.
        structure: Shapes and dtypes of networks, trainer state and key at the start of the run.
        identity: Fingerprint of the topology, data and settings passed to `fit`.
        limits: New `goal` and `max_fail`.
        epochs: New maximum number of steps, including those already taken.

    Raises:
        CheckpointError: If topology, data or settings differ from those of the saved run.
    """
    if isinstance(source, TrainingState):
        what, t, changed = "the run given as resume", source, []
        _check_same(what, t.identity, identity)
    else:
        what = str(source.path)
        _check_same(what, Identity({}, source.header["identity"]), identity)
        t, changed = _filled(source, structure), differences(source.header["environment"], environment())
    if changed:
        _logger.warning(
            "%s was computed in another environment: %s. Results may differ by rounding.", what, "; ".join(changed)
        )
    # After `goal` or `max_fail` is changed, a network that stopped because of it resumes.
    moved = {reason for reason in ("goal", "max_fail") if t.limits[reason] != limits[reason]}
    t = replace(
        t,
        rows=list(t.rows[: t.epoch]),
        stop_reasons=tuple(None if reason in moved else reason for reason in t.stop_reasons),
        epochs=epochs,
        limits=limits,
        identity=identity,
        flags=t.flags | {Flag.RESUMED} | ({Flag.ENVIRONMENT_CHANGED} if changed else set()),
    )
    nothing_to_do = (t.stop_reason is StopReason.EPOCHS and t.epoch >= epochs) or not t.active.any()
    return t if nothing_to_do else replace(t, stop_reason=None, values=None, scores=None)


def loaded(file: Archive) -> TrainingState:
    """Returns the saved state; a trainer state whose class is not registered becomes a dict of arrays by name."""
    net, header = network_like(file), _checked(file)
    with file.reading("its trainer's state"):
        several = (header["restarts"],) if header["restarts"] > 1 else ()
        trained: Any = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*several, *leaf.shape), leaf.dtype), net)
        names = header["trained lines"]
        if names is not None:
            lines = map(jax.device_put, file.arrays["trained"][-len(names) :])
            trained = Started(trained, dict(zip(names, lines, strict=True)))
        leaves = file.arrays.get("trainer", [])
        trainer = restored(header["trainer"], list(map(jax.device_put, leaves)))
        (key,) = file.arrays["key"]
    return replace(_filled(file, (trained, leaves, key)), trainer=trainer)


def network_like(file: Archive) -> Network:
    """Returns shapes and dtypes of a network with the topology and dtype saved in a file, without its arrays."""
    with file.reading("its topology"):
        topology, dtype = Topology.from_dict(file.header["topology"]), file.header["dtype"]
        return jax.eval_shape(lambda: Network(topology, init="zeros", dtype=dtype))


def epochs_asked(source: Path) -> int:
    """Returns the maximum number of steps set for the run saved in a file, or in the newest file of a folder."""
    return _read(source).header["epochs"]


def _read(path: Path) -> Archive:
    """Reads a file, or the newest undamaged one of a folder."""
    if not path.is_dir():
        file = archive.read(path)
        if file.format != FORMAT:
            raise CheckpointError(f"{path} holds a {file.format.removeprefix('lddn_jax ')}, not a run to resume.")
        _checked(file)
        return file
    files = sorted(path.glob(EPOCH_FILES), reverse=True)
    damaged: list[str] = []
    for file in files:
        try:
            found = _read(file)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            _logger.warning("resuming from an older checkpoint, %s: %s", file, message)
        return found
    detail = "; ".join(damaged) or f"it holds no {EPOCH_FILES}"
    raise CheckpointError(f"resume={str(path)!r} is a folder without a checkpoint to resume: {detail}.")


def _check_same(what: str, then: Identity, now: Identity) -> None:
    changes = then.changes(now)
    if changes:
        raise CheckpointError(
            f"cannot resume from {what}, which belongs to another run: {changes}. Pass the same topology, data and "
            "settings to fit, or omit resume to start a new run."
        )


def _filled(file: Archive, structure: Any) -> TrainingState:
    """The saved state, with trees of the given structure."""
    header, (trained, trainer, key) = file.header, structure
    restarts = header["restarts"]
    each = tuple(jax.ShapeDtypeStruct((restarts,), np.dtype(kind)) for kind in (int, float))

    def kept(name: str) -> Kept:
        return Kept(file.filled(name, trained), *file.filled(f"host/{name}", each))

    with file.reading("its run"):
        columns = dict(zip(header["columns"], file.arrays["host/history"], strict=True))
        values, scores = file.filled("host/ended", (each[1], each[1])) if header["ended"] else (None, None)
        lines = dict(zip(header["lines"], map(jax.device_put, file.arrays.get("lines", [])), strict=True))
        return TrainingState(
            trained=file.filled("trained", trained),
            trainer=file.filled("trainer", trainer),
            key=file.filled("key", key),
            epoch=header["epoch"],
            epochs=header["epochs"],
            restarts=restarts,
            lowest=kept("lowest"),
            best=kept("best") if header["validated"] else None,
            stop_reasons=tuple(reason and StopReason.of(reason) for reason in header["reasons"]),
            ends=tuple(header["ends"]),
            rows=_rows(columns, header["epoch"]),
            seconds=header["seconds"],
            limits=header["limits"],
            identity=Identity({}, header["identity"]),
            delay_lines=lines or None,
            stop_reason=header["stop"] and StopReason.of(header["stop"]),
            values=values,
            scores=scores,
            non_finite=tuple(_place(place) for place in header["non_finite"]),
            flags=frozenset(header["flags"]),
            notes=dict(header.get("findings", {})),
        )


def _rows(columns: Mapping[str, Any], epochs: int) -> list[Row]:
    rows = History(columns).rows()
    if len(rows) != epochs:
        raise ValueError(f"{len(rows)} rows of history after {epochs} epochs")
    return rows


def _checked(file: Archive) -> dict[str, Any]:
    """Returns the header after a check of what else would fail late: numbers of networks and epochs, and names."""
    header = file.header
    with file.reading("its run"):
        restarts, epoch = header["restarts"], header["epoch"]
        counts = {"restarts": restarts, "epoch": epoch, "epochs": header["epochs"]}
        odd = [name for name, value in counts.items() if type(value) is not int or value < (name == "restarts")]
        for name, kind in _KINDS.items():
            odd += [] if isinstance(header[name], kind) else [name]
        for name in ("columns", "lines", "flags"):
            odd += [] if all(isinstance(each, str) for each in header[name]) else [name]
        odd += ["limits"] if set(header["limits"]) != {"goal", "max_fail"} else []
        if odd:
            raise ValueError(f"{odd[0]} is {shown(header[odd[0]])}")
        for name in ("reasons", "ends"):
            if len(header[name]) != restarts:
                raise ValueError(f"{len(header[name])} {name} of {restarts} networks")
    return header


def _place(known: Mapping[str, Any]) -> NonFinite:
    return NonFinite(**{**known, "value": float(known["value"]), "parameters": tuple(known["parameters"])})
