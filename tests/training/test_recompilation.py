"""A whole fit traces and compiles its step once, whatever happens in between."""

import threading
import time

import jax
import jax.numpy as jnp
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.training.compiled import Program, of_parts

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


# --- threads ---------------------------------------------------------------------------------------------------------


def of_threads(calls):
    """What each call returned or raised, all of them begun at the same moment."""
    found, begin = {}, threading.Barrier(len(calls))

    def called(name, call):
        begin.wait()
        try:
            found[name] = call()
        except ValueError as error:
            found[name] = error

    threads = [threading.Thread(target=called, args=item, daemon=True) for item in calls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "a thread still waits"
    return found


@pytest.mark.parametrize("shared", [True, False], ids=["one program", "a program of each thread"])
def test_threads_that_call_a_new_program_at_once_compile_it_once(compiled, shared):
    def twice(factor, x):
        traced.append(factor)
        time.sleep(0.1)  # in which the other thread would begin
        return factor * x

    traced, function = [], of_parts(twice)
    same = Program(function, jnp.float64(2.0))
    each = {x: same if shared else Program(function, jnp.float64(2.0)) for x in (3.0, 4.0, 5.0)}
    found = of_threads({x: lambda x=x, program=program: program(jnp.float64(x)) for x, program in each.items()})
    assert found == {3.0: 6.0, 4.0: 8.0, 5.0: 10.0}
    assert len(traced) == 1
    assert compiled.count("jit(twice)") == 1


def test_a_first_call_that_fails_lets_the_next_one_compile(compiled):
    def root(limit, x):
        failures.append(None)
        if len(failures) == 1:
            time.sleep(0.1)
            raise ValueError("on purpose")
        return jnp.sqrt(limit * x)

    failures, program = [], Program(of_parts(root), jnp.float64(4.0))
    found = of_threads({number: lambda: program(jnp.float64(9.0)) for number in range(2)})
    assert sorted(map(str, found.values())) == ["6.0", "on purpose"]
    assert of_threads({0: lambda: program(jnp.float64(1.0))}) == {0: 2.0}
    assert compiled.count("jit(root)") == 1


def test_programs_of_other_shapes_do_not_wait_for_each_other():
    """Each of them is traced until the other one is, too."""

    def total(offset, x):
        meeting.wait(timeout=60)
        return offset + x.sum()

    meeting, function = threading.Barrier(2), of_parts(total)
    found = of_threads({
        size: lambda size=size: Program(function, jnp.float64(1.0))(jnp.ones(size)) for size in (2, 3)
    })  # fmt: skip
    assert found == {2: 3.0, 3: 4.0}
