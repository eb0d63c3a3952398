"""Parameters without a prior, eliminated before the evidence of the others is computed.

Some parameters need no prior, such as those of a linear model that a network was started from: the data determine
them, and a pull to zero would only do harm. Their prior is flat, α = 0, so A^{−1/2} of `evidence.py` does not exist
for them. With J = [J₀ J₁], J₀ of the parameters x₀ without prior and J₁ of the others,

    H/2 = [ β J₀ᵀJ₀   β J₀ᵀJ₁        ]
          [ β J₁ᵀJ₀   β J₁ᵀJ₁ + A₁   ]

and the integral of the posterior over x₀ leaves a problem of x₁ alone, in which the residuals have no component in the
range of J₀:

    S = J₁ᵀJ₁ − J₁ᵀJ₀ (J₀ᵀJ₀)⁺ J₀ᵀJ₁         det(H/2) = det(β J₀ᵀJ₀) det(β S + A₁)
    γ = rank J₀ + Σ_c γ_c                     γ_c from S, as in `evidence.py`
    x₀ = −B x₁ + (2β J₀ᵀJ₀)^{−½} z,            B = (J₀ᵀJ₀)⁺ J₀ᵀJ₁,   z standard normal

So each parameter without a prior counts in full in γ, and β = (N − γ)/(2 E_D) is the unbiased estimate of regression if
there are no others. The flat prior has density 1, and the evidence (½ rank J₀ log π − ½ log det β J₀ᵀJ₀ is its part)
compares networks that have the same parameters without a prior, in the same units.

Directions of x₀ that change no output, such as the basis of the states of a linear model, are determined by neither
data nor prior. They are left out: of rank, determinant and covariance.

MacKay (1992), Neural Computation 4(3) 415-447, on improper priors and γ; Gull (1988), *Bayesian inductive inference and
maximum entropy*.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lddn_jax.gradients.gauss_newton import GaussNewton
from lddn_jax.numerics.contraction import einsum

# Smallest eigenvalue of J₀ᵀJ₀ of a direction that the data determine, relative to the largest; for columns of length 1.
LEAST_EIGENVALUE = 1e-12


class FlatPrior(eqx.Module):
    """The parameters without a prior, given the others.

    Attributes:
        root: (β J₀ᵀJ₀)^{−½}, `(free, free)`; columns of undetermined directions are zero.
        pull: B, `(free, bound)`.
        log_det: log det β J₀ᵀJ₀ over the determined directions.
        rank: Number of determined directions.
        order: Position of each parameter in the sequence (free, bound), `(parameters,)`.
    """

    root: Float[Array, "free free"]
    pull: Float[Array, "free bound"]
    log_det: Float[Array, ""]
    rank: Float[Array, ""]
    order: Int[np.ndarray, " parameters"]

    @property
    def log_evidence(self) -> Float[Array, ""]:
        """The part of log p(D | α, β) that the integral over these parameters adds."""
        return (self.rank * math.log(math.pi) - self.log_det) / 2

    def joined(self, root: Float[Array, "bound directions"]) -> Float[Array, "parameters _"]:
        """Returns W of all parameters, W Wᵀ = H⁻¹, from that of the parameters with a prior."""
        free = jnp.concatenate([-einsum("fb,bk->fk", self.pull, root), self.root / math.sqrt(2)], axis=1)
        bound = jnp.concatenate([root, jnp.zeros((root.shape[0], self.root.shape[1]), root.dtype)], axis=1)
        return jnp.concatenate([free, bound])[self.order]


def eliminated(
    found: GaussNewton, beta: Float[Array, ""], free: Int[np.ndarray, " free"], bound: Int[np.ndarray, " bound"]
) -> tuple[FlatPrior, Float[Array, "bound bound"], Float[Array, "_ bound"] | None]:
    """Eliminates the parameters without a prior.

    Args:
        found: The sums over the record.
        beta: β.
        free: Indices of the parameters without a prior.
        bound: Indices of the others.

    Returns:
        The eliminated parameters; S, `(bound, bound)`; and a factor R with RᵀR = S if J has a triangular factor.
    """
    if found.R is None:
        J00, J01, J11 = (found.JTJ[rows][:, columns] for rows, columns in ((free, free), (free, bound), (bound, bound)))
        lengths = _or_one(jnp.sqrt(jnp.diag(J00)))
        squares, V = jnp.linalg.eigh(J00 / lengths[:, None] / lengths[None, :])
        keep = _determined(squares)
        root = V * jnp.where(keep, 1 / jnp.sqrt(jnp.where(keep, squares, 1)), 0)[None, :] / lengths[:, None]
        common, R = einsum("fk,fb->kb", root, J01), None
        S = J11 - einsum("kb,kc->bc", common, common)
    else:
        R0, R1 = found.R[:, free], found.R[:, bound]
        lengths = _or_one(jnp.sqrt(jnp.sum(R0 * R0, axis=0)))
        U, sigma, Vt = jnp.linalg.svd(R0 / lengths[None, :], full_matrices=False)
        squares = sigma * sigma
        keep = _determined(squares)
        root = Vt.T * jnp.where(keep, 1 / jnp.where(keep, sigma, 1), 0)[None, :] / lengths[:, None]
        U = jnp.where(keep[None, :], U, 0)
        common = einsum("pk,pb->kb", U, R1)
        R = R1 - einsum("pk,kb->pb", U, common)
        S = einsum("pb,pc->bc", R, R)
    rank = jnp.sum(keep).astype(found.JTe.dtype)
    log_det = jnp.sum(jnp.where(keep, jnp.log(jnp.where(keep, squares, 1)), 0)) + 2 * jnp.sum(jnp.log(lengths))
    flat = FlatPrior(
        root=root / jnp.sqrt(beta),
        pull=einsum("fk,kb->fb", root, common),
        log_det=log_det + rank * jnp.log(beta),
        rank=rank,
        order=np.argsort(np.concatenate([free, bound])),
    )
    return flat, S, R


def _determined(squares: Float[Array, " free"]) -> Array:
    least = max(LEAST_EIGENVALUE, squares.shape[0] * float(jnp.finfo(squares.dtype).eps))
    return squares > least * jnp.max(squares)


def _or_one(lengths: Float[Array, " free"]) -> Float[Array, " free"]:
    """Replaces zeros, of parameters that reach no output, by ones."""
    return jnp.where(lengths > 0, lengths, 1)
