"""Reading of MATLAB files of versions 4 to 7 by SciPy, after `elements` has checked their structure."""

import math
import warnings
from typing import Any

import numpy as np
import scipy.io
import scipy.io.matlab
import scipy.sparse

from lddn_jax.data.matfiles.reader.contents import (
    LIMIT_BYTES,
    Cells,
    DamagedError,
    Fields,
    Leaf,
    LeftOut,
    Unread,
    Wanted,
    by,
    leaves,
)
from lddn_jax.data.matfiles.reader.elements import check_version_4, check_version_5


def read_version_5(path: str, wanted: Wanted) -> list[Leaf]:
    """Reads the variables of a file.

    Args:
        path: The file.
        wanted: Which variables to read.

    Raises:
        DamagedError: If the file contradicts itself.
        TooLargeError: If the variables exceed the limits.
    """
    with open(path, "rb") as file:
        check = check_version_4 if 0 in file.read(4) else check_version_5  # a file of version 5 begins with text
    claims = check(path)
    arrays = {claim.name: claim.shape for claim in claims if claim.is_numeric and claim.name}
    nested = {claim.name for claim in claims if not claim.is_numeric and claim.name}
    chosen = {name for name, shape in arrays.items() if wanted.array(name, math.prod(shape))}
    chosen |= wanted.nested(nested, arrays)
    check(path, chosen.__contains__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that occur twice: the last one counts
        loaded = scipy.io.loadmat(
            path,
            variable_names=sorted(chosen),
            squeeze_me=False,
            struct_as_record=True,
            chars_as_strings=False,
        )
    found = []
    for name in dict.fromkeys(claim.name for claim in claims):
        if name in chosen and name in loaded:
            found += leaves(name, _converted(loaded[name]))
        elif name in arrays:
            found += leaves(name, Unread(arrays[name]))
    return found


def _converted(value: Any) -> Any:
    """An array from SciPy as numbers, `Fields`, `Cells` or `LeftOut`."""
    if isinstance(value, scipy.io.matlab.MatlabFunction):
        return LeftOut("a function handle")
    if isinstance(value, scipy.io.matlab.MatlabOpaque):
        return LeftOut(_class_of(value))
    if scipy.sparse.issparse(value):
        return _dense(value)
    if not isinstance(value, np.ndarray):
        return LeftOut("data that SciPy cannot read")
    if value.dtype.names:
        if value.size == 1:
            return Fields({name: _converted(value[name].flat[0]) for name in value.dtype.names})
        return Fields({name: Cells(_each(value[name]), is_struct=True) for name in value.dtype.names})
    return Cells(_each(value)) if value.dtype == object else value


def _each(elements: np.ndarray) -> np.ndarray:
    converted = np.full(elements.shape, None, object)
    for place in np.ndindex(elements.shape):
        converted[place] = _converted(elements[place])
    return converted


def _class_of(value: Any) -> str:
    """The class of an object, such as "table"."""
    names = value.dtype.names or ()
    found = value["s2"].flat[0] if "s2" in names and value.size else b""
    text = found.decode("latin-1") if isinstance(found, bytes) else str(found)
    return text if text.isidentifier() else "object"


def _dense(matrix: Any) -> Any:
    """A sparse matrix as an array; SciPy does not check that its indices lie within it."""
    rows, columns = matrix.shape
    if rows * columns * 8 > LIMIT_BYTES:
        return LeftOut(f"a sparse matrix, {by(matrix.shape)}")
    matrix = matrix.tocsc() if matrix.format == "coo" else matrix
    pointers, indices = np.asarray(matrix.indptr, np.int64), np.asarray(matrix.indices)
    is_valid = (
        len(pointers) == columns + 1
        and pointers[0] == 0
        and np.all(np.diff(pointers) >= 0)
        and pointers[-1] <= min(len(indices), len(matrix.data))
        and (not len(indices) or (indices.min() >= 0 and indices.max() < rows))
    )
    if not is_valid:
        raise DamagedError("the indices of a sparse matrix lie outside of it")
    return matrix.toarray()
