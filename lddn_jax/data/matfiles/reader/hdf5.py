"""Reading of HDF5 files by h5py: MATLAB files of version 7.3, files of Octave, and any other HDF5 file.

MATLAB stores matrices transposed, structs as groups, and cells as references to datasets. What lies outside of the file
(external links, external storage, virtual datasets) is never opened. Parts of a dataset that were never written are
read as NaN, not as the fill value.
"""

import math
from typing import Any

import numpy as np

from lddn_jax.data.matfiles.reader.contents import (
    DEEPEST,
    MOST_LEAVES,
    Cells,
    DamagedError,
    Fields,
    Leaf,
    LeftOut,
    Noted,
    TooLargeError,
    Unread,
    Wanted,
    by,
    check_size,
    leaves,
)

HIDDEN_GROUPS = ("#refs#", "#subsystem#")
FILTERS = {
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}
MOST_LINKS = 16  # soft links that lead to each other


def read_hdf5(path: str, wanted: Wanted) -> list[Leaf]:
    """Reads the variables, or datasets in groups, of a file.

    Args:
        path: The file.
        wanted: Which of them to read.

    Raises:
        DamagedError: If the file contradicts itself.
        TooLargeError: If they exceed the limits.
    """
    import h5py

    with h5py.File(path, "r") as file:
        reader = _Reader(h5py, file, wanted)
        names = [str(name) for name in file if name not in HIDDEN_GROUPS]
        groups = {name for name in names if reader.is_nested(name)}
        skipped = groups - wanted.nested(groups, set(names) - groups)
        return [leaf for name in names if name not in skipped for leaf in leaves(name, reader.member(file, name))]


class _Reader:
    """Conversion of the objects of one file to numbers, `Fields`, `Cells` and `LeftOut`."""

    def __init__(self, h5py: Any, file: Any, wanted: Wanted):
        self.h5py = h5py
        self.file = file
        self.wanted = wanted
        self.numbers = 0
        self.objects = 0
        self.around: list[Any] = []  # the groups on the way to the object

    def is_nested(self, name: str) -> bool:
        """Whether an object at the top of the file holds others: a group, or cells."""
        found = self._linked(self.file, name, 0)
        if isinstance(found, self.h5py.Dataset):
            return bool(found.dtype.names) or self.h5py.check_ref_dtype(found.dtype) is not None
        return isinstance(found, self.h5py.Group) and "MATLAB_sparse" not in found.attrs

    def member(self, group: Any, name: str, path: str = "", depth: int = 0) -> Any:
        """The object of this name in a group; `path` is that of the group."""
        found = self._linked(group, name, 0)
        full = f"{path}.{name}" if path else name
        return found if isinstance(found, LeftOut) else self._converted(found, full, depth)

    def _linked(self, group: Any, name: str, links: int) -> Any:
        """The object that a name leads to within the file."""
        link = group.get(name, getlink=True)
        if isinstance(link, self.h5py.ExternalLink):
            return LeftOut("a link to another file")
        if isinstance(link, self.h5py.SoftLink):
            found = self.file if link.path.startswith("/") else group
            for part in link.path.split("/"):
                if part in ("", "."):
                    continue
                if links == MOST_LINKS or not isinstance(found, self.h5py.Group) or part not in found:
                    return LeftOut("a link to nothing")
                found = self._linked(found, part, links + 1)
            return found
        return group[name]

    def _converted(self, item: Any, path: str, depth: int) -> Any:
        self.objects += 1
        if depth > DEEPEST or self.objects > MOST_LEAVES:
            raise TooLargeError(
                f"its groups are nested more than {DEEPEST} levels deep, or hold over {MOST_LEAVES} objects"
            )
        if isinstance(item, self.h5py.Group):
            return self._group(item, path, depth)
        if not isinstance(item, self.h5py.Dataset):
            return LeftOut("a type")
        kind = _text(item, "MATLAB_class")
        if "MATLAB_object_decode" in item.attrs:
            return LeftOut({"function_handle": "a function handle"}.get(kind, kind or "object"))
        if "MATLAB_empty" in item.attrs and np.any(item.attrs["MATLAB_empty"]):
            return LeftOut("empty")
        if kind == "char":
            return LeftOut("text")
        return self._dataset(item, path, depth, bool(kind))

    def _group(self, group: Any, path: str, depth: int) -> Any:
        kind = _text(group, "MATLAB_class")
        if kind == "function_handle":
            return LeftOut("a function handle")
        if "MATLAB_sparse" in group.attrs:
            return self._sparse(group)
        if set(group) == {"type", "value"} and "OCTAVE_NEW_FORMAT" in group.attrs:
            return self._converted(self._linked(group, "value", 0), path, depth)  # Octave's way to store a variable
        if group.id in self.around:
            return LeftOut("a link to a group around it")
        self.around.append(group.id)
        found = Fields({str(name): self.member(group, name, path, depth + 1) for name in group})
        self.around.pop()
        return found

    def _dataset(self, dataset: Any, path: str, depth: int, of_matlab: bool) -> Any:
        dtype, shape = dataset.dtype, dataset.shape
        if shape is None:
            return LeftOut("empty")
        if dtype.kind in "SU" or self.h5py.check_string_dtype(dtype) is not None:
            return LeftOut("text")
        if (dtype.kind not in "fiubcO" and not dtype.names) or not self._is_standard(dataset):
            return LeftOut(f"data of type {dtype}")
        count = math.prod(shape)
        columns = [path, *(f"{path}.{name}" for name in dtype.names or ())]
        is_cells = self.h5py.check_ref_dtype(dtype) is not None
        if not is_cells and not any(self.wanted.array(column, count) for column in columns):
            return Unread(shape[::-1] if of_matlab else shape)
        count *= max(1, dtype.itemsize // 8)
        check_size(path, count, self.numbers)
        self.numbers += count
        if not count:
            return LeftOut("empty")
        outside = self._stored_elsewhere(dataset)
        if outside:
            return LeftOut(outside)
        if self.h5py.check_ref_dtype(dtype) is self.h5py.Reference:
            return self._cells(dataset, path, depth)
        if dtype.kind == "O":
            return self._ragged(dataset)
        values = dataset[()]
        unwritten = self._unwritten(dataset)
        if unwritten is not None and of_matlab:
            raise DamagedError(f"parts of {path!r} are missing, of {by(shape[::-1])}")
        if dtype.names:
            return _compound(values)
        values = np.asarray(values).T if of_matlab else np.asarray(values)
        if unwritten is None:
            return values
        if unwritten.all():
            return LeftOut("numbers that were never written")
        values = np.where(unwritten, np.nan, values.astype(np.float64))
        return Noted(values, f"{unwritten.sum():,} of its numbers were never written and count as missing")

    def _is_standard(self, dataset: Any) -> bool:
        """Whether numbers are stored as IEEE floats or whole numbers of all their bits."""
        types = self.h5py.h5t
        stored = dataset.id.get_type()
        if stored.get_class() == types.FLOAT:
            bits, names = 8 * stored.get_size(), ("IEEE_F{}LE", "IEEE_F{}BE")
            known = [getattr(types, name.format(bits), None) for name in names] + [types.NATIVE_LDOUBLE]
            return any(kind is not None and stored == kind for kind in known)
        return stored.get_class() != types.INTEGER or stored.get_precision() == 8 * stored.get_size()

    def _stored_elsewhere(self, dataset: Any) -> str:
        if dataset.is_virtual:
            return "a virtual dataset, whose numbers lie in other files"
        if dataset.external:
            return "a dataset whose numbers lie in another file"
        plist = dataset.id.get_create_plist()
        for k in range(plist.get_nfilters()):
            code = plist.get_filter(k)[0]
            if not self.h5py.h5z.filter_avail(code) and not _has_plugins():
                return f"a dataset compressed by {FILTERS.get(code, f'filter {code}')}"
        return ""

    def _unwritten(self, dataset: Any) -> np.ndarray | None:
        """A mask of what was never written, of the dataset's shape; None if everything was."""
        storage = dataset.id
        size, item_bytes = storage.get_storage_size(), storage.get_type().get_size()
        is_plain = not storage.get_create_plist().get_nfilters()
        if dataset.chunks is None:
            if size not in (0, item_bytes * dataset.size):
                raise DamagedError(f"{dataset.name!r} has {size:,} bytes for {dataset.size:,} numbers")
            return None if size else np.ones(dataset.shape, bool)
        needed = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        stored = storage.get_num_chunks()
        if is_plain and size != stored * item_bytes * math.prod(dataset.chunks):
            raise DamagedError(f"{dataset.name!r} has {size:,} bytes in {stored:,} pieces of {dataset.chunks}")
        if stored >= needed:
            return None
        mask = np.ones(dataset.shape, bool)
        for k in range(stored):
            start = storage.get_chunk_info(k).chunk_offset
            mask[tuple(slice(a, a + length) for a, length in zip(start, dataset.chunks, strict=True))] = False
        return mask if mask.any() else None

    def _cells(self, dataset: Any, path: str, depth: int) -> Cells:
        if dataset.size > MOST_LEAVES:
            raise TooLargeError(f"{path!r} has more than {MOST_LEAVES} cells")
        references = np.asarray(dataset[()]).T
        elements = np.full(references.shape, None, object)
        for place in np.ndindex(references.shape):
            reference = references[place]
            elements[place] = self._converted(self.file[reference], path, depth + 1) if reference else LeftOut("empty")
        # A cell array is marked as one; a field of a struct array has no mark.
        return Cells(elements, is_struct=_text(dataset, "MATLAB_class") != "cell")

    def _ragged(self, dataset: Any) -> Any:
        """A dataset of vectors of different lengths, as cells."""
        if dataset.size > MOST_LEAVES:
            raise TooLargeError(f"a dataset has more than {MOST_LEAVES} vectors of their own lengths")
        if self.h5py.check_vlen_dtype(dataset.dtype) is None:
            return LeftOut("references to regions")
        return Cells(np.asarray(dataset[()], object)) if dataset.shape else dataset[()]

    def _sparse(self, group: Any) -> Any:
        rows = int(np.ravel(group.attrs["MATLAB_sparse"])[0])
        if "jc" not in group:
            return LeftOut("empty")
        pointers = np.asarray(group["jc"][()], np.int64).ravel()
        columns = len(pointers) - 1
        check_size(group.name, rows * columns)
        dense = np.zeros((rows, columns))
        if "ir" not in group:
            return dense
        indices, values = np.asarray(group["ir"][()], np.int64).ravel(), np.asarray(group["data"][()]).ravel()
        if values.dtype.names or values.dtype.kind == "c":
            return LeftOut("complex numbers")
        counts = np.diff(pointers)
        if pointers[0] or np.any(counts < 0) or not pointers[-1] == len(indices) == len(values):
            raise DamagedError("the indices of a sparse matrix contradict each other")
        if len(indices) and not 0 <= indices.min() <= indices.max() < rows:
            raise DamagedError("the indices of a sparse matrix lie outside of it")
        dense[indices, np.repeat(np.arange(columns), counts)] = values
        return dense


def _compound(values: np.ndarray) -> Any:
    """A table of HDF5 as one column or matrix for each field."""
    names = values.dtype.names or ()
    if set(names) <= {"real", "imag"}:  # MATLAB's complex numbers
        return LeftOut("complex numbers") if np.any(values["imag"]) else values["real"].T
    return Fields({name: _field(values[name]) for name in names})


def _field(values: np.ndarray) -> Any:
    if values.dtype.names:
        return _compound(values)
    return LeftOut("text") if values.dtype.kind in "SUO" else values


def _has_plugins() -> bool:
    """Loads the package of further filters if it is installed."""
    try:
        import hdf5plugin  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return True


def _text(item: Any, attribute: str) -> str:
    """An attribute that is a text, else an empty string: other programs have numbers of the same name."""
    found = item.attrs.get(attribute, "")
    return found.decode("latin-1") if isinstance(found, bytes) else found if isinstance(found, str) else ""
