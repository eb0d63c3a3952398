"""A linear difference equation (ARX): its weights by name, its simulation as a state-space model.

    y(t) = Σ_d F_d y(t−d) + Σ_d G_d u(t−d) + b

With m the largest delay, its observer form has m states of the size of y,

    x_k(t) = F_k y(t−1) + G_k u(t−1) + x_(k+1)(t−1),  k = 1 … m,    y(t) = x_1(t) + G_0 u(t)

around an operating point u0, y0, at which y0 = Σ F_d y0 + Σ G_d u0 + b.

Ljung (1999), *System Identification*, 2nd ed., sections 4.2 and 4.3; Kailath (1980), *Linear Systems*, section 2.1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

Delays = tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Regression:
    """The weights of a difference equation, equal and hashable by value.

    Args:
        weights: `(delay, to, from)` by (to, source), as those of `models.narx(linear_path=True)`.
        biases: By output.
    """

    weights: Mapping[tuple[str, str], Float[np.ndarray, "delay to=_ from=_"]]
    biases: Mapping[str, Float[np.ndarray, " size=_"]]

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values."""
        weights = [{"to": to, "from": source, "values": w.tolist()} for (to, source), w in self.weights.items()]
        return {"weights": weights, "biases": {name: b.tolist() for name, b in self.biases.items()}}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Regression":
        """Returns the regression of a dict of `to_dict`.

        Args:
            given: The dict.
        """
        weights = {(each["to"], each["from"]): np.array(each["values"], np.float64) for each in given["weights"]}
        return cls(weights, {name: np.array(b, np.float64) for name, b in given["biases"].items()})

    def _key(self) -> tuple[tuple[object, ...], ...]:
        found = (*self.weights.items(), *self.biases.items())
        return tuple((name, array.shape, array.tobytes()) for name, array in found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regression) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def observer_form(
    F: Float[np.ndarray, "feedback_delays outputs outputs"],
    G: Float[np.ndarray, "input_delays outputs inputs"],
    feedback_delays: Delays,
    input_delays: Delays,
) -> tuple[
    Float[np.ndarray, "n n"],
    Float[np.ndarray, "n inputs"],
    Float[np.ndarray, "outputs n"],
    Float[np.ndarray, "outputs inputs"],
]:
    """Returns A, B, C and D of the observer form.

    Args:
        F: Weights of the outputs, in the order of their delays.
        G: Weights of the inputs, in the order of their delays.
        feedback_delays: Delays of the outputs, all positive.
        input_delays: Delays of the inputs.
    """
    longest = max((*feedback_delays, *input_delays, 1))
    p, inputs = F.shape[1], G.shape[2]
    A, B = np.zeros((longest, p, longest, p)), np.zeros((longest, p, inputs))
    C, D = np.zeros((p, longest, p)), np.zeros((p, inputs))
    C[:, 0] = np.eye(p)
    for k in range(longest - 1):
        A[k, :, k + 1] = np.eye(p)
    for weight, delay in zip(G, input_delays, strict=True):
        if delay:
            B[delay - 1] += weight
        else:
            D += weight
    for weight, delay in zip(F, feedback_delays, strict=True):
        A[delay - 1, :, 0] += weight
        B[delay - 1] += weight @ D  # y(t−1) of the feedback has the feedthrough in it
    n = longest * p
    return A.reshape(n, n), B.reshape(n, inputs), C.reshape(p, n), D


def operating_point(
    F: Float[np.ndarray, "feedback_delays outputs outputs"],
    G: Float[np.ndarray, "input_delays outputs inputs"],
    b: Float[np.ndarray, " outputs"],
) -> tuple[Float[np.ndarray, " inputs"], Float[np.ndarray, " outputs"]]:
    """Returns the u0 and y0 closest to zero at which the equation stands still.

    Of an integrating plant a nonzero u0 is needed to compensate its drift; where the equation integrates and no input
    acts on it, there is no such point, and this one is as close as possible.

    Args:
        F: Weights of the outputs.
        G: Weights of the inputs.
        b: Bias.
    """
    still = np.concatenate([-G.sum(axis=0), np.eye(len(b)) - F.sum(axis=0)], axis=1)
    found = np.linalg.lstsq(still, b, rcond=1e-9)[0]
    return found[: G.shape[2]], found[G.shape[2] :]
