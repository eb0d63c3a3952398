"""One-step secant method: a quasi-Newton step from the last step alone, without storing a matrix."""

import jax.numpy as jnp
import optax

from lddn_jax.optimizers.directions import Rule, searched
from lddn_jax.optimizers.vectors import dot


def one_step_secant(linesearch: optax.GradientTransformation | None = None) -> optax.GradientTransformationExtraArgs:
    """The one-step secant method (MATLAB's `trainoss`).

        p = −g + A s + B y,    B = s'g / s'y,    A = −(1 + y'y / s'y) B + y'g / s'y

    with s the last step and y the change of the gradient over it: BFGS with the previous inverse Hessian replaced by
    the identity. Every n steps, n the number of parameters, and if s'y is not positive, p = −g.

    Args:
        linesearch: A transformation that scales a direction; `golden_section_search()` if None. The direction has no
            natural step length, so, like conjugate gradients, it requires a nearly exact search: with
            `optax.scale_by_zoom_linesearch`, even at `curv_rtol=0.1`, 1.5 to 2 times the evaluations are needed.

    Returns:
        A transformation; `update` takes `value`, `grad` and `value_fn`, as in `optax.lbfgs`.

    Raises:
        LDDNError: If the line search is not an optax transformation.

    Example:
        >>> import lddn_jax as lddn
        >>> trainer = lddn.Optax(one_step_secant())

    Battiti (1992), "First- and second-order methods for learning: between steepest descent and Newton's method", Neural
    Computation 4(2).
    """

    def direction(g, past, memory):
        s, y = past.s, past.y
        sy = dot(s, y)
        B = dot(s, g) / sy
        A = -(1 + dot(y, y) / sy) * B + dot(y, g) / sy
        secant = past.curved() & (past.age % g.size != 0)
        return jnp.where(secant, -g + A * s + B * y, -g), memory

    return searched(Rule(lambda x: (), direction), linesearch)
