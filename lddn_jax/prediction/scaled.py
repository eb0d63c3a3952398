"""A network together with its scalers, so that nobody who predicts in the units of the record can forget them.

A network learns in scaled units, z = start + width (x − anchor) / span (`data/scaling.py`). What a user has and wants
is in the units of the record:

    inputs, delay states  →  scale  →  network  →  scale back  →  outputs

A feedback input `measured_y` carries the same signal as output `y`, so both share one scaler; otherwise closing the
loop would change what the network computes. What hidden layers hold has no units and is left alone.
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
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network import rewiring
from lddn_jax.network.network import Network, check_network
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
from lddn_jax.prediction.error_bars import Prediction
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.simulate import Trajectory, predict, simulate
from lddn_jax.simulation.streaming import as_record


class Scaled(eqx.Module):
    """A network with a scaler for each of its inputs and outputs; a pytree, so `jit`, `vmap` and `grad` take it.

    Args:
        net: The network, which works in scaled units.
        scalers: By input and output layer.

    Raises:
        DataError: If a scaler is missing, or there is one too many.
        ShapeError: If a scaler has another number of channels than its signal.

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

    net: Network
    scalers: dict[str, AbstractScaler]

    def __check_init__(self):
        call = "Scaled(net, scalers)"
        check_network(self.net, call)
        sizes = {name: self.net.topology.sizes[name] for name in _with_units(self.net)}
        if not isinstance(self.scalers, Mapping):
            raise DataError(
                f"scalers is {called(self.scalers)}, but {call} takes one by name for each of {sorted(sizes)}. "
                "Scaled.fit(net, data) finds them from a record."
            )
        if self.scalers.keys() != sizes.keys():
            raise DataError(
                f"scalers were given for {sorted(self.scalers)}; needed is one for each input and output: "
                f"{sorted(sizes)}. Scaled.fit(net, data) finds them from a record."
            )
        for name, scaler in self.scalers.items():
            needed = "one that has seen a record, such as lddn.data.MinMax.fit(signal)"
            expect(AbstractScaler, f"the scaler of {name!r}", scaler, call, needed, error=DataError)
            if scaler.size != sizes[name]:
                raise ShapeError(
                    f"the scaler of {name!r} has {scaler.size} channels, but {name!r} has "
                    f"{sizes[name]} elements. Fit it to a record (*batch, time, {sizes[name]})."
                )

    @classmethod
    def fit(cls, net: Network, data: Sequences, kind: type[MinMax] | type[Standard] = MinMax) -> "Scaled":
        """Finds scalers from a record.

        An input `measured_y` of an output `y`, as `lddn_jax.models.narx` names them, shares the scaler of `y`, which is
        that of its targets. Delay states are left out.

        Args:
            net: The network, trained or not.
            data: The training part of a record, in its own units; NaN targets are ignored.
            kind: `MinMax` or `Standard`, MATLAB's mapminmax or mapstd.

        Raises:
            DataError: If a channel has no values.
            ShapeError: If names do not fit the topology.
        """
        call = "Scaled.fit(net, data, kind)"
        check_network(net, call)
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

    def with_net(self, net: Network) -> "Scaled":
        """Returns another network, such as `fitted.net`, with the same scalers."""
        return Scaled(net, self.scalers)

    def scale(self, data: Sequences) -> Sequences:
        """Returns a record in scaled units: inputs, targets and delay states; what the network is trained on.

        Raises:
            ShapeError: If names or sizes do not fit the topology.
        """
        targets = by_name("target", data.targets, self.net.topology.outputs)
        return replace(
            data,
            inputs=self._inputs(data.inputs),
            targets=self._applied("target", targets),
            state=self._state(data.state),
        )

    def predict(self, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Signals:
        """Returns the outputs in the units of the record, `(*batch, time, size)` by output layer.

        Args:
            inputs: As for `lddn_jax.predict`, in the units of the record.
            state: Delay state; that of inputs and outputs in the units of the record. None is zero in scaled units,
                which is the middle of a range (`MinMax`) or the mean (`Standard`).
            steps: As for `lddn_jax.predict`.

        Raises:
            ShapeError: If a name or shape does not fit the topology.
        """
        return self.in_units(predict(self.net, self._inputs(inputs), self._state(state), steps=steps))

    def simulate(self, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Trajectory:
        """Simulates the network; the arguments are those of `predict`.

        Returns:
            A `Trajectory` whose `outputs` and `final_state` are in the units of the record, and whose `n` and `a` are
            what the network computed, in scaled units.
        """
        found = simulate(self.net, self._inputs(inputs), self._state(state), steps=steps)
        return Trajectory(found.n, found.a, self.in_units(found.outputs), self._inverted(found.final_state))

    def step(self, sample: MomentLike, state: StateLike = None) -> tuple[Moment, DelayState]:
        """Advances the network by one sample, as `lddn_jax.step` does, in the units of the record.

        Args:
            sample: `(*batch, size)` by input name, now.
            state: The delay state that the step before returned; None as for `predict`.

        Returns:
            Outputs `(*batch, size)` by output layer, and the delay state for the next step.

        Raises:
            ShapeError: If a name or shape does not fit the topology.
        """
        found = self.simulate(as_record(self.net, sample), state, steps=None if self.net.topology.inputs else 1)
        return {name: output[..., 0, :] for name, output in found.outputs.items()}, found.final_state

    @overload
    def in_units(self, outputs: Prediction) -> Prediction: ...
    @overload
    def in_units(self, outputs: Mapping[str, SignalLike]) -> Signals: ...
    def in_units(self, outputs: Prediction | Mapping[str, SignalLike]) -> Prediction | Signals:
        """Returns outputs of the network in the units of the record.

        Args:
            outputs: By output layer, `(*batch, time, size)`; or a `Prediction` of a posterior, whose error bars are
                scaled with it.
        """
        if isinstance(outputs, Prediction):
            errors = map(self.errors_in_units, (outputs.parameters, outputs.noise))
            return Prediction(self.in_units(outputs.mean), *errors)
        return {name: self._scaler(name).invert(output) for name, output in outputs.items()}

    def errors_in_units(self, errors: Mapping[str, SignalLike]) -> Signals:
        """Returns errors or standard deviations of outputs, `(*batch, time, size)`, in the units of the record."""
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
            TopologyError: As `lddn_jax.close_loop`.
        """
        closed = rewiring.close_loop(self.net, output=output, input=input)
        if not _same(self.scalers[input], self._scaler(output)):
            raise DataError(
                f"close_loop: {input!r} is scaled otherwise than {output!r}, so the network would read something else "
                "in its place. Give both one scaler and train again; Scaled.fit does so for an input called "
                f"{measured_name(output)!r}."
            )
        return Scaled(closed, {name: scaler for name, scaler in self.scalers.items() if name != input})

    def open_loop(self, output: str, input: str) -> "Scaled":
        """Returns the network with its loop opened, the new input scaled as the output; see `lddn_jax.open_loop`."""
        opened = rewiring.open_loop(self.net, output=output, input=input)
        return Scaled(opened, self.scalers | {input: self._scaler(output)})

    def to_dict(self) -> dict[str, Any]:
        """Returns topology and scalers as plain values, ready for `json.dump`; weights are left out."""
        scaling = {name: scaler.to_dict() for name, scaler in self.scalers.items()}
        return {"topology": self.net.topology.to_dict(), "scaling": scaling}

    def _inputs(self, inputs: SignalsLike) -> Signals:
        return self._applied("input", by_name("input", inputs, self.net.topology.input_names))

    def _state(self, state: StateLike) -> StateLike:
        return self._applied("delay state of", state) if isinstance(state, Mapping) else state

    def _applied(self, kind: str, signals: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(signals)
        for name in signals.keys() & self.scalers.keys():
            check_last_axes(f"{kind} {name!r}", jnp.shape(found[name]), self.net.topology.sizes[name])
            found[name] = self.scalers[name].apply(found[name])
        return found

    def _inverted(self, state: DelayState) -> DelayState:
        return {name: self.scalers[name].invert(x) if name in self.scalers else x for name, x in state.items()}

    def _scaler(self, name: str) -> AbstractScaler:
        if name not in self.net.topology.outputs:
            raise ShapeError(f"{name!r} is no output; the outputs are {list(self.net.topology.outputs)}.")
        return self.scalers[name]


def _with_units(net: Network) -> tuple[str, ...]:
    return (*sorted(net.topology.input_names), *net.topology.outputs)


def _same(one: AbstractScaler, other: AbstractScaler) -> bool:
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=False))
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    return all(is_traced(a) or is_traced(b) or np.array_equal(a, b) for a, b in pairs)
