"""Which axis of a matrix is time, where a file does not say: the lengths of the other variables decide.

    u 1-by-2500, y 2-by-2500    time is the second axis of y, because u has 2500 samples
    y 2500-by-2                 time is the first axis, which is the longer one
    y 2-by-2500, alone          ambiguous: `transpose` decides

A length that two variables of a record share is the number of samples.
"""

from collections.abc import Iterable, Mapping, Sequence

from lddn_jax.errors import ShapeError, fix


def time_axes(
    shapes: Mapping[str, Sequence[int]], others: Iterable[Sequence[int]], transpose: bool | None, where: str
) -> dict[str, int]:
    """Returns the axis of time of each matrix, 0 or 1.

    Args:
        shapes: Shapes of the variables of one record, vectors and matrices, by name.
        others: Shapes of the other variables of the file, which decide where those of the record leave a choice.
        transpose: Whether time is the second axis where no length decides; None to take the longer axis if it is the
            first, and to raise an error if it is not.
        where: What an error message begins with.

    Raises:
        ShapeError: If nothing decides.

    Example:
        >>> time_axes({"u": (2500,), "y": (2, 2500)}, [], None, "tank.mat")
        {'y': 1}
    """
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    if not matrices:
        return {}
    common = set.intersection(*({*shape} for shape in shapes.values() if tuple(shape) != (1,)))
    steps = next(iter(common)) if len(common) == 1 else None
    if len(common) > 1:
        known = {shape[0] for shape in others if len(shape) == 1} & common
        tall = {rows for rows, columns in matrices.values() if rows > columns} & common
        steps = next(iter(known)) if len(known) == 1 else None
        if steps is None and transpose is None and len(tall) == 1:
            steps = next(iter(tall))
    return {name: _axis(name, shape, steps, transpose, where) for name, shape in matrices.items()}


def _axis(name: str, shape: Sequence[int], steps: int | None, transpose: bool | None, where: str) -> int:
    rows, columns = shape
    if steps in shape and rows != columns:
        return 0 if rows == steps else 1
    if transpose is not None:
        return int(transpose)
    if rows > columns:
        return 0
    along, across = fix("transpose=True", "--transpose"), fix("transpose=False", "--no-transpose")
    doubt = f"{rows} samples of {columns} columns, or {columns} samples of {rows}? No other variable decides."
    if rows == columns:
        doubt = "which axis is time is not known."
    raise ShapeError(
        f"{where}: variable {name!r} is {rows}-by-{columns}: {doubt} Write {along} if time runs along the second axis, "
        f"or {across}."
    )
