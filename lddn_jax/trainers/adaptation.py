"""Online adaptation: real-time recurrent learning with one update per sample.

RTRL carries ∂a/∂x forward in time, so the gradient of a sample's loss is available when its target arrives, without
storing past samples:

    ∂F(t)/∂x = Σ_i ∂ᵉF/∂a_i(t) · ∂a_i(t)/∂x        x(t+1) = x(t) + update(∂F(t)/∂x)

The carried derivatives were computed with earlier parameters, so the gradient is accurate only if parameters change
slowly (Williams & Zipser's assumption). For a linear layer without feedback and with gradient descent, this is the LMS
rule of Widrow and Hoff, w(t+1) = w(t) + 2η e(t) p(t), and the network is an ADALINE.

Widrow & Hoff (1960); Williams & Zipser (1989), Neural Computation 1(2) 270-280; Hagan et al., *Neural Network Design*,
2nd ed., ch. 10.
"""

import logging
import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.api import prepare_data
from lddn_jax.gradients.columns import Columns
from lddn_jax.gradients.rtrl import recursion_in
from lddn_jax.losses import AbstractLoss, SumSquaredError, check_loss, error_weights
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Moment, MomentLike, SequencesLike, Signals, StateLike, is_traced
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import Values, from_lanes, to_lanes
from lddn_jax.simulation.delays import DelayState, as_state
from lddn_jax.simulation.simulate import batch_axes, final_state, prepared
from lddn_jax.simulation.streaming import as_record, one_moment
from lddn_jax.trainers.first_order import first_state, updated
from lddn_jax.training.trainer import check_values

_logger = logging.getLogger("lddn_jax")


class Adapting(eqx.Module):
    """State of an `Adapter` between samples.

    Attributes:
        state: Delay state, `(*batch, longest delay, size)` by source.
        lines: Derivatives ∂a/∂x in the delay lines.
        optimizer: State of the optax transformation.
    """

    state: DelayState
    lines: Values
    optimizer: Any


class Adapter(eqx.Module):
    """Adapts a network online: call `init` once, then `step` for each sample.

    Args:
        transformation: An optax transformation, for example `optax.sgd(0.01)`.
        loss: Loss of one sample. The default `SumSquaredError(missing="mask")` ignores missing targets.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> adapter = lddn.Adapter(optax.sgd(0.1))
        >>> adapting = adapter.init(net)
        >>> net, adapting, before = adapter.step(net, adapting, jnp.array([2.0]), jnp.array([1.0]))
        >>> float(before["y"][0]), round(float(net.IW["y", "u"][0, 0, 0]), 6)  # 0 + 2 · 0.1 · 1 · 2
        (0.0, 0.4)
    """

    transformation: optax.GradientTransformation
    loss: AbstractLoss = SumSquaredError(missing="mask")

    def __check_init__(self):
        if not hasattr(self.transformation, "update"):
            raise LDDNError(
                f"Adapter(transformation={self.transformation!r}): an optax transformation is needed, such as "
                "lddn.Adapter(optax.sgd(0.01))."
            )

    def init(self, net: Network, state: StateLike = None, batch: tuple[int, ...] = ()) -> Adapting:
        """Returns the initial state.

        Args:
            net: The network.
            state: Initial delay state, as in `lddn_jax.simulate`; None for zeros.
            batch: Batch axes of the samples, for several plants that run in parallel and share the network.
        """
        held = as_state(net.topology, state, batch, net.dtype)
        lanes = math.prod(batch)
        lines = recursion_in(net, Columns.reaching(net.topology, False), lanes, net.topology.outputs).start()
        return Adapting(held, lines, first_state(self.transformation, net))

    def step(
        self, net: Network, adapting: Adapting, sample: MomentLike, target: MomentLike
    ) -> tuple[Network, Adapting, Moment]:
        """Updates the network with one sample and its target.

        Args:
            net: The current network.
            adapting: From `init` or the previous step.
            sample: `(*batch, size)` by input name, or one array.
            target: `(*batch, size)` by output layer, or one array; NaN where missing.

        Returns:
            The new network, the new state, and the outputs `(*batch, size)` of the network before the update.
        """
        sizes = {name: net.topology.sizes[name] for name in net.topology.outputs}
        target = one_moment("target", target, sizes, net.dtype)
        net, adapting, outputs, _ = _step(self, net, adapting, as_record(net, sample), target, None)
        return net, adapting, {name: a[..., 0, :] for name, a in outputs.items()}


@dataclass(frozen=True)
class Adapted:
    """Result of `adapt`.

    Attributes:
        net: The network after the last sample.
        adapting: Final state; pass it to `Adapter.step` to continue.
        outputs: `(*batch, time, size)` by output layer, each computed before the update with its target.
        losses: `(time,)`, the loss of each sample before the update.
    """

    net: Network
    adapting: Adapting
    outputs: Signals
    losses: Float[Array, " time"]


def adapt(
    net: Network, data: SequencesLike, transformation: optax.GradientTransformation, loss: AbstractLoss | None = None
) -> Adapted:
    """Adapts a network to a data stream, with one update per sample.

    Args:
        net: The network.
        data: `Sequences`; batch axes are plants that run in parallel and share the network.
        transformation: An optax transformation, for example `optax.sgd(0.01)`.
        loss: Loss of one sample; `SumSquaredError(missing="mask")` if None.

    Returns:
        `Adapted`: the final network and state, and the outputs and losses of all samples.

    Raises:
        ShapeError: If data does not match the network.
        DataError: If a target is NaN and the loss has `missing="error"`.

    Example:
        >>> import jax, optax, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...                          [lddn.Connection("u", to="y", delays=(0, 1))], ["y"])
        >>> u = jax.random.normal(jax.random.key(0), (300, 1))
        >>> adapted = lddn.adapt(lddn.Network(topology, init="zeros"), lddn.Sequences(u, 3 * u), optax.sgd(0.05))
        >>> abs(adapted.net.IW["y", "u"].ravel() - jax.numpy.array([3.0, 0.0])).max() < 1e-3
        Array(True, dtype=bool)

    Widrow & Hoff (1960); Williams & Zipser (1989).
    """
    loss = SumSquaredError(missing="mask") if loss is None else loss
    call = "adapt(net, data, transformation, loss)"
    check_loss(loss, call)
    adapter = Adapter(transformation, loss)
    check_network(net, call)
    inputs, targets, state, weights, steps = prepare_data(loss, net, data, call)
    check_values(inputs, targets, state)
    adapting = adapter.init(net, state, batch_axes(inputs, state))
    weights = None if weights is None else error_weights(weights, targets)
    found = Adapted(
        *_over_time(
            adapter=adapter, net=net, adapting=adapting, inputs=inputs, targets=targets, weights=weights, steps=steps
        )
    )
    if not is_traced(found.losses) and not np.isfinite(found.losses).all():
        first = int(np.argmin(np.isfinite(found.losses)))
        _logger.warning(
            "adapt: the loss became NaN or infinite at sample %d, and the network with it. Use a smaller learning rate "
            "or scale the signals.",
            first,
        )
    return found


@up_to_date
@eqx.filter_jit
def _over_time(adapter, net, adapting, inputs, targets, weights, steps):
    def one(carried, now):
        net, adapting = carried
        inputs, targets, weights = jax.tree.map(lambda signal: jnp.expand_dims(signal, -2), now)
        net, adapting, outputs, value = _step(adapter, net, adapting, inputs, targets, weights)
        return (net, adapting), ({name: a[..., 0, :] for name, a in outputs.items()}, value)

    stream = jax.tree.map(lambda signal: jnp.moveaxis(signal, -2, 0), (inputs, targets, weights))
    (net, adapting), (outputs, values) = jax.lax.scan(one, (net, adapting), stream, length=steps)
    return net, adapting, {name: jnp.moveaxis(a, 0, -2) for name, a in outputs.items()}, values


@up_to_date
@eqx.filter_jit
def _step(adapter, net, adapting, inputs, targets, weights):
    batch = batch_axes(inputs, adapting.state)
    lanes, names = math.prod(batch), net.topology.outputs
    columns = Columns.reaching(net.topology, False)
    here, state = to_lanes(inputs), to_lanes(adapting.state)
    n, a = prepared(net, (lanes,))(here, state, 1)
    derivatives, lines = recursion_in(net, columns, lanes, names)(n, here | a, state, adapting.lines, 1)
    outputs = from_lanes({name: a[name] for name in names}, batch)

    def explicit(net, outputs):
        return adapter.loss.value(net, outputs, targets, weights)

    value, (decay, cotangents) = jax.value_and_grad(explicit, argnums=(0, 1))(net, outputs)
    cotangents = to_lanes(cotangents)
    rows = [einsum("tibp,tib->p", columns.all(name, derivatives[name]), cotangents[name]) for name in names]
    _, unravel = jax.tree.map(jnp.zeros_like, net).ravel()
    gradient = jax.tree.map(lambda g, w: g + w, unravel(sum(rows[1:], start=rows[0])), decay)
    net, optimizer = updated(adapter.transformation, gradient, adapting.optimizer, net, value=value, grad=gradient)
    after = from_lanes(final_state(here | a, state), batch)
    return net, Adapting(after, lines, optimizer), outputs, value
