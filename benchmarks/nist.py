"""Does the generic Levenberg-Marquardt solve NIST's nonlinear regression problems, and to how many digits?

The 27 problems of the Statistical Reference Datasets, each from both of its starts, against the certified values:

    LRE = −log10( |found − certified| / |certified| ),    at most 11, the number of certified digits

A start counts as solved if every parameter has an LRE of 4 or more. The files are not part of this repository; name the
folder that holds them: `python -m benchmarks.nist DIR`.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import lddn_jax as lddn

DIGITS, SOLVED = 11, 4
_exp, _cos, _sin = jnp.exp, jnp.cos, jnp.sin


def _gauss(b, x):
    bells = b[2] * _exp(-((x - b[3]) ** 2) / b[4] ** 2) + b[5] * _exp(-((x - b[6]) ** 2) / b[7] ** 2)
    return b[0] * _exp(-b[1] * x) + bells


def _enso(b, x):
    def wave(period, c, s):
        return c * _cos(2 * jnp.pi * x / period) + s * _sin(2 * jnp.pi * x / period)

    return b[0] + wave(12, b[1], b[2]) + wave(b[3], b[4], b[5]) + wave(b[6], b[7], b[8])


def _lanczos(b, x):
    return b[0] * _exp(-b[1] * x) + b[2] * _exp(-b[3] * x) + b[4] * _exp(-b[5] * x)


def _cubics(b, x):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _saturating(b, x):
    return b[0] * (1 - _exp(-b[1] * x))


def _chwirut(b, x):
    return _exp(-b[0] * x) / (b[1] + b[2] * x)


# By data set, as the files state them; Nelson's is for log y, and has two predictors.
MODELS: dict[str, Callable] = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": _saturating,
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "ENSO": _enso,
    "Eckerle4": lambda b, x: b[0] / b[1] * _exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubics,
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * _exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * _exp(-x * b[3]) + b[2] * _exp(-x * b[4]),
    "Misra1a": _saturating,
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** (-2)),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** (-0.5)),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda b, x: b[0] - b[1] * x[:, 0] * _exp(-b[2] * x[:, 1]),
    "Rat42": lambda b, x: b[0] / (1 + _exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + _exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - jnp.arctan(b[2] / (x - b[3])) / jnp.pi,
    "Thurber": _cubics,
}


@dataclass(frozen=True)
class Problem:
    """One data set.

    Attributes:
        name: NIST's name.
        starts: Both starts.
        certified: The certified parameters.
        y: The response.
        x: The predictor, or two in columns.
    """

    name: str
    starts: tuple[np.ndarray, np.ndarray]
    certified: np.ndarray
    y: np.ndarray
    x: np.ndarray

    def residuals(self, b):
        """Returns the residuals."""
        y = np.log(self.y) if self.name == "Nelson" else self.y
        return MODELS[self.name](b, self.x) - y


@dataclass(frozen=True)
class Result:
    """Result of one start.

    Attributes:
        name: The data set.
        start: 1 or 2.
        digits: The smallest LRE of its parameters.
        steps: Steps taken.
        reason: Stop reason.
    """

    name: str
    start: int
    digits: float
    steps: int
    reason: str

    @property
    def solved(self) -> bool:
        """True if every parameter has enough certified digits."""
        return self.digits >= SOLVED


def read(path: Path) -> Problem:
    """Reads a file in NIST's format."""
    lines = path.read_text().splitlines()
    where = dict(re.findall(r"(Starting Values|Data) +\(lines (\d+ to +\d+)\)", "\n".join(lines[:12])))
    first, last = (int(n) for n in where["Data"].split(" to "))
    parameters = [re.match(r" *b\d+ = +(.*)", line) for line in lines]
    numbers = np.array([[float(n) for n in found[1].split()] for found in parameters if found])
    data = np.array([[float(n) for n in line.split()] for line in lines[first - 1 : last]])
    x = data[:, 1] if data.shape[1] == 2 else data[:, 1:]
    return Problem(path.stem, (numbers[:, 0], numbers[:, 1]), numbers[:, 2], data[:, 0], x)


def solve(problem: Problem, start: int, **settings) -> Result:
    """Runs one start with the settings of `lddn.levenberg_marquardt`."""
    found = lddn.levenberg_marquardt(problem.residuals, jnp.asarray(problem.starts[start - 1]), **settings)
    error = np.abs(np.asarray(found.parameters) - problem.certified) / np.abs(problem.certified)
    digits = np.clip(-np.log10(np.where(np.isfinite(error), np.maximum(error, 10.0**-DIGITS), 1.0)), 0, DIGITS)
    return Result(problem.name, start, float(digits.min()), int(found.steps), found.stop_reason)


def table(results: Sequence[Result]) -> str:
    """Returns a row for each start, then the number of solved ones and the names of the others."""
    lines = [f"{'data set':<10}{'start':>6}{'digits':>8}{'steps':>7}  stopped by"]
    lines += [f"{r.name:<10}{r.start:>6}{r.digits:>8.1f}{r.steps:>7}  {r.reason}" for r in results]
    solved = [r.digits for r in results if r.solved]
    failed = [f"{r.name} from start {r.start}" for r in results if not r.solved]
    lines.append(f"{len(solved)} of {len(results)} starts solved, mean LRE {np.mean(solved or [0]):.2f}")
    lines.append("not solved: " + (", ".join(failed) or "none"))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with NIST's files")
    for name, default in (("solver", "qr"), ("damping", "textbook")):
        parser.add_argument(f"--{name}", default=default, help=f"of levenberg_marquardt (default {default})")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    problems = [read(path) for path in sorted(options.folder.glob("*.dat"))]
    print(table([solve(p, k, solver=options.solver, damping=options.damping) for p in problems for k in (1, 2)]))


if __name__ == "__main__":
    main()
