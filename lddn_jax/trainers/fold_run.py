"""Training on the windows and stretches of one fold: what its calls of `fit` share, and first states between them."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from lddn_jax.data.fold_blocks import FoldData
from lddn_jax.data.sequences import Sequences
from lddn_jax.losses import AbstractLoss
from lddn_jax.network.network import Network
from lddn_jax.simulation.delays import DelayState
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.fit import fit
from lddn_jax.training.result import Fitted
from lddn_jax.training.trainer import AbstractTrainer

# First states of the layers for the sequences of a fold (None: of everything); with the axis of restarts, one set each.
FirstStates = Callable[[int | None, Sequences], DelayState]


@dataclasses.dataclass(frozen=True)
class Saving:
    """The callbacks of a part of the training, and the checkpoint that it resumes from."""

    callbacks: tuple[Any, ...]
    checkpoint: Checkpoint | None
    resume: bool
    name: str

    def of(self, part: str) -> tuple[tuple[Any, ...], Path | None]:
        """Returns the callbacks of a part of the training, and the checkpoint to resume from."""
        if self.checkpoint is None:
            return self.callbacks, None
        own = self.checkpoint.within(self.name)
        own = own.within(part) if part else own
        return (*self.callbacks, own), own.saved if self.resume else None


@dataclasses.dataclass(frozen=True)
class FoldRun:
    """What all calls of `fit` on a fold share."""

    loss: AbstractLoss
    trainer: AbstractTrainer
    key: PRNGKeyArray
    saving: Saving
    progress: bool | None

    def fitted(
        self,
        net: Network,
        data: Sequences,
        state: DelayState | None,
        epochs: int,
        part: str = "",
        **more: Any,
    ) -> Fitted:
        """Returns the result of `fit`; `part` names the folder of its checkpoints."""
        callbacks, resume = self.saving.of(part)
        return fit(
            net,
            data,
            self.loss,
            self.trainer,
            epochs=epochs,
            key=self.key,
            callbacks=callbacks,
            resume=resume,
            progress=self.progress,
            initial_state=state,
            **more,
        )

    def over_windows(
        self, net: Network, cuts: Sequence[FoldData], epochs: int, begins: Callable[[Sequences], DelayState] | None
    ) -> tuple[Network, DelayState | None, FoldData | None]:
        """Trains on windows of growing length; returns the networks, their first states and the last windows."""
        state: DelayState | None = None
        last: FoldData | None = None
        for cut in cuts:
            state = carried_over(state, last, cut, begins)
            fitted = self.fitted(net, cut.train, state, epochs, part=f"windows_{len(cut.spans)}")
            net = fitted.net if fitted.restarts is None else fitted.restarts
            state = fitted.initial_state if fitted.restarts is None else fitted.restart_states
            last = cut
            if fitted.stop_reason.cut_short:
                break
        return net, state, last


def carried_over(
    state: DelayState | None,
    before: FoldData | None,
    after: FoldData,
    begins: Callable[[Sequences], DelayState] | None,
) -> DelayState | None:
    """The first states of sequences: those of the windows that start in the same rows, or a guess if there are none."""
    if not after.train.train_state:
        return None
    guess = None if begins is None else begins(after.train)
    if state is None or before is None:
        return guess
    places = {(span.record, span.start): k for k, span in enumerate(before.spans)}
    index = np.array([places.get((span.record, span.start), -1) for span in after.spans], int)
    index = np.concatenate([index, np.zeros(after.train.batch[0] - len(index), int)])  # sequences without weight
    found = {name: jnp.take(line, np.maximum(index, 0), axis=-3) for name, line in state.items()}
    if (index >= 0).all():
        return found
    # A window that was too short to be trained on leaves its sequence without a state.
    others = dict(after.train.state or {}) | dict(guess or {})
    known = jnp.asarray(index >= 0)[:, None, None]
    return {
        name: jnp.where(jnp.broadcast_to(known, line.shape), line, jnp.broadcast_to(others[name], line.shape))
        for name, line in found.items()
    }
