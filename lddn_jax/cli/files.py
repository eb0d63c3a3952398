"""How commands leave files behind: numbers as JSON, and figures where matplotlib is there to draw them."""

import json
from pathlib import Path
from typing import Any

from lddn_jax.cli.arguments import say
from lddn_jax.storage.archive import write_atomically


def write_json(path: Path, value: Any) -> None:
    """Writes plain values."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def canvas(width: float | int, height: float | int) -> Any:
    """A figure of this size in inches to draw on; None, and a word about it, where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        say("no figures: they need matplotlib (pip install 'lddn_jax[plot]')")
        return None
    return Figure(figsize=(width, height), layout="constrained")
