"""Gradient descent with momentum and a learning rate that adapts to the loss."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from lddn_jax.checks import checked
from lddn_jax.optimizers.vectors import Point, Vector, on_vectors


class VariableLearningRateState(NamedTuple):
    """State of the method.

    Attributes:
        learning_rate: α of the next step.
        velocity: Δx, the last step; zero if it was rejected.
        accepted: Whether the last step was accepted. If not, the next one has no momentum.
    """

    learning_rate: Float[Array, ""]
    velocity: Vector
    accepted: Bool[Array, ""]


def variable_learning_rate(
    learning_rate: float = 0.01,
    increase: float = 1.05,
    decrease: float = 0.7,
    max_perf_inc: float = 1.04,
    momentum: float = 0.9,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with momentum and a variable learning rate (MATLAB's `traingdx`, with its defaults).

        Δx_k = γ Δx_{k−1} − (1 − γ) α g

    If the loss falls, α is multiplied by `increase`. If it rises above `max_perf_inc` times the old loss or is not
    finite, the step is rejected, α is multiplied by `decrease`, and γ is 0 until a step is accepted. Otherwise the step
    is accepted and α stays. An update costs one evaluation of the loss.

    The rule limits the increase in each step, not in total: if α is slightly too large, the loss may rise a little in
    every step for long. With `max_perf_inc=1.0` it never rises.

    Args:
        learning_rate: The initial α.
        increase: MATLAB's `lr_inc`.
        decrease: MATLAB's `lr_dec`.
        max_perf_inc: The largest allowed ratio of the new loss to the old. A negative loss may rise by the same
            fraction of its absolute value.
        momentum: γ, MATLAB's `mc`; 0.0 for `traingda`.

    Returns:
        A transformation; `update` takes `value`, `grad` and `value_fn`, as in `optax.lbfgs`.

    Raises:
        LDDNError: If a number is not finite or out of range.

    Example:
        A step that diverges is rejected.

        >>> method, x = variable_learning_rate(learning_rate=1e3), jnp.ones(2)
        >>> def loss(x):
        ...     return (x**2).sum()
        >>> step, state = method.update(2 * x, method.init(x), x, value=loss(x), grad=2 * x, value_fn=loss)
        >>> step.tolist(), bool(state.accepted), round(float(state.learning_rate))
        ([0.0, 0.0], False, 700)

    Vogl, Mangis, Rigler, Zink & Alkon (1988), Biological Cybernetics 59; Hagan, Demuth, Beale & De Jesús (2014),
    *Neural Network Design*, 2nd ed., ch. 12 (variable learning rate).
    """
    method = "variable_learning_rate"
    learning_rate = checked(method, "learning_rate", learning_rate, 0.01, above=0)
    increase = checked(method, "increase", increase, 1.05, at_least=1)
    decrease = checked(method, "decrease", decrease, 0.7, above=0, below=1)
    max_perf_inc = checked(method, "max_perf_inc", max_perf_inc, 1.04, at_least=1)
    momentum = checked(method, "momentum", momentum, 0.9, at_least=0, below=1)

    def init(x):
        return VariableLearningRateState(jnp.asarray(learning_rate, x.dtype), jnp.zeros_like(x), jnp.asarray(True))

    def update(at: Point, state: VariableLearningRateState):
        alpha = state.learning_rate
        gamma = jnp.where(state.accepted, jnp.asarray(momentum, alpha.dtype), 0)
        step = gamma * state.velocity - (1 - gamma) * alpha * at.updates
        value = at.loss(at.x + step)
        fell = value < at.value
        highest = at.value + (max_perf_inc - 1) * jnp.abs(at.value)
        accepted = jnp.isfinite(value) & (fell | (value <= highest))
        step = jnp.where(accepted, step, 0)
        factor = jnp.where(accepted, jnp.where(fell, increase, 1.0), decrease)
        return step, VariableLearningRateState(alpha * factor.astype(alpha.dtype), step, accepted)

    return on_vectors(init, update)
