"""What all figures share: colors, and axes to draw on."""

from typing import Any

from lddn_jax.errors import LDDNError

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe & Ito: told apart by color-blind readers
NEEDED = "figures need matplotlib: pip install 'lddn_jax[plot]'."


def colors():
    """Yields the colors in turn, for ever."""
    while True:
        yield from COLORS


def axes_or_new(ax: Any) -> Any:
    """The axes given, or new ones."""
    return new_axes(1) if ax is None else ax


def new_axes(count: int, inches: tuple[float, float] = (9, 3.5)) -> Any:
    """New axes side by side, in a figure of this size; an array of them if there are several."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise LDDNError(NEEDED) from None
    return plt.subplots(1, count, figsize=inches, layout="constrained")[1]
