"""`compare`: compares sizes and delays by the evidence of Bayesian regularization."""

import argparse
from pathlib import Path

import lddn_jax as lddn
from lddn_jax.bayesian.groups import LABELS
from lddn_jax.cli.arguments import delays, names, positive, say, seed
from lddn_jax.cli.file_options import add_reading, reading_of
from lddn_jax.cli.files import can_draw, canvas, check_no_folders, output_folder, save_figure, write_json, written
from lddn_jax.identification.settings import Settings
from lddn_jax.training.interruption import exit_code


def add(commands) -> None:
    """Declares the command."""
    default = Settings()
    compare = commands.add_parser("compare", help="compare sizes and delays of NARX networks by their evidence")
    compare.add_argument("files", nargs="+", help="CSV, .mat or .hdf5 files, each a record of its own")
    compare.add_argument("--inputs", type=names, default=[], help="input columns, such as current,valve")
    compare.add_argument("--targets", type=names, required=True, help="columns to predict")
    compare.add_argument(
        "--hidden", type=positive, nargs="+", default=[2, 5, 10], help="numbers of hidden neurons (default 2 5 10)"
    )
    compare.add_argument(
        "--delays",
        type=delays,
        nargs="+",
        default=[default.input_delays],
        help="sets of delays of the inputs, such as 1,2 1,2,3",
    )
    compare.add_argument(
        "--feedback",
        type=delays,
        nargs="+",
        default=[default.feedback_delays],
        help="sets of delays of the measured targets, such as 1,2 1,2,3",
    )
    compare.add_argument("--restarts", type=positive, default=4, help="networks trained for each (default %(default)s)")
    compare.add_argument("--epochs", type=positive, default=100, help="training steps (default %(default)s)")
    compare.add_argument("--groups", choices=sorted(LABELS), default=default.groups, help="which weights share a prior")
    compare.add_argument(
        "--no-linear-path",
        dest="linear_path",
        action="store_false",
        help="leave out the direct linear connections to the outputs",
    )
    compare.add_argument("--seed", type=seed, default=0, help="random seed (default %(default)s)")
    compare.add_argument("--out", default="lddn_out", help="folder for table, figure and best network")
    add_reading(compare)
    compare.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the table, a figure and the best network, and prints the table."""
    with output_folder(Path(options.out)) as out:
        return _compare(options, out)


def _compare(options: argparse.Namespace, out: Path) -> int:
    check_no_folders(out, ("network.npz", "comparison.json", "comparison.csv"))
    stop = lddn.callbacks.ReturnOnSignal()
    found = lddn.compare_narx(
        options.files,
        options.inputs,
        options.targets,
        hidden=options.hidden,
        input_delays=options.delays,
        feedback_delays=options.feedback,
        settings=Settings(
            restarts=options.restarts,
            epochs=options.epochs,
            groups=options.groups,
            linear_path=options.linear_path,
            seed=options.seed,
        ),
        callbacks=[stop],
        say=say,
        reading=reading_of(options),
    )
    table = found.comparison
    essential = {
        "network.npz": lambda: lddn.save(out / "network.npz", found.model),
        "comparison.json": lambda: write_json(out / "comparison.json", table.to_dict()),
    }
    files = written(essential | {"comparison.csv": lambda: table.to_csv(out / "comparison.csv")})
    complete = essential.keys() <= set(files)
    say(str(found))
    if can_draw():
        files += written({"comparison.png": lambda: save_figure(out / "comparison.png", _figure(table))})
    if files:
        say(f"wrote {', '.join(str(out / name) for name in files)}")
    if stop.received is not None:
        return exit_code(stop.received)
    return 0 if complete else 2


def _figure(table: lddn.Comparison):
    figure = canvas(10, 2.5 + 0.35 * len(table.candidates))
    lddn.plots.comparison(table, axes=figure.subplots(1, 2, sharey=True))
    return figure
