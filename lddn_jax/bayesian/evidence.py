"""The evidence framework: estimates the strength of the prior and the variance of the noise from the data.

Residuals are Gaussian with variance 1/(2β), parameters of group c with variance 1/(2α_c):

    p(D | x, β) = (β/π)^{N/2} exp(−β E_D)                    E_D = Σ e²    over N residuals
    p(x | α)    = Π_c (α_c/π)^{P_c/2} exp(−α_c E_c)          E_c = Σ (x − m)²    over the P_c parameters of group c

with m the mean of the prior, usually zero,
so that the most probable parameters minimize F = β E_D + Σ_c α_c E_c. Near them F ≈ F* + ½ Δxᵀ H Δx, with
H = 2β JᵀJ + 2A and A the diagonal of α; the posterior is the Gaussian of covariance H⁻¹ (Laplace's approximation, exact
where outputs are linear in x), and its integral over x is the evidence:

    p(D | α, β) = ∫ p(D | x, β) p(x | α) dx ≈ (β/π)^{N/2} Π_c (α_c/π)^{P_c/2} e^{−F*} (2π)^{P/2} (det H)^{−1/2}
    log p(D | α, β) = −F* − ½ log det H + Σ_c ½ P_c log 2α_c + ½ N log 2β − ½ N log 2π

which for one group is the textbook's equation. In units of the prior H = 2 A^{1/2} (I + G) A^{1/2}, with
G = β A^{−1/2} JᵀJ A^{−1/2} = V diag(s) Vᵀ, and then

    log p(D | α, β) = −F* − ½ Σ_k log(1 + s_k) + ½ N log(β/π)
    γ_c = P_c − 2α_c tr_c H⁻¹ = Σ_{i∈c} Σ_k V_ik² s_k/(1 + s_k)

s_k is the curvature of the data term along direction k relative to that of the prior; γ_c, the effective number of
parameters, counts the directions that the data determine. As s ≥ 0 and rows of V have length 1, 0 ≤ γ_c ≤ P_c even if
JᵀJ is ill-conditioned. Where the evidence is stationary,

    α_c = γ_c / (2 E_c)        β = (N − γ) / (2 E_D),        γ = Σ_c γ_c

A group may have no prior; `flat_prior.py` eliminates its parameters first.

MacKay (1992), Neural Computation 4(3) 415-447; Foresee & Hagan (1997), ICNN, 1930-1935; Hagan et al., *Neural Network
Design*, 2nd ed., ch. 13.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lddn_jax.bayesian.flat_prior import FlatPrior, eliminated
from lddn_jax.bayesian.groups import Groups
from lddn_jax.gradients.gauss_newton import GaussNewton
from lddn_jax.losses import AbstractLeastSquares
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.contraction import einsum

# Limits of a re-estimate, for signals of unit scale; without them it would divide by rounding errors. Weights are
# limited by the standard deviation 1/√(2α) of their prior, because E_c itself vanishes with 1/α².
LEAST_FREEDOM = 1e-6  # of N − γ, as a fraction of N: as many effective parameters as residuals
LEAST_ERROR = 1e-20  # of E_D, as a fraction of Σ w target²: targets are fitted to ten digits
LEAST_WEIGHT = 1e-6  # of the prior of a group: E_c ≥ γ_c · LEAST_WEIGHT², a group whose weights have vanished
LARGEST_WEIGHT = 1e6  # of the prior of a group: γ_c ≥ E_c / LARGEST_WEIGHT², a group that the data do not determine


class Counts(eqx.Module):
    """Number, weights and scale of the residuals, which do not depend on the network.

    Attributes:
        N: Number of residuals, without missing targets and those of weight zero.
        log_weights: Σ log w over them. The noise of a residual of weight w has variance 1/(2β w).
        size: Σ w target², the scale of E_D; N if all targets are zero, which have no scale.
    """

    N: Float[Array, ""]
    log_weights: Float[Array, ""]
    size: Float[Array, ""]

    @classmethod
    def of(cls, loss: AbstractLeastSquares, targets: Signals, weights: Signals | None) -> "Counts":
        """Returns the counts; arguments as for the loss."""
        nothing = {name: jnp.zeros_like(target) for name, target in targets.items()}
        ones = {name: jnp.where(jnp.isnan(target), target, 1) for name, target in targets.items()}
        root = loss.residuals(nothing, ones, weights)  # √w, zero where a target is missing
        e = loss.residuals(nothing, targets, weights)
        total = {name: jnp.sum(r > 0).astype(r.dtype) for name, r in root.items()}
        logs = [jnp.sum(jnp.log(jnp.where(r > 0, r, 1))) for r in root.values()]
        N, size = sum_of(list(total.values())), sum_of([jnp.sum(x * x) for x in e.values()])
        return cls(N, 2 * sum_of(logs), jnp.where(size > 0, size, N))


class Strengths(eqx.Module):
    """The hyperparameters.

    Attributes:
        alpha: α of each group, `(groups,)`.
        beta: β.
    """

    alpha: Float[Array, "... groups"]
    beta: Float[Array, "..."]


class Spectrum(eqx.Module):
    """The curvature of F in units of the prior.

    Attributes:
        s: Eigenvalues of G, `(bound,)`, not negative; `bound` are the parameters that have a prior.
        V: Eigenvectors, `(bound, directions)`.
        unit: A^{−1/2}, `(bound,)`.
        flat: The parameters without a prior; None if there are none.
    """

    s: Float[Array, " directions"]
    V: Float[Array, "bound directions"]
    unit: Float[Array, " bound"]
    flat: FlatPrior | None = None

    @classmethod
    def of(cls, found: GaussNewton, strengths: Strengths, groups: Groups) -> "Spectrum":
        """Decomposes β JᵀJ, or √β R if the triangular factor is known, which does not square the condition number."""
        flat, JTJ, R, alpha = None, found.JTJ, found.R, groups.spread(strengths.alpha)
        if groups.flat is not None:
            inside = groups.has_prior[groups.of_parameters]
            flat, JTJ, R = eliminated(found, strengths.beta, np.flatnonzero(~inside), np.flatnonzero(inside))
            alpha = alpha[inside]
        unit = 1 / jnp.sqrt(alpha)
        if R is not None:
            _, sigma, Vt = jnp.linalg.svd(jnp.sqrt(strengths.beta) * R * unit[None, :], full_matrices=False)
            return cls(sigma * sigma, einsum("kp->pk", Vt), unit, flat)
        s, V = jnp.linalg.eigh(strengths.beta * unit[:, None] * JTJ * unit[None, :])
        return cls(jnp.maximum(s, 0), V, unit, flat)

    def gamma(self, groups: Groups) -> Float[Array, " groups"]:
        """Returns γ_c of each group, `(groups,)`."""
        share = self.s / (1 + self.s)
        each = einsum("pk,k->p", self.V * self.V, share)
        if self.flat is not None:
            inside = groups.has_prior[groups.of_parameters]
            each = jnp.zeros(len(inside), each.dtype).at[np.flatnonzero(inside)].set(each)
        found = groups.sum(each)
        if self.flat is not None:
            found = jnp.where(groups.has_prior, found, self.flat.rank)
        return jnp.clip(found, 0, jnp.asarray(groups.sizes, found.dtype))  # rows of V have length 1 up to rounding

    def whitened(self) -> Float[Array, "parameters directions"]:
        """Returns W with W Wᵀ = H⁻¹, `(parameters, directions)`: W z with standard normal z is a sample of Δx."""
        root = self.unit[:, None] * self.V / jnp.sqrt(2 * (1 + self.s))[None, :]
        return root if self.flat is None else self.flat.joined(root)

    def decrement(self, gradient: Float[Array, " parameters"]) -> Float[Array, ""]:
        """Returns ½ gᵀ H⁻¹ g (Newton decrement): the decrease of F to its minimum if F were quadratic."""
        return jnp.sum(einsum("pk,p->k", self.whitened(), gradient) ** 2) / 2

    def log_evidence(self, F: Float[Array, ""], beta: Float[Array, ""], counts: Counts) -> Float[Array, ""]:
        """Returns log p(D | α, β); `F` is β E_D + Σ α_c E_c."""
        noise = (counts.N * jnp.log(beta / math.pi) + counts.log_weights) / 2
        found = noise - F - jnp.sum(jnp.log1p(self.s)) / 2
        return found if self.flat is None else found + self.flat.log_evidence


class Floors(eqx.Module):
    """Active limits of a re-estimate: on N − γ, on E_D, and on each group's E_c and γ_c, `(groups,)`."""

    freedom: Bool[Array, "..."]
    error: Bool[Array, "..."]
    weight: Bool[Array, "... groups"]
    gamma: Bool[Array, "... groups"]


def re_estimate(
    gamma: Float[Array, " groups"], E_D: Float[Array, ""], E_W: Float[Array, " groups"], counts: Counts, groups: Groups
) -> tuple[Strengths, Floors]:
    """Returns α_c = γ_c / (2 E_c) and β = (N − γ) / (2 E_D), and the active limits.

    Args:
        gamma: γ_c, `(groups,)`.
        E_D: Σ e².
        E_W: E_c, `(groups,)`.
        counts: `Counts` of the residuals.
        groups: `Groups` of the parameters.

    MacKay (1992), eq. 4.3-4.4; Foresee & Hagan (1997), step 3.
    """
    tiny = jnp.finfo(E_D.dtype).tiny
    freedom, least_freedom = counts.N - jnp.sum(gamma), LEAST_FREEDOM * counts.N
    least_error = jnp.maximum(LEAST_ERROR * counts.size, tiny)
    alpha = gamma / (2 * jnp.maximum(E_W, tiny))
    least, largest = 1 / (2 * LARGEST_WEIGHT**2), 1 / (2 * LEAST_WEIGHT**2)
    beta = jnp.maximum(freedom, least_freedom) / (2 * jnp.maximum(E_D, least_error))
    has_prior = jnp.asarray(groups.has_prior)
    floors = Floors(
        freedom < least_freedom,
        jnp.less(E_D, least_error),
        jnp.greater(alpha, largest) & has_prior,
        jnp.less(alpha, least) & has_prior,
    )
    return Strengths(jnp.where(has_prior, jnp.clip(alpha, least, largest), 0), beta), floors


def sum_of(values: list[Float[Array, ""]]) -> Float[Array, ""]:
    """Returns the sum of a list of scalars."""
    return jnp.sum(jnp.stack(values))
