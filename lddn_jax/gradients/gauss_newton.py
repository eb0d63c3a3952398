"""Gauss-Newton matrices: JᵀJ, Jᵀe and eᵀe of a network, summed over the record without storing J.

With residuals e = √w (target − output), one for each output element, step and sequence, and J = ∂e/∂x,

    F = Σ e² ≈ eᵀe + 2 (Jᵀe)ᵀ Δx + Δxᵀ JᵀJ Δx

J has a row for every residual, so for long records it is much larger than JᵀJ, which is (parameters, parameters). The
forward recursion of `rtrl.py` computes one segment of J at a time; its products are summed and the segment is
discarded. A missing target, or one with error weight zero, is a row of zeros.

JᵀJ has the squared condition number of J. Where that matters, the triangular factor R of J = QR, and Qᵀe, are
accumulated instead: the factor of two blocks of rows is the factor of their stacked factors.

Hagan & Menhaj (1994), IEEE Transactions on Neural Networks 5(6); Demmel et al. (2012), SIAM J. Sci. Comput. 34(1), for
the factor by blocks.
"""

import logging
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.api import prepare_data
from lddn_jax.gradients.columns import Columns
from lddn_jax.gradients.method import AbstractGradient, check_method
from lddn_jax.gradients.rtrl import RTRL, bytes_of_a_step, forward
from lddn_jax.losses import AbstractLeastSquares, AbstractLoss, check_loss
from lddn_jax.network.network import Network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import SequencesLike
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.lanes import to_lanes
from lddn_jax.numerics.memory import check_memory
from lddn_jax.numerics.platform import one_at_a_time
from lddn_jax.simulation.delays import piece
from lddn_jax.simulation.simulate import batch_axes

JACOBIAN_BYTES = 2**30  # default limit of a stored Jacobian
SEQUENCE_GROUP_BYTES = 2**24  # derivatives of one step; with more, sequences are processed in groups
_logger = logging.getLogger("lddn_jax")


class GaussNewton(eqx.Module):
    """The matrices and vectors of a Gauss-Newton step.

    Attributes:
        JTJ: JᵀJ, `(parameters, parameters)`.
        JTe: Jᵀe, `(parameters,)`; the gradient of Σ e² is twice that.
        eTe: Σ e².
        R: Upper triangular factor of J, `(parameters, parameters)`; None unless requested.
        QTe: Qᵀe, `(parameters,)`; None unless requested.
    """

    JTJ: Float[Array, "... parameters parameters"]
    JTe: Float[Array, "... parameters"]
    eTe: Float[Array, "..."]
    R: Float[Array, "... parameters parameters"] | None = None
    QTe: Float[Array, "... parameters"] | None = None

    def with_decay(
        self, x: Float[Array, " parameters"], decay: Float[Array, ""] | Float[Array, " parameters"]
    ) -> "GaussNewton":
        """Returns the sums with residuals √decay · x added.

        Args:
            x: Parameters, `(parameters,)`.
            decay: One number, or `(parameters,)`.
        """
        decay = jnp.broadcast_to(decay, x.shape)
        R, QTe = self.R, self.QTe
        if R is not None and QTe is not None:
            R, QTe = _more_rows(R, QTe, jnp.diag(jnp.sqrt(decay)), jnp.sqrt(decay) * x)
        eTe = self.eTe + jnp.sum(decay * x * x)
        return GaussNewton(self.JTJ + jnp.diag(decay), self.JTe + decay * x, eTe, R, QTe)


def gauss_newton(
    net: Network,
    data: SequencesLike,
    loss: AbstractLoss,
    *,
    method: AbstractGradient | None = None,
    factor: bool = False,
    memory: int = JACOBIAN_BYTES,
) -> GaussNewton:
    """Returns JᵀJ, Jᵀe and eᵀe of a network's residuals.

    Args:
        net: The network; the order of parameters is that of `net.ravel()`.
        data: `Sequences`.
        loss: A least-squares loss; its error weights, missing targets and output weights are used, but not its
            normalization or weight decay.
        method: The gradient method. `RTRL()`, the default, never stores J; any other method stores all of it.
        factor: Whether to accumulate R and Qᵀe too, for a solution that does not square the condition number.
        memory: Largest size of a stored Jacobian, in bytes.

    Raises:
        LDDNError: If the loss is not a sum of squares, or a method would store more than `memory` bytes.
        ShapeError: If names or shapes do not match the topology.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear")],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> data = lddn.Sequences(jnp.array([[1.0], [2.0]]), jnp.array([[1.0], [1.0]]))
        >>> found = lddn.gauss_newton(lddn.Network(topology, init="zeros"), data, lddn.losses.SumSquaredError())
        >>> found.JTJ.tolist(), found.JTe.tolist(), float(found.eTe)
        ([[5.0, 3.0], [3.0, 2.0]], [-3.0, -2.0], 2.0)

    Hagan & Menhaj (1994), eq. 12-16.
    """
    call = "gauss_newton(net, data, loss)"
    check_loss(loss, call)
    if not isinstance(loss, AbstractLeastSquares):
        raise LDDNError(
            f"gauss_newton needs a loss that is a sum of squares; {type(loss).__name__} is not one. Write "
            "lddn.losses.SumSquaredError() or lddn.losses.MeanSquaredError()."
        )
    method = RTRL() if method is None else method
    check_method(method, call)
    inputs, targets, state, weights, steps = prepare_data(loss, net, data, call)
    check_system(net, net.parameter_count, 1, "Use a network with fewer neurons, inputs or delays.")
    if not isinstance(method, RTRL):
        check_jacobian(net, math.prod(batch_axes(inputs, state)) * steps, memory, method)
    return _gauss_newton(net, loss, inputs, targets, state, weights, steps=steps, method=method, factor=factor)


def check_system(net: Network, count: int, together: int, fix: str) -> None:
    """Raises an LDDNError if JᵀJ, and the factor by which it is solved, take more memory than there is.

    Args:
        net: The network.
        count: Number of parameters.
        together: Number of networks processed at once.
        fix: What to do, as the end of the error message.
    """
    needed = 2 * together * count**2 * net.dtype.itemsize
    of = f"for {together} networks at once, " if together > 1 else ""
    check_memory(needed, f"{of}JᵀJ of {count:,} weights and biases (that number squared), and its factor,", fix)


def check_jacobian(net: Network, steps: int, memory: int, method: AbstractGradient) -> int:
    """Returns the size of a stored Jacobian in bytes; raises an LDDNError if it exceeds `memory`."""
    rows = steps * sum(net.topology.sizes[name] for name in net.topology.outputs)
    size = rows * net.parameter_count * jnp.dtype(net.dtype).itemsize
    if size > memory:
        raise LDDNError(
            f"the Jacobian has {rows} rows of {net.parameter_count} parameters and would take {size / 2**20:.0f} MiB; "
            f"{method.name} stores all of it, but memory={memory} allows {memory / 2**20:.0f} MiB. Use "
            "method=lddn.RTRL(), which stores none of it, or increase memory."
        )
    return size


@up_to_date
@jax.jit(static_argnames=("steps", "factor"))
def _gauss_newton(net, loss, inputs, targets, state, weights, steps, method, factor) -> GaussNewton:
    return sums(net, loss, inputs, targets, state, weights, steps=steps, method=method, factor=factor)


def sums(
    net, loss, inputs, targets, state, weights, *, steps, method, factor=False, trained: Sequence[str] = ()
) -> GaussNewton:
    """Computes `gauss_newton` on prepared data, inside a compiled program; under `vmap` on a CPU one network at a time.

    With `trained`, the delay lines of these layers are parameters too: they are appended to the vector of parameters,
    layer by layer, each `(sequences, longest delay, size)`. Data must have one batch axis then.
    """

    def one(net, loss, inputs, targets, state, weights):
        return _sums(
            net, loss, inputs, targets, state, weights, steps=steps, method=method, factor=factor, trained=trained
        )

    return one_at_a_time(one)(net, loss, inputs, targets, state, weights)


def _sums(net, loss, inputs, targets, state, weights, *, steps, method, factor, trained) -> GaussNewton:
    outputs, lanes = net.topology.outputs, math.prod(batch_axes(inputs, state))
    count = net.parameter_count + sum(lanes * math.prod(state[name].shape[-2:]) for name in trained)
    filled = {name: jnp.nan_to_num(target, nan=0.0) for name, target in targets.items()}
    # √w, zero where a target is missing: the residual for target − output = 1.
    gaps = {name: jnp.where(jnp.isnan(target), target, 0) for name, target in targets.items()}
    root = loss.residuals({name: jnp.full_like(target, -1) for name, target in targets.items()}, gaps, weights)
    start = GaussNewton(
        jnp.zeros((count, count), net.dtype),
        jnp.zeros(count, net.dtype),
        jnp.zeros((), net.dtype),
        jnp.zeros((count, count), net.dtype) if factor else None,
        jnp.zeros(count, net.dtype) if factor else None,
    )
    columns = Columns.reaching(net.topology, with_state=bool(trained))

    def spread(rows, sequence):
        return columns.of_all_sequences(rows, trained, sequence, lanes) if trained else rows

    if not isinstance(method, RTRL):
        a = method.linearize(net, inputs, state, steps).a
        rows, _ = method.derivatives(net, inputs, state, steps, bool(trained))
        J, e = [], []
        for name in outputs:
            flat = _scaled(-root[name][..., None], rows[name]).reshape(lanes, -1, rows[name].shape[-1])
            J.append(spread(jnp.swapaxes(flat, 0, 1), jnp.arange(lanes)).reshape(-1, count))
            e.append(jnp.swapaxes(_scaled(root[name], filled[name] - a[name]).reshape(lanes, -1), 0, 1).ravel())
        return added(start, jnp.concatenate(J), jnp.concatenate(e))

    def of_sequences(total, group):
        sequence, inputs, state, filled, root = group

        def keep(total, begin, length, signals, derivatives):
            J, e = [], []
            for name in outputs:
                weight = piece(root[name], begin, length)
                J.append(
                    _scaled(-weight[..., None], spread(columns.all(name, derivatives[name]), sequence["of"][0, 0]))
                )
                e.append(_scaled(weight, piece(filled[name], begin, length) - signals[name]))
            return added(total, jnp.concatenate(J, axis=1).reshape(-1, count), jnp.concatenate(e, axis=1).ravel())

        return forward(net, columns, inputs, state, steps, outputs, keep, total)

    size = max(1, SEQUENCE_GROUP_BYTES // bytes_of_a_step(net, columns, outputs))
    numbers = {"of": jnp.arange(lanes)[None, None]}  # the sequence of each lane, cut into groups as signals are
    everything = (numbers, *(to_lanes(values) for values in (inputs, state, filled, root)))
    if size >= lanes:
        return of_sequences(start, everything)
    groups = -(-lanes // size)
    return jax.lax.scan(lambda total, group: (of_sequences(total, group), None), start, _groups(everything, groups))[0]


def _scaled(factor: Float[Array, "..."], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns the product, zero where the factor is zero, even if x is NaN or infinite after the end of a record."""
    return jnp.where(factor == 0, 0, factor * x)


def _groups(
    everything: tuple[dict[str, Shaped[Array, "time=_ size=_ lanes"]], ...], groups: int
) -> tuple[dict[str, Shaped[Array, "{groups} time=_ size=_ lanes_of_a_group"]], ...]:
    """Cuts lanes into groups of one size, `(groups, time, size, lanes)`; padding in the last group has weight zero."""
    *values, root = everything

    def cut(value):
        lanes = value.shape[-1]
        size = -(-lanes // groups)
        filled = jnp.concatenate([value, value[..., : groups * size - lanes]], axis=-1)
        return jnp.moveaxis(filled.reshape(*value.shape[:-1], groups, size), -2, 0)

    def zero(value):
        lanes = value.shape[-1]
        missing = groups * -(-lanes // groups) - lanes
        return jnp.concatenate([value, jnp.zeros((*value.shape[:-1], missing), value.dtype)], axis=-1)

    fill = {name: zero(value) for name, value in root.items()}
    return (*jax.tree.map(cut, tuple(values)), jax.tree.map(cut, fill))


def added(total: GaussNewton, J: Float[Array, "rows parameters"], e: Float[Array, " rows"]) -> GaussNewton:
    """Returns the sums with a block of rows of J, `(rows, parameters)`, and of residuals added."""
    R, QTe = total.R, total.QTe
    if R is not None and QTe is not None:
        R, QTe = _more_rows(R, QTe, J, e)
    return GaussNewton(
        total.JTJ + einsum("mp,mq->pq", J, J), total.JTe + einsum("mp,m->p", J, e), total.eTe + jnp.sum(e * e), R, QTe
    )


def _more_rows(
    R: Float[Array, "parameters parameters"],
    QTe: Float[Array, " parameters"],
    J: Float[Array, "rows parameters"],
    e: Float[Array, " rows"],
) -> tuple[Float[Array, "parameters parameters"], Float[Array, " parameters"]]:
    """Returns the triangular factor and Qᵀe of the rows of R and J together."""
    Q, R = jnp.linalg.qr(jnp.concatenate([R, J]))
    return R, einsum("mp,m->p", Q, jnp.concatenate([QTe, e]))
