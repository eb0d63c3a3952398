"""Which parameters of a test run in the fast tier, and which only with `--deep`."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pytest


def deep_unless(fast: bool):
    """Marks of a parameter that runs in the fast tier only if `fast`."""
    return () if fast else pytest.mark.deep


def in_tiers(values: Mapping[str, Any] | Iterable, fast: Collection) -> list:
    """Parameters of a test, of which those in `fast` run in the fast tier too.

    Args:
        values: The parameters, those of several arguments as tuples; or a mapping from ids to values.
        fast: Some of them; of a mapping, ids.
    """
    values = values if isinstance(values, Mapping) else list(values)
    assert all(value in values for value in fast), f"{fast} are not all among {list(values)}"
    if isinstance(values, Mapping):
        return [pytest.param(value, id=name, marks=deep_unless(name in fast)) for name, value in values.items()]
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=deep_unless(v in fast)) for v in values]
