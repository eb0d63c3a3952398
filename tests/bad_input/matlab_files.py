"""MATLAB and HDF5 files that are not what they are taken for, and columns that they do not have."""

import sys
from unittest import mock

import h5py
import numpy as np
import scipy.io

import lddn_jax as lddn
from lddn_jax import DataError, ShapeError
from lddn_jax.data import Reading, Record

STEPS = np.arange(30.0)
PAIR = np.stack([STEPS, STEPS**2])
HEADS = {
    "zipped": b"PK\x03\x04" + bytes(40),
    "gzipped": b"\x1f\x8b" + bytes(40),
    "numpy": b"\x93NUMPY" + bytes(40),
    "page": b"<!DOCTYPE html><html></html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "octave": b"Octave-1-L" + bytes(40),
    "text": b"u,y\n1,2\n3,4\n",
    "nothing": b"",
    "noise": bytes(range(256)) * 8,
    "headless": b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM",
}


def files(folder):
    """Files by short names; what is called a kind of file is not a .mat file but has its extension."""
    made = {}
    for name, content in HEADS.items():
        (folder / f"{name}.mat").write_bytes(content)
        made[f"mat_{name}"] = folder / f"{name}.mat"
    cells = np.zeros((2, 3), object)
    for place in np.ndindex(2, 3):
        cells[place] = STEPS
    unequal = np.zeros((2, 2), object)
    unequal[0, 0], unequal[0, 1], unequal[1, 0], unequal[1, 1] = STEPS, STEPS[:4], STEPS[:3], STEPS[:2]
    for name, variables in {
        "mat": {"u": STEPS, "y": STEPS, "short": STEPS[:5], "word": "text", "z": 1j * STEPS, "none": np.zeros((0, 0))},
        "mat_pair": {"data": PAIR},
        "mat_struct": {"run": {"u": STEPS, "y": STEPS}, "old": {"u": STEPS}},
        "mat_cells": {"c": cells, "d": cells[0], "e": cells[:, 0], "f": unequal, "u": STEPS},
        "mat_cube": {"u": STEPS, "y": np.zeros((30, 2, 2))},
    }.items():
        scipy.io.savemat(folder / f"made_{name}.mat", variables)
        made[name] = folder / f"made_{name}.mat"
    whole = made["mat"].read_bytes()
    made["mat_cut"], made["mat_as_csv"] = folder / "cut.mat", folder / "renamed.csv"
    made["mat_cut"].write_bytes(whole[:-100])
    made["mat_as_csv"].write_bytes(whole)
    made["h5"] = folder / "made.h5"
    with h5py.File(made["h5"], "w") as file:
        file["u"], file["run/u"], file["run2/u"], file["y"] = STEPS, STEPS, STEPS, STEPS
        file["outside"] = h5py.ExternalLink("other.h5", "/u")
        file.create_dataset("vast", (10**12,), "f8", chunks=(1000,))
    made["mat_folder"] = folder / "folder.mat"
    made["mat_folder"].mkdir()
    return made


def of(name, inputs=("u",), targets=("y",), **options):
    """A record of a file, read here and not in a process of its own."""

    def call(k):
        with mock.patch.object(sys, "frozen", True, create=True):
            Record.of(getattr(k, name), list(inputs), list(targets), reading=Reading(**options))

    return call


def read(name, *arguments, **options):
    """Columns of a file, likewise."""

    def call(k):
        with mock.patch.object(sys, "frozen", True, create=True):
            lddn.data.read_mat(getattr(k, name), *arguments, **options)

    return call


ROWS = {
    "ZIP archive": (of("mat_zipped"), DataError, r"zipped\.mat is not a MATLAB file; it is a ZIP archive.*unpack"),
    "gzip": (of("mat_gzipped"), DataError, r"gzipped\.mat .*compressed by gzip: unpack"),
    "NumPy": (of("mat_numpy"), DataError, r"numpy\.mat .*an array of NumPy: load it by np\.load"),
    "web page": (of("mat_page"), DataError, r"page\.mat .*a web page.*download it again"),
    "Git LFS": (of("mat_pointer"), DataError, r"pointer\.mat .*Git LFS.*git lfs pull"),
    "Octave": (of("mat_octave"), DataError, r"octave\.mat .*Octave: save it there with save -v7"),
    "text": (of("mat_text"), DataError, r"text\.mat .*it is text.*extension \.csv"),
    "zero bytes": (of("mat_nothing"), DataError, r"nothing\.mat .*empty \(0 bytes\)"),
    "noise": (of("mat_noise"), DataError, r"noise\.mat .*neither a MATLAB nor an HDF5 file"),
    "7.3 without data": (of("mat_headless"), DataError, r"headless\.mat .*version 7\.3 without its data"),
    "truncated": (of("mat_cut"), DataError, r"cut\.mat is damaged: .*claims \d+ bytes, but only \d+ follow"),
    "folder": (of("mat_folder"), DataError, r"folder\.mat is a folder\. Give the path of a \.mat file"),
    "absent": (
        lambda k: lddn.data.read_mat(k.folder / "made_mta.mat"),
        DataError,
        r"no file .*made_mta.*'made_mat\.mat'",
    ),
    "path with a zero byte": (lambda k: lddn.data.read_mat("a\0b.mat"), DataError, r"a\\x00b\.mat cannot be the path"),
    "path too long": (lambda k: lddn.data.read_mat("a" * 5000 + ".mat"), DataError, r"^.{0,400}File name too long"),
    ".mat as .csv": (of("mat_as_csv"), DataError, r"renamed\.csv is a MATLAB or HDF5 file.*must end in \.mat"),
    "misspelt": (of("mat", ["uu"]), DataError, r"no 'uu'; it has u, y, short.*Did you mean 'u'"),
    "text variable": (of("mat", ["word"]), DataError, r"'word' is not an array of real numbers, but text"),
    "complex": (of("mat", ["z"]), DataError, r"'z' .*complex numbers.*re = real\(z\)"),
    "empty variable": (of("mat", ["none"]), DataError, r"'none' is empty"),
    "another length": (of("mat", ["short"]), ShapeError, r"'short': 5, 'y': 30.*Cut all"),
    "all of other lengths": (read("mat"), DataError, r"differ in length: u: 30, y: 30, short: 5.*columns="),
    "two rows": (of("mat_pair", ["data_1"], ["data_2"]), ShapeError, r"'data' is 2-by-30.*transpose=True"),
    "third of two": (
        of("mat_pair", ["data_1"], ["data_3"], transpose=True),
        DataError,
        r"no column 'data_3'; data is 2-by-30",
    ),
    "third column": (of("mat_pair", ["data(3,:)"], ["data_1"]), DataError, r"no column 'data\(3,:\)'; data is 2-by-30"),
    "struct": (of("mat_struct", ["run"]), DataError, r"'run' is a struct; name one of its fields: run\.u, run\.y"),
    "field of two structs": (of("mat_struct"), DataError, r"'u' more than once: run\.u, old\.u.*full name"),
    "three axes": (of("mat_cube"), DataError, r"'y' .*an array of 3 axes, 30-by-2-by-2"),
    "cells": (of("mat_cells", ["d"], ["u"]), DataError, r"'d' is a cell array.*records='d'.*'d\{1\}'"),
    "records of no cells": (of("mat", records="u"), DataError, r"no cell array u with one cell.*it has u, y"),
    "cells of other numbers": (
        read("mat_cells", ["d", "e"], records="all"),
        DataError,
        r"different numbers of records: d: 3, e: 2",
    ),
    "cells in two ways": (read("mat_cells", ["c"], records="c"), ShapeError, r"'c' is 2-by-3.*2 records of 3 signals"),
    "cells in no way": (read("mat_cells", ["f"], records="f"), DataError, r"'f' agree in length neither.*'f\{1,1\}'"),
    "fourth of three cells": (read("mat_cells", ["d"], records="d{4}"), DataError, r"d has no cell 4.*there are 3"),
    "cell number zero": (read("mat_cells", ["d"], records="d{0}"), DataError, r"d has no cell 0.*there are 3"),
    "a column of 5000 digits": (of("mat", ["y_" + "9" * 5000]), DataError, r"^.{0,400}has no 'y_9.{0,400}it has u, y"),
    "a cell of 5000 digits": (of("mat_cells", [], ["d"], records=f"d{{{'9' * 5000}}}"), DataError, "no cell array"),
    "many records for one": (of("mat_cells", [], ["d"], records="d"), DataError, r"holds 3 records.*y\{2\}"),
    "external link": (of("h5", ["outside"]), DataError, r"'outside' .*a link to another file.*store the numbers"),
    "vast dataset": (of("h5", ["vast"]), DataError, r"'vast' claims 1,000,000,000,000 elements, 7,450\.6 GiB"),
    "group": (of("h5", ["run"]), DataError, r"'run' is a struct; name one of its fields: run\.u"),
    "dataset that is not there": (of("h5", ["run/y"]), DataError, r"no 'run/y'; it has .*run\.u"),
    "reading in words": (of("mat", transpose="yes"), DataError, r"transpose='yes' must be True, False or None"),
    "records as a number": (of("mat", records=2), DataError, r"records=2 must be the name of a cell array"),
}
FIT = "--out {folder}/mat_out --inputs"
LINES = {
    "time axis": (f"fit {{mat_pair}} {FIT} data_1 --targets data_2", r"'data' is 2-by-30.*Write --transpose .*--no-tr"),
    "cells": (f"fit {{mat_cells}} {FIT} u --targets d", "'d' is a cell array.*--records d"),
    "two-dimensional cells": (
        f"fit {{mat_cells}} {FIT} c_1 --targets c_2 --records c",
        "2-by-3.*--transpose if its",
    ),
    "misspelt": (f"fit {{mat}} {FIT} uu --targets y", "no 'uu'; it has u, y.*Did you mean 'u'"),
    "truncated": (f"fit {{mat_cut}} {FIT} u --targets y", r"cut\.mat is damaged.*Copy it again"),
    "vast": (f"fit {{h5}} {FIT} vast --targets y", "'vast' claims 1,000,000,000,000.*--inputs u --targets y"),
    "two records to predict": ("predict {mat_cells} --model {model} --records d", "holds 3 records|no 'u'|has no 'y'"),
    "compare": ("compare {mat_pair} --targets data_1 --out {folder}/mat_out", "'data' is 2-by-30.*--transpose"),
    "report": ("report {mat_struct} --model {model} --out {folder}/r.html", "'u' more than once: run.u, old.u"),
    "transpose with a value": (f"fit {{mat_pair}} {FIT} data_1 --targets data_2 --transpose=yes", "--transpose.*'yes'"),
}


def rows():
    yield from ((f"MATLAB file: {name}", row) for name, row in ROWS.items())


def lines():
    yield from ((f"command line with a MATLAB file: {name}", row) for name, row in LINES.items())
