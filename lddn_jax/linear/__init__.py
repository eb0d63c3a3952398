"""Linear models of records: subspace identification of a state-space model, which networks can start from."""

from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.moesp import subspace

__all__ = ["LinearModel", "subspace"]
