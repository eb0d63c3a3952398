"""What follows from the platform that a program is compiled for, and the one XLA flag."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax.numerics import platform
from lddn_jax.numerics.platform import CPU, CUDA, NETWORKS_IN_A_CPU_GROUP, Platform, by_platform, compiling_for
from lddn_jax.training.compiled import Course
from lddn_jax.training.trainer import Problem

OLD, NEW = (0, 11, 2), (0, 12, 0)
SSE = lddn.losses.SumSquaredError()

# --- programs lowered for another platform than that of the process ---------------------------------------------------


@pytest.fixture(scope="module")
def recurrent():
    """A network and data of which n̄ does not fit the cache of a core: 2700 steps of 520 bytes, in segments of 252."""
    net = lddn.Network(declare("u:1", "h:64:tanh y:1:linear", "u>h h>h@1 h>y", "y"), key=jax.random.key(0))
    u = jnp.zeros((2700, 1))
    assert lddn.plan(net.topology).segments(2700, 1, net.dtype.itemsize).length == 252
    return net, lddn.Sequences(u, u)


def value_and_grad(net, data):
    return lddn.value_and_grad(SSE, net, data, lddn.BPTT())


def predict(net, data):
    return lddn.predict(net, data.inputs)


def lowered(function, name, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(name,)).as_text()


def loops(program):
    return program.count("stablehlo.while")


@pytest.mark.parametrize("function", [value_and_grad, predict])
def test_a_program_for_a_gpu_has_no_barriers_and_no_segments(recurrent, function):
    """One loop over time forward, one backward; on a CPU they lie in loops over segments."""
    on_cpu, on_gpu = (lowered(function, name, *recurrent) for name in ("cpu", "cuda"))
    over_time = 2 if function is value_and_grad else 1
    assert "optimization_barrier" in on_cpu
    assert "optimization_barrier" not in on_gpu
    assert loops(on_gpu) == over_time < loops(on_cpu)


@pytest.mark.parametrize("name", ["cuda", "rocm", "tpu"])
def test_what_is_known_beforehand_is_what_is_chosen_later(recurrent, name):
    """No branch is left: the program for the platform alone, without the choice."""
    with compiling_for(Platform(name)):
        known = lowered(value_and_grad, name, *recurrent)
    assert "stablehlo.case" not in known
    assert "optimization_barrier" not in known
    assert loops(known) == loops(lowered(value_and_grad, name, *recurrent)) == 2


def test_programs_of_different_platforms_do_not_share_a_trace(recurrent):
    """A function that was traced for one platform is traced anew for another."""
    function = jax.jit(value_and_grad)
    found = []
    for where in (CPU, CUDA, None):
        with compiling_for(where):
            found.append(function.trace(*recurrent).lower(lowering_platforms=("cpu",)).as_text())
    assert ["optimization_barrier" in program for program in found] == [True, False, True]


@pytest.fixture(scope="module")
def restarts():
    """A step of Levenberg-Marquardt on more networks than a CPU takes side by side."""
    net = lddn.Network(declare("u:1", "h:2:tanh y:1:linear", "u>h h>h@1 h>y", "y"), key=jax.random.key(0))
    u = jnp.zeros((2, 5, 1))
    trainer = lddn.LevenbergMarquardt(restarts=NETWORKS_IN_A_CPU_GROUP + 3)
    problem = Problem.of(SSE, net, lddn.Sequences(u, u), lddn.RTRL())
    course = Course.of(trainer, problem, None, False)
    trained, state, key = course.first(net, jax.random.key(1))
    return course.step.trace(trained, state, key, np.uint32(0), np.ones(trainer.restarts, bool))


def test_restarts_on_a_gpu_are_all_side_by_side(restarts):
    """All systems of equations are solved at once, 11 of 8 parameters each; on a CPU 8, then 3."""
    on_cpu, on_gpu = (restarts.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda"))
    systems = [f"tensor<{count}x11x11xf64>" for count in (8, 3, 11)]
    assert [system in on_cpu for system in systems] == [True, True, False]
    assert [system in on_gpu for system in systems] == [False, False, True]


# --- one choice ------------------------------------------------------------------------------------------------------


def chosen(x):
    return by_platform(lambda p: p.name == "cpu", lambda cpu, x: x + 1 if cpu else x - 1, x)


@pytest.mark.parametrize(("where", "expected"), [(None, 2.0), (CPU, 2.0), (CUDA, 0.0), (Platform("tpu"), 0.0)], ids=str)
def test_the_target_decides_or_else_the_platform_that_runs_it(where, expected):
    with compiling_for(where):
        assert float(chosen(jnp.ones(()))) == float(jax.jit(chosen)(jnp.ones(()))) == expected


def test_a_choice_on_which_all_agree_is_traced_once():
    traced = []
    jax.jit(lambda x: by_platform(lambda p: 3, lambda k, x: traced.append(k) or x, x))(jnp.ones(()))
    assert traced == [3]


@pytest.mark.parametrize("transform", [jax.grad, jax.vmap, lambda f: jax.vmap(jax.grad(f)), jax.jacfwd])
def test_a_choice_stays_one_under_transformations(transform):
    x = jnp.ones(()) if transform in (jax.grad, jax.jacfwd) else jnp.ones(3)

    def function(x):
        return by_platform(lambda p: p.name == "cpu", lambda cpu, x: jnp.sin(x) if cpu else jnp.cosh(x), x)

    on_cpu, on_gpu = (lowered(transform(function), name, x) for name in ("cpu", "cuda"))
    assert ("cosh" in on_cpu, "cosh" in on_gpu, "sine" in on_gpu) == (False, transform is jax.vmap, False)
    np.testing.assert_allclose(jax.jit(transform(function))(x), transform(jnp.sin)(x), rtol=1e-15)


@pytest.mark.parametrize("where", [None, CPU, CUDA], ids=str)
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)], ids=str)
def test_one_at_a_time_is_vmap(where, axes):
    x, y = (jnp.arange(6.0).reshape(3, 2) if axis == 0 else jnp.arange(2.0) + k for k, axis in enumerate(axes))

    def function(x, y):
        return {"sum": x + y, "product": (x * y).sum()}

    with compiling_for(where):
        found = jax.jit(jax.vmap(platform.one_at_a_time(function), axes))(x, y)
    jax.tree.map(np.testing.assert_array_equal, found, jax.vmap(function, axes)(x, y))


@pytest.mark.parametrize(("name", "expected"), [("cpu", 1), ("cuda", 0)])
def test_one_at_a_time_is_a_loop_on_a_cpu_alone(name, expected):
    program = lowered(jax.vmap(platform.one_at_a_time(jnp.sin)), name, jnp.ones((3, 2)))
    assert loops(program) == expected


# --- which platform --------------------------------------------------------------------------------------------------

DEVICE = jax.devices("cpu")[0]


@pytest.mark.parametrize(
    "where",
    [
        (),
        (DEVICE,),
        (jax.sharding.Mesh(np.array([DEVICE]), "runs"),),
        (jax.sharding.SingleDeviceSharding(DEVICE),),
        ({"a": np.ones(2), "b": [jnp.ones(2)]},),
        ("words", None, 3),
    ],
    ids=["nothing", "device", "mesh", "sharding", "arrays", "no arrays"],
)
def test_the_platform_of(where):
    assert Platform.of(*where) == Platform("cpu")


class Described:
    """As much of a device as a platform is read from."""

    def __init__(self, platform, version=""):
        self.platform, self.client = platform, type("Client", (), {"platform_version": version})


@pytest.mark.parametrize(
    ("platform", "version", "name"),
    [("gpu", "PJRT C API\ncuda 12080", "cuda"), ("gpu", "rocm 60300", "rocm"), ("tpu", "", "tpu"), ("cpu", "", "cpu")],
)
def test_names_are_those_of_lowering(platform, version, name):
    assert Platform._of_device(Described(platform, version)) == Platform(name)


def test_a_platform_that_is_none():
    with pytest.raises(ValueError, match=r"'gpu'.*'cpu', 'cuda', 'rocm', 'tpu'"):
        Platform("gpu")


# --- the flag --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "version", "missing"),
    [
        (None, OLD, True),
        ("--xla_cpu_use_acceleration=1", OLD, True),
        (platform.FLAG, OLD, False),
        ("--xla_backend_extra_options=another_option=1", OLD, False),  # the user's own choice is not touched
        (None, NEW, False),
    ],
)
def test_where_the_flag_is_missing(flags, version, missing):
    assert platform.flag_missing({} if flags is None else {"XLA_FLAGS": flags}, version) is missing


def test_the_flag_is_added_to_those_of_the_user(monkeypatch):
    monkeypatch.setattr(
        platform, "flag_missing", lambda environment: platform.FLAG not in environment.get("XLA_FLAGS", "")
    )
    environment = {"XLA_FLAGS": "--xla_dump_to=somewhere"}
    platform.set_flag(environment)
    assert environment["XLA_FLAGS"] == f"--xla_dump_to=somewhere {platform.FLAG}"
    platform.set_flag(environment)
    assert environment["XLA_FLAGS"] == f"--xla_dump_to=somewhere {platform.FLAG}"
    empty = {}
    platform.set_flag(empty)
    assert empty == {"XLA_FLAGS": platform.FLAG}


def test_the_library_tells_once(monkeypatch, caplog):
    monkeypatch.setattr(platform, "flag_missing", lambda environment: True)
    platform._tell_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="lddn_jax"):
        with compiling_for(CUDA):
            platform.tell_of_the_flag()
        assert not caplog.records
        platform.tell_of_the_flag()
        platform.tell_of_the_flag()
    assert len(caplog.records) == 1
    assert platform.FLAG in caplog.text
