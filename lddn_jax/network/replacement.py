"""Transfer functions that are replaced after programs with them were compiled.

A compiled program contains its transfer functions. Every compiled function of the package that uses them is wrapped in
`up_to_date`, so that it is compiled again after `transfer.register` replaced one.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax


class up_to_date:  # noqa: N801  (a decorator)
    """Decorator with which a compiled function uses the transfer functions registered when it is called.

    JAX caches programs by arguments and user contexts. The number of replacements so far is such a context.

    Args:
        compiled: The result of `jax.jit` or `equinox.filter_jit`.
    """

    __wrapped__: Any

    def __init__(self, compiled: Any):
        functools.update_wrapper(self, compiled)

    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: D102
        if replacements.count == 0:
            return self.__wrapped__(*arguments, **options)
        with _registry(replacements.count):
            return self.__wrapped__(*arguments, **options)

    def lower(self, *arguments: Any, **options: Any) -> jax.stages.Lowered:
        """Lowers the function for these arguments."""
        with _registry(replacements.count):
            return self.__wrapped__.lower(*arguments, **options)

    def trace(self, *arguments: Any, **options: Any) -> jax.stages.Traced:
        """Traces the function for these arguments."""
        with _registry(replacements.count):
            return self.__wrapped__.trace(*arguments, **options)


@dataclass
class _Replacements:
    count: int = 0


replacements = _Replacements()
_registry = jax.make_user_context(0)
