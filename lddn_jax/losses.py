"""Performance indices (losses): one number F that measures the errors between targets and outputs.

    e = t − a (target − output);  w the error weights;  F = (1 − r) E + r W, r = `regularization`, as in MATLAB

    SumSquaredError    E = Σ w e²                         W = Σ x²
    MeanSquaredError   E = Σ w e² / N                     W = Σ x² / P
    MeanAbsoluteError  E = Σ w |e| / N                    W = Σ x² / P
    Huber              E = Σ w h_δ(e) / N                 W = Σ x² / P
    CrossEntropy       E = −Σ w t log a / N_vectors       W = Σ x² / P

N is the number of target elements that are not missing and have a nonzero weight; x are the P weights and biases. A
loss is a function of the outputs only; its explicit derivative ∂ᵉF/∂a comes from `jax.grad`, and the gradient method
computes the dynamic derivative.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped

from lddn_jax.checks import called, expect
from lddn_jax.errors import DataError, LDDNError, ShapeError
from lddn_jax.network.signals import (
    RealArray,
    RealSignal,
    Signals,
    SignalsLike,
    WeightsLike,
    as_array,
    by_name,
    first_nan,
    is_traced,
    real,
)
from lddn_jax.network.trained_elements import parameter_leaves


def _factors(
    given: Mapping[str, float | int] | Sequence[tuple[str, float | int]] | None,
) -> tuple[tuple[str, float], ...]:
    try:
        factors = tuple(sorted((str(k), float(v)) for k, v in dict(given or ()).items()))
    except (TypeError, ValueError):
        factors = None
    if factors is None or not all(0 <= factor < float("inf") for _, factor in factors):
        raise LDDNError(
            f"output_weights={given!r} must be finite factors, not negative, by output layer. "
            'Write output_weights={"y": 2.0}.'
        )
    return factors


Elements: TypeAlias = Float[Array, "*batch time size"]
Known: TypeAlias = Bool[Array, "*batch time size"]
# The weighted sum over the elements of an output layer, and how many of them count.
Terms: TypeAlias = tuple[Float[Array, ""], Int[Array, ""]]


class AbstractLoss(eqx.Module):
    """A loss: call it as `loss(outputs, targets, weights)`.

    To define a new loss, subclass `AbstractElementwise` if it is a function of the error of each element,
    `AbstractLeastSquares` if it is a weighted sum of squared errors, and this class otherwise.

    Attributes:
        missing: "error": a NaN in the targets raises an error; "mask": a NaN is a missing target and is ignored.
        output_weights: Factors by output layer, as `(("y", 2.0), ...)` or a dict; 1 for layers not named.
        regularization: r in [0, 1), the share of the mean (or sum) of squared weights and biases.
    """

    missing: str = eqx.field(default="error", static=True, kw_only=True)
    output_weights: tuple = eqx.field(default=(), converter=_factors, static=True, kw_only=True)
    regularization: float = eqx.field(default=0.0, static=True, kw_only=True)

    def __call__(self, outputs: Signals, targets: SignalsLike, weights: WeightsLike = None) -> Float[Array, ""]:
        """Returns E, the loss without weight decay.

        Args:
            outputs: `(*batch, time, size)` by output layer.
            targets: `(*batch, time, size)` by output layer; NaN where missing.
            weights: Error weights that broadcast to each target, by output layer or one array for all; or None.

        Raises:
            DataError: If a target is NaN while `missing="error"` (under `jit`, where values are not known, the result
                is NaN), or an error weight is negative.
            ShapeError: If names or shapes do not match.
        """
        compared = list(self._compared(outputs, targets, weights))
        total, count = jnp.zeros((), jnp.result_type(*jax.tree.leaves(outputs))), 0
        for _, output, target, weight, known in compared:
            term, n = self.terms(output, target, weight, known)
            total, count = total + term, count + n
        return self.scale(total, count)

    def _compared(self, outputs: Signals, targets: SignalsLike, weights: WeightsLike) -> Iterator[tuple]:
        """Yields name, output, target and weight (both zero where missing) and the mask of known targets, by output."""
        if not isinstance(outputs, Mapping):
            raise ShapeError(
                f"outputs is {called(outputs)}; it must be a dict by output layer, as predict(net, inputs) returns it."
            )
        targets = by_name("target", targets, outputs)
        targets = {name: as_array(f"target {name!r}", targets[name], outputs[name].dtype) for name in outputs}
        for name, target in targets.items():
            if target.shape != outputs[name].shape:
                raise ShapeError(
                    f"target {name!r} has shape {target.shape}, but the output has {outputs[name].shape}; "
                    "both are (*batch, time, size)."
                )
        self.check(targets)
        weights, factors = error_weights(weights, outputs), dict(self.output_weights)
        for name, output in outputs.items():
            target = targets[name]
            known = jnp.ones_like(target, dtype=bool) if self.missing == "error" else ~jnp.isnan(target)
            factor = jnp.asarray(factors.get(name, 1.0), output.dtype)
            nothing = jnp.zeros_like(target)
            filled, weight = jnp.where(known, target, nothing), jnp.where(known, factor * weights[name], nothing)
            yield name, output, filled, weight, known

    def check(self, targets: Mapping[str, Shaped[ArrayLike, "..."]]) -> None:
        """Raises an error if `output_weights` names an unknown output, or a target is NaN with `missing="error"`."""
        unknown = [name for name, _ in self.output_weights if name not in targets]
        if unknown:
            raise ShapeError(f"output_weights names {unknown[0]!r}, but the outputs are {sorted(targets)}.")
        if self.missing == "error":
            for name, target in targets.items():
                check_no_nan(f"target {name!r}", target)

    def value(
        self, net: PyTree[Float[Array, "..."]], outputs: Signals, targets: SignalsLike, weights: WeightsLike = None
    ) -> Float[Array, ""]:
        """Returns F = (1 − r) E + r W, the number that training minimizes."""
        error = self(outputs, targets, weights)
        if self.regularization == 0:
            return error
        return (1 - self.regularization) * error + self.regularization * self.decay(net)

    def decay(self, net: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
        """Returns W: the mean of the squared parameters (the sum, for the sum of squared errors)."""
        flat = jnp.concatenate([leaf.ravel() for leaf in parameter_leaves(net)])
        return self.scale(jnp.sum(flat * flat), flat.size)

    @abc.abstractmethod
    def terms(self, output: Elements, target: Elements, weight: Elements, known: Known) -> Terms:
        """Returns the weighted sum over the elements of one output layer, and the number of elements counted.

        Masks, error weights and output weights are already included in the arguments.

        Args:
            output: `(*batch, time, size)`. Where the weight is zero the value is arbitrary and may be NaN: replace it
                before computing with it (a `where` afterwards still gives a NaN gradient).
            target: `(*batch, time, size)`; zero where missing, never NaN.
            weight: `(*batch, time, size)`, not negative; zero where a target is missing.
            known: `(*batch, time, size)`, False where a target is missing.
        """

    def scale(self, total: Float[Array, ""], count: int | Int[Array, ""]) -> Float[Array, ""]:
        """Returns E from the sums of `terms` over all output layers; by default the mean over the counted elements."""
        return mean_of(total, count)

    def __check_init__(self):
        if self.missing not in ("error", "mask"):
            raise LDDNError(f'missing={self.missing!r}; write missing="error" or missing="mask".')
        if isinstance(self.regularization, str) or not 0 <= self.regularization < 1:
            raise LDDNError(f"regularization={self.regularization!r} must lie in [0, 1).")


class AbstractElementwise(AbstractLoss):
    """A loss Σ w f(e) / N of the error e of each element; subclasses define f as `error`."""

    @abc.abstractmethod
    def error(self, e: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns f(e) for each element, in the dtype of e; masks and weights are applied elsewhere."""

    def terms(self, output: Elements, target: Elements, weight: Elements, known: Known) -> Terms:
        """Returns Σ w f(e) over the elements of one output layer, and the number of elements counted."""
        e = difference(target, output, weight)
        each = self.error(e)
        if jnp.shape(each) != e.shape:
            raise ShapeError(
                f"{type(self).__name__}.error returned shape {jnp.shape(each)} for errors of shape {e.shape}. It must "
                "return f(e) element by element; the loss sums over the elements."
            )
        return jnp.sum(weight * each), jnp.sum(weight > 0)


class AbstractLeastSquares(AbstractElementwise):
    """A weighted sum of squared errors; its residuals are what Gauss-Newton methods linearize.

    A subclass defines `scale`: the sum itself, its mean, or anything else proportional to it.
    """

    @abc.abstractmethod
    def scale(self, total: Float[Array, ""], count: int | Int[Array, ""]) -> Float[Array, ""]:
        """Returns E from Σ w e² over all output layers and the number of elements that count."""

    def residuals(self, outputs: Signals, targets: SignalsLike, weights: WeightsLike = None) -> Signals:
        """Returns √w e by output layer, zero where a target is missing; the sum of their squares is Σ w e².

        Arguments and errors are the same as for calling the loss.

        Example:
            >>> loss = SumSquaredError(missing="mask", output_weights={"y": 4.0})
            >>> target = jnp.array([[3.0], [jnp.nan]])
            >>> loss.residuals({"y": jnp.zeros((2, 1))}, {"y": target})["y"].tolist()
            [[6.0], [0.0]]
        """
        compared = self._compared(outputs, targets, weights)
        return {name: jnp.sqrt(w) * difference(target, output, w) for name, output, target, w, _ in compared}

    def factors(
        self, targets: Signals, parameters: int, weights: WeightsLike = None
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the factors of F = factor · Σ w e² + factor' · Σ x².

        Args:
            targets: By output layer; NaN where missing.
            parameters: Number of weights and biases x.
            weights: Error weights, as for calling the loss.

        Example:
            >>> factor, decay = MeanSquaredError(regularization=0.5).factors({"y": jnp.ones((4, 1))}, parameters=2)
            >>> float(factor), float(decay)
            (0.125, 0.25)
        """
        one = jnp.ones((), jnp.result_type(*targets.values()))
        weights, factors = error_weights(weights, targets), dict(self.output_weights)
        weights = {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}
        known = sum(jnp.sum(~jnp.isnan(target)) for target in counted(targets, weights).values())
        r = jnp.asarray(self.regularization, one.dtype)
        return (1 - r) * self.scale(one, known), r * self.scale(one, parameters)

    def error(self, e: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns e²."""
        return e * e


class SumSquaredError(AbstractLeastSquares):
    """F = Σ w e² over batch, time and elements, without ½ (the book's F; MATLAB's `sse`).

    Example:
        >>> loss = SumSquaredError()
        >>> float(loss({"y": jnp.zeros((2, 1))}, {"y": jnp.full((2, 1), 3.0)}))
        18.0
    """

    def scale(self, total: Float[Array, ""], count: int | Int[Array, ""]) -> Float[Array, ""]:
        """Returns the sum unchanged."""
        return total


class MeanSquaredError(AbstractLeastSquares):
    """F = Σ w e² / N with N target elements that are not missing and have a nonzero weight (MATLAB's `mse`).

    Example:
        >>> loss = MeanSquaredError(missing="mask")
        >>> float(loss({"y": jnp.zeros((3, 1))}, {"y": jnp.array([[1.0], [jnp.nan], [3.0]])}))
        5.0
    """

    def scale(self, total: Float[Array, ""], count: int | Int[Array, ""]) -> Float[Array, ""]:
        """Returns the mean."""
        return mean_of(total, count)


class MeanAbsoluteError(AbstractElementwise):
    """F = Σ w |e| / N (MATLAB's `mae`); the derivative at e = 0 is 0."""

    def error(self, e: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns |e|."""
        return e * jnp.sign(e)  # JAX's derivative of |e| at 0 is 1


class Huber(AbstractElementwise):
    """F = Σ w h(e) / N with h = ½ e² for |e| ≤ delta and delta (|e| − ½ delta) beyond (`optax.losses.huber_loss`).

    Args:
        delta: Where h changes from quadratic to linear, in the units of the target.

    Example:
        >>> float(Huber(delta=1.0)({"y": jnp.zeros((1, 1))}, {"y": jnp.full((1, 1), 3.0)}))
        2.5

    Huber (1964), Annals of Mathematical Statistics 35(1).
    """

    delta: float = eqx.field(default=1.0, static=True)

    def __check_init__(self):
        if isinstance(self.delta, str) or not self.delta > 0:
            raise LDDNError(
                f"delta={self.delta!r} must be positive; it is where the Huber loss changes from quadratic to linear."
            )

    def error(self, e: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns h(e)."""
        return optax.losses.huber_loss(e, jnp.zeros_like(e), delta=self.delta)


class CrossEntropy(AbstractLoss):
    """F = −Σ w t log a, averaged over the target vectors that are not missing (MATLAB's `crossentropy`).

    Targets are probabilities (or one-hot) over the last axis. A vector counts only if none of its elements is NaN and
    at least one has a nonzero weight.

    Args:
        logits: False: outputs are probabilities, for example of a softmax layer. True: outputs are the logits of a
            linear layer, and the loss applies a = softmax(output).

    Example:
        >>> certain, unsure = jnp.array([[1.0, 0.0]]), jnp.array([[0.5, 0.5]])
        >>> round(float(CrossEntropy()({"y": unsure}, {"y": certain})), 4)  # log 2
        0.6931
    """

    logits: bool = eqx.field(default=False, static=True)

    def terms(self, output: Elements, target: Elements, weight: Elements, known: Known) -> Terms:
        """Returns −Σ w t log a over the target vectors of one output layer, and the number of vectors counted."""
        whole = jnp.all(known, axis=-1, keepdims=True) & jnp.any(weight > 0, axis=-1, keepdims=True)
        output = jnp.where(whole, output, target)
        if self.logits:
            logarithm = jax.nn.log_softmax(output, axis=-1)
        else:
            logarithm = jnp.log(jnp.maximum(output, jnp.finfo(output.dtype).tiny))
        return -jnp.sum(jnp.where(whole, weight * target * logarithm, 0)), jnp.sum(whole)


def mean_of(total: Float[Array, ""], count: int | Int[Array, ""]) -> Float[Array, ""]:
    """Returns a sum divided by the number of its terms; zero for an empty sum."""
    return total / jnp.maximum(jnp.asarray(count, total.dtype), 1)


def error_weights(weights: WeightsLike, outputs: Mapping[str, RealSignal]) -> Signals:
    """Returns error weights by output layer, each broadcast to the shape of that output.

    Args:
        weights: A dict by output layer, one array for all outputs that broadcasts over batch, time and size, or None.
        outputs: `(*batch, time, size)` by output layer.

    Raises:
        ShapeError: If a name is missing or unknown, or a shape does not broadcast.
        DataError: If a weight is negative, NaN or infinite (not checked under `jit`).
    """
    if weights is None:
        return {name: jnp.ones_like(output) for name, output in outputs.items()}
    found = {}
    for name, weight in checked_weights(weights, outputs).items():
        shape = outputs[name].shape
        weight = as_array(f"error weight {name!r}", weight, outputs[name].dtype)
        weight = weight.reshape((1,) * (len(shape) - weight.ndim) + weight.shape)
        found[name] = jnp.broadcast_to(weight, shape)
    return found


def checked_weights(weights: WeightsLike, outputs: Mapping[str, RealSignal]) -> dict[str, RealArray]:
    """Returns error weights by output layer without broadcasting them; see `error_weights` for arguments and errors."""
    given = weights if isinstance(weights, Mapping) else dict.fromkeys(outputs, weights)
    found = {}
    for name, weight in by_name("error weight", given, outputs).items():
        weight, shape = real(f"error weight {name!r}", weight), outputs[name].shape
        try:
            fits = jnp.broadcast_shapes(weight.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"error weights of {name!r} have shape {weight.shape}; they must broadcast to {shape}.")
        if not is_traced(weight) and not ((np.asarray(weight) >= 0) & (np.asarray(weight) < np.inf)).all():
            raise DataError(f"error weights of {name!r} are negative, NaN or infinite; write 0 to ignore an element.")
        found[name] = weight
    return found


def check_loss(given: object, call: str) -> None:
    """Raises an LDDNError unless `given` is a loss; see `expect`."""
    expect(AbstractLoss, "loss", given, call, "a loss, such as lddn.losses.MeanSquaredError()")


def difference(
    target: Float[Array, "*shape"], output: Float[Array, "*shape"], weight: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Returns target − output, zero where the weight is zero, even if the output is NaN or infinite there."""
    return jnp.where(weight > 0, target - output, 0)


def counted(targets: Mapping[str, RealSignal], weights: WeightsLike) -> Mapping[str, RealSignal]:
    """Returns targets with NaN where an element does not count: its target is missing or its error weight is zero.

    Args:
        targets: `(*batch, time, size)` by output layer.
        weights: Error weights, as for calling a loss; None returns the targets unchanged.

    Example:
        >>> counted({"y": jnp.array([[1.0], [2.0]])}, jnp.array([[1.0], [0.0]]))["y"].tolist()
        [[1.0], [nan]]
    """
    if weights is None:
        return targets
    found = error_weights(weights, targets)
    return {name: jnp.where(found[name] > 0, target, jnp.nan) for name, target in targets.items()}


def check_counted(targets: Mapping[str, RealSignal], weights: Mapping[str, RealArray] | None, where: str) -> None:
    """Raises a DataError if no target counts: all are missing, or all error weights are zero.

    Args:
        targets: `(*batch, time, size)` by output layer; NaN where missing.
        weights: Error weights by output layer that broadcast to the targets; None if all are 1.
        where: How the error refers to the data.
    """
    known = dict(targets)
    if any(is_traced(x) for x in (*known.values(), *(weights or {}).values())):
        return
    weight = {name: 1.0 if weights is None else np.asarray(weights[name]) for name in known}
    if not any(np.any(~np.isnan(np.asarray(y)) & (weight[name] > 0)) for name, y in known.items()):
        raise DataError(
            f"{where} has no target to compare with: all values of {sorted(known)} are missing (NaN) or have error "
            "weight 0. Pass targets with at least one measured value."
        )


def check_no_nan(what: str, target: Shaped[ArrayLike, "..."]) -> None:
    """Raises a DataError with the position of the first NaN of a concrete array."""
    where = first_nan(target)
    if where is not None:
        *batch, time, element = where
        record = f"sequence {tuple(batch)}, " if batch else ""
        raise DataError(
            f'{what} is NaN at {record}time {time}, element {element}. Pass missing="mask" to the loss to ignore '
            "missing targets, or fill the gap."
        )
