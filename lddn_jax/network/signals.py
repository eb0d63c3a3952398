"""What a user hands in, checked and named: `(*batch, time, size)` arrays by input, output or source.

Everything that can be wrong with names, shapes and dtypes is said here, before anything is compiled.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Shaped

from lddn_jax.checks import did_you_mean, expect
from lddn_jax.errors import DataError, ShapeError

# Inside: names differ in size and share batch and time. A moment is one time step.
Signals: TypeAlias = dict[str, Float[Array, "*batch time size=_"]]
Moment: TypeAlias = dict[str, Float[Array, "*batch size=_"]]
# What a user hands in: arrays of JAX or NumPy, or nested lists; integers become floats. A bare array stands for a dict
# of one entry, None for an empty one. Error weights broadcast over batch, time and size.
ArrayOrList: TypeAlias = Shaped[ArrayLike, "..."] | Sequence[Any]
SignalLike: TypeAlias = Shaped[ArrayLike, "*batch time size=_"] | Sequence[Any]
SignalsLike: TypeAlias = Mapping[str, SignalLike] | SignalLike | None
MomentLike: TypeAlias = Mapping[str, Shaped[ArrayLike, "*batch size=_"] | Sequence[Any]] | (
    Shaped[ArrayLike, "*batch size=_"] | Sequence[Any] | None
)
WeightsLike: TypeAlias = Mapping[str, ArrayOrList] | ArrayOrList | None
StateLike: TypeAlias = Mapping[str, Shaped[ArrayLike, "... longest_delay=_ size=_"] | Sequence[Any]] | None
RealArray: TypeAlias = Shaped[Array | np.ndarray, "..."]
RealSignal: TypeAlias = Shaped[Array | np.ndarray, "*batch time size=_"]


@runtime_checkable
class SequencesLike(Protocol):
    """What a network is trained and evaluated on: `Sequences`, or anything that has the same four parts."""

    @property
    def inputs(self) -> SignalsLike:
        """By input name, `(*batch, time, size)`."""

    @property
    def targets(self) -> SignalsLike:
        """By output layer, `(*batch, time, size)`; NaN where missing."""

    @property
    def state(self) -> StateLike:
        """The delay state that each sequence starts from, `(*batch, longest delay, size)` by source."""

    @property
    def weights(self) -> WeightsLike:
        """Error weights that broadcast over batch, time and size."""


def by_name(kind: str, given: Any, names: Iterable[str]) -> dict[str, Any]:
    """Returns `given` as a dict with exactly `names`; a bare array is taken where there is one name.

    Args:
        kind: "input", "target" …: how an error calls what was given.
        given: A dict by name, a bare array, or None for nothing.
        names: The names needed.

    Raises:
        ShapeError: If names are missing or unknown, or a bare array meets several names.

    Example:
        >>> by_name("input", [[1.0], [2.0]], {"u"})
        {'u': [[1.0], [2.0]]}
    """
    names = sorted(names)
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        if len(names) != 1:
            raise ShapeError(
                f"a bare array was given as {kind}s, but the network has {names}. "
                f"Give a dict such as {{{', '.join(f'{n!r}: ...' for n in names)}}}."
            )
        return {names[0]: given}
    for name in given:
        if name not in names:
            raise ShapeError(f"{kind} {name!r} was given, but the network has {names}.{did_you_mean(name, names)}")
    missing = [name for name in names if name not in given]
    if missing:
        raise ShapeError(f"{kind} {missing[0]!r} is missing; {sorted(given)} were given and {names} are needed.")
    return dict(given)


def measured_name(output: str) -> str:
    """The name of the input that carries measured values of an output, where a loop is open."""
    return f"measured_{output}"


def as_signals(kind: str, given: SignalsLike, sizes: Mapping[str, int], dtype: DTypeLike) -> Signals:
    """Returns one array `(*batch, time, size)` of `dtype` for each name in `sizes`, all of one batch and length.

    Args:
        kind: "input", "target" …: how an error calls them.
        given: A dict by name, or a bare array where there is one name.
        sizes: Elements by name.
        dtype: Of the arrays returned.

    Raises:
        ShapeError: If a name, a number of axes, a size, a length or a batch shape does not fit.
        DataError: If an array is not of real numbers.
    """
    named = by_name(kind, given, sizes)
    signals = {name: as_array(f"{kind} {name!r}", value, dtype) for name, value in sorted(named.items())}
    for name, signal in signals.items():
        check_last_axes(f"{kind} {name!r}", signal.shape, sizes[name])
    shapes = {name: signal.shape[:-1] for name, signal in signals.items()}
    if len(set(shapes.values())) > 1:
        raise ShapeError(
            f"{kind}s differ in batch or time: (*batch, time) is "
            + ", ".join(f"{shape} for {name!r}" for name, shape in shapes.items())
            + ". All signals of a record share both; cut or repeat the shorter ones."
        )
    return signals


def check_last_axes(what: str, shape: tuple[int, ...], size: int):
    """Raises a ShapeError unless `shape` is `(*batch, time, size)`."""
    if len(shape) < 2:
        raise ShapeError(
            f"{what} has shape {shape}, but a signal is (*batch, time, size), here size {size}. "
            "For one sequence of one element write signal[:, None]."
        )
    if shape[-1] != size:
        turned = " It looks transposed: write signal.swapaxes(-1, -2)." if shape[-2] == size else ""
        raise ShapeError(f"{what} has shape {shape}; its last axis must have size {size}, as declared.{turned}")
    if shape[-2] == 0:
        raise ShapeError(f"{what} has shape {shape}: no time step at all. Give at least one.")


def real(what: str, value: Any) -> RealArray:
    """Returns `value` as the array it is, lists as NumPy arrays, provided that it holds real numbers.

    Raises:
        ShapeError: If it is ragged.
        DataError: If it holds anything but real numbers.
    """
    if not isinstance(value, jax.Array):
        try:
            value = np.asarray(value)
        except ValueError:
            raise ShapeError(f"{what} is ragged; all its rows must have one length.") from None
    if not any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise DataError(f"{what} holds {value.dtype}, but a signal is made of real numbers.")
    return value


def is_traced(array: Any) -> bool:
    """Whether JAX is tracing this array, so that its values are not known."""
    return isinstance(array, Tracer)


def first_nan(signal: Shaped[ArrayLike, "..."]) -> tuple[int, ...] | None:
    """Index of the first NaN of a concrete array; None if there is none, or the array is being traced."""
    if is_traced(signal):
        return None
    missing = np.isnan(np.asarray(signal))
    return tuple(int(k) for k in np.argwhere(missing)[0]) if missing.any() else None


def as_array(what: str, value: Any, dtype: DTypeLike) -> Shaped[Array, "..."]:
    """Returns an array of this dtype; NumPy converts what is not on a device yet, so that nothing is compiled for it.

    Raises:
        ShapeError: If it is ragged.
        DataError: If it holds anything but real numbers.
    """
    value = real(what, value)
    if not isinstance(value, jax.Array):
        with np.errstate(over="ignore"):  # too large for float32 is an infinity there too
            value = value.astype(dtype)
    return jnp.asarray(value, dtype)


def check_data(given: object, call: str, name: str = "data") -> None:
    """Raises a DataError unless this is what a network is trained and judged on; see `expect`."""
    fix = "Records become some by lddn.data.begin(topology, records)."
    expect(SequencesLike, name, given, call, "lddn.Sequences(inputs, targets)", error=DataError, fix=fix)
