"""Colors and matplotlib axes, shared by all plots."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from jax.typing import ArrayLike
from jaxtyping import Shaped

from lddn_jax.errors import LDDNError

# A signal `(time,)`, and a quantity recorded in training, `(epochs,)` or `(epochs, restarts)`.
Line: TypeAlias = Shaped[ArrayLike, " time"] | Sequence[Any]
Recorded: TypeAlias = Shaped[ArrayLike, "epochs ..."] | Sequence[Any]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe & Ito: distinguishable with color vision deficiency
MATPLOTLIB_NEEDED = "figures need matplotlib: pip install 'lddn_jax[plot]'."

SHADES = ("#56b4e9", "#f0e442", "#999999")  # background colors of the same palette


def colors() -> Iterator[str]:
    """Yields the colors cyclically."""
    while True:
        yield from COLORS


def literal(text: str) -> str:
    """Escapes dollar signs, between which matplotlib would read mathematics."""
    return text.replace("$", r"\$")


def axes_or_new(ax: Any) -> Any:
    """Returns the given axes, or new ones for None."""
    return new_axes(1) if ax is None else ax


def new_axes(count: int, inches: tuple[float, float] | None = None, *, stacked: bool = False) -> Any:
    """Creates axes side by side, or stacked vertically; returns an array if there are several."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise LDDNError(MATPLOTLIB_NEEDED) from None
    if stacked:
        size = inches or (9, 1 + 1.8 * count)
        return plt.subplots(count, 1, figsize=size, sharex=True, layout="constrained")[1]
    return plt.subplots(1, count, figsize=inches or (9, 3.5), layout="constrained")[1]
