"""What the operating system says about files arrives in words that fit, and nothing that was there before is lost."""

import errno
import logging
import os
from types import SimpleNamespace

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.storage.archive import temporary_prefix, write_atomically
from lddn_jax.storage.file_errors import described

WORDS = {
    errno.ENOSPC: "disk is full. Free some space",
    errno.EDQUOT: "quota",
    errno.EROFS: "file system is read-only. Choose a folder",
    errno.EACCES: "permission is denied",
    errno.EISDIR: "it is a folder. Give the name of a file",
    errno.ENOTDIR: "part of its path is a file",
    errno.EEXIST: "a file of this name is in the way",
    errno.ENAMETOOLONG: "name is too long",
    errno.ELOOP: "links lead in a circle",
    errno.ENOENT: "Make the folder first",
    errno.EIO: "Input/output error",
}


@pytest.mark.parametrize("number", WORDS, ids=errno.errorcode.get)
def test_a_file_that_cannot_be_written_keeps_its_content(number, tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "net.npz"
    path.write_bytes(b"before")
    monkeypatch.setattr("lddn_jax.storage.archive.os.fsync", fail)
    with pytest.raises(lddn.LDDNError, match=f"net.npz could not be written: .*{WORDS[number]}"):
        write_atomically(path, b"after")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"net.npz": b"before"}


TABLE = lddn.data.Table({"u": np.arange(3.0)})
HISTORY = lddn.training.history.History({"loss": [1.0], "seconds": [0.1]})


@pytest.mark.parametrize(
    "write", [TABLE.to_csv, HISTORY.to_csv, lddn.Comparison(()).to_csv], ids=["table", "history", "comparison"]
)
def test_tables_are_written_whole_or_not_at_all(write, tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "table.csv"
    path.write_text("before")
    monkeypatch.setattr("lddn_jax.storage.archive.os.fsync", fail)
    with pytest.raises(lddn.LDDNError, match="disk is full"):
        write(path)
    assert path.read_text() == "before"


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "net.npz").mkdir()
    with pytest.raises(lddn.LDDNError, match=r"net\.npz could not be written: it is a folder"):
        write_atomically(tmp_path / "net.npz", b"")
    with pytest.raises(lddn.CheckpointError, match=r"net\.npz cannot be read: it is a folder"):
        lddn.load(tmp_path / "net.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


@pytest.mark.parametrize("length", [246, 255])
@pytest.mark.parametrize("letter", ["n", "é"])
def test_long_names_are_written(length, letter, tmp_path):
    """A temporary name next to them is not longer."""
    name = letter * ((length - 4) // len(letter.encode())) + ".npz"
    write_atomically(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"
    assert temporary_prefix(tmp_path / name).startswith("." + letter)


def test_names_that_are_too_long_say_so(tmp_path):
    with pytest.raises(lddn.LDDNError, match=r"name is too long.*255 bytes") as caught:
        write_atomically(tmp_path / ("n" * 300), b"")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["a\0b.npz", "a\ud800.npz"], ids=["NUL", "surrogate"])
def test_names_that_are_none(name, tmp_path):
    for call in (lambda path: write_atomically(path, b""), lddn.load, lambda path: write_atomically(f"{path}/x", b"")):
        with pytest.raises(lddn.LDDNError, match=r"a\\(x00|ud800).*not a valid path.*Use another name") as caught:
            call(tmp_path / name)
        assert str(caught.value).isprintable()


def test_an_error_of_a_library_is_one_line():
    error = OSError(errno.ENOENT, os.strerror(errno.ENOENT), "a\nb.csv")
    assert described(error) == r"a\nb.csv: there is no such file or folder. Check the path."
    assert described(OSError("no number")) == "no number. Choose another path."


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [lddn.callbacks.CSVLog, lddn.callbacks.JSONLinesLog])
def test_a_log_on_a_full_disk_ends_and_training_continues(kind, tmp_path, caplog):
    """`/dev/full` takes no byte."""
    if not os.path.exists("/dev/full"):
        pytest.skip("of Linux")
    log, state = kind("/dev/full"), SimpleNamespace(rows=[{"loss": 1.0}], epoch=1)
    with caplog.at_level(logging.ERROR, "lddn_jax"):
        log.on_start(state)
        log.on_step(state)
        log.on_end(state)
    assert [record.getMessage() for record in caplog.records] == [
        "no log after epoch 1, training continues: /dev/full could not be written: the disk is full. Free some space, "
        "or choose another folder."
    ]
