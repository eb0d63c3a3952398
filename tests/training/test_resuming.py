"""A resumed run equals an uninterrupted one bit for bit."""

import logging
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.training.fingerprint import Identity
from lddn_jax.training.stop_reason import Flag

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


ONE_OF_A_KIND = {
    ("adam", True),
    ("noisy", False),
    ("half precision moments", False),
    ("lm restarts", True),
    ("br", False),
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


@pytest.mark.parametrize(
    ("name", "validated"),
    [
        pytest.param(
            name,
            validated,
            id=f"{name}, validated" if validated else name,
            marks=[] if (name, validated) in ONE_OF_A_KIND else pytest.mark.deep,
        )
        for name in TRAINERS
        for validated in (False, True)
    ],
)
def test_two_halves_are_the_whole(tmp_path, name, validated):
    more = {"validation": record(5), "max_fail": 50} if validated else {}
    lddn.save(tmp_path / "half.npz", run(name, 3, **more))
    assert_same_run(run(name, 6, **more, resume=tmp_path / "half.npz"), run(name, 6, **more))


IN_TWO_PROCESSES = ("adam", "lbfgs", "scaled conjugate gradient", "lm", "br")
CHILD = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
sys.path[:0] = {paths!r}
import test_resuming as t
epochs, half, whole = int(sys.argv[1]), "{folder}/{{}} half.npz", "{folder}/{{}} whole.npz"
for name in t.IN_TWO_PROCESSES:
    resume = half.format(name) if epochs == 6 else None
    t.lddn.save((whole if epochs == 6 else half).format(name), t.run(name, epochs, resume=resume))
"""


@pytest.mark.deep
def test_two_processes_are_one(tmp_path):
    """Three steps of each in a process of their own, three more in another one, and the same six here."""
    tests = Path(__file__).parents[1]
    code = CHILD.format(paths=[str(tests / "training"), str(tests / "support"), str(tests)], folder=tmp_path)
    # Programs that are optimized differently round differently.
    alike = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": str(jax.config.read("jax_disable_most_optimizations"))}
    for epochs in ("3", "6"):
        subprocess.run([sys.executable, "-c", code, epochs], check=True, cwd=Path(__file__).parents[2], env=alike)
    for name in IN_TWO_PROCESSES:  # one test, since starting processes is what takes the time
        lddn.save(tmp_path / f"{name} here.npz", run(name, 6))
        assert_same_run(lddn.load(tmp_path / f"{name} whole.npz"), lddn.load(tmp_path / f"{name} here.npz"))


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.npz"
    lddn.save(path, run("adam", 3))
    return path


def test_a_result_in_memory_resumes_too(half):
    """From what fit returned or from its state, as often as you like."""
    first, whole = run("adam", 3), run("adam", 6)
    for source in (first, first.training, first):
        assert_same_run(run("adam", 6, resume=source), whole)


def test_nothing_is_left_to_do(half):
    assert_same_run(run("adam", 3, resume=half), run("adam", 3))
    assert len(run("adam", 2, resume=half).history["loss"]) == 3


def test_a_resumed_run_is_flagged(half):
    fitted = run("adam", 6, resume=half)
    assert fitted.flags - {Flag.NOTHING_LEARNED} == {Flag.RESUMED}
    assert "was resumed from a saved one" in str(fitted)
    assert np.all(np.diff(fitted.history["seconds"]) > 0)


@pytest.mark.parametrize("limits", [{"goal": 1e9}, {"max_fail": 1, "validation": record(5)}], ids=["goal", "max_fail"])
def test_a_limit_that_was_reached_may_be_moved(tmp_path, limits):
    """A run that the limit ended, and one that the new limit never met."""
    trainer, net = lddn.Optax(optax.sgd(3.0)), lddn.Network(TOPOLOGY, key=jax.random.key(0))
    more = {"validation": limits.get("validation")}
    ended = lddn.fit(net, record(), MSE, trainer, epochs=30, **limits)
    assert ended.stop_reason in limits
    wide = more | {"max_fail": 100}
    assert_same_run(
        lddn.fit(net, record(), MSE, trainer, epochs=30, **wide, resume=ended),
        lddn.fit(net, record(), MSE, trainer, epochs=30, **wide),
    )


def changed(**changes):
    """The run of `half`, with something else."""
    given = {
        "net": lddn.Network(TOPOLOGY, key=jax.random.key(0)),
        "data": record(),
        "loss": MSE,
        "trainer": TRAINERS["adam"](),
        "key": jax.random.key(7),
    }
    return {**given, **changes}


BIGGER = TOPOLOGY.with_delays("u", "hidden", (0, 2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"net": lambda: lddn.Network(BIGGER, key=jax.random.key(0))}, "topology.*delays.*was 1 and is 2"),
        ({"net": lambda: lddn.Network(TOPOLOGY, key=jax.random.key(1))}, "first weights.*different values"),
        ({"net": lambda: lddn.Network(TOPOLOGY, key=jax.random.key(0), dtype=jnp.float32)}, "float64.*float32"),
        ({"data": lambda: record(3)}, "data.inputs.u has different values"),
        ({"data": lambda: record(0, 4)}, r"float64\[5, 10, 1\].*float64\[4, 10, 1\]"),
        ({"loss": lambda: lddn.losses.SumSquaredError()}, "data.loss was MeanSquaredError and is SumSquaredError"),
        ({"loss": lambda: lddn.losses.MeanSquaredError(missing="mask")}, "missing was 'error' and is 'mask'"),
        ({"trainer": lambda: lddn.Optax(optax.adam(2e-2), batch_size=2)}, "trainer.*0.01 and is.*0.02"),
        ({"trainer": lambda: lddn.Optax(ADAM, batch_size=3)}, "batch_size was 2 and is 3"),
        ({"trainer": lambda: lddn.Optax(optax.sgd(1e-2))}, "trainer"),
        ({"trainer": lambda: lddn.LevenbergMarquardt()}, "trainer was Optax and is LevenbergMarquardt"),
        ({"gradient": lambda: lddn.Autodiff()}, "gradient was BPTT and is Autodiff"),
        ({"key": lambda: jax.random.key(8)}, "key was"),
        ({"validation": lambda: record(5)}, "validation was None and is Problem"),
    ],
)
def test_another_run_is_refused(half, changes, words):
    given = changed(**{name: make() for name, make in changes.items()})
    with pytest.raises(lddn.CheckpointError, match=f"(?s)half.npz, which belongs to another run.*{words}"):
        lddn.fit(**given, epochs=6, resume=half)


def test_an_equal_transformation_built_anew_is_the_same(half):
    """What a new process builds is equal, though not identical."""
    given = changed(trainer=lddn.Optax(optax.adam(1e-2), batch_size=2))
    assert_same_run(lddn.fit(**given, epochs=6, resume=half), run("adam", 6))


@pytest.mark.parametrize(
    "pair",
    [
        (optax.adam(optax.cosine_decay_schedule(0.1, 10)), optax.adam(optax.cosine_decay_schedule(0.1, 20))),
        (lambda step: 0.1 * step, lambda step: 0.2 * step),
        (partial(max, 1), partial(max, 2)),
        ({"a": [1, 2]}, {"a": [1, 3]}),
        (np.zeros(3), np.ones(3)),
        (jax.random.key(0), jax.random.key(0, impl="rbg")),
        (jnp.float32(1), jnp.float64(1)),
    ],
    ids=lambda pair: type(pair[0]).__name__,
)
def test_what_differs_is_told_apart(pair):
    one, other = (Identity({"x": value}) for value in pair)
    assert one.changes(other) != ""
    assert one.changes(Identity({"x": pair[0]})) == ""


def test_a_function_that_closes_over_itself_is_described():
    def countdown(n):
        return 0 if n == 0 else countdown(n - 1)

    assert "x" in Identity({"x": countdown}).lines


@pytest.mark.parametrize("where", ["environment", "versions"])
def test_other_versions_and_devices_are_warned_of(half, caplog, monkeypatch, where):
    from lddn_jax.training import checkpoint

    now = checkpoint.environment()
    other = now | ({"device": "gpu: H100"} if where == "environment" else {"jax": "0.99.0"})
    monkeypatch.setattr(checkpoint, "environment", lambda: other)
    with caplog.at_level(logging.WARNING, "lddn_jax"):
        fitted = run("adam", 6, resume=half)
    assert ("device was" if where == "environment" else "jax was") in caplog.text
    assert Flag.ENVIRONMENT_CHANGED in fitted.flags


def test_a_folder_means_its_newest_file(tmp_path):
    run("adam", 4, callbacks=[lddn.callbacks.Checkpoint(tmp_path, every=1)])
    assert_same_run(run("adam", 6, resume=tmp_path), run("adam", 6))


def test_a_damaged_newest_file_is_passed_over(tmp_path, caplog):
    """And moved out of the way, so that it is not the newest for ever."""
    checkpoint = lddn.callbacks.Checkpoint(tmp_path, every=1)
    run("adam", 4, callbacks=[checkpoint])
    newest = tmp_path / "epoch_000000004.npz"
    newest.write_bytes(newest.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "lddn_jax"):
        assert_same_run(run("adam", 6, callbacks=[checkpoint], resume=tmp_path), run("adam", 6))
    assert "resuming from an older checkpoint" in caplog.text
    assert (tmp_path / "epoch_000000004.npz.superseded").exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("net.npz", "holds a network, not a run"),
        ("absent.npz", "cannot be read"),
        ("empty", "without a checkpoint"),
    ],
)
def test_what_cannot_be_gone_on_from(tmp_path, source, words):
    lddn.save(tmp_path / "net.npz", lddn.Network(TOPOLOGY, init="zeros"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(lddn.CheckpointError, match=words):
        run("adam", 6, resume=tmp_path / source)


@pytest.mark.usefixtures("unchecked")
def test_a_number_is_not_a_saved_run():
    with pytest.raises(lddn.LDDNError, match="resume=3 is not a saved run") as caught:
        run("adam", 6, resume=3)
    assert type(caught.value) is lddn.LDDNError


@pytest.fixture(
    params=[
        pytest.param(lddn.Optax(ADAM), id="adam"),
        pytest.param(lddn.LevenbergMarquardt(restarts=2), id="lm restarts", marks=pytest.mark.deep),
    ]
)
def narx_run(request):
    """Trains over three horizons."""
    return partial(over_horizons, request.param)


def over_horizons(trainer, epochs, checkpoint=None, **more) -> lddn.ClosedLoop:
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (60, 1))
    data = lddn.Sequences({"u": u, "measured_y": jnp.tanh(u)}, jnp.tanh(u))
    return lddn.fit_closed_loop(net, data, trainer, (1, 2, 5), epochs=epochs, checkpoint=checkpoint, **more)


def test_horizons_go_on_where_they_were(narx_run, tmp_path):
    """Broken off in the middle of the second of three horizons."""
    checkpoint = lddn.callbacks.Checkpoint(tmp_path, every=1)

    seen = []

    def broken(state):
        seen.append(state.epoch)
        if len(seen) == 7:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        narx_run(5, checkpoint, callbacks=[broken])
    whole, resumed = narx_run(5), narx_run(5, checkpoint, resume=True)
    assert [stage.closed_loop for stage in resumed.stages] == [stage.closed_loop for stage in whole.stages]
    assert bits(resumed.net) == bits(whole.net)
    assert np.array_equal(resumed.history["loss"], whole.history["loss"])


def test_a_horizon_that_later_ones_depend_on_is_not_trained_further(narx_run, tmp_path):
    checkpoint = lddn.callbacks.Checkpoint(tmp_path, every=1)
    narx_run(2, checkpoint)
    with pytest.raises(lddn.CheckpointError, match="horizon 1 was trained with epochs=2, not 3"):
        narx_run(3, checkpoint, resume=True)
    longer = narx_run((2, 2, 4), checkpoint, resume=True)
    assert [len(stage.fitted.history["loss"]) for stage in longer.stages] == [2, 2, 4]
