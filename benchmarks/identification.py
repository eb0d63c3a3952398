"""How good are models of measured records, by default settings, and how long do they take?

Each record of `records.py` is identified from its training part alone by `lddn.identify` with default settings, once
for each seed. The test part is predicted in a free run, which is scored once: root mean squared error in the units of
the record. Beside it stand a linear state-space model (`linear.subspace`, stable, its order by the singular values),
persistence one step ahead, ŷ(t) = y(t−1), the deviation of the test part, and what others published.

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


def measured(case: Any, seeds: Sequence[int], model_of: Callable[[Any, int], Any]) -> dict[str, Any]:
    """Returns the row of a case.

    Args:
        case: A `records.Case`.
        seeds: Random seeds.
        model_of: From a case and a seed to a model for `lddn.forecast`.
    """
    errors, seconds = [], []
    for seed in seeds:
        start = time.perf_counter()
        model = model_of(case, seed)
        seconds.append(time.perf_counter() - start)
        errors.append(finite(case.per * error_of(case, forecast_of(model, case))))
    return {
        "case": case.name,
        "unit": case.unit,
        "rows": [sum(map(len, case.train)), len(case.test)],
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
    return lddn.identify([*train, _called(case.test, "test")], inputs, targets, settings).model


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
