"""Output files of the commands: JSON, and figures if matplotlib is installed."""

import json
from pathlib import Path
from typing import Any

from lddn_jax.cli.arguments import say
from lddn_jax.storage.archive import write_atomically


def write_json(path: Path, value: Any) -> None:
    """Writes plain values as JSON."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def canvas(width: float | int, height: float | int) -> Any:
    """Returns an empty figure of this size in inches; prints a note and returns None if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        say("no figures: they need matplotlib (pip install 'lddn_jax[plot]')")
        return None
    return Figure(figsize=(width, height), layout="constrained")
