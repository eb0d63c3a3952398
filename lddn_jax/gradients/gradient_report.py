"""Comparison of gradient methods: every method against every other, block by block.

Two derivatives of a block (one connection's weights, a bias, a source's delay state) differ by

    max |g − g'| / max(largest |element| of the block, 4500 ε · largest |element| of the whole gradient)

with ε the machine epsilon, so the floor is 1e-12 in float64. The tolerance of a pair follows from the `accuracy` of
both methods: approximate ones, such as finite differences, have a tolerance of their own.

Finite differences are computed in float64, whatever the dtype of the network. If they differ from exact methods that
agree with each other, a kink may be the cause (`kinks.py`): then they are repeated with a smaller step and, if that
does not help, at a point nearby. If they agree there, that comparison counts, and the report names the kink.

Truncated and random gradients need not agree. For them the deviation of the whole gradient is reported,

    ‖g − g'‖ / ‖g‖        and        gᵀg' / (‖g‖ ‖g'‖)

over all parameters, from the first exact method. The gradient g' of a truncated method must be finite; that of a random
one is the mean of many draws, whose deviation may be `STANDARD_ERRORS` times its standard error.
"""

import dataclasses
import itertools
import math
import numbers
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from lddn_jax.checks import check_positive, expect
from lddn_jax.errors import LDDNError
from lddn_jax.gradients import kinks
from lddn_jax.gradients.accuracy import ACCURACIES, STANDARD_ERRORS, Approximate, Exact, Random, Truncated
from lddn_jax.gradients.api import _value_and_grad, prepare_data
from lddn_jax.gradients.autodiff import Autodiff
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.finite_difference import FiniteDifference
from lddn_jax.gradients.method import AbstractGradient, check_method
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.gradients.sensitivity import SensitivityBPTT
from lddn_jax.losses import AbstractLoss, check_loss
from lddn_jax.network.network import Network, check_network
from lddn_jax.network.signals import SequencesLike
from lddn_jax.numerics.precision import computing_in
from lddn_jax.numerics.text_table import aligned

_Blocks: TypeAlias = dict[tuple[str, Any], np.ndarray]  # the gradient by field and key
_Pair: TypeAlias = tuple[AbstractGradient, AbstractGradient]

# The only list of default methods; the tests and the notebook on gradients use it too.
METHODS = (BPTT(), SensitivityBPTT(), RTRL(), Autodiff(), FiniteDifference(order=4))
RELATIVE_TOLERANCE = {"float64": 1e-11, "float32": 1e-4}
FROM_FLOAT32 = 1e-3  # allowed difference of finite differences in float64 from the gradient of a float32 network


@dataclass(frozen=True)
class Difference:
    """The largest difference between two methods.

    Attributes:
        methods: The names of both methods.
        relative: The difference, relative to the scale of its block.
        block: The block with the largest difference, such as `LW['y', 'hidden']` or `state['y']`.
        delay: The delay of the element, if the block has delays.
        tolerance: The allowed difference.
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
        """Returns the method that `method` is compared with."""
        return next((m for m in self.methods if m != method), method)

    @property
    def place(self) -> str:
        """The block and delay, as text."""
        return self.block + ("" if self.delay is None else f" delay {self.delay}")


@dataclass(frozen=True)
class Deviation:
    """Deviation of a truncated or random gradient from the exact one.

    Attributes:
        method: The name of the method.
        against: The method that computed the exact gradient.
        relative: ‖g − g'‖ / ‖g‖ over all parameters, g' the mean of all draws of a random method.
        cosine: Cosine of the angle between both gradients; 1 is the same direction.
        draws: Number of draws of a random method; None for a truncated one.
        allowed: The largest relative deviation that passes; infinite for a truncated method.
    """

    method: str
    against: str
    relative: float
    cosine: float
    draws: int | None = None
    allowed: float = math.inf

    @property
    def passed(self) -> bool:
        """Whether the gradient is finite and its deviation is allowed."""
        return math.isfinite(self.relative) and self.relative <= self.allowed

    @property
    def kind(self) -> str:
        """Why the method is not compared block by block, as text."""
        return "truncated" if self.draws is None else f"random, the mean of {self.draws} draws"

    def __str__(self):
        allowed = "" if self.draws is None else f" ({100 * self.allowed:.3g} % allowed)"
        return (
            f"{self.method} is {self.kind}: {100 * self.relative:.3g} % from {self.against} in norm{allowed}, "
            f"cosine {self.cosine:.6f}" + ("" if self.passed else "  FAILS")
        )


@dataclass(frozen=True)
class GradientReport:
    """The result of `check_gradients`; print it for a table.

    Attributes:
        differences: The largest difference of each pair of methods, without truncated and random ones.
        value: The loss.
        seconds: Time of a compiled run, by method: the median of five.
        stored_bytes: Peak size of temporary arrays of the compiled program, by method; None if unknown.
        dtype: The dtype of the network.
        deviations: The deviation of each truncated or random method.
        left_out: Why `identify` did not compare a method, by its name; empty otherwise.
        kinks: By name of a method of finite differences, where it was compared because of kinks; empty without kinks.
    """

    differences: tuple[Difference, ...]
    value: float
    seconds: Mapping[str, float]
    stored_bytes: Mapping[str, int | None]
    dtype: str
    deviations: tuple[Deviation, ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    kinks: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether all pairs agree within their tolerances, and the deviations of other methods are allowed."""
        return all(d.passed for d in (*self.differences, *self.deviations))

    @property
    def worst(self) -> Difference:
        """The pair with the largest ratio of difference to tolerance."""
        return max(self.differences, key=_severity, default=_with_itself(next(iter(self.seconds))))

    def of(self, method: str) -> Difference:
        """Returns the worst difference of a method, among its pairs with the smallest tolerance."""
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
                if name not in self._deviating
            },
            "deviations": {
                d.method: {
                    "kind": d.kind,
                    "relative": d.relative,
                    "allowed": None if math.isinf(d.allowed) else d.allowed,
                    "cosine": d.cosine,
                    "against": d.against,
                    "seconds": self.seconds[d.method],
                    "stored_bytes": self.stored_bytes[d.method],
                }
                for d in self.deviations
            },
            "left_out": dict(self.left_out),
            "kinks": dict(self.kinks),
        }

    @property
    def _deviating(self) -> dict[str, Deviation]:
        return {d.method: d for d in self.deviations}

    def __str__(self):
        rows = [("method", "worst difference", "allowed", "against", "at", "ms", "stored")]
        for name in self.seconds:
            size = self.stored_bytes[name]
            cost = f"{1e3 * self.seconds[name]:.2f}", "unknown" if size is None else f"{size / 1024:.0f} KiB"
            if name in self._deviating:
                off = self._deviating[name]
                allowed = "truncated" if off.draws is None else f"{off.allowed:.0e} of the mean"
                shown = f"{off.relative:.1e}" + ("" if off.passed else "  FAILS")
                rows.append((name, shown, allowed, off.against, "whole gradient, in norm", *cost))
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
        lines = aligned(rows, "<")
        every = "the methods compared" if self.left_out else "all methods"
        failed = [d.method for d in self.deviations if not d.passed]
        verdict = f"{every} agree"
        if not all(d.passed for d in self.differences):
            verdict = f"methods DISAGREE, worst at {self.worst.place}"
        elif failed:
            verdict = f"{', '.join(failed)}: NOT as accurate as promised"
        off = [str(d) for d in self.deviations]
        off += [f"{name} was left out: {reason}" for name, reason in self.left_out.items()]
        off += [f"{name}: {reason}" for name, reason in self.kinks.items()]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], f"{verdict} ({self.dtype})", *off])


def check_gradients(
    loss: AbstractLoss,
    net: Network,
    data: SequencesLike,
    methods: Sequence[AbstractGradient] = METHODS,
    tolerance: float | Mapping[str, float] | None = None,
    approximate_tolerance: float | Mapping[str, float] | None = None,
) -> GradientReport:
    """Compares gradient methods on a network and data: parameters and delay state, block by block.

    Args:
        loss: A loss of `lddn_jax.losses`.
        net: The network.
        data: `Sequences`; a few dozen steps are enough, and finite differences are slow with many.
        methods: At least two, one of which is neither truncated nor random; by default all five.
        tolerance: Allowed relative difference of two exact methods: a number, or numbers by dtype name. By
            default 1e-11 in float64 and 1e-4 in float32.
        approximate_tolerance: Allowed relative difference if one of the methods is approximate; None: the tolerance of
            that method; for finite differences 1e-6, or 1e-3 for a float32 network.

    Returns:
        A `GradientReport` with `.passed`, `.worst`, `.to_dict()`, printable as a table.

    Raises:
        ShapeError: If names or shapes do not match the topology.
        LDDNError: If there are fewer than two methods, or all of them are truncated or random.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 2)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, key=jax.random.key(0))
        >>> data = lddn.Sequences(jnp.ones((30, 1)), jnp.ones((30, 2)))
        >>> methods = (lddn.BPTT(), lddn.BPTT(checkpoint="sqrt"), lddn.BPTT(truncation=10))
        >>> report = lddn.check_gradients(lddn.losses.MeanSquaredError(), net, data, methods)
        >>> report.passed, report.deviations[0].method
        (True, 'BPTT(truncation=10)')
    """
    call = "check_gradients(loss, net, data, methods)"
    methods = list(methods) if isinstance(methods, Iterable) else [methods]
    for method in methods:
        check_method(method, call, "a method")
    for method in methods:
        needed = "an accuracy such as lddn.accuracy.Approximate(1e-3)"
        expect(ACCURACIES, f"{method.name}.accuracy", method.accuracy, call, needed)
    comparable = [method for method in methods if not isinstance(method.accuracy, Truncated | Random)]
    if len(methods) < 2 or not comparable:
        raise LDDNError(
            f"check_gradients compares methods, but got {[m.name for m in methods]}; it needs at least two, and one of "
            "them must compute the full gradient, such as lddn.BPTT()."
        )
    reference = next((m for m in comparable if isinstance(m.accuracy, Exact)), comparable[0])
    check_loss(loss, call)
    check_network(net, call)
    prepared = prepare_data(loss, net, data, call)
    dtype = jnp.dtype(net.dtype).name
    allowed = _tolerance(tolerance, RELATIVE_TOLERANCE, dtype)
    given = None if approximate_tolerance is None else _tolerance(approximate_tolerance, {}, dtype)
    *arrays, steps = prepared
    blocks, draws, programs, values = {}, {}, {}, {}
    for method in methods:
        programs[method.name] = program = _Program(method, loss, (net, *arrays), steps)
        values[method.name], blocks[method.name] = program.last
        if isinstance(method.accuracy, Random):
            drawn = [program(net, *arrays, method=method.drawn(k))[1] for k in range(method.accuracy.draws)]
            draws[method.name] = np.stack([_flat(found) for found in drawn])
    floor = 4500 * float(jnp.finfo(net.dtype).eps)

    def compared(pair: _Pair, blocks: Mapping[str, _Blocks]) -> Difference:
        bounds = [_bound(method, dtype) if given is None else given for method in pair if _is_approximate(method)]
        return _compare(net, blocks, pair[0].name, pair[1].name, floor, max([allowed, *bounds]))

    pairs = list(itertools.combinations(comparable, 2))
    differences = [compared(pair, blocks) for pair in pairs]
    failed = [k for k, difference in enumerate(differences) if not difference.passed]
    differing = [m for m in comparable if isinstance(m, FiniteDifference) and _among(m, [pairs[k] for k in failed])]
    avoided = {}
    if all(any(_among(m, [pairs[k]]) for m in differing) for k in failed):  # exact methods agree with each other
        for method in differing:
            own = [k for k in failed if _among(method, [pairs[k]])]
            others = {m.name: programs[m.name] for k in own for m in pairs[k] if m is not method}

            def again(blocks: Mapping[str, _Blocks], own: list[int] = own) -> list[Difference]:
                return [compared(pairs[k], blocks) for k in own]

            found = _away_from_kinks(method, others, loss, (net, *arrays), steps, again)
            if found is not None:
                avoided[method.name], instead = found
                for k, difference in zip(own, instead, strict=True):
                    differences[k] = difference
    g = _flat(blocks[reference.name])
    deviations = tuple(
        _deviation(g, reference.name, m.name, draws.get(m.name, _flat(blocks[m.name])[None]), floor)
        for m in methods
        if isinstance(m.accuracy, Truncated | Random)
    )
    return GradientReport(
        tuple(differences),
        values[reference.name],
        {name: program.seconds for name, program in programs.items()},
        {name: program.stored_bytes for name, program in programs.items()},
        dtype,
        deviations,
        kinks=avoided,
    )


class _Program:
    """The compiled gradient of one method; finite differences are computed in float64."""

    def __init__(self, method: AbstractGradient, loss: AbstractLoss, arguments: tuple, steps: int):
        self._method, self._loss = method, loss
        self._dtype = np.dtype(np.float64) if isinstance(method, FiniteDifference) else arguments[0].dtype
        with computing_in(self._dtype):
            given = self._converted(arguments)
            self._compiled = _value_and_grad.lower(loss, *given, steps=steps, method=method).compile()
            found, self.seconds = _timed(self._compiled, loss, *given, method=method)
        self.last, self.stored_bytes = _numbers(*found), _stored_bytes(self._compiled)

    def __call__(self, *arguments: Any, method: AbstractGradient | None = None) -> tuple[float, "_Blocks"]:
        with computing_in(self._dtype):
            return _numbers(*self._compiled(self._loss, *self._converted(arguments), method=method or self._method))

    def _converted(self, arguments: tuple) -> tuple:
        def converted(x):
            return jnp.asarray(np.asarray(x), self._dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

        return arguments if self._dtype == arguments[0].dtype else jax.tree.map(converted, arguments)


def _numbers(value: Any, gradient: Network, state: Any) -> tuple[float, "_Blocks"]:
    return float(value), _blocks(gradient, state)


def _away_from_kinks(
    method: FiniteDifference,
    others: Mapping[str, _Program],
    loss: AbstractLoss,
    arguments: tuple,
    steps: int,
    compared: Callable[[Mapping[str, "_Blocks"]], list[Difference]],
) -> tuple[str, list[Difference]] | None:
    """Repeats a comparison with a smaller step, then at a point nearby.

    Returns:
        How it was repeated, and the differences; None if they are not within tolerance in either way.
    """
    finer = kinks.with_smaller_step(method)
    program = _Program(finer, loss, arguments, steps)
    net, inputs, targets, state, weights = arguments
    around = [kinks.nearby(net, state, number) for number in range(kinks.POINTS_NEARBY)]
    step = f"with a step of {finer.step:.1g}"
    for how, points in (
        (f"a kink of a transfer function lies between its points, so it was compared {step}", [(net, state)]),
        (
            f"the point is at a kink of a transfer function, so it was compared {step} at {len(around)} points nearby",
            around,
        ),
    ):
        found = []
        for net, state in points:
            here = net, inputs, targets, state, weights
            blocks = {name: other(*here)[1] for name, other in others.items()} | {method.name: program(*here)[1]}
            found.append(compared(blocks))
        if all(difference.passed for differences in found for difference in differences):
            return how, [max(each, key=_severity) for each in zip(*found, strict=True)]
    return None


def _among(method: AbstractGradient, pairs: Sequence[_Pair]) -> bool:
    return any(method is each for pair in pairs for each in pair)


def _is_approximate(method: AbstractGradient) -> bool:
    return isinstance(method.accuracy, Approximate)


def _bound(method: AbstractGradient, dtype: str) -> float:
    """The allowed difference of an approximate method from an exact one, for networks of a dtype."""
    if isinstance(method, FiniteDifference) and dtype != "float64":
        return FROM_FLOAT32
    assert isinstance(method.accuracy, Approximate)
    return method.accuracy.allowed(dtype)


def _flat(blocks: Mapping[tuple[str, Any], np.ndarray]) -> np.ndarray:
    """Returns all derivatives with respect to parameters as one vector."""
    found = [block.ravel() for (field, _), block in blocks.items() if field != "state"]
    return np.concatenate([np.zeros(0), *found])


def _deviation(g: np.ndarray, full: str, method: str, found: np.ndarray, floor: float) -> Deviation:
    """Returns the deviation of the mean of gradients, `(draws, parameters)`, from g."""
    count, mean = found.shape[0], found.mean(axis=0)
    norm, other = np.linalg.norm(g), np.linalg.norm(mean)
    relative = float(np.linalg.norm(g - mean) / norm) if norm > 0 else 0.0 if other == 0 else math.inf
    cosine = float(g @ mean / (norm * other)) if min(norm, other) > 0 else float(norm == other)
    if count == 1:
        return Deviation(method, full, relative, cosine)
    error = math.sqrt(np.sum(np.square(found - mean)) / (count * (count - 1)))
    # Draws of a gradient that has no random part differ from the exact one by rounding.
    allowed = STANDARD_ERRORS * error / norm + floor if norm > 0 else math.inf
    return Deviation(method, full, relative, cosine, count, float(allowed))


def _timed(compiled, *given, **named) -> tuple[Any, float]:
    found, times = jax.block_until_ready(compiled(*given, **named)), []
    for _ in range(5):
        start = time.perf_counter()
        found = jax.block_until_ready(compiled(*given, **named))
        times.append(time.perf_counter() - start)
    return found, statistics.median(times)


def _blocks(gradient: Network, state) -> _Blocks:
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
    """Returns the entry of a method that was compared with no other."""
    return Difference((method, method), 0.0, "nowhere", None, math.inf)


def _severity(difference: Difference) -> float:
    return float("inf") if np.isnan(difference.relative) else difference.relative / difference.tolerance


def _tolerance(given, default: Mapping[str, float], dtype: str) -> float:
    if given is None:
        given = default
    if isinstance(given, Mapping):
        if dtype not in given:
            raise LDDNError(
                f"tolerance={dict(given)} has no entry for {dtype}; write tolerance={{{dtype!r}: 1e-6}}, or a number."
            )
        given = given[dtype]
    check_positive("tolerance", given, numbers.Real, example=1e-6)
    return float(given)


def _stored_bytes(compiled) -> int | None:
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)
