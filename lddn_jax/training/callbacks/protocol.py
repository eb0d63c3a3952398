"""The callback protocol, checked before training starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from signal import Signals
from typing import Any

from lddn_jax.checks import called
from lddn_jax.errors import LDDNError
from lddn_jax.training.callbacks.progress import shown
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.training_state import TrainingState

HOOKS = ("on_start", "on_step", "on_end", "on_signal")


@dataclass(frozen=True)
class Hooks:
    """The hooks of all callbacks in order; every hook is called, even if an earlier one stops training."""

    start: tuple[Callable[[TrainingState], Any], ...]
    step: tuple[tuple[Callable[[TrainingState], bool | None], StopReason], ...]
    end: tuple[Callable[[TrainingState], Any], ...]
    signal: tuple[Callable[[Signals], bool | None], ...]

    @classmethod
    def of(cls, callbacks: Sequence[Any], progress: bool | None = False) -> "Hooks":
        """Collects the hooks of callbacks, which are functions of a state or objects with hook methods.

        Args:
            callbacks: The callbacks.
            progress: Whether to append a `Progress`; see `lddn_jax.fit`.

        Raises:
            LDDNError: If a callback is neither, or has an unknown method `on_…`.
        """
        if not isinstance(callbacks, (list, tuple)):
            raise LDDNError(
                f"callbacks={called(callbacks)} is not a list; write callbacks=[lddn.callbacks.TimeLimit(60)]."
            )
        if progress is not None and not isinstance(progress, bool):
            raise LDDNError(
                f"progress={called(progress)}; write progress=True, progress=False, or None to let fit decide."
            )
        found: dict[str, list[Any]] = {hook: [] for hook in HOOKS}
        for k, callback in enumerate([*callbacks, *shown(progress)]):
            hooks = {name: getattr(callback, name) for name in dir(callback) if name.startswith("on_")}
            unknown = sorted(hooks.keys() - set(HOOKS))
            needed = f"a callback has some of {', '.join(HOOKS)}, or is a function of the state"
            if unknown:
                raise LDDNError(
                    f"callbacks[{k}], a {type(callback).__name__}, has {unknown[0]}, which is never called: {needed}."
                )
            if isinstance(callback, type) or not (hooks or callable(callback)):
                raise LDDNError(
                    f"callbacks[{k}]={callback!r} is not a callback: {needed}, such as lddn.callbacks.TimeLimit(60)."
                )
            for name, hook in (hooks or {"on_step": callback}).items():
                reason = getattr(callback, "stop_reason", StopReason.CALLBACK)
                found[name].append((hook, StopReason.of(reason)) if name == "on_step" else hook)
        return cls(*(tuple(found[hook]) for hook in HOOKS))

    def on_start(self, state: TrainingState) -> None:
        """Calls all `on_start` hooks, before the first step."""
        for hook in self.start:
            hook(state)

    def on_step(self, state: TrainingState) -> StopReason | None:
        """Calls all `on_step` hooks, after a step; returns the first stop reason, or None."""
        reasons = [reason for hook, reason in self.step if hook(state)]
        return reasons[0] if reasons else None

    def on_end(self, state: TrainingState) -> None:
        """Calls all `on_end` hooks, after the last step; raises the first error when all have been called."""
        errors = []
        for hook in self.end:
            try:
                hook(state)
            except Exception as error:  # of any kind: a later hook may save the run
                errors.append(error)
        for other in errors[1:]:
            errors[0].add_note(f"on_end of another callback failed too: {other!r}")
        if errors:
            raise errors[0]

    def on_signal(self, received: Signals) -> bool:
        """Calls all `on_signal` hooks, after `on_end`; returns True if one of them lets `fit` return."""
        return any([hook(received) for hook in self.signal])
