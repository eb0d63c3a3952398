"""`predict`: predictions of a trained network on a new file."""

import argparse
from pathlib import Path

import lddn_jax as lddn
from lddn_jax.cli.arguments import count, horizons, model_of, say
from lddn_jax.cli.files import can_draw, canvas, write_json, written
from lddn_jax.errors import DataError


def add(commands) -> None:
    """Declares the command."""
    predict = commands.add_parser("predict", help="predict a new file with a trained network")
    predict.add_argument("file", help="CSV or .mat file with the same column names as the training data")
    predict.add_argument("--model", default="lddn_out/network.npz", help="network written by fit (default %(default)s)")
    predict.add_argument(
        "--ahead",
        type=horizons,
        default=(1,),
        help="prediction horizons in steps, in addition to the free run, such as 1,10 (default 1)",
    )
    predict.add_argument("--warmup", type=count, default=0, help="steps at the start that are not scored (default 0)")
    predict.add_argument("--out", default="lddn_out", help="folder for predictions, figure and scores")
    predict.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the scores; writes predictions, scores and a figure."""
    if None in options.ahead:
        raise DataError("--ahead all: the free run is always computed; pass numbers of steps, such as --ahead 1,10.")
    model = model_of(options.model)
    found = lddn.forecast(model, options.file, options.ahead, warmup=options.warmup)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    found.to_table().to_csv(out / "predictions.csv")
    write_json(out / "scores.json", found.scores)
    say(str(found))
    files = ["predictions.csv", "scores.json"]
    if can_draw():
        files += written({"predictions.png": lambda: _figure(found).savefig(out / "predictions.png", dpi=120)})
    say(f"wrote {', '.join(str(out / name) for name in files)}")
    return 0


def _figure(found: lddn.Forecast):
    names = list(next(iter(found.predictions.values())))
    figure = canvas(10, 3.5 * len(names))
    for ax, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        lines = {kind: outputs[name] for kind, outputs in found.predictions.items()}
        lddn.plots.response(found.time, found.measured.get(name), lines, ylabel=name, steps=found.steps, ax=ax)
    return figure
