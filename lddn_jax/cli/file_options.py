"""The flags of all commands that read files: how a file is read."""

import argparse

from lddn_jax.cli.arguments import count, names, positive, word
from lddn_jax.data.reading import Reading


def add_reading(command: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Declares the flags of `Reading`.

    Args:
        command: The parser of the command.
        again: Whether the command reads data for a model that `fit` trained, so that its flags should be repeated.
    """
    repeat = "; pass the flags that fit was given" if again else ""
    group = command.add_argument_group(
        "reading files", f"Most files need none of these; how a file was read is printed{repeat}."
    )
    group.add_argument("--names", type=names, help="names of all columns, such as u,y; they replace a header")
    group.add_argument("--skip-rows", type=count, default=0, metavar="N", help="lines to skip at the beginning (0)")
    group.add_argument(
        "--missing-value",
        dest="missing_values",
        type=_number_or_word,
        action="append",
        default=[],
        metavar="VALUE",
        help="a number or word that means a missing value, such as -200; may be repeated",
    )
    instants = group.add_mutually_exclusive_group()
    instants.add_argument("--time", type=word, default=True, metavar="COLUMN", help="column of sampling instants")
    instants.add_argument(
        "--no-time", dest="time", action="store_false", help="count rows; do not check a column called time or date"
    )
    group.add_argument(
        "--decimate",
        type=positive,
        default=1,
        metavar="N",
        help="keep every N-th sample, after a low-pass filter, of a record that is sampled far too fast (1)",
    )
    group.add_argument("--encoding", help="text encoding, such as latin-1 (default: found)")
    group.add_argument("--delimiter", metavar="CHARACTER", help="what separates cells: a character, tab or space")
    group.add_argument("--decimal", choices=(".", ","), help="decimal separator (default: found)")
    group.add_argument(
        "--transpose",
        action=argparse.BooleanOptionalAction,
        help=".mat: time runs along the second axis of matrices, if no other variable decides",
    )
    group.add_argument(
        "--records", type=word, metavar="NAME", help=".mat: cell array with one record per cell, all, or one: y{2}"
    )


def reading_of(options: argparse.Namespace) -> Reading:
    """Returns the `Reading` of parsed flags."""
    return Reading(
        names=options.names,
        encoding=options.encoding,
        missing_values=options.missing_values,
        skip_rows=options.skip_rows,
        time=options.time,
        delimiter=options.delimiter,
        decimal=options.decimal,
        transpose=options.transpose,
        records=options.records,
        decimate=options.decimate,
    )


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return word(text)
