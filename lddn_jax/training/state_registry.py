"""Registry of trainer state classes, for serialization to checkpoint files without pickle.

A trainer's state is a pytree. Its arrays are saved as they are. Its class is saved as a name, under which the trainer's
module registers it, and data that are not arrays are saved as JSON by a function that the module may register.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lddn_jax.errors import LDDNError

_logger = logging.getLogger("lddn_jax")


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
    """Registers the class of a trainer's state, so that `load` returns saved states as objects of that class.

    For an unregistered class, `load` returns a dict of the arrays by name. `fit(..., resume=...)` works without
    registration, because it has the trainer.

    Args:
        name: Name of the class in checkpoint files; it must not change.
        kind: The class, an `equinox.Module` or dataclass.
        described: Function that returns the data of a state that are not arrays, as a JSON dict. None if there are
            none.
        like: Function that builds a state of the same structure, with arbitrary array values, from that dict. The
            default calls the class with one array per field.

    Raises:
        LDDNError: If the name is registered for another class.

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
            f"register_trainer_state({name!r}, {kind.__name__}): that name is registered for {known.kind.__module__}."
            f"{known.kind.__qualname__}. Choose another one, such as {f'{kind.__module__}.{kind.__qualname__}'!r}."
        )

    def of_arrays(_: Mapping[str, Any]) -> Any:
        return kind(**{field.name: jnp.zeros(()) for field in dataclasses.fields(kind)})

    _FORMATS[name] = _Format(kind, described or (lambda state: {}), like or of_arrays)


def describe(state: Any) -> dict[str, Any]:
    """Returns the header entry of a trainer's state: registered name, data that are not arrays, names of arrays."""
    leaves = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(state)[0]]
    for name, form in _FORMATS.items():
        if type(state) is form.kind:
            return {"kind": name, "described": form.described(state), "leaves": leaves}
    return {"kind": None, "leaves": leaves}


def restored(known: Mapping[str, Any], leaves: list[Any]) -> Any:
    """Rebuilds a state from the result of `describe` and its arrays; a dict if its class is not registered."""
    form = _FORMATS.get(known.get("kind") or "")
    if form is None:
        return dict(zip(known["leaves"], leaves, strict=True))
    structure = jax.tree.structure(form.like(known["described"]))
    if structure.num_leaves != len(leaves):
        _logger.warning(
            "%s was registered as a state of %d arrays, and the file holds %d: %s. They are returned as a dict. Pass "
            "described and like to register_trainer_state if a field of the state is a pytree, such as a Network.",
            form.kind.__name__,
            structure.num_leaves,
            len(leaves),
            ", ".join(known["leaves"]),
        )
        return dict(zip(known["leaves"], leaves, strict=True))
    return jax.tree.unflatten(structure, leaves)
