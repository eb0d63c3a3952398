"""What is public says the types of its arguments and the shapes of its arrays, which all other tests then check."""

import fnmatch
import inspect
import typing

import jax
import numpy as np
import pytest
from jaxtyping import AbstractArray, Float

import lddn_jax as lddn

MODULES = (
    lddn,
    lddn.callbacks,
    lddn.data,
    lddn.diagnostics,
    lddn.initializers,
    lddn.linear,
    lddn.losses,
    lddn.models,
    lddn.optimizers,
    lddn.plots,
    lddn.transfer,
)
# What says nothing of its type, by name, and why.
UNTYPED = {
    "plots.*.ax": "matplotlib's axes; matplotlib is an extra, so its types are not known where it is missing",
    "plots.*.axes": "likewise",
    "plots.*.return": "likewise",
    "plots.relevance.table": "what lddn.relevance returns, which lies on a higher floor",
    "plots.comparison.found": "what lddn.compare returns, likewise",
    "report.found": "whatever was trained; one that is not gets an error that lists what is",
    "load.return": "what the file holds",
    "data.Record.of.source": "a table, a path, a frame of pandas or polars, or any object with arrays u and y",
    "identify.records": "likewise, or a list of them",
    "identify.validation": "likewise",
    "compare_narx.records": "likewise",
    "forecast.source": "likewise",
}


def is_public(name):
    return not name.startswith("_") or name in ("__call__", "__getitem__", "__init__")


def members(module):
    """Returns what a module offers: what it lists, or without a list what it defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return {name: getattr(module, name) for name in listed}
    return {
        name: member
        for name, member in vars(module).items()
        if is_public(name) and getattr(member, "__module__", None) == module.__name__
    }


def public():
    """Yields (name, member) of every public function and class, once."""
    seen = set()
    for module in MODULES:
        short = module.__name__.removeprefix("lddn_jax").rpartition(".")[2]
        for name, member in members(module).items():
            code = inspect.isroutine(member) or inspect.isclass(member)
            if code and id(member) not in seen and member.__module__.startswith("lddn_jax"):
                seen.add(id(member))
                yield f"{short}.{name}".strip("."), member


def functions_of(name, kind):
    """Yields the public methods and properties that a class defines itself."""
    for attribute, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        function = inspect.unwrap(function) if callable(function) else function
        if is_public(attribute) and inspect.isfunction(function) and function.__module__.startswith("lddn_jax"):
            yield f"{name}.{attribute}", function


def annotations(name, member):
    """Yields (name, annotation) of every argument, result and field of a function or class."""
    if inspect.isclass(member):
        functions = list(functions_of(name, member))
        for field, annotation in inspect.get_annotations(member, eval_str=True).items():
            if is_public(field):
                yield f"{name}.{field}", annotation
    else:
        functions = [(name, inspect.unwrap(member))]
    for path, function in functions:
        found = typing.get_type_hints(function)
        wanted = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
        for what in wanted if path.endswith("__init__") else [*wanted, "return"]:
            yield f"{path}.{what}", found.get(what)


PUBLIC = {name: dict(annotations(name, member)) for name, member in public()}


def parts(annotation):
    """Yields an annotation and all that it is made of; the shape of an array is one piece with it."""
    if isinstance(annotation, list):  # the arguments of a Callable
        for part in annotation:
            yield from parts(part)
        return
    yield annotation
    if not (inspect.isclass(annotation) and issubclass(annotation, AbstractArray)):
        for part in typing.get_args(annotation):
            yield from parts(part)


def has_bare_array(annotation):
    """Whether an annotation speaks of an array without its shape."""
    return any({part, typing.get_origin(part)} & {jax.Array, np.ndarray} for part in parts(annotation))


@pytest.mark.parametrize("name", PUBLIC)
def test_arrays_have_shapes(name):
    bare = [what for what, annotation in PUBLIC[name].items() if has_bare_array(annotation)]
    assert not bare, 'write Float[Array, "*batch time size"], for example'


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_has_a_type(name):
    untyped = {what for what, annotation in PUBLIC[name].items() if annotation in (None, typing.Any)}
    assert not {what for what in untyped if not any(fnmatch.fnmatch(what, pattern) for pattern in UNTYPED)}


@pytest.mark.parametrize("pattern", UNTYPED)
def test_an_exception_is_one(pattern):
    untyped = [w for found in PUBLIC.values() for w, annotation in found.items() if annotation in (None, typing.Any)]
    assert fnmatch.filter(untyped, pattern)


@pytest.mark.parametrize(
    "annotation",
    [
        jax.Array,
        np.ndarray | None,
        dict[str, jax.Array],
        jax.typing.ArrayLike,
        typing.Callable[[jax.Array], float],
        tuple[Float[jax.Array, ""], np.ndarray],
    ],
    ids=str,
)
def test_an_array_without_a_shape_is_seen(annotation):
    assert has_bare_array(annotation)
    assert not has_bare_array(dict[str, Float[jax.Array, "time size"]] | None)


def test_functions_methods_properties_and_fields_are_seen():
    seen = {what for found in PUBLIC.values() for what in found}
    assert {"simulate.inputs", "Network.ravel.return", "Network.b", "Posterior.covariance.return"} <= seen
    assert {"losses.Huber.delta", "data.MinMax.fit.x", "diagnostics.rmse.measured"} <= seen
