"""Array layouts: the user's `(*batch, time, size)` and the package's internal `(time, size, *lanes)`.

Internally time is the first axis, so that a step or a window of steps is contiguous, followed by the neurons of a layer
and the *lanes*: all sequences side by side, whatever batch axes they came in. A lane maps to an element of a vector
instruction or to a GPU thread. Sequences are independent, so every operation vectorizes along the lanes, also for
layers with few neurons, which would fill a vector badly as the last axis. RTRL has one more lane axis, one lane for
each parameter.

Signals are called `Values` in the internal layout, a dict by input and layer, and `Signals` in the user's.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Values: TypeAlias = dict[str, Float[Array, "time=_ size=_ ..."]]


def to_lanes(signals: Mapping[str, Float[Array, "... time=_ size=_"]]) -> Values:
    """Converts the user's layout to the internal one: `(*batch, time, size)` to `(time, size, lanes)`."""
    found = {}
    for name, signal in signals.items():
        flat = signal.reshape(math.prod(signal.shape[:-2]), *signal.shape[-2:])
        found[name] = jnp.moveaxis(flat, 0, -1)
    return found


def from_lanes(values: Values, batch: tuple[int, ...]) -> dict[str, Float[Array, "... time=_ size=_"]]:
    """Converts the internal layout to the user's: `(time, size, lanes)` to `(*batch, time, size)`."""
    return {name: jnp.moveaxis(value, -1, 0).reshape(*batch, *value.shape[:2]) for name, value in values.items()}


def neurons_last(value: Float[Array, "time size *lanes"]) -> Float[Array, "time *lanes size"]:
    """Moves the neurons to the last axis: `(time, size, *lanes)` to `(time, *lanes, size)`."""
    return jnp.moveaxis(value, 1, -1)


def neurons_second(value: Float[Array, "time *lanes size"]) -> Float[Array, "time size *lanes"]:
    """Moves the neurons to the second axis: `(time, *lanes, size)` to `(time, size, *lanes)`."""
    return jnp.moveaxis(value, -1, 1)
