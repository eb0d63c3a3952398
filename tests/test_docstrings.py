"""Every example in a docstring of the package runs and prints what it says.

The docstrings are read from the source, not from imported objects, so that no decorator can hide one.
"""

import ast
import doctest
import importlib
from pathlib import Path

import pytest
from tiers import deep_unless

import lddn_jax

PACKAGE = Path(lddn_jax.__file__).parent
# Examples that train or compare for seconds.
LONG = {
    "training.callbacks.periodic_checkpoint.Checkpoint",
    "data.plants.maglev.maglev",
    "data.plants.maglev.simulate_maglev",
    "data.plants.tanks.simulate_tanks",
    "data.plants.tanks.tank_records",
    "data.plants.tanks.tanks",
    "prediction.forecast.forecast",
    "reporting.report.report",
    "identification.selection.compare_narx",
    "bayesian.bayesian.BayesianRegularization",
    "trainers.closed_loop.fit_closed_loop",
    "bayesian.comparison.compare",
    "bayesian.pruning.prune",
    "bayesian.relevance.relevance",
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def examples():
    """Yields a pytest parameter for every docstring with an example, by module and name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        names = {}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):  # a class comes before its methods
            for child in ast.iter_child_nodes(node):
                if isinstance(child, DOCUMENTED):
                    names[child] = f"{names[node]}.{child.name}" if node in names else child.name
            text = ast.get_docstring(node, clean=False) if isinstance(node, DOCUMENTED) else None
            if text and ">>>" in text:
                name = (f"{module}.{names[node]}" if node in names else module).removeprefix("lddn_jax.")
                yield pytest.param(
                    path, module, text, node.body[0].lineno, id=name, marks=deep_unless(name not in LONG)
                )


def test_long_examples_have_the_names_of_examples():
    assert {parameter.id for parameter in examples()} >= LONG


@pytest.mark.parametrize(("path", "module", "text", "line"), list(examples()))
def test_example(path, module, text, line):
    found = vars(importlib.import_module(module)).copy()
    example = doctest.DocTestParser().get_doctest(text, found, module, str(path), line - 1)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
