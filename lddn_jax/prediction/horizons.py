"""Multi-step (k-step-ahead) prediction, and the prediction error as a function of the horizon.

A prediction of y(t) k steps ahead uses measured outputs up to t − k: the closed loop starts from measured values at
t − k + 1 and runs free until t. For k = 1 this is the network with its loop open, and for k equal to the length of the
record it is a free run.

    ŷ(t | t−k) = y of the closed loop after min(k, t + 1) steps

A network that reads measured outputs through delays of at least d > 1 predicts d steps ahead with its loop open; there
is no shorter horizon.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lddn_jax.checks import check_positive
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.losses import counted, error_weights
from lddn_jax.network.committee import Committee, Model, check_model
from lddn_jax.network.rewiring import closed_over, measured_loops, open_loop
from lddn_jax.network.signals import (
    RealSignal,
    Signals,
    SignalsLike,
    StateLike,
    WeightsLike,
    as_signals,
    by_name,
    check_data,
    first_nan,
    measured_name,
)
from lddn_jax.numerics.text_table import aligned, column_digits
from lddn_jax.simulation.delays import DelayState, cut, started, state_sizes, states_along
from lddn_jax.simulation.simulate import predict, prepared_model, simulate
from lddn_jax.topology.topology import Topology

DEFAULT_HORIZONS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
OUTPUTS_AT_ONCE = 2**22  # number of output values computed at once, to bound memory


def shortest_delay(topology: Topology, sources: Iterable[str]) -> int | None:
    """Returns the smallest sum of delays on a path from one of the sources to an output; None if there is no path.

    Args:
        topology: The topology.
        sources: Names of inputs or layers.

    Example:
        >>> import lddn_jax as lddn
        >>> shortest_delay(lddn.models.narx({"u": 1}, {"y": 1}, feedback_delays=(3, 4)), ["measured_y"])
        3
    """
    reached = dict.fromkeys(sources, 0)
    for _ in topology.layers:  # a shortest path visits no layer twice
        for c in topology.connections:
            if c.source in reached:
                through = reached[c.source] + c.delays[0]
                reached[c.to] = min(reached.get(c.to, through), through)
    return min((reached[name] for name in topology.outputs if name in reached), default=None)


def k_step(net: Model, data: Sequences, k: int, *, loops: Mapping[str, str] | None = None) -> Signals:
    """Predicts k steps ahead at every step of a record.

    Args:
        net: The network with its loop open; or closed, if the targets are the measured outputs.
        data: `Sequences`, with the measured outputs among the inputs if the loop is open.
        k: Number of steps ahead. The first k − 1 predictions start at the beginning of the record. A number below the
            smallest delay of the measured outputs gives the same as that delay.
        loops: Output layer by name of its feedback input; by default an input named `measured_y` belongs to output
            `y`.

    Returns:
        `(*batch, time, size)` by output layer: at time t the prediction from measured outputs up to t − k.

    Raises:
        LDDNError: If k is not a positive integer.
        DataError: If a target that is fed back is missing.
        ShapeError: If data does not match the network.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
        >>> u, y = jax.random.normal(jax.random.key(1), (2, 30, 1))
        >>> data = lddn.Sequences({"u": u, "measured_y": y}, y)
        >>> bool(jnp.allclose(lddn.k_step(net, data, 1)["y"], lddn.predict(net, data.inputs)["y"], atol=1e-6))
        True
    """
    check_positive("k", k)
    record = _Record.of(net, data, loops, "k_step(net, data, k)")
    k = min(k, record.steps)
    starts = np.arange(record.steps - k + 1)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in net.topology.outputs}
    for group, _, outputs in record.runs(starts, k):
        for name, a in outputs.items():
            # The first run gives the first k predictions, every other run only its last step.
            first = [np.asarray(a[..., 0, :, :])] if group[0] == 0 else []
            rest = a[..., 1 if group[0] == 0 else 0 :, -1, :]
            parts[name] += [*first, np.asarray(rest)]
    return {name: jnp.asarray(np.concatenate(pieces, axis=-2)) for name, pieces in parts.items()}


@dataclass(frozen=True)
class HorizonProfile:
    """Result of `horizon_profile`; `print` shows a table.

    Attributes:
        horizons: Numbers of steps ahead.
        rmse: RMSE of the network, `(horizons,)` by output layer.
        persistence: RMSE of the persistence baseline, which repeats the last measured value, `(horizons,)` by output
            layer.
        starts: Number of starting points that each RMSE is computed over.
    """

    horizons: tuple[int, ...]
    rmse: Mapping[str, Float[np.ndarray, " horizons"]]
    persistence: Mapping[str, Float[np.ndarray, " horizons"]]
    starts: int

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`; None where a run became NaN or infinite."""
        values = {"rmse": self.rmse, "persistence": self.persistence}
        lists = {
            what: {name: [float(x) if np.isfinite(x) else None for x in column] for name, column in columns.items()}
            for what, columns in values.items()
        }
        return {"horizons": list(self.horizons), **lists, "starts": self.starts}

    def __str__(self):
        names = list(self.rmse)
        rows = [["horizon", *(label for name in names for label in (name, "persistence"))]]
        for k, horizon in enumerate(self.horizons):
            cells = (column_digits(errors[name][k]) for name in names for errors in (self.rmse, self.persistence))
            rows.append([str(horizon), *cells])
        return "\n".join(aligned(rows, ">"))


def horizon_profile(
    net: Model,
    data: Sequences,
    horizons: Sequence[int] | None = None,
    *,
    loops: Mapping[str, str] | None = None,
) -> HorizonProfile:
    """Computes the RMSE of predictions as a function of the number of steps ahead.

    All horizons are evaluated on the same runs, which start at every step with room for the longest horizon.

    Args:
        net: The network with its loop open; or closed, if the targets are the measured outputs.
        data: `Sequences`, with the measured outputs among the inputs if the loop is open. Targets that are NaN or have
            error weight 0 are ignored, unless they are fed back.
        horizons: Numbers of steps ahead, ascending; None for 1, 2, 5, 10 … up to half the length of the record. The
            first is the smallest delay of the measured outputs if that is not 1.
        loops: As in `k_step`.

    Returns:
        A `HorizonProfile`, in the units of the data.

    Raises:
        LDDNError: If horizons are not ascending positive integers, exceed the length of the record, or are shorter
            than the smallest delay of the measured outputs.
        DataError: If a target that is fed back is missing.
        ShapeError: If data does not match the network.

    Example:
        >>> import jax, lddn_jax as lddn
        >>> net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
        >>> u, y = jax.random.normal(jax.random.key(1), (2, 30, 1))
        >>> profile = lddn.horizon_profile(net, lddn.Sequences({"u": u, "measured_y": y}, y), (1, 3))
        >>> profile.horizons, profile.starts
        ((1, 3), 28)
    """
    call = "horizon_profile(net, data, horizons)"
    check_data(data, call)
    chosen = _horizons(horizons, data.steps)
    check_model(net, call)
    chosen = _not_below(_least(net.topology, loops), chosen, horizons, data.steps)
    record = _Record.of(net, data, loops, call)
    sizes = {name: net.topology.sizes[name] for name in net.topology.outputs}
    targets = counted(as_signals("target", data.targets, sizes, net.dtype), data.weights)
    if not record.states.keys() & set(net.topology.outputs):
        raise LDDNError(
            f"{call}: no layer reads an output through a delay, so predictions do not depend on measured outputs, and "
            "their error not on the horizon. Evaluate the free run: lddn.forecast(model, record)."
        )
    starts, places = np.arange(record.steps - chosen[-1] + 1), np.array(chosen) - 1
    squares = {name: np.zeros(len(chosen)) for name in sizes}
    still = {name: np.zeros(len(chosen)) for name in sizes}
    counts = {name: np.zeros(len(chosen)) for name in sizes}
    for group, states, outputs in record.runs(starts, chosen[-1]):
        for name, a in outputs.items():
            wanted = cut(np.asarray(targets[name]), group, 0, chosen[-1])[..., places, :]
            before = np.asarray(states[name])[..., -1:, :]
            before = before[0] if before.ndim > wanted.ndim else before  # measured, the same for all members
            axes = (*range(wanted.ndim - 2), wanted.ndim - 1)
            squares[name] += np.nansum((wanted - np.asarray(a)[..., places, :]) ** 2, axis=axes)
            still[name] += np.nansum((wanted - before) ** 2, axis=axes)
            counts[name] += np.sum(~np.isnan(wanted), axis=axes)
    return HorizonProfile(
        chosen,
        {name: np.sqrt(squares[name] / counts[name]) for name in sizes},
        {name: np.sqrt(still[name] / counts[name]) for name in sizes},
        len(starts),
    )


@dataclass(frozen=True)
class _Record:
    """A record with the delay state of the closed loop before each of its steps.

    Attributes:
        closed: The network with its loop closed.
        inputs: `(*batch, time, size)` by input of the closed loop.
        states: Delay state before every step, `(*batch, time, longest delay, size)` by source; layers of a committee
            that are not measured have the axis of the members in front.
        steps: Number of time steps.
    """

    closed: Model
    inputs: Signals
    states: dict[str, Float[Array, "... time longest_delay=_ size=_"]]
    steps: int

    @classmethod
    def of(cls, net: Model, data: Sequences, loops: Mapping[str, str] | None, call: str) -> "_Record":
        check_model(net, call)
        check_data(data, call)
        inputs, state = data.inputs, started(net.topology, data)
        loops = measured_loops(net.topology) if loops is None else dict(loops)
        if not loops:
            net, inputs, state, loops = _opened(net, data)
        closed = closed_over(net, loops)
        inputs, state, steps = prepared_model(net, inputs, state, None if net.topology.inputs else data.steps)
        measured = {output: input for input, output in loops.items()}
        a = simulate(net, inputs, state, steps=steps).a  # for layers that are not measured
        before, signals = {}, {}
        for name, (longest, _) in state_sizes(closed.topology).items():
            source = measured.get(name, name)
            signal = inputs[source] if source in inputs else a[source]
            if isinstance(closed, Committee) and not closed.topology.inputs and source in inputs:
                # Only the delay state tells how many sequences there are, so it has the axis of the members throughout.
                signal = jnp.broadcast_to(signal, (closed.members, *signal.shape))
            signals[name] = signal
            # If the open loop has a shorter delay line, older values are unknown and set to zero.
            held = state.get(source, jnp.zeros((*signal.shape[:-2], 0, signal.shape[-1]), signal.dtype))
            held = jnp.broadcast_to(held, (*signal.shape[:-2], *held.shape[-2:]))  # layers of a committee
            short = jnp.zeros((*held.shape[:-2], max(longest - held.shape[-2], 0), held.shape[-1]), held.dtype)
            before[name] = jnp.concatenate([short, held], axis=-2)
        others = {name: signal for name, signal in inputs.items() if name not in loops}
        return cls(closed, others, states_along(before, signals), steps)

    def runs(
        self, starts: Int[np.ndarray, " starts"], length: int
    ) -> Iterator[tuple[Int[np.ndarray, " group"], DelayState, Signals]]:
        """Runs the closed loop from each start, and yields starts, delay states and outputs group by group."""
        outputs = self.closed.topology.outputs
        batch = max(math.prod(states.shape[:-3]) for states in self.states.values())
        width = batch * sum(self.closed.topology.sizes[name] for name in outputs)
        size = int(np.clip(OUTPUTS_AT_ONCE // (length * width), 1, len(starts)))
        for first in range(0, len(starts), size):
            group = starts[first : first + size]
            filled = np.resize(group, size)  # groups of equal size share one compiled program
            inputs = {name: cut(signal, filled, 0, length) for name, signal in self.inputs.items()}
            state = {name: states[..., filled, :, :] for name, states in self.states.items()}
            found = predict(self.closed, inputs, state, steps=length)
            count = len(group)
            yield group, *jax.tree.map(lambda value, count=count: value[..., :count, :, :], (state, found))


def _opened(net: Model, data: Sequences) -> tuple[Model, SignalsLike, StateLike, dict[str, str]]:
    """Opens the loops of a network through its outputs, and feeds the targets as inputs in their place."""
    topology, loops = net.topology, {}
    inputs = dict(by_name("input", data.inputs, topology.input_names))
    targets = by_name("target", data.targets, topology.outputs)
    known = with_gaps(targets, data.weights)
    known_state = started(topology, data)
    state: dict[str, Any] | None = None if known_state is None else dict(known_state)
    for name in topology.outputs:
        late = [c.to for c in topology.connections if c.source == name and c.delays[0] > 0]
        if not late:
            continue
        if (where := first_nan(known[name])) is not None:
            raise DataError(
                f"target {name!r} is NaN at {where} of (*batch, time, element), but is needed to start a run. Fill the "
                "gap, or use the pieces between gaps: record.unbroken()."
            )
        input = measured_name(name)
        net = open_loop(net, output=name, input=input, to=late)
        loops[input], inputs[input] = name, targets[name]
        if state is not None:
            sizes = state_sizes(net.topology)
            held = state.pop(name)
            state |= {source: held[..., -sizes[source][0] :, :] for source in (name, input) if source in sizes}
    return net, inputs, state, loops


def with_gaps(targets: Mapping[str, RealSignal], weights: WeightsLike) -> Mapping[str, RealSignal]:
    """Returns the targets with NaN in gaps, which are steps with weight 0 between steps with nonzero weight.

    Steps with weight 0 at the beginning are a warm-up, whose values are known; those at the end are padding.
    """
    if weights is None:
        return targets
    found = {}
    for name, weight in error_weights(weights, targets).items():
        counts = np.asarray(weight) > 0
        begun = np.maximum.accumulate(counts, axis=-2)
        ended = ~np.flip(np.maximum.accumulate(np.flip(counts, axis=-2), axis=-2), axis=-2)
        found[name] = np.where(begun & ~ended & ~counts, np.nan, np.asarray(targets[name]))
    return found


def _horizons(given: Sequence[int] | None, steps: int) -> tuple[int, ...]:
    if given is None:
        return tuple(h for h in DEFAULT_HORIZONS if h <= max(1, steps // 2))
    chosen = tuple(given) if isinstance(given, Iterable) else ()
    whole = all(isinstance(h, int) and not isinstance(h, bool) and h > 0 for h in chosen)
    if not chosen or not whole or list(chosen) != sorted(set(chosen)) or chosen[-1] > steps:
        raise LDDNError(
            f"horizon_profile: horizons={given!r} on a record of {steps} steps; needed are ascending integers "
            f"from 1 to {steps}: horizons=(1, 5, 20)."
        )
    return chosen


def _least(topology: Topology, loops: Mapping[str, str] | None) -> int:
    """The shortest horizon: the smallest delay of measured outputs, also if the loop through them is closed."""
    sources = list(measured_loops(topology) if loops is None else loops)
    if sources:
        return max(shortest_delay(topology, sources) or 1, 1)
    late = [c for c in topology.connections if c.source in topology.outputs and c.delays[0] > 0]
    return min((c.delays[0] + (shortest_delay(topology, [c.to]) or 0) for c in late), default=1)


def _not_below(least: int, chosen: tuple[int, ...], given: Sequence[int] | None, steps: int) -> tuple[int, ...]:
    """Returns the horizons that are not shorter than the smallest delay of the measured outputs."""
    if chosen[0] >= least:
        return chosen
    if least > steps:
        raise LDDNError(
            f"horizon_profile: the network predicts {least} or more steps ahead, and the record has only {steps} steps "
            "after those that fill the delay state. Pass a longer record."
        )
    if given is not None:
        raise LDDNError(
            f"horizon_profile: horizons={given!r}, but the network reads measured outputs through delays of {least} or "
            f"more, so it predicts {least} or more steps ahead; write horizons=({least}, ...)."
        )
    return (least, *(h for h in chosen if h > least))
