"""A whole fit traces and compiles its step once, whatever happens in between."""

import jax
import jax.numpy as jnp
import optax
import pytest

import lddn_jax as lddn

TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("hidden", 2), lddn.Layer("y", 1, "linear")],
    [lddn.Connection("u", "hidden"), lddn.Connection("y", "hidden", (1,)), lddn.Connection("hidden", "y")],
    ["y"],
)
COMPILED = "/jax/core/compile/backend_compile_duration"
OPTIMIZERS = {
    "sgd": optax.sgd(0.01, momentum=0.9),
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(optax.cosine_decay_schedule(0.01, 10)),
    "injected": optax.inject_hyperparams(optax.adam)(learning_rate=0.01),
    "noise": optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.sgd(1e-2)),
    "lbfgs": optax.lbfgs(),
    **{
        name: getattr(lddn.optimizers, name)()
        for name in (
            "bfgs",
            "conjugate_gradient",
            "one_step_secant",
            "scaled_conjugate_gradient",
            "variable_learning_rate",
        )
    },
}
TRAINERS = {
    **{name: lambda t=t: lddn.Optax(t) for name, t in OPTIMIZERS.items()},
    "mini-batches": lambda: lddn.Optax(OPTIMIZERS["adam"], batch_size=2),  # of five sequences: the last is not full
    "lm": lddn.LevenbergMarquardt,
    "lm qr nielsen": lambda: lddn.LevenbergMarquardt(solver="qr", damping="nielsen"),
    "lm restarts": lambda: lddn.LevenbergMarquardt(restarts=3),
    "br": lambda: lddn.BayesianRegularization(groups="delay"),
    "br restarts": lambda: lddn.BayesianRegularization(restarts=2),
}


@pytest.fixture
def compiled():
    """The names of all functions that are compiled, in their order."""
    seen = []

    def listen(event, seconds, fun_name="", **_):
        if event == COMPILED:
            seen.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def record(seed: int) -> lddn.Sequences:
    u = jax.random.normal(jax.random.key(seed), (5, 6, 1))
    return lddn.Sequences(u, jnp.tanh(u))


ONE_OF_A_KIND = {"adam", "noise", "mini-batches", "lm restarts", "br"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ONE_OF_A_KIND else pytest.mark.deep) for name in TRAINERS]
)
def test_a_step_is_compiled_once(name, compiled, tmp_path):
    """Even if the run resumes from a checkpoint, or there are others with the same shapes and other numbers."""
    steps = []

    def run(seed, epochs=5, **more):
        net = lddn.Network(TOPOLOGY, key=jax.random.key(seed))
        trainer, loss = TRAINERS[name](), lddn.losses.MeanSquaredError()
        checkpoint = lddn.callbacks.Checkpoint(tmp_path / str(seed), every=2)
        watch = [lambda state: steps.append(len(compiled)), checkpoint]
        more = {"validation": record(9), "callbacks": watch, "key": jax.random.key(0)} | more
        return lddn.fit(net, record(seed), loss, trainer, epochs=epochs, max_fail=99, **more)

    run(0)
    between = compiled[steps[0] : steps[-1]]
    assert set(between) <= {"jit(_merged)"}  # which is needed once one of several networks has stopped
    run(0, resume=tmp_path / "0", epochs=8)
    run(1)
    assert len(steps) > 8
    assert compiled.count("jit(_step)") == 1
    assert compiled.count("jit(_init)") == 1
    # It is the same for all trainers, and data for training and validation have one shape here.
    assert compiled.count("jit(_value)") <= 1


def test_settings_that_no_step_reads_compile_nothing(compiled):
    """First weights by a new function, and new limits: they matter before a step or after it."""
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))

    def initializer(size):
        def drawn(key, layer, shapes, dtype):
            return {source: jnp.full(shape, size, dtype) for source, shape in shapes.items()}, jnp.zeros(layer.size)

        return drawn

    def run(size, **more):
        trainer = lddn.LevenbergMarquardt(restarts=2, init_of_restarts=initializer(size), **more)
        loss, callbacks = lddn.losses.MeanSquaredError(), [lambda state: None]
        return lddn.fit(net, record(0), loss, trainer, epochs=3, validation=record(9), callbacks=callbacks)

    first = run(0.1)
    assert "jit(_step)" in compiled
    compiled.clear()
    second = run(0.2, min_grad=1e-6, memory=2**20)
    assert not [name for name in compiled if name in ("jit(_step)", "jit(_init)", "jit(_value)")]
    assert first.history["loss"][0, 1] != second.history["loss"][0, 1]
