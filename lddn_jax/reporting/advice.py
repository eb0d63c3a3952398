"""From numbers to plain words: what is wrong with a model, and what to try.

Each function looks at one diagnostic and returns a sentence, or None where there is nothing to say. A correlation has
to be beyond what the largest of all its lags reaches by chance in 1 of 100 records (Bonferroni), so that nobody is
warned of a good model.
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

FALSE_ALARM_RATE = 0.01  # of false alarms
COVERAGE_TOLERANCE = 0.05  # of a coverage, which neighboring errors make uncertain
TWO_SIGMA_COVERAGE = 2 * NormalDist().cdf(2) - 1  # of ± 2σ
POOR_NRMSE = 0.5  # NRMSE of a free run that follows the record badly
STILL_FALLING_RATIO = 0.8  # what the loss of the last tenth of all epochs fell to


def advise(known: Evaluation, found: Diagnosis) -> tuple[str, ...]:
    """Returns all warnings about a model, the gravest first."""
    delays: dict[str, set[int]] = {}
    for (_, source), values in known.net.topology.delays.items():
        delays.setdefault(source, set()).update(values)
    said = [about_stop(known.stop_reason, known.history)]
    said += [about_divergence(kind, step) for kind, step in found.diverged.items()]
    said += [about_stability(found.stability)] if found.stability is not None else []
    if PERSISTENCE in found.scores and ONE_STEP in found.scores:
        said.append(about_persistence(found.scores[ONE_STEP].all, found.scores[PERSISTENCE].all))
    if FREE_RUN in found.scores:
        said.append(about_free_run(found.scores[FREE_RUN].all))
    said += [about_range(name, step, name in known.measured) for name, step in found.outside.items()]
    for (source, output), correlation in found.with_inputs.items():
        said.append(about_input(correlation, source, output, delays.get(source.partition("[")[0], set())))
    for output, test in found.whiteness.items():
        own = delays.get(output.partition("[")[0], set()) | delays.get(measured_name(output.partition("[")[0]), set())
        said.append(about_whiteness(test, found.own[output], output, own, _free_run_as_good(found, output)))
    said += [about_coverage(share, output) for output, share in found.coverage.items()]
    if known.std:
        said += [about_normality(test, output) for output, test in found.normality.items()]
    return tuple(sentence for sentence in said if sentence)


def about_input(correlation: Correlation, source: str, output: str, delays: Collection[int]) -> str | None:
    """Residuals that an input explains: a delay is missing, or what is done with it is too simple.

    Args:
        correlation: Of residuals with the input.
        source: The input.
        output: Whose residuals they are.
        delays: Those through which the network reads the input.

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
            f"{start} {-lag} steps later {numbers}: {source} seems to be made from {output}, as by a controller. What "
            "it causes and what it answers to are then hard to tell apart."
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
    """Residuals that their own past explains.

    Args:
        test: Ljung-Box test of the residuals.
        correlation: Of the residuals with their past.
        output: Whose residuals they are.
        delays: Those through which the network reads that output's past.
        free_run_as_good: Whether a free run errs no more than these residuals, which are one step ahead. Then noise was
            added to the measurement: y + v leaves residuals v(t) − Σ_d θ(d) v(t−d), which are correlated even for the
            true system.
    """
    if test.p_value >= FALSE_ALARM_RATE:
        return None
    lag = correlation.strongest()
    value = correlation.values[correlation.lags == lag][0]
    start = (
        f"Residuals of {output} are not white (Ljung-Box p {p_in_words(test.p_value)}), most at lag {lag} ({value:.2f})"
    )
    if free_run_as_good and value < 0:
        return (
            f"{start}, as noise of the measurement leaves them, which a prediction one step ahead relies on. The free "
            "run errs no more, so a larger network would not help: judge by the free run."
        )
    if lag in delays:
        return f"{start}, although the network reads that delay: try more hidden neurons or longer training."
    return f"{start}: their past could predict them. Try feedback delay {lag}."


def about_normality(test: HypothesisTest, output: str) -> str | None:
    """Error bars of residuals that are not Gaussian."""
    if test.p_value >= FALSE_ALARM_RATE:
        return None
    return (
        f"Residuals of {output} are not Gaussian (p {p_in_words(test.p_value)}), but error bars take them to be. Look "
        "at the histogram for outliers."
    )


def about_coverage(share: float, output: str, nominal: float = TWO_SIGMA_COVERAGE) -> str | None:
    """Error bars that hold too few or too many measurements."""
    if abs(share - nominal) <= COVERAGE_TOLERANCE:
        return None
    which = "too narrow: do not rely on them" if share < nominal else "too wide"
    return f"Coverage of the bands of {output} is {100 * share:.0f} %, nominal {100 * nominal:.0f} %: they are {which}."


def about_range(name: str, step: int | None, is_output: bool) -> str | None:
    """A record that asks for what the network has never seen."""
    if step is None:
        return None
    if is_output:
        return (
            f"The free run of {name} left the training range at step {step}: from there on the network extrapolates. "
            "Train on records that go further."
        )
    return f"The input {name} leaves the training range at step {step} of the record: what follows is extrapolation."


def about_divergence(kind: str, step: int) -> str:
    """A run that left what it models."""
    return (
        f"The prediction {kind!r} diverged at step {step}. Train over growing horizons (lddn.fit_closed_loop), or with "
        "regularization."
    )


def about_stability(found: Stability) -> str | None:
    """A loop in which disturbances grow."""
    if not np.isfinite(found.exponent) or found.exponent <= 0:
        return None
    growth = np.expm1(found.exponent)
    return (
        f"The closed loop is unstable along the record: a disturbance grows by {100 * growth:.1f} % per step (Lyapunov "
        f"exponent {found.exponent:.3g}), so small errors of a free run do not stay small."
    )


def about_persistence(model: Score, persistence: Score) -> str | None:
    """A model that is no better than none."""
    if model.rmse < persistence.rmse:
        return None
    return (
        f"One step ahead the network (RMSE {model.rmse:.3g}) is no better than repeating the last measurement "
        f"({persistence.rmse:.3g}): it has learned nothing yet."
    )


def about_free_run(score: Score) -> str | None:
    """A free run that does not follow the record."""
    if not np.isfinite(score.nrmse) or score.nrmse <= POOR_NRMSE:  # a run that diverged is spoken of elsewhere
        return None
    return (
        f"The free run misses {100 * score.nrmse:.0f} % of the deviation of the record (fit {score.fit:.0f} %): it "
        "is not a simulation model yet. Train over longer horizons."
    )


def about_stop(stop_reason: str | None, history: Mapping[str, Any]) -> str | None:
    """Training that broke off, or ended while there was something to gain."""
    if stop_reason == "non_finite":
        return "Training left the finite numbers and was stopped: try a smaller learning rate, or scale the signals."
    losses = np.asarray(history["loss"], float)
    if stop_reason != "epochs" or len(losses) < 20:
        return None
    tail = losses[-(len(losses) // 10) :]
    horizons = np.nan_to_num(np.asarray(history["horizon"] if "horizon" in history else np.zeros(len(losses)), float))
    comparable = (horizons[-len(tail) :] == horizons[-1]).all() and np.isfinite(tail).all()
    if not comparable or tail[-1] > STILL_FALLING_RATIO * tail[0]:
        return None
    fell = 1 - tail[-1] / tail[0]
    return f"The training loss still fell by {100 * fell:.0f} % in the last {len(tail)} epochs: pass more epochs."


def p_in_words(p: float) -> str:
    """A p-value with as many digits as mean something."""
    return f"= {p:.1g}" if p > 1e-12 else "< 1e-12"


def _free_run_as_good(found: Diagnosis, output: str) -> bool:
    """Whether a free run errs no more than a prediction one step ahead."""
    if not {ONE_STEP, FREE_RUN} <= found.scores.keys():
        return False
    return found.scores[FREE_RUN].by_output[output].rmse <= found.scores[ONE_STEP].by_output[output].rmse


def _beyond_chance(correlation: Correlation) -> int | None:
    lag = correlation.strongest()
    return lag if lag in correlation.outside(1 - FALSE_ALARM_RATE / len(correlation.lags)) else None
