"""Would the suite notice? The package is broken on purpose, in the ways that people get it wrong, and must be caught.

Each mistake (`planted/`, room by room) is planted in the real pieces of the package, and the test that is named beside
it is run and must fail. That test is one of the fast tier, so a plain `pytest` catches the mistake. That the usual
demonstration network misses most mistakes in BPTT shows that they are the subtle kind.
"""

import functools
import importlib

import jax
import pytest
from agreement import assert_method_agrees
from networks import BY_NAME, Case
from planted import gradients
from planting import MISTAKES, TESTS, assert_noticed, run_with
from tiers import in_tiers

for path in sorted((TESTS / "planted").glob("[a-z]*.py")):
    importlib.import_module(f"planted.{path.stem}")


@pytest.fixture
def run_one(request, tmp_path):
    """See `planting.run_with`."""
    conftest = request.config.pluginmanager.get_plugin(str(TESTS / "conftest.py"))
    return functools.partial(run_with, folder=tmp_path, conftest=conftest)


# Each takes a second or two. Every second one is planted in the fast tier, and with `--deep` all; the tests that they
# name are of the fast tier in any case.
@pytest.mark.parametrize(
    "mistake", in_tiers({str(mistake): mistake for mistake in MISTAKES}, fast=[str(m) for m in MISTAKES[::2]])
)
def test_a_mistake_is_noticed(mistake, run_one):
    assert_noticed(run_one(mistake.plant, mistake.test), mistake.test)


def test_many_mistakes_are_planted_and_each_is_another():
    assert len(MISTAKES) >= 34
    assert len({str(mistake) for mistake in MISTAKES}) == len(MISTAKES)


# --- the tests of the tests, tested -----------------------------------------------------------------------------------

STORIES = """
import pytest

def test_passes():
    assert True

def test_fails():
    assert 1 == 2

def test_expects_an_error():
    with pytest.raises(ValueError):
        pass

def test_breaks_down():
    None.nothing

@pytest.fixture
def broken():
    assert 1 == 2

def test_is_not_set_up(broken):
    pass

@pytest.mark.deep
def test_is_deep():
    assert 1 == 2

@pytest.mark.parametrize("number", [1, 2])
def test_is_two(number):
    assert 1 == 2
"""


@pytest.fixture
def stories(tmp_path):
    """A file of tests, of a name that no other one has: a module is imported once."""
    path = tmp_path / f"test_stories_of_{tmp_path.name}.py"
    path.write_text(STORIES)
    return path


def nothing(monkeypatch):
    """No mistake at all."""


@pytest.mark.parametrize("name", ["fails", "expects_an_error", "is_two[1]"])
def test_a_failing_assertion_is_how_a_test_notices(name, run_one, stories):
    assert_noticed(run_one(nothing, f"{stories}::test_{name}"), name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("passes", "passes, so it does not notice"),
        ("breaks_down", "ends with AttributeError"),
        ("is_not_set_up", "fails in its setup"),
        ("is_deep", "must name one test of the fast tier"),
        ("is_two", "must name one test of the fast tier"),
        ("was_renamed", "must name one test of the fast tier"),
    ],
)
def test_nothing_else_counts(name, why, run_one, stories):
    recorder = run_one(nothing, f"{stories}::test_{name}")
    with pytest.raises(AssertionError, match=why):
        assert_noticed(recorder, name)


@pytest.mark.deep
@pytest.mark.parametrize("test", sorted({mistake.test for mistake in MISTAKES}))
def test_what_notices_a_mistake_passes_without_it(test, run_one):
    """Here too, in a session within the session."""
    recorder = run_one(nothing, test)
    assert len(recorder.collected) == 1
    assert not recorder.raised


# --- a tame network ---------------------------------------------------------------------------------------------------

TAME = Case("tame", BY_NAME["narx-closed"].build, batch=(1,), at_rest=True)
BLIND = (
    gradients.initial_states_ignored,
    gradients.only_the_first_output,
    gradients.square_weight_not_transposed,
    gradients.batch_mean_for_batch_sum,
    gradients.slope_of_tanh_on_a_logistic_layer,
    gradients.output_slope_forgotten,
)


@pytest.fixture
def nothing_compiled_is_kept():
    jax.clear_caches()  # a program compiled before knows nothing of the mistake,
    yield
    jax.clear_caches()  # and one compiled with it must not outlive the test


@pytest.mark.parametrize(
    "mistake",
    [BLIND[0], *(pytest.param(mistake, marks=pytest.mark.deep) for mistake in BLIND[1:])],
    ids=lambda mistake: mistake.__name__.replace("_", "-"),
)
def test_a_tame_network_is_blind_to_it(mistake, monkeypatch, nothing_compiled_is_kept):
    # A closed NARX network, one sequence, zero state: the reason why the zoo is what it is.
    mistake(monkeypatch)
    assert_method_agrees(TAME, "BPTT")
