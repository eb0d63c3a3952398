"""Signals given by a user, checked and converted: `(*batch, time, size)` arrays by input, output or source.

All errors about names, shapes and dtypes of signals are raised here, before anything is compiled.
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
from lddn_jax.errors import DataError, LDDNError, ShapeError

# Internal types: arrays of a dict may differ in size and have the same batch and time. A moment is one time step.
Signals: TypeAlias = dict[str, Float[Array, "*batch time size=_"]]
Moment: TypeAlias = dict[str, Float[Array, "*batch size=_"]]
# Types accepted from a user: arrays of JAX or NumPy, or nested lists; integers become floats. A bare array stands for a
# dict with one entry, None for an empty dict. Error weights broadcast over batch, time and size.
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
    """Data for training and evaluation: `Sequences`, or any object with the same four attributes."""

    @property
    def inputs(self) -> SignalsLike:
        """Inputs by name, `(*batch, time, size)`."""

    @property
    def targets(self) -> SignalsLike:
        """Targets by output layer, `(*batch, time, size)`; NaN where missing."""

    @property
    def state(self) -> StateLike:
        """The initial delay state of each sequence, `(*batch, longest delay, size)` by source."""

    @property
    def weights(self) -> WeightsLike:
        """Error weights that broadcast over batch, time and size."""


def by_name(kind: str, given: Any, names: Iterable[str]) -> dict[str, Any]:
    """Returns `given` as a dict with exactly `names`; a bare array is accepted if there is one name.

    Args:
        kind: How an error refers to `given`: "input", "target" …
        given: A dict by name, a bare array, or None for nothing.
        names: The required names.

    Raises:
        ShapeError: If a name is missing or unknown, or a bare array is given for several names.

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
    """Returns the name of the input that carries measured values of an output while the loop is open."""
    return f"measured_{output}"


def as_signals(kind: str, given: SignalsLike, sizes: Mapping[str, int], dtype: DTypeLike) -> Signals:
    """Returns one array `(*batch, time, size)` of `dtype` for each name in `sizes`, all with the same batch and time.

    Args:
        kind: How an error refers to the signals: "input", "target" …
        given: A dict by name, or a bare array if there is one name.
        sizes: Number of elements by name.
        dtype: The dtype of the arrays returned.

    Raises:
        ShapeError: If a name, a number of axes, a size, a length or a batch shape is wrong.
        DataError: If an array does not hold real numbers.
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
            + ". All signals of a record must have the same; cut or repeat the shorter ones."
        )
    return signals


def check_last_axes(what: str, shape: tuple[int, ...], size: int):
    """Raises a ShapeError unless `shape` is `(*batch, time, size)`."""
    if len(shape) < 2:
        raise ShapeError(
            f"{what} has shape {shape}, but a signal is (*batch, time, size), with size {size} here. "
            "For one sequence of one element write signal[:, None]."
        )
    if shape[-1] != size:
        turned = " It looks transposed: write signal.swapaxes(-1, -2)." if shape[-2] == size else ""
        raise ShapeError(f"{what} has shape {shape}; its last axis must have size {size}, as declared.{turned}")
    if shape[-2] == 0:
        raise ShapeError(f"{what} has shape {shape}, with no time step. Give at least one.")


def real(what: str, value: Any) -> RealArray:
    """Returns `value` as an array, lists as NumPy arrays, after checking that it holds real numbers.

    Raises:
        ShapeError: If it is ragged.
        DataError: If it does not hold real numbers.
    """
    if not isinstance(value, jax.Array):
        try:
            value = np.asarray(value)
        except ValueError:
            raise ShapeError(f"{what} is ragged; all its rows must have the same length.") from None
    if not any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise DataError(f"{what} holds {value.dtype}, but must hold real numbers.")
    return value


def is_traced(array: Any) -> bool:
    """Whether an array is being traced by JAX, so that its values are not known."""
    return isinstance(array, Tracer)


def check_not_traced(call: str, *given: Any) -> None:
    """Raises an LDDNError if an array is being traced by JAX, in a function with a loop in Python."""
    if any(is_traced(leaf) for leaf in jax.tree.leaves(given)):
        raise LDDNError(
            f"{call} was called inside jax.jit, jax.vmap or jax.grad, but it is a loop in Python, which needs the "
            "values of its arrays. Call it outside of them, for several networks with a trainer's restarts; inside, "
            "write the loop with jax.lax.scan over lddn.value_and_grad."
        )


def first_nan(signal: Shaped[ArrayLike, "..."]) -> tuple[int, ...] | None:
    """Returns the index of the first NaN of an array; None for an array without NaN, or one that is being traced."""
    if is_traced(signal):
        return None
    missing = np.isnan(np.asarray(signal))
    return tuple(int(k) for k in np.argwhere(missing)[0]) if missing.any() else None


def first_infinite(signal: Shaped[ArrayLike, "..."]) -> tuple[int, ...] | None:
    """Returns the index of the first infinity of an array; None for an array without one, or one that is traced."""
    if is_traced(signal):
        return None
    infinite = np.isinf(np.asarray(signal))
    return tuple(int(k) for k in np.argwhere(infinite)[0]) if infinite.any() else None


def check_finite(kind: str, signals: Mapping[str, Shaped[ArrayLike, "..."]], *, missing: bool = False) -> None:
    """Raises a DataError with the place of the first value that is infinite or NaN, unless NaN stands for missing."""
    for name, signal in signals.items():
        where, found = first_infinite(signal), "infinite"
        if where is None and not missing:
            where, found = first_nan(signal), "NaN"
        if where is not None:
            raise DataError(
                f"{kind} {name!r} is {found} at index {where} of (*batch, time, element), as "
                f"{np.asarray(signal).dtype}. Correct the value, or scale the signal: lddn.Scaled.fit(net, data)."
            )


def as_array(what: str, value: Any, dtype: DTypeLike) -> Shaped[Array, "..."]:
    """Returns an array of this dtype; host data is converted by NumPy, so that nothing is compiled for it.

    Raises:
        ShapeError: If it is ragged.
        DataError: If it does not hold real numbers.
    """
    value = real(what, value)
    if not isinstance(value, jax.Array):
        with np.errstate(over="ignore"):  # numbers too large for float32 become infinite without a warning, as in JAX
            value = value.astype(dtype)
    return jnp.asarray(value, dtype)


def check_data(given: object, call: str, name: str = "data") -> None:
    """Raises a DataError unless `given` has the attributes of `Sequences`; see `expect`."""
    fix = "Convert records by lddn.data.begin(topology, records)."
    expect(SequencesLike, name, given, call, "lddn.Sequences(inputs, targets)", error=DataError, fix=fix)
