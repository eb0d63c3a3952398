r"""Lines of a text file, decoded: an encoding that nobody has to name, and line ends of every system.

Lines end in `\n`, `\r` or `\r\n`, and in nothing else. Unicode's other separators are characters like all others.
"""

from pathlib import Path

from lddn_jax.data.file_kinds import LONGEST_HEAD, READERS, kind_of
from lddn_jax.data.paths import bytes_of
from lddn_jax.data.reading import Reading
from lddn_jax.errors import DataError, fix

LONGEST_CELL_CHARACTERS = 131_072  # the limit of Python's csv module, too
SAMPLED_CHARACTERS = 4000
# How files begin that are no text, whatever their extension says.
KINDS_OF_FILES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "a NumPy file",
    b"{\\rtf": "a formatted document",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b'{"': "a JSON document",
}
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def read_text(path: Path, reading: Reading) -> tuple[str, list[str]]:
    r"""Reads a text file.

    Args:
        path: The file.
        reading: Its `encoding` is used.

    Returns:
        The text, whose lines end in `\n`, and notes.

    Raises:
        DataError: If the file cannot be read, or is not text.
    """
    content = bytes_of(path, "a text file")
    kind = next((kind for begin, kind in KINDS_OF_FILES.items() if content.startswith(begin)), None)
    if kind is not None:
        raise DataError(f"{path} is {kind}, not a table of text. Export the data as CSV.")
    if kind_of(content[:LONGEST_HEAD]) in READERS:
        raise DataError(f"{path} is a MATLAB or HDF5 file, not a table of text; its name must end in .mat or .h5.")
    text, notes = _decoded(path, content, reading.encoding)
    if text.endswith("\0"):
        text = text.rstrip("\0")
        notes = [*notes, "zero bytes at the end ignored"]
    if "\0" in text:
        encoding = fix("encoding='utf-16'", "--encoding utf-16")
        raise DataError(
            f"{path} contains zero bytes, so it is not plain text. Export it as CSV, or give its encoding: {encoding}."
        )
    begin = text[:SAMPLED_CHARACTERS]
    if sum(ord(character) < 32 and character not in "\t\n\v\f\r" for character in begin) > len(begin) / 20:
        raise DataError(f"{path} consists of control characters, so it is not text. Export the data as CSV.")
    if "\r" in text:
        text = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return text.removeprefix("\ufeff"), notes


def _decoded(path: Path, content: bytes, encoding: str | None) -> tuple[str, list[str]]:
    """Returns the text, and notes."""
    if encoding is not None:
        try:
            return content.decode(encoding), []
        except UnicodeError as error:
            likely = next((found for mark, found in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "latin-1")
            other = fix(f"encoding={likely!r}", f"--encoding {likely}")
            place = f" (invalid byte at {error.start})" if isinstance(error, UnicodeDecodeError) else ""
            raise DataError(
                f"{path} is not {encoding} text{place}. Leave the encoding out, or give another, probably {other}."
            ) from None
    for mark, found in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            try:
                return content.decode(found), [] if found == "utf-8-sig" else [f"encoding {found}"]
            except UnicodeError:
                break
    for found, zero in (("utf-16-le", content[1:400:2]), ("utf-16-be", content[0:400:2])):
        if len(zero) > 1 and zero.count(0) > 0.8 * len(zero):
            try:
                return content.decode(found), [f"encoding {found}"]
            except UnicodeError:
                break
    try:
        return content.decode(), []
    except UnicodeDecodeError:
        pass
    for found in ("cp1252", "latin-1"):
        try:
            text = content.decode(found)
        except UnicodeDecodeError:
            continue
        return text, [f"not UTF-8, so read as {found} ({fix('encoding=...', '--encoding')} decides otherwise)"]
    raise AssertionError("latin-1 decodes everything")
