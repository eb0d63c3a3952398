"""Measured records of the field, and how each is customarily divided: what trains, what tests, what is not scored.

They belong to others and are no part of this repository. The folder that holds them is `$LDDN_RECORDS`; its files are
those that their authors distribute, under these names. A pair of objects such as the package `nonlinear_benchmarks`
loads is taken as it is: `case_of("cascaded tanks", *nonlinear_benchmarks.Cascaded_Tanks())`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import lddn_jax as lddn
from lddn_jax.data import Record

FOLDER = Path(os.environ.get("LDDN_RECORDS", "../shared/data/records"))
DECIMATION_OF_EMPS = 10  # 1 kHz to 100 Hz


@dataclass(frozen=True)
class Case:
    """Records of one plant.

    Attributes:
        name: The name in tables.
        train, test: Records for identification, and the record on which a free run is scored.
        skip: Number of first rows of the test record that are not scored.
        unit, per: Unit of the errors, and how many there are in a unit of the record.
        published: Errors that others reached, by method, in `unit`.
        continues: Whether the test record follows the only training record, and is forecast from its end.
    """

    name: str
    train: list[Record]
    test: Record
    skip: int = 0
    unit: str = ""
    per: float = 1.0
    published: Mapping[str, float] = field(default_factory=dict)
    continues: bool = False


def case_of(name: str, train: Any, test: Any, *, skip: int | None = None, **more: Any) -> Case:
    """Returns a case of objects with arrays `u` and `y`, or of lists of them; the last test record is scored.

    The number of first rows that are not scored is the object's `state_initialization_window_length`, if it has one.
    """
    trains = list(train) if isinstance(train, list | tuple) else [train]
    scored = test[-1] if isinstance(test, list | tuple) else test
    found = [Record.of(each, ["u"], ["y"], name="train") for each in trains]
    window = getattr(scored, "state_initialization_window_length", 0) if skip is None else skip
    return Case(name, found, Record.of(scored, ["u"], ["y"], name="test"), window or 0, **more)


def cases(only: str = "") -> list[Case]:
    """Returns the cases whose name contains a text and whose files are there."""
    return [make() for name, make in KNOWN.items() if only in name and _is_there(name)]


def _is_there(name: str) -> bool:
    return FOLDER.is_dir() and (FOLDER / FILES[name]).exists()


def _columns(u: Any, y: Any) -> Record:
    return Record({"u": np.asarray(u, float).reshape(-1, 1)}, {"y": np.asarray(y, float).reshape(-1, 1)})


def _divided(name: str, record: Record, rows: int, **more: Any) -> Case:
    return _named(name, record.piece(0, rows), record.piece(rows, len(record)), **more)


def _named(name: str, train: Record, test: Record, **more: Any) -> Case:
    parts = (Record(r.inputs, r.targets, r.time, label) for r, label in ((train, "train"), (test, "test")))
    first, second = parts
    return Case(name, [first], second, **more)


def _mat(path: str, *names: str) -> list[np.ndarray]:
    file = lddn.data.read_mat(FOLDER / path)
    return [np.asarray(file[name], float).ravel() for name in names]


def _wiener_hammerstein(samples: int) -> Case:
    import h5py

    parts = []
    for part in ("train", "valid", "test"):
        with h5py.File(FOLDER / f"wiener_hammerstein/WienerHammerstein_{part}.hdf5") as file:
            parts.append((np.asarray(file["u"]).ravel(), np.asarray(file["y"]).ravel()))
    whole = _columns(*(np.concatenate(signals) for signals in zip(*parts, strict=True)))
    return _named(
        "Wiener-Hammerstein" + ("" if samples == 100_000 else f", {samples:,} samples"),
        whole.piece(5_200, 5_200 + samples),
        whole.piece(105_200, 184_000),
        skip=50,
        unit="mV",
        per=1e3,
        published={"linear": 43.4, "LSTM": 4.45, "PNLSS": 0.42, "NL-LFR": 0.294, "SUBNET": 0.241},
    )


def _emps() -> Case:
    train, test = (
        _columns(*_mat(f"emps/{name}.mat", "vir", "qm")).decimate(DECIMATION_OF_EMPS)
        for name in ("DATA_EMPS", "DATA_EMPS_PULSES")
    )
    published = {"linear": 5.53, "GRU": 220.0, "LSTM": 74.0, "CT-SUBNET": 4.61, "dynoNet": 2.64}
    # Published errors are at 1 kHz, where the first 20 samples are not scored.
    return _named("EMPS", train, test, skip=20 // DECIMATION_OF_EMPS, unit="mm", per=1e3, published=published)


def _drives(number: int) -> Case:
    record = _columns(*_mat("coupled_drives_prbs.mat", f"u{number}", f"z{number}"))
    return _divided(f"coupled drives z{number}", record, 250)


def _two_columns(name: str, path: str) -> Case:
    return _divided(name, _columns(*np.loadtxt(FOLDER / path).T[:2]), 500)


def _csv(path: str, u: str, y: str) -> Record:
    record = Record.of(FOLDER / path, [u], [y], time=False)
    return _columns(record.inputs[u], record.targets[y])


def _maglev() -> Case:
    record = _csv("../maglev.csv", "current", "position")
    return _divided("magnetic levitation", record, round(0.85 * len(record)))


def _bouc_wen() -> Case:
    """Voltage and velocity of a magneto-rheological damper, and its force."""
    return _divided("Bouc-Wen", Record.of(FOLDER / "bouc_wen.csv", ["E", "v"], ["f"], time=False), 2_000)


def _passengers() -> Case:
    record = Record.of(FOLDER / "air_passengers.csv", [], ["y"], time=False)
    # Published are mean squared errors.
    published = {"AOLS": 441**0.5, "NeuralProphet": 514**0.5, "neural NARX": 1622**0.5, "AutoARIMA": 2230**0.5}
    return _divided("air passengers", record, 120, published=published, continues=True)


KNOWN: dict[str, Callable[[], Case]] = {
    "Wiener-Hammerstein, 20,000 samples": lambda: _wiener_hammerstein(20_000),
    "Wiener-Hammerstein": lambda: _wiener_hammerstein(100_000),
    "EMPS": _emps,
    "coupled drives z1": lambda: _drives(1),
    "coupled drives z2": lambda: _drives(2),
    "coupled drives z3": lambda: _drives(3),
    "magnetic levitation": _maglev,
    "gas furnace": lambda: _divided("gas furnace", _csv("gas_furnace.csv", "InputGasRate", "CO2"), 148),
    "dryer": lambda: _two_columns("dryer", "dryer.dat"),
    "ball-beam": lambda: _two_columns("ball-beam", "ballbeam.dat"),
    "damper": lambda: _divided("damper", _columns(*_mat("damper.mat", "X", "y")), 2_000),
    "buck converter": lambda: _named(
        "buck converter", _csv("buck_id.csv", "input", "y"), _csv("buck_valid.csv", "input", "y")
    ),
    "Bouc-Wen": _bouc_wen,
    "air passengers": _passengers,
}
FILES = {
    "Wiener-Hammerstein, 20,000 samples": "wiener_hammerstein",
    "Wiener-Hammerstein": "wiener_hammerstein",
    "EMPS": "emps",
    "magnetic levitation": "../maglev.csv",
    "gas furnace": "gas_furnace.csv",
    "dryer": "dryer.dat",
    "ball-beam": "ballbeam.dat",
    "damper": "damper.mat",
    "buck converter": "buck_id.csv",
    "Bouc-Wen": "bouc_wen.csv",
    "air passengers": "air_passengers.csv",
} | {f"coupled drives z{k}": "coupled_drives_prbs.mat" for k in (1, 2, 3)}
