"""BFGS: the inverse Hessian, approximated from steps and changes of the gradient."""

import jax.numpy as jnp
import optax

from lddn_jax.numerics.contraction import einsum
from lddn_jax.optimizers.directions import Rule, searched
from lddn_jax.optimizers.vectors import dot


def bfgs(linesearch: optax.GradientTransformation | None = None) -> optax.GradientTransformationExtraArgs:
    """The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno (MATLAB's `trainbfg`).

        p = −H g,    H ← (I − s y'/s'y) H (I − y s'/s'y) + s s'/s'y

    with s the last step and y the change of the gradient over it. H starts as the identity and is scaled by s'y / y'y
    after the first step. If s'y is not positive, H is not updated; if p is not a descent direction, H is reset.

    H is dense, `(parameters, parameters)`, suited to up to a few thousand parameters. For more, see `optax.lbfgs`.

    Args:
        linesearch: A transformation that scales a direction; `golden_section_search()` if None. It takes a third fewer
            steps than `optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")`, with
            fewer evaluations on most problems, and compiles in half the time. The zoom line search uses slopes (Wolfe
            conditions), so it converges to more digits where the smallest loss is not near zero.

    Returns:
        A transformation; `update` takes `value`, `grad` and `value_fn`, as in `optax.lbfgs`.

    Raises:
        LDDNError: If the line search is not an optax transformation.

    Example:
        >>> import lddn_jax as lddn
        >>> trainer = lddn.Optax(bfgs())

    Nocedal & Wright (2006), *Numerical Optimization*, 2nd ed., eqs. 6.17 and 6.20.
    """

    def init(x):
        return jnp.eye(x.size, dtype=x.dtype)

    def direction(g, past, H):
        s, y = past.s, past.y
        sy = dot(s, y)
        scaled = jnp.where(past.age == 1, sy / dot(y, y), 1) * H
        Hy = einsum("pq,q->p", scaled, y)
        # The equation above, expanded, so that there is no product of two matrices.
        updated = scaled + (1 + dot(y, Hy) / sy) / sy * jnp.outer(s, s) - (jnp.outer(Hy, s) + jnp.outer(s, Hy)) / sy
        H = jnp.where(past.curved(), updated, H)
        return -einsum("pq,q->p", H, g), H

    return searched(Rule(init, direction), linesearch)
