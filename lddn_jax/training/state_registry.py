"""The states of trainers in checkpoint files: described where they are written, and made again where they are read.

A trainer's state is a pytree. Its arrays go into the file as they are; its class and whatever in it is not an array
cannot be written without pickle. So the module of a trainer registers the class of its state under a name, which is
what the file says, and may say how the rest is described as JSON.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lddn_jax.errors import LDDNError


@dataclasses.dataclass(frozen=True)
class _Format:
    kind: type
    described: Callable[[Any], dict[str, Any]]
    like: Callable[[Mapping[str, Any]], Any]


_FORMATS: dict[str, _Format] = {}


def register_trainer_state(
    name: str,
    kind: type,
    *,
    described: Callable[[Any], dict[str, Any]] | None = None,
    like: Callable[[Mapping[str, Any]], Any] | None = None,
) -> None:
    """Registers the class of a trainer's state, so that `load` returns a saved one as an object of that class.

    `fit(..., resume=...)` does not need it: it has the trainer. Without it, `load` returns the state's arrays by name.

    Args:
        name: What checkpoint files call the class; it must not change.
        kind: The class, an `equinox.Module` or dataclass.
        described: What of a state is not an array, as JSON; by default nothing is.
        like: A state of the same structure, with any numbers, from what `described` returned. The default calls the
            class with an array for each field, which is right where each field is one array.

    Raises:
        LDDNError: If the name belongs to another class.

    Example:
        >>> import equinox as eqx
        >>> from jaxtyping import Array, Float
        >>> class State(eqx.Module):
        ...     velocity: Float[Array, " parameters"]
        >>> register_trainer_state("my_package.HeavyBall", State)
    """
    known = _FORMATS.get(name)
    if known is not None and (known.kind.__module__, known.kind.__qualname__) != (kind.__module__, kind.__qualname__):
        raise LDDNError(
            f"register_trainer_state({name!r}, {kind.__name__}): that name belongs to {known.kind.__module__}."
            f"{known.kind.__qualname__}. Choose another one, such as {f'{kind.__module__}.{kind.__qualname__}'!r}."
        )

    def of_arrays(_: Mapping[str, Any]) -> Any:
        return kind(**{field.name: jnp.zeros(()) for field in dataclasses.fields(kind)})

    _FORMATS[name] = _Format(kind, described or (lambda state: {}), like or of_arrays)


def describe(state: Any) -> dict[str, Any]:
    """What a file says of a trainer's state besides its arrays."""
    leaves = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(state)[0]]
    for name, form in _FORMATS.items():
        if type(state) is form.kind:
            return {"kind": name, "described": form.described(state), "leaves": leaves}
    return {"kind": None, "leaves": leaves}


def restored(known: Mapping[str, Any], leaves: list[Any]) -> Any:
    """The state that `describe` described, with these arrays; by name if its class is not registered."""
    form = _FORMATS.get(known.get("kind") or "")
    if form is None:
        return dict(zip(known["leaves"], leaves, strict=True))
    return jax.tree.unflatten(jax.tree.structure(form.like(known["described"])), leaves)
