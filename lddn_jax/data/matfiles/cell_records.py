"""Records in the cells of cell arrays and struct arrays: one `MatFile` for each.

    y = {y1, y2, y3}          three records
    runs(1).u, runs(2).u      two records
    c = {u1, y1; u2, y2; …}   one record per row, with the signals `c_1` and `c_2`; or one per column

All signals of a record have one length, which decides whether the rows or the columns are records.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lddn_jax.data.matfiles.mat_file import MatFile, shape_of
from lddn_jax.data.matfiles.reader.contents import Leaf, Wanted
from lddn_jax.errors import DataError, ShapeError, fix, listed, shown

ONE_CELL = re.compile(r"(?P<name>.*)[({](?P<number>\d{1,9})[)}]")
ALL = "all"


def cells_of(file: MatFile, chosen: str | Sequence[str] | bool, names: Sequence[str] | None) -> list[MatFile]:
    """Returns the records in the cells of a file.

    Args:
        file: The file.
        chosen: Names of cell arrays or struct arrays, or "all"; `y{2}` for the second cell alone.
        names: Columns that will be asked for, which belong to some of the cell arrays; variables among them that are
            no cell arrays are part of every record. None for all cell arrays.

    Raises:
        DataError: If there are no cells, or the cell arrays have different numbers of cells.
        ShapeError: If cells in two dimensions can be read in two ways.
    """
    arrays = [ALL] if chosen is True else [chosen] if isinstance(chosen, str) else list(chosen or [])
    only = ONE_CELL.fullmatch(arrays[0]) if len(arrays) == 1 else None
    arrays = [only["name"]] if only else arrays
    every: dict[str, dict[tuple[int, ...], Leaf]] = {}
    for leaf in file.leaves:
        if leaf.index:
            every.setdefault(leaf.group, {})[leaf.index] = leaf
    groups = {g: cells for g, cells in every.items() if any(n == ALL or f"{g}.".startswith(f"{n}.") for n in arrays)}
    if not groups:
        kind = "cell array" if arrays == [ALL] else f"cell array {listed(arrays)}"
        raise DataError(
            f"{file} has no {kind} with one cell per record; it has "
            f"{listed([*every]) if every else listed(file.names) or 'no numeric variable'}."
        )
    if names is not None:
        asked: dict[str, dict[tuple[int, ...], Leaf]] = {}
        for name in names:
            wanted = Wanted([name])
            within = {group: cells for group, cells in groups.items() if wanted.is_asked(group)}
            asked |= within or {group: cells for group, cells in every.items() if wanted.is_asked(group)}
        groups = asked or groups
    notes: list[str] = list(file.notes)
    signals: dict[str, dict[int, Leaf]] = {}
    for group, cells in groups.items():
        signals |= _signals(file, group, cells, notes)
    signals = {name: cells for name, cells in signals.items() if any(shape_of(leaf) for leaf in cells.values())}
    if not signals:
        raise DataError(f"{file}: the cells of {listed([*groups])} hold no arrays of numbers.")
    counts = {name: len(cells) for name, cells in signals.items()}
    if len(set(counts.values())) > 1:
        raise DataError(
            f"{file}: cell arrays hold different numbers of records: "
            f"{listed([f'{name}: {count}' for name, count in counts.items()])}. Name those of one experiment: "
            f"{fix('columns=[...]', '--records NAME')}."
        )
    return _files(file, signals, notes, int(only["number"]) if only else None, names is not None)


def _files(
    file: MatFile,
    signals: Mapping[str, Mapping[int, Leaf]],
    notes: Sequence[str],
    number: int | None,
    with_others: bool,
) -> list[MatFile]:
    found = []
    shared = tuple(leaf for leaf in file.leaves if not leaf.index and with_others)
    keys = sorted(set.union(*({*cells} for cells in signals.values())))
    empty = [k for k in keys if not all(shape_of(cells[k]) for cells in signals.values())]
    for k in keys:
        if k not in empty and number in (None, k + 1):
            leaves = [replace(cells[k], name=name, index=()) for name, cells in signals.items()]
            found.append(replace(file, leaves=(*leaves, *shared), cell=f"cell {k + 1}", notes=tuple(notes)))
    if not found:
        which = f"no cell {number} with numbers" if number is not None else "no cell whose signals all hold numbers"
        raise DataError(f"{file}: {listed([*signals])} has {which}; there are {len(keys) - len(empty)}.")
    if empty:
        cells = f"cell{'s' if len(empty) > 1 else ''} {listed([str(k + 1) for k in empty])}"
        note = f"{cells} left out, where a signal is empty or not numeric"
        found[0] = replace(found[0], notes=(*found[0].notes, note))
    return found


def _signals(
    file: MatFile, group: str, cells: Mapping[tuple[int, ...], Leaf], notes: list[str]
) -> dict[str, dict[int, Leaf]]:
    """Signals of one cell array, by name, each by the number of the record."""
    axes = {len(index) for index in cells}
    if axes == {1}:
        return {group: {index[0]: leaf for index, leaf in cells.items()}}
    if axes != {2}:
        notes.append(f"left out: {group}, whose cells are nested in {max(axes)} levels")
        return {}
    axis = _record_axis(file, group, cells)
    if axis:
        notes.append(f"the columns of the cell array {group} are records")
    found: dict[str, dict[int, Leaf]] = {}
    for index, leaf in cells.items():
        found.setdefault(f"{group}_{index[1 - axis] + 1}", {})[index[axis]] = leaf
    return found


def _record_axis(file: MatFile, group: str, cells: Mapping[tuple[int, ...], Leaf]) -> int:
    """The axis of a two-dimensional cell array along which the records lie: within a record, lengths agree."""
    lengths = {index: max(shape) for index, leaf in cells.items() if (shape := shape_of(leaf))}
    agree = [
        all(len({lengths[i] for i in lengths if i[axis] == k}) == 1 for k in {i[axis] for i in lengths})
        for axis in (0, 1)
    ]
    rows, columns = (len({index[axis] for index in cells}) for axis in (0, 1))
    if agree[0] != agree[1]:
        return 0 if agree[0] else 1
    if not agree[0]:
        raise DataError(
            f"{file}: the vectors of the cell array {shown(group)} agree in length neither along its rows nor "
            f"along its columns. Name single cells, such as '{group}{{1,1}}'."
        )
    if file.transpose is not None:
        return int(file.transpose)
    if rows > columns:
        return 0
    raise ShapeError(
        f"{file}: the cell array {shown(group)} is {rows}-by-{columns}, and all its vectors have one length: "
        f"{rows} records of {columns} signals, or {columns} records of {rows}? Write "
        f"{fix('transpose=True', '--transpose')} if its columns are records, or "
        f"{fix('transpose=False', '--no-transpose')}."
    )
