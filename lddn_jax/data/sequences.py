"""`Sequences`: a batch of inputs and targets of equal length, with initial delay states."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from lddn_jax.errors import DataError, ShapeError
from lddn_jax.losses import counted
from lddn_jax.network.signals import RealSignal, SignalsLike, StateLike, WeightsLike, first_infinite, first_nan, real


def _real(kind: str, given: Any) -> Any:
    if isinstance(given, Mapping):
        return {name: real(f"{kind} {name!r}", signal) for name, signal in given.items()}
    return None if given is None else real(kind, given)


class Sequences(eqx.Module):
    """Inputs and targets of one or many sequences of equal length.

    Args:
        inputs: `(*batch, time, size)` by input name, or one array if the network has one input; None or `{}` for a
            network without inputs.
        targets: `(*batch, time, size)` by output layer, or one array; NaN where missing.
        state: Initial delay state of each sequence, `(*batch, longest delay, size)` by source; None for zeros.
        weights: Error weights that broadcast over batch, time and element, by output layer or one array for all.
            Targets with weight 0 are ignored; `lddn_jax.data.stack` uses this to pad records of unequal length.
        train_state: Whether `fit` trains the delay states of layers, starting from `state`.

    Attributes:
        dropped: Number of samples that `windows` or `whole` did not use.

    Raises:
        DataError: If an input or state is NaN, a value is infinite, or an array is not real-valued.
        ShapeError: If inputs and targets differ in batch or length, both are missing, or there is no sequence.

    Example:
        >>> data = Sequences({"u": jnp.zeros((3, 50, 1))}, {"y": jnp.zeros((3, 50, 1))})
        >>> data.batch, data.steps
        ((3,), 50)
    """

    inputs: Mapping[str, RealSignal] | RealSignal | None
    targets: Mapping[str, RealSignal] | RealSignal | None
    state: Mapping[str, Shaped[Array | np.ndarray, "... longest_delay=_ size=_"]] | None
    weights: WeightsLike
    dropped: int = eqx.field(static=True)
    train_state: bool = eqx.field(static=True)

    def __init__(
        self,
        inputs: SignalsLike,
        targets: SignalsLike,
        state: StateLike = None,
        weights: WeightsLike = None,
        dropped: int = 0,
        train_state: bool = False,
    ):
        self.inputs, self.targets = _real("input", inputs), _real("target", targets)
        self.state, self.weights = _real("delay state", state), weights
        self.dropped, self.train_state = dropped, train_state

    def __check_init__(self):
        shapes = {}
        for kind, given in (("input", self.inputs), ("target", self.targets), ("delay state", self.state)):
            for name, signal in _named(given).items():
                what = kind + (f" {name!r}" if name else "")
                if jnp.ndim(signal) < 2:
                    raise ShapeError(
                        f"{what} has shape {jnp.shape(signal)}, but a signal is (*batch, time, size). "
                        "For one sequence of one element pass signal[:, None]."
                    )
                if (where := first_infinite(signal)) is not None:
                    fix = "mark it as missing with NaN" if kind == "target" else "cut the record there"
                    raise DataError(
                        f"{what} is infinite at index {where} of (*batch, time, element). Correct the value, or {fix}."
                    )
                if kind != "target" and (where := first_nan(signal)) is not None:
                    raise DataError(
                        f"{what} is NaN at index {where} of (*batch, time, element); a simulation would propagate it "
                        "to all later steps. Fill the gap, or cut the record there."
                    )
                if kind != "delay state":
                    shapes[what] = tuple(jnp.shape(signal)[:-1])
        if not shapes:
            raise ShapeError("neither inputs nor targets were given. Pass at least targets.")
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{shape} for {what}" for what, shape in shapes.items())
            raise ShapeError(f"signals differ in (*batch, time): {listed}. Cut all to one length.")
        if 0 in next(iter(shapes.values())):
            what, shape = next(iter(shapes.items()))
            raise ShapeError(
                f"{what} has (*batch, time) = {shape}, so there is no sequence or no time step to compute with. Select "
                "at least one sequence of at least one step."
            )

    @property
    def batch(self) -> tuple[int, ...]:
        """Batch axes."""
        return self._shape[:-1]

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return self._shape[-1]

    @property
    def counted(self) -> int:
        """Number of target elements that are not missing and have nonzero weight."""
        weights = self.weights
        if isinstance(weights, Mapping) and not isinstance(self.targets, Mapping):
            weights = next(iter(weights.values()))
        targets = {name: jnp.asarray(target, jnp.result_type(float)) for name, target in _named(self.targets).items()}
        return sum(int(jnp.sum(~jnp.isnan(target))) for target in counted(targets, weights).values())

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(jnp.shape(jax.tree.leaves((self.targets, self.inputs))[0])[:-1])


def _named(given: Mapping[str, RealSignal] | RealSignal | None) -> Mapping[str, RealSignal]:
    if given is None:
        return {}
    return given if isinstance(given, Mapping) else {"": given}
