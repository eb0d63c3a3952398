"""What a run is about: schedules and other functions are told by name, code and what they close over."""

import enum
import functools
import importlib
import math
import operator
import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.training.fingerprint import Identity

TOPOLOGY = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1)], [lddn.Connection("u", "y", (0, 1))], ["y"])
U = np.linspace(-1, 1, 12)[:, None]
RATE = 0.01


def halving(rate: float):
    """A schedule that closes over a number alone."""
    return lambda step: rate * 0.5**step


def bounded(rate: float):
    """One that closes over a module as well."""
    module = jnp
    return lambda step: module.maximum(rate * 0.5**step, 1e-6)


def train(schedule, epochs: int = 2, resume: Path | None = None) -> lddn.Fitted:
    trainer = lddn.Optax(optax.sgd(schedule))
    net = lddn.Network(TOPOLOGY, init="zeros")
    return lddn.fit(net, lddn.Sequences(U, U**2), lddn.losses.MeanSquaredError(), trainer, epochs=epochs, resume=resume)


@pytest.fixture
def saved(tmp_path):
    """Saves a run with a schedule, and returns the file."""

    def save(schedule) -> Path:
        lddn.save(tmp_path / "run.npz", train(schedule))
        return tmp_path / "run.npz"

    return save


def test_a_schedule_that_closes_over_a_module_takes_no_space(saved):
    alone, with_module = (saved(schedule(0.1)).stat().st_size for schedule in (halving, bounded))
    assert abs(with_module - alone) < 1024
    assert with_module < 20_000


@pytest.mark.parametrize("schedule", [halving, bounded])
def test_equal_closures_resume(saved, schedule):
    resumed = train(schedule(0.1), 4, saved(schedule(0.1)))
    whole = train(schedule(0.1), 4)
    assert np.array_equal(resumed.history["loss"], whole.history["loss"])


def test_a_lambda_written_in_the_call_resumes(saved):
    def call(epochs, resume=None):
        return train(lambda step: 0.1 * jnp.exp(-0.5 * step), epochs, resume)

    path = saved(halving(0.1)).with_name("call.npz")
    lddn.save(path, call(2))
    assert len(call(4, path).history["loss"]) == 4


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (bounded(0.2), r"\.rate was 0\.1 and is 0\.2"),
        (halving(0.1), r"bounded.*and is .*halving"),
        (optax.constant_schedule(0.1), r"bounded.*and is optax\.constant_schedule"),
    ],
    ids=["another number", "another function", "another library's"],
)
def test_another_schedule_is_another_run(saved, schedule, words):
    path = saved(bounded(0.1))
    with pytest.raises(lddn.CheckpointError, match=f"belongs to another run: .*{words}"):
        train(schedule, 4, path)


def differences(one, other) -> str:
    return Identity({"x": one}).changes(Identity({"x": other}))


def defined(code: str, **variables):
    """The function `f` of a user's module with these global variables."""
    module = types.ModuleType("of_a_user")
    module.__dict__.update(variables)
    exec(code, module.__dict__)
    return module.f


class Schedule:
    """An object of a user that is called."""

    def __init__(self, rate):
        self._rate = rate

    def __call__(self, step):
        return self._rate * step


class Slotted:
    __slots__ = ("rate",)

    def __init__(self, rate):
        self.rate = rate


class Kind(enum.Enum):
    FAST = 1
    SLOW = 2


def scaled(factor):
    """A decorator that closes over a number."""

    def decorate(function):
        @functools.wraps(function)
        def wrapper(step):
            return factor * function(step)

        return wrapper

    return decorate


def identity(step):
    return step


TOLD_APART = {
    "operator": (defined("f = lambda a, b: a + b"), defined("f = lambda a, b: a * b"), r"\(code\) differs"),
    "order": (defined("f = lambda a, b: a - b"), defined("f = lambda a, b: b - a"), r"\(code\) differs"),
    "comparison": (defined("f = lambda a: a < 3"), defined("f = lambda a: a > 3"), r"\(code\) differs"),
    "called function": (
        defined("f = lambda a: m.sin(a)", m=math),
        defined("f = lambda a: m.cos(a)", m=math),
        r"\(code\) differs",
    ),
    "number": (
        defined("f = lambda a: 2 * a"),
        defined("f = lambda a: 3 * a"),
        r"x \(numbers in its code\) was 2 and is 3",
    ),
    "number of an inner function": (
        defined("f = lambda a: (lambda b: 2 * b)(a)"),
        defined("f = lambda a: (lambda b: 3 * b)(a)"),
        "was 2 and is 3",
    ),
    "default": (defined("f = lambda a, r=2.5: a"), defined("f = lambda a, r=3.5: a"), r"x\.defaults\.0 was 2\.5"),
    "keyword": (defined("f = lambda *, r=2.5: r"), defined("f = lambda *, r=3.5: r"), r"x\.keywords\.r was 2\.5"),
    "global variable": (
        defined("f = lambda a: r * a", r=0.1),
        defined("f = lambda a: r * a", r=0.2),
        r"global of_a_user\.r was 0\.1 and is 0\.2",
    ),
    "function behind a global variable": (
        defined("f = lambda a: g(a)", g=defined("f = lambda a: 2 * a")),
        defined("f = lambda a: g(a)", g=defined("f = lambda a: 3 * a")),
        r"global of_a_user\.g .*was 2 and is 3",
    ),
    "decorator": (scaled(0.1)(identity), scaled(0.2)(identity), r"factor was 0\.1 and is 0\.2"),
    "compiled": (jax.jit(halving(0.1)), jax.jit(halving(0.2)), r"rate was 0\.1 and is 0\.2"),
    "method": (Schedule(0.1).__call__, Schedule(0.2).__call__, r"rate was 0\.1 and is 0\.2"),
    "field": (Schedule(0.1), Schedule(0.2), r"_rate was 0\.1 and is 0\.2"),
    "slot": (Slotted(0.1), Slotted(0.2), r"rate was 0\.1 and is 0\.2"),
    "enumeration": (Kind.FAST, Kind.SLOW, r"Kind\.FAST and is .*Kind\.SLOW"),
    "set": ({"a", "b"}, {"a", "c"}, "'b' and is 'c'"),
    "function in C": (operator.mul, operator.add, "mul and is .* add"),
    "function of NumPy": (np.sin, np.cos, "sin and is .* cos"),
    "function of JAX": (jnp.add, jnp.subtract, "add and is .* subtract"),
    "module": (math, np, "module math and is module numpy"),
}


@pytest.mark.parametrize(("one", "other", "words"), TOLD_APART.values(), ids=TOLD_APART)
def test_what_differs_is_named(one, other, words):
    assert re.search(words, differences(one, other))
    assert differences(one, one) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (defined("f = lambda a: 2 * a"), defined("\n\nf = (\n    lambda a: 2 * a  # twice\n)")),
        (defined("def f(a):\n    return 2 * a"), defined("def f(a):\n    '''Twice.'''\n    return 2 * a")),
        (defined("f = lambda a: a in {'p', 'q'}"), defined("f = lambda a: a in {'q', 'p'}")),
        (defined("f = lambda a: unset * a"), defined("f = lambda a: unset * a", other=3)),
        (functools.partial(halving(0.1), 2), functools.partial(halving(0.1), 2)),
        (Schedule(np.arange(3.0)), Schedule(np.arange(3.0))),
    ],
    ids=["comments", "docstring", "order of a set", "variables that it does not read", "partial", "equal arrays"],
)
def test_what_is_equal_is_the_same_run(one, other):
    assert differences(one, other) == ""


LIBRARY = """
VERSION = {version}

class Curve:
    def __init__(self, rate):
        self.rate, self._cache = rate, object() if VERSION > 1 else None

def curve(rate):
    if VERSION == 1:
        return lambda step: rate * step
    return lambda step, more=VERSION: rate * step ** 1 + more * 0
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Installs a version of a library."""

    def install(version: int):
        folder = tmp_path / f"version {version}" / "site-packages"
        folder.mkdir(parents=True)
        (folder / "some_library.py").write_text(LIBRARY.format(version=version), encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "some_library", raising=False)
        return importlib.import_module("some_library")

    yield install
    sys.modules.pop("some_library", None)


def test_the_version_of_a_library_does_not_matter(library):
    """Modules by name; functions of a library by name and what they close over; its objects by public fields."""

    def schedule(module, rate):
        of_library, curve = module.Curve(rate), module.curve(rate)
        return lambda step: module.VERSION * of_library.rate * curve(step)

    old, new = library(1), library(2)
    assert (old.VERSION, new.VERSION) == (1, 2)
    assert differences(schedule(old, 0.1), schedule(new, 0.1)) == ""
    changes = differences(schedule(old, 0.1), schedule(new, 0.2))
    assert "of_library.rate was 0.1 and is 0.2" in changes
    assert "curve.rate was 0.1 and is 0.2" in changes


def test_functions_that_call_each_other_are_described_once():
    """Thirty functions, each of which calls all others, have more paths than there is time for."""
    names = [f"f{k}" for k in range(30)]
    calls = " + ".join(f"{name}(a)" for name in names)
    f = defined("\n".join(f"def {name}(a): return {calls}" for name in names) + "\nf = f0")
    lines = Identity({"x": f}).lines
    assert {f"global of_a_user.{name}" for name in names[1:]} < set(lines)
    assert len(lines) < 100
