"""`LinearModel`: a linear state-space model in discrete time, with the names of its signals.

    x(t) = A x(t−1) + B (u(t−1) − u0),    y(t) = y0 + C x(t) + D (u(t) − u0)

in the units of the records that it was identified from. Inputs stand side by side in u, in the order of `input_sizes`,
and outputs in y. It is NumPy in float64, and needs no compilation. `weights` and `biases` are those of a network that
computes the same, by the names of `lddn_jax.models.state_space` and `linear_state_space`.

Ljung (1999), *System Identification*, 2nd ed., section 4.3.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from lddn_jax.data.records import Record, Records, as_records
from lddn_jax.diagnostics.score_table import Scores, scores
from lddn_jax.errors import DataError, LDDNError, ShapeError
from lddn_jax.linear.gains import bounded_steps, first_state
from lddn_jax.linear.network_weights import state_space_biases, state_space_weights
from lddn_jax.linear.pieces import columns, columns_of_signals
from lddn_jax.linear.pole_table import pole_table
from lddn_jax.linear.realization import balancing, pulled_in
from lddn_jax.linear.regression import Regression
from lddn_jax.linear.responses import simulated

ARRAYS = ("A", "B", "C", "D", "input_offset", "output_offset")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LinearModel:
    """A linear state-space model; equal and hashable by value.

    Args:
        A: State matrix.
        B: Input matrix.
        C: Output matrix.
        D: Feedthrough.
        input_sizes: Sizes of the inputs by name, in the order of the columns of B.
        output_sizes: Sizes of the outputs by name, in the order of the rows of C.
        input_offset: u0.
        output_offset: y0.
        sample_time: Sampling interval of the records; None if unknown.
        singular_values: Those of the subspace that the model was taken from, largest first; None if there was none.
        regression: The difference equation of a model of `arx`, whose weights and biases it has; None for others.

    Raises:
        ShapeError: If the shapes do not fit each other.
        DataError: If a value is NaN or infinite.

    Example:
        >>> A, B, C, D = (np.array([[x]]) for x in (0.5, 1.0, 2.0, 0.0))
        >>> model = LinearModel(A, B, C, D, {"u": 1}, {"y": 1}, np.zeros(1), np.full(1, 3.0))
        >>> model.poles.tolist(), model.stable
        ([(0.5+0j)], True)
        >>> record = Record({"u": np.ones((4, 1))}, {"y": np.full((4, 1), 3.0)})
        >>> model.free_run(record, np.zeros(1))["y"][:, 0].tolist()
        [3.0, 5.0, 6.0, 6.5]
    """

    A: Float[np.ndarray, "n n"]
    B: Float[np.ndarray, "n inputs"]
    C: Float[np.ndarray, "outputs n"]
    D: Float[np.ndarray, "outputs inputs"]
    input_sizes: Mapping[str, int]
    output_sizes: Mapping[str, int]
    input_offset: Float[np.ndarray, " inputs"]
    output_offset: Float[np.ndarray, " outputs"]
    sample_time: float | None = None
    singular_values: Float[np.ndarray, " values"] | None = None
    regression: Regression | None = None

    def __post_init__(self):
        inputs, outputs = sum(self.input_sizes.values()), sum(self.output_sizes.values())
        n = len(self.A)
        shapes = ((n, n), (n, inputs), (outputs, n), (outputs, inputs), (inputs,), (outputs,))
        for name, shape in zip(ARRAYS, shapes, strict=True):
            array = np.array(getattr(self, name), np.float64)
            if array.shape != shape:
                raise ShapeError(
                    f"LinearModel: {name} has shape {array.shape}; {n} states, {inputs} inputs and {outputs} outputs "
                    f"need {shape}."
                )
            if not np.isfinite(array).all():
                raise DataError(f"LinearModel: {name} has values that are NaN or infinite.")
            self._set(name, array)
        if self.singular_values is not None:
            self._set("singular_values", np.array(self.singular_values, np.float64))
        for name in ("input_sizes", "output_sizes"):
            object.__setattr__(self, name, dict(getattr(self, name)))

    def _set(self, name: str, array: Float[np.ndarray, "..."]):
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _key(self) -> tuple[Any, ...]:
        arrays = tuple((getattr(self, name).shape, getattr(self, name).tobytes()) for name in ARRAYS)
        sizes = tuple(self.input_sizes.items()), tuple(self.output_sizes.items())
        return arrays, *sizes, self.sample_time, self.regression

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearModel) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        def listed(sizes: Mapping[str, int]) -> str:
            return ", ".join(f"{name}:{size}" for name, size in sizes.items()) or "nothing"

        stability = "stable" if self.stable else "unstable"
        return (
            f"LinearModel({self.states} states, {listed(self.input_sizes)} -> {listed(self.output_sizes)}, {stability})"
        )

    def __str__(self) -> str:
        return "\n".join([repr(self), *pole_table(self.poles, self.sample_time)])

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values, which `json.dump` writes without loss."""
        found = {name: getattr(self, name).tolist() for name in ARRAYS}
        found |= {"input_sizes": dict(self.input_sizes), "output_sizes": dict(self.output_sizes)}
        values = self.singular_values
        found |= {"sample_time": self.sample_time, "singular_values": None if values is None else values.tolist()}
        return found | {"regression": None if self.regression is None else self.regression.to_dict()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "LinearModel":
        """Returns the model of a dict of `to_dict`.

        Args:
            given: The dict.

        Raises:
            DataError: If something is missing.
            ShapeError: If the shapes do not fit each other.
        """
        missing = {field.name for field in dataclasses.fields(cls)} - set(given)
        if missing:
            raise DataError(f"LinearModel.from_dict: {sorted(missing)} is missing; pass a dict of model.to_dict().")
        inputs, outputs, n = sum(given["input_sizes"].values()), sum(given["output_sizes"].values()), len(given["A"])
        shapes = ((n, n), (n, inputs), (outputs, n), (outputs, inputs), (inputs,), (outputs,))
        arrays = {}
        for name, shape in zip(ARRAYS, shapes, strict=True):
            array = np.array(given[name], np.float64)
            arrays[name] = array.reshape(shape) if array.size == math.prod(shape) else array  # [] has lost its shape
        values, regression = given["singular_values"], given["regression"]
        return cls(
            **arrays,
            input_sizes=given["input_sizes"],
            output_sizes=given["output_sizes"],
            sample_time=given["sample_time"],
            singular_values=None if values is None else np.array(values, np.float64),
            regression=None if regression is None else Regression.from_dict(regression),
        )

    # --- its dynamics ------------------------------------------------------------------------------------------------

    @property
    def states(self) -> int:
        """Number of states."""
        return len(self.A)

    @property
    def feedthrough(self) -> bool:
        """Whether an input acts on an output without delay."""
        return bool(self.D.any())

    @property
    def poles(self) -> Complex[np.ndarray, " n"]:
        """Eigenvalues of A, slowest first."""
        poles = np.linalg.eigvals(self.A).astype(complex)
        return poles[np.lexsort((-np.imag(poles), -np.abs(poles).round(12)))]

    @property
    def stable(self) -> bool:
        """Whether all poles are inside the unit circle."""
        return bool((np.abs(self.poles) < 1).all())

    @property
    def slowest(self) -> float:
        """Time constant of the slowest pole in samples, −1 / log |λ|; infinite for a model that is not stable."""
        radius = float(np.abs(self.poles).max(initial=0.0))
        if radius >= 1:
            return math.inf
        return -1 / math.log(radius) if radius > 0 else 0.0

    def stabilized(self, radius: float = 1.0) -> "LinearModel":
        """Returns the model with poles outside of a circle reflected into it; B, C and D remain.

        Args:
            radius: Radius of the circle, at most 1.

        Raises:
            LDDNError: If the radius is not between 0 and 1.
        """
        if not 0 < radius <= 1:
            raise LDDNError(f"stabilized(radius={radius!r}): needed is a radius above 0 and at most 1, such as 0.999.")
        A = pulled_in(self.A, radius)
        return self if A is self.A else dataclasses.replace(self, A=A, regression=None)

    def normalized(self, records: Records) -> "LinearModel":
        """Returns the same model, whose states are uncorrelated and of unit variance over free runs of the records.

        The states are in the order of the energy that they leave in the outputs, largest first. Weights of a network
        that starts from the model then have a common scale.

        Args:
            records: A `Record` or a list of records.

        Raises:
            DataError: If no record has two successive samples with all inputs.
            ShapeError: If a signal is missing or has another size.
        """
        pieces = [piece for r in as_records(records, "normalized") for piece in r.unbroken(2, targets=False)]
        if not pieces:
            raise DataError("normalized: no record has two successive samples without a missing input.")
        bounded = bounded_steps(self.A)  # a free run of an unstable model leaves every range after these rows
        pieces = [piece.piece(0, min(len(piece), bounded or len(piece))) for piece in pieces]
        second_moment = np.zeros_like(self.A)
        for piece in pieces:
            x, _ = simulated(self.A, self.B, self.C, self.D, self._inputs(piece), self._first_state(piece, None))
            second_moment += x.T @ x / sum(map(len, pieces))
        C = self.C / _deviation(columns(pieces[0].targets, self.output_sizes, len(pieces[0])))[:, None]
        T, inverse = balancing(self.A, C, second_moment, 10 * self.states)
        return dataclasses.replace(self, A=T @ self.A @ inverse, B=T @ self.B, C=self.C @ inverse)

    def frequency_response(
        self, w: Float[np.ndarray, " frequencies"]
    ) -> Complex[np.ndarray, "frequencies outputs inputs"]:
        """Returns C (e^{jω} I − A)⁻¹ B + D.

        Args:
            w: Angular frequencies ω in radians per sample; π is half of the sampling frequency.
        """
        z = np.exp(1j * np.asarray(w, float))[:, None, None]
        B = np.broadcast_to(self.B, (len(z), *self.B.shape))
        return self.C @ np.linalg.solve(z * np.eye(self.states) - self.A, B) + self.D

    # --- as a network ------------------------------------------------------------------------------------------------

    def weights(self) -> dict[tuple[str, str], Float[np.ndarray, "delay to=_ from=_"]]:
        """Returns the weights of a state-space network that computes the same, by (to, from).

        They are those of `lddn_jax.models.linear_state_space` and of the linear part of `models.state_space`. Weights
        of a feedthrough are included if D is not zero. Those of a model of `arx` are the weights of
        `models.narx(linear_path=True)` from inputs and measured outputs to outputs.
        """
        if self.regression is not None:
            return dict(self.regression.weights)
        return state_space_weights(self.A, self.B, self.C, self.D, self.input_sizes, self.output_sizes)

    def biases(self) -> dict[str, Float[np.ndarray, " size=_"]]:
        """Returns the biases of that network: −B u0 of the states and y0 − D u0 of the outputs, or b of `arx`."""
        if self.regression is not None:
            return dict(self.regression.biases)
        return state_space_biases(self.B, self.D, self.input_offset, self.output_offset, self.output_sizes)

    # --- on records --------------------------------------------------------------------------------------------------

    def first_states(self, records: Records, samples: int | None = None) -> Float[np.ndarray, "records n"]:
        """Estimates x(0), the state at the first row of each record, by least squares on the simulated output.

        With `lddn_jax.data.begin`, row 0 fills the delay lines, so x(0) is the delay state of the states before the
        first step: `{"state": model.first_states(records)[:, None, :]}`.

        Args:
            records: A `Record` or a list of records.
            samples: Number of first samples that are used; None for all.

        Raises:
            DataError: If an input is missing within these samples.
            ShapeError: If a signal is missing or has another size.
        """
        return np.stack([self._first_state(record, samples) for record in as_records(records, "first_states")])

    def free_run(
        self, record: Record, first: Float[np.ndarray, " n"] | None = None, *, samples: int | None = None
    ) -> dict[str, Float[np.ndarray, "time size=_"]]:
        """Simulates a record from its first row on.

        Args:
            record: A record in the units of those that the model was identified from.
            first: x(0); estimated if None.
            samples: Number of first samples that x(0) is estimated from; None for all.

        Returns:
            Outputs by name, for every row of the record.

        Raises:
            DataError: If an input is missing.
            ShapeError: If a signal is missing or has another size.
        """
        first = self._first_state(record, samples) if first is None else np.asarray(first, float)
        if first.shape != (self.states,):
            raise ShapeError(f"free_run: first has shape {first.shape}; a state of this model has ({self.states},).")
        outputs = self._simulated(self._inputs(record), first)
        return {name: outputs[:, at] for name, at in columns_of_signals(self.output_sizes).items()}

    def scores(self, records: Records, *, samples: int | None = None, warmup: int = 0) -> Scores:
        """Scores free runs of all records together, by the metrics of `lddn_jax.diagnostics`.

        Args:
            records: A `Record` or a list of records.
            samples: Number of first samples that the first state of each is estimated from; None for all.
            warmup: Number of first samples of each record that are not scored.

        Raises:
            DataError: If an input is missing.
        """
        given = as_records(records, "scores")
        runs = [self.free_run(record, samples=samples) for record in given]
        measured = {
            name: np.concatenate([record.targets[name][warmup:] for record in given]) for name in self.output_sizes
        }
        return scores(measured, {name: np.concatenate([run[name][warmup:] for run in runs]) for name in measured})

    def _inputs(self, record: Record) -> Float[np.ndarray, "time inputs"]:
        for name, size in self.input_sizes.items():
            found = record.inputs.get(name)
            if found is None or found.shape[1] != size:
                raise ShapeError(f"{self!r} reads input {name!r} of size {size}; the record is {record!r}.")
            if np.isnan(found).any():
                raise DataError(
                    f"input {name!r} of {record!r} has missing values, which a simulation cannot cross. Pass the "
                    "pieces: record.unbroken(targets=False)."
                )
        return columns(record.inputs, self.input_sizes, len(record)) - self.input_offset

    def _simulated(
        self, u: Float[np.ndarray, "time inputs"], first: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "time outputs"]:
        with np.errstate(over="ignore", invalid="ignore"):  # an unstable model diverges
            _, outputs = simulated(self.A, self.B, self.C, self.D, u, first)
        return self.output_offset + outputs

    def _first_state(self, record: Record, samples: int | None) -> Float[np.ndarray, " n"]:
        bounded = bounded_steps(self.A)  # later rows of an unstable model say nothing about its first state
        limits = [limit for limit in (samples, bounded, len(record)) if limit is not None]
        used = record.piece(0, min(limits))
        for name, size in self.output_sizes.items():
            found = used.targets.get(name)
            if found is None or found.shape[1] != size:
                raise ShapeError(f"{self!r} has output {name!r} of size {size}; the record is {record!r}.")
        y = columns(used.targets, self.output_sizes, len(used))
        forced = self._simulated(self._inputs(used), np.zeros(self.states))
        scale = _deviation(y)
        return first_state(self.A, self.C / scale[:, None], (y - forced) / scale)


def _deviation(y: Float[np.ndarray, "time outputs"]) -> Float[np.ndarray, " outputs"]:
    """Standard deviation of each output without missing values; 1 for an output that does not move."""
    found = [np.std(column[~np.isnan(column)]) if (~np.isnan(column)).any() else 0.0 for column in y.T]
    return np.array([deviation if deviation > 0 else 1.0 for deviation in found])
