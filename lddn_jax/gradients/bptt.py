"""Backpropagation through time, written by hand for arbitrary connections and delays.

With F the performance index, ∂ᵉ the explicit derivative (through the outputs of the same step only) and n̄^m(t)
= ∂F/∂n^m(t), the chain rule over everything that reads a^m(t) now or later gives

    ā^m(t) = ∂ᵉF/∂a^m(t) + Σ_{k: m feeds k} Σ_{d ∈ DL_{k,m}} LW^{k,m}(d)ᵀ n̄^k(t+d)
    n̄^m(t) = ḟ^m(n^m(t)) ā^m(t)

    ∂F/∂LW^{m,l}(d) = Σ_t n̄^m(t) a^l(t−d)ᵀ    ∂F/∂IW^{m,l}(d) = Σ_t n̄^m(t) p^l(t−d)ᵀ    ∂F/∂b^m = Σ_t n̄^m(t)

and ∂F/∂a^l(τ) for τ < 0, a value of the delay state, is the sum in the first line at t = τ.

The first two lines are a network too: every connection turned round, time running back, "multiply by the slope"
as transfer function. So they run through the same recursion as the simulation, blocks and chunks included.

De Jesús & Hagan (2007), section III; the recursion in n̄ needs no sensitivities S^{u,m} of the static part.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.gather import parameter_gradient, state_gradient
from lddn_jax.gradients.method import (
    AbstractGradient,
    AbstractLinearization,
    Derivatives,
    derivatives_by_pullback,
    nothing_neglected,
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
from lddn_jax.gradients.window import windowed
from lddn_jax.network import transfer
from lddn_jax.network.network import Network
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import Values, from_lanes, to_lanes
from lddn_jax.simulation.delays import DelayState
from lddn_jax.simulation.recursion import prepare
from lddn_jax.simulation.simulate import batch_axes, run, run_in_segments
from lddn_jax.topology.plan import plan


class BPTT(AbstractGradient):
    """Hand-written backpropagation through time; see the module's equations.

    Args:
        checkpoint: How much of the forward pass is kept. None keeps all of it. A number k keeps the delay state at
            every k-th step and simulates each segment of k steps once more on the way back; "sqrt" takes k = √T, with
            which memory for layers grows with √T. The gradient is the same.
        horizon: Truncates: time is cut into windows of so many steps, and n̄ is not passed from a window to the one
            before. The gradient is another one, which `check_gradients` compares with the full one; it is meant for
            first-order training on long records. None is the full gradient.
        window: For `jacobian`: how many lags each row goes back at least, all rows in parallel. What is neglected has a
            known bound, `jacobian(..., return_neglected=True)`. None goes back to the first step. Gradients are always
            full.

    Raises:
        LDDNError: If a number is not positive, or two are given that contradict each other.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(IW={("y", "u"): [[[1.0]]]})
        >>> gradient, _ = BPTT().pullback(net, jnp.ones((3, 1)), None, {"y": jnp.ones((3, 1))})
        >>> float(gradient.LW["y", "y"][0, 0, 0])  # y(t−1) summed over the steps that have one
        2.0
    """

    checkpoint: int | str | None = eqx.field(default=None, static=True)
    horizon: int | None = eqx.field(default=None, static=True)
    window: int | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        for what, given, word in (
            ("checkpoint", self.checkpoint, "sqrt"),
            ("horizon", self.horizon, None),
            ("window", self.window, None),
        ):
            if given is None or (word and given == word):
                continue
            if isinstance(given, bool) or not isinstance(given, int) or given < 1:
                words = f' or "{word}"' if word else ""
                raise LDDNError(f"BPTT({what}={given!r}): a positive number of steps{words} is needed, or None.")
        if self.horizon is not None and self.checkpoint not in (None, self.horizon):
            raise LDDNError(
                f"BPTT(checkpoint={self.checkpoint!r}, horizon={self.horizon!r}): both cut time, and at different "
                f"steps. Write BPTT(checkpoint={self.horizon}, horizon={self.horizon})."
            )
        if self.horizon is not None and self.window is not None:
            raise LDDNError(
                f"BPTT(horizon={self.horizon!r}, window={self.window!r}): horizon truncates gradients, window "
                "Jacobians alone. Give one of them."
            )

    @property
    def truncated(self) -> bool:
        """Whether the gradient is an approximation."""
        return self.horizon is not None

    def linearize(self, net: Network, inputs: Signals, state: DelayState, steps: int) -> AbstractLinearization:
        """Simulates and keeps slopes and signals, or only the delay states at checkpoints."""
        batch = batch_axes(inputs, state)
        inputs, state = to_lanes(inputs), to_lanes(state)
        lanes = (math.prod(batch),)
        length = self.checkpoint if isinstance(self.checkpoint, int | None) else square_root(steps)
        if length is not None and length < steps:
            a, states = run_in_segments(net, inputs, state, steps, lanes, length)
            forward = SimulatedAgain(net, inputs, states, length, *lanes)
            where = cut(steps, length, truncated=self.truncated)
        else:
            n, a = run(net, inputs, state, steps, lanes)
            forward = Kept(n, inputs | a, state)
            fitting = plan(net.topology).segments(steps, *lanes, net.dtype.itemsize, jax.default_backend())
            length = self.horizon or fitting.length
            where = cut(steps, length, longest_held(net), truncated=self.truncated, uneven=not self.truncated)
        return _BPTTLinearization(from_lanes(a, batch), net, forward, where, batch)

    def derivatives(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool = False
    ) -> Derivatives:
        """Returns ∂(outputs)/∂x, one backward pass for each output element and time step."""
        if self.window is None:
            return derivatives_by_pullback(self, net, inputs, state, steps, with_state)
        return self.bounded_derivatives(net, inputs, state, steps, with_state)[0]

    def bounded_derivatives(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool = False
    ) -> tuple[Derivatives, Signals]:
        """Returns the same, and a bound on the Euclidean norm of what each row neglects."""
        window = self.window
        if window is None:
            return nothing_neglected(self.derivatives(net, inputs, state, steps, with_state))

        def one_sequence(inputs, state):
            inputs, state = to_lanes(inputs), to_lanes(state)
            n, a = run(net, inputs, state, steps, (1,))
            forward = Kept(n, inputs | a, state).ready()
            return windowed(net, lambda lanes: _recursion(net, lanes), forward, steps, window, with_state)

        return over_sequences(one_sequence, inputs, state)


class _BPTTLinearization(AbstractLinearization):
    a: Signals
    net: Network
    forward: Kept | SimulatedAgain
    cut: Cut = eqx.field(static=True)
    batch: tuple[int, ...] = eqx.field(static=True)

    def pullback(self, cotangents: Signals) -> tuple[Network, DelayState]:
        lanes = math.prod(self.batch)
        adjoint, lines = _adjoint(self.net, lanes), adjoint_lines(self.net, lanes)
        gradient, lines = backward(self.net, adjoint, self.forward.ready(), to_lanes(cotangents), lines, self.cut)
        return gradient, from_lanes(state_gradient(self.net, lines), self.batch)


def _adjoint(net: Network, lanes: int) -> Adjoint:
    """Returns a segment's backward pass, with all that depends on the network only done before."""
    recursion = _recursion(net, lanes)

    def adjoint(n, signals, before, cotangents, future):
        n_bar = recursion(n, signals, cotangents, future)
        return parameter_gradient(net, signals, before, n_bar), ahead(future, n_bar)

    return adjoint


def _recursion(net: Network, lanes: int) -> Callable[[Values, Values, Values, Values], Values]:
    """Returns the recursion in n̄ over one segment."""
    topology = net.topology
    functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
    nothing = {layer.name: jnp.zeros((1, layer.size, 1), net.dtype) for layer in topology.layers}
    recursion = prepare(
        plan(topology).adjoint_blocks,
        {(source, to): delays for (to, source), delays in topology.delays.items() if (to, source) in net.LW},
        {(source, to): einsum("dij->dji", weights) for (to, source), weights in net.LW.items()},
        (lanes,),
    )

    def node(name, a_bar, now):
        n, a = now
        return functions[name].times_slope(functions[name].slope_in_lanes(n, a), a_bar, transpose=True)

    def n_bar(n, signals, cotangents, future):
        return recursion(
            node,
            known={},
            drive=nothing | cotangents,
            extras={name: (n[name], signals[name]) for name in n},
            before=future,
            steps=next(iter(n.values())).shape[0],
            reverse=True,
        )[1]

    return n_bar
