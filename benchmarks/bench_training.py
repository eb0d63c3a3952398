"""How long does training take: one iteration, until an error is reached, and with many restarts?

Three questions, each with a file of its own. `iteration`: Levenberg-Marquardt compared with pyrenn, MINPACK and
optimistix. `reach`: every trainer on one plant. `restarts`: many networks in one program, compared with one and with a
loop.
"""

from benchmarks import harness

if __name__ == "__main__":
    parser = harness.arguments(__doc__.split("\n")[0])
    parser.add_argument("--part", default="iteration,reach,restarts", help="which of them (default: all)")
    parser.add_argument("--cap", type=float, default=30.0, help="reach: seconds that a trainer gets (default 30)")
    parser.add_argument("--starts", type=int, default=3, help="reach: networks to start from (default 3)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing written")
    options = parser.parse_args()
    harness.pin(options.cores)

import importlib.util
import math
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import lddn_jax as lddn
from benchmarks import peers, peers_least_squares
from lddn_jax import optimizers

# By name: sizes of layers, delays of the input, delays of the output that is fed back, steps.
CHAINS = {
    "[1, 3, 3, 1], T = 500": ([1, 3, 3, 1], (1, 2), (1, 2, 3), 500),
    "[1, 10, 1], T = 1000": ([1, 10, 1], (1, 2), (1, 2), 1000),
}
ITERATIONS = 10
ERRORS = (1e-4, 1e-6, 1e-8)  # mean squared, in units in which the record spans [-1, 1]
RESTARTS = 32
TRAINERS: dict[str, Callable[[], lddn.AbstractTrainer]] = {
    "Levenberg-Marquardt": lddn.LevenbergMarquardt,
    "Levenberg-Marquardt, 8 restarts": lambda: lddn.LevenbergMarquardt(restarts=8),
    "BFGS": lambda: lddn.Optax(optimizers.bfgs()),
    "L-BFGS": lambda: lddn.Optax(optax.lbfgs()),
    "scaled conjugate gradient": lambda: lddn.Optax(optimizers.scaled_conjugate_gradient()),
    **{
        f"conjugate gradient, {rule}": lambda rule=rule: lddn.Optax(optimizers.conjugate_gradient(rule))
        for rule in ("fletcher-reeves", "polak-ribiere", "hestenes-stiefel", "powell-beale")
    },
    "one-step secant": lambda: lddn.Optax(optimizers.one_step_secant()),
    "variable learning rate": lambda: lddn.Optax(optimizers.variable_learning_rate()),
    "Rprop(0.07)": lambda: lddn.Optax(optax.rprop(0.07)),
    "Adam(0.001)": lambda: lddn.Optax(optax.adam(1e-3)),
    "Adam(0.01)": lambda: lddn.Optax(optax.adam(1e-2)),
}


class Watch:
    """Stop criterion: the time limit is reached, or some network is good enough."""

    def __init__(self, goal: float):
        self.goal, self.over, self.end = goal, False, math.inf

    def start(self, seconds: float) -> None:
        """Resets the clock."""
        self.over, self.end = False, time.perf_counter() + seconds

    def look(self, loss: float) -> bool:
        """Returns whether to stop; several networks stop together, one step after the first that is good enough."""
        self.over = self.over or loss <= self.goal or time.perf_counter() >= self.end
        return self.over


class Watched(lddn.AbstractTrainer):
    """A trainer that stops on time."""

    trainer: lddn.AbstractTrainer
    watch: Watch = eqx.field(static=True)

    @property
    def restarts(self) -> int:
        """Those of the trainer."""
        return self.trainer.restarts

    def init(self, net, problem):
        """That of the trainer, as the rest is."""
        return self.trainer.init(net, problem)

    def step(self, net, state, problem, key):
        """See `init`."""
        return self.trainer.step(net, state, problem, key)

    def check(self, net, problem):
        """See `init`."""
        self.trainer.check(net, problem)

    def starts(self, net, key):
        """See `init`."""
        return self.trainer.starts(net, key)

    def stop_reason(self, info):
        """Returns the trainer's own reason, or that of the time limit."""
        late = self.watch.look(info["loss"])
        return self.trainer.stop_reason(info) or ("epochs" if late else None)


def plant(steps: int) -> tuple[lddn.Topology, lddn.Sequences]:
    """Returns a record of the floating magnet scaled to [-1, 1], for a series-parallel NARX network of ten neurons."""
    table = lddn.data.maglev(steps, jax.random.key(0))
    current, position = (
        lddn.data.MinMax.fit(column).apply(column) for column in (table[name][:, None] for name in table.names[1:])
    )
    topology = lddn.models.narx({"current": 1}, {"position": 1}, hidden=10)
    signals = {"current": current, "measured_position": position}
    return topology, lddn.windows(topology, signals, position, length=steps - 2)


def moments(history: lddn.training.history.History, levels: tuple[float, ...]) -> dict[float, dict[str, float]]:
    """Returns when each error was reached, in seconds and updates; only the seconds of the whole run if it was not.

    A loss is that of the network before an update, so the previous update led to it. The best of several networks
    counts.
    """
    loss, seconds = history["loss"], history["seconds"]
    best = np.fmin.reduce(loss.reshape(len(loss), -1), axis=1)
    found = {}
    for level in levels:
        there = np.flatnonzero(best <= level)
        if there.size:
            k = int(there[0])
            found[level] = {"seconds": float(seconds[k - 1]) if k else 0.0, "updates": k}
        else:
            found[level] = {"seconds": float(seconds[-1])}
    return found


def reach(options) -> list[dict]:
    """Returns a row for each trainer."""
    topology, data = plant(200 if options.smoke else 4000)
    cap, starts = (0.2, 1) if options.smoke else (options.cap, options.starts)
    rows = []
    for name, make in TRAINERS.items():
        if options.only not in name:
            continue
        trainer = make()
        watched = Watched(trainer, Watch(min(ERRORS)))
        row = {"case": name, "dtype": "float64", "update": [], "lowest": [], "first": []}
        row["reached"] = {str(level): [] for level in ERRORS}
        for seed in range(starts):
            net = lddn.Network(topology, key=jax.random.key(seed), dtype=jnp.float64)

            def train(epochs, seconds, net=net, watched=watched, trainer=trainer, seed=seed):
                watched.watch.start(seconds)
                return lddn.fit(
                    net,
                    data,
                    lddn.losses.MeanSquaredError(),
                    watched,
                    gradient=trainer.default_gradient,
                    epochs=epochs,
                    key=jax.random.key(seed),
                    progress=False,
                )

            start = time.perf_counter()
            train(2, math.inf)  # compiles; twice if the state of the first step has other types than later ones
            row["first"].append(time.perf_counter() - start)  # only the first start compiles
            history = train(10**9, cap).history
            for level, found in moments(history, ERRORS).items():
                row["reached"][str(level)].append(found)
            row["update"].append(float(history["seconds"][-1]) / len(history["seconds"]))
            row["lowest"].append(float(np.nanmin(history["loss"])))
        rows.append(row)
        print(f"{name:<40} {row['reached']} lowest {min(row['lowest']):.2e}", flush=True)
    return rows


def iteration(options) -> list[dict]:
    """Returns a row for each network: seconds for an iteration, and its number of trials."""
    rows = []
    for name, (sizes, input_delays, output_delays, steps) in CHAINS.items():
        if options.only not in name:
            continue
        topology = peers_least_squares.chain(sizes, input_delays, output_delays)
        net, data = peers_least_squares.record(topology, 100 if options.smoke else steps)
        count = 3 if options.smoke else ITERATIONS
        solvers = {
            contender: make(net, data, count)
            for contender, make in peers_least_squares.CONTENDERS.items()
            if _installed(contender)
        }
        times = harness.compare({contender: solver.run for contender, solver in solvers.items()}, options.rounds)
        paths = {contender: solver.path(solver.run()) for contender, solver in solvers.items()}
        peers_least_squares.check(paths)
        times = {c: harness.shared(t, paths[c].iterations) for c, t in times.items()}
        trials = {c: path.trials / path.iterations for c, path in paths.items()}
        case = f"{name}, P = {net.parameter_count}"
        rows.append({"case": case, "dtype": "float64", "each": "one iteration", "seconds": times, "trials": trials})
        print(harness.line(case, times), flush=True)
    return rows


def restarts(options) -> list[dict]:
    """Returns a row for each network: seconds for an iteration of one (mean), of all in one program, and in a loop."""
    topology, data = plant(200 if options.smoke else 4000)
    cases = {
        name: peers_least_squares.record(
            peers_least_squares.chain(sizes, input_delays, output_delays), 50 if options.smoke else steps
        )
        for name, (sizes, input_delays, output_delays, steps) in CHAINS.items()
    }
    cases[f"open NARX of ten neurons, T = {data.steps}"] = lddn.Network(topology, key=jax.random.key(0)), data
    rows = []
    for name, (net, data) in cases.items():
        if options.only not in name:
            continue
        found = together_and_alone(net, data, *((3, 2) if options.smoke else (RESTARTS, ITERATIONS)))
        times = harness.compare({contender: peer.run for contender, peer in found.items()}, options.rounds)
        together, alone = [peer.result() for peer in found.values()]
        # The first errors only: rounding grows from one iteration to the next.
        assert peers.difference(np.nan_to_num(together[:3]), np.nan_to_num(alone[:3])) <= 1e-6, name
        times = {c: harness.shared(t, 2 if options.smoke else ITERATIONS) for c, t in times.items()}
        alone, count = list(times.values())[-1], 3 if options.smoke else RESTARTS
        times = {"one, by itself (mean)": harness.shared(alone, count)} | times
        rows.append({"case": name, "dtype": "float64", "each": "one iteration", "seconds": times})
        print(harness.line(name, times), flush=True)
    return rows


def together_and_alone(net: lddn.Network, data: lddn.Sequences, count: int, iterations: int) -> dict[str, peers.Peer]:
    """Returns contenders: iterations of `count` networks in one program, and of each alone.

    Results are the errors before each iteration.
    """
    one, all_ = (lddn.LevenbergMarquardt(restarts=n) for n in (1, count))
    nets = all_.starts(net, jax.random.key(1))
    singles = [jax.tree.map(lambda leaf, k=k: leaf[k], nets) for k in range(count)]

    def train(net, trainer):
        loss = lddn.losses.MeanSquaredError()
        found = lddn.fit(net, data, loss, trainer, epochs=iterations, progress=False).history["loss"]
        missing = ((0, iterations - len(found)), *((0, 0),) * (found.ndim - 1))
        return np.pad(found, missing, constant_values=np.nan)  # a network that has converged

    def in_a_loop():
        return np.stack([train(single, one) for single in singles], axis=1)

    runs = {
        f"{count} in one program": lambda: train(nets, all_),
        f"{count} in a loop": in_a_loop,
    }
    return {name: peers.Peer(run, run) for name, run in runs.items()}


def _installed(contender: str) -> bool:
    """Returns whether the package of a contender is installed; pyrenn and optimistix are optional."""
    module = contender.split(",")[0]
    return module not in ("pyrenn", "optimistix") or importlib.util.find_spec(module) is not None


PARTS = {
    "iteration": (iteration, "How long does one iteration of Levenberg-Marquardt take, beside other implementations?"),
    "reach": (reach, "How long does each trainer take to reach a training error on the floating magnet?"),
    "restarts": (restarts, "How long does an iteration of many networks take in one program, beside one, and a loop?"),
}


def main(options) -> None:
    options.rounds = 1 if options.smoke else options.rounds
    for part in options.part.split(","):
        measure, question = PARTS[part]
        rows = measure(options)
        if options.name and rows and not options.smoke:
            print(f"wrote {harness.write(f'{options.name}_{part}', question, options.cores, rows)}")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main(options)
