"""Training on one fold or on everything: what its call of `fit` takes besides the data."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import PRNGKeyArray

from lddn_jax.data.sequences import Sequences
from lddn_jax.losses import AbstractLoss
from lddn_jax.network.network import Network
from lddn_jax.simulation.delays import DelayState
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.fit import fit
from lddn_jax.training.result import Fitted
from lddn_jax.training.trainer import AbstractTrainer

# First states of the layers for the sequences of a fold; with the axis of restarts, one set each.
FirstStates = Callable[[int, Sequences], DelayState]


@dataclasses.dataclass(frozen=True)
class Saving:
    """Callbacks of a training, and the subfolder of its checkpoints."""

    callbacks: tuple[Any, ...]
    checkpoint: Checkpoint | None
    resume: bool
    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The callbacks and the checkpoint to resume from, as arguments of `fit`."""
        if self.checkpoint is None:
            return {"callbacks": self.callbacks}
        own = self.checkpoint.within(self.name)
        return {"callbacks": (*self.callbacks, own), "resume": own.saved if self.resume else None}


@dataclasses.dataclass(frozen=True)
class FoldRun:
    """How `fit` trains on a fold."""

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
        **more: Any,
    ) -> Fitted:
        """Returns the result of `fit`."""
        return fit(
            net,
            data,
            self.loss,
            self.trainer,
            epochs=epochs,
            key=self.key,
            progress=self.progress,
            initial_state=state,
            **self.saving.arguments,
            **more,
        )
