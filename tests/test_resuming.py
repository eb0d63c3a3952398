"""A run that goes on from a saved one is, bit by bit, the run that was never stopped."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn

TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("hidden", 3), lddn.Layer("y", 1, "linear")],
    [lddn.Connection("u", "hidden", (0, 1)), lddn.Connection("y", "hidden", (1,)), lddn.Connection("hidden", "y")],
    ["y"],
)
MSE = lddn.losses.MeanSquaredError()
ADAM = optax.adam(1e-2)  # built once: an equal one is compiled anew
TRAINERS = {
    "adam": lambda: lddn.Optax(ADAM, batch_size=2),
    "noisy": lambda: lddn.Optax(optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.sgd(1e-2))),
    "half precision moments": lambda: lddn.Optax(optax.adam(1e-2, mu_dtype=jnp.bfloat16)),
    "lbfgs": lambda: lddn.Optax(optax.lbfgs()),
    "scaled conjugate gradient": lambda: lddn.Optax(lddn.optimizers.scaled_conjugate_gradient()),
    "lm": lambda: lddn.LevenbergMarquardt(),
    "lm restarts": lambda: lddn.LevenbergMarquardt(restarts=3),
    "br": lambda: lddn.BayesianRegularization(groups="layer"),
    "br qr": lambda: lddn.BayesianRegularization(solver="qr"),
}


def record(seed: int = 0, sequences: int = 5) -> lddn.Sequences:
    u = jax.random.normal(jax.random.key(seed), (sequences, 10, 1))
    noise = jax.random.normal(jax.random.key(seed + 1), u.shape)
    return lddn.Sequences(u, jnp.tanh(jnp.cumsum(u, axis=1)) + 0.1 * noise)


def run(name: str, epochs: int, **more) -> lddn.Fitted:
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))
    return lddn.fit(net, record(), MSE, TRAINERS[name](), epochs=epochs, key=jax.random.key(7), **more)


def bits(value) -> list[bytes]:
    """What two runs have in common if they are the same; keys of random numbers by their data."""
    raw = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in jax.tree.leaves(value)
    ]
    return [np.asarray(leaf).tobytes() for leaf in raw]


def assert_same_run(one: lddn.Fitted, other: lddn.Fitted) -> None:
    assert one.stop_reasons == other.stop_reasons
    assert (one.best_epoch, one.best_restart) == (other.best_epoch, other.best_restart)
    assert list(one.history) == list(other.history)
    for name in one.history:
        if name != "seconds":
            assert one.history[name].tobytes() == other.history[name].tobytes(), name
    assert bits(one.net) == bits(other.net)
    assert bits(one.state) == bits(other.state)
    assert bits(one.restarts) == bits(other.restarts)


@pytest.mark.parametrize("validated", [False, True], ids=["", "validated"])
@pytest.mark.parametrize("name", TRAINERS)
def test_two_halves_are_the_whole(tmp_path, name, validated):
    more = {"validation": record(5), "max_fail": 50} if validated else {}
    lddn.save(tmp_path / "half.npz", run(name, 3, **more))
    assert_same_run(run(name, 6, **more, resume=tmp_path / "half.npz"), run(name, 6, **more))
