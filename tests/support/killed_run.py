"""A run that is to be killed: `python killed_run.py FOLDER EPOCHS` trains with checkpoints in the folder, or resumes.

It writes the number of every epoch to standard output, and at its end the result into the folder.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

jax.config.update("jax_enable_x64", True)

import lddn_jax as lddn  # noqa: E402

EVERY = 3  # epochs between checkpoints
TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("hidden", 3), lddn.Layer("y", 1, "linear")],
    [lddn.Connection("u", "hidden"), lddn.Connection("y", "hidden", (1,)), lddn.Connection("hidden", "y")],
    ["y"],
)


def main(folder: Path, epochs: int) -> None:
    u = jax.random.normal(jax.random.key(0), (5, 10, 1))
    checkpoint = lddn.callbacks.Checkpoint(folder / "checkpoints", every=EVERY, seconds=None, keep=2)

    def report(state):
        print(state.epoch, flush=True)

    fitted = lddn.fit(
        lddn.Network(TOPOLOGY, key=jax.random.key(1)),
        lddn.Sequences(u, jnp.tanh(jnp.cumsum(u, axis=1))),
        lddn.losses.MeanSquaredError(),
        lddn.Optax(optax.adam(1e-3), batch_size=2),
        epochs=epochs,
        key=jax.random.key(2),
        callbacks=[report, checkpoint],
        resume=checkpoint.saved,
    )
    lddn.save(folder / "result.npz", fitted)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
