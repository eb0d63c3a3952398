"""Folders and files that cannot be used: taken by another training, in the way, too long, or none at all."""

import atexit
from types import SimpleNamespace

import lddn_jax as lddn
from lddn_jax.storage.folder_lock import FolderLock

FIT = "fit {csv} --inputs u --targets y --out"
LINES = {
    "topology at NUL": ("check a\0b.json", r"a\\x00b\.json is not JSON of a topology: embedded null byte"),
    "folder of another process": (f"{FIT} {{held}}", "held is in use by this process.*choose another --out"),
    "compare in a folder of another process": (
        "compare {csv} --targets y --out {held}",
        "held is in use by this process.*choose another --out",
    ),
    "plant in a folder of another process": ("maglev --out {held}", "held is in use.*choose another --out"),
    "file for a folder": (f"{FIT} {{csv}}", "record.csv could not be written: a file of this name is in the way"),
    "file within the path": (f"{FIT} {{csv}}/out", "record.csv could not be written: a file of this name"),
    "compare into a file": ("compare {csv} --targets y --out {csv}", "record.csv could not be written: a file of this"),
    "checkpoints that are a file": (f"{FIT} {{crossed}}", "checkpoints is a file.*Move the file, or.*--out"),
    "resumed from a file": (f"{FIT} {{crossed}} --resume", "checkpoints is a file.*Move the file, or.*--out"),
    "folder with a long name": (f"{FIT} {{folder}}/{'n' * 300}", "nnn…nnn.*name is too long.*255 bytes"),
    "folder for a page": ("report {csv} --model {model} --out {folder}", "--out .* is a folder.*report.html"),
    "folder for a model": ("predict {csv} --model {folder}", "cannot be read: it is a folder. Give the name of a file"),
    "folder for a topology": ("check {folder}", "it is a folder. Give the name of a file"),
}


START = SimpleNamespace(epoch=0, rows=[], flags=frozenset())  # of a training, which would compile before it


def trained(folder):
    return lambda k: lddn.callbacks.Checkpoint(folder(k)).on_start(START)


def logged(kind, path):
    return lambda k: kind(path(k)).on_start(START)


CALLS = {
    "checkpoints in a file": (trained(lambda k: k.csv), r"record\.csv could not be written: a file of this name"),
    "checkpoints within a file": (trained(lambda k: k.csv / "run"), r"part of its path is a file, not a folder"),
    "checkpoints of another training": (trained(lambda k: k.held), r"held is in use.*Checkpoint\('runs/second'\)"),
    "checkpoints at NUL": (trained(lambda k: k.folder / "a\0b"), r"a\\x00b could not be written: it is not a valid"),
    "log in a folder": (logged(lddn.callbacks.CSVLog, lambda k: k.folder), r"it is a folder\. Give the name of a file"),
    "log in no folder": (
        logged(lddn.callbacks.JSONLinesLog, lambda k: k.folder / "absent" / "log.jsonl"),
        r"log\.jsonl could not be written.*Make the folder first",
    ),
    "network in a folder": (lambda k: lddn.save(k.folder, k.net), r"it is a folder\. Give the name of a file"),
    "network at NUL": (lambda k: lddn.save("a\0b.npz", k.net), r"a\\x00b\.npz could not be written.*Use another name"),
    "network of a long name": (lambda k: lddn.save(k.folder / ("n" * 256), k.net), r"nnn could not.*255 bytes"),
    "load of a folder": (lambda k: lddn.load(k.folder), r"it is a folder\. Give the name of a file"),
    "load at NUL": (lambda k: lddn.load("a\0b.npz"), r"a\\x00b\.npz cannot be read.*Use another name"),
    "load of half a letter": (lambda k: lddn.load("\ud800.npz"), r"\\ud800\.npz cannot be read.*Use another name"),
    "resume at NUL": (
        lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, resume="a\0b"),
        r"a\\x00b cannot be read.*not a valid path",
    ),
}


def rows():
    yield from ((f"files: {name}", (call, lddn.LDDNError, words)) for name, (call, words) in CALLS.items())


def lines():
    yield from ((f"files: {name}", row) for name, row in LINES.items())


def files(folder):
    """A folder that is in use until the tests end, and one whose checkpoints are a file."""
    for name in ("held", "crossed"):
        (folder / name).mkdir()
    (folder / "crossed" / "checkpoints").write_text("")
    lock = FolderLock(folder / "held", "choose another folder")
    lock.acquire()
    atexit.register(lock.release)
    return {"held": folder / "held", "crossed": folder / "crossed"}
