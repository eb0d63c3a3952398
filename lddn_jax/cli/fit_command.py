"""`fit` and `maglev`: train and test a model on records from files or from a simulated plant."""

import argparse
import json
import shutil
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax

import lddn_jax as lddn
from lddn_jax.bayesian.groups import LABELS
from lddn_jax.cli.arguments import (
    count,
    delays,
    horizons,
    names,
    numbers,
    positive,
    rate,
    say,
    seed,
    share,
    share_or_file,
)
from lddn_jax.cli.file_options import add_reading, reading_of
from lddn_jax.cli.files import check_checkpoints, check_no_folders, output_folder, told_to_resume, write_json
from lddn_jax.cli.results import draw, write_model
from lddn_jax.errors import LDDNError, PrecisionError
from lddn_jax.identification.identify import identify
from lddn_jax.identification.named_models import NAMED
from lddn_jax.identification.recipes import TRAINERS
from lddn_jax.identification.settings import MODELS, NEED_FLOAT64, Settings
from lddn_jax.storage.environment import versions
from lddn_jax.training.interruption import exit_code

DIVISIONS = {"blocks": lddn.data.Blocks(), "records": lddn.data.ByRecord()}
_FIELDS = {"--delays": "input_delays", "--feedback": "feedback_delays", "--committee": "keep"}


def add(commands) -> None:
    """Declares both commands."""
    maglev = commands.add_parser(
        "maglev", help="simulate a magnetic levitation plant, then train and test a NARX network on it"
    )
    maglev.add_argument("--steps", type=positive, default=4000, help="samples to simulate (default 4000)")
    maglev.set_defaults(run=_maglev)

    table = commands.add_parser("fit", help="train and test a model on CSV, .mat or .hdf5 files")
    table.add_argument("files", nargs="+", help="CSV, .mat or .hdf5 files, each a record of its own")
    table.add_argument("--inputs", type=names, default=[], help="input columns, such as current,valve")
    table.add_argument("--targets", type=names, required=True, help="columns to predict")
    table.add_argument(
        "--topology",
        help="JSON file with a network of your own, json.dumps(topology.to_dict()), in place of --model",
    )
    add_reading(table)
    table.set_defaults(run=_fit)

    default = Settings()
    for command, check_gradients in ((maglev, True), (table, default.check_gradients)):
        for flag, kind, about in (
            ("--hidden", count, "hidden neurons; narx: 10; state-space: sizes compete"),
            ("--output-hidden", count, "state-space: neurons of the output equation (0 with --hidden)"),
            ("--states", numbers, "state-space: number of states, or several that compete, such as 2,3"),
            ("--folds", positive, "state-space: folds of the cross-validation"),
            ("--committee", positive, "state-space: networks of each fold in the committee"),
            ("--time-budget", rate, "state-space: seconds that the training is planned for and ends after"),
            ("--delays", delays, "delays of the inputs"),
            ("--feedback", delays, "delays of the measured targets"),
            ("--init", str, "initializer of the weights"),
            (
                "--epochs",
                positive,
                "lm, br: steps at each horizon (50); adam: passes over the data (6000); state-space: steps "
                "on each fold",
            ),
            ("--bayesian-epochs", positive, "br: steps of Bayesian regularization, after Levenberg-Marquardt"),
            ("--restarts", positive, "networks that Levenberg-Marquardt trains side by side (narx: 8)"),
            ("--horizons", horizons, "lm, br: free-run steps of the windows, one training stage for each"),
            ("--batch-size", positive, "adam: windows in a mini-batch"),
            ("--learning-rate", rate, "adam: initial learning rate"),
            ("--window", positive, "adam: steps of a training window"),
            ("--seed", seed, "random seed"),
        ):
            field = _FIELDS.get(flag, flag[2:].replace("-", "_"))
            value = getattr(default, field)
            shown = ",".join("all" if v is None else str(v) for v in value) if isinstance(value, tuple) else value
            about += "" if value is None else f" (default {shown})"
            command.add_argument(flag, dest=field, type=kind, default=value, help=about)
        command.add_argument(
            "--model",
            choices=(*MODELS, *NAMED),
            default="narx" if command is maglev else default.model,
            help="state-space: state spaces compete by cross-validation, and a committee of the best is returned; "
            "narx: a network that reads its past outputs; others: a network of that kind, trained on folds (default "
            + ("narx)" if command is maglev else "state-space, or narx if an option that only it has is given)"),
        )
        command.add_argument(
            "--trainer",
            choices=tuple(TRAINERS),
            default=default.trainer,
            help="lm: Levenberg-Marquardt over growing horizons; br: then Bayesian regularization, with error bars; "
            "adam: Adam with the loop open (default %(default)s)",
        )
        command.add_argument(
            "--groups",
            choices=sorted(LABELS),
            default=default.groups,
            help="br: which weights share a prior strength (default %(default)s)",
        )
        command.add_argument(
            "--no-linear-path",
            dest="linear_path",
            action="store_false",
            help="leave out the direct linear connections to the outputs",
        )
        command.add_argument(
            "--validation",
            type=share_or_file,
            default=default.validation,
            help="share of the records for validation, or a file with validation records (default %(default)s)",
        )
        command.add_argument(
            "--train",
            type=share,
            default=default.train,
            help="share for training; the rest is for testing (default %(default)s)",
        )
        command.add_argument(
            "--division",
            choices=sorted(DIVISIONS),
            default="blocks",
            help="cut each record in time, or assign whole records to the parts (default %(default)s)",
        )
        command.add_argument(
            "--missing",
            choices=("error", "mask"),
            default=default.missing,
            help="treat a missing target as an error, or as a gap left out of training and scores (default error)",
        )
        command.add_argument(
            "--warmup", type=count, default=0, help="steps at the start of each test piece that are not scored (0)"
        )
        command.add_argument(
            "--dtype", choices=("float32", "float64"), default="float64", help="dtype of the network (default float64)"
        )
        command.add_argument(
            "--check-gradients",
            action=argparse.BooleanOptionalAction,
            default=check_gradients,
            help="compare the gradient methods on the closed loop before training (default %(default)s)",
        )
        command.add_argument("--resume", action="store_true", help="resume from the checkpoints in the folder, if any")
        command.add_argument(
            "--checkpoint-seconds",
            type=rate,
            default=60.0,
            help="seconds between checkpoints, which are removed at the end (default 60)",
        )
        command.add_argument("--time-limit", type=rate, help="seconds after which training stops")
        command.add_argument("--no-report", dest="report", action="store_false", help="leave out report.html")
        command.add_argument(
            "--out", default="lddn_out", help="folder for network, figures, results (default lddn_out)"
        )


def _maglev(options: argparse.Namespace) -> int:
    with output_folder(Path(options.out)) as out:
        say(f"simulating a magnetic levitation plant: {options.steps} samples of 0.01 s, seed {options.seed}")
        start = time.perf_counter()
        table = lddn.data.maglev(options.steps, jax.random.key(options.seed))
        seconds = {"simulation": time.perf_counter() - start}
        return _identify(out, options, table, ["current"], ["position"], None, seconds)


def _fit(options: argparse.Namespace) -> int:
    with output_folder(Path(options.out)) as out:
        return _identify(out, options, options.files, options.inputs, options.targets, reading_of(options), {})


def _declared(path: str) -> lddn.Topology:
    """Reads a topology from a JSON file."""
    try:
        declaration = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise LDDNError(f"--topology {path}: {error.strerror}.") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise LDDNError(
            f"--topology {path} is not JSON ({error}); write it by json.dumps(topology.to_dict()) in Python."
        ) from error
    return lddn.Topology.from_dict(declaration)


def _identify(
    out: Path,
    options: argparse.Namespace,
    given: Any,
    inputs: list[str],
    targets: list[str],
    reading: lddn.data.Reading | None,
    seconds: dict[str, float],
) -> int:
    if options.dtype == "float32" and options.trainer in NEED_FLOAT64:
        raise PrecisionError(
            f"--dtype float32 has too few digits for --trainer {options.trainer}. Omit --dtype, or train with "
            "--trainer adam."
        )
    chosen = {f.name: getattr(options, f.name) for f in fields(Settings) if hasattr(options, f.name)}
    chosen["division"] = DIVISIONS[options.division]
    if getattr(options, "topology", None) is not None:
        if options.model is not None:
            raise LDDNError(f"--topology and --model {options.model} both name the model; leave out one of them.")
        chosen["model"] = _declared(options.topology)
    validation = chosen["validation"] if isinstance(chosen["validation"], str) else None
    if validation is not None:
        chosen["validation"] = Settings().validation
    checkpoint = lddn.callbacks.Checkpoint(out / "checkpoints", seconds=options.checkpoint_seconds)
    check_checkpoints(checkpoint.folder, options.resume)
    check_no_folders(out, ("network.npz", "posterior.npz", "results.json"))
    stop = lddn.callbacks.ReturnOnSignal()
    found = identify(
        given,
        inputs,
        targets,
        Settings(**chosen),
        validation=validation,
        say=say,
        callbacks=[stop, *([lddn.callbacks.TimeLimit(options.time_limit)] if options.time_limit else [])],
        checkpoint=checkpoint,
        resume=options.resume,
        reading=reading,
    )
    start = time.perf_counter()
    try:
        with told_to_resume(checkpoint.folder):
            files = write_model(out, found)
            results = found.to_dict() | {
                "seconds": seconds | found.seconds | {"writing": time.perf_counter() - start},
                "device": str(jax.devices()[0].device_kind),
                "versions": versions(),
                "inputs": inputs,
                "decimate": 1 if reading is None else reading.decimate,
                "targets": targets,
            }
            write_json(out / "results.json", results)
    except LDDNError:
        say(f"test part: {found.test}")  # what cannot be written is shown at least
        raise
    reason = found.trained.stop_reason
    if not reason.cut_short:
        shutil.rmtree(checkpoint.folder, ignore_errors=True)
    # From here on nothing can be lost.
    say(f"test part: {found.test}")
    files += ["results.json", *draw(out, found, report=options.report)]
    say(f"wrote {', '.join(str(out / name) for name in files)}")
    if reason.cut_short:
        say(f"training was cut short ({reason}); run the same command with --resume to continue")
    if stop.received is not None:
        return exit_code(stop.received)
    return 0 if found.gradients is None or found.gradients.passed else 1
