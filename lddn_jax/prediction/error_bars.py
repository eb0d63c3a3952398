"""Error bars of outputs, by propagation of the parameter uncertainty through all loops and delays.

With the row g(t) = ∂a(t)/∂x of the Jacobian, and Gaussian parameters with mean x* and covariance H⁻¹,

    var a(t) = g(t) H⁻¹ g(t)ᵀ = ‖g(t) W‖²,    W Wᵀ = H⁻¹

For a closed loop g(t) is the Jacobian of the free run, which includes the effect on all earlier outputs.

MacKay (1992), Neural Computation 4(3) 448-472, section 4; Bishop (2006), *Pattern Recognition and Machine Learning*,
eq. 5.167-5.173.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.gradients.columns import Columns
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.gradients.rtrl import RTRL, forward
from lddn_jax.network.committee import Model
from lddn_jax.network.network import Network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals, SignalsLike, StateLike
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import from_lanes, to_lanes
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.simulate import batch_axes


class Prediction(eqx.Module):
    """Outputs with error bars, each as `(*batch, time, size)` by output layer, in the units of the outputs.

    Attributes:
        mean: Outputs of the most probable network; for posterior samples, their mean.
        parameters: Standard deviation due to the uncertainty of the parameters.
        noise: Standard deviation of the measurement noise.
    """

    mean: Signals
    parameters: Signals
    noise: Signals

    @property
    def std(self) -> Signals:
        """Standard deviation of a measurement, from parameters and noise."""
        return {name: jnp.sqrt(self.parameters[name] ** 2 + self.noise[name] ** 2) for name in self.mean}


@runtime_checkable
class ErrorBars(Protocol):
    """What gives predictions of a network with error bars, such as a `lddn_jax.Posterior`."""

    @property
    def net(self) -> Model:
        """The most probable network."""
        ...

    def predict(self, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Prediction:
        """Returns outputs with error bars; arguments as in `lddn_jax.predict`."""
        ...

    def close_loop(self, output: str, input: str) -> Any:
        """Returns the error bars of the network with its loop closed."""
        ...


@up_to_date
@jax.jit(static_argnames="steps")
def spread(
    net: Network,
    root: Float[Array, "parameters directions"],
    inputs: Signals,
    state: DelayState,
    steps: int,
    method: AbstractGradient,
) -> tuple[Signals, Signals]:
    """Returns the outputs and their standard deviations √(g H⁻¹ gᵀ), `(*batch, time, size)` by output layer.

    Args:
        net: The network.
        root: W with W Wᵀ = H⁻¹, `(parameters, parameters)`.
        inputs: From `lddn_jax.simulation.simulate.prepare`.
        state: From `prepare`.
        steps: From `prepare`.
        method: Gradient method. `RTRL()` never stores the Jacobian; all others store it.
    """
    outputs = net.topology.outputs

    def length(rows):
        return jnp.sqrt(jnp.sum(einsum("...p,pk->...k", rows, root) ** 2, axis=-1))

    if not isinstance(method, RTRL):
        rows, _ = method.derivatives(net, inputs, state, steps)
        a = method.linearize(net, inputs, state, steps).a
        return {name: a[name] for name in outputs}, {name: length(rows[name]) for name in outputs}
    columns = Columns.reaching(net.topology, with_state=False)

    def keep(start, count, signals, derivatives):
        return (
            {name: signals[name] for name in outputs},
            {name: length(columns.all(name, derivatives[name])) for name in outputs},
        )

    batch = batch_axes(inputs, state)
    a, found = forward(net, columns, to_lanes(inputs), to_lanes(state), steps, outputs, keep)
    return from_lanes(a, batch), from_lanes(found, batch)
