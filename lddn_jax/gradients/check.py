"""Do all methods agree? Every method against every other, block by block.

Two derivatives of a block (one connection's weights, a bias, a source's delay state) differ by

    max |g − g'| / max(largest |element| of the block, 4500 ε · largest |element| of the whole gradient)

with ε the machine epsilon, so the floor is 1e-12 in float64. Finite differences have a tolerance of their own.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lddn_jax.gradients.api import _value_and_grad, prepare_data
from lddn_jax.gradients.autodiff import Autodiff
from lddn_jax.gradients.base import AbstractGradient
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.finite_difference import FiniteDifference
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.gradients.sensitivity import SensitivityBPTT
from lddn_jax.losses import AbstractLoss
from lddn_jax.network import Network

METHODS = (BPTT(), SensitivityBPTT(), RTRL(), Autodiff(), FiniteDifference(order=4))
TOLERANCE = {"float64": 1e-11, "float32": 1e-4}
FINITE_DIFFERENCE_TOLERANCE = {"float64": 1e-6, "float32": 3e-2}


@dataclass(frozen=True)
class Difference:
    """The largest difference between two methods.

    Attributes:
        methods: Their names.
        relative: The difference, relative to the scale of its block.
        block: Where it is, such as `LW['y', 'hidden']` or `state['y']`.
        delay: The delay of the element, where the block has delays.
        tolerance: What was allowed.
    """

    methods: tuple[str, str]
    relative: float
    block: str
    delay: int | None
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is a number within tolerance."""
        return self.relative <= self.tolerance  # False for NaN

    @property
    def place(self) -> str:
        """The block and delay, in words."""
        return self.block + ("" if self.delay is None else f" delay {self.delay}")


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found; print it to read the table.

    Attributes:
        differences: The largest difference of each pair of methods.
        value: The loss.
        seconds: Time of a compiled run, by method: the median of five.
        stored_bytes: Peak of temporary arrays of the compiled program, by method; None where unknown.
        dtype: Of the network.
    """

    differences: tuple[Difference, ...]
    value: float
    seconds: Mapping[str, float]
    stored_bytes: Mapping[str, int | None]
    dtype: str

    @property
    def passed(self) -> bool:
        """Whether all pairs agree within their tolerances."""
        return all(d.passed for d in self.differences)

    @property
    def worst(self) -> Difference:
        """The pair that comes nearest to its tolerance, or goes furthest beyond it."""
        return max(self.differences, key=_severity)

    def of(self, method: str) -> Difference:
        """The worst difference that a method is part of, finite differences counted only against themselves."""
        others = [d for d in self.differences if method in d.methods]
        exact = [d for d in others if d.tolerance == min(o.tolerance for o in others)]
        return max(exact, key=_severity)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain values, ready for `json.dump`."""
        return {
            "passed": self.passed,
            "worst": self.worst.relative,
            "worst_block": self.worst.place,
            "worst_methods": list(self.worst.methods),
            "value": self.value,
            "dtype": self.dtype,
            "methods": {
                name: {
                    "worst": self.of(name).relative,
                    "block": self.of(name).place,
                    "against": next(m for m in self.of(name).methods if m != name),
                    "tolerance": self.of(name).tolerance,
                    "seconds": self.seconds[name],
                    "stored_bytes": self.stored_bytes[name],
                }
                for name in self.seconds
            },
        }

    def __str__(self):
        rows = [("method", "worst difference", "allowed", "against", "at", "ms", "stored")]
        for name in self.seconds:
            worst = self.of(name)
            size = self.stored_bytes[name]
            rows.append(
                (
                    name,
                    f"{worst.relative:.1e}" + ("" if worst.passed else "  FAILS"),
                    f"{worst.tolerance:.0e}",
                    next(m for m in worst.methods if m != name),
                    worst.place,
                    f"{1e3 * self.seconds[name]:.2f}",
                    "unknown" if size is None else f"{size / 1024:.0f} KiB",
                )
            )
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        verdict = "all methods agree" if self.passed else f"methods DISAGREE, worst at {self.worst.place}"
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], f"{verdict} ({self.dtype})"])


def check_gradients(
    loss: AbstractLoss,
    net: Network,
    data: Any,
    methods: Sequence[AbstractGradient] = METHODS,
    tolerance: float | Mapping[str, float] | None = None,
    finite_difference_tolerance: float | Mapping[str, float] | None = None,
) -> GradientReport:
    """Compares methods on one network and data: parameters and delay state, block by block.

    Args:
        loss: From `lddn_jax.losses`.
        net: The network.
        data: `Sequences`; a few dozen steps are enough, and finite differences take time with long ones.
        methods: At least two; all five by default.
        tolerance: Allowed relative difference of two exact methods: a number, or numbers by dtype name. By
            default 1e-11 in float64 and 1e-4 in float32.
        finite_difference_tolerance: The same where finite differences take part. By default 1e-6 and 3e-2.

    Returns:
        A `GradientReport` with `.passed`, `.worst`, `.to_dict()`, printable as a table.

    Raises:
        ShapeError: If names or shapes do not fit the topology.
        ValueError: If fewer than two methods are given.
    """
    if len(methods) < 2:
        raise ValueError(f"check_gradients compares methods; {len(methods)} was given, at least two are needed.")
    dtype = jnp.dtype(net.dtype).name
    allowed = _tolerance(tolerance, TOLERANCE, dtype)
    allowed_difference = _tolerance(finite_difference_tolerance, FINITE_DIFFERENCE_TOLERANCE, dtype)
    prepared = prepare_data(loss, net, data)
    *arrays, steps = prepared
    blocks, seconds, stored, value = {}, {}, {}, jnp.nan
    for method in methods:
        compiled = _value_and_grad.lower(loss, net, *arrays, steps=steps, method=method).compile()
        (value, gradient, state), seconds[method.name] = _timed(compiled, loss, net, *arrays, method=method)
        stored[method.name] = _stored_bytes(compiled)
        blocks[method.name] = _blocks(gradient, state)
    floor = 4500 * float(jnp.finfo(net.dtype).eps)
    differences = []
    for k, first in enumerate(methods):
        for second in methods[k + 1 :]:
            exact = not any(isinstance(m, FiniteDifference) for m in (first, second))
            differences.append(
                _compare(net, blocks, first.name, second.name, floor, allowed if exact else allowed_difference)
            )
    return GradientReport(tuple(differences), float(value), seconds, stored, dtype)


def _timed(compiled, *given, **named) -> tuple[Any, float]:
    found, times = jax.block_until_ready(compiled(*given, **named)), []
    for _ in range(5):
        start = time.perf_counter()
        found = jax.block_until_ready(compiled(*given, **named))
        times.append(time.perf_counter() - start)
    return found, statistics.median(times)


def _blocks(gradient: Network, state) -> dict[tuple[str, Any], np.ndarray]:
    found = {
        (field, key): np.asarray(array)
        for field in ("IW", "LW", "b")
        for key, array in getattr(gradient, field).items()
    }
    return found | {("state", name): np.asarray(array) for name, array in state.items()}


def _compare(net, blocks, first: str, second: str, floor: float, tolerance: float) -> Difference:
    whole = float(max((np.max(np.abs(block), initial=0.0) for block in blocks[first].values()), default=0.0))
    worst = Difference((first, second), 0.0, "nowhere", None, tolerance)
    for (field, key), block in blocks[first].items():
        other = blocks[second][field, key]
        scale = float(max(np.max(np.abs(block), initial=0.0), floor * whole))
        distance = np.abs(block - other)
        if distance.size == 0 or (scale == 0 and not distance.any()):
            continue
        relative = float(np.max(distance)) / scale if scale > 0 else float("inf")
        if not relative <= worst.relative:
            delay = None
            if field in ("IW", "LW"):
                delay = net.topology.delays[key][int(np.unravel_index(np.argmax(distance), distance.shape)[0])]
            name = f"{field}[{', '.join(map(repr, key)) if isinstance(key, tuple) else repr(key)}]"
            worst = Difference((first, second), relative, name, delay, tolerance)
            if np.isnan(relative):
                break
    return worst


def _severity(difference: Difference) -> float:
    return float("inf") if np.isnan(difference.relative) else difference.relative / difference.tolerance


def _tolerance(given, default: Mapping[str, float], dtype: str) -> float:
    if given is None:
        given = default
    if isinstance(given, Mapping):
        if dtype not in given:
            raise ValueError(f"there is no tolerance for {dtype}; known are {dict(given)}. Pass a number.")
        given = given[dtype]
    if not given > 0:
        raise ValueError(f"tolerance {given!r} is not a positive number.")
    return float(given)


def _stored_bytes(compiled) -> int | None:
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)
