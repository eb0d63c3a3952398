"""Mistakes in files: what is not written, not checked, or not compared."""

from planting import alter, caught_by

from lddn_jax.storage import archive
from lddn_jax.training.checkpoint import _filled
from lddn_jax.training.fingerprint import _digest
from lddn_jax.training.fit import fit


@caught_by("test_resuming.py::test_two_halves_are_the_whole[adam, validated]")
def key_not_restored(monkeypatch):
    """A run goes on with another key, so mini-batches come in another order."""
    alter(monkeypatch, _filled, 'key=file.filled("key", key)', "key=jax.random.key(0)")


@caught_by("test_resuming.py::test_another_run_is_refused[changes0-topology.*delays.*was 1 and is 2]")
def changed_delays_not_noticed(monkeypatch):
    """A run goes on with other delays, where the weights fit all the same."""
    alter(monkeypatch, fit, '"topology": net.topology,', '"topology": net.topology.sizes,')


@caught_by("test_resuming.py::test_what_differs_is_told_apart[ndarray]")
def arrays_known_by_their_shape(monkeypatch):
    """Data of the same shape are the same data."""
    alter(monkeypatch, _digest, "value.tobytes()", "value.dtype.str.encode()")


@caught_by("test_io.py::test_dates_and_seals_count_as_well[10]")
def seal_not_checked(monkeypatch):
    """A file is read whatever its seal says."""
    alter(monkeypatch, archive.read, "if sealed and seal != _seal(body):", "if sealed and len(seal) != _SEAL_LENGTH:")
