"""The generic Levenberg-Marquardt on NIST's nonlinear regression problems, where their files are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import nist

FOLDER = Path(os.environ.get("LDDN_NIST", Path(__file__).parents[3] / "shared" / "data" / "nist"))
needs_files = pytest.mark.skipif(not list(FOLDER.glob("*.dat")), reason=f"no files in {FOLDER} (set LDDN_NIST)")


@pytest.mark.deep
@needs_files
def test_at_least_fifty_of_the_fifty_four_starts():
    problems = [nist.read(path) for path in sorted(FOLDER.glob("*.dat"))]
    assert {p.name for p in problems} == set(nist.MODELS)
    results = [nist.solve(problem, start) for problem in problems for start in (1, 2)]
    solved = [r for r in results if r.solved]
    assert len(solved) >= 50, nist.table(results)
    assert np.mean([r.digits for r in solved]) >= 8


@pytest.mark.deep
@needs_files
@pytest.mark.parametrize("name", sorted(nist.MODELS))
def test_the_model_is_that_of_the_file(name):
    """Without a fit: the sum of squares at the certified parameters is the certified one."""
    path = FOLDER / f"{name}.dat"
    problem = nist.read(path)
    line = next(line for line in path.read_text().splitlines() if line.startswith("Residual Sum of Squares"))
    found = float(np.sum(np.asarray(problem.residuals(problem.certified)) ** 2))
    # Parameters have 11 digits; where nothing but rounding is left over, that is all there is.
    assert found == pytest.approx(float(line.split(":")[1]), rel=1e-8, abs=1e-18)


def test_the_table_names_what_was_not_solved():
    results = [nist.Result("Easy", 1, 9.0, 5, "small_gain"), nist.Result("Hard", 2, 0.0, 1000, "max_steps")]
    text = nist.table(results)
    assert "1 of 2 starts solved, mean LRE 9.00" in text
    assert "not solved: Hard from start 2" in text
