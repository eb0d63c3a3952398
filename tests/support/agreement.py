"""How gradients are compared: every method with the oracle's complex step, block by block.

Two derivatives of a block differ by

    max |g − g'| / max(largest |element| of the block, 1e-12 · largest |element| of the whole gradient)
"""

import functools

import jax.numpy as jnp
import numpy as np
import oracle
from networks import Case, is_parameter

import lddn_jax as lddn
from lddn_jax.gradients import gradient_report

METHODS = {type(method).__name__: method for method in gradient_report.METHODS}
EXACT = [name for name, method in METHODS.items() if method.accuracy == lddn.accuracy.Exact()]
YARDSTICKS = ("Autodiff", "FiniteDifference")  # nobody's algebra
BY_HAND = [name for name in METHODS if name not in YARDSTICKS]
# An approximate method states what it may be off; five points: ε / h + h⁴ at the best step h.
TOLERANCE = {name: 1e-11 if name in EXACT else method.accuracy.allowed("float64") for name, method in METHODS.items()}


def blocks(gradient: lddn.Network, state: dict) -> dict[tuple, np.ndarray]:
    """Returns the arrays of a gradient by (kind, name), as the oracle does."""
    kinds = {"IW": gradient.IW, "LW": gradient.LW, "b": gradient.b, "state": state}
    return {(kind, name): np.asarray(block) for kind, named in kinds.items() for name, block in named.items()}


def assert_blocks_agree(found: dict, expected: dict, tolerance: float, what: str = "gradient") -> float:
    """Asserts each block in turn, and returns the largest relative difference."""
    assert found.keys() == expected.keys(), (
        f"{what}: {sorted(found.keys() ^ expected.keys(), key=str)} on one side only"
    )
    whole = max((np.abs(block).max() for block in expected.values()), default=0.0)
    worst = 0.0
    for (kind, name), block in expected.items():
        assert found[kind, name].shape == block.shape, f"{what}: {kind}[{name!r}] has shape {found[kind, name].shape}"
        difference = np.abs(found[kind, name] - block).max()
        scale = max(np.abs(block).max(), 1e-12 * whole)
        relative = difference / scale if scale > 0 else np.inf * difference if difference > 0 else 0.0
        assert relative <= tolerance, f"{what}: {kind}[{name!r}] differs by {relative:.1e}, {tolerance:.0e} allowed"
        worst = max(worst, relative)
    return worst


@functools.cache
def expected_gradient(case: Case) -> dict[tuple, np.ndarray]:
    """∂(Σ cotangent · a)/∂(every block) by the oracle's complex step; zero where weights are no parameters."""

    def function(a):
        return sum((cotangent * a[name]).sum() for name, cotangent in case.cotangents.items())

    found = oracle.gradient(function, *case.arguments)
    return {(kind, name): block * is_parameter(case.topology, kind, name) for (kind, name), block in found.items()}


def pulled_back(case: Case, method: lddn.AbstractGradient) -> dict[tuple, np.ndarray]:
    """The same by a method of the package."""
    cotangents = {name: jnp.asarray(c) for name, c in case.cotangents.items()}
    return blocks(*method.pullback(case.net, *case.signals, cotangents))


def assert_method_agrees(case: Case, name: str) -> float:
    """Asserts that a method gives what the oracle gives, and returns the largest relative difference."""
    return assert_blocks_agree(pulled_back(case, METHODS[name]), expected_gradient(case), TOLERANCE[name], name)
