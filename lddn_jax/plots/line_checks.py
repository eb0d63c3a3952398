"""Checks of what plots are given: lines of one length, histories, and objects in place of their parts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lddn_jax.checks import called, expect
from lddn_jax.errors import LDDNError, ShapeError


def numbers(what: str, given: Any) -> np.ndarray:
    """Returns an array of floats.

    Raises:
        ShapeError: If it holds something else.
    """
    try:
        return np.asarray(given, float)
    except (TypeError, ValueError):
        raise ShapeError(f"{what} is {called(given)}, but is drawn from numbers: pass an array.") from None


def check_lines(time: Any, lines: Mapping[str, Any], steps: Sequence[int] | None = None, axis: str = "time") -> None:
    """Raises an error unless time and all lines are `(time,)`, of one length.

    Args:
        time: Given as time.
        lines: Given lines by what they are called in an error; None for one that is left out.
        steps: Given lengths of the pieces.
        axis: Name of what is given as time.
    """
    length = numbers(axis, time).shape
    if len(length) != 1:
        raise ShapeError(f"{axis} has shape {length}; needed is (time,). Pass one column: {axis}[:, 0].")
    for what, line in lines.items():
        shape = length if line is None else numbers(what, line).shape
        if len(shape) != 1:
            raise ShapeError(f"{what} has shape {shape}, but one line is drawn: pass one element, signal[:, 0].")
        if shape != length:
            raise ShapeError(f"{what} has {shape[0]} values and {axis} {length[0]}; both need the same steps.")
    if steps is not None and sum(steps) != length[0]:
        raise ShapeError(f"steps={tuple(steps)} are {sum(steps)} in all, and time has {length[0]}; they must agree.")


def check_predictions(call: str, predictions: Any) -> None:
    """Raises an error unless predictions are given by name."""
    expect(Mapping, "predictions", predictions, call, "lines by name, such as {'free run': y}", error=ShapeError)


def check_history(call: str, history: Any, needed: Sequence[str]) -> None:
    """Raises an error unless a history has one of the needed columns."""
    if not isinstance(history, Mapping):
        fix = "fitted.history" if hasattr(history, "history") else "the history of a fit, such as fitted.history"
        raise LDDNError(f"history is {called(history)}, but {call} takes {fix}.")
    if not any(name in history for name in needed):
        raise LDDNError(f"{call}: the history has none of {list(needed)}; it has {list(history)}.")
