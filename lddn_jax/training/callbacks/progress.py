"""Progress display: a tqdm bar, or a line of text."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import optax

from lddn_jax.training.training_state import TrainingState

COLUMN_LABELS = {"loss": "loss", "validation_loss": "validation", "gradient_norm": "|g|", "mu": "mu", "gamma": "gamma"}
TERMINAL_SECONDS = 0.2  # between updates on a terminal
LINE_SECONDS = 10.0  # between lines if standard error is not a terminal


class Progress:
    """Shows epoch, loss, gradient norm, μ or learning rate, γ and the remaining time on standard error.

    With tqdm (`pip install 'lddn_jax[plot]'`) it is a progress bar, without it a line of text that is updated in place.
    If standard error is not a terminal, a new line is printed every ten seconds.

    Args:
        delay: Seconds before anything is shown.
        anywhere: Whether to show progress also if standard error is not a terminal.

    Example:
        >>> progress = Progress(delay=2)
    """

    def __init__(self, delay: float | int = 0.0, anywhere: bool = True):
        self._delay, self._anywhere = delay, anywhere

    def on_start(self, state: TrainingState) -> None:
        """Starts the clock."""
        there_is = sys.stderr is not None  # it is None where standard error is closed
        self._terminal = there_is and sys.stderr.isatty()
        self._silent = not (there_is and (self._terminal or self._anywhere))
        self._start, self._first = time.monotonic(), state.epoch
        self._next = self._start + self._delay
        self._bar: Any = None
        self._written = False

    def on_step(self, state: TrainingState) -> None:
        """Updates the display if an update is due."""
        now = time.monotonic()
        if self._silent or now < self._next:
            return
        self._next = now + (TERMINAL_SECONDS if self._terminal else LINE_SECONDS)
        try:
            self._show(state, now)
        except OSError:  # the reader of standard error, such as head, has ended; training continues
            self._silent, self._written = True, False

    def on_end(self, state: TrainingState) -> None:
        """Shows the final state, if anything was shown before."""
        if self._written:
            self._show(state, time.monotonic())
            if self._bar is not None:
                self._bar.close()
            elif self._terminal:
                sys.stderr.write("\n")

    def _show(self, state: TrainingState, now: float) -> None:
        numbers = {label: f"{value:.3g}" for label, value in _numbers(state).items()}
        if not self._written:
            self._bar, self._written = _bar(state, self._terminal), True
        if self._bar is not None:
            self._bar.set_postfix(numbers, refresh=False)
            self._bar.update(state.epoch - self._bar.n)
            return
        taken = max(state.epoch - self._first, 1)
        left = (state.epochs - state.epoch) * (now - self._start) / taken
        text = "  ".join(f"{label} {number}" for label, number in numbers.items())
        line = f"epoch {state.epoch}/{state.epochs}  {text}  {left:.0f} s left at most"
        # On a terminal, overwrite the previous line and erase the rest of it.
        sys.stderr.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        sys.stderr.flush()


def shown(progress: bool | None) -> tuple[Progress, ...]:
    """Returns the callbacks for `fit(..., progress=...)`."""
    if progress is False:
        return ()
    return (Progress() if progress else Progress(delay=2.0, anywhere=False),)


def _bar(state: TrainingState, terminal: bool) -> Any:
    """A tqdm bar; None without tqdm, and None if not on a terminal, where it would fill a file with control codes."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=state.epochs, initial=state.epoch, unit="epoch") if terminal else None


def _numbers(state: TrainingState) -> Mapping[str, float]:
    """The displayed quantities by label."""
    last = state.last
    found = {label: last[name] for name, label in COLUMN_LABELS.items() if name in last}
    if "mu" in last:
        return found
    # Present if the transformation was made by optax.inject_hyperparams.
    rates = [rate for _, rate in optax.tree.get_all_with_path(state.trainer, "learning_rate") if hasattr(rate, "dtype")]
    return found | ({"rate": float(jax.numpy.ravel(rates[0])[0])} if rates else {})
