"""Mistakes in files: what is not written, not checked, or not compared."""

from planting import alter, caught_by

from lddn_jax.storage import archive
from lddn_jax.training.bytecode import _tokens
from lddn_jax.training.checkpoint import _filled
from lddn_jax.training.fingerprint import _describe, _describe_function, _digest
from lddn_jax.training.fit import fit


@caught_by("test_resuming.py::test_two_halves_are_the_whole[adam, validated]")
def key_not_restored(monkeypatch):
    """A run resumes with another key, so mini-batches come in another order."""
    alter(monkeypatch, _filled, 'key=file.filled("key", key)', "key=jax.random.key(0)")


@caught_by("test_resuming.py::test_another_run_is_refused[changes0-topology.*delays.*was 1 and is 2]")
def changed_delays_not_noticed(monkeypatch):
    """A run resumes with other delays, where the weights fit all the same."""
    alter(monkeypatch, fit, '"topology": net.topology,', '"topology": net.topology.sizes,')


@caught_by("test_resuming.py::test_what_differs_is_told_apart[ndarray]")
def arrays_known_by_their_shape(monkeypatch):
    """Data of the same shape are the same data."""
    alter(monkeypatch, _digest, "value.tobytes()", "value.dtype.str.encode()")


@caught_by("test_fingerprint.py::test_a_schedule_that_closes_over_a_module_takes_no_space")
def modules_described_by_their_content(monkeypatch):
    """A checkpoint lists everything in the modules that a schedule uses, in the version that wrote it."""
    right, wrong = 'into[name] = f"module {value.__name__}"', "_describe_parts(name, vars(value), into, above)"
    alter(monkeypatch, _describe, right, wrong)


@caught_by("test_fingerprint.py::test_the_version_of_a_library_does_not_matter")
def code_of_libraries_compared(monkeypatch):
    """A newer optax is another run."""
    alter(monkeypatch, _describe_function, "if not _is_installed(", "if function or not _is_installed(")


@caught_by("test_fingerprint.py::test_what_differs_is_named[operator]")
def operators_not_compared(monkeypatch):
    """A sum and a product of the same values are the same function."""
    alter(monkeypatch, _tokens, 'step.argrepr.removesuffix("=")', '"operator"')


@caught_by("test_io.py::test_dates_and_seals_count_as_well[10]")
def seal_not_checked(monkeypatch):
    """A file is read whatever its seal says."""
    alter(monkeypatch, archive.read, "if sealed and seal != _seal(body):", "if sealed and len(seal) != _SEAL_LENGTH:")
