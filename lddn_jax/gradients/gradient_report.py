"""Do all methods agree? Every method against every other, block by block.

Two derivatives of a block (one connection's weights, a bias, a source's delay state) differ by

    max |g − g'| / max(largest |element| of the block, 4500 ε · largest |element| of the whole gradient)

with ε the machine epsilon, so the floor is 1e-12 in float64. Finite differences have a tolerance of their own.

A truncated gradient is not meant to agree. What is reported of it is how far it is off as a whole,

    ‖g − g'‖ / ‖g‖        and        gᵀg' / (‖g‖ ‖g'‖)

over all parameters, against the first method that is not truncated.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.api import _value_and_grad, prepare_data
from lddn_jax.gradients.autodiff import Autodiff
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.finite_difference import FiniteDifference
from lddn_jax.gradients.method import AbstractGradient, check_method
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.gradients.sensitivity import SensitivityBPTT
from lddn_jax.losses import AbstractLoss
from lddn_jax.network.network import Network
from lddn_jax.network.signals import Data

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

    def other(self, method: str) -> str:
        """The method that this one is compared with."""
        return next((m for m in self.methods if m != method), method)

    @property
    def place(self) -> str:
        """The block and delay, in words."""
        return self.block + ("" if self.delay is None else f" delay {self.delay}")


@dataclass(frozen=True)
class Truncation:
    """How far a truncated gradient is from the full one.

    Attributes:
        method: Its name.
        against: The method that gave the full gradient.
        relative: ‖g − g'‖ / ‖g‖ over all parameters.
        cosine: Of the angle between both; 1 is the same direction.
    """

    method: str
    against: str
    relative: float
    cosine: float

    def __str__(self):
        return (
            f"{self.method} is truncated: {100 * self.relative:.3g} % from {self.against} in norm, "
            f"cosine {self.cosine:.6f}"
        )


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found; print it to read the table.

    Attributes:
        differences: The largest difference of each pair of methods, those that truncate left out.
        value: The loss.
        seconds: Time of a compiled run, by method: the median of five.
        stored_bytes: Peak of temporary arrays of the compiled program, by method; None where unknown.
        dtype: Of the network.
        truncations: How far each truncated method is off.
        left_out: Why `identify` did not compare a method, by its name; empty otherwise.
    """

    differences: tuple[Difference, ...]
    value: float
    seconds: Mapping[str, float]
    stored_bytes: Mapping[str, int | None]
    dtype: str
    truncations: tuple[Truncation, ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether all pairs agree within their tolerances, and what is truncated is finite."""
        return all(d.passed for d in self.differences) and all(math.isfinite(t.relative) for t in self.truncations)

    @property
    def worst(self) -> Difference:
        """The pair that comes nearest to its tolerance, or goes furthest beyond it."""
        return max(self.differences, key=_severity, default=_with_itself(next(iter(self.seconds))))

    def of(self, method: str) -> Difference:
        """The worst difference that a method is part of, finite differences counted only against themselves."""
        others = [d for d in self.differences if method in d.methods] or [_with_itself(method)]
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
                    "against": self.of(name).other(name),
                    "tolerance": self.of(name).tolerance,
                    "seconds": self.seconds[name],
                    "stored_bytes": self.stored_bytes[name],
                }
                for name in self.seconds
                if name not in self._truncated
            },
            "truncated": {
                t.method: {
                    "relative": t.relative,
                    "cosine": t.cosine,
                    "against": t.against,
                    "seconds": self.seconds[t.method],
                    "stored_bytes": self.stored_bytes[t.method],
                }
                for t in self.truncations
            },
            "left_out": dict(self.left_out),
        }

    @property
    def _truncated(self) -> dict[str, Truncation]:
        return {t.method: t for t in self.truncations}

    def __str__(self):
        rows = [("method", "worst difference", "allowed", "against", "at", "ms", "stored")]
        for name in self.seconds:
            size = self.stored_bytes[name]
            cost = f"{1e3 * self.seconds[name]:.2f}", "unknown" if size is None else f"{size / 1024:.0f} KiB"
            if name in self._truncated:
                off = self._truncated[name]
                rows.append((name, f"{off.relative:.1e}", "truncated", off.against, "whole gradient, in norm", *cost))
                continue
            worst = self.of(name)
            if worst == _with_itself(name):
                rows.append((name, "-", "-", "-", "full gradient", *cost))
                continue
            rows.append(
                (
                    name,
                    f"{worst.relative:.1e}" + ("" if worst.passed else "  FAILS"),
                    f"{worst.tolerance:.0e}",
                    worst.other(name),
                    worst.place,
                    *cost,
                )
            )
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        every = "the methods compared" if self.left_out else "all methods"
        verdict = f"{every} agree" if self.passed else f"methods DISAGREE, worst at {self.worst.place}"
        off = [str(t) for t in self.truncations]
        off += [f"{name} was left out: {reason}" for name, reason in self.left_out.items()]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], f"{verdict} ({self.dtype})", *off])


def check_gradients(
    loss: AbstractLoss,
    net: Network,
    data: Data,
    methods: Sequence[AbstractGradient] = METHODS,
    tolerance: float | Mapping[str, float] | None = None,
    finite_difference_tolerance: float | Mapping[str, float] | None = None,
) -> GradientReport:
    """Compares methods on one network and data: parameters and delay state, block by block.

    Args:
        loss: From `lddn_jax.losses`.
        net: The network.
        data: `Sequences`; a few dozen steps are enough, and finite differences take time with long ones.
        methods: At least two that do not truncate, or one and truncated ones; all five by default.
        tolerance: Allowed relative difference of two exact methods: a number, or numbers by dtype name. By
            default 1e-11 in float64 and 1e-4 in float32.
        finite_difference_tolerance: The same where finite differences take part. By default 1e-6 and 3e-2.

    Returns:
        A `GradientReport` with `.passed`, `.worst`, `.to_dict()`, printable as a table.

    Raises:
        ShapeError: If names or shapes do not fit the topology.
        LDDNError: If fewer than two methods are given, or all of them truncate.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 2)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, key=jax.random.key(0))
        >>> data = lddn.Sequences(jnp.ones((30, 1)), jnp.ones((30, 2)))
        >>> methods = (lddn.BPTT(), lddn.BPTT(checkpoint="sqrt"), lddn.BPTT(horizon=10))
        >>> report = lddn.check_gradients(lddn.losses.MeanSquaredError(), net, data, methods)
        >>> report.passed, report.truncations[0].method
        (True, 'BPTT(horizon=10)')
    """
    call = "check_gradients(loss, net, data, methods)"
    methods = list(methods) if isinstance(methods, Iterable) else [methods]
    for method in methods:
        check_method(method, call, "a method")
    exact = [method for method in methods if not method.truncated]
    if len(methods) < 2 or not exact:
        raise LDDNError(
            f"check_gradients compares methods; given were {[m.name for m in methods]}, needed are at least two, and "
            "one of them the full gradient, such as lddn.BPTT()."
        )
    prepared = prepare_data(loss, net, data, call)
    dtype = jnp.dtype(net.dtype).name
    allowed = _tolerance(tolerance, TOLERANCE, dtype)
    allowed_difference = _tolerance(finite_difference_tolerance, FINITE_DIFFERENCE_TOLERANCE, dtype)
    *arrays, steps = prepared
    blocks, seconds, stored, value = {}, {}, {}, jnp.nan
    for method in methods:
        compiled = _value_and_grad.lower(loss, net, *arrays, steps=steps, method=method).compile()
        (value, gradient, state), seconds[method.name] = _timed(compiled, loss, net, *arrays, method=method)
        stored[method.name] = _stored_bytes(compiled)
        blocks[method.name] = _blocks(gradient, state)
    floor = 4500 * float(jnp.finfo(net.dtype).eps)
    differences = []
    for k, first in enumerate(exact):
        for second in exact[k + 1 :]:
            approximate = any(isinstance(m, FiniteDifference) for m in (first, second))
            differences.append(
                _compare(net, blocks, first.name, second.name, floor, allowed_difference if approximate else allowed)
            )
    truncations = tuple(_truncation(blocks, exact[0].name, m.name) for m in methods if m.truncated)
    return GradientReport(tuple(differences), float(value), seconds, stored, dtype, truncations)


def _truncation(blocks, full: str, truncated: str) -> Truncation:
    g, other = (
        np.concatenate([block.ravel() for (field, _), block in blocks[name].items() if field != "state"]).astype(float)
        for name in (full, truncated)
    )
    norms = np.linalg.norm(g), np.linalg.norm(other)
    relative = float(np.linalg.norm(g - other) / norms[0]) if norms[0] > 0 else 0.0 if norms[1] == 0 else math.inf
    cosine = float(g @ other / (norms[0] * norms[1])) if min(norms) > 0 else float(norms[0] == norms[1])
    return Truncation(truncated, full, relative, cosine)


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


def _with_itself(method: str) -> Difference:
    """What there is to say of a method that nothing is compared with."""
    return Difference((method, method), 0.0, "nowhere", None, math.inf)


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
