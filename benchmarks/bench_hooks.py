"""What do callbacks cost, and the loop itself, beside the steps of a fit of 1,000 epochs on the floating magnet?"""

from benchmarks import harness

if __name__ == "__main__":
    parser = harness.arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=1000, help="of one fit (default 1000)")
    options = parser.parse_args()
    harness.pin(options.cores)

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lddn_jax as lddn
from lddn_jax import callbacks as cb
from lddn_jax.training.callbacks.protocol import Hooks
from lddn_jax.training.compiled import Program, _init, _step
from lddn_jax.training.trainer import AbstractTrainer, Problem

MSE = lddn.losses.MeanSquaredError()
TRAINERS: dict[str, AbstractTrainer] = {
    "Levenberg-Marquardt": lddn.LevenbergMarquardt(min_grad=0.0),
    "Adam": lddn.Optax(optax.adam(1e-3)),
}


def magnet(steps: int) -> tuple[lddn.Network, lddn.Sequences]:
    """Returns an open-loop NARX network of ten neurons, and a scaled record."""
    table = lddn.data.maglev(steps, jax.random.key(0))
    current, position = (jnp.asarray(table[name], jnp.float64)[:, None] for name in ("current", "position"))
    current, position = (lddn.data.MinMax.fit(signal).apply(signal) for signal in (current, position))
    topology = lddn.models.narx({"current": 1}, {"position": 1}, hidden=10)
    net = lddn.Network(topology, key=jax.random.key(1), dtype=jnp.float64)
    return net, lddn.windows(topology, {"current": current, "measured_position": position}, position, length=steps - 2)


def contenders(
    net: lddn.Network, data: lddn.Sequences, trainer: AbstractTrainer, epochs: int, folder: Path
) -> dict[str, Callable[[], Any]]:
    """Returns the contenders: a fit, its steps alone, and callbacks alone, called for every epoch of such a fit.

    Callbacks are timed alone, because the time they add is less than the variation between fits.
    """
    states: list[lddn.TrainingState] = []
    fitted = lddn.fit(net, data, MSE, trainer, epochs=epochs, callbacks=[lambda state: states.append(state)])
    first = dataclasses.replace(states[0], epoch=0)

    def fit() -> Any:
        return lddn.fit(net, data, MSE, trainer, epochs=epochs, progress=False).history["loss"]

    def steps() -> Any:
        problem, losses = Problem.of(MSE, net, data, trainer.default_gradient), []
        now, state, key = net, Program(_init, trainer, problem)(net), jax.random.key(0)
        step = Program(_step, trainer, problem)
        for k in range(epochs):
            now, state, info = step(now, state, key, np.uint32(k), None)
            losses.append(float(info["loss"]))
        return np.array(losses)

    def calls_of(make: Callable[[], list]) -> Callable[[], None]:
        def run() -> None:
            for old in folder.glob("*"):
                old.unlink()
            hooks = Hooks.of(make())
            hooks.on_start(first)
            for state in states:
                hooks.on_step(state)
            hooks.on_end(fitted.training)

        return run

    return {
        "a fit": fit,
        "its steps": steps,
        "Progress, TimeLimit, EarlyStopping, StopOnDivergence": calls_of(
            lambda: [
                cb.Progress(anywhere=False),
                cb.TimeLimit(3600),
                cb.EarlyStopping("loss", patience=epochs),
                cb.StopOnDivergence(),
            ]
        ),
        "Checkpoint, one file and the best": calls_of(lambda: [cb.Checkpoint(folder)]),
        "CSVLog": calls_of(lambda: [cb.CSVLog(folder / "log.csv")]),
        "JSONLinesLog": calls_of(lambda: [cb.JSONLinesLog(folder / "log.jsonl")]),
    }


def main(options) -> None:
    jax.config.update("jax_enable_x64", True)
    rows = []
    net, data = magnet(4000)
    for name, trainer in TRAINERS.items():
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = contenders(net, data, trainer, options.epochs, Path(folder))
            times = harness.compare(found, options.rounds)
            np.testing.assert_array_equal(found["a fit"](), found["its steps"]())
        case = f"{name}, {options.epochs} epochs"
        rows.append({"case": case, "dtype": "float64", "seconds": times, "each": "a whole fit"})
        print(harness.line(case, times), flush=True)
    if options.name:
        print("wrote", harness.write(options.name, __doc__, options.cores, rows))


if __name__ == "__main__":
    main(options)
