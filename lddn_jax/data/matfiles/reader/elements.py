"""Checks of the structure of MATLAB files of versions 4 to 7, before anything of their size is allocated.

A file of version 5 to 7 is a sequence of elements, each a tag (type, number of bytes) and its bytes; a variable is an
element of elements: flags, dimensions, name, numbers. Every number of bytes has to fit into the element around it, and
the dimensions have to agree with the bytes of the numbers, so a small file cannot claim a large array. Compressed
elements end with the checksum of zlib. Others have none: damage within their numbers cannot be noticed.

Source: The MathWorks, MAT-File Format, 2022, level 5 and level 4.
"""

import math
import mmap
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from lddn_jax.data.matfiles.reader.contents import (
    DEEPEST,
    LIMIT_BYTES,
    DamagedError,
    TooLargeError,
    by,
    check_size,
    printable,
)

# Types of elements, and the bytes of a number.
INT32, UINT32, MATRIX, COMPRESSED = 5, 6, 14, 15
NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
TEXT_TYPES = {1, 2, 3, 4, 16, 17, 18}
# Classes of variables.
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
NUMERIC = range(6, 16)
IS_COMPLEX = 0x0800
HEADER_BYTES = 128
PIECE_BYTES = 1 << 16
MOST_AXES = 64


@dataclass(frozen=True)
class Claim:
    """A variable as its header describes it.

    Attributes:
        name: Its name; empty for the hidden data of objects.
        shape: Its dimensions; empty for objects, which have none.
        is_numeric: Whether it is an array of numbers.
    """

    name: str
    shape: tuple[int, ...]
    is_numeric: bool


def check_version_5(path: str, wanted: Callable[[str], bool] | None = None) -> list[Claim]:
    """Checks a file of version 5 to 7.

    Args:
        path: The file.
        wanted: Whether a variable of this name will be read, so that all its parts have to be checked. None to read
            the headers of variables and check no more than these.

    Returns:
        All variables, in the order of the file.

    Raises:
        DamagedError: If the structure contradicts itself, or a checksum is wrong.
        TooLargeError: If the variables to be read exceed the limit.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        order = {b"IM": "<", b"MI": ">"}.get(data[126:HEADER_BYTES])
        if order is None:
            raise DamagedError("its header does not state the byte order")
        found, at, checks = [], HEADER_BYTES, _Checks(order)
        with memoryview(data) as view:
            while at < len(view):
                kind, first, last, _ = checks.tag(view, at, len(view))
                if kind not in (MATRIX, COMPRESSED) or first != at + 8:
                    raise DamagedError(f"the element at byte {at:,} is of type {kind}, which is not a variable")
                with view[at:last] as element:
                    claim = _checked(element, kind, checks, wanted)
                found += [claim] if claim else []
                at = last
        return found


def _checked(element: memoryview, kind: int, checks: "_Checks", wanted: Callable[[str], bool] | None) -> Claim | None:
    """Checks one variable with its tag; None for an empty element."""
    if kind == MATRIX:
        claim = checks.claim(element)
        if claim and wanted and wanted(claim.name):
            checks.variable(element, 8, len(element))
        return claim
    stream = zlib.decompressobj()
    content, size, claim = bytearray(), 0, None
    for begin in range(8, len(element), PIECE_BYTES):  # a piece inflates at most a thousandfold
        try:
            piece = stream.decompress(element[begin : begin + PIECE_BYTES])
        except zlib.error as error:
            raise DamagedError(f"the compressed bytes of a variable are wrong ({error})") from None
        size += len(piece)
        if begin == 8:
            claim = checks.claim(memoryview(piece))
            if wanted is None:
                return claim
        if begin == 8 or (claim and wanted and wanted(claim.name)):
            content += piece
        if len(content) > LIMIT_BYTES:
            raise TooLargeError(f"a variable inflates to more than {LIMIT_BYTES / 2**30:.0f} GiB")
    if not stream.eof:
        raise DamagedError("a compressed variable ends early")
    if stream.unused_data:
        raise DamagedError(f"{len(stream.unused_data):,} bytes follow the end of a compressed variable")
    claimed = struct.unpack_from(f"{checks.order}I", content, 4)[0]
    if size != claimed + 8:
        raise DamagedError(f"a compressed variable claims {claimed:,} bytes and has {size - 8:,}")
    if claim and wanted and wanted(claim.name):
        checks.variable(memoryview(content), 8, len(content))
    return claim


class _Checks:
    """Checks of elements in one byte order; counts the numbers of all variables."""

    def __init__(self, order: str):
        self.order = order
        self.numbers = 0

    def tag(self, data: memoryview, at: int, stop: int) -> tuple[int, int, int, int]:
        """Type, first and last byte of the element at `at`, and where the next one begins."""
        if at + 8 > stop:
            raise DamagedError(f"it ends {at + 8 - stop} bytes early, within a tag")
        kind, count = struct.unpack_from(f"{self.order}II", data, at)
        if kind >> 16:  # a small element: type, number of bytes and up to four bytes in eight
            kind, count = kind & 0xFFFF, kind >> 16
            if count > 4:
                raise DamagedError(f"a small element claims {count:,} bytes; it has room for 4")
            return kind, at + 4, at + 4 + count, at + 8
        last = at + 8 + count
        if last > stop:
            raise DamagedError(f"an element claims {count:,} bytes, but only {stop - at - 8:,} follow")
        return kind, at + 8, last, min(last + -count % 8, stop)

    def claim(self, data: memoryview) -> Claim | None:
        """The header of a variable, from its first bytes."""
        if len(data) < 8 or struct.unpack_from(f"{self.order}I", data, 0)[0] != MATRIX:
            raise DamagedError("an element is not a variable")
        return self._header(data, 8, len(data))[0] if len(data) > 8 else None

    def _header(self, data: memoryview, at: int, stop: int) -> tuple[Claim, int, bool, int]:
        """Header, class, whether complex, and where the contents begin."""
        kind, first, last, at = self.tag(data, at, stop)
        if kind != UINT32 or last - first != 8:
            raise DamagedError("a variable does not begin with its flags")
        flags = self._whole(data, first, last)[0]
        array_class = flags & 0xFF
        if array_class == OPAQUE:
            kind, first, last, at = self.tag(data, at, stop)
            return Claim(_text(data, first, last), (), False), OPAQUE, False, at
        kind, first, last, at = self.tag(data, at, stop)
        if kind != INT32:
            raise DamagedError("the dimensions of a variable are missing")
        shape = tuple(self._whole(data, first, last))
        if not shape or min(shape) < 0:
            raise DamagedError(f"a variable claims to be {by(shape)}")
        _, first, last, at = self.tag(data, at, stop)
        return Claim(_text(data, first, last), shape, array_class in NUMERIC), array_class, bool(flags & IS_COMPLEX), at

    def variable(self, data: memoryview, at: int, stop: int, depth: int = 0) -> None:
        """Checks a variable without its tag, and what it contains."""
        if depth > DEEPEST:
            raise TooLargeError(f"a variable is nested more than {DEEPEST} levels deep")
        if at == stop:  # an empty element of a cell array
            return
        claim, array_class, is_complex, at = self._header(data, at, stop)
        count = math.prod(claim.shape)
        what = f"{printable(claim.name)}, {by(claim.shape)},"
        if array_class in NUMERIC:
            check_size(claim.name, count, self.numbers)
            self.numbers += count
            for _ in range(1 + is_complex):
                kind, first, last, at = self.tag(data, at, stop)
                if kind not in NUMBER_BYTES or count * NUMBER_BYTES[kind] != last - first:
                    raise DamagedError(f"{what} has {last - first:,} bytes of numbers of type {kind}")
        elif array_class == CHAR:
            kind, first, last, at = self.tag(data, at, stop)
            if kind not in TEXT_TYPES or count > 4 * (last - first):
                raise DamagedError(f"{what} has {last - first:,} bytes of text of type {kind}")
        elif array_class == SPARSE:
            for _ in range(3 + is_complex):
                kind, first, last, at = self.tag(data, at, stop)
                if kind not in NUMBER_BYTES:
                    raise DamagedError(f"{what} has numbers of type {kind}")
        elif array_class == CELL:
            self._inner(data, at, stop, count, depth, what)
        elif array_class in (STRUCT, OBJECT):
            if array_class == OBJECT:
                _, first, last, at = self.tag(data, at, stop)
            kind, first, last, at = self.tag(data, at, stop)
            length = self._whole(data, first, last) if kind == INT32 else []
            kind, first, last, at = self.tag(data, at, stop)
            if len(length) != 1 or length[0] < 1 or (last - first) % length[0]:
                raise DamagedError(f"the names of the fields of {what} are wrong")
            self._inner(data, at, stop, count * ((last - first) // length[0]), depth, what)
        elif array_class in (FUNCTION, OPAQUE):
            while at < stop:
                kind, first, last, at = self.tag(data, at, stop)
                if kind == MATRIX:
                    self.variable(data, first, last, depth + 1)
        else:
            raise DamagedError(f"{what} is of class {array_class}, which does not exist")

    def _inner(self, data: memoryview, at: int, stop: int, count: int, depth: int, what: str) -> None:
        if count > (stop - at) // 8:
            raise DamagedError(f"{what} claims {count:,} elements in {stop - at:,} bytes")
        for _ in range(count):
            kind, first, last, at = self.tag(data, at, stop)
            if kind != MATRIX:
                raise DamagedError(f"{what} has an element of type {kind}")
            self.variable(data, first, last, depth + 1)

    def _whole(self, data: memoryview, first: int, last: int) -> list[int]:
        count, rest = divmod(last - first, 4)
        if rest or count > MOST_AXES:
            raise DamagedError(f"a variable has {last - first:,} bytes of dimensions")
        return list(struct.unpack_from(f"{self.order}{count}i", data, first))


def check_version_4(path: str, wanted: Callable[[str], bool] | None = None) -> list[Claim]:
    """Checks a file of version 4, a sequence of headers of 20 bytes, names and columns; as `check_version_5`."""
    found, numbers = [], 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, order = 0, "<" if 0 <= struct.unpack_from("<i", data, 0)[0] < 5000 else ">"
        while at < len(data):
            if at + 20 > len(data):
                raise DamagedError(f"it ends {at + 20 - len(data)} bytes early, within a header")
            kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", data, at)
            machine, zero, precision, contents = kind // 1000, kind // 100 % 10, kind // 10 % 10, kind % 10
            where = f"the variable at byte {at:,}"
            if not (0 <= machine <= 4 and zero == 0 and 0 <= precision <= 5 and 0 <= contents <= 2 and kind >= 0):
                raise DamagedError(f"{where} has type {kind}, which does not exist")
            if min(rows, columns) < 0 or imaginary not in (0, 1) or not 0 < length <= len(data) - at - 20:
                raise DamagedError(f"{where} has a wrong header")
            name = bytes(data[at + 20 : at + 20 + length]).split(b"\0")[0].decode("latin-1")
            size = rows * columns * (1 + imaginary) * (8, 4, 4, 2, 2, 1)[precision]
            at += 20 + length
            if size > len(data) - at:
                raise DamagedError(
                    f"{printable(name)}, {rows}-by-{columns}, claims {size:,} bytes, but only {len(data) - at:,} follow"
                )
            if wanted and wanted(name):
                check_size(name, rows * columns, numbers)
                numbers += rows * columns
            at += size
            found.append(Claim(name, (rows, columns), contents == 0))
    return found


def _text(data: memoryview, first: int, last: int) -> str:
    return bytes(data[first:last]).split(b"\0")[0].decode("latin-1")
