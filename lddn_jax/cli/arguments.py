"""What is written behind the flags of the command line, and how commands talk."""

import argparse
from typing import Any

from lddn_jax.errors import DataError
from lddn_jax.io import load
from lddn_jax.prediction.scaled import Scaled


def say(text: str) -> None:
    """Prints a text and an empty line, at once."""
    print(text, end="\n\n", flush=True)


def model_of(path: str) -> Scaled:
    """The network with its scalers that a file holds.

    Raises:
        DataError: If it holds something else.
    """
    model = load(path)
    if not isinstance(model, Scaled):
        raise DataError(
            f"{path} holds a {type(model).__name__}, not a network with its scalers. Give the network.npz "
            "that `python -m lddn_jax fit` left, or save lddn.Scaled(net, scalers)."
        )
    return model


def names(text: str) -> list[str]:
    """Names of columns, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """A positive whole number."""
    return checked(text, int, lambda x: x > 0, "a positive whole number")


def count(text: str) -> int:
    """A whole number, zero included."""
    return checked(text, int, lambda x: x >= 0, "a whole number")


def share(text: str) -> float:
    """A share between 0 and 1."""
    return checked(text, float, lambda x: 0 < x < 1, "a share between 0 and 1")


def share_or_file(text: str) -> float | str:
    """A share between 0 and 1, or else the path of a file."""
    try:
        float(text)
    except ValueError:
        return text
    return share(text)


def rate(text: str) -> float:
    """A positive number."""
    return checked(text, float, lambda x: 0 < x < float("inf"), "a positive number")


def delays(text: str) -> tuple[int, ...]:
    """Delays, separated by commas."""

    def convert(text):
        return tuple(int(d) for d in text.split(","))

    return checked(text, convert, lambda delays: min(delays) >= 0, "whole numbers such as 1,2")


def horizons(text: str) -> tuple[int | None, ...]:
    """Horizons, separated by commas; "all" is the whole record."""

    def convert(text):
        return tuple(None if h.strip() == "all" else int(h) for h in text.split(","))

    return checked(text, convert, lambda found: all(h is None or h > 0 for h in found), "numbers such as 1,5,20,all")


def checked(text: str, convert: Any, fits: Any, needed: str) -> Any:
    """Returns the converted text, or tells argparse what was needed."""
    try:
        value = convert(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {needed}")
    return value
