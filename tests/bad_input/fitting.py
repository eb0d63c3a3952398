"""Data that no training can use: infinite, empty, or without a target that counts."""

from types import SimpleNamespace

import numpy as np
import optax

import lddn_jax as lddn
from lddn_jax import DataError, PrecisionError, ShapeError

BAYES = lddn.BayesianRegularization()
HUGE, FEW = np.full((30, 1), 1e300), np.ones((30, 1))


def holed(signal: np.ndarray, value: float = np.inf, place: int = 7) -> np.ndarray:
    """The signal with another value at one place."""
    found = np.array(signal, float)
    found[place] = value
    return found


def sequences(**changed):
    """`Sequences` of the kit's record with something else in it."""

    def of(k):
        given = {"inputs": k.inputs, "targets": k.y} | {name: make(k) for name, make in changed.items()}
        return lddn.Sequences(**given)

    return of


def trained(trainer, loss=None, **changed):
    """Trains on `Sequences` with something else in it."""
    return lambda k: lddn.fit(
        k.net, sequences(**changed)(k), loss or lddn.losses.MeanSquaredError(missing="mask"), trainer
    )


def plain(**changed):
    """Trains on an object that has the attributes of `Sequences`, which checks nothing itself."""

    def call(k):
        given = {"inputs": k.inputs, "targets": k.y, "state": None, "weights": None}
        data = SimpleNamespace(**given | {name: make(k) for name, make in changed.items()})
        return lddn.fit(k.net, data, lddn.losses.MeanSquaredError(missing="mask"), k.lm)

    return call


def nothing(k):
    return np.full_like(k.y, np.nan)


def weightless(k):
    return np.zeros_like(k.y)


INFINITE = {
    "infinite input": (sequences(inputs=lambda k: {**k.inputs, "u": holed(k.u)}), r"input 'u' is infinite.*\(7, 0\)"),
    "minus infinity": (sequences(inputs=lambda k: holed(k.u, -np.inf)), r"input is infinite at index \(7, 0\)"),
    "infinite target": (sequences(targets=lambda k: holed(k.y)), r"target is infinite.*\(7, 0\).*missing with NaN"),
    "infinite target by name": (
        sequences(targets=lambda k: {"y": np.stack([k.y, holed(k.y)])}, inputs=lambda k: np.stack([k.u, k.u])),
        r"target 'y' is infinite at index \(1, 7, 0\)",
    ),
    "infinite state": (sequences(state=lambda k: {"u": np.full((2, 1), np.inf)}), r"delay state 'u' is infinite"),
    "infinite weight": (
        trained(lddn.LevenbergMarquardt(), weights=lambda k: holed(FEW)),
        r"error weights of 'y' are negative, NaN or infinite",
    ),
}
PLAIN = {
    "infinite input": (plain(inputs=lambda k: {**k.inputs, "u": holed(k.u)}), r"input 'u' is infinite.*\(7, 0\)"),
    "missing input": (
        plain(inputs=lambda k: {**k.inputs, "u": holed(k.u, np.nan)}),
        r"input 'u' is NaN.*\(7, 0\).*Correct the value",
    ),
    "infinite target": (plain(targets=lambda k: holed(k.y)), r"target 'y' is infinite.*\(7, 0\)"),
    "missing state": (plain(state=lambda k: {**k.state, "u": np.full((2, 1), np.nan)}), r"delay state of 'u' is NaN"),
    "no target": (plain(targets=nothing), r"\['y'\] are missing \(NaN\) or have error weight 0"),
    "no weight": (plain(weights=weightless), r"\['y'\] are missing \(NaN\) or have error weight 0"),
}
EMPTY = {
    "no sequence": (
        sequences(inputs=lambda k: np.zeros((0, 30, 1)), targets=lambda k: np.zeros((0, 30, 1))),
        r"\(0, 30\).*no sequence or no time step",
    ),
    "no step": (
        sequences(inputs=lambda k: np.zeros((0, 1)), targets=lambda k: np.zeros((0, 1))),
        r"\(0,\).*no sequence or no time step",
    ),
    "sequences of no step": (
        sequences(inputs=lambda k: np.zeros((3, 0, 1)), targets=lambda k: np.zeros((3, 0, 1))),
        r"\(3, 0\).*at least one step",
    ),
    "targets alone, none of them": (
        sequences(inputs=lambda k: None, targets=lambda k: np.zeros((0, 9, 1))),
        r"target has.*\(0, 9\)",
    ),
}
UNCOUNTED = {
    f"{what}, {name}": (
        trained(trainer, **{field: make}),
        r"data has no target to compare with.*\['y'\] are missing \(NaN\) or have error weight 0",
    )
    for name, trainer in (
        ("levenberg-marquardt", lddn.LevenbergMarquardt()),
        ("bayesian", BAYES),
        ("adam", lddn.Optax(optax.adam(0.1))),
        ("mini-batches", lddn.Optax(optax.adam(0.1), 1)),
        ("restarts", lddn.LevenbergMarquardt(restarts=3)),
    )
    for what, field, make in (("all missing", "targets", nothing), ("no weight", "weights", weightless))
}
OTHERS = {
    "validation without a target": (
        lambda k: lddn.fit(
            k.net,
            k.data,
            lddn.losses.MeanSquaredError(missing="mask"),
            k.lm,
            validation=lddn.Sequences(k.inputs, nothing(k)),
        ),
        r"validation has no target to compare with",
    ),
    "adapted to infinity": (
        lambda k: lddn.adapt(
            k.net, SimpleNamespace(inputs=k.inputs, targets=holed(k.y), state=None, weights=None), optax.sgd(0.1)
        ),
        r"target 'y' is infinite.*\(7, 0\)",
    ),
    "no residual": (
        lambda k: lddn.levenberg_marquardt(lambda x: x[:0], np.ones(2)),
        r"residual_fn returned no residual",
    ),
    "closed on missing targets": (
        lambda k: lddn.fit_closed_loop(k.net, lddn.Sequences(k.inputs, nothing(k)), k.lm),
        r"'y'.*NaN",
    ),
}


SETTINGS = {
    f"float32 for {trainer}": (
        lambda k, trainer=trainer: lddn.Settings(trainer=trainer, dtype="float32"),
        rf"dtype=\"float32\".*trainer='{trainer}'.*Omit dtype.*trainer=\"adam\"",
    )
    for trainer in ("lm", "br")
}


def lines():
    for trainer in ("lm", "br"):
        yield (
            f"fit in float32 by {trainer}",
            (
                f"fit {{csv}} --inputs u --targets y --dtype float32 --trainer {trainer}",
                rf"--dtype float32.*--trainer {trainer}.*--trainer adam",
            ),
        )


def rows():
    for subject, error, table in (
        ("infinite", DataError, INFINITE),
        ("without a check of its own", DataError, PLAIN),
        ("empty", ShapeError, EMPTY),
        ("uncounted", DataError, UNCOUNTED),
        ("nothing to learn", DataError, OTHERS),
        ("digits", PrecisionError, SETTINGS),
    ):
        for name, (call, words) in table.items():
            yield f"{subject}: {name}", (call, error, words)
