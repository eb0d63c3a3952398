"""How a mistake is planted in the package, and how the test that is to notice it is run.

The test runs as pytest runs it, in this process: a session within the session, without plugins of its own, collects
one test of the fast tier and runs it with the mistake planted. What it raises is kept.
"""

import dataclasses
import functools
import inspect
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import agreement
import jax
import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "lddn_jax"
ORACLE = (agreement.expected_gradient,)  # whose answers are no work of the package
NOTICED = (AssertionError, pytest.fail.Exception)  # the second is what `pytest.raises` has to say of no error


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A mistake and the test that notices it.

    Attributes:
        plant: Plants it, until a `MonkeyPatch` undoes it.
        test: The node of the test, `test_file.py::test_name[parameters]`.
    """

    plant: Callable[[pytest.MonkeyPatch], None]
    test: str

    def __str__(self):
        return f"{self.plant.__module__.rpartition('.')[2]}-{self.plant.__name__}".replace("_", "-")


MISTAKES: list[Mistake] = []


def caught_by(test: str):
    """Names the test that notices a mistake, and adds both to `MISTAKES`."""

    def add(plant):
        MISTAKES.append(Mistake(plant, test))
        return plant

    return add


def replace(monkeypatch, owner, name, broken):
    """Puts `broken(original, *args, **kwargs)` in the place of a function of a module or class."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: broken(original, *args, **kwargs))


def alter(monkeypatch, function, right, wrong):
    """Compiles a function of the package anew with `wrong` where its source says `right`, for all who call it."""
    function = inspect.unwrap(function)  # of what checks its annotations, and of `jax.jit`
    source, module = textwrap.dedent(inspect.getsource(function)), inspect.getsource(sys.modules[function.__module__])
    assert source.count(right) == 1, (
        f"{function.__module__}.{function.__qualname__} says {right!r} {source.count(right)} times, and must say it "
        "once for a mistake to be planted there. If the line was rewritten, plant the mistake in the new one."
    )
    whole = inspect.getsource(function)
    file = inspect.getfile(function)
    code = _within(compile(module.replace(whole, whole.replace(right, wrong)), file, "exec"), function.__qualname__)
    monkeypatch.setattr(function, "__code__", code)


def _within(code: CodeType, qualified_name: str) -> CodeType:
    inside = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for constant in reversed(inside):  # overloads come before what they are overloads of
        if constant.co_qualname == qualified_name:
            return constant
        if qualified_name.startswith(f"{constant.co_qualname}."):
            return _within(constant, qualified_name)
    raise AssertionError(f"no function {qualified_name} in {code.co_filename}")


@dataclasses.dataclass
class Recorder:
    """Plants a mistake once the tests are collected, and keeps what happens to them.

    Attributes:
        plant: Plants the mistake.
        collected: The tests that were collected.
        raised: What they raised, by phase: setup, call or teardown.
    """

    plant: Callable[[pytest.MonkeyPatch], None]
    collected: list[str] = dataclasses.field(default_factory=list)
    raised: dict[str, BaseException] = dataclasses.field(default_factory=dict)

    def pytest_collection_finish(self, session):
        self.collected += [item.nodeid for item in session.items]
        if len(session.items) > 1:
            session.items.clear()

    # Modules of tests compute some values while they are imported, which is before this, and must find nothing broken.
    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self):
        _forget()
        with pytest.MonkeyPatch.context() as monkeypatch:
            try:
                self.plant(monkeypatch)
            except AssertionError as error:  # where a rewritten line is not found: told by `assert_noticed`
                self.raised["plant"] = error
            try:
                return (yield)
            finally:
                _forget()

    def pytest_runtest_makereport(self, call):
        if call.excinfo is not None:
            self.raised[call.when] = call.excinfo.value


def found(test: str) -> Path:
    """The path of a test that is given without its folder, with what follows the file's name."""
    file, colons, rest = test.partition("::")
    if Path(file).is_absolute():
        return Path(test)
    (path,) = TESTS.rglob(file)
    return path.with_name(f"{path.name}{colons}{rest}")


def run_with(plant, test: str, folder: Path, conftest) -> Recorder:
    """Runs one test of the fast tier with a mistake planted.

    Args:
        plant: Plants the mistake.
        test: Its file's name, wherever that lies below the folder of tests, and its node.
        folder: An empty one, for the temporary files of the test.
        conftest: The module `conftest.py` as it was imported; importing it again would set up JAX again.
    """
    recorder = Recorder(plant)
    options = ["-q", "-s", "--noconftest", f"--rootdir={TESTS.parent}", f"--basetemp={folder / 'temporary'}"]
    options += ["-o", "addopts=", "-o", f"cache_dir={folder / 'cache'}"]
    # What these do belongs to the process: they would undo what they did for the outer session.
    options += [f"-p no:{name}" for name in ("faulthandler", "unraisableexception", "threadexception")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
        ended = pytest.main([*options, str(found(test))], plugins=[conftest, recorder])
    if ended == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return recorder


def assert_noticed(recorder: Recorder, test: str) -> None:
    """Asserts that the one test that was asked for ran, and that its own assertion failed."""
    assert len(recorder.collected) == 1, (
        f"{test} must name one test of the fast tier, with its parameters; pytest found {recorder.collected}. If it "
        "was renamed or marked deep, name another test that notices the mistake, or write one."
    )
    assert recorder.raised, f"{test} passes, so it does not notice the mistake"
    (phase, error), *_ = recorder.raised.items()
    assert phase == "call", f"{test} fails in its {phase}, and not by an assertion of its own: {error!r}"
    assert isinstance(error, NOTICED), f"{test} ends with {error!r}, and not with a failed assertion: plant it better"


def _forget() -> None:
    """Forgets compiled programs and cached results, which would hide a mistake, or outlive it."""
    jax.clear_caches()
    ours = (f"{TESTS}{os.sep}", f"{PACKAGE}{os.sep}")
    for module in list(sys.modules.values()):
        if str(getattr(module, "__file__", None)).startswith(ours):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper) and value not in ORACLE:
                    value.cache_clear()
