"""Weights and biases of a state-space network that computes the same as a linear model.

    x(t) = A x(t−1) + B u(t−1) + b,    y(t) = C x(t) + D u(t) + b',    b = −B u0,    b' = y0 − D u0

The names are those of `lddn_jax.models.state_space` and `linear_state_space`.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from lddn_jax.linear.pieces import columns_of_signals

STATE = "state"  # name of the layer of states


def state_space_weights(
    A: Float[np.ndarray, "n n"],
    B: Float[np.ndarray, "n inputs"],
    C: Float[np.ndarray, "outputs n"],
    D: Float[np.ndarray, "outputs inputs"],
    input_sizes: Mapping[str, int],
    output_sizes: Mapping[str, int],
) -> dict[tuple[str, str], Float[np.ndarray, "delay to=_ from=_"]]:
    """Returns `(delay, to, from)` by (to, from), without those of a D that is zero.

    Args:
        A: State matrix.
        B: Input matrix.
        C: Output matrix.
        D: Feedthrough.
        input_sizes: Sizes of the inputs by name, in the order of the columns.
        output_sizes: Sizes of the outputs by name, in the order of the rows.
    """
    inputs = columns_of_signals(input_sizes)
    found = {(STATE, STATE): A[None]} | {(STATE, name): B[None, :, at] for name, at in inputs.items()}
    for to, rows in columns_of_signals(output_sizes).items():
        found[to, STATE] = C[None, rows]
        if D.any():
            found |= {(to, name): D[None, rows, at] for name, at in inputs.items()}
    return found


def state_space_biases(
    B: Float[np.ndarray, "n inputs"],
    D: Float[np.ndarray, "outputs inputs"],
    u0: Float[np.ndarray, " inputs"],
    y0: Float[np.ndarray, " outputs"],
    output_sizes: Mapping[str, int],
) -> dict[str, Float[np.ndarray, " size=_"]]:
    """Returns `(size,)` by layer.

    Args:
        B: Input matrix.
        D: Feedthrough.
        u0: Input at the operating point.
        y0: Output at the operating point.
        output_sizes: Sizes of the outputs by name, in the order of the rows.
    """
    of_outputs = y0 - D @ u0
    return {STATE: -B @ u0} | {name: of_outputs[rows] for name, rows in columns_of_signals(output_sizes).items()}
