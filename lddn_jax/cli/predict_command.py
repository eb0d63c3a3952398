"""`predict`: predictions of a trained network on a new file, and the forecast of its last rows or beyond them."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import lddn_jax as lddn
from lddn_jax.cli.arguments import count, horizons, model_of, say, say_notes
from lddn_jax.cli.file_options import add_reading, reading_of
from lddn_jax.cli.files import can_draw, canvas, output_folder, save_figure, write_json, written
from lddn_jax.data.sources import signals_of
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.network.rewiring import opened_at
from lddn_jax.prediction.feedback import exogenous, loop_closed, loop_opened, same_network
from lddn_jax.prediction.forecast_result import FORECAST, FREE_RUN


def add(commands) -> None:
    """Declares the command."""
    predict = commands.add_parser(
        "predict",
        help="predict a new file with a trained network",
        description="Predicts a file with a trained network: one step ahead, in a free run, and a forecast of the last "
        "rows if they have no measured output. With posterior.npz in the folder of the model, as after "
        "fit --trainer br, free run and forecast have error bars.",
    )
    predict.add_argument("file", help="CSV, .mat or .hdf5 file with the same column names as the training data")
    predict.add_argument("--model", default="lddn_out/network.npz", help="network written by fit (default %(default)s)")
    predict.add_argument(
        "--ahead",
        type=horizons,
        default=(1,),
        help="prediction horizons in steps, in addition to the free run, such as 1,10 (default 1)",
    )
    predict.add_argument("--warmup", type=count, default=0, help="steps at the start that are not scored (default 0)")
    predict.add_argument(
        "--steps",
        type=count,
        default=0,
        help="steps to forecast beyond the last row (default 0); with inputs, at most their smallest delay",
    )
    predict.add_argument(
        "--inputs-from",
        metavar="FILE",
        help="file with the input columns, from the same first row on; rows after the end of the other file are "
        "inputs that are known ahead, and are forecast",
    )
    predict.add_argument("--out", default="lddn_out", help="folder for predictions, figure and scores")
    add_reading(predict, again=True)
    predict.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the scores; writes predictions, scores and a figure."""
    if None in options.ahead:
        raise DataError("--ahead all: the free run is always computed; pass numbers of steps, such as --ahead 1,10.")
    model = model_of(options.model)
    reading = reading_of(options)
    found = lddn.forecast(
        model,
        _source(options, model, reading),
        options.ahead,
        warmup=options.warmup,
        steps=options.steps,
        posterior=_posterior(Path(options.model), model),
        reading=reading,
    )
    say_notes(found.notes)
    with output_folder(Path(options.out)) as out:
        return _write(found, out)


def _write(found: lddn.Forecast, out: Path) -> int:
    essential = {
        "predictions.csv": lambda: found.to_table().to_csv(out / "predictions.csv"),
        "scores.json": lambda: write_json(out / "scores.json", found.scores),
    }
    files = written(essential)
    complete = len(files) == len(essential)
    say(str(found))
    if can_draw():
        files += written({"predictions.png": lambda: save_figure(out / "predictions.png", _figure(found))})
    if found.future is not None and "predictions.csv" in files:
        first, last = len(found.time) + 2, len(found.time) + 1 + len(found.future)  # after the header
        plural = "s" if len(found.future.predictions) > 1 else ""
        columns = ", ".join(repr(f"{name} {FORECAST}") for name in found.future.predictions)
        say(f"{out / 'predictions.csv'}: lines {first} to {last} are the forecast, in column{plural} {columns}")
    if files:
        say(f"wrote {', '.join(str(out / name) for name in files)}")
    return 0 if complete else 2


def _source(options: argparse.Namespace, model: lddn.Scaled, reading: lddn.data.Reading) -> Any:
    """The file, or its outputs together with the inputs of another file."""
    if options.inputs_from is None:
        return options.file
    inputs = exogenous(model)
    if not inputs:
        raise DataError("--inputs-from: the network reads no inputs. Leave it out; --steps N forecasts beyond the end.")
    reading = dataclasses.replace(reading, decimate=1)  # the columns of both files are decimated together
    driving, _, instants, known = signals_of(options.inputs_from, inputs, [], reading=reading)
    _, measured, _, read = signals_of(options.file, [], list(model.net.topology.outputs), False, reading)
    say_notes((*known, *read))
    columns = {name: signal[:, 0] for name, signal in (driving | measured).items()}
    return columns if instants is None else columns | {"time": instants}


def _posterior(path: Path, model: lddn.Scaled) -> lddn.Posterior | None:
    """The posterior that fit wrote beside the model, or None without one of this network."""
    beside = path.with_name("posterior.npz")
    if not beside.is_file():
        return None
    try:
        posterior = lddn.load(beside)
    except LDDNError as error:
        say(f"no error bars: {error}")
        return None
    closed, loops = loop_closed(loop_opened(model))
    if isinstance(posterior, lddn.Posterior) and (
        same_network(posterior.net, closed) or same_network(posterior.net, opened_at(closed, loops))
    ):
        return posterior
    say(f"no error bars: {beside} is not the posterior of {path.name}")
    return None


def _figure(found: lddn.Forecast):
    table = found.to_table()
    names = list(next(iter(found.predictions.values()), found.measured))
    kinds = list(found.predictions)
    if found.future is not None:
        names, kinds = list(found.future.predictions), [*kinds, FORECAST]
    figure = canvas(10, 3.5 * len(names))
    for ax, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        lines = {kind: table[f"{name} {kind}"] for kind in kinds}
        rest = () if found.future is None else (len(found.future),)
        steps = tuple(count for count in (*found.steps, *rest) if count)
        lddn.plots.response(table["time"], table.columns.get(name), lines, ylabel=name, steps=steps, ax=ax)
        if name in found.bands:
            free, half = found.predictions[FREE_RUN][name], found.bands[name]
            ax.fill_between(found.time, free - half, free + half, alpha=0.2, linewidth=0)
        if found.future is not None:
            mean, half = found.future.predictions[name], _half_of_future(found, name)
            if half is not None:
                ax.fill_between(found.future.time, mean - half, mean + half, alpha=0.3, linewidth=0)
    return figure


def _half_of_future(found: lddn.Forecast, name: str):
    """Half width of the band of the forecast: that of conformal bands, or two standard deviations; None if unknown."""
    if name in found.future_bands:
        return found.future_bands[name]
    std = {} if found.future is None else found.future.std
    return 2 * std[name] if name in std else None
