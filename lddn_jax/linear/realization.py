"""Changes of a state-space realization: other coordinates of its states, and poles pulled into the unit circle.

    x' = T x:    A' = T A T⁻¹,  B' = T B,  C' = C T⁻¹      the same model in other coordinates

A pole at radius r ≥ R is reflected to R²/r, at the same angle, as a spectral factorization does; it keeps a pole that
is outside only by the noise close to the circle. The eigenvalues are those of the diagonal blocks of the real Schur
form, so each block is scaled, also if A has no full set of eigenvectors.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Float

SLOWEST_REFLECTED = 1 - 1e-6  # radius of a pole that was on the circle, relative to the circle's


def spectral_radius(A: Float[np.ndarray, "n n"]) -> float:
    """Returns the largest absolute eigenvalue of A; 0 for no states."""
    return float(np.abs(np.linalg.eigvals(A)).max(initial=0.0))


def pulled_in(A: Float[np.ndarray, "n n"], radius: float = 1.0) -> Float[np.ndarray, "n n"]:
    """Returns A with all eigenvalues inside the circle of a radius; a stable A is returned unchanged.

    Args:
        A: State matrix.
        radius: Radius of the circle.

    Example:
        >>> pulled_in(np.array([[2.0]])), pulled_in(np.array([[0.9]]))
        (array([[0.5]]), array([[0.9]]))
    """
    if spectral_radius(A) < radius:
        return A
    S, Q = scipy.linalg.schur(A, output="real")[:2]
    row, n = 0, len(S)
    while row < n:
        size = 2 if row + 1 < n and S[row + 1, row] != 0 else 1
        block = slice(row, row + size)
        r = spectral_radius(S[block, block])
        if r >= radius:
            S[block, block] *= radius * min(radius / r, SLOWEST_REFLECTED) / r
        row += size
    return Q @ S @ Q.T


def balancing(
    A: Float[np.ndarray, "n n"],
    C: Float[np.ndarray, "outputs n"],
    covariance: Float[np.ndarray, "n n"],
    horizon: int,
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """Returns T and T⁻¹ of coordinates in which the states are uncorrelated and of unit variance over the records.

    Among these, the states are the principal axes of the energy Σ_k ‖C A^k x‖² in the outputs, largest first, so that
    the realization depends only on the model and on the records.

    Args:
        A: State matrix.
        C: Output matrix.
        covariance: Mean of x xᵀ over the records.
        horizon: Number of samples over which the energy is summed.
    """
    variance, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    # A state that does not move cannot be scaled to unit variance; it keeps its scale relative to the others.
    largest = max(float(variance.max(initial=0.0)), np.finfo(float).tiny)
    deviation = np.sqrt(np.maximum(variance, 1e-12 * largest))
    whiten, color = axes.T / deviation[:, None], axes * deviation
    row, energy = C @ color, np.zeros_like(A)
    step = whiten @ A @ color
    for _ in range(horizon):
        energy += row.T @ row
        row = row @ step
    _, rotation = np.linalg.eigh((energy + energy.T) / 2)
    rotation = rotation[:, ::-1]
    signs = np.where((C @ color @ rotation).sum(axis=0) < 0, -1.0, 1.0)
    rotation = rotation * signs
    return rotation.T @ whiten, color @ rotation
