"""Peers of Levenberg-Marquardt: pyrenn, SciPy's MINPACK and optimistix, on one network, one record and one start.

An iteration is one Jacobian with its trial steps. All minimize eᵀe over the record from a zero delay state; pyrenn has
the same initial damping and factors, so its errors agree with those of this package to rounding.
"""

import contextlib
import io
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import lddn_jax as lddn
from benchmarks import peers
from lddn_jax.topology.plan import plan

DAMPING, FACTOR = 3.0, 10.0  # pyrenn's defaults


class Path(NamedTuple):
    """The iterations of a solver.

    Attributes:
        errors: eᵀe before each iteration, as far as the solver reports it; always the first one.
        iterations: Number of Jacobians.
        trials: Number of steps tried.
    """

    errors: np.ndarray
    iterations: int
    trials: int


class Solver(NamedTuple):
    """Interface of a contender.

    Attributes:
        run: Solves and waits.
        path: Converts the result of `run` to a `Path`.
    """

    run: Callable[[], Any]
    path: Callable[[Any], Path]


def chain(sizes: list[int], input_delays: tuple[int, ...], output_delays: tuple[int, ...]) -> lddn.Topology:
    """Returns a network of pyrenn's kind: tanh layers in series, and a linear output fed back to the first layer."""
    hidden = [f"layer_{k}" for k in range(1, len(sizes) - 1)]
    links = list(zip(hidden, [*hidden[1:], "y"], strict=True))
    return lddn.Topology(
        [lddn.Input("u", sizes[0])],
        [
            *(lddn.Layer(name, n) for name, n in zip(hidden, sizes[1:-1], strict=True)),
            lddn.Layer("y", sizes[-1], "linear"),
        ],
        [
            lddn.Connection("u", hidden[0], input_delays),
            *(lddn.Connection(a, b) for a, b in links),
            lddn.Connection("y", hidden[0], output_delays),
        ],
        ["y"],
    )


def record(topology: lddn.Topology, steps: int, seed: int = 0) -> tuple[lddn.Network, lddn.Sequences]:
    """Returns an initial network, and noisy outputs of another network of the same topology, scaled to [-1, 1]."""
    keys = jax.random.split(jax.random.key(seed), 4)
    net, teacher = (lddn.Network(topology, key=key, init="glorot", dtype=jnp.float64) for key in keys[:2])
    u = jax.random.uniform(keys[2], (1, steps, topology.sizes["u"]), jnp.float64, -1, 1)
    state = lddn.zero_state(topology, (1,), jnp.float64)
    y = lddn.predict(teacher, u, state)["y"]
    y = y + 0.1 * jnp.std(y) * jax.random.normal(keys[3], y.shape, jnp.float64)  # so that no error goes to zero
    return net, lddn.Sequences({"u": u}, {"y": y / jnp.abs(y).max()}, state)  # pyrenn scales what exceeds 1


def levenberg_marquardt(net: lddn.Network, data: lddn.Sequences, iterations: int) -> Solver:
    """The package's trainer, through `fit`."""
    trainer = lddn.LevenbergMarquardt(DAMPING, 1 / FACTOR, FACTOR, min_grad=0.0)
    loss = lddn.losses.SumSquaredError()

    def path(fitted):
        errors = fitted.history["loss"]
        return Path(errors, len(errors), len(errors) + int(fitted.history["rejected"].sum()))

    return Solver(lambda: lddn.fit(net, data, loss, trainer, epochs=iterations, progress=False), path)


def pyrenn(net: lddn.Network, data: lddn.Sequences, iterations: int) -> Solver:
    """`pyrenn.train_LM`, which computes one more Jacobian at the end."""
    import pyrenn

    u, y = (np.asarray(signals[name][0].T) for signals, name in ((data.inputs, "u"), (data.targets, "y")))
    made = _in_pyrenn(net)

    def run():
        with contextlib.redirect_stdout(io.StringIO()):  # suppresses pyrenn's messages
            return pyrenn.train_LM(u, y, made | {"w": made["w"].copy()}, iterations, 0.0, DAMPING, FACTOR)

    def path(trained):
        with mock.patch.object(pyrenn, "calc_error", wraps=pyrenn.calc_error) as tried:
            run()
        return Path(trained["ErrorHistory"], iterations + 1, tried.call_count)

    return Solver(run, path)


def scipy(net: lddn.Network, data: lddn.Sequences, iterations: int) -> Solver:
    """`scipy.optimize.least_squares(method="lm")` on the package's forward pass and Jacobian."""
    from scipy.optimize import least_squares

    start, unravel = net.ravel()

    @jax.jit
    def residuals(x, data):
        return (data.targets["y"] - lddn.predict(unravel(x), data.inputs, data.state)["y"]).ravel()

    @jax.jit
    def jacobian(x, data):
        return -lddn.jacobian(unravel(x), data)["y"].reshape(-1, x.size)

    def run():
        return least_squares(
            lambda x: np.asarray(residuals(x, data)),
            np.asarray(start),
            lambda x: np.asarray(jacobian(x, data)),
            method="lm",
            max_nfev=iterations + 1,
            **dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15),
        )

    def path(found):
        first = np.sum(np.asarray(residuals(start, data)) ** 2)
        return Path(np.array([first, 2 * found.cost]), found.njev, found.nfev - 1)

    return Solver(run, path)


def optimistix(net: lddn.Network, data: lddn.Sequences, iterations: int, squared: bool = False) -> Solver:
    """`optimistix.LevenbergMarquardt` on a plain scan, with forward differentiation; by QR, or JᵀJ `squared`."""
    import lineax
    import optimistix

    outputs, start = peers.flat_scan(net, data), net.ravel()[0]
    linear_solver = lineax.Normal(lineax.Cholesky()) if squared else lineax.QR()
    solver = optimistix.LevenbergMarquardt(1e-15, 1e-15, linear_solver=linear_solver)

    def residuals(x, data):
        return (data.targets["y"] - outputs(x, data.inputs)["y"]).ravel()

    @jax.jit
    def solve(x, data):
        found = optimistix.least_squares(residuals, solver, x, data, max_steps=iterations + 1, throw=False)
        first, last = (jnp.sum(residuals(x, data) ** 2) for x in (x, found.value))
        return first, last, found.state.num_accepted_steps, found.stats["num_steps"]

    def path(found):
        first, last, accepted, steps = found
        return Path(np.array([first, last]), int(accepted), int(steps) - 1)  # its first step evaluates the start

    return Solver(lambda: jax.block_until_ready(solve(start, data)), path)


CONTENDERS: dict[str, Callable[[lddn.Network, lddn.Sequences, int], Solver]] = {
    "LevenbergMarquardt": levenberg_marquardt,
    "pyrenn": pyrenn,
    "SciPy, RTRL": scipy,
    "optimistix, QR": optimistix,
    "optimistix, Cholesky": partial(optimistix, squared=True),
}


def check(paths: dict[str, Path]) -> None:
    """Raises unless all have the same first error, pyrenn the same errors throughout, and errors decrease."""
    ours = paths["LevenbergMarquardt"]
    for name, path in paths.items():
        shown = len(path.errors) if name == "pyrenn" else 1
        apart = np.abs(path.errors[:shown] / ours.errors[:shown] - 1).max()
        assert apart <= 1e-6, (name, apart)
        assert path.errors[-1] < path.errors[0], name


def _in_pyrenn(net: lddn.Network) -> dict:
    """Returns the network with its weights in pyrenn's format."""
    import pyrenn

    topology = net.topology
    layers = [name for name in plan(topology).simulation_order if name in topology.sizes]
    delays = topology.delays
    made = pyrenn.CreateNN(
        [topology.sizes[name] for name in ("u", *layers)],
        dIn=list(delays[layers[0], "u"]),
        dOut=list(delays[layers[0], "y"]),
    )
    pieces = []
    for name, before in zip(layers, ["u", *layers], strict=False):
        sources = [before, "y"] if name == layers[0] else [before]
        weights = net.IW | net.LW
        pieces += [np.asarray(w).ravel("F") for source in sources for w in weights[name, source]]
        pieces.append(np.asarray(net.b[name]))
    w = np.concatenate(pieces)
    assert w.size == made["N"] == net.parameter_count, (w.size, made["N"], net.parameter_count)
    return made | {"w": w}
