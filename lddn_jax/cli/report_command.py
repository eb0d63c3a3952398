"""`report`: an HTML report of a trained network on a file."""

import argparse
from pathlib import Path

import lddn_jax as lddn
from lddn_jax.cli.arguments import model_of, say, say_notes
from lddn_jax.cli.file_options import add_reading, reading_of
from lddn_jax.cli.files import output_folder
from lddn_jax.data.records import notes_on
from lddn_jax.errors import LDDNError, shown
from lddn_jax.prediction.feedback import record_for


def add(commands) -> None:
    """Declares the command."""
    report = commands.add_parser("report", help="evaluate a trained network on a file and write an HTML report")
    report.add_argument("file", help="CSV, .mat or .hdf5 file with the same column names as the training data")
    report.add_argument("--model", default="lddn_out/network.npz", help="network written by fit (default %(default)s)")
    report.add_argument("--out", default="lddn_out/report.html", help="path of the report (default %(default)s)")
    add_reading(report, again=True)
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the report and prints its warnings."""
    model = model_of(options.model)
    record = record_for(model, options.file, "mask", reading=reading_of(options))
    say_notes(notes_on([record]))
    out = Path(options.out)
    if out.is_dir():
        raise LDDNError(
            f"--out {shown(out)} is a folder; give the name of a file in it, such as {out / 'report.html'}."
        )
    with output_folder(out.parent):
        page = lddn.report(model, record, out)
    say(page.summary)
    say("\n".join(f"- {warning}" for warning in page.warnings) or "no warnings")
    say(f"wrote {out}")
    return 0
