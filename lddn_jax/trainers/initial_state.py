"""Estimation of initial delay states for a trained network.

    minimize over a(τ), τ < 0:    Σ_t e(t)² + s² Σ ((a(τ) − a₀(τ)) / r)²        with fixed weights

For records not used in training, the initial state is estimated from their first steps: a least-squares problem with a
few unknowns for each sequence. Where outputs hardly depend on a direction of the state, least squares alone would take
it far away to explain noise. So it is solved twice: without the second term, which gives the variance of the noise
s² = Σ e² / (N − n) from N measured values and n unknowns; and with it, a Gaussian prior around the given state a₀ whose
width r is the size of the targets for output layers, and 1 for other layers. Without noise the second term vanishes.

The prior is the usual one of maximum a posteriori estimation, as in MacKay (1992), Neural Computation 4(3) 415-447.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from lddn_jax.checks import check_positive
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.gradients.api import prepare_data
from lddn_jax.losses import SumSquaredError, counted
from lddn_jax.network.network import Network, check_network, check_single, stack_axes
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals
from lddn_jax.simulation.delays import DelayState, state_sizes
from lddn_jax.simulation.simulate import predict
from lddn_jax.trainers.damping import Damping
from lddn_jax.trainers.least_squares import minimized

LEAST_MEASURED_STEPS = 20
STEPS_PER_DELAY = 4
VALUES_PER_UNKNOWN = 10
# With fewer than twice as many values as unknowns the noise is not determined: at least 1 % of the targets is assumed.
LEAST_NOISE = 0.01


def estimate_state(net: Network, data: Sequences, steps: int | None = None, *, max_steps: int = 50) -> DelayState:
    """Estimates the initial delay states that minimize the error over the first steps of each record.

    Args:
        net: A trained network, or several stacked along one axis.
        data: `Sequences`; their state is the initial guess. Delay lines of inputs are not changed.
        steps: Number of steps of each record to fit. None for its first steps with measured targets: at least 20, four
            times the longest delay line, and enough for ten measured values per unknown.
        max_steps: Maximum number of Levenberg-Marquardt steps of each of the two estimates.

    Returns:
        A delay state for `predict(net, data.inputs, state)`, `(*batch, longest delay, size)` by source; of stacked
        networks one for each, `(networks, *batch, longest delay, size)`. The squared error over those steps is never
        larger than with the given state, which is kept where no target is measured or the estimate is not finite.

    Raises:
        LDDNError: If no layer is read through a delay, or a number is invalid.
        DataError: If no target was measured in these steps.
        ShapeError: If data does not match the network.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(LW={("y", "y"): [[[0.5]]]})
        >>> u = jnp.zeros((30, 1))
        >>> data = lddn.Sequences(u, lddn.predict(net, u, {"y": jnp.array([[8.0]])})["y"])
        >>> round(float(lddn.estimate_state(net, data)["y"][0, 0]), 4)
        8.0
    """
    loss = SumSquaredError(missing="mask")
    call = "estimate_state(net, data, steps)"
    check_network(net, call, several=True)
    axes = stack_axes(net)
    if len(axes) > 1:
        check_single(net, call)
    for name, given in (("steps", steps), ("max_steps", max_steps)):
        if given is not None:
            check_positive(name, given)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), net) if axes else net
    topology = net.topology
    unknown = {name: size for name, size in state_sizes(topology).items() if name not in topology.input_names}
    if not unknown:
        layers = [layer.name for layer in topology.layers]
        raise LDDNError(
            f"estimate_state: no layer of {layers} is read through a delay, so there is no state to estimate; "
            "predict(net, inputs) needs none."
        )
    inputs, targets, state, weights, length = prepare_data(loss, one, data, call)
    batch = next(iter(targets.values())).shape[:-2]
    known = {name: np.asarray(target) for name, target in counted(targets, weights).items()}
    fitted = _fitted_steps(known, unknown, length, steps)
    count = int(fitted.any(axis=tuple(range(fitted.ndim - 1))).nonzero()[0].max(initial=-1)) + 1
    if count == 0:
        where = "" if steps is None else f" in the first {min(steps, length)} steps"
        raise DataError(
            f"estimate_state: all targets{where} are missing or have weight 0. Pass more steps, or data without a "
            "warm-up."
        )
    known = {name: np.where(fitted[..., None], target, np.nan)[..., :count, :] for name, target in known.items()}
    inputs = {name: signal[..., :count, :] for name, signal in inputs.items()}
    number, wide = math.prod(batch), _widths(known, unknown)

    def flat(signal):
        return jnp.reshape(jnp.asarray(signal, net.dtype), (number, *signal.shape[-2:]))

    arguments = jax.tree.map(flat, (inputs, known, state))
    found = _estimated(net, *arguments, jax.tree.map(lambda width: jnp.asarray(width, net.dtype), wide), max_steps)
    return {name: line.reshape(*axes, *batch, *line.shape[-2:]) for name, line in found.items()}


def _fitted_steps(
    known: dict[str, np.ndarray], unknown: dict[str, tuple[int, int]], length: int, steps: int | None
) -> Bool[np.ndarray, "*batch time"]:
    """Returns which steps of each sequence are fitted: those with a target among its first ones."""
    measured = np.any([(~np.isnan(target)).any(axis=-1) for target in known.values()], axis=0)
    if steps is not None:
        return measured & (np.arange(length) < steps)
    values = sum(target.shape[-1] for target in known.values())
    wanted = max(
        LEAST_MEASURED_STEPS,
        STEPS_PER_DELAY * max(longest for longest, _ in unknown.values()),
        math.ceil(VALUES_PER_UNKNOWN * sum(longest * size for longest, size in unknown.values()) / values),
    )
    return measured & (np.cumsum(measured, axis=-1) <= wanted)


def _widths(known: dict[str, np.ndarray], unknown: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """Returns the width of the prior of each value of a layer's delay line, `(longest delay, size)`."""
    wide = {}
    for name, (longest, size) in unknown.items():
        sizes = np.ones(size)
        if name in known:
            largest = np.nanmax(np.abs(known[name]), axis=tuple(range(known[name].ndim - 1)), initial=0)
            sizes = np.where(largest > 0, largest, 1)
        wide[name] = np.broadcast_to(sizes, (longest, size))
    return wide


@up_to_date
@functools.partial(jax.jit, static_argnames="max_steps")
def _estimated(
    nets: Network, inputs: Signals, targets: Signals, state: DelayState, wide: DelayState, max_steps: int
) -> DelayState:
    """Returns the delay states of all sequences; each sequence, and each of several networks, by itself."""

    def of(net: Network) -> DelayState:
        def of_one(inputs, targets, state):
            return _of_a_sequence(net, inputs, targets, state, wide, max_steps)

        return jax.vmap(of_one)(inputs, targets, state)

    return jax.vmap(of)(nets) if stack_axes(nets) else of(nets)


def _of_a_sequence(
    net: Network, inputs: Signals, targets: Signals, state: DelayState, wide: DelayState, max_steps: int
) -> DelayState:
    layers = {name: state[name] for name in wide}
    (guess, unravel), (widths, _) = ravel_pytree(layers), ravel_pytree(wide)
    loss, count = SumSquaredError(missing="mask"), next(iter(targets.values())).shape[0]
    settings = Damping(1e-3, 0.1, 10.0, 1e20, "qr", "textbook")

    def errors(x: Float[Array, " unknowns"]) -> Signals:
        return loss.residuals(predict(net, inputs, state | unravel(x), steps=count), targets)

    def value_of(x: Float[Array, " unknowns"]) -> Float[Array, ""]:
        return sum_of_squares(errors(x))

    def estimate(start: Float[Array, " unknowns"], variance: Float[Array, ""]) -> Float[Array, " unknowns"]:
        def residuals(x):
            return errors(x), jnp.sqrt(variance) * (x - guess) / widths

        return minimized(residuals, start, settings, max_steps=max_steps).parameters

    N = sum_of_squares({name: (~jnp.isnan(target)).astype(guess.dtype) for name, target in targets.items()})
    power = sum_of_squares({name: jnp.nan_to_num(target) for name, target in targets.items()}) / jnp.maximum(N, 1)
    before = value_of(guess)
    start = jnp.where(jnp.isfinite(before), guess, 0)  # a free run from the guess may become infinite

    def stage(carry, _):
        x, variance = carry
        x = estimate(x, variance)
        noise = value_of(x) / jnp.maximum(N - x.size, 1)
        return (x, jnp.where(2 * x.size > N, jnp.maximum(noise, LEAST_NOISE**2 * power), noise)), None

    (x, _), _ = jax.lax.scan(stage, (start, jnp.zeros((), guess.dtype)), length=2)
    after = value_of(x)
    better = jnp.isfinite(after) & jnp.all(jnp.isfinite(x)) & ~(after > before)
    return state | unravel(jnp.where(better, x, guess))


def sum_of_squares(signals: Signals) -> Float[Array, ""]:
    """Returns the sum of the squares of all elements."""
    return jnp.sum(jnp.stack([jnp.sum(jnp.square(signal)) for signal in signals.values()]))
