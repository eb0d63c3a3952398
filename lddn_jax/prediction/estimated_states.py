"""First states of a record: values of layers before its first step, estimated from its first samples.

    minimize over x = a(τ), τ < 0:    Σ_{t < N} ‖y(t) − ŷ(t; x)‖² + σ² ‖x / s‖²

Layers that are read through a delay and are not measured, the states of a state-space model, have unknown values before
a record. Without them a free run starts with an error that decays only with the slowest time constant. N is the number
of steps after which the outputs have forgotten x: ∂ŷ(t)/∂x has fallen to 5 % of its largest value, column by column,
but at least 20 and at most 100. The second term keeps x within reach (s, ten times the usual size of the layer) where
the outputs do not depend on it; σ² is the mean square of the remaining errors.

Solved by Levenberg-Marquardt for all records and members of a committee side by side, from the given state and from
others about it, because a nonlinear model has local minima; one of these is taken if its sum is a quarter or less.
Ljung (1999), *System Identification*, 2nd ed., section 7.4, on initial states of state-space models.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import LDDNError
from lddn_jax.losses import counted
from lddn_jax.network.committee import Committee, Model
from lddn_jax.network.network import Network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import Signals, as_signals
from lddn_jax.numerics.contraction import einsum
from lddn_jax.simulation.delays import DelayState, state_sizes
from lddn_jax.simulation.member_runs import each_member
from lddn_jax.simulation.simulate import prepared_model, simulate

ESTIMATE, ZEROS = "estimate", "zeros"
LEAST_FITTED_STEPS, MOST_FITTED_STEPS = 20, 100
FORGOTTEN = 0.05  # of the largest derivative of an output with respect to a first state
REACH_IN_SIZES = 10.0  # standard deviation of a first state, in units of the usual size of its layer
GUESSES = 8  # that the iteration starts from
LEAST_RATIO_OF_SUMS = 4.0  # of the given guess to another one, if that is to be taken: the prior belongs to the first
MOST_ITERATIONS = 30
SMALLEST_GAIN = 1e-9  # relative decrease of the sum at which the iteration stops
DAMPING, DAMPING_FACTOR, LARGEST_DAMPING = 1e-3, 10.0, 1e8


def fitted_steps(given: object, warmup: int, call: str) -> int | None:
    """Returns the number of first steps to fit: None to choose it, 0 for first states of zero.

    With a warm-up it is the number of warm-up steps, so that no step is both fitted and scored.

    Args:
        given: "estimate", "zeros", or a number of steps.
        warmup: Number of first steps that are not scored.
        call: The signature shown in errors.

    Raises:
        LDDNError: If it is anything else.
    """
    if given == ZEROS:
        return 0
    if given == ESTIMATE:
        return warmup if warmup >= LEAST_FITTED_STEPS else None
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise LDDNError(
            f"first_states={given!r}, but {call} takes 'estimate', 'zeros', or the number of first steps that they are "
            "estimated from: first_states=50."
        )
    return given


def unmeasured_layers(model: Model) -> list[str]:
    """Returns the layers that are read through a delay and are neither inputs nor outputs."""
    topology = model.topology
    return [name for name in state_sizes(topology) if name not in {*topology.input_names, *topology.outputs}]


def with_first_states(model: Model, data: Sequences, steps: int | None = None) -> tuple[Sequences, int]:
    """Returns data with estimated first states of layers that are not measured, and the number of steps fitted.

    Args:
        model: A network or committee with its loop closed; each member gets its own states.
        data: Sequences with targets, NaN or weight 0 where missing. Their state is the guess, and is kept for inputs
            and outputs.
        steps: Number of first steps that are fitted; None to choose it, 0 to keep the state as it is.
    """
    names = unmeasured_layers(model)
    inputs, state, length = prepared_model(
        model, data.inputs, data.state, None if model.topology.inputs else data.steps
    )
    batch = data.batch
    if names and steps != 0:
        sizes = {name: model.topology.sizes[name] for name in model.topology.outputs}
        targets = counted(as_signals("target", data.targets, sizes, model.dtype), data.weights)
        window = min(length, MOST_FITTED_STEPS if steps is None else steps)
        first = {name: jnp.asarray(y, model.dtype)[..., :window, :] for name, y in targets.items()}
        given = {name: u[..., :window, :] for name, u in inputs.items()}
        lines, used = _estimated(model, given, first, state, batch, tuple(names), steps is None)
        state, count = state | lines, int(used)
    else:
        count = 0
    if isinstance(model, Committee) and not model.topology.inputs:
        state = each_member(model, state, batch)  # only the delay state tells how many sequences there are
    return dataclasses.replace(data, state=state or None), count


def about_states(model: Model, used: int, warmup: int) -> tuple[str, ...]:
    """Returns the note of a forecast about estimated first states; none if nothing was estimated.

    Args:
        model: The model.
        used: Number of steps fitted, from `with_first_states`.
        warmup: Number of first steps that are not scored.
    """
    if not used:
        return ()
    scored = "are not scored" if used <= warmup else "are scored too"
    return (
        f"first states of {', '.join(unmeasured_layers(model))} are estimated from the first {used} steps of each "
        f"record, which {scored}",
    )


@up_to_date
@jax.jit(static_argnames=("batch", "names", "choose"))
def _estimated(
    model: Model,
    inputs: Signals,
    targets: Signals,
    state: DelayState,
    batch: tuple[int, ...],
    names: tuple[str, ...],
    choose: bool,
) -> tuple[DelayState, Int[Array, ""]]:
    """The delay lines of the named layers, and the largest number of steps fitted."""

    def flat(signals: dict[str, Any], lead: tuple[int, ...] = ()) -> dict[str, Any]:
        return {name: x.reshape(*lead, math.prod(batch), *x.shape[-2:]) for name, x in signals.items()}

    def of_network(net: Network, state: DelayState) -> tuple[DelayState, Int[Array, " sequences"]]:
        def one(inputs: Signals, targets: Signals, state: DelayState):
            return _of_sequence(net, inputs, targets, state, names, choose)

        return jax.vmap(one)(flat(inputs), flat(targets), state)

    if isinstance(model, Committee):
        every = flat(each_member(model, state, batch), (model.members,))
        lines, used = jax.vmap(of_network)(model.nets, every)
        lead = (model.members, *batch)
    else:
        lines, used = of_network(model, flat(state))
        lead = batch
    return {name: line.reshape(*lead, *line.shape[-2:]) for name, line in lines.items()}, used.max()


def _of_sequence(
    net: Network, inputs: Signals, targets: Signals, state: DelayState, names: tuple[str, ...], choose: bool
) -> tuple[DelayState, Int[Array, ""]]:
    """Levenberg-Marquardt for one sequence, `(time, size)`."""
    steps = next(iter(targets.values())).shape[-2]
    guess = {name: state[name] for name in names}
    start, unravel = ravel_pytree(guess)
    measured = jnp.concatenate([targets[name] for name in sorted(targets)], axis=-1)
    known = ~jnp.isnan(measured)
    trajectory = simulate(net, inputs, state, steps=None if net.topology.inputs else steps)
    usual = {
        name: jnp.broadcast_to(jnp.maximum(1.0, jnp.sqrt(jnp.mean(trajectory.a[name] ** 2))), guess[name].shape)
        for name in names
    }
    reach = REACH_IN_SIZES * jnp.nan_to_num(ravel_pytree(usual)[0], nan=1.0, posinf=1.0)

    def errors(x: Float[Array, " unknowns"]) -> Float[Array, "time outputs"]:
        found = simulate(net, inputs, state | unravel(x), steps=None if net.topology.inputs else steps).outputs
        predicted = jnp.concatenate([found[name] for name in sorted(targets)], axis=-1)
        return jnp.where(known, measured - predicted, 0.0)

    derivative = jax.jacfwd(errors)
    if choose:
        size = jnp.abs(derivative(start)).max(axis=1)  # (time, unknowns)
        share = size / jnp.maximum(size.max(axis=0, keepdims=True), jnp.finfo(start.dtype).tiny)
        felt = jnp.where((share > FORGOTTEN).any(axis=1), jnp.arange(1, steps + 1), 0).max()
        used = jnp.clip(felt, min(LEAST_FITTED_STEPS, steps), steps)
    else:
        used = jnp.asarray(steps)
    fitted = (jnp.arange(steps) < used).astype(start.dtype)[:, None]
    count = jnp.maximum(jnp.sum(known.astype(start.dtype) * fitted), 1)

    def total(x: Float[Array, " unknowns"], noise: Float[Array, ""]) -> Float[Array, ""]:
        value = jnp.sum((errors(x) * fitted) ** 2) + noise * jnp.sum(((x - start) / reach) ** 2)
        return jnp.where(jnp.isfinite(value), value, jnp.inf)

    def step(now: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        x, mu, _, k = now
        e = errors(x) * fitted
        J = derivative(x) * fitted[..., None]
        noise = jnp.sum(e**2) / count
        J, e = J.reshape(-1, x.size), e.reshape(-1)
        lengths = jnp.sqrt(jnp.sum(J**2, axis=0))
        D = jnp.where(lengths > 0, lengths, 1.0)
        prior = jnp.sqrt(noise) / reach
        rows = jnp.concatenate([J, jnp.diag(prior), jnp.diag(jnp.sqrt(mu) * D)])
        wanted = jnp.concatenate([-e, -prior * (x - start), jnp.zeros_like(x)])
        Q, R = jnp.linalg.qr(rows)
        moved = jax.scipy.linalg.solve_triangular(R, einsum("mp,m->p", Q, wanted))
        old, new = total(x, noise), total(x + moved, noise)
        better = jnp.isfinite(moved).all() & (new < old)
        gain = jnp.where(better, (old - new) / jnp.maximum(old, jnp.finfo(x.dtype).tiny), jnp.inf)
        mu = jnp.where(better, mu / DAMPING_FACTOR, mu * DAMPING_FACTOR)
        return jnp.where(better, x + moved, x), mu, gain, k + 1

    def unfinished(now: tuple[Array, Array, Array, Array]) -> Array:
        _, mu, gain, k = now
        return (gain > SMALLEST_GAIN) & (mu < LARGEST_DAMPING) & (k < MOST_ITERATIONS)

    def estimate(guess: Float[Array, " unknowns"]) -> tuple[Float[Array, " unknowns"], Float[Array, ""]]:
        begin = guess, jnp.asarray(DAMPING, dtype), jnp.asarray(jnp.inf, dtype), jnp.asarray(0)
        found, *_ = jax.lax.while_loop(unfinished, step, begin)
        return found, total(found, jnp.zeros((), dtype))

    dtype = start.dtype
    # Fixed numbers, so that equal records have equal states.
    drawn = jax.random.normal(jax.random.key(0), (GUESSES - 1, start.size), dtype)
    others = start[None] + drawn * (reach / REACH_IN_SIZES)[None]
    found, sums = jax.vmap(estimate)(jnp.concatenate([start[None], others]))
    sums = jnp.where(jnp.isnan(sums), jnp.inf, sums).at[1:].multiply(LEAST_RATIO_OF_SUMS)
    return unravel(found[jnp.argmin(sums)]), used
