"""Reader for MATLAB .mat files: variables become the columns of a `Table`, or of one table per cell.

    x = [1 2 3]  or  x = [1; 2; 3]       row or column vector: a column `x`
    X, samples × 2                       matrix: columns `X_1`, `X_2`
    s.x                                  field of a struct: a column `s.x`
    y = {y1, y2, y3}  or  s(1).y, s(2).y  cell array or struct array, one record per cell: `records=True`

Files up to version 7 are read by SciPy. Files of version 7.3 are HDF5 and store matrices transposed; they need h5py
(`pip install 'lddn_jax[io]'`). Only numeric variables are read; text, dates and class objects are skipped.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import scipy.io
from jaxtyping import Float, Shaped

from lddn_jax.checks import did_you_mean
from lddn_jax.data.tables import Table
from lddn_jax.errors import DataError, LDDNError, ShapeError

HDF5 = b"\x89HDF\r\n\x1a\n"
PREAMBLE_BYTES = 512  # MATLAB's header before the HDF5 data


class Cells(list):
    """A cell array as a list of its converted cells."""


@overload
def read_mat(
    path: str | PathLike[str], columns: Sequence[str] | None = None, *, records: Literal[False] = False
) -> Table: ...
@overload
def read_mat(
    path: str | PathLike[str], columns: Sequence[str] | None = None, *, records: Literal[True]
) -> list[Table]: ...
def read_mat(
    path: str | PathLike[str], columns: Sequence[str] | None = None, *, records: bool = False
) -> Table | list[Table]:
    """Reads columns from a MATLAB .mat file, versions 4 to 7.3.

    Args:
        path: The file.
        columns: Columns or variables to read, in order: `"x"`, `"X_2"`, `"s.x"`, or `"X"` for all columns of a matrix.
            None for all numeric variables except scalars; they must have one length.
        records: Whether to read cell arrays and struct arrays, one record per cell. Other variables are then skipped,
            unless they are named in `columns`, which adds them to every record.

    Returns:
        A `Table`; with `records=True` a list of tables.

    Raises:
        DataError: If the file cannot be read, has no such column, or columns differ in length.
        LDDNError: If the file has version 7.3 and h5py is not installed.
        ShapeError: If a matrix has at least as many columns as rows, so that time may run along its second axis.

    Example:
        >>> import pathlib, tempfile, scipy.io
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "record.mat"
        ...     scipy.io.savemat(path, {"u": np.arange(4.0), "run": {"y": np.ones((4, 2))}})
        ...     table = read_mat(path)
        >>> table.names, len(table)
        (('u', 'run.y_1', 'run.y_2'), 4)
    """
    path = Path(path)
    variables = _variables(path)
    cells = {name: value for name, value in variables.items() if isinstance(value, Cells)}
    arrays = {name: value for name, value in variables.items() if not isinstance(value, Cells)}
    if not records:
        return _table(path, arrays, columns, cells)
    if not cells:
        raise DataError(f"{path} has no cell array with one cell per record; it has {_listed(variables)}.")
    named = [name for name in cells if columns is None or _names(name, columns)]
    lengths = {name: len(cells[name]) for name in named or cells}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{path}: cell arrays hold different numbers of records: {lengths}. Name those of one experiment: "
            "columns=[...]."
        )
    shared = {name: value for name, value in arrays.items() if columns is not None and _names(name, columns)}
    return [
        _table(path, shared | {name: cells[name][k] for name in named}, columns, {}, f", cell {k + 1}")
        for k in range(next(iter(lengths.values())))
    ]


def _table(
    path: Path,
    variables: Mapping[str, Float[np.ndarray, "..."]],
    columns: Sequence[str] | None,
    cells: Mapping[str, Any],
    where: str = "",
) -> Table:
    if columns is None:
        wanted = [name for name, value in variables.items() if value.size > 1]
    else:
        wanted = list(dict.fromkeys(_variable(path, name, variables, cells) for name in columns))
    found: dict[str, Float[np.ndarray, " time"]] = {}
    for name in wanted:
        found |= _columns(f"{path}{where}", name, variables[name])
    if columns is not None:
        found = {
            column: found[column] for name in columns for column in ([name] if name in found else _of(name, found))
        }
    if not found:
        hint = f" It has the cell arrays {list(cells)}: read_mat(path, records=True)." if cells else ""
        raise DataError(f"{path}{where} holds no vector or matrix of numbers.{hint}")
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}{where}: columns differ in length: {lengths}. Name those of one record: columns=[...].")
    return Table(found)


def _columns(path: str, name: str, value: Float[np.ndarray, "..."]) -> dict[str, Float[np.ndarray, " time"]]:
    """Splits a vector or matrix into columns."""
    if value.ndim > 2:
        raise ShapeError(
            f"{path}: variable {name!r} has shape {value.shape}; columns are read from vectors and matrices."
        )
    if min(value.shape, default=1) <= 1:
        return {name: value.ravel()}
    rows, count = value.shape
    if rows <= count:
        raise ShapeError(
            f"{path}: variable {name!r} is {rows}-by-{count}, which would be {rows} samples of {count} columns; rows "
            f"are samples. If time runs along the second axis, transpose it in MATLAB before saving: {name}.'; or "
            "omit it: columns=[...]."
        )
    return {f"{name}_{k + 1}": value[:, k] for k in range(count)}


def _variable(path: Path, name: str, variables: Mapping[str, Any], cells: Mapping[str, Any]) -> str:
    """The name of the variable that contains a column."""
    stem, _, number = name.rpartition("_")
    for candidate in (name, stem if number.isdigit() else name):
        if candidate in variables:
            return candidate
    if name in cells:
        raise DataError(f"{path}: {name!r} is a cell array, one record for each cell: read_mat(path, records=True).")
    raise DataError(f"{path} has no {name!r}; it has {_listed(variables)}.{did_you_mean(name, list(variables))}")


def _of(name: str, found: Mapping[str, Any]) -> list[str]:
    """The columns of a matrix; raises a DataError if there are none."""
    columns = [column for column in found if column.rpartition("_")[0] == name]
    if not columns:
        raise DataError(f"there is no column {name!r}; there are {', '.join(found)}.")
    return columns


def _names(variable: str, columns: Sequence[str]) -> bool:
    return any(variable in (name, name.rpartition("_")[0]) for name in columns)


def _listed(variables: Mapping[str, Any]) -> str:
    return ", ".join(variables) or "no numeric variable"


# ---- files ----------------------------------------------------------------------------------------------------------


def _variables(path: Path) -> dict[str, Any]:
    """All numeric variables by name; fields of structs as `struct.field`."""
    try:
        with path.open("rb") as file:
            begin = file.read(PREAMBLE_BYTES + len(HDF5))
    except FileNotFoundError:
        raise DataError(f"There is no file {path} (looked in {path.parent.resolve()}).") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Give the path of a .mat file.") from error
    is_hdf5 = begin.startswith(HDF5) or begin[PREAMBLE_BYTES:] == HDF5
    read: Callable[[Path], dict[str, Any]] = _of_version_73 if is_hdf5 else _of_version_7
    try:
        return read(path)
    except (LDDNError, MemoryError):
        raise
    except Exception as error:  # SciPy and h5py have no exception class for damaged files
        raise DataError(
            f"{path} is not a MATLAB file, or it is damaged ({type(error).__name__}: {error}). Save it "
            "again, save('record.mat', 'u', 'y'), or export a CSV file: writetable(t, 'record.csv')."
        ) from error


def _of_version_7(path: Path) -> dict[str, Any]:
    loaded = scipy.io.loadmat(path, squeeze_me=False, struct_as_record=True)
    return _flat({name: value for name, value in loaded.items() if not name.startswith("__")}, _unpacked)


def _unpacked(value: Any) -> Any:
    """Converts an array from SciPy: to numbers, a mapping of fields, cells, or None for anything else."""
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype.names:
        return {name: value[name].flat[0] if value.size == 1 else value[name] for name in value.dtype.names}
    if value.dtype == object:
        cells = [_unpacked(cell) for cell in value.ravel(order="F")]
        return Cells(cells) if cells and all(isinstance(cell, np.ndarray) for cell in cells) else None
    return _numbers(value)


def _of_version_73(path: Path) -> dict[str, Any]:
    try:
        import h5py
    except ImportError:
        raise LDDNError(
            f"{path} is a MATLAB file of version 7.3, which needs h5py: pip install 'lddn_jax[io]'. Or save it in "
            "MATLAB with save(..., '-v7')."
        ) from None
    with h5py.File(path, "r") as file:

        def unpacked(value):
            if isinstance(value, h5py.Group):
                return dict(value.items())
            if not isinstance(value, h5py.Dataset) or value.attrs.get("MATLAB_empty", 0):
                return None
            if h5py.check_ref_dtype(value.dtype) is not None:
                cells = [unpacked(file[reference]) for reference in np.ravel(value[()])]
                return Cells(cells) if cells and all(isinstance(cell, np.ndarray) for cell in cells) else None
            if value.attrs.get("MATLAB_class") == b"char":
                return None
            return _numbers(np.asarray(value[()]).T)  # MATLAB is column-major, HDF5 row-major

        return _flat({name: value for name, value in file.items() if not name.startswith("#")}, unpacked)


def _numbers(value: Shaped[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"] | None:
    return np.asarray(value, np.float64) if value.dtype.kind in "fiub" and value.size else None


def _flat(variables: Mapping[str, Any], unpacked: Callable[[Any], Any], prefix: str = "") -> dict[str, Any]:
    """Flattens structs to `struct.field` names and drops values that are not numeric."""
    found: dict[str, Any] = {}
    for name, value in variables.items():
        meaning = unpacked(value)
        if isinstance(meaning, Mapping):
            found |= _flat(meaning, unpacked, f"{prefix}{name}.")
        elif meaning is not None:
            found[prefix + name] = meaning
    return found
