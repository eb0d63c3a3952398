"""Scaling (normalization) of signals, and its inverse.

A scaler is an affine map of each channel (the last axis), fitted to a record:

    MinMax     z = low + (high − low) (x − min) / (max − min)        MATLAB's mapminmax
    Standard   z = (x − mean) / std,   std with N − 1                MATLAB's mapstd

It is a pytree of its constants, so `apply` and `invert` run under `jit`, `vmap` and `grad`; both keep the dtype of
their argument. A channel that is constant in the record maps to the middle of the range (0 for `Standard`) with slope
1, so `invert(apply(x))` returns x for its constant and for any other value.

NaN (a missing sample) is ignored by `fit`, and stays NaN in `apply` and `invert`.

Reference: LeCun, Bottou, Orr & Müller, "Efficient BackProp", 1998, section 4.3.
"""

import abc
import dataclasses
import numbers
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, Shaped

from lddn_jax.checks import called, did_you_mean
from lddn_jax.data.records import Record, Records, as_records
from lddn_jax.errors import DataError, ShapeError, shown
from lddn_jax.network.signals import SignalLike, real
from lddn_jax.numerics.precision import is_default

ROUNDING_IN_EPS = 16  # multiple of the machine epsilon below which differences between samples are rounding

# A signal, one sample of it, or any array with channels on its last axis.
Scalable: TypeAlias = Shaped[ArrayLike, "*batch_and_time size"] | Sequence[Any]


class AbstractScaler(eqx.Module):
    """The map z = start + width (x − anchor) / span for each channel of a signal `(*batch, time, size)`."""

    def __check_init__(self):
        if any(getattr(self, field.name) is None for field in dataclasses.fields(self)):
            name = type(self).__name__
            raise DataError(f"{name}() is not fitted. Write {name}.fit(x), which computes its constants from a record.")

    @property
    def size(self) -> int:
        """Number of channels."""
        return jnp.shape(jax.tree.leaves(self)[0])[-1]

    @abc.abstractmethod
    def _constants(self) -> tuple[Float[Array, " size"], float | int, Float[Array, " size"], Float[Array, " size"]]:
        """Returns start `(size,)`, width, anchor `(size,)` and span `(size,)`."""

    def apply(self, x: Scalable) -> Float[Array, "*batch_and_time size"]:
        """Converts from the units of the record to scaled units.

        Args:
            x: Signal `(*batch, time, size)` in the units of the record.

        Returns:
            The scaled signal, same shape and dtype.

        Raises:
            ShapeError: If the number of channels differs from that of the fitted record.
        """
        x, start, width, anchor, span = self._fitted_to(x, "apply")
        return start + width * ((x - anchor) / span)  # dividing first maps both ends of the range exactly

    def invert(self, z: Scalable) -> Float[Array, "*batch_and_time size"]:
        """Converts from scaled units back to the units of the record.

        Args:
            z: Signal `(*batch, time, size)` in scaled units.

        Returns:
            The signal in the units of the record, same shape and dtype.

        Raises:
            ShapeError: If the number of channels differs from that of the fitted record.
        """
        z, start, width, anchor, span = self._fitted_to(z, "invert")
        return anchor + span * ((z - start) / width)

    def error_scale(self) -> Float[Array, " size"]:
        """Returns the factors `(size,)` that convert errors from scaled units to the units of the record.

        Multiply an RMSE by the factor, and a mean squared error by its square.
        """
        _, width, _, span = self._constants()
        return span / width

    def to_dict(self) -> dict[str, Any]:
        """Returns the scaler as a dict of plain Python values for `json.dump`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        dtype = next(str(value.dtype) for value in values.values() if eqx.is_array(value))
        plain = {name: value.tolist() if eqx.is_array(value) else value for name, value in values.items()}
        return {"kind": type(self).__name__, "dtype": dtype, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AbstractScaler":
        """Restores a scaler from the result of `to_dict`.

        Raises:
            DataError: If the kind is another one, or an entry is missing or not numeric.
        """
        names = ["dtype", *(field.name for field in dataclasses.fields(cls))]
        kind = _kind_in(data)
        if kind != cls.__name__ or {*names, "kind"} != {*data}:
            raise DataError(
                f"{cls.__name__}.from_dict was given the kind {kind!r} with {list(data)}; "
                f"it needs kind {cls.__name__!r} with {names}, as to_dict() returns. "
                "lddn_jax.data.scaling.from_dict(data) restores a scaler of any kind."
            )
        values = {field.name: data[field.name] for field in dataclasses.fields(cls)}
        for field in dataclasses.fields(cls):
            if not field.metadata.get("static", False):
                where = f"{cls.__name__}.from_dict: {field.name}"
                values[field.name] = _array_in(where, data[field.name], data["dtype"])
        scaler = cls(**values)
        if not scaler._is_finite_range():
            raise DataError(f"{cls.__name__}.from_dict was given a range that is empty or infinite: {shown(values)}.")
        return scaler

    def _is_finite_range(self) -> bool:
        """Whether values within the range of every channel can be scaled; in NumPy, so that nothing is compiled."""
        return True

    def _fitted_to(
        self, x: Scalable, verb: str
    ) -> tuple[
        Float[Array, "*batch_and_time size"],
        Float[Array, "..."],
        float | int,
        Float[Array, "..."],
        Float[Array, "..."],
    ]:
        """Returns `x` as a floating-point array and the constants in its dtype and rank, to avoid promotion."""
        given = real(f"the array given to {type(self).__name__}.{verb}", x)
        if given.ndim < 1 or given.shape[-1] != self.size:
            raise ShapeError(
                f"{type(self).__name__}.{verb} was given an array of shape {given.shape}, but it was fitted to "
                f"{self.size} channel(s): it needs (*batch, time, {self.size}). "
                "For a single channel pass x[..., None]."
            )
        start, width, anchor, span = self._constants()
        x = jnp.asarray(given)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            x = x.astype(jnp.result_type(float))
        axes = tuple(range(x.ndim - 1))
        start, anchor, span = (jnp.expand_dims(c.astype(x.dtype), axes) for c in (start, anchor, span))
        return x, start, width, anchor, span


class MinMax(AbstractScaler):
    """Scales each channel linearly from its range to [`low`, `high`] (MATLAB's mapminmax).

    Attributes:
        lowest: Minimum of each channel of the record, `(size,)`, in the units of the record.
        highest: Maximum of each channel, `(size,)`.
        low: Scaled value of `lowest`.
        high: Scaled value of `highest`.

    Example:
        >>> import numpy as np
        >>> position = np.array([[0.0], [3.0], [6.0]])
        >>> scaler = MinMax.fit(position)
        >>> scaler.apply(position)[:, 0].tolist()
        [-1.0, 0.0, 1.0]
        >>> scaler.invert(scaler.apply(position))[:, 0].tolist()
        [0.0, 3.0, 6.0]
        >>> scaler.error_scale().tolist()
        [3.0]
    """

    lowest: Float[Array, " size"] = None  # pyright: ignore[reportAssignmentType] - rejected with an error
    highest: Float[Array, " size"] = None  # pyright: ignore[reportAssignmentType]
    low: float | int = eqx.field(static=True, default=-1.0)
    high: float | int = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        largest = sys.float_info.max
        known = all(isinstance(bound, numbers.Real) and abs(bound) <= largest for bound in (self.low, self.high))
        if not (known and self.low < self.high):
            raise DataError(
                f"MinMax was given low={shown(self.low)}, high={shown(self.high)}; low must be smaller than high, and "
                "both finite: MinMax.fit(x, low=-1.0, high=1.0)."
            )

    @classmethod
    def fit(cls, x: SignalLike, low: float | int = -1.0, high: float | int = 1.0) -> "MinMax":
        """Computes minimum and maximum of each channel.

        Args:
            x: Signal `(*batch, time, size)`; NaN is ignored.
            low: Scaled value of the minimum.
            high: Scaled value of the maximum.

        Returns:
            The scaler, with constants in the dtype of `x`.

        Raises:
            DataError: If a channel is all NaN or contains an infinity, or `low >= high`.
            ShapeError: If `x` has fewer than two axes.
        """
        columns, dtype = _columns(x, "MinMax.fit")
        lowest, highest = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
        highest = np.where(is_constant(columns), lowest, highest)
        return cls(_array(lowest, dtype), _array(highest, dtype), low, high)

    def _is_finite_range(self) -> bool:
        with np.errstate(over="ignore"):
            extent = np.asarray(self.highest) - np.asarray(self.lowest)
        return bool(np.all(np.isfinite(extent) & (extent >= 0)))

    def _constants(self):
        width = self.high - self.low
        constant = self.highest == self.lowest
        start = jnp.where(constant, self.low + width / 2, self.low).astype(self.lowest.dtype)
        return start, width, self.lowest, jnp.where(constant, width, self.highest - self.lowest)


class Standard(AbstractScaler):
    """Standardizes each channel to mean 0 and standard deviation 1 (MATLAB's mapstd).

    The standard deviation divides by N − 1, as MATLAB's does; NumPy's default divides by N.

    Attributes:
        mean: Mean of each channel of the record, `(size,)`, in the units of the record.
        deviation: Standard deviation of each channel, `(size,)`; 1 for a constant channel.

    Example:
        >>> import numpy as np
        >>> scaler = Standard.fit(np.array([[1.0], [2.0], [3.0]]))
        >>> scaler.mean.tolist(), scaler.deviation.tolist()
        ([2.0], [1.0])
        >>> scaler.apply(np.array([[4.0]])).tolist()
        [[2.0]]
    """

    mean: Float[Array, " size"] = None  # pyright: ignore[reportAssignmentType] - rejected with an error
    deviation: Float[Array, " size"] = None  # pyright: ignore[reportAssignmentType]

    @classmethod
    def fit(cls, x: SignalLike) -> "Standard":
        """Computes mean and standard deviation of each channel.

        Args:
            x: Signal `(*batch, time, size)`; NaN is ignored.

        Returns:
            The scaler, with constants in the dtype of `x`.

        Raises:
            DataError: If a channel is all NaN or contains an infinity.
            ShapeError: If `x` has fewer than two axes.
        """
        columns, dtype = _columns(x, "Standard.fit")
        # By range, because the mean of equal values may differ from them by rounding, with a tiny deviation.
        constant = is_constant(columns)
        mean = np.where(constant, np.nanmin(columns, axis=0), np.nanmean(columns, axis=0))
        degrees = np.maximum(np.isfinite(columns).sum(axis=0) - 1, 1)
        deviation = np.sqrt(np.nansum((columns - mean) ** 2, axis=0) / degrees)
        return cls(_array(mean, dtype), _array(np.where(constant, 1.0, deviation), dtype))

    def _is_finite_range(self) -> bool:
        return bool(np.all(np.asarray(self.deviation) > 0))

    def _constants(self):
        return jnp.zeros_like(self.mean), 1, self.mean, self.deviation


def from_dict(data: Mapping[str, Any]) -> AbstractScaler:
    """Restores a scaler of any kind from the result of its `to_dict`.

    Args:
        data: From `to_dict`, or decoded from JSON.

    Returns:
        A `MinMax` or a `Standard`.

    Raises:
        DataError: If the kind is unknown, or an entry is missing or not numeric.

    Example:
        >>> import numpy as np
        >>> scaler = MinMax.fit(np.array([[0.0], [1.0]]))
        >>> from_dict(scaler.to_dict()).to_dict() == scaler.to_dict()
        True
    """
    kinds: dict[str, type[AbstractScaler]] = {"MinMax": MinMax, "Standard": Standard}
    kind = _kind_in(data)
    if kind not in kinds:
        raise DataError(
            f"There is no scaler of kind {kind!r}; the kinds are {', '.join(kinds)}.{did_you_mean(kind, kinds)}"
        )
    return kinds[kind].from_dict(data)


def _kind_in(data: object) -> str:
    """Returns the kind of scaler in the result of a `to_dict`."""
    if not isinstance(data, Mapping):
        raise DataError(f"a scaler is restored from a dict as returned by scaler.to_dict(), not from {called(data)}.")
    return str(data.get("kind"))


def _array_in(where: str, values: Any, dtype: Any) -> Float[Array, " size"]:
    """Converts a list of numbers, one per channel, to an array."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(values, np.dtype(dtype)) if isinstance(dtype, str) else None
    except (TypeError, ValueError, OverflowError):
        array = None
    known = array is not None and array.ndim == 1 and jnp.issubdtype(array.dtype, jnp.floating)
    if array is None or not known or not np.isfinite(array.astype(np.float64)).all():
        raise DataError(
            f"{where} is {shown(values)}, of dtype {shown(dtype)}; it must be a list of numbers, one for each channel, "
            "such as [0.5, 2.0], of dtype 'float32' or 'float64'."
        )
    return _array(array, dtype)


def check_kind(given: object, call: str) -> None:
    """Raises a DataError unless `given` is a scaler class; see `expect`."""
    if not (isinstance(given, type) and issubclass(given, AbstractScaler)):
        raise DataError(f"kind is {called(given)}, but {call} takes the class lddn.data.MinMax or lddn.data.Standard.")


def is_constant(columns: Float[np.ndarray, "samples size"]) -> Bool[np.ndarray, " size"]:
    """Returns which channels do not vary, up to rounding; NaN is ignored."""
    low, high = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
    with np.errstate(over="ignore"):
        return high - low <= ROUNDING_IN_EPS * np.finfo(float).eps * np.maximum(np.abs(low), np.abs(high))


def _columns(x: SignalLike, where: str) -> tuple[Float[np.ndarray, "samples size"], np.dtype]:
    """Returns the signal as checked float64 columns `(samples, size)`, and the dtype for the scaler."""
    if isinstance(x, Tracer):
        raise DataError(
            f"{where} was called inside jit, vmap or grad, where values cannot be checked. Fit the scaler "
            "to the whole record outside and pass it in; apply and invert can be transformed."
        )
    array = np.asarray(real(f"the array given to {where}", x))
    if array.ndim < 2:
        raise ShapeError(
            f"{where} was given an array of shape {array.shape}; it needs (*batch, time, size), with "
            "channels on the last axis. For a single channel pass x[:, None]."
        )
    dtype = array.dtype if jnp.issubdtype(array.dtype, jnp.floating) else np.dtype(float)
    # In float64, since sums over a long float32 record lose digits.
    columns = array.reshape(-1, array.shape[-1]).astype(np.float64)
    for problem, bad in (
        ("contains an infinity", np.isinf(columns).any(axis=0)),
        ("is all NaN or empty", np.isnan(columns).all(axis=0)),
    ):
        if bad.any():
            raise DataError(
                f"{where}: channel {int(np.argmax(bad))} of {array.shape[-1]} {problem}, so it has no range. "
                "Drop the channel, or replace bad samples by NaN, which is ignored: "
                "x = np.where(np.isfinite(x), x, np.nan)."
            )
    return columns, dtype


def _array(values: Sequence[float] | Float[np.ndarray, " size"], dtype: DTypeLike) -> Float[Array, " size"]:
    dtype = np.dtype(dtype) if is_default(dtype) else np.dtype(np.float32)
    return jnp.asarray(np.asarray(values, dtype=dtype), dtype)


def scalers_of(
    records: Records, kind: type[MinMax] | type[Standard] = MinMax, *, shared: Mapping[str, str] | None = None
) -> dict[str, AbstractScaler]:
    """Fits a scaler to each signal of one or several records.

    Args:
        records: A `Record` or a list of records, usually the training data; missing targets are ignored.
        kind: `MinMax` or `Standard`.
        shared: Signals that use the scaler of another signal: `{"measured_level": "level"}`.

    Returns:
        Scalers by the names of inputs and targets.

    Raises:
        DataError: If all values of a signal are NaN, or `shared` has an unknown name.

    Example:
        >>> records = [Record({"u": np.full((5, 1), high)}, {"y": np.eye(5)[:, :1]}) for high in (0.0, 4.0)]
        >>> scalers = scalers_of(records)
        >>> float(scalers["u"].highest[0]), scaled(records[1], scalers).inputs["u"][0].tolist()
        (4.0, [1.0])
    """
    records = as_records(records, "scalers_of")
    check_kind(kind, "scalers_of(records, kind)")
    names = {name: side for side in ("inputs", "targets") for name in getattr(records[0], side)}
    shared = dict(shared or {})
    for name in (*shared, *shared.values()):
        if name not in names:
            raise DataError(f"scalers_of: shared names {name!r}; the signals are {list(names)}.")
    found = {}
    for name, side in names.items():
        if name in shared:
            continue
        try:
            found[name] = kind.fit(np.concatenate([getattr(record, side)[name] for record in records]))
        except DataError as error:
            raise DataError(f"signal {name!r}: {error}") from error
    return {name: found[shared.get(name, name)] for name in names}


def scaled(record: Record, scalers: Mapping[str, AbstractScaler]) -> Record:
    """Returns a record in scaled units; missing targets stay missing.

    Args:
        record: In its own units.
        scalers: Scalers by signal name; signals without one are not scaled.
    """

    def each(signals):
        return {name: scalers[name].apply(x) if name in scalers else x for name, x in signals.items()}

    return record.replaced(inputs=each(record.inputs), targets=each(record.targets))
