"""Backpropagation through time (BPTT), written by hand for arbitrary connections and delays.

With F the performance index, ∂ᵉ the explicit derivative (through the outputs of the same step only) and n̄^m(t)
= ∂F/∂n^m(t), the chain rule over everything that reads a^m(t) at this step or later gives

    ā^m(t) = ∂ᵉF/∂a^m(t) + Σ_{k: m feeds k} Σ_{d ∈ DL_{k,m}} LW^{k,m}(d)ᵀ n̄^k(t+d)
    n̄^m(t) = ḟ^m(n^m(t)) ā^m(t)

    ∂F/∂LW^{m,l}(d) = Σ_t n̄^m(t) a^l(t−d)ᵀ    ∂F/∂IW^{m,l}(d) = Σ_t n̄^m(t) p^l(t−d)ᵀ    ∂F/∂b^m = Σ_t n̄^m(t)

and ∂F/∂a^l(τ) for τ < 0, a value of the delay state, is the sum in the first line at t = τ.

The first two lines are a network too, with all connections reversed, time running backward, and multiplication by the
slope as transfer function. So they use the same recursion as the simulation, with blocks and chunks.

De Jesús & Hagan (2007), section III; the recursion in n̄ needs no sensitivities S^{u,m} of the static part.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.accuracy import Accuracy, Exact, Truncated
from lddn_jax.gradients.gather import parameter_gradient, state_gradient
from lddn_jax.gradients.jacobian_window import windowed
from lddn_jax.gradients.method import (
    AbstractGradient,
    AbstractLinearization,
    Derivatives,
    derivatives_by_pullback,
    over_sequences,
)
from lddn_jax.gradients.segments import (
    Adjoint,
    Cut,
    Kept,
    SimulatedAgain,
    adjoint_lines,
    ahead,
    backward,
    cut,
    longest_held,
    square_root,
)
from lddn_jax.gradients.slopes import factor_slopes
from lddn_jax.network import transfer
from lddn_jax.network.factored_network import declared, factored, of_layers
from lddn_jax.network.network import Network, connection_weights
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.connection_product import transposed
from lddn_jax.numerics.lanes import Values, from_lanes, to_lanes
from lddn_jax.numerics.platform import Platform, by_platform
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.recursion import prepare
from lddn_jax.simulation.simulate import batch_axes, run, run_in_segments
from lddn_jax.topology.plan import plan
from lddn_jax.topology.product_factors import product_factors
from lddn_jax.topology.topology import Topology


class BPTT(AbstractGradient):
    """Hand-written backpropagation through time; see the equations in the module's docstring.

    Args:
        checkpoint: How much of the forward pass is stored. None stores all of it. A number k stores the delay state at
            every k-th step and simulates each segment of k steps again in the backward pass; "sqrt" uses k = √T, so
            that memory for layers grows with √T. The gradient is the same.
        truncation: Truncated BPTT: time is cut into segments of this many steps, and n̄ is not passed from a segment to
            the one before. The gradient differs from the full one, and `check_gradients` reports how much; meant for
            first-order training on long records. None is the full gradient.
        jacobian_window: For `jacobian` only: the smallest number of lags that each row goes back, all rows in parallel.
            What is neglected has a known bound, `jacobian(..., return_neglected=True)`. None goes back to the first
            step. Gradients are always full.

    Raises:
        LDDNError: If a number is not positive, or two arguments contradict each other.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(IW={("y", "u"): [[[1.0]]]})
        >>> gradient, _ = BPTT().pullback(net, jnp.ones((3, 1)), None, {"y": jnp.ones((3, 1))})
        >>> float(gradient.LW["y", "y"][0, 0, 0])  # Σ y(t−1) over the steps t > 0
        2.0
    """

    checkpoint: int | str | None = eqx.field(default=None, static=True)
    truncation: int | None = eqx.field(default=None, static=True)
    jacobian_window: int | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        for what, given, word in (
            ("checkpoint", self.checkpoint, "sqrt"),
            ("truncation", self.truncation, None),
            ("jacobian_window", self.jacobian_window, None),
        ):
            if given is None or (word and given == word):
                continue
            if isinstance(given, bool) or not isinstance(given, int) or given < 1:
                words = f' or "{word}"' if word else ""
                raise LDDNError(f"BPTT({what}={given!r}): a positive number of steps{words} is needed, or None.")
        if self.truncation is not None and self.checkpoint not in (None, self.truncation):
            raise LDDNError(
                f"BPTT(checkpoint={self.checkpoint!r}, truncation={self.truncation!r}): both cut time into segments, "
                f"of different lengths. Write BPTT(checkpoint={self.truncation}, truncation={self.truncation})."
            )
        if self.truncation is not None and self.jacobian_window is not None:
            raise LDDNError(
                f"BPTT(truncation={self.truncation!r}, jacobian_window={self.jacobian_window!r}): truncation is for "
                "gradients, jacobian_window for Jacobians. Give one of them."
            )

    @property
    def accuracy(self) -> Accuracy:
        """`Truncated()` if `truncation` is set, else `Exact()`."""
        return Exact() if self.truncation is None else Truncated()

    def linearize(self, net: Network, inputs: Signals, state: DelayState, steps: int) -> AbstractLinearization:
        """Simulates and stores net inputs and signals, or only the delay states at checkpoints."""
        topology, net, batch = net.topology, factored(net), batch_axes(inputs, state)
        inputs, state = to_lanes(inputs), to_lanes(state)
        lanes, truncated = (math.prod(batch),), self.truncation is not None
        length = self.checkpoint if isinstance(self.checkpoint, int | None) else square_root(steps)
        if length is not None and length < steps:
            a, states = run_in_segments(net, inputs, state, steps, lanes, length)
            forward = SimulatedAgain(net, inputs, states, length, *lanes)
            where = cut(steps, length, truncated=truncated)
        else:
            n, a = run(net, inputs, state, steps, lanes)
            forward = Kept(n, inputs | a, state)
            where = cut(steps, self.truncation, longest_held(net), truncated=True) if self.truncation else None
        return _BPTTLinearization(from_lanes(of_layers(a, topology), batch), topology, net, forward, where, batch)

    def derivatives(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool = False
    ) -> tuple[Derivatives, Signals]:
        """Returns ∂(outputs)/∂x and its bounds, by one backward pass for each output element and time step."""
        window = self.jacobian_window
        if window is None:
            return derivatives_by_pullback(self, net, inputs, state, steps, with_state)
        net = factored(net)

        def one_sequence(inputs, state):
            inputs, state = to_lanes(inputs), to_lanes(state)
            n, a = run(net, inputs, state, steps, (1,))
            forward = Kept(n, inputs | a, state).ready()
            return windowed(net, lambda lanes: _recursion(net, lanes), forward, steps, window, with_state)

        return over_sequences(one_sequence, inputs, state)


class _BPTTLinearization(AbstractLinearization):
    a: Signals
    topology: Topology = eqx.field(static=True)
    net: Network
    forward: Kept | SimulatedAgain
    cut: Cut | None = eqx.field(static=True)  # None: the segments that fit the cache of the platform
    batch: tuple[int, ...] = eqx.field(static=True)

    def pullback(self, cotangents: Signals) -> tuple[Network, DelayState]:
        lanes = math.prod(self.batch)
        adjoint, lines = _adjoint(self.net, lanes), adjoint_lines(self.net, lanes)

        def back(where, forward, cotangents, lines):
            return backward(self.net, adjoint, forward.ready(), cotangents, lines, where)

        gradient, lines = by_platform(self._where, back, self.forward, to_lanes(cotangents), lines)
        return declared(gradient, self.topology), from_lanes(state_gradient(self.net, lines), self.batch)

    def _where(self, platform: Platform) -> Cut:
        if self.cut is not None:
            return self.cut
        steps = next(iter(self.a.values())).shape[-2]
        fitting = plan(self.topology).segments(steps, math.prod(self.batch), self.net.dtype.itemsize, platform)
        return cut(steps, fitting.length, longest_held(self.net), uneven=True)


def _adjoint(net: Network, lanes: int) -> Adjoint:
    """Returns the backward pass of a segment, with all work that depends on the network only done once."""
    recursion = _recursion(net, lanes)

    def adjoint(n, signals, before, cotangents, future):
        n_bar = recursion(n, signals, cotangents, future)
        return parameter_gradient(net, signals, before, n_bar), ahead(future, n_bar)

    return adjoint


def _recursion(net: Network, lanes: int) -> Callable[[Values, Values, Values, Values], Values]:
    """Returns the recursion in n̄ over a segment."""
    topology = net.topology
    functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
    factors = {name for of_product in product_factors(topology).values() for name in of_product}
    nothing = {layer.name: jnp.zeros((1, layer.size, 1), net.dtype) for layer in topology.layers}
    between_layers = {pair: w for pair, w in connection_weights(net).items() if pair[1] not in topology.input_names}
    recursion = prepare(
        plan(topology).adjoint_blocks,
        {(source, to): delays for (to, source), delays in topology.delays.items() if (to, source) in between_layers},
        {(source, to): transposed(weights) for (to, source), weights in between_layers.items()},
        (lanes,),
        net.dtype,
    )

    def node(name, a_bar, now):
        if name in factors:
            return now * a_bar
        n, a = now
        return functions[name].times_slope(functions[name].slope_in_lanes(n, a), a_bar, transpose=True)

    def n_bar(n, signals, cotangents, future):
        of_factors = factor_slopes(topology, n, signals)
        return recursion(
            node,
            known={},
            drive=nothing | cotangents,
            extras={name: (n[name], signals[name]) for name in n if name not in factors} | of_factors,
            before=future,
            steps=next(iter(n.values())).shape[0],
            reverse=True,
        )[1]

    return n_bar
