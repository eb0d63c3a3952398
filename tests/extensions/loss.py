"""Losses of one's own: one that outliers pull at less, one with another divisor, and one of whole vectors."""

import equinox as eqx
import jax.numpy as jnp

import lddn_jax as lddn


class LogCosh(lddn.AbstractElementwise):
    """F = Σ w s² log cosh(e / s) / N: ½ e² near zero, s |e| far out, with all derivatives.

    Args:
        scale_of_error: s, in the units of the target.
    """

    scale_of_error: float = eqx.field(default=1.0, static=True)

    def __check_init__(self):
        if not self.scale_of_error > 0:
            raise lddn.LDDNError(f"scale_of_error={self.scale_of_error!r} must be positive.")

    def error(self, e):
        """Returns s² log cosh(e / s), written so that cosh does not overflow."""
        s = self.scale_of_error
        z = jnp.abs(e / s)
        return s * s * (z + jnp.log1p(jnp.exp(-2 * z)) - jnp.log(jnp.asarray(2.0, e.dtype)))


class HalfSumSquared(lddn.AbstractLeastSquares):
    """F = ½ Σ w e²."""

    def scale(self, total, count):
        """Returns half the sum."""
        return total / 2


class VectorNorm(lddn.AbstractLoss):
    """F = Σ ‖e(t)‖ / N, the mean length of the error vectors all of whose elements count."""

    def terms(self, output, target, weight, known):
        """Returns the sum of lengths, and how many vectors count."""
        whole = jnp.all(weight > 0, axis=-1, keepdims=True)
        e = jnp.where(whole, target - output, 1)
        lengths = jnp.sqrt(jnp.sum(weight * e * e, axis=-1, keepdims=True, where=whole, initial=1e-30))
        return jnp.sum(jnp.where(whole, lengths, 0)), jnp.sum(whole)
