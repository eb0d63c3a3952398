"""Linear models of records, from which networks can start, and of networks at an operating point.

`arx` minimizes the error one step ahead, `subspace` finds a state-space model without iterations, and `output_error`
refines one on its simulation error. `equilibrium` and `linearize` take any network.
"""

from lddn_jax.linear.arx import arx
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.linearization import linearize
from lddn_jax.linear.moesp import subspace
from lddn_jax.linear.operating_points import OperatingPoint, equilibrium
from lddn_jax.linear.output_error import output_error
from lddn_jax.linear.regression import Regression

__all__ = [
    "LinearModel",
    "OperatingPoint",
    "Regression",
    "arx",
    "equilibrium",
    "linearize",
    "output_error",
    "subspace",
]
