"""Reader for MATLAB and HDF5 files: variables become the columns of a `Table`, or of one table per cell.

    x = [1 2 3]  or  x = [1; 2; 3]       row or column vector: a column `x`
    X, samples × 2                       matrix: columns `X_1`, `X_2`; see `time_axis` for its axis of time
    s.x                                  field of a struct, or dataset in a group: a column `s.x`
    y = {y1, y2, y3}  or  runs(k).y      one record per cell: `records="y"`, `records="runs"` or `records="all"`

Files up to version 7 are read by SciPy. Files of version 7.3 are HDF5; they, and any other HDF5 file, need h5py
(`pip install 'lddn_jax[io]'`). Only real numbers are read. Reading takes place in a process of its own, with limits of
time and memory, because these libraries crash on some damaged files (`matfiles/reader/`). Variables that MATLAB
compressed, as it does by default, have checksums; damage within numbers that are not compressed cannot be noticed.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Literal, overload

from lddn_jax.data.file_kinds import LONGEST_HEAD, READERS, kind_of
from lddn_jax.data.matfiles.cell_records import cells_of
from lddn_jax.data.matfiles.mat_file import MatFile
from lddn_jax.data.matfiles.reader.contents import DamagedError, TooLargeError
from lddn_jax.data.matfiles.reader.reader_process import read_leaves
from lddn_jax.data.paths import bytes_of
from lddn_jax.data.tables import Table
from lddn_jax.errors import DataError, LDDNError, fix


@overload
def read_mat(
    path: str | PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    records: Literal[False, None] = None,
    transpose: bool | None = None,
) -> Table: ...
@overload
def read_mat(
    path: str | PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    records: str | Sequence[str] | Literal[True],
    transpose: bool | None = None,
) -> list[Table]: ...
def read_mat(
    path: str | PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    records: str | Sequence[str] | bool | None = None,
    transpose: bool | None = None,
) -> Table | list[Table]:
    """Reads columns from a MATLAB file, versions 4 to 7.3, or from any HDF5 file.

    Args:
        path: The file.
        columns: Columns or variables to read, in order: `"x"`, `"X_2"`, `"s.x"`, `"y{2}"`, or `"X"` for all columns of
            a matrix. None for all numeric variables except scalars; they must have one length.
        records: Cell arrays and struct arrays whose cells are records, by name; `"y{2}"` for one cell of them, `"all"`
            or True for all of them. Other variables are then skipped, unless they are named in `columns`, which adds
            them to every record.
        transpose: Whether time runs along the second axis of matrices, where the length of no other variable decides.
            None for the first axis if that is the longer one.

    Returns:
        A `Table`; with `records` a list of tables. Its `notes` say what was decided.

    Raises:
        DataError: If the file cannot be read, has no such column, or columns differ in length.
        LDDNError: If the file is HDF5 and h5py is not installed.
        ShapeError: If time may run along either axis of a matrix.

    Example:
        >>> import pathlib, tempfile, scipy.io, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "record.mat"
        ...     scipy.io.savemat(path, {"u": np.arange(4.0), "run": {"y": np.ones((2, 4))}})
        ...     table = read_mat(path)
        >>> table.names, len(table)
        (('u', 'run.y_1', 'run.y_2'), 4)
        >>> table.notes
        ('time runs along the second axis of run.y, 2-by-4',)
    """
    file = open_mat(path, columns, records=records, transpose=transpose)
    if not records:
        return file.table(columns)
    return [cell.table(columns) for cell in cells_of(file, records, columns)]


def open_mat(
    path: str | PathLike[str],
    names: Sequence[str] | None = None,
    *,
    records: str | Sequence[str] | bool | None = None,
    transpose: bool | None = None,
) -> MatFile:
    """Reads a file once.

    Args:
        path: The file.
        names: Columns that will be asked for; other large variables are not read. None for all.
        records: As in `read_mat`.
        transpose: As in `read_mat`.

    Raises:
        DataError: If the file cannot be read.
        LDDNError: If the file is HDF5 and h5py is not installed.
    """
    path = Path(path)
    kind = kind_of(bytes_of(path, "a .mat file", LONGEST_HEAD))
    if kind not in READERS:
        raise DataError(f"{path} is not a MATLAB file; it is {kind}.")
    if kind == "hdf5" and find_spec("h5py") is None:
        raise LDDNError(
            f"{path} is an HDF5 file, such as MATLAB's version 7.3, which needs h5py: pip install 'lddn_jax[io]'. Or "
            "save it in MATLAB with save(..., '-v7')."
        )
    try:
        leaves = read_leaves(path, kind, names)
    except DamagedError as error:
        raise DataError(
            f"{path} is damaged: {error}. Copy it again, save it again, save('record.mat', 'u', 'y'), or export a CSV "
            "file: writetable(t, 'record.csv')."
        ) from error
    except TooLargeError as error:
        columns = fix("columns=['u', 'y']", "--inputs u --targets y")
        raise DataError(
            f"{path} is too large or damaged: {error}. Name the columns, {columns}, or save only what you need, "
            "save('record.mat', 'u', 'y')."
        ) from error
    return MatFile(path, tuple(leaves), transpose)
