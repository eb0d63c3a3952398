"""Model comparison: topologies of different sizes and delays, compared by their evidence.

The log evidence log p(D | α, β) is the fit minus a penalty for complexity (the Occam factor), so no records have to be
held out; if some are, their error can be compared with the evidence. A difference of 5 in log evidence is a factor of
150 in probability.

A network of h interchangeable hidden neurons has many equivalent optima, and Laplace's approximation counts only one.
Counting all would add log h! + h log 2 for an odd transfer function.

MacKay (1992), Neural Computation 4(3) 448-472, section 3.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lddn_jax.bayesian.bayesian import BayesianRegularization
from lddn_jax.bayesian.posterior import EVIDENCE_RESOLUTION, Posterior, posterior
from lddn_jax.checks import called, expect
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.tables import csv_of
from lddn_jax.errors import DataError, LDDNError, NumericalError
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.losses import AbstractLeastSquares, MeanSquaredError
from lddn_jax.network.initializers import Initializer
from lddn_jax.network.network import Network
from lddn_jax.network.signals import check_data
from lddn_jax.numerics.text_table import aligned, digits
from lddn_jax.prediction.free_run import error_of
from lddn_jax.topology.topology import Topology, check_topology
from lddn_jax.training.fit import fit
from lddn_jax.training.result import Fitted

_logger = logging.getLogger("lddn_jax")
COLUMNS = ("parameters", "log_evidence", "gamma", "alpha", "beta", "train_rmse", "held_out_rmse", "epochs", "seconds")


@dataclass(frozen=True)
class Candidate:
    """One topology of a comparison.

    Attributes:
        name: Name in the table.
        fitted: Result of the training.
        posterior: Posterior of the best restart.
        train_rmse: Root mean squared error on the training data.
        held_out_rmse: Root mean squared error on held-out data; None without such data.
        seconds: Training time, including compilation.
    """

    name: str
    fitted: Fitted
    posterior: Posterior
    train_rmse: float
    held_out_rmse: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Returns a row of the table, with None for numbers that are not finite.

        `alpha` is the mean over groups, weighted by their effective parameters.
        """
        p = self.posterior
        gamma, alpha = np.asarray(p.gamma, float), np.asarray(p.strengths.alpha, float)
        counted = np.where(alpha > 0, gamma, 0)  # of those with a prior
        mean = float(np.sum(counted * alpha) / max(np.sum(counted), np.finfo(float).tiny))
        numbers = {
            "parameters": p.net.parameter_count,
            "log_evidence": float(p.log_evidence),
            "gamma": float(np.sum(gamma)),
            "alpha": mean,
            "beta": float(p.strengths.beta),
            "train_rmse": self.train_rmse,
            "held_out_rmse": self.held_out_rmse,
            "epochs": self.fitted.best_epoch,
            "seconds": self.seconds,
        }
        known = {name: x if x is not None and np.isfinite(x) else None for name, x in numbers.items()}
        return {"name": self.name, **known, "stop_reason": str(self.fitted.stop_reason)}


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`; `print` shows the table.

    Attributes:
        candidates: The topologies in the given order.
    """

    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The candidate with the largest evidence; one whose evidence is NaN or infinite is never the best.

        Raises:
            NumericalError: If no candidate has a finite evidence.
        """
        finite = [c for c in self.candidates if np.isfinite(float(c.posterior.log_evidence))]
        if not finite:
            reasons = ", ".join(f"{c.name!r}: {c.fitted.stop_reason}" for c in self.candidates)
            raise NumericalError(
                f"no topology has a finite evidence ({reasons}). Scale the signals (lddn.Scaled.fit), or train from "
                "other initial weights: key=jax.random.key(1)."
            )
        return max(finite, key=lambda candidate: float(candidate.posterior.log_evidence))

    def to_dict(self) -> list[dict[str, Any]]:
        """Returns the rows as plain values for `json.dump`."""
        return [candidate.to_dict() for candidate in self.candidates]

    def to_csv(self, path: str | Path | None = None) -> str:
        """Returns the table as CSV with a header, and writes it to `path` if given."""
        return csv_of(self.to_dict(), path)

    def __str__(self):
        rows = self.to_dict()
        best = None if all(row["log_evidence"] is None for row in rows) else self.best.name
        table = [["topology", *COLUMNS, ""]]
        for row in rows:
            cells = [_cell(name, row[name]) for name in COLUMNS]
            table.append([row["name"], *cells, "<- largest evidence" if row["name"] == best else ""])
        return "\n".join(aligned(table, "<" + ">" * len(COLUMNS) + "<"))


def _cell(column: str, value: Any) -> str:
    if value is None or isinstance(value, int):
        return "-" if value is None else str(value)
    return digits(value, EVIDENCE_RESOLUTION if column == "log_evidence" else None)


def compare(
    topologies: Mapping[str, Topology] | Sequence[Topology],
    data: Sequences | Callable[[Topology], Sequences],
    *,
    trainer: BayesianRegularization | None = None,
    held_out: Sequences | Callable[[Topology], Sequences] | None = None,
    loss: AbstractLeastSquares | None = None,
    gradient: AbstractGradient | None = None,
    epochs: int | None = None,
    init: str | Initializer = "nguyen-widrow",
    key: PRNGKeyArray | None = None,
    callbacks: Sequence[Any] = (),
    progress: bool | None = None,
) -> Comparison:
    """Trains one network for each topology by Bayesian regularization and compares their evidence.

    Restarts of one topology run side by side in one program; topologies run one after the other.

    Args:
        topologies: A mapping from names in the table to topologies, or a list of topologies.
        data: `Sequences`; or a function of the topology that returns them, if delay states depend on the topology. All
            candidates must have the same targets.
        trainer: `BayesianRegularization(restarts=4)` if None.
        held_out: Data not used for training, in the same forms as `data`.
        loss: `MeanSquaredError()` if None.
        gradient: As in `fit`.
        epochs: As in `fit`.
        init: Initializer of the weights; see `Network`.
        key: JAX key for the initial weights; `jax.random.key(0)` if None.
        callbacks: As in `fit`; they are called for each topology. With `ReturnOnSignal`, an interrupted comparison is
            of the topologies so far.
        progress: As in `fit`.

    Returns:
        A `Comparison`.

    Raises:
        LDDNError: If no topology is given.
        DataError: If candidates have different numbers of residuals.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> def fir(*delays):
        ...     return lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear")],
        ...                          [lddn.Connection("u", to="y", delays=delays)], ["y"])
        >>> u, noise = jax.random.normal(jax.random.key(0), (2, 100, 1))
        >>> data = lddn.Sequences(u, 2 * u + 0.1 * noise)
        >>> trainer = lddn.BayesianRegularization(allow_float32=True)
        >>> found = lddn.compare({"no delay": fir(0), "one step": fir(1)}, data, trainer=trainer, epochs=20)
        >>> found.best.name
        'no delay'

    MacKay (1992), Neural Computation 4(3) 448-472.
    """
    call = "compare(topologies, data)"
    if not isinstance(topologies, Mapping | Sequence) or isinstance(topologies, str):
        raise LDDNError(
            f"topologies is {called(topologies)}, but {call} takes several by name: {{'5 neurons': topology, ...}}."
        )
    for topology in topologies.values() if isinstance(topologies, Mapping) else topologies:
        check_topology(topology, call)
    if not callable(data):
        check_data(data, call)
    if not isinstance(topologies, Mapping):
        topologies = {f"{k}: {_describe(topology)}": topology for k, topology in enumerate(topologies)}
    if not topologies:
        raise LDDNError("compare: there is no topology; pass some, such as {'5 neurons': topology, ...}.")
    trainer = BayesianRegularization(restarts=4) if trainer is None else trainer
    needed = "one that computes the evidence: lddn.BayesianRegularization(restarts=4)"
    expect(BayesianRegularization, "trainer", trainer, call, needed)
    loss, key = loss or MeanSquaredError(), jax.random.key(0) if key is None else key
    records = {name: data(topology) if callable(data) else data for name, topology in topologies.items()}
    _check_same_targets(records)
    candidates: list[Candidate] = []
    for name, topology in topologies.items():
        test = held_out(topology) if callable(held_out) else held_out
        net = Network(topology, key=key, init=init)
        _logger.info("compare: %s", name)
        start = time.perf_counter()
        fitted = fit(
            net,
            records[name],
            loss,
            trainer,
            gradient=gradient,
            epochs=epochs,
            key=key,
            callbacks=callbacks,
            progress=progress,
        )
        seconds = time.perf_counter() - start
        found = posterior(fitted, records[name], loss=loss, method=gradient)
        train_rmse = error_of(fitted.net, records[name])[0]
        held_out_rmse = None if test is None else error_of(fitted.net, test)[0]
        candidates.append(Candidate(name, fitted, found, train_rmse, held_out_rmse, seconds))
        if fitted.stop_reason.cut_short:
            _logger.warning("compare: training was interrupted; topologies after %r are left out.", name)
            break
    return Comparison(tuple(candidates))


def _check_same_targets(records: Mapping[str, Sequences]) -> None:
    counts = {}
    for name, data in records.items():
        counts[name] = data.counted
    (first, count), *others = counts.items()
    for name, other in others:
        if other != count:
            raise DataError(
                f"compare: {name!r} has {other} residuals and {first!r} {count}, but evidence can be compared only on "
                "the same targets. Start all records after the longest delay of any candidate."
            )


def _describe(topology: Topology) -> str:
    sizes = "-".join(str(layer.size) for layer in topology.layers)
    longest = max((d for delays in topology.delays.values() for d in delays), default=0)
    return f"layers {sizes}, delays to {longest}"
