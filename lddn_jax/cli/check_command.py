"""`check`: compares all gradient methods on a topology file."""

import argparse
import math
from pathlib import Path

import jax

import lddn_jax as lddn
from lddn_jax.cli.arguments import positive, say, seed
from lddn_jax.errors import DataError, shown
from lddn_jax.gradients.gradient_report import METHODS
from lddn_jax.numerics.memory import check_memory
from lddn_jax.simulation.delays import state_sizes
from lddn_jax.storage import strict_json
from lddn_jax.storage.file_errors import described


def add(commands) -> None:
    """Declares the command."""
    check = commands.add_parser("check", help="compare all gradient methods on a topology file")
    check.add_argument("file", help="JSON file with the result of Topology.to_dict()")
    check.add_argument("--steps", type=positive, default=12, help="time steps (default %(default)s)")
    check.add_argument("--batch", type=positive, default=2, help="sequences (default %(default)s)")
    check.add_argument("--seed", type=seed, default=0, help="random seed of weights and data (default %(default)s)")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compares the gradient methods; returns 0 if all agree, 1 if not."""
    path = Path(options.file)
    try:
        declaration = strict_json.parsed(path.read_bytes())
    except OSError as error:
        raise DataError(described(error)) from None
    except ValueError as error:
        raise DataError(
            f"{shown(path)} is not JSON of a topology: {error}. Write it as topology.to_dict() returns it."
        ) from None
    topology = lddn.Topology.from_dict(declaration)
    lddn.transfer.check_known(topology)
    say(str(lddn.plan(topology)))
    signals = options.batch * options.steps * sum(topology.sizes.values())
    check_memory(8 * signals, f"the signals of {options.batch:,} sequences of {options.steps:,} steps", "Use fewer.")
    held = options.batch * sum(math.prod(shape) for shape in state_sizes(topology).values())
    longest = max((delay for delays in topology.delays.values() for delay in delays), default=0)
    check_memory(
        8 * held * (1 + len(METHODS)),
        f"the delay states of {options.batch:,} sequences, with delays up to {longest:,}, and their gradients by "
        f"{len(METHODS)} methods",
        "Use shorter delays, or a smaller --batch.",
    )
    keys = iter(jax.random.split(jax.random.key(options.seed), 4))
    net = lddn.Network(topology, key=next(keys))
    say(net.summary())

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
    say(str(report))
    return 0 if report.passed else 1
