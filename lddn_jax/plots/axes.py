"""What all figures share: colors, and axes to draw on."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from jax.typing import ArrayLike
from jaxtyping import Shaped

from lddn_jax.errors import LDDNError

# What is drawn: one line `(time,)`, an array of any shape, or what training recorded, `(epochs,)` or a column each.
Line: TypeAlias = Shaped[ArrayLike, " time"] | Sequence[Any]
Recorded: TypeAlias = Shaped[ArrayLike, "epochs ..."] | Sequence[Any]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe & Ito: told apart by color-blind readers
MATPLOTLIB_NEEDED = "figures need matplotlib: pip install 'lddn_jax[plot]'."

SHADES = ("#56b4e9", "#f0e442", "#999999")  # of the same palette, behind lines


def colors() -> Iterator[str]:
    """Yields the colors in turn, for ever."""
    while True:
        yield from COLORS


def axes_or_new(ax: Any) -> Any:
    """The axes given, or new ones."""
    return new_axes(1) if ax is None else ax


def new_axes(count: int, inches: tuple[float, float] | None = None, *, stacked: bool = False) -> Any:
    """New axes side by side, or one below the other; an array of them if there are several."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise LDDNError(MATPLOTLIB_NEEDED) from None
    if stacked:
        size = inches or (9, 1 + 1.8 * count)
        return plt.subplots(count, 1, figsize=size, sharex=True, layout="constrained")[1]
    return plt.subplots(1, count, figsize=inches or (9, 3.5), layout="constrained")[1]
