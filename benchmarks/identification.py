"""How good are models of measured records, by default settings, and how long do they take?

Each record of `records.py` is identified from its training part alone by `lddn.identify` with default settings, once
for each seed. The test part is predicted in a free run, which is scored once: root mean squared error in the units of
the record. Beside it stand a linear state-space model (`linear.subspace`, stable, its order by the singular values),
persistence one step ahead, ŷ(t) = y(t−1), the deviation of the test part, and what others published.

Every structure that was tried has an out-of-fold error; its networks predict the test part too, which shows whether the
one tells the other. The conformal bands of the free run contain a share of the test part, where 90 % are wanted.

The first identification of a record compiles; the others, with other seeds, use the same programs. Empty JAX's
persistent cache, or unset it, for times of a first use.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import harness

FREE_RUN = "free run"


def measured(case: Any, seeds: Sequence[int], found_of: Callable[[Any, int], Any]) -> dict[str, Any]:
    """Returns the row of a case.

    Args:
        case: A `records.Case`.
        seeds: Random seeds.
        found_of: From a case and a seed to an object with a `model` for `lddn.forecast` and the result `trained` of a
            competition of structures, or None.
    """
    errors, seconds, structures, covered = [], [], [], []
    for seed in seeds:
        start = time.perf_counter()
        found = found_of(case, seed)
        seconds.append(time.perf_counter() - start)
        errors.append(score(case, found.model))
        structures.append(structures_of(case, found))
        covered.append(coverage_of(case, found.model))
    return {
        "case": case.name,
        "unit": case.unit,
        "rows": [sum(map(len, case.train)), len(case.test)],
        "structures": structures,
        "coverage": covered,
        "error": {"default": errors} | {name: [finite(value)] for name, value in yardsticks(case).items()},
        "published": dict(case.published),
        "first_seconds": seconds[0],
        "later_seconds": seconds[1:],
    }


def identified(case: Any, seed: int) -> Any:
    """Returns the model of default settings; all rows of the training records are used, none of the test record."""
    import lddn_jax as lddn
    from lddn_jax.data import ByRecord

    train = [_called(record, f"train {k}") for k, record in enumerate(case.train)]
    settings = lddn.Settings(seed=seed, division=ByRecord(test=("test",)))
    inputs, targets = list(case.test.inputs), list(case.test.targets)
    # The test record fills a part that must not be empty; it is not used before the scores of the result.
    return lddn.identify([*train, _called(case.test, "test")], inputs, targets, settings)


def score(case: Any, model: Any) -> float | None:
    """Returns the error of a model on the test part in the unit of the case; None if it is not finite."""
    return finite(case.per * error_of(case, forecast_of(model, case)))


def structures_of(case: Any, found: Any) -> list[dict[str, Any]]:
    """Returns the structures that were tried with their out-of-fold errors and those on the test part.

    The out-of-fold errors are in scaled units; the networks of the chosen structure were trained on everything.
    """
    from lddn_jax.network.committee import Committee

    rows = []
    for entry in () if found.trained is None else found.trained.entries:
        model = dataclasses.replace(found.model, net=Committee(entry.found.members))
        errors = {"out_of_fold": finite(entry.found.error), "test": score(case, model)}
        rows.append({"structure": str(entry.structure), **errors})
    return rows


def coverage_of(case: Any, model: Any) -> float | None:
    """Returns the share of the test part that the conformal bands contain; None if there are no bands to use."""
    import lddn_jax as lddn

    if not case.continues:
        return next(iter(lddn.forecast(model, case.test).band_coverage.values()), None)
    found = lddn.forecast(model, followed(case))
    ((name, y),) = case.test.targets.items()
    if found.future is None or name not in found.future_bands:
        return None
    missed = np.abs(y[:, 0] - np.ravel(found.future.predictions[name]))
    return float(np.mean(missed <= found.future_bands[name]))


def rank_correlations(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Returns Spearman's correlation of out-of-fold and test errors over the structures, by record and seed."""
    from scipy.stats import spearmanr

    found = []
    for row in rows:
        for tried in row["structures"]:
            pairs = [tuple(math.inf if s[what] is None else s[what] for what in ("out_of_fold", "test")) for s in tried]
            if len(pairs) > 2:
                found.append(float(spearmanr(*zip(*pairs, strict=True)).statistic))
    return found


def forecast_of(model: Any, case: Any) -> dict[str, np.ndarray]:
    """Returns the free run of the last rows of the test record by output, as many as there are."""
    import lddn_jax as lddn

    if case.continues:
        return dict(lddn.forecast(model, followed(case)).future.predictions)
    return dict(lddn.forecast(model, case.test).predictions[FREE_RUN])


def followed(case: Any) -> Any:
    """Returns the training record, followed by the inputs of the test record and by missing outputs."""
    from lddn_jax.data import Record

    (train,) = case.train
    inputs = {name: np.concatenate([u, case.test.inputs[name]]) for name, u in train.inputs.items()}
    rows = np.full((len(case.test), 1), np.nan)
    targets = {name: np.concatenate([y, np.repeat(rows, y.shape[1], axis=1)]) for name, y in train.targets.items()}
    return Record(inputs, targets, missing="mask")


def error_of(case: Any, predictions: dict[str, np.ndarray]) -> float:
    """Returns the root mean squared error over the scored rows.

    Args:
        case: A `records.Case`.
        predictions: Predictions of the last rows, by output.
    """
    from lddn_jax import diagnostics

    (y,) = case.test.targets.values()
    (y_hat,) = predictions.values()
    unscored = max(case.skip - (len(y) - len(y_hat)), 0)
    return diagnostics.rmse(y[len(y) - len(y_hat) :, 0][unscored:], np.asarray(y_hat, float)[unscored:])


def yardsticks(case: Any) -> dict[str, float]:
    """Returns errors of a linear model and of persistence, and the deviation of the test part."""
    import lddn_jax as lddn

    (y,) = case.test.targets.values()
    linear = lddn.linear.subspace(case.train, stabilize=True)
    if case.continues:
        ((measured, run),) = zip(case.train[0].targets.values(), linear.free_run(followed(case)).values(), strict=True)
        run, last = run[len(measured) :, 0], np.full(len(y), measured[-1, 0])
    else:
        (run,) = (line[:, 0] for line in linear.free_run(case.test, samples=max(case.skip, 50)).values())
        last = y[:-1, 0]
    found = {"linear": {"y": run}, "persistence": {"y": last}}
    errors = {name: case.per * error_of(case, predictions) for name, predictions in found.items()}
    return errors | {"deviation": case.per * float(np.std(y[case.skip :]))}


def finite(value: float) -> float | None:
    """Returns None for an error that is not finite, which JSON has no number for."""
    return value if math.isfinite(value) else None


def line(row: dict[str, Any]) -> str:
    """Returns a row as one line."""
    errors = {name: [e for e in found if e is not None] for name, found in row["error"].items()}
    words = [
        f"{name} {statistics.median(found):.4g}" if found else f"{name} diverged" for name, found in errors.items()
    ]
    later = row["later_seconds"]
    took = f"{row['first_seconds']:.1f} s" + (f", then {statistics.median(later):.1f} s" if later else "")
    seeds = ", ".join("diverged" if e is None else f"{e:.4g}" for e in row["error"]["default"])
    return f"{row['case']:<36} {'; '.join(words)} {row['unit']}; seeds {seeds}; {took}"


def _called(record: Any, name: str) -> Any:
    return dataclasses.replace(record, name=name)


def main() -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.set_defaults(cores=2)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    options = parser.parse_args()
    harness.pin(options.cores)
    import jax

    jax.config.update("jax_enable_x64", True)  # free runs of integrating plants lose digits in float32
    from benchmarks import records

    rows = []
    for case in records.cases(options.only):
        rows.append(measured(case, range(options.seeds), identified))
        print(line(rows[-1]), flush=True)
    question = __doc__.split("\n\n")[0]
    print("written to", harness.write(options.name or "identification_cpu", question, options.cores, rows))


if __name__ == "__main__":
    main()
