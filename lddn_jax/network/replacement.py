"""Transfer functions that are replaced after programs with them were compiled.

A compiled program contains its transfer functions. Every compiled function of the package that looks one up is
`up_to_date`, so that a function replaced by `transfer.register` is used at the next call.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax


class up_to_date:  # noqa: N801  (a decorator)
    """Makes a compiled function use what is registered when it is called, not what was when it was compiled.

    JAX keeps programs apart by their arguments and by its contexts. One of these is how often a function was replaced.

    Args:
        compiled: What `jax.jit` or `equinox.filter_jit` returned.
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
