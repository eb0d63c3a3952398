"""What a file is, by its first bytes: the formats that can be read, and what is often given in their place."""

from collections.abc import Mapping

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Where the signature of HDF5 may stand: behind a header of MATLAB, for example.
HDF5_OFFSETS = (0, 512, 1024, 2048, 4096)
LONGEST_HEAD = HDF5_OFFSETS[-1] + len(HDF5_SIGNATURE)
OTHERS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a ZIP archive (perhaps .npz or .xlsx): unpack it, or export the data as a CSV file",
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"\x93NUMPY": "an array of NumPy: load it by np.load and pass the arrays, or export it as a CSV file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: export it as a CSV file",
    b"Octave-1-": "a binary file of Octave: save it there with save -v7 record.mat u y",
    b"# Created by Octave": "a text file of Octave: save it there with save -v7 record.mat u y",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: fetch it by git lfs pull",
    b"<!DOCTYPE": "a web page, not the file itself: download it again",
    b"<html": "a web page, not the file itself: download it again",
    b"%PDF": "a PDF document: export the data as a CSV file",
    b"PAR1": "a Parquet file: read it into a data frame and pass that, or export it as a CSV file",
}
# Kinds of files that can be read.
READERS = ("hdf5", "version 5", "version 4")
TEXT_BYTES = frozenset(range(32, 127)) | frozenset(b"\t\r\n\f\x0b")


def kind_of(head: bytes) -> str:
    """Returns "hdf5", "version 5" or "version 4", or in words what else the file is.

    Args:
        head: The first `LONGEST_HEAD` bytes of the file, or all of a shorter one.
    """
    if any(head[offset:].startswith(HDF5_SIGNATURE) for offset in HDF5_OFFSETS):
        return "hdf5"
    if not head:
        return "empty (0 bytes): save or copy it again"
    for begin, what in OTHERS.items():
        if head[: len(begin)].lower() == begin.lower():
            return what
    if len(head) >= 128 and head[126:128] in (b"IM", b"MI") and 0 not in head[:4]:
        number = head[124:126] if head[126:128] == b"MI" else head[125:123:-1]
        if number == b"\1\0":
            return "version 5"
        if number == b"\2\0":
            return "a MATLAB file of version 7.3 without its data, or damaged: save or copy it again"
    if all(byte in TEXT_BYTES for byte in head[:512]):
        return "text: if its columns are numbers, give it the extension .csv or .txt"
    if len(head) >= 20 and 0 in head[:4] and _is_version_4(head):
        return "version 4"
    return "neither a MATLAB nor an HDF5 file, or it is damaged: save or copy it again"


def _is_version_4(head: bytes) -> bool:
    """Whether the first header of a file of version 4 is plausible."""
    for order in ("little", "big"):
        numbers = [int.from_bytes(head[k : k + 4], order, signed=True) for k in range(0, 20, 4)]
        kind, rows, columns, imaginary, length = numbers
        digits = [int(digit) for digit in f"{kind:04}"] if 0 <= kind < 5000 else []
        if (
            digits
            and digits[1] == 0
            and digits[2] <= 5
            and digits[3] <= 2
            and min(rows, columns) >= 0
            and imaginary in (0, 1)
            and 0 < length < 4096
        ):
            return True
    return False
