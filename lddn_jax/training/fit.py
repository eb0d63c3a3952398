"""The only training loop."""

import csv
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lddn_jax.delays import DelayState
from lddn_jax.errors import LDDNError
from lddn_jax.gradients.base import AbstractGradient
from lddn_jax.losses import AbstractLoss
from lddn_jax.network import Network
from lddn_jax.training.base import AbstractTrainer, Problem, check_positive
from lddn_jax.training.started import Started, Trained, network_of
from lddn_jax.xla import in_groups

_logger = logging.getLogger("lddn_jax")

STOP_REASONS = {
    "epochs": "all epochs were run",
    "goal": "the loss reached the goal",
    "min_grad": "the gradient is smaller than min_grad",
    "settled": "alpha, beta, gamma and the evidence have settled",
    "mu_max": "the damping exceeded mu_max: no step makes the loss smaller",
    "max_fail": "the validation loss did not improve for max_fail epochs",
    "non_finite": "the loss left the finite numbers; the last network with a finite loss is returned",
}


class History(Mapping):
    """What was recorded, one array by name with one entry for each epoch.

    `loss` is that of the network before the epoch's step, `validation_loss` that of the network after it, `seconds` the
    time since the start; the rest is the trainer's info. With restarts an entry is an array, one element for each
    network, NaN after that network has stopped.
    """

    def __init__(self, columns: Mapping[str, Any]):
        self._columns = {name: np.asarray(values) for name, values in columns.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            raise KeyError(f"{name!r} was not recorded; known are {list(self._columns)}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self):
        return f"History({', '.join(self._columns)}; {len(self['loss'])} epochs)"

    def to_csv(self, path: str | Path) -> None:
        """Writes one row for each epoch, with a header."""
        columns = {}
        for name, values in self.items():
            several = (
                {f"{name}_{k}": values[:, k] for k in range(values.shape[1])} if values.ndim > 1 else {name: values}
            )
            columns |= several
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *columns])
            writer.writerows(zip(range(len(self["loss"])), *columns.values(), strict=True))

    def of(self, restart: int) -> "History":
        """Returns the history of one network of several, up to the step at which it stopped."""
        if self["loss"].ndim == 1:
            return self
        count = int(np.sum(~np.isnan(self["loss"][:, restart])))
        columns = {name: v[:count, restart] if v.ndim > 1 else v[:count] for name, v in self.items()}
        return History(columns)


@dataclass(frozen=True)
class Fitted:
    """What training returned.

    Attributes:
        net: The best network by validation loss if there was validation data, else the last one; of several restarts
            that of the best.
        state: The trainer's state after the last step.
        history: Arrays by name.
        stop_reason: A key of `lddn_jax.training.fit.STOP_REASONS`.
        best_epoch: The number of steps after which `net` was reached.
        best_restart: Which of several networks it is; 0 where there is one.
        stop_reasons: Those of all of them.
        restarts: All of their networks, stacked, to go on from: pass them to `fit`. None where there is one.
        initial_state: With `Sequences(train_state=True)`, the delay state of each sequence, `(sequences, longest
            delay, size)` by source; pass it to `predict`. None otherwise.
    """

    net: Network
    state: Any
    history: History
    stop_reason: str
    best_epoch: int
    best_restart: int = 0
    stop_reasons: tuple[str, ...] = ()
    restarts: Network | None = None
    initial_state: DelayState | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns how it went as plain values, ready for `json.dump`."""
        epochs = len(self.history["loss"])
        return {"stop_reason": self.stop_reason, "epochs": epochs, "best_epoch": self.best_epoch}

    def __str__(self):
        history = self.history.of(self.best_restart)
        losses = history["loss"]
        lines = [
            f"stopped after {len(losses)} epochs: {STOP_REASONS[self.stop_reason]} ({self.stop_reason})",
            f"loss {losses[0]:.6g} -> {losses[-1]:.6g}" if len(losses) else "no step was taken",
        ]
        if len(self.stop_reasons) > 1:
            counted = ", ".join(f"{self.stop_reasons.count(r)} {r}" for r in dict.fromkeys(self.stop_reasons))
            lines.insert(0, f"best of {len(self.stop_reasons)} restarts: number {self.best_restart} ({counted})")
        if "validation_loss" in history and len(losses):
            best = np.nanmin(history["validation_loss"])
            lines.append(f"best validation loss {best:.6g} after {self.best_epoch} epochs")
        return "\n".join(lines)


def fit(
    net: Network,
    data: Any,
    loss: AbstractLoss,
    trainer: AbstractTrainer,
    *,
    gradient: AbstractGradient | None = None,
    epochs: int | None = None,
    validation: Any = None,
    max_fail: int = 6,
    goal: float | None = None,
    key: Array | None = None,
    progress: bool | None = None,
) -> Fitted:
    """Trains a network.

    Args:
        net: Where to start. With restarts either one network, beside which others are drawn, or as many, stacked.
        data: `Sequences` to train on; with `train_state=True` their initial states are trained too.
        loss: From `lddn_jax.losses`.
        trainer: For example `Optax(optax.adam(1e-3))`.
        gradient: How to differentiate; the trainer's choice if None: `BPTT()`, or `RTRL()` where a Jacobian is needed.
        epochs: The largest number of steps of the trainer; None: 100, or 1000 for Levenberg-Marquardt.
        validation: `Sequences` to validate on after every step. The network with the smallest validation loss is
            returned.
        max_fail: Epochs without a smaller validation loss after which training stops.
        goal: Training loss at which training stops.
        key: For shuffling mini-batches and drawing restarts; `jax.random.key(0)` if None.
        progress: Whether to show a bar (by tqdm, an extra). None: if tqdm is installed, the run lasts more than
            two seconds, and a terminal is there to show it on.

    Returns:
        `Fitted`: the network, the trainer's state, the history and why training stopped. If the loss becomes
        non-finite, the last network whose loss was finite is returned, the stop reason is "non_finite", and a
        warning is logged.

    Raises:
        ShapeError: If data does not fit the network.
        DataError: If a target is NaN and the loss has `missing="error"`.
        LDDNError: If an argument makes no sense.

    Example:
        >>> import optax, jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear")],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> u = jax.random.normal(jax.random.key(0), (50, 1))
        >>> fitted = lddn.fit(lddn.Network(topology, init="zeros"), lddn.Sequences(u, 2 * u + 1),
        ...                   lddn.losses.MeanSquaredError(), lddn.Optax(optax.adam(0.1)), epochs=300)
        >>> round(float(fitted.net.IW["y", "u"][0, 0, 0]), 3), fitted.stop_reason
        (2.0, 'epochs')
    """
    if not isinstance(trainer, AbstractTrainer):
        raise LDDNError(f"trainer={trainer!r} is not a trainer; for an optax transformation write lddn.Optax(...).")
    epochs = trainer.default_epochs if epochs is None else epochs
    check_positive("epochs", epochs)
    check_positive("max_fail", max_fail)
    gradient = gradient or trainer.default_gradient
    key = jax.random.key(0) if key is None else key
    problem = Problem.of(loss, net, data, gradient)
    trainer.check(net, problem)
    held_out = None if validation is None else Problem.of(loss, net, validation, gradient)

    several = trainer.restarts > 1
    trained: Any = Started.of(net, problem.state) if problem.trains_state else net
    if several:
        trained = trainer.starts(trained, jax.random.fold_in(key, np.iinfo(np.int32).max))  # no step is ever that late
    state = _init(trainer, trained, problem, several)
    held_out_values = None if held_out is None else _rows(_value(held_out, trained, several))
    runs = [
        _Run(goal, max_fail, trained, np.inf if held_out_values is None else held_out_values[k])
        for k in range(trainer.restarts)
    ]
    rows: list[dict[str, np.ndarray]] = []
    taken, start = 0, time.perf_counter()
    with _Progress(epochs, progress) as show:
        while taken < epochs and any(run.reason is None for run in runs):
            active = np.array([run.reason is None for run in runs])
            new, new_state, info = _step(
                trainer, trained, state, problem, key, np.uint32(taken), active if several else None
            )
            info = {"loss": info["loss"]} | info  # first
            row = {name: np.where(active, _rows(value), np.nan) for name, value in info.items()}
            finite = np.isfinite(row["loss"])
            if not finite[active].any():
                for run in runs:
                    run.lost()
                break
            before, (trained, state, taken) = trained, (new, new_state, taken + 1)
            if held_out is not None:
                row["validation_loss"] = np.where(active & finite, _rows(_value(held_out, trained, several)), np.nan)
            for k, run in enumerate(runs):
                if run.reason is None:
                    run.record({name: float(value[k]) for name, value in row.items()}, before, trained, taken, trainer)
            row["seconds"] = np.array(time.perf_counter() - start)
            rows.append(row)
            show({name: float(np.nanmin(value)) for name, value in row.items()})
    values = _rows(_value(problem, trained, several))
    for run, value in zip(runs, values, strict=True):
        run.finish(trained, taken, float(value))
    scores = np.array([run.score for run in runs])
    if several and held_out is None:
        scores = trainer.rank(state, scores)
    best = int(np.argmin(scores)) if several else 0
    run = runs[best]
    if run.reason == "non_finite":
        _logger.warning("training stopped after %d epochs: %s.", run.best[1], STOP_REASONS["non_finite"])
    history = History(_columns(rows, several))
    pick = (lambda leaf: leaf[best]) if several else (lambda leaf: leaf)
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], r.best[0]) for k, r in enumerate(runs)] if several else []
    found = jax.tree.map(pick, run.best[0])
    return Fitted(
        network_of(found),
        jax.tree.map(pick, state),
        history,
        run.reason or "epochs",
        run.best[1],
        best,
        tuple(r.reason or "epochs" for r in runs),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(network_of, each)) if several else None,
        problem.parts(found)[1] if problem.trains_state else None,
    )


class _Run:
    """What is known of one network in training: its best so far, and why it stopped.

    A network is held as the stacked networks of its epoch; only the best of all is cut out of them in the end.
    """

    def __init__(self, goal: float | None, max_fail: int, net: Trained, validation: float):
        self.goal, self.max_fail = goal, max_fail
        self.reason: str | None = None
        self.finite = (net, 0)  # the last network whose loss was seen to be finite, and the steps that led to it
        self.validated = (net, 0, validation) if np.isfinite(validation) else (net, 0, np.inf)
        self.uses_validation = validation != np.inf
        self.best = (net, 0)
        self.score = np.inf

    def record(self, row: dict[str, float], before: Trained, net: Trained, taken: int, trainer: AbstractTrainer):
        """Takes note of a step; `row["loss"]` is that of the network before it."""
        if not np.isfinite(row["loss"]):
            self.lost()
            return
        self.finite = (before, taken - 1)
        if "validation_loss" in row:
            self.uses_validation = True
            if row["validation_loss"] < self.validated[2]:
                self.validated = (net, taken, row["validation_loss"])
            if taken - self.validated[1] >= self.max_fail:
                self.reason = "max_fail"
        self.reason = trainer.stop(row) or self.reason
        if self.goal is not None and row["loss"] <= self.goal:
            self.reason, self.best = "goal", self.finite
            self.score = row["loss"]

    def lost(self):
        """The loss left the finite numbers."""
        if self.reason is None:
            self.reason, self.best = "non_finite", self.finite

    def finish(self, net: Trained, taken: int, value: float):
        """Decides on the network to return; `value` is the loss after the last step."""
        stopped_early = self.reason in ("goal", "non_finite")
        if not stopped_early:
            self.reason = self.reason or "epochs"
            if np.isfinite(value):
                self.best, self.score = (net, taken), value
            else:
                self.reason, self.best = "non_finite", self.finite
        if self.uses_validation and self.reason != "non_finite":
            self.best, self.score = self.validated[:2], self.validated[2]


def _rows(value: Array) -> np.ndarray:
    """One element for each network."""
    return np.atleast_1d(np.asarray(value, dtype=float))


def _columns(rows: list[dict[str, np.ndarray]], several: bool) -> dict[str, Any]:
    if not rows:
        return {"loss": []}
    return {
        name: np.array([row[name] if several or row[name].ndim == 0 else row[name][0] for row in rows])
        for name in rows[0]
    }


@eqx.filter_jit
def _init(trainer: AbstractTrainer, net: Trained, problem: Problem, several: bool):
    return in_groups(lambda net: trainer.init(net, problem), net) if several else trainer.init(net, problem)


@eqx.filter_jit
def _step(trainer: AbstractTrainer, net: Trained, state: Any, problem: Problem, key: Array, taken: Any, active: Any):
    key = jax.random.fold_in(key, taken)
    if active is None:
        return trainer.step(net, state, problem, key)
    keys = jax.random.split(key, trainer.restarts)
    new, new_state, info = in_groups(lambda one: trainer.step(one[0], one[1], problem, one[2]), (net, state, keys))

    def kept(new, old):
        return jnp.where(active.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(kept, new, net), jax.tree.map(kept, new_state, state), info


@eqx.filter_jit
def _value(problem: Problem, net: Trained, several: bool) -> Array:
    return in_groups(problem.value, net) if several else problem.value(net)


class _Progress:
    """A tqdm bar where there is one to show."""

    def __init__(self, epochs: int, progress: bool | None):
        self._bar = None
        if progress is False:
            return
        try:
            from tqdm import tqdm
        except ImportError:
            if progress:
                raise LDDNError("progress=True needs tqdm: pip install 'lddn_jax[plot]'.") from None
            return
        # disable=None: tqdm stays silent where there is no terminal.
        self._bar = tqdm(total=epochs, unit="epoch", delay=2, disable=False if progress else None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def __call__(self, row: Mapping[str, float]):
        if self._bar is not None:
            shown = {"loss": f"{row['loss']:.3g}"}
            if "validation_loss" in row:
                shown["validation"] = f"{row['validation_loss']:.3g}"
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update()
