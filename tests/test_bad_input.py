"""Wrong calls, in a table by subject in `bad_input/`: each is told what was given and what to write, in no time.

In no time means before XLA compiles anything, which takes longer than all checks together.
"""

import importlib
import pkgutil
import re

import bad_input
import jax
import jax.numpy as jnp
import pytest
from bad_input.kit import kit as made

from lddn_jax.__main__ import main

SUBJECTS = [importlib.import_module(f"bad_input.{found.name}") for found in pkgutil.iter_modules(bad_input.__path__)]


def rows_of(kind):
    """Rows of all modules that have some of this kind: `rows` of calls, or `lines` of the command line."""
    return [row for subject in SUBJECTS if hasattr(subject, kind) for row in getattr(subject, kind)()]


CALLS, LINES = rows_of("rows"), rows_of("lines")
COMPILED = "/jax/core/compile/backend_compile_duration"


def as_parameters(rows):
    return [pytest.param(*row, id=name) for name, row in rows]


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    kit = made(tmp_path_factory.mktemp("bad_input"))
    for subject in SUBJECTS:
        added = subject.files(kit.folder) if hasattr(subject, "files") else {}
        assert not added.keys() & vars(kit).keys(), f"{subject.__name__} uses a name of another module"
        vars(kit).update(added)
    return kit


@pytest.fixture(scope="module")
def events():
    """Names of all events that JAX reports, as they come."""
    heard = []

    def listener(event, duration, **_):
        heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listener)
    yield heard
    jax.monitoring.unregister_event_duration_listener(listener)


@pytest.fixture
def compiled(kit, events):
    """Counts the programs that were compiled since the test began; nothing that others compiled is at hand."""
    jax.clear_caches()
    events.clear()
    return lambda: events.count(COMPILED)


def test_compiled_programs_are_counted(compiled):
    jnp.ones(3)
    assert compiled() > 0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "error", "words"), as_parameters(CALLS))
def test_a_wrong_call_is_told_at_once(call, error, words, kit, compiled):
    with pytest.raises(error) as caught:
        call(kit)
    assert compiled() == 0
    assert re.search(words, str(caught.value), re.DOTALL), caught.value


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("line", "words"), as_parameters(LINES))
def test_a_wrong_line_is_told_at_once(line, words, kit, compiled, capsys):
    try:
        code = main(line.format(**vars(kit)).split())
    except SystemExit as stop:  # of what argparse can tell
        code = stop.code
    assert code == 2
    assert compiled() == 0
    said = capsys.readouterr().err
    assert re.search(words, said, re.DOTALL), said


def test_the_table_is_long_and_its_words_are_not_generic():
    """Every message has to hold a name or value of the call, not just that something is wrong."""
    rows = [*CALLS, *LINES]
    assert len(rows) >= 80
    assert len({name for name, _ in rows}) == len(rows)
    assert not [name for name, row in rows if len(re.findall(r"\w+", row[-1])) < 2 and "'" not in row[-1]]
