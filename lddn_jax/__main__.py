"""The command line: `python -m lddn_jax maglev | fit | check`."""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax

import lddn_jax as lddn
from lddn_jax import xla
from lddn_jax.data.tables import Table
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.identify import Identified, identify
from lddn_jax.io import write_atomically
from lddn_jax.recipes import TRAINERS, Regularized, Settings
from lddn_jax.training.groups import LABELS

_FIELDS = {"--delays": "input_delays", "--feedback": "feedback_delays"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; None for those of the process.

    Returns:
        The exit code: 0; 1 if a gradient check fails; 2 if something that was given cannot be used.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    # Only the command line changes the environment and JAX's configuration; the library never does.
    xla.set_flag(os.environ)
    # Gradients are compared to 1e-11 here.
    jax.config.update("jax_enable_x64", True)
    try:
        return options.run(options)
    except LDDNError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 2


def _maglev(options: argparse.Namespace) -> int:
    _say(f"simulating a magnetic levitation plant: {options.steps} samples of 0.01 s, seed {options.seed}")
    start = time.perf_counter()
    table = lddn.data.maglev(options.steps, jax.random.key(options.seed))
    return _identify(options, table, ["current"], ["position"], {"simulation": time.perf_counter() - start})


def _fit(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    table = lddn.data.read_csv(options.file)
    return _identify(options, table, options.inputs, options.targets, {"reading": time.perf_counter() - start})


def _identify(
    options: argparse.Namespace, table: Table, inputs: list[str], targets: list[str], seconds: dict[str, float]
) -> int:
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(**{f.name: getattr(options, f.name) for f in fields(Settings) if hasattr(options, f.name)})
    found = identify(table, inputs, targets, settings, say=_say, progress=None)
    _say(_table_of_scores(found))
    start = time.perf_counter()
    files = _write(out, found)
    seconds = seconds | found.seconds | {"writing": time.perf_counter() - start}
    results = found.to_dict() | {
        "seconds": seconds,
        "device": str(jax.devices()[0].device_kind),
        "versions": {"python": platform.python_version(), "lddn_jax": lddn.__version__}
        | {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "optax", "equinox", "numpy")},
        "inputs": inputs,
        "targets": targets,
    }
    write_atomically(out / "results.json", (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())
    _say(f"wrote {', '.join(str(out / name) for name in (*files, 'results.json'))}")
    return 0 if found.gradients.passed else 1


def _write(out: Path, found: Identified) -> list[str]:
    """Writes the network, the history and the figures; returns the names of the files."""
    lddn.save(out / "network.npz", found.net)
    found.trained.history.to_csv(out / "training.csv")
    files = ["network.npz", "training.csv"]
    try:
        from matplotlib.figure import Figure
    except ImportError:
        _say("no figures: they need matplotlib (pip install 'lddn_jax[plot]')")
        return files
    count = len(found.measured)
    figure = Figure(figsize=(10, 4.5 * count), layout="constrained")
    axes = figure.subplots(2 * count, 1, sharex=True, height_ratios=[3, 1] * count, squeeze=False)[:, 0]
    for k, name in enumerate(found.measured):
        predictions = {"one step ahead": found.one_step[name], "closed loop": found.closed_loop[name]}
        lddn.plots.response(found.time, found.measured[name], predictions, ylabel=name, ax=axes[2 * k])
        axes[2 * k].set_xlabel("")
        lddn.plots.errors(found.time, found.measured[name], predictions, ax=axes[2 * k + 1])
    axes[0].set_title("Test part: measured and predicted")
    figure.savefig(out / "response.png", dpi=120)
    figure = Figure(figsize=(8, 4), layout="constrained")
    lddn.plots.training_curve(
        found.trained.history,
        best_epoch=found.trained.best_epoch if isinstance(found.trained, lddn.Fitted) else None,
        ax=figure.subplots(),
    )
    figure.savefig(out / "training.png", dpi=120)
    files += ["response.png", "training.png"]
    trained = found.trained
    return [*files, *_write_posterior(out, found, trained.posterior)] if isinstance(trained, Regularized) else files


def _write_posterior(out: Path, found: Identified, posterior: lddn.Posterior) -> list[str]:
    """Writes the posterior and its figures; returns the names of the files."""
    from matplotlib.figure import Figure

    lddn.save(out / "posterior.npz", posterior)
    figure = Figure(figsize=(12, 4), layout="constrained")
    lddn.plots.evidence(found.trained.history, axes=figure.subplots(1, 3))
    figure.savefig(out / "evidence.png", dpi=120)
    count = len(found.measured)
    figure = Figure(figsize=(12, 4 * count), layout="constrained")
    for row, name in zip(figure.subplots(count, 2, width_ratios=[3, 1], squeeze=False), found.measured, strict=True):
        measured, mean, std = found.measured[name], found.closed_loop[name], found.std[name]
        lddn.plots.bands(found.time, measured, mean, std, ylabel=name, ax=row[0])
        lddn.plots.calibration(*lddn.diagnostics.calibration(measured, mean, std), ax=row[1])
    figure.savefig(out / "bands.png", dpi=120)
    figure = Figure(figsize=(10, 5), layout="constrained")
    lddn.plots.relevance(lddn.relevance(posterior), ax=figure.subplots())
    figure.savefig(out / "relevance.png", dpi=120)
    return ["posterior.npz", "evidence.png", "bands.png", "relevance.png"]


def _table_of_scores(found: Identified) -> str:
    lines = [f"{f'test, {len(found.time)} samples':<34}{'RMSE':>12}{'R²':>12}"]
    for name, label in (
        ("one_step", "one step ahead"),
        ("closed_loop", "closed loop (free run)"),
        ("persistence", "persistence y(t) = y(t−1)"),
    ):
        score = found.scores[name]
        if score["rmse"] is None:
            lines.append(f"  {label:<32}{'diverged':>12}  at step {score.get('diverged_at', 'of a target')}")
        else:
            lines.append(f"  {label:<32}{score['rmse']:>12.6f}{score['r2']:>12.6f}")
    return "\n".join(lines)


def _check(options: argparse.Namespace) -> int:
    path = Path(options.file)
    try:
        declaration = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}. Write it with json.dump(topology.to_dict(), file).") from None
    topology = lddn.Topology.from_dict(declaration)
    _say(str(lddn.plan(topology)))
    keys = iter(jax.random.split(jax.random.key(options.seed), 4))
    net = lddn.Network(topology, key=next(keys))
    _say(net.summary())

    def draw(names):
        shape = (options.batch, options.steps)
        key = next(keys)
        return {
            name: jax.random.normal(jax.random.fold_in(key, k), (*shape, topology.sizes[name]), net.dtype)
            for k, name in enumerate(sorted(names))
        }

    state = lddn.zero_state(topology, (options.batch,), net.dtype)
    key = next(keys)
    state = {
        name: jax.random.normal(jax.random.fold_in(key, k), held.shape, held.dtype)
        for k, (name, held) in enumerate(sorted(state.items()))
    }
    data = lddn.Sequences(draw(topology.input_names), draw(topology.outputs), state)
    report = lddn.check_gradients(lddn.losses.SumSquaredError(), net, data)
    _say(str(report))
    return 0 if report.passed else 1


def _say(text: str) -> None:
    print(text, end="\n\n", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lddn_jax", description="Identify dynamic systems with Layered Digital Dynamic Networks."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    maglev = commands.add_parser("maglev", help="the whole story on a simulated magnetic levitation plant")
    maglev.add_argument("--steps", type=_positive, default=4000, help="samples to simulate (default 4000)")
    maglev.set_defaults(run=_maglev)

    table = commands.add_parser("fit", help="train a NARX network on the columns of a CSV file")
    table.add_argument("file", help="CSV file with a header")
    table.add_argument("--inputs", type=_names, default=[], help="input columns, such as current,valve")
    table.add_argument("--targets", type=_names, required=True, help="columns to predict")
    table.set_defaults(run=_fit)

    default = Settings()
    for command in (maglev, table):
        for flag, kind, about in (
            ("--hidden", _positive, "hidden neurons"),
            ("--delays", _delays, "delays of the inputs"),
            ("--feedback", _delays, "delays of the measured targets"),
            ("--init", str, "first weights"),
            ("--epochs", _positive, "lm, br: steps at each horizon (50); adam: passes over the data (6000)"),
            ("--restarts", _positive, "lm, br: networks trained side by side by Levenberg-Marquardt"),
            ("--horizons", _horizons, "lm, br: steps that windows run free, one after the other"),
            ("--batch-size", _positive, "adam: windows in a mini-batch"),
            ("--learning-rate", _rate, "adam: at the start"),
            ("--window", _positive, "adam: steps of a training window"),
            ("--seed", int, "of everything random"),
        ):
            field = _FIELDS.get(flag, flag[2:].replace("-", "_"))
            value = getattr(default, field)
            shown = ",".join("all" if v is None else str(v) for v in value) if isinstance(value, tuple) else value
            about += "" if value is None else f" (default {shown})"
            command.add_argument(flag, dest=field, type=kind, default=value, help=about)
        command.add_argument(
            "--trainer",
            choices=tuple(TRAINERS),
            default=default.trainer,
            help="Levenberg-Marquardt over growing horizons, Bayesian regularization after it for error bars, or "
            "Adam with the loop open (default %(default)s)",
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
            "--out", default="lddn_out", help="folder for network, figures, results (default lddn_out)"
        )

    check = commands.add_parser("check", help="compare all gradient methods on a topology file")
    check.add_argument("file", help="JSON file with what Topology.to_dict() returns")
    check.add_argument("--steps", type=_positive, default=12, help="time steps (default %(default)s)")
    check.add_argument("--batch", type=_positive, default=2, help="sequences (default %(default)s)")
    check.add_argument("--seed", type=int, default=0, help="of weights and data (default %(default)s)")
    check.set_defaults(run=_check)
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> int:
    return _checked(text, int, lambda x: x > 0, "a positive whole number")


def _rate(text: str) -> float:
    return _checked(text, float, lambda x: 0 < x < float("inf"), "a positive number")


def _delays(text: str) -> tuple[int, ...]:
    def convert(text):
        return tuple(int(d) for d in text.split(","))

    return _checked(text, convert, lambda delays: min(delays) >= 0, "whole numbers such as 1,2")


def _horizons(text: str) -> tuple[int | None, ...]:
    def convert(text):
        return tuple(None if h.strip() == "all" else int(h) for h in text.split(","))

    return _checked(text, convert, lambda found: all(h is None or h > 0 for h in found), "numbers such as 1,5,20,all")


def _checked(text: str, convert: Any, fits: Any, needed: str) -> Any:
    try:
        value = convert(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {needed}")
    return value


if __name__ == "__main__":
    sys.exit(main())
