"""Warnings about a model, each with a remedy, derived from the diagnostics.

Each function checks one diagnostic and returns a warning or None. The bounds of correlations are corrected for the
number of lags (Bonferroni), so that each of them gives a false warning for a good model in 1 of 100 records.
"""

from collections.abc import Collection, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from lddn_jax.diagnostics import Correlation, HypothesisTest, Score, Stability
from lddn_jax.models import measured_name
from lddn_jax.prediction.forecast import FREE_RUN, ONE_STEP, PERSISTENCE
from lddn_jax.reporting.evaluation import Evaluation
from lddn_jax.reporting.findings import Diagnosis

FALSE_ALARM_RATE = 0.01  # significance level of the tests
COVERAGE_TOLERANCE = 0.05  # allowed error of a coverage, whose estimate is uncertain because errors are correlated
TWO_SIGMA_COVERAGE = 2 * NormalDist().cdf(2) - 1  # nominal coverage of ± 2σ
POOR_NRMSE = 0.5  # NRMSE above which a free run is poor
STILL_FALLING_RATIO = 0.8  # ratio of losses over the last tenth of the epochs, below which training is unfinished


def advise(known: Evaluation, found: Diagnosis) -> tuple[str, ...]:
    """Returns all warnings about a model, the most serious first."""
    delays: dict[str, set[int]] = {}
    for (_, source), values in known.net.topology.delays.items():
        delays.setdefault(source, set()).update(values)
    warnings = [about_stop(known.stop_reason, known.history)]
    warnings += [about_divergence(kind, step) for kind, step in found.diverged.items()]
    warnings += [about_stability(found.stability)] if found.stability is not None else []
    if PERSISTENCE in found.scores and ONE_STEP in found.scores:
        warnings.append(about_persistence(found.scores[ONE_STEP].all, found.scores[PERSISTENCE].all))
    if FREE_RUN in found.scores:
        warnings.append(about_free_run(found.scores[FREE_RUN].all))
    warnings += [about_range(name, step, name in known.measured) for name, step in found.outside.items()]
    for (source, output), correlation in found.with_inputs.items():
        warnings.append(about_input(correlation, source, output, delays.get(source.partition("[")[0], set())))
    for output, test in found.whiteness.items():
        own = delays.get(output.partition("[")[0], set()) | delays.get(measured_name(output.partition("[")[0]), set())
        warnings.append(about_whiteness(test, found.own[output], output, own, _free_run_as_good(found, output)))
    warnings += [about_coverage(share, output) for output, share in found.coverage.items()]
    if known.std:
        warnings += [about_normality(test, output) for output, test in found.normality.items()]
    return tuple(warning for warning in warnings if warning)


def about_input(correlation: Correlation, source: str, output: str, delays: Collection[int]) -> str | None:
    """Warns of residuals that correlate with an input: a delay is missing, or the model is too simple.

    Args:
        correlation: Cross-correlation of the residuals with the input.
        source: Name of the input.
        output: Name of the output.
        delays: Delays at which the network reads the input.

    Example:
        >>> import numpy as np
        >>> from lddn_jax.diagnostics import cross_correlation
        >>> u = np.random.default_rng(0).normal(size=500)
        >>> about_input(cross_correlation(u, np.roll(u, 3)), "u", "y", {1, 2}).partition(":")[2]
        ' try delay 3.'
    """
    lag = _beyond_chance(correlation)
    if lag is None:
        return None
    value = correlation.values[correlation.lags == lag][0]
    bound = correlation.bound(0.99)[correlation.lags == lag][0]
    start = f"Residuals of {output} correlate with {source}"
    numbers = f"({value:.2f}; by chance up to {bound:.2f})"
    if lag < 0:
        return (
            f"{start} {-lag} steps later {numbers}: {source} seems to depend on {output}, as under a "
            "feedback controller. Its effect on the output is then hard to identify."
        )
    if lag in delays:
        return (
            f"{start} at lag {lag} {numbers}, although the network reads that delay: try more hidden neurons, longer "
            "training, or other delays beside it."
        )
    return f"{start} at lag {lag} {numbers}: try delay {lag}."


def about_whiteness(
    test: HypothesisTest,
    correlation: Correlation,
    output: str,
    delays: Collection[int] = (),
    free_run_as_good: bool = False,
) -> str | None:
    """Warns of residuals that are not white.

    Args:
        test: Ljung-Box test of the residuals.
        correlation: Autocorrelation of the residuals.
        output: Name of the output.
        delays: Delays at which the network reads the past of that output.
        free_run_as_good: Whether the RMSE of the free run is not larger than that one step ahead. This indicates
            measurement noise v: residuals one step ahead are then v(t) − Σ_d θ(d) v(t−d), which are correlated even
            for the true system.
    """
    lag = correlation.strongest()
    if test.p_value >= FALSE_ALARM_RATE or lag is None:
        return None
    value = correlation.values[correlation.lags == lag][0]
    start = (
        f"Residuals of {output} are not white (Ljung-Box p {p_in_words(test.p_value)}), most at lag {lag} ({value:.2f})"
    )
    if free_run_as_good and value < 0:
        return (
            f"{start}, as expected from measurement noise, which enters predictions one step ahead. The RMSE of the "
            "free run is not larger, so a larger network would not help: evaluate the model by its free run."
        )
    if lag in delays:
        return f"{start}, although the network reads that delay: try more hidden neurons or longer training."
    return f"{start}: their past predicts them. Try feedback delay {lag}."


def about_normality(test: HypothesisTest, output: str) -> str | None:
    """Warns of error bars if the residuals are not Gaussian."""
    if test.p_value >= FALSE_ALARM_RATE:
        return None
    return (
        f"Residuals of {output} are not Gaussian (p {p_in_words(test.p_value)}), but the error bars assume it. "
        "Check the histogram for outliers."
    )


def about_coverage(share: float, output: str, nominal: float = TWO_SIGMA_COVERAGE) -> str | None:
    """Warns of error bars that contain too few or too many measurements."""
    if abs(share - nominal) <= COVERAGE_TOLERANCE:
        return None
    which = "too narrow: do not rely on them" if share < nominal else "too wide"
    return f"Coverage of the bands of {output} is {100 * share:.0f} %, nominal {100 * nominal:.0f} %: they are {which}."


def about_range(name: str, step: int | None, is_output: bool) -> str | None:
    """Warns of a signal outside of its training range."""
    if step is None:
        return None
    if is_output:
        return (
            f"The free run of {name} left the training range at step {step}; from there on the network extrapolates. "
            "Train on records that cover a wider range."
        )
    return f"The input {name} leaves the training range at step {step}; from there on the network extrapolates."


def about_divergence(kind: str, step: int) -> str:
    """Warns of a prediction that diverged."""
    return (
        f"The prediction {kind!r} diverged at step {step}. Train over growing horizons (lddn.fit_closed_loop), or with "
        "regularization."
    )


def about_stability(found: Stability) -> str | None:
    """Warns of a closed loop in which disturbances grow."""
    if not np.isfinite(found.exponent) or found.exponent <= 0:
        return None
    growth = np.expm1(found.exponent)
    return (
        f"The closed loop is unstable along the record: a disturbance grows by {100 * growth:.1f} % per step (Lyapunov "
        f"exponent {found.exponent:.3g}), so small errors of a free run do not stay small."
    )


def about_persistence(model: Score, persistence: Score) -> str | None:
    """Warns of a model that is no better than persistence."""
    if model.rmse < persistence.rmse:
        return None
    return (
        f"One step ahead the network (RMSE {model.rmse:.3g}) is no better than repeating the last measurement "
        f"({persistence.rmse:.3g}): it has learned nothing yet. Train longer, or check delays and scaling."
    )


def about_free_run(score: Score) -> str | None:
    """Warns of a free run with a large error."""
    if not np.isfinite(score.nrmse) or score.nrmse <= POOR_NRMSE:  # `about_divergence` warns of a diverged run
        return None
    return (
        f"The free run misses {100 * score.nrmse:.0f} % of the standard deviation of the record (fit {score.fit:.0f} "
        "%): the model cannot simulate yet. Train over longer horizons."
    )


def about_stop(stop_reason: str | None, history: Mapping[str, Any]) -> str | None:
    """Warns of training that failed, or that stopped while the loss was still falling."""
    if stop_reason == "non_finite":
        return "The network became NaN or infinite in training: try a smaller learning rate, or scale the signals."
    losses = np.asarray(history["loss"], float)
    if stop_reason != "epochs" or len(losses) < 20:
        return None
    tail = losses[-(len(losses) // 10) :]
    horizons = np.nan_to_num(np.asarray(history["horizon"] if "horizon" in history else np.zeros(len(losses)), float))
    comparable = (horizons[-len(tail) :] == horizons[-1]).all() and np.isfinite(tail).all()
    if not comparable or tail[-1] > STILL_FALLING_RATIO * tail[0]:
        return None
    fell = 1 - tail[-1] / tail[0]
    return f"The training loss still fell by {100 * fell:.0f} % in the last {len(tail)} epochs: train for more epochs."


def p_in_words(p: float) -> str:
    """Formats a p-value with one significant digit."""
    return f"= {p:.1g}" if p > 1e-12 else "< 1e-12"


def _free_run_as_good(found: Diagnosis, output: str) -> bool:
    """Returns whether the RMSE of the free run is not larger than that one step ahead."""
    if not {ONE_STEP, FREE_RUN} <= found.scores.keys():
        return False
    return found.scores[FREE_RUN].by_output[output].rmse <= found.scores[ONE_STEP].by_output[output].rmse


def _beyond_chance(correlation: Correlation) -> int | None:
    lag = correlation.strongest()
    return lag if lag in correlation.outside(1 - FALSE_ALARM_RATE / len(correlation.lags)) else None
