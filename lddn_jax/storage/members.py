"""Arrays of a zip archive, with every size checked before anything is read into memory.

A checksum protects a file from accidents, not from somebody who computes it anew. So a member must be stored without
compression, which cannot expand, all of them together must fit into the file, and an array must be as large as its
member: a file takes no more memory than its own size.
"""

import io
import math
import tokenize
import zipfile

import numpy as np
from jaxtyping import Shaped

from lddn_jax.errors import shown

_SUFFIX = ".npy"
_ENCRYPTED = 1  # bit of the flags of a member
_NUMBERS = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128"
_DTYPES = tuple(np.dtype(name) for name in _NUMBERS.split())
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def arrays_in(content: bytes) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Returns the arrays of a zip archive by name.

    Raises:
        ValueError: If the archive has another form than `numpy.savez` writes, or claims to be larger than it is.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        members = opened.infolist()
        for member in members:
            _check(member)
        if len({member.filename for member in members}) < len(members):
            raise ValueError("a name occurs twice in it")
        if sum(member.file_size for member in members) > len(content):
            raise ValueError("its parts claim to be larger than the file")
        return {
            member.filename.removesuffix(_SUFFIX): _array(member.filename, opened.read(member)) for member in members
        }


def _check(member: zipfile.ZipInfo) -> None:
    name = shown(member.filename)
    if not member.filename.endswith(_SUFFIX):
        raise ValueError(f"its part {name} is not an array")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ValueError(f"its part {name} is compressed")
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"its part {name} is encrypted")


def _array(name: str, data: bytes) -> Shaped[np.ndarray, "..."]:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its part {shown(name)} has the unknown version {version}")
    try:
        shape, by_columns, dtype = _HEADERS[version](file)
    except (SyntaxError, tokenize.TokenError):  # NumPy lets these of Python's parser through
        raise ValueError(f"what its part {shown(name)} says about its shape cannot be read") from None
    if dtype.newbyteorder("=") not in _DTYPES:
        raise ValueError(f"its part {shown(name)} does not hold numbers, but {shown(dtype)}")
    size = len(data) - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"its part {shown(name)} has {size} bytes and claims the shape {shown(shape)}")
    values = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")
    return values.astype(dtype.newbyteorder("="), order="C")  # a copy, which may be written to
