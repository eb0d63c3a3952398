"""`Scaled`: a network together with its scalers, for predictions in the units of the record.

A network is trained in scaled units, z = start + width (x − anchor) / span (`data/scaling.py`). `Scaled` takes and
returns signals in the units of the record:

    inputs, delay states  →  scale  →  network  →  scale back  →  outputs

A feedback input `measured_y` carries the same signal as output `y`, so both share one scaler; otherwise closing the
loop would change what the network computes. Delay states of hidden layers have no units and are not scaled.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lddn_jax.checks import called, expect
from lddn_jax.data.scaling import AbstractScaler, MinMax, Standard, check_kind
from lddn_jax.data.sequences import Sequences
from lddn_jax.diagnostics.lagged import element_names
from lddn_jax.diagnostics.ranges import Range
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network import rewiring
from lddn_jax.network.committee import Model, check_model
from lddn_jax.network.signals import (
    Moment,
    MomentLike,
    SignalLike,
    Signals,
    SignalsLike,
    StateLike,
    by_name,
    check_data,
    check_last_axes,
    is_traced,
    measured_name,
)
from lddn_jax.prediction.conformal import ConformalBands
from lddn_jax.prediction.error_bars import Prediction
from lddn_jax.prediction.training_sampling import TrainingSampling
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.simulate import Trajectory, predict, simulate
from lddn_jax.simulation.streaming import as_record


class Scaled(eqx.Module):
    """A network or committee with a scaler for each of its inputs and outputs; a pytree for `jit`, `vmap` and `grad`.

    Args:
        net: The network, or a `lddn_jax.Committee`, in scaled units.
        scalers: Scalers by name of input and output layer.
        bands: Bands of free runs, by element of each output in the units of the record; None if unknown.
        sampling: How the training records were sampled; None if unknown.

    Raises:
        DataError: If a scaler is missing, or a name is unknown.
        ShapeError: If the number of channels of a scaler differs from its signal.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 1))
        >>> data = lddn.Sequences(jnp.arange(8.0)[:, None], 100 + jnp.arange(8.0)[:, None])
        >>> scaled = lddn.Scaled.fit(lddn.Network(topology, init="zeros"), data)
        >>> scaled.predict(data.inputs)["y"][:2, 0].tolist()  # a network of zeros: the middle of the range
        [103.5, 103.5]
        >>> trainer = lddn.LevenbergMarquardt(allow_float32=True)
        >>> fitted = lddn.fit(scaled.net, scaled.scale(data), lddn.losses.SumSquaredError(), trainer, epochs=5)
        >>> bool(abs(scaled.with_net(fitted.net).predict(data.inputs)["y"] - data.targets).max() < 0.1)
        True
    """

    net: Model
    scalers: dict[str, AbstractScaler]
    bands: ConformalBands | None = eqx.field(static=True, default=None)
    sampling: TrainingSampling | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        call = "Scaled(net, scalers)"
        check_model(self.net, call)
        sizes = {name: self.net.topology.sizes[name] for name in _with_units(self.net)}
        if not isinstance(self.scalers, Mapping):
            raise DataError(
                f"scalers is {called(self.scalers)}, but {call} takes a dict with one for each of {sorted(sizes)}. "
                "Scaled.fit(net, data) computes them from a record."
            )
        if self.scalers.keys() != sizes.keys():
            raise DataError(
                f"scalers were given for {sorted(self.scalers)}; needed is one for each input and output: "
                f"{sorted(sizes)}. Scaled.fit(net, data) computes them from a record."
            )
        expect((ConformalBands, type(None)), "bands", self.bands, call, "the bands of free runs, or None")
        expect((TrainingSampling, type(None)), "sampling", self.sampling, call, "TrainingSampling.of(records), or None")
        for name, scaler in self.scalers.items():
            needed = "one that is fitted to a record, such as lddn.data.MinMax.fit(signal)"
            expect(AbstractScaler, f"the scaler of {name!r}", scaler, call, needed, error=DataError)
            if scaler.size != sizes[name]:
                raise ShapeError(
                    f"the scaler of {name!r} has {scaler.size} channels, but {name!r} has "
                    f"{sizes[name]} elements. Fit it to a record (*batch, time, {sizes[name]})."
                )

    @classmethod
    def fit(cls, net: Model, data: Sequences, kind: type[MinMax] | type[Standard] = MinMax) -> "Scaled":
        """Fits scalers to the inputs and targets of a record.

        A feedback input `measured_y` of output `y`, as named by `lddn_jax.models.narx`, shares the scaler of `y`, which
        is fitted to the targets. Delay states are not used.

        Args:
            net: The network, trained or not.
            data: The training part of a record, in its own units; targets that are NaN are ignored.
            kind: `MinMax` or `Standard`, MATLAB's mapminmax or mapstd.

        Raises:
            DataError: If all values of a channel are NaN.
            ShapeError: If names do not match the topology.
        """
        call = "Scaled.fit(net, data, kind)"
        check_model(net, call)
        check_data(data, call)
        check_kind(kind, call)
        topology = net.topology
        inputs = by_name("input", data.inputs, topology.input_names)
        targets = by_name("target", data.targets, topology.outputs)
        scalers: dict[str, AbstractScaler] = {name: kind.fit(target) for name, target in targets.items()}
        shared = {measured_name(name): scaler for name, scaler in scalers.items()}
        for name, signal in inputs.items():
            scalers[name] = shared[name] if name in shared else kind.fit(signal)
        return cls(net, scalers)

    @property
    def ranges(self) -> dict[str, Range]:
        """Smallest and largest value in training, by element of each signal; only `MinMax` scalers know them."""
        return {
            label: (np.asarray(scaler.lowest, float)[k : k + 1], np.asarray(scaler.highest, float)[k : k + 1])
            for name, scaler in self.scalers.items()
            if isinstance(scaler, MinMax)
            for k, label in enumerate(element_names(name, scaler.lowest.size))
        }

    def with_net(self, net: Model) -> "Scaled":
        """Returns the same scalers with another network, such as `fitted.net`, whose bands are not known."""
        return Scaled(net, self.scalers, sampling=self.sampling)

    def scale(self, data: Sequences) -> Sequences:
        """Converts inputs, targets and delay states to scaled units, for training.

        Raises:
            ShapeError: If names or sizes do not match the topology.
        """
        targets = by_name("target", data.targets, self.net.topology.outputs)
        return replace(
            data,
            inputs=self.scaled_inputs(data.inputs),
            targets=self._applied("target", targets),
            state=self.scaled_state(data.state),
        )

    def predict(self, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Signals:
        """Returns the outputs in the units of the record, `(*batch, time, size)` by output layer.

        Args:
            inputs: As in `lddn_jax.predict`, in the units of the record.
            state: Delay state; that of inputs and outputs in the units of the record. None is zero in scaled units,
                which is the middle of a range (`MinMax`) or the mean (`Standard`).
            steps: As in `lddn_jax.predict`.

        Raises:
            ShapeError: If a name or shape does not match the topology.
        """
        return self.in_units(predict(self.net, self.scaled_inputs(inputs), self.scaled_state(state), steps=steps))

    def simulate(self, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Trajectory:
        """Simulates the network. Arguments as in `predict`.

        Returns:
            A `Trajectory` with `outputs` and `final_state` in the units of the record, and `n` and `a` in scaled units.
        """
        found = simulate(self.net, self.scaled_inputs(inputs), self.scaled_state(state), steps=steps)
        return Trajectory(found.n, found.a, self.in_units(found.outputs), self.state_in_units(found.final_state))

    def step(self, sample: MomentLike, state: StateLike = None) -> tuple[Moment, DelayState]:
        """Advances the network by one sample like `lddn_jax.step`, in the units of the record.

        Args:
            sample: Current inputs, `(*batch, size)` by input name.
            state: Delay state returned by the previous step; None as in `predict`.

        Returns:
            Outputs `(*batch, size)` by output layer, and the delay state for the next step.

        Raises:
            ShapeError: If a name or shape does not match the topology.
        """
        found = self.simulate(as_record(self.net, sample), state, steps=None if self.net.topology.inputs else 1)
        return {name: output[..., 0, :] for name, output in found.outputs.items()}, found.final_state

    @overload
    def in_units(self, outputs: Prediction) -> Prediction: ...
    @overload
    def in_units(self, outputs: Mapping[str, SignalLike]) -> Signals: ...
    def in_units(self, outputs: Prediction | Mapping[str, SignalLike]) -> Prediction | Signals:
        """Converts outputs of the network to the units of the record.

        Args:
            outputs: `(*batch, time, size)` by output layer; or a `Prediction` of a posterior, which is converted with
                its error bars.
        """
        if isinstance(outputs, Prediction):
            errors = map(self.errors_in_units, (outputs.parameters, outputs.noise))
            return Prediction(self.in_units(outputs.mean), *errors)
        return {name: self._scaler(name).invert(output) for name, output in outputs.items()}

    def errors_in_units(self, errors: Mapping[str, SignalLike]) -> Signals:
        """Converts errors or standard deviations of outputs, `(*batch, time, size)`, to the units of the record."""
        found = {}
        for name, error in errors.items():
            error = jnp.asarray(error)
            factor = self._scaler(name).error_scale().astype(error.dtype)
            found[name] = error * jnp.expand_dims(factor, tuple(range(error.ndim - 1)))
        return found

    def close_loop(self, output: str, input: str) -> "Scaled":
        """Returns the network with its loop closed; see `lddn_jax.close_loop`.

        Raises:
            DataError: If output and input have different scalers.
            TopologyError: As in `lddn_jax.close_loop`.
        """
        closed = rewiring.close_loop(self.net, output=output, input=input)
        if not _same(self.scalers[input], self._scaler(output)):
            raise DataError(
                f"close_loop: {input!r} and {output!r} have different scalers, so the network would read different "
                "values with its loop closed. Use one scaler for both and train again; Scaled.fit does so for an input "
                f"named {measured_name(output)!r}."
            )
        kept = {name: scaler for name, scaler in self.scalers.items() if name != input}
        return replace(self, net=closed, scalers=kept)

    def open_loop(self, output: str, input: str) -> "Scaled":
        """Returns the network with its loop open; the new input gets the output's scaler. See `lddn_jax.open_loop`."""
        opened = rewiring.open_loop(self.net, output=output, input=input)
        return replace(self, net=opened, scalers=self.scalers | {input: self._scaler(output)})

    def to_dict(self) -> dict[str, Any]:
        """Returns topology and scalers, without weights, as a dict of plain Python values for `json.dump`."""
        scaling = {name: scaler.to_dict() for name, scaler in self.scalers.items()}
        return {"topology": self.net.topology.to_dict(), "scaling": scaling}

    def scaled_inputs(self, inputs: SignalsLike) -> Signals:
        """Converts inputs, `(*batch, time, size)` by name, to scaled units."""
        return self._applied("input", by_name("input", inputs, self.net.topology.input_names))

    def scaled_state(self, state: StateLike) -> StateLike:
        """Converts the parts of inputs and outputs in a delay state to scaled units."""
        return self._applied("delay state of", state) if isinstance(state, Mapping) else state

    def _applied(self, kind: str, signals: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(signals)
        for name in signals.keys() & self.scalers.keys():
            check_last_axes(f"{kind} {name!r}", jnp.shape(found[name]), self.net.topology.sizes[name])
            found[name] = self.scalers[name].apply(found[name])
        return found

    def state_in_units(self, state: DelayState) -> DelayState:
        """Converts the parts of inputs and outputs in a delay state to the units of the record."""
        return {name: self.scalers[name].invert(x) if name in self.scalers else x for name, x in state.items()}

    def _scaler(self, name: str) -> AbstractScaler:
        if name not in self.net.topology.outputs:
            raise ShapeError(f"{name!r} is not an output; the outputs are {list(self.net.topology.outputs)}.")
        return self.scalers[name]


def _with_units(net: Model) -> tuple[str, ...]:
    return (*sorted(net.topology.input_names), *net.topology.outputs)


def _same(one: AbstractScaler, other: AbstractScaler) -> bool:
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=False))
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    return all(is_traced(a) or is_traced(b) or np.array_equal(a, b) for a, b in pairs)
