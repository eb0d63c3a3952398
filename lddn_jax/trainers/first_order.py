"""First-order training with any optax transformation."""

from typing import Any, ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree, Shaped

from lddn_jax.checks import check_positive
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.network.trained_elements import only_parameters_moved
from lddn_jax.training.state_parameters import Trained
from lddn_jax.training.trainer import AbstractTrainer, Problem


class Optax(AbstractTrainer):
    """Trains with an optax transformation, full-batch or in mini-batches.

    A step is one pass over the data. With a batch size, sequences are shuffled in every pass. An incomplete last
    mini-batch is padded with masked sequences, so all mini-batches share one compiled program. Line searches (such as
    in `optax.lbfgs`) get `value`, `grad` and `value_fn`, which use the gradient method given to `fit`.

    Args:
        transformation: For example `optax.adam(1e-3)`. Build it once and reuse it: a new one triggers compilation.
        batch_size: Number of sequences per mini-batch; None for all. Cut a long record into many sequences with
            `lddn_jax.windows`.

    Raises:
        LDDNError: If `transformation` is not an optax transformation, or the batch size is not a positive integer.

    Info: `loss` and `gradient_norm`; with mini-batches both are means over the pass.

    Example:
        >>> trainer = Optax(optax.adam(1e-3), batch_size=16)
    """

    transformation: optax.GradientTransformation
    batch_size: int | None = eqx.field(default=None, static=True)
    restarts: ClassVar[int] = 1  # pyright: ignore[reportIncompatibleVariableOverride]

    def __check_init__(self):
        if not hasattr(self.transformation, "update"):
            raise LDDNError(
                f"Optax(transformation={self.transformation!r}): an optax transformation is needed, such as "
                "lddn.Optax(optax.adam(1e-3))."
            )
        if self.batch_size is not None:
            check_positive("batch_size", self.batch_size)

    def init(self, net: Trained, problem: Problem) -> PyTree:
        """Returns the initial state of the transformation."""
        return first_state(self.transformation, net)

    def check(self, net: Trained, problem: Problem) -> None:
        """Raises a DataError if the batch size exceeds the number of sequences."""
        if self.batch_size is not None and self.batch_size > problem.sequences:
            raise DataError(
                f"batch_size={self.batch_size}, but the data has {problem.sequences} sequence(s). Pass a smaller "
                "batch size, omit it, or cut the record into more sequences with "
                "lddn.windows(topology, inputs, targets, length=...)."
            )

    def step(
        self, net: Trained, state: PyTree, problem: Problem, key: PRNGKeyArray
    ) -> tuple[Trained, PyTree, dict[str, Shaped[Array, ""]]]:
        """Takes one pass over the data."""
        if self.batch_size is None or self.batch_size == problem.sequences:
            return self._update(net, state, problem)
        count, size = problem.sequences, self.batch_size
        batches = -(-count // size)
        order = jax.random.permutation(key, count)
        filled = jnp.concatenate([order, order[: batches * size - count]]).reshape(batches, size)
        real = (jnp.arange(batches * size) < count).reshape(batches, size)

        def one(carry, batch):
            (net, state), (index, known, number) = carry, batch
            chosen = problem.take(index, None if count % size == 0 else known).drawn(number)
            net, state, info = self._update(net, state, chosen)
            return (net, state), info

        (net, state), infos = jax.lax.scan(one, (net, state), (filled, real, jnp.arange(batches)))
        return net, state, jax.tree.map(jnp.mean, infos)

    def _update(self, net, state, problem):
        value, gradient = problem.value_and_grad(net)
        net, state = updated(
            self.transformation, gradient, state, net, value=value, grad=gradient, value_fn=problem.value
        )
        return net, state, {"loss": value, "gradient_norm": optax.tree.norm(gradient)}


def first_state(transformation: optax.GradientTransformation, net: Any) -> Any:
    """Returns the initial state of a transformation."""
    state = transformation.init(net)
    # Weakly typed leaves become strongly typed in the first step, so the step would be compiled twice.
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), state)


def updated(
    transformation: optax.GradientTransformation, gradient: Any, state: Any, net: Any, **more: Any
) -> tuple[Any, Any]:
    """Returns the network after an update by a transformation, and the transformation's state.

    Weights that are not trained stay as they are, whatever decay or noise the transformation has.
    """
    transformation = cast(Any, optax.with_extra_args_support(transformation))
    # Optax relies on standard dtype promotion, which the user may have set to "strict".
    with jax.numpy_dtype_promotion("standard"):
        updates, state = transformation.update(gradient, state, net, **more)
        return only_parameters_moved(eqx.apply_updates(net, updates), net), state
