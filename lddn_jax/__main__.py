"""The command line: `python -m lddn_jax maglev | fit | predict | report | compare | check`, or `--version`."""

import argparse
import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence

import jax

from lddn_jax.cli import check_command, compare_command, fit_command, predict_command, report_command
from lddn_jax.cli.arguments import Parser, occupy_standard_streams
from lddn_jax.errors import LDDNError, fixes_as_flags
from lddn_jax.numerics import platform
from lddn_jax.storage.environment import versions
from lddn_jax.storage.file_errors import described
from lddn_jax.training.interruption import exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; None for those of the process.

    Returns:
        The exit code: 0; 1 if gradient methods disagree; 2 for invalid options or files; 130 after
        Ctrl-C and 143 after SIGTERM, with the results so far.
    """
    occupy_standard_streams()
    for stream in sys.stdout, sys.stderr:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks a character gets a question mark for it
    parser = Parser(
        prog="python -m lddn_jax",
        description="Identify dynamic systems with Layered Digital Dynamic Networks.",
        formatter_class=argparse.RawDescriptionHelpFormatter,  # versions stay on one line
    )
    own, *others = (f"{name} {version}" for name, version in versions().items())
    parser.add_argument(
        "--version",
        action="version",
        version=f"{own} ({', '.join(others)})",
        help="print the versions for a bug report, and exit",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (fit_command, predict_command, report_command, compare_command, check_command):
        command.add(commands)
    for subparser in commands.choices.values():
        subparser.allow_abbrev = False  # abbreviated options are rejected, like unknown ones
    options = parser.parse_args(arguments)
    # Only the command line changes the environment and JAX's configuration, never the library.
    platform.set_flag(os.environ)
    # Gradients are compared to 1e-11, which needs float64.
    jax.config.update("jax_enable_x64", True)
    try:
        with fixes_as_flags(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return options.run(options)
    except LDDNError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {described(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return exit_code(signal.SIGINT)
    return 2


def _show_warning(message: Warning | str, *_: object) -> None:
    """Prints a warning as one line, without the line of code that it comes from."""
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
