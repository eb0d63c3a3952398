"""Which parameters of a test run in the fast tier, and which only with `--deep`."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest


def deep_unless(fast: bool):
    """Marks of a parameter that runs in the fast tier only if `fast`."""
    return () if fast else pytest.mark.deep


def thinned(values: Mapping[str, Any] | Collection[str], fast: Collection[str]) -> list:
    """Parameters by name, of which only `fast` run in the fast tier; values are the names if there are no others."""
    named = values if isinstance(values, Mapping) else {name: name for name in values}
    assert set(fast) <= set(named), f"no such parameter: {sorted(set(fast) - set(named))}"
    return [pytest.param(value, id=name, marks=deep_unless(name in fast)) for name, value in named.items()]
