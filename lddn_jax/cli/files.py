"""Output files of the commands: JSON, and figures if matplotlib is installed."""

import json
import math
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lddn_jax.cli.arguments import say
from lddn_jax.storage.archive import write_atomically


def write_json(path: Path, value: Any) -> None:
    """Writes plain values as JSON; NaN and infinity, which JSON does not have, become null."""
    write_atomically(path, (json.dumps(_without_nan(value), indent=2, allow_nan=False) + "\n").encode())


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def written(outputs: Mapping[str, Callable[[], Any]]) -> list[str]:
    """Writes outputs that are not essential; one that fails is reported in one line and does not affect the others.

    Args:
        outputs: What writes each file, by the file's name.

    Returns:
        The names of the files that were written.
    """
    files = []
    for name, write in outputs.items():
        try:
            write()
        except Exception as error:  # of any library: the results are on disk, and stay valid without this file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            say(f"{name} was not written: {reason}")
        else:
            files.append(name)
    return files


def can_draw() -> bool:
    """Whether matplotlib is installed; prints a note if it is not."""
    if find_spec("matplotlib") is None:
        say("no figures: they need matplotlib (pip install 'lddn_jax[plot]')")
        return False
    return True


def canvas(width: float | int, height: float | int) -> Any:
    """Returns an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
