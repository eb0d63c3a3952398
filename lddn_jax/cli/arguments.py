"""Types of command-line options, and printing of messages."""

import argparse
import csv
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from lddn_jax.checks import LARGEST_COUNT, is_seed
from lddn_jax.errors import DataError, shown
from lddn_jax.io import load
from lddn_jax.prediction.scaled import Scaled


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong option in one line, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit code 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def occupy_standard_streams() -> None:
    """Opens the null device in place of closed standard streams, whose numbers the next files would get otherwise."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def say(text: str) -> None:
    """Prints a text and an empty line, and flushes; work continues if standard output is closed or its disk is full."""
    try:
        print(text, end="\n\n", flush=True)
    except OSError:  # the reader of a pipe, such as head, has ended; Python would fail again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_notes(notes: Sequence[str]) -> None:
    """Prints how files were read, one line for each note."""
    if notes:
        say("\n".join(notes))


def model_of(path: str) -> Scaled:
    """Loads a network with its scalers.

    Raises:
        DataError: If the file holds something else.
    """
    model = load(path)
    if not isinstance(model, Scaled):
        raise DataError(
            f"{path} holds a {type(model).__name__}, not a network with its scalers. Pass the network.npz "
            "that `python -m lddn_jax fit` wrote, or save lddn.Scaled(net, scalers)."
        )
    return model


def names(text: str) -> list[str]:
    """Parses names of columns, separated by commas; a name with a comma is quoted: '"flow, hot",level'."""
    joined = re.sub(
        r"[(\[{][\d:, ]*[)\]}]", lambda index: index[0].replace(",", "\0"), word(text)
    )  # y(2,:) is one name
    one_line = re.sub(r"[\r\n]+", " ", joined)  # as in a header whose quoted names have several lines
    try:
        cells = next(csv.reader([one_line], skipinitialspace=True), [])
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no list of names: {error}") from None
    return [name.strip().replace("\0", ",") for name in cells if name.strip()]


def word(text: str) -> str:
    """Parses a name or word: where the console is declared as ASCII, Python leaves the bytes of UTF-8 undecoded."""
    try:
        return os.fsencode(text).decode("utf-8") if any("\ud800" <= c <= "\udfff" for c in text) else text
    except UnicodeError:
        return text


def positive(text: str) -> int:
    """Parses a positive whole number."""
    return checked(text, int, lambda x: 0 < x <= LARGEST_COUNT, f"a positive whole number up to {LARGEST_COUNT}")


def count(text: str) -> int:
    """Parses a whole number, including zero."""
    return checked(text, int, lambda x: 0 <= x <= LARGEST_COUNT, f"a whole number from 0 to {LARGEST_COUNT}")


def seed(text: str) -> int:
    """Parses the seed of random numbers."""
    return checked(text, int, is_seed, "a whole number of at most 18 digits, such as 1")


def share(text: str) -> float:
    """Parses a share between 0 and 1."""
    return checked(text, float, lambda x: 0 < x < 1, "a share between 0 and 1")


def share_or_file(text: str) -> float | str:
    """Parses a share between 0 and 1, or returns the path of a file."""
    try:
        float(text)
    except ValueError:
        return text
    return share(text)


def rate(text: str) -> float:
    """Parses a positive number."""
    return checked(text, float, lambda x: 0 < x < float("inf"), "a positive number")


def delays(text: str) -> tuple[int, ...]:
    """Parses delays, separated by commas."""

    def convert(text):
        return tuple(int(d) for d in text.split(","))

    def fit(delays):
        return min(delays) >= 0 and max(delays) <= LARGEST_COUNT

    return checked(text, convert, fit, f"whole numbers such as 1,2, up to {LARGEST_COUNT}")


def numbers(text: str) -> tuple[int, ...]:
    """Parses positive whole numbers, separated by commas."""

    def convert(text):
        return tuple(int(n) for n in text.split(","))

    return checked(text, convert, lambda found: all(0 < n <= LARGEST_COUNT for n in found), "numbers such as 2,3")


def horizons(text: str) -> tuple[int | None, ...]:
    """Parses horizons, separated by commas; "all" is the whole record."""

    def convert(text):
        return tuple(None if h.strip() == "all" else int(h) for h in text.split(","))

    def fit(found):
        return all(h is None or 0 < h <= LARGEST_COUNT for h in found)

    return checked(text, convert, fit, "numbers such as 1,5,20,all")


def checked(text: str, convert: Any, fits: Any, needed: str) -> Any:
    """Returns the converted text; raises an `argparse.ArgumentTypeError` that names what is needed."""
    try:
        value = convert(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not {needed}")
    return value
