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
import numpy as np
from jaxtyping import Array

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.base import AbstractGradient
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.losses import AbstractLoss
from lddn_jax.network import Network
from lddn_jax.training.base import AbstractTrainer, Problem, check_positive

_logger = logging.getLogger("lddn_jax")

STOP_REASONS = {
    "epochs": "all epochs were run",
    "goal": "the loss reached the goal",
    "max_fail": "the validation loss did not improve for max_fail epochs",
    "non_finite": "the loss left the finite numbers; the last network with a finite loss is returned",
}


class History(Mapping):
    """What was recorded, one array by name with one entry for each epoch.

    `loss` is that of the network before the epoch's step, `validation_loss` that of the network after it, `seconds` the
    time since the start; the rest is the trainer's info.
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
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self])
            writer.writerows(zip(range(len(self["loss"])), *self.values(), strict=True))


@dataclass(frozen=True)
class Fitted:
    """What training returned.

    Attributes:
        net: The best network by validation loss if there was validation data, else the last one.
        state: The trainer's state after the last step.
        history: Arrays by name.
        stop_reason: A key of `lddn_jax.training.fit.STOP_REASONS`.
        best_epoch: The number of steps after which `net` was reached.
    """

    net: Network
    state: Any
    history: History
    stop_reason: str
    best_epoch: int

    def __str__(self):
        losses = self.history["loss"]
        lines = [
            f"stopped after {len(losses)} epochs: {STOP_REASONS[self.stop_reason]} ({self.stop_reason})",
            f"loss {losses[0]:.6g} -> {losses[-1]:.6g}" if len(losses) else "no step was taken",
        ]
        if "validation_loss" in self.history and len(losses):
            best = np.nanmin(self.history["validation_loss"])
            lines.append(f"best validation loss {best:.6g} after {self.best_epoch} epochs")
        return "\n".join(lines)


def fit(
    net: Network,
    data: Any,
    loss: AbstractLoss,
    trainer: AbstractTrainer,
    *,
    gradient: AbstractGradient | None = None,
    epochs: int = 100,
    validation: Any = None,
    max_fail: int = 6,
    goal: float | None = None,
    key: Array | None = None,
    progress: bool | None = None,
) -> Fitted:
    """Trains a network.

    Args:
        net: Where to start.
        data: `Sequences` to train on.
        loss: From `lddn_jax.losses`.
        trainer: For example `Optax(optax.adam(1e-3))`.
        gradient: How to differentiate; `BPTT()` if None.
        epochs: The largest number of steps of the trainer.
        validation: `Sequences` to validate on after every step. The network with the smallest validation loss is
            returned.
        max_fail: Epochs without a smaller validation loss after which training stops.
        goal: Training loss at which training stops.
        key: For shuffling mini-batches; `jax.random.key(0)` if None.
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
    check_positive("epochs", epochs)
    check_positive("max_fail", max_fail)
    if not isinstance(trainer, AbstractTrainer):
        raise LDDNError(f"trainer={trainer!r} is not a trainer; for an optax transformation write lddn.Optax(...).")
    gradient = gradient or BPTT()
    key = jax.random.key(0) if key is None else key
    problem = Problem.of(loss, net, data, gradient)
    trainer.check(problem)
    held_out = None if validation is None else Problem.of(loss, net, validation, gradient)

    state = trainer.init(net, problem)
    columns: dict[str, list[float]] = {"loss": []}
    finite = (net, 0)  # the last network whose loss was seen to be finite, and the steps that led to it
    best, best_value = (net, 0), np.inf if held_out is None else float(_value(held_out, net))
    reason, taken, start = "epochs", 0, time.perf_counter()
    with _Progress(epochs, progress) as show:
        while taken < epochs and reason == "epochs":
            new, new_state, info = _step(trainer, net, state, problem, jax.random.fold_in(key, taken))
            row = {name: float(value) for name, value in info.items()}
            if not np.isfinite(row["loss"]):
                reason = "non_finite"
                break
            finite = (net, taken)
            net, state, taken = new, new_state, taken + 1
            if held_out is not None:
                row["validation_loss"] = float(_value(held_out, net))
                if row["validation_loss"] < best_value:
                    best, best_value = (net, taken), row["validation_loss"]
                if taken - best[1] >= max_fail:
                    reason = "max_fail"
            if goal is not None and row["loss"] <= goal:
                (net, taken), reason = finite, "goal"
            row["seconds"] = time.perf_counter() - start
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
            show(row)
    if reason in ("epochs", "max_fail") and not np.isfinite(float(_value(problem, net))):
        reason = "non_finite"
    if reason == "non_finite":
        net, taken = finite
        _logger.warning("training stopped after %d epochs: %s.", taken, STOP_REASONS[reason])
    if held_out is None:
        best = (net, taken)
    return Fitted(best[0], state, History(columns), reason, best[1])


@eqx.filter_jit
def _step(trainer: AbstractTrainer, net: Network, state: Any, problem: Problem, key: Array):
    return trainer.step(net, state, problem, key)


@eqx.filter_jit
def _value(problem: Problem, net: Network) -> Array:
    return problem.value(net)


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
