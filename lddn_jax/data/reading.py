"""`Reading`: options for reading a file, shared by all readers and built from flags on the command line.

Most files need none of them. Where a file can be read in two ways, the readers decide by a documented rule, say in a
note what they did, and an option decides otherwise.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from lddn_jax.checks import is_number, whole_number
from lddn_jax.errors import DataError, fix

DELIMITERS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";"}


@dataclass(frozen=True)
class Reading:
    """How a file is read; every option has a flag of the same name on the command line.

    Attributes:
        names: Names of the columns of a text file, all of them in order; they replace a header.
        encoding: Text encoding; None for UTF-8 and UTF-16, or Windows-1252 if the file is neither.
        missing_values: Further cells that mean a missing value: numbers such as -200, or words.
        skip_rows: Number of lines to skip at the beginning of a text file.
        time: Name of the column of sampling instants; True for a column called time, timestamp, date …, if there is
            one; False for none, so that rows are counted.
        delimiter: What separates cells: one character, or "tab", "space" (any number of blanks), "comma", "semicolon";
            None to find it.
        decimal: The decimal separator, "." or ","; None to find it.
        transpose: Whether time runs along the second axis of the matrices of a .mat file, where the length of no other
            variable decides; None for the first axis if that is the longer one.
        records: The cell array or struct array of a .mat file whose cells are records, several, "u,y", or "all" for
            all of them, or one cell, "y{2}"; None if the file is one record.
        decimate: Every how many samples one is kept, after a low-pass filter; see `Record.decimate`. A model predicts
            records that are decimated alike.

    Raises:
        DataError: If an option is invalid.

    Example:
        >>> Reading(names="u, y".split(", "), missing_values=[-200]).missing_values
        (-200,)
    """

    names: Sequence[str] | None = None
    encoding: str | None = None
    missing_values: Sequence[float | int | str] = ()
    skip_rows: int = 0
    time: str | bool = True
    delimiter: str | None = None
    decimal: str | None = None
    transpose: bool | None = None
    records: str | None = None
    decimate: int = 1

    def __post_init__(self):
        for field in ("names", "missing_values"):
            given = getattr(self, field)
            if isinstance(given, str) or is_number(given):
                given = (given,)
            if given is not None:
                object.__setattr__(self, field, tuple(given))
        if self.names is not None and not (self.names and all(isinstance(name, str) and name for name in self.names)):
            example = fix("Reading(names=['u', 'y'])", "--names u,y")
            raise DataError(f"names={self.names!r} must be words, one for each column: {example}.")
        repeated = sorted({name for name in self.names or () if (self.names or ()).count(name) > 1})
        if repeated:
            option = fix("names", "--names")
            raise DataError(f"{option}: {repeated[0]!r} occurs more than once; give every column a name of its own.")
        for value in self.missing_values:
            if not isinstance(value, str) and not is_number(value):
                example = fix("Reading(missing_values=[-200])", "--missing-value -200")
                raise DataError(f"missing_values: {value!r} is neither a number nor a word; write {example}.")
        whole_number(self.skip_rows, "skip_rows", 0, error=DataError)
        whole_number(self.decimate, "decimate", 1, error=DataError)
        if not isinstance(self.time, (str, bool)):
            raise DataError(f"time={self.time!r} must be the name of a column, True or False.")
        if self.transpose not in (None, True, False):
            raise DataError(f"transpose={self.transpose!r} must be True, False or None.")
        if not isinstance(self.records, str | None):
            raise DataError(f'records={self.records!r} must be the name of a cell array, or "all".')
        self._check_encoding()
        if self.delimiter is not None:
            delimiter = DELIMITERS.get(self.delimiter, self.delimiter)
            if len(delimiter) != 1 or delimiter.isalnum() or delimiter in "\n\r\"'.+-":
                raise DataError(
                    f"{fix('delimiter=', '--delimiter ')}{self.delimiter!r} must be one character that no number "
                    f"contains, or one of {', '.join(DELIMITERS)}."
                )
            object.__setattr__(self, "delimiter", delimiter)
        if self.decimal not in (None, ".", ","):
            raise DataError(f"decimal={self.decimal!r} must be '.' or ','.")
        if self.decimal == self.delimiter == ",":
            raise DataError("a comma cannot be both the delimiter and the decimal separator; change one of them.")

    def _check_encoding(self):
        try:
            known = self.encoding is None or codecs.lookup(self.encoding)._is_text_encoding
        except (LookupError, ValueError, TypeError):
            known = False
        if not known:
            raise DataError(f"Unknown encoding {self.encoding!r}; common ones are utf-8, utf-16, latin-1.")


# The default of all readers.
READING = Reading()
