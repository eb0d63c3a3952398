"""Compiled functions of a training run, with the arguments that stay constant from step to step.

`jax.jit` flattens and compares all arguments at every call. A training step takes a dozen modules, most of them
constant, and flattening them takes longer than a step of a small network. Here the constant arguments are flattened
once; their static part, the *kind*, is compared by value, so runs of the same kind share one compiled program. The
kind has no more in it than the program reads: an initializer, say, is called before the first step, and often is a new
function in every run.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray, Shaped

from lddn_jax.checks import called
from lddn_jax.errors import LDDNError
from lddn_jax.network.network import Network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.trained_elements import only_parameters_moved
from lddn_jax.numerics.platform import COMPILER_OPTIONS, Platform, compiling_for, in_groups
from lddn_jax.simulation.delays import DelayState
from lddn_jax.training.fingerprint import Identity
from lddn_jax.training.non_finite import NonFinite, locate
from lddn_jax.training.state_parameters import Started, Trained
from lddn_jax.training.trainer import AbstractTrainer, Problem
from lddn_jax.training.training_state import Kept, TrainingState


class Program:
    """A compiled function with its constant arguments bound.

    Args:
        compiled: From `of_parts`.
        parts: The constant arguments.
    """

    def __init__(self, compiled: up_to_date, *parts: Any):
        arrays, rest = eqx.partition(parts, lambda leaf: isinstance(leaf, (jax.Array, np.ndarray)))
        self._compiled = compiled
        self._arrays, structure = jax.tree.flatten(arrays)
        leaves, rest_structure = jax.tree.flatten(rest)
        self._kind = _Kind((structure, tuple(leaves), rest_structure))
        self._platform = Platform.of(self._arrays)

    def __call__(self, *changing: Any) -> Any:  # noqa: D102
        return self._compiled(self._kind, self._platform, self._arrays, *changing)

    def trace(self, *changing: Any) -> jax.stages.Traced:
        """Traces the function without fixing a platform: it is the one that the program is lowered for."""
        return self._compiled.trace(self._kind, None, self._arrays, *changing)


def compiled_part(trainer: AbstractTrainer) -> AbstractTrainer:
    """Returns the trainer with None in place of the settings that no compiled program reads."""
    names = {field.name for field in dataclasses.fields(trainer)}
    unread = names.intersection(trainer.not_compiled)
    part = object.__new__(type(trainer))  # not by `replace`, which would check the settings
    for name in names:
        object.__setattr__(part, name, None if name in unread else getattr(trainer, name))
    return part


def of_parts(function: Callable[..., Any], **options: Any) -> up_to_date:
    """Compiles a function for `Program`: constant arguments first, then those that change.

    Args:
        function: The function.
        options: More arguments of `jax.jit`; with options of the compiler it cannot be called within another `jit`.
    """

    @up_to_date
    @functools.partial(jax.jit, static_argnums=(0, 1), **options)
    @functools.wraps(function)
    def compiled(kind, platform, arrays, *changing):
        structure, leaves, rest_structure = kind.content
        parts = jax.tree.unflatten(structure, arrays), jax.tree.unflatten(rest_structure, leaves)
        with compiling_for(platform):
            return function(*eqx.combine(*parts), *changing)

    return compiled


class _Kind:
    """The static part of a program's arguments, its cache key; hashed once."""

    def __init__(self, content: Any):
        self.content, self._hash = content, hash(content)

    def __hash__(self):
        return self._hash

    def __eq__(self, other):
        return isinstance(other, _Kind) and self.content == other.content


@dataclass(frozen=True)
class Course:
    """The constant parts of a training run: trainer, problem and compiled functions.

    Attributes:
        trainer: The trainer.
        problem: The problem to minimize.
        step: Maps networks, trainer state, key, number of steps and the mask of active networks to the next networks,
            the next state and info.
        value: Training loss of the networks.
        held_out: Validation loss of the networks; None without validation.
        stop_reason: The trainer's method, bound once because equinox binds methods slowly.
        nan_guard: If True, locate where a network became NaN or infinite.
    """

    trainer: AbstractTrainer
    problem: Problem
    step: Program
    value: Program
    held_out: Program | None
    stop_reason: Callable[[dict[str, float]], str | None]
    nan_guard: bool

    @classmethod
    def of(cls, trainer: AbstractTrainer, problem: Problem, held_out: Problem | None, nan_guard: bool) -> "Course":
        """Builds the functions without compiling them."""
        count = trainer.restarts
        value, step = Program(_value, count, problem), Program(_step, compiled_part(trainer), problem)
        validation = None if held_out is None else Program(_value, count, held_out)
        return cls(trainer, problem, step, value, validation, trainer.stop_reason, nan_guard)

    @property
    def several(self) -> bool:
        """True if several stacked networks are trained."""
        return self.trainer.restarts > 1

    def first(
        self, net: Network, key: PRNGKeyArray, state: DelayState | None = None
    ) -> tuple[Trained, Any, PRNGKeyArray]:
        """Returns the initial networks, the initial trainer state and the key.

        Args:
            net: One network or several stacked ones.
            key: The key of the run.
            state: First states that training starts from; None for those of the data.
        """
        trained: Trained = net
        if self.problem.trains_state:
            trained = Started.of(net, self.problem.state if state is None else state)
        if self.several:
            # Steps fold in their number, which never gets this large.
            trained = self.trainer.starts(trained, jax.random.fold_in(key, np.iinfo(np.int32).max))
        return trained, Program(_init, compiled_part(self.trainer), self.problem)(trained), key

    def begun(
        self,
        net: Network,
        key: PRNGKeyArray,
        epochs: int,
        limits: Mapping[str, float | None],
        identity: Identity,
        first_state: DelayState | None = None,
    ) -> TrainingState:
        """Returns the training state before the first step."""
        trained, state, key = self.first(net, key, first_state)
        count = self.trainer.restarts
        zeros, infinite = np.zeros(count, int), np.full(count, np.inf)
        best = None
        if self.held_out is not None:
            values = rows_of(self.held_out(trained))
            best = Kept(trained, zeros, np.where(np.isfinite(values), values, np.inf))
        return TrainingState(
            trained=trained,
            trainer=state,
            key=key,
            epoch=0,
            epochs=epochs,
            restarts=count,
            lowest=Kept(trained, zeros, infinite),
            best=best,
            stop_reasons=(None,) * count,
            ends=(0,) * count,
            rows=[],
            seconds=0.0,
            limits=limits,
            identity=identity,
            delay_lines=self.problem.state if self.problem.trains_state else None,
        )

    def lost(
        self,
        t: TrainingState,
        lost: Bool[np.ndarray, " restarts"],
        trained: Trained,
        epoch: int,
        quantities: Sequence[str] | None = None,
    ) -> tuple[NonFinite, ...]:
        """Returns `t.non_finite` plus the place where each lost network became NaN or infinite.

        Args:
            t: The training state.
            lost: Which networks were lost.
            trained: The networks.
            epoch: Number of steps after which they were reached.
            quantities: The quantity of each network that is not finite; None for the loss.
        """
        if not self.nan_guard:
            return t.non_finite
        places = list(t.non_finite)
        for k in map(int, np.flatnonzero(lost)):
            one = jax.tree.map(lambda leaf, k=k: leaf[k], trained) if self.several else trained
            places.append(locate(one, self.problem, epoch, k, "loss" if quantities is None else quantities[k]))
        return tuple(places)


def rows_of(value: Shaped[Array, ""] | Shaped[Array, " restarts"]) -> Float[np.ndarray, " restarts"]:
    """Returns a value or values as an array with one element per network."""
    return np.atleast_1d(np.asarray(value, dtype=float))


@of_parts
def _init(trainer: AbstractTrainer, problem: Problem, net: Trained):
    if trainer.restarts == 1:
        return trainer.init(net, problem)
    return in_groups(lambda net: trainer.init(net, problem), net)


@functools.partial(of_parts, compiler_options=COMPILER_OPTIONS)
def _step(
    trainer: AbstractTrainer,
    problem: Problem,
    net: Trained,
    state: Any,
    key: PRNGKeyArray,
    taken: int | Integer[Array, ""],
    active: Bool[Array | np.ndarray, " restarts"] | None,
):
    key, problem = jax.random.fold_in(key, taken), problem.drawn(taken)
    if trainer.restarts == 1:
        return _taken(trainer, net, state, problem, key)
    assert active is not None  # which of the restarts continue
    keys = jax.random.split(key, trainer.restarts)

    def one(net, state, key, number):
        return _taken(trainer, net, state, problem.drawn(number), key)

    runs = (net, state, keys, jnp.arange(trainer.restarts))
    new, new_state, info = in_groups(lambda run: one(*run), runs)

    def kept(new, old):
        return jnp.where(active.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(kept, new, net), jax.tree.map(kept, new_state, state), info


def _kinds(tree: Any) -> tuple:
    """Structure of a pytree, and shapes and dtypes of its leaves."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), getattr(leaf, "dtype", None)) for leaf in leaves]


def _taken(trainer: AbstractTrainer, net: Trained, state: Any, problem: Problem, key: PRNGKeyArray) -> tuple:
    """Takes a step, and checks what the trainer returned, while it is traced."""
    found, name = trainer.step(net, state, problem, key), type(trainer).__name__
    if not isinstance(found, tuple) or len(found) != 3:
        raise LDDNError(f"{name}.step returned {called(found)}; it returns a network, a state and info.")
    new, new_state, info = found
    if not isinstance(info, dict) or "loss" not in info:
        raise LDDNError(
            f"{name}.step returned info={info!r}; it is a dict of scalars with the loss of `net` as 'loss'."
        )
    for what, now, then in (("network", new, net), ("state", new_state, state)):
        if _kinds(now) != _kinds(then):
            raise LDDNError(
                f"{name}.step returned a {what} of another structure, shape or dtype than it was given. Every step "
                f"returns a {what} like that of `init` and of the step before."
            )
    return only_parameters_moved(new, net), new_state, info


@functools.partial(of_parts, compiler_options=COMPILER_OPTIONS)
def _value(restarts: int, problem: Problem, net: Trained) -> Float[Array, ""] | Float[Array, " restarts"]:
    return problem.value(net) if restarts == 1 else in_groups(problem.value, net)
