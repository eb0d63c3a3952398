"""The house: rooms and floors as in CONTRIBUTING's table, names of modules, and a few things that no file may do."""

import ast
import collections
import functools
import graphlib
import importlib
import inspect
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest

import lddn_jax

PACKAGE = Path(lddn_jax.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
# The floor of every room: rows of the table are `| floor | room | what lives there |`.
FLOORS = {
    name: int(number)
    for number, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M)
}


def room(file):
    """The room of `gradients/api.py` is `gradients`, that of `errors.py` is `errors`."""
    return file.split("/")[0].removesuffix(".py")


def module(file):
    """The name that Python knows a file by."""
    return ".".join(["lddn_jax", *Path(file).with_suffix("").parts]).removesuffix(".__init__")


@functools.cache
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


def imported_at_the_top(file):
    """The packages that a file imports when it is imported itself."""
    top = [node for node in tree(file).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


def calls(file, *names):
    """Yields the line of every call of one of `names`, written as in `jax.config.update`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node.lineno


# --- rooms and floors ------------------------------------------------------------------------------------------------


def test_every_room_has_a_floor_and_every_floor_a_room():
    assert {room(file) for file in FILES} == set(FLOORS), (
        "A new room needs a row in the table of CONTRIBUTING.md: which rooms may it import, and which may import it?"
    )


def test_the_house_is_not_larger_than_a_table_of_contents():
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert len(folders) <= 19
    assert len([file for file in FILES if "/" not in file]) <= 6


@pytest.mark.parametrize("file", FILES)
def test_imports_go_down(file):
    own = room(file)
    climbing = [
        f"line {line}: {imported} (floor {FLOORS[room(imported)]})"
        for line, imported in imports(file)
        if room(imported) != own and FLOORS[room(imported)] >= FLOORS[own]
    ]
    assert not climbing, f"lddn_jax/{file} (floor {FLOORS[own]}) imports from above: {'; '.join(climbing)}"


def test_no_files_import_each_other_in_a_circle():
    graph = {file: {imported for _, imported in imports(file)} for file in FILES}
    assert list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_import_reader_sees_imports():
    """A check of the check: relative imports, modules as names, and imports within functions."""
    found = {imported for _, imported in imports("simulation/simulate.py")}
    assert {"network/transfer.py", "simulation/delays.py", "simulation/recursion.py"} <= found
    assert file_of("lddn_jax.network", "transfer") == "network/transfer.py"
    assert file_of("lddn_jax", "Network") == "__init__.py"
    assert file_of("lddn_jax.gradients.api", "value_and_grad") == "gradients/api.py"
    assert file_of("lddn_jax", "data") == "data/__init__.py"


# --- names -----------------------------------------------------------------------------------------------------------


def test_no_name_of_a_module_occurs_twice():
    """A room may have one module of its own name: what the room is about."""
    names = collections.Counter(Path(file).stem for file in FILES if Path(file).name != "__init__.py")
    names.update(path.name for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")
    names.subtract(Path(file).stem for file in FILES if Path(file).stem == Path(file).parent.name)
    assert not {name for name, count in names.items() if count > 1}


@pytest.mark.parametrize("file", [file for file in FILES if Path(file).name != "__init__.py"])
def test_no_module_is_hidden_by_what_it_defines(file):
    """A package shows its modules, unless it shows the one function that a module is there for."""
    package, _, name = module(file).rpartition(".")
    found = getattr(importlib.import_module(package), name, None)
    if isinstance(found, types.ModuleType | None):
        return
    functions = [node.name for node in tree(file).body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    readers = {reader for reader in FILES for _, imported in imports(reader) if imported == file}
    assert functions == [name]
    assert readers <= {f"{room(file)}/__init__.py"}


def test_a_name_of_a_constant_has_one_value():
    """A constant is named by its quantity and unit; a name that fits several of them says neither."""
    values = collections.defaultdict(set)
    for file in FILES:
        for node in tree(file).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper():
                    values[target.id].add(ast.unparse(node.value))
    assert {"CACHED_BYTES", "REASONS"} <= set(values)
    assert not {name: found for name, found in values.items() if len(found) > 1}


def test_tests_lie_in_the_same_rooms():
    rooms = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert rooms <= set(FLOORS)


# --- words ----------------------------------------------------------------------------------------------------------

TABLE_OF_PHRASES = re.compile(r"^\| do not write \| write \|\n\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PHRASES = [
    phrase.strip()
    for row in TABLE_OF_PHRASES.findall(CONTRIBUTING)[0].splitlines()
    for phrase in row.split("|")[1].split(",")
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def as_one_line(text):
    """A text in lower case whose line breaks, also those between comments and between strings, are single spaces."""
    text = re.sub(r"[\"']\s*\n\s*[rf]?[\"']", "", text.lower())
    return re.sub(r"\s*\n\s*#\s|\s+", " ", text)


@functools.cache
def prose():
    """The text of every file of the package, and of what its users read, by path."""
    files = [PACKAGE / file for file in FILES] + sorted(PACKAGE.rglob("*.jinja")) + [ROOT / "README.md"]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files}
    texts["CONTRIBUTING.md"] = TABLE_OF_PHRASES.sub("", CONTRIBUTING)
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        texts[path.relative_to(ROOT).as_posix()] = "\n".join("".join(cell["source"]) for cell in cells)
    return {file: as_one_line(text) for file, text in texts.items()}


@pytest.mark.parametrize("phrase", PHRASES)
def test_phrases_that_nobody_searches_for_are_not_used(phrase):
    """The table of CONTRIBUTING.md says what to write in place of each."""
    pattern = re.compile(rf"\b{re.escape(phrase)}\b.{{0,20}}")
    found = {file: pattern.findall(text) for file, text in prose().items() if phrase in text}
    assert not {file: places for file, places in found.items() if places}


def test_phrases_are_found_across_line_breaks():
    """A check of the check: in docstrings, comments and strings."""
    assert "bit by bit" in PHRASES
    assert {"README.md", "CONTRIBUTING.md", "lddn_jax/io.py", "notebooks/maglev.ipynb"} <= set(prose())
    for text in ("Bit by\n    bit", "x = 1  # bit\n    # by bit", '("bit "\n    "by bit")', '(f"bit by"\n    f" bit")'):
        assert "bit by bit" in as_one_line(text)


# --- what no file may do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_a_method_is_implemented_once(file):
    assert list(calls(file, "super")) == []


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


@pytest.mark.parametrize("file", [file for file in FILES if file not in ("__main__.py", "cli/arguments.py")])
def test_the_library_prints_nothing(file):
    assert list(calls(file, "print")) == []


@pytest.mark.parametrize("file", [file for file in FILES if file != "__main__.py"])
def test_the_library_changes_no_global_setting(file):
    assert list(calls(file, "jax.config.update", "config.update", "np.seterr", "np.random.seed", "random.seed")) == []


@pytest.mark.parametrize("file", FILES)
def test_the_platform_of_the_process_is_not_asked(file):
    """A program is compiled for the platform of its arguments, or of its lowering: `numerics/platform.py` knows."""
    nodes = [node for node in ast.walk(tree(file)) if isinstance(node, ast.Attribute | ast.Name | ast.alias)]
    names = {"attr", "id", "name"}
    assert [node.lineno for node in nodes if "default_backend" in {getattr(node, n, None) for n in names}] == []


@pytest.mark.parametrize("file", FILES)
def test_no_compiled_programs_are_thrown_away(file):
    assert list(calls(file, "jax.clear_caches", "clear_caches")) == []


@pytest.mark.parametrize("file", FILES)
def test_uninitialized_memory_is_not_used(file):
    assert list(calls(file, "jnp.empty", "jnp.empty_like", "jax.numpy.empty", "np.empty", "np.empty_like")) == []


def test_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = ">=0.10.1,!=0.10.2,!=0.11.0,!=0.11.1"
    required = {requirement.split(">")[0]: requirement for requirement in project["dependencies"]}
    assert set(required) == {"jax", "jaxlib", "optax", "equinox", "jaxtyping", "numpy", "scipy"}
    imported = {name for file in FILES for name in imported_at_the_top(file)}
    assert imported - sys.stdlib_module_names - {"lddn_jax"} == set(required) - {"jaxlib"}
    assert (required["jax"], required["jaxlib"]) == (f"jax{bounds}", f"jaxlib{bounds}")
    extras = project["optional-dependencies"]
    assert {"plot", "report", "demo", "io", "test", "dev", "cuda12", "cuda13"} <= set(extras)
    assert (extras["cuda12"], extras["cuda13"]) == ([f"jax[cuda12]{bounds}"], [f"jax[cuda13]{bounds}"])
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize("file", FILES)
def test_only_required_packages_are_imported_at_the_top(file):
    """Extras are imported where they are used, so that the rest works without."""
    assert not {"matplotlib", "tqdm", "jinja2", "diffrax", "h5py"} & imported_at_the_top(file)
