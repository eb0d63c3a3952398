"""Transfer functions a = f(n) and their slopes ḟ, written by hand.

A slope is a function of the net input n and the output a, and uses whichever is cheaper: tanh has
ḟ = 1 − a², written as (1 − a)(1 + a), which is accurate also where a is close to 1. For most functions it is
one number for each neuron; softmax is not elementwise, so its slope is the matrix ∂aᵢ/∂nⱼ. Gradient methods
use `in_lanes`, `slope_in_lanes` and `times_slope`, which handle both cases.

At a kink, the slope is that of the branch that the function takes there (relu: 0 at 0), so that
hand-written and automatic derivatives agree everywhere. They are finite at every finite n:
the formulas avoid overflow, and cancellation where a function saturates.

MATLAB's names are aliases. Hagan et al., *Neural Network Design*, 2nd ed., table 2.1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.checks import did_you_mean
from lddn_jax.errors import TopologyError
from lddn_jax.network.replacement import replacements
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import neurons_last, neurons_second
from lddn_jax.topology.topology import Topology

Function: TypeAlias = Callable[[Float[Array, "... neurons"]], Float[Array, "... neurons"]]
# Returns `(..., neurons)`, or `(..., to, from)` when not elementwise.
Slope: TypeAlias = Callable[[Float[Array, "... neurons"], Float[Array, "... neurons"]], Float[Array, "..."]]


@dataclass(frozen=True)
class Transfer:
    """A transfer function and its slope.

    Attributes:
        name: The name for `Layer(transfer=...)`.
        function: n -> a, on arrays `(..., neurons)`.
        slope: (n, a) -> ∂a/∂n, `(..., neurons)`, or `(..., to, from)` when not elementwise.
        elementwise: Whether each output depends on its own net input only.
        active: The range of n outside of which the function is nearly constant; None if unbounded. Nguyen-Widrow
            initialization spreads the neurons over it.
        reach: The range that no output leaves.
        uniform: Whether function and slope are the same formula for all neurons and finite at 0, so that they can be
            applied to arrays of any layout, and to padding. Registered functions are not assumed to be uniform.
    """

    name: str
    function: Function
    slope: Slope
    elementwise: bool = True
    active: tuple[float, float] | None = None
    uniform: bool = False
    reach: tuple[float, float] = (-math.inf, math.inf)

    # The internal layout is `(time, neurons, *lanes)`; functions and slopes take neurons on the last axis.

    def in_lanes(self, n: Float[Array, "time neurons *lanes"]) -> Float[Array, "time neurons *lanes"]:
        """Returns a = f(n), both `(time, neurons, *lanes)`."""
        return self.function(n) if self.uniform else neurons_second(self.function(neurons_last(n)))

    def slope_in_lanes(
        self, n: Float[Array, "time neurons *lanes"], a: Float[Array, "time neurons *lanes"]
    ) -> Float[Array, "time neurons *lanes"] | Float[Array, "time *lanes neurons neurons"]:
        """Returns ḟ(n), `(time, neurons, *lanes)`, or `(time, *lanes, to, from)` when not elementwise."""
        if self.uniform:
            return self.slope(n, a)
        slope = self.slope(neurons_last(n), neurons_last(a))
        return neurons_second(slope) if self.elementwise else slope

    def times_slope(
        self, slope: Float[Array, "time ..."], vector: Float[Array, "time neurons *lanes"], transpose: bool = False
    ) -> Float[Array, "time neurons *lanes"]:
        """Returns slope · vector, or slopeᵀ · vector.

        Args:
            slope: The result of `slope_in_lanes`.
            vector: `(time, neurons, *lanes)`; may have more lane axes at the end than the slope.
            transpose: Whether to transpose the slope.
        """
        if self.elementwise:
            return slope.reshape(*slope.shape, *(1,) * (vector.ndim - slope.ndim)) * vector
        lanes = slope.ndim - 3
        slope = jnp.expand_dims(slope, tuple(range(1 + lanes, vector.ndim - 1)))
        vector = neurons_last(vector)
        return neurons_second(einsum("...ij,...i->...j" if transpose else "...ij,...j->...i", slope, vector))


def _where(condition, n, a, b):
    return jnp.where(condition, jnp.asarray(a, n.dtype), jnp.asarray(b, n.dtype))


def _softmax_slope(n, a):
    """∂aᵢ/∂nⱼ = aᵢ (δᵢⱼ − aⱼ)."""
    size = a.shape[-1]
    delta = jnp.eye(size, dtype=a.dtype).reshape((1,) * (a.ndim - 1) + (size, size))
    return a[..., :, None] * (delta - a[..., None, :])


def _radbas(n):
    n = jnp.clip(n, -40, 40)  # exp(−40²) is 0 in every dtype; if the square overflowed, JAX's derivative would be ∞ · 0
    return jnp.exp(-n * n)


def _elu(n):
    """Computes expm1(n) where n ≤ 0, below −1 as exp(n) − 1: some versions of JAX differentiate expm1 to a + 1."""
    m = _where(n > 0, n, 0, n)
    return jnp.where(n > 0, n, jnp.where(m < -1, jnp.exp(m) - 1, jnp.expm1(m)))


def _elliotsig(n):
    """Computes n / (1 + |n|), from |n| = 1 on as ±(1 − 1 / (1 + |n|)), whose automatic derivative does not cancel."""
    r = 1 / (1 + jnp.abs(n))
    return jnp.where(jnp.abs(n) < 1, n * r, jnp.where(n < 0, r - 1, 1 - r))


_LEAK = 0.01

_FUNCTIONS = {
    transfer.name: replace(transfer, uniform=transfer.elementwise)
    for transfer in (
        Transfer("linear", lambda n: n, lambda n, a: jnp.ones_like(n)),
        Transfer("complement", lambda n: 1 - n, lambda n, a: -jnp.ones_like(n)),
        Transfer("tanh", jnp.tanh, lambda n, a: (1 - a) * (1 + a), active=(-2.0, 2.0), reach=(-1.0, 1.0)),
        Transfer("logistic", jax.nn.sigmoid, lambda n, a: a * (1 - a), active=(-4.0, 4.0), reach=(0.0, 1.0)),
        Transfer("relu", lambda n: _where(n > 0, n, n, 0), lambda n, a: _where(n > 0, n, 1, 0), reach=(0.0, math.inf)),
        Transfer(
            "leaky_relu",
            lambda n: _where(n > 0, n, n, _LEAK * n),
            lambda n, a: _where(n > 0, n, 1, _LEAK),
        ),
        Transfer(
            "elu",
            _elu,
            lambda n, a: jnp.exp(jnp.minimum(n, 0)),  # a + 1 is inaccurate where a is close to −1
            reach=(-1.0, math.inf),
        ),
        Transfer("softplus", jax.nn.softplus, lambda n, a: jax.nn.sigmoid(n), reach=(0.0, math.inf)),
        Transfer(
            "satlin",
            lambda n: _where(n < 0, n, 0, _where(n > 1, n, 1, n)),
            lambda n, a: _where((n >= 0) & (n <= 1), n, 1, 0),
            active=(0.0, 1.0),
            reach=(0.0, 1.0),
        ),
        Transfer(
            "satlins",
            lambda n: _where(n < -1, n, -1, _where(n > 1, n, 1, n)),
            lambda n, a: _where((n >= -1) & (n <= 1), n, 1, 0),
            active=(-1.0, 1.0),
            reach=(-1.0, 1.0),
        ),
        Transfer(
            "radbas",
            _radbas,
            lambda n, a: -2 * (n * a),  # −2 n alone can overflow
            active=(-2.0, 2.0),
            reach=(0.0, 1.0),
        ),
        Transfer(
            "elliotsig",
            _elliotsig,
            lambda n, a: jnp.square(1 / (1 + jnp.abs(n))),
            active=(-2.0, 2.0),
            reach=(-1.0, 1.0),
        ),
        Transfer(
            "tribas",
            lambda n: _where(jnp.abs(n) < 1, n, _where(n < 0, n, 1 + n, 1 - n), 0),
            lambda n, a: _where(jnp.abs(n) < 1, n, _where(n < 0, n, 1, -1), 0),
            active=(-1.0, 1.0),
            reach=(0.0, 1.0),
        ),
        Transfer(
            "hardlim",
            lambda n: _where(n >= 0, n, 1, 0),
            lambda n, a: jnp.zeros_like(n),
            active=(-1.0, 1.0),
            reach=(0.0, 1.0),
        ),
        Transfer("softmax", lambda n: jax.nn.softmax(n, axis=-1), _softmax_slope, elementwise=False, reach=(0.0, 1.0)),
    )
}
_ALIASES = {
    "purelin": "linear",
    "tansig": "tanh",
    "logsig": "logistic",
    "sigmoid": "logistic",
    "poslin": "relu",
}


def get(name: str) -> Transfer:
    """Returns the transfer function with that name or alias.

    Args:
        name: A name that `names()` lists.

    Raises:
        TopologyError: If the name is unknown; the message lists all names and the closest one.

    Example:
        >>> get("tansig").name
        'tanh'
    """
    found = _FUNCTIONS.get(_ALIASES.get(name, name))
    if found is None:
        raise TopologyError(
            f"there is no transfer function {name!r}.{did_you_mean(name, names())} Known are {names()}; add your own "
            f"with lddn.transfer.register({name!r}, function)."
        )
    return found


def check_known(topology: Topology) -> None:
    """Raises a TopologyError if the transfer function of a layer is unknown."""
    for layer in topology.layers:
        get(layer.transfer)


def names() -> list[str]:
    """Returns all names, including the MATLAB aliases."""
    return sorted([*_FUNCTIONS, *_ALIASES])


def register(
    name: str,
    function: Function,
    slope: Slope | None = None,
    *,
    elementwise: bool = True,
    active: tuple[float, float] | None = None,
    replace: bool = False,
) -> Transfer:
    """Registers a custom transfer function, for use as `Layer(..., transfer=name)`.

    Args:
        name: The new name.
        function: n -> a on arrays `(..., neurons)`.
        slope: (n, a) -> ∂a/∂n, `(..., neurons)`; `(..., to, from)` when `elementwise=False`. If None,
            JAX differentiates `function`. A given slope is not checked, since it may be a surrogate (of a step, for
            example); `check_gradients` tests whether it is the derivative: `Autodiff` differentiates `function`, all
            other methods use `slope`.
        elementwise: Whether each output depends on its own net input only.
        active: The range of n outside of which the function is nearly constant, for Nguyen-Widrow initialization.
        replace: Whether to replace an existing function of this name. All calls of the package use the new one
            from then on. A function that you compiled with `jax.jit` before keeps the old one, because JAX does not
            trace it again; call its `clear_cache()`.

    Returns:
        The registered `Transfer`.

    Raises:
        TopologyError: If the name is taken and `replace` is False, or if an argument has the wrong type.

    Example:
        >>> cube = register("cube", lambda n: n**3, lambda n, a: 3 * n**2, replace=True)
        >>> float(get("cube").slope(jnp.asarray(2.0), jnp.asarray(8.0)))
        12.0
    """
    if not isinstance(name, str) or not name.strip():
        raise TopologyError(f"the name of a transfer function is {name!r}; it must be a non-empty string.")
    for what, given in (("function", function), ("slope", slope)):
        if not (callable(given) or (given is None and what == "slope")):
            raise TopologyError(
                f"the {what} of {name!r} is {given!r}, which is not callable. Write, for example, "
                f"register({name!r}, lambda n: n**3, lambda n, a: 3 * n**2)."
            )
    if name in _ALIASES or (name in _FUNCTIONS and not replace):
        raise TopologyError(
            f"the name {name!r} is taken. Choose another, or pass replace=True to replace it"
            + (" (an alias of a built-in function cannot be replaced)." if name in _ALIASES else ".")
        )
    if name in _FUNCTIONS:
        replacements.count += 1
    _FUNCTIONS[name] = Transfer(name, function, slope or _automatic_slope(function, elementwise), elementwise, active)
    return _FUNCTIONS[name]


def _automatic_slope(function: Function, elementwise: bool) -> Slope:
    if elementwise:
        return lambda n, a: jax.jvp(function, (n,), (jnp.ones_like(n),))[1]

    def matrix(n, a):
        size = n.shape[-1]
        return jax.vmap(jax.jacfwd(function))(n.reshape(-1, size)).reshape(*n.shape, size)

    return matrix
