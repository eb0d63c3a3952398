"""JSON from files, without what Python's reader tolerates: repeated names, NaN and infinity, endless nesting."""

import json
from typing import Any

from lddn_jax.errors import shown


def parsed(content: bytes) -> Any:
    """Returns the value of a JSON text in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: If it is not JSON, in one line that says where.

    Example:
        >>> parsed(b'{"size": 1, "size": 2}')
        Traceback (most recent call last):
            ...
        ValueError: the name 'size' occurs twice in one object
    """
    try:
        return json.loads(content, object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise ValueError(f"the name {shown(twice)} occurs twice in one object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")
