"""The house: imports go down, public names are documented, and a few things that no file may do."""

import ast
import inspect
import tomllib
from pathlib import Path

import pytest

import lddn_jax

PACKAGE = Path(lddn_jax.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# The floor of every file, or of a whole folder. A file imports from its own floor and from those below.
FLOORS = {
    "errors.py": 0,
    "given.py": 0,
    "contraction.py": 0,
    "layout.py": 0,
    "archive.py": 0,
    "environment.py": 0,
    "xla.py": 0,
    "declaration.py": 0,
    "wellformed.py": 0,
    "topology.py": 0,
    "plan.py": 1,
    "transfer.py": 1,
    "network.py": 2,
    "rewiring.py": 2,
    "loops.py": 2,
    "initializers.py": 2,
    "delays.py": 2,
    "signals.py": 2,
    "losses.py": 2,
    "recursion.py": 3,
    "simulate.py": 3,
    "streaming.py": 3,
    "gradients/": 4,
    "data/": 5,
    "optimizers/": 5,
    "training/": 5,
    "callbacks/": 5,
    "diagnostics/": 6,
    "models/": 6,
    "prediction.py": 6,
    "scaled.py": 6,
    "plots/": 7,
    "report.py": 7,
    "judged.py": 7,
    "judging.py": 7,
    "diagnosis.py": 7,
    "advice.py": 7,
    "sections.py": 7,
    "io.py": 7,
    "identify.py": 7,
    "recipes.py": 7,
    "settings.py": 7,
    "experiment.py": 7,
    "gradient_check.py": 7,
    "forecast.py": 7,
    "selection.py": 7,
    "commands/": 8,
    "__main__.py": 8,
    "__init__.py": 8,
}


def floor(file):
    """The floor of `gradients/api.py` or of any other file; None if nobody has given it one."""
    return FLOORS.get(file, FLOORS.get(file.split("/")[0] + "/"))


def tree(file):
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"), filename=file)


def file_of(module, name=None):
    """The file that `from module import name` or `import module` reads; `name` may be a module itself."""
    parts = module.split(".")[1:]
    for tail in ([name] if name else []), []:
        path = "/".join([*parts, *tail])
        for file in (f"{path}.py", f"{path}/__init__.py" if path else "__init__.py"):
            if (PACKAGE / file).is_file():
                return file
    return None


def imports(file):
    """Yields (line, imported file) of every import from the package, wherever in the file it stands."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found = [file_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "lddn_jax"]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # a relative import, counted from the file's own package
                here = ["lddn_jax", *Path(file).parts[:-1]]
                module = ".".join([*here[: len(here) - node.level + 1], *([module] if module else [])])
            if module.split(".")[0] != "lddn_jax":
                continue
            found = [file_of(module, alias.name) for alias in node.names]
        else:
            continue
        yield from ((node.lineno, imported) for imported in found if imported)


def calls(file, *names):
    """Yields the line of every call of one of `names`, written as in `jax.config.update`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node.lineno


@pytest.mark.parametrize("file", FILES)
def test_every_file_has_a_floor(file):
    assert floor(file) is not None, (
        f"lddn_jax/{file} has no floor. Decide which files it may import and which may import it, then add it to "
        "FLOORS here and to the table in CONTRIBUTING.md."
    )


@pytest.mark.parametrize("file", [file for file in FILES if floor(file) is not None])
def test_imports_go_down(file):
    climbing = [
        f"line {line}: {imported} (floor {floor(imported)})"
        for line, imported in imports(file)
        if floor(imported) is None or floor(imported) > floor(file)
    ]
    assert not climbing, f"lddn_jax/{file} (floor {floor(file)}) imports from above: {'; '.join(climbing)}"


def test_the_import_reader_sees_imports():
    """A check of the check: relative imports, modules as names, and imports within functions."""
    found = {imported for _, imported in imports("simulate.py")}
    assert {"transfer.py", "delays.py", "recursion.py"} <= found
    assert file_of("lddn_jax", "transfer") == "transfer.py"
    assert file_of("lddn_jax", "Network") == "__init__.py"
    assert file_of("lddn_jax.gradients.api", "value_and_grad") == "gradients/api.py"
    assert file_of("lddn_jax", "data") == "data/__init__.py"


@pytest.mark.parametrize("name", lddn_jax.__all__)
def test_public_names_are_documented(name):
    public = getattr(lddn_jax, name)
    assert inspect.getdoc(public), f"lddn_jax.{name} has no docstring"


def test_public_names_are_sorted_and_complete():
    assert len(set(lddn_jax.__all__)) == len(lddn_jax.__all__)
    for node in tree("__init__.py").body:
        if isinstance(node, ast.ImportFrom):
            missing = {alias.asname or alias.name for alias in node.names} - set(lddn_jax.__all__)
            assert not missing, f"imported into lddn_jax/__init__.py, but not in __all__: {sorted(missing)}"


def test_init_computes_nothing():
    allowed = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign)
    assert all(isinstance(node, allowed) for node in tree("__init__.py").body)


@pytest.mark.parametrize("file", [file for file in FILES if file not in ("__main__.py", "commands/arguments.py")])
def test_the_library_prints_nothing(file):
    assert list(calls(file, "print")) == []


@pytest.mark.parametrize("file", [file for file in FILES if file != "__main__.py"])
def test_the_library_changes_no_global_setting(file):
    assert list(calls(file, "jax.config.update", "config.update", "np.seterr", "np.random.seed", "random.seed")) == []


@pytest.mark.parametrize("file", FILES)
def test_uninitialized_memory_is_not_used(file):
    assert list(calls(file, "jnp.empty", "jnp.empty_like", "jax.numpy.empty", "np.empty", "np.empty_like")) == []


def test_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = ">=0.10.1,!=0.10.2,!=0.11.0,!=0.11.1"
    required = {requirement.split(">")[0]: requirement for requirement in project["dependencies"]}
    assert set(required) == {"jax", "jaxlib", "optax", "equinox"}
    assert (required["jax"], required["jaxlib"]) == (f"jax{bounds}", f"jaxlib{bounds}")
    extras = project["optional-dependencies"]
    assert {"plot", "report", "demo", "io", "test", "dev", "cuda12", "cuda13"} <= set(extras)
    assert (extras["cuda12"], extras["cuda13"]) == ([f"jax[cuda12]{bounds}"], [f"jax[cuda13]{bounds}"])
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize("file", FILES)
def test_only_required_packages_are_imported_at_the_top(file):
    """Extras are imported where they are used, so that the rest works without."""
    extras = {"matplotlib", "tqdm", "jinja2", "diffrax", "h5py"}
    top = [node for node in tree(file).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module}
    assert not extras & {name.split(".")[0] for name in names}
