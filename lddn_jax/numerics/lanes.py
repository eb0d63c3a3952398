"""Two layouts: the user's `(*batch, time, size)`, and the package's own `(time, size, *lanes)`.

Inside, time comes first, so that a step or a window of steps is one contiguous piece, then the neurons of a layer,
and last the *lanes*: all sequences side by side, whatever batch axes they came in. A lane is what a vector instruction
or a thread computes; sequences never meet, so every operation runs along the lanes without a gap. A layer of few
neurons, which would fill a vector badly on the last axis, costs nothing there. RTRL has one more axis of lanes, one for
each parameter.

Values in the package's layout are called `Values`, a dict by input and layer, and `Signals` in the user's.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Values: TypeAlias = dict[str, Float[Array, "time=_ size=_ ..."]]


def to_lanes(signals: Mapping[str, Float[Array, "... time=_ size=_"]]) -> Values:
    """From the user's layout to the package's: `(*batch, time, size)` to `(time, size, lanes)`."""
    found = {}
    for name, signal in signals.items():
        flat = signal.reshape(math.prod(signal.shape[:-2]), *signal.shape[-2:])
        found[name] = jnp.moveaxis(flat, 0, -1)
    return found


def from_lanes(values: Values, batch: tuple[int, ...]) -> dict[str, Float[Array, "... time=_ size=_"]]:
    """From the package's layout to the user's: `(time, size, lanes)` to `(*batch, time, size)`."""
    return {name: jnp.moveaxis(value, -1, 0).reshape(*batch, *value.shape[:2]) for name, value in values.items()}


def neurons_last(value: Float[Array, "time size *lanes"]) -> Float[Array, "time *lanes size"]:
    """`(time, size, *lanes)` to `(time, *lanes, size)`."""
    return jnp.moveaxis(value, 1, -1)


def neurons_second(value: Float[Array, "time *lanes size"]) -> Float[Array, "time size *lanes"]:
    """`(time, *lanes, size)` to `(time, size, *lanes)`."""
    return jnp.moveaxis(value, -1, 1)
