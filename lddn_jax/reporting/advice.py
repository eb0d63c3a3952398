"""Warnings about a model, each with a remedy, derived from the diagnostics.

Each function checks one diagnostic and returns a warning or None. Causes come before their symptoms: first a failed
training, the record, and inputs that the model misses, then bad predictions, then residuals that their past predicts.
Tests of residuals are left out where the record explains them. The bounds of correlations are corrected for the number
of lags (Bonferroni), so that each of them gives a false warning for a good model in 1 of 100 records.
"""

from collections.abc import Collection, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from lddn_jax.diagnostics import Correlation, HypothesisTest, Score, Stability
from lddn_jax.diagnostics.lagged import element_names
from lddn_jax.diagnostics.score_table import WORSE_THAN_MEAN
from lddn_jax.models import measured_name
from lddn_jax.numerics.text_table import digits
from lddn_jax.prediction.forecast_result import FREE_RUN, LINEAR, ONE_STEP, PERSISTENCE
from lddn_jax.reporting.evaluation import Evaluation
from lddn_jax.reporting.findings import Diagnosis
from lddn_jax.topology.topology import Topology
from lddn_jax.training.result import divergence_first

FALSE_ALARM_RATE = 0.01  # significance level of the tests
COVERAGE_TOLERANCE = 0.05  # allowed error of a coverage, whose estimate is uncertain because errors are correlated
TWO_SIGMA_COVERAGE = 2 * NormalDist().cdf(2) - 1  # nominal coverage of ± 2σ
POOR_NRMSE = 0.5  # NRMSE above which a free run is poor
NEGLIGIBLE_NRMSE = 1e-3  # NRMSE below which residuals do not matter
STILL_FALLING_RATIO = 0.8  # ratio of losses over the last tenth of the epochs, below which training is unfinished
LARGEST_EXPONENT = 50.0  # of which the growth is written out
MOST_ALIKE = 3  # warnings of one kind, about several signals
EXTRAPOLATED_SHARE = 0.05  # of the steps outside of the training range, above which it explains bad scores


def advise(known: Evaluation, found: Diagnosis) -> tuple[str, ...]:
    """Returns all warnings about a model, causes before symptoms."""
    extrapolates = any(e.count > EXTRAPOLATED_SHARE * e.total for e in found.outside.values())
    diverged = {*found.diverged}

    def of(kind: str) -> Mapping[str, Score]:
        return found.scores[kind].by_output

    perfect = all(found.scores[kind].all.nrmse <= NEGLIGIBLE_NRMSE for kind in known.models)
    warnings: list[str | None] = [*notes_as_warnings(known.notes)]
    # The last training of a competition, that on everything, is short on purpose.
    finished = perfect or (known.competition is not None and known.stop_reason == "epochs")
    warnings += [None if finished else about_stop(known.stop_reason, known.history), *found.remarks]
    warnings += [
        excursion.about(f"The {'measured' if name in known.measured else 'input'} {name}")
        for name, excursion in found.outside.items()
    ]
    by_inputs, by_past = ([], []) if extrapolates else _about_residuals(known, found)
    warnings += by_inputs
    warnings += [about_divergence(kind, step, known.history, known.simulates) for kind, step in found.diverged.items()]
    warnings += [about_stability(found.stability)] if found.stability is not None else []
    ahead = known.forecast.open_loop
    if PERSISTENCE in found.scores and ahead in found.scores and ahead not in diverged:
        pairs = {name: (score, found.scores[PERSISTENCE].by_output[name]) for name, score in of(ahead).items()}
        warnings += first_few(
            {
                name: about_persistence(*pair, extrapolates, ahead, name if len(pairs) > 1 else "")
                for name, pair in pairs.items()
            }
        )
    if FREE_RUN in found.scores and FREE_RUN not in diverged:
        warnings += first_few(
            {
                name: about_free_run(
                    score, known.history, extrapolates, name if len(of(FREE_RUN)) > 1 else "", known.simulates
                )
                for name, score in of(FREE_RUN).items()
            }
        )
        if LINEAR in found.scores:
            several = len(of(FREE_RUN)) > 1
            warnings += first_few(
                {
                    name: about_linear(score, of(LINEAR)[name], extrapolates, name if several else "")
                    for name, score in of(FREE_RUN).items()
                }
            )
        if not found.outside:
            warnings += [e.about(f"The free run of {name}") for name, e in found.free_run_outside.items()]
    warnings += by_past
    conformal = known.forecast.conformal
    if conformal is not None:
        shares = known.forecast.band_coverage
        warnings += first_few(
            {name: about_bands(share, name, conformal.coverage, extrapolates) for name, share in shares.items()}
        )
        warnings += [f"{note[:1].upper()}{note[1:]}." for note in conformal.notes]
    else:
        warnings += first_few({output: about_coverage(share, output) for output, share in found.coverage.items()})
    if known.std and conformal is None:  # conformal bands hold for any distribution
        warnings += first_few({output: about_normality(test, output) for output, test in found.normality.items()})
    return tuple(warning for warning in warnings if warning)


def notes_as_warnings(notes: Mapping[str, str]) -> list[str]:
    """Returns the notes on a training as sentences; that the free run diverges comes first.

    Example:
        >>> notes_as_warnings({"few_targets": "9 weights for 4 measured targets"})
        ['9 weights for 4 measured targets.']
    """
    first, rest = divergence_first(notes)
    return [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in (*first, *rest.values())]


def first_few(warnings: Mapping[str, str | None]) -> list[str]:
    """Returns the first three warnings, and the names of the others, about signals that all have the same problem.

    Example:
        >>> first_few({"a": "A.", "b": None, "c": "C.", "d": "D.", "e": "E."})
        ['A.', 'C.', 'D.', 'The same holds, with other numbers, for e.']
    """
    given = {name: warning for name, warning in warnings.items() if warning}
    others = list(given)[MOST_ALIKE:]
    more = [f"The same holds, with other numbers, for {', '.join(others)}."] if others else []
    return [*given.values()][:MOST_ALIKE] + more


def _about_residuals(known: Evaluation, found: Diagnosis) -> tuple[list[str], list[str]]:
    """Warnings of residuals that inputs explain, and that their past explains."""
    delays = delays_read(known.net.topology)
    nrmse = {name: [found.scores[kind].by_output[name].nrmse for kind in known.models] for name in found.whiteness}
    imperfect = [name for name, values in nrmse.items() if max(values) > NEGLIGIBLE_NRMSE]
    by_inputs = first_few(
        {
            f"{source} and {output}": about_input(
                correlation, source, output, delays.get(source, set()), known.simulates
            )
            for (source, output), correlation in found.with_inputs.items()
            if output in imperfect
        }
    )
    kind = known.forecast.open_loop
    by_past: list[str] = []
    if known.simulates:  # whose errors are correlated wherever the record has disturbances, even for the true system
        return by_inputs, by_past
    # Residuals of a useless model have the past of the output.
    useful = [name for name in found.whiteness if name in imperfect and nrmse[name][0] < 1]
    noisy = {name: _explained_by_noise(found, name, kind) for name in useful}
    for by_noise in False, True:
        by_past += first_few(
            {
                name: about_whiteness(
                    found.whiteness[name], found.own[name], name, delays.get(name, set()), by_noise, kind
                )
                for name in useful
                if noisy[name] == by_noise
            }
        )
    return by_inputs, by_past


def delays_read(topology: Topology) -> dict[str, set[int]]:
    """Returns at which delays each element of a signal is read; an output also by its measured values.

    Example:
        >>> import lddn_jax as lddn
        >>> delays_read(lddn.models.narx({"T [C]": 1}, {"y": 1}, input_delays=(3,)))["T [C]"]
        {3}
    """
    read: dict[str, set[int]] = {}
    for (_, source), delays in topology.delays.items():
        read.setdefault(source, set()).update(delays)
    for output in topology.outputs:
        read[output] = read.get(output, set()) | read.get(measured_name(output), set())
    sizes = topology.sizes
    return {label: delays for name, delays in read.items() for label in element_names(name, sizes[name])}


def about_input(
    correlation: Correlation, source: str, output: str, delays: Collection[int], simulates: bool = False
) -> str | None:
    """Warns of residuals that correlate with an input: a delay is missing, or the model is too simple.

    Args:
        correlation: Cross-correlation of the residuals with the input.
        source: Name of the input.
        output: Name of the output.
        delays: Delays at which the network reads the input.
        simulates: Whether the network has states of its own, whose number matters more than delays.

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
    if simulates:
        return (
            f"{start} at lag {lag} {numbers}: the model misses a part of the effect of {source}. Try more states, more "
            "hidden neurons, or longer training."
        )
    if lag in delays:
        return (
            f"{start} at lag {lag} {numbers}, although the network reads that delay: try further delays beside it, "
            "more hidden neurons, or longer training."
        )
    return f"{start} at lag {lag} {numbers}: try delay {lag}."


def about_whiteness(
    test: HypothesisTest,
    correlation: Correlation,
    output: str,
    delays: Collection[int] = (),
    by_noise: bool = False,
    ahead: str = ONE_STEP,
) -> str | None:
    """Warns of residuals that are not white.

    Args:
        test: Ljung-Box test of the residuals.
        correlation: Autocorrelation of the residuals.
        output: Name of the output.
        delays: Delays at which the network reads the past of that output.
        by_noise: Whether the errors of the free run are white and not larger than those with the loop open. Then they
            are measurement noise v, and residuals one step ahead are v(t) − Σ_d θ(d) v(t−d), which are correlated even
            for the true system.
        ahead: Kind of the predictions with the loop open.
    """
    lag = correlation.strongest()
    if test.p_value >= FALSE_ALARM_RATE or lag is None:
        return None
    value = correlation.values[correlation.lags == lag][0]
    start = (
        f"Residuals of {output} are not white (Ljung-Box p {p_in_words(test.p_value)}), most at lag {lag} ({value:.2f})"
    )
    if by_noise:
        return (
            f"{start}, as expected from measurement noise, which enters predictions {ahead}. The errors of the free "
            "run are white and not larger, so a larger network would not help: evaluate the model by its free run."
        )
    if lag in delays:
        return (
            f"{start}, although the network reads that delay: try feedback delay {max(delays) + 1} too, more hidden "
            "neurons, or longer training."
        )
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


def about_bands(share: float, output: str, nominal: float, extrapolates: bool = False) -> str | None:
    """Warns of conformal bands that contain too few measurements.

    Args:
        share: Share of the measurements within the bands.
        output: Name of the output.
        nominal: Share that they are to contain.
        extrapolates: Whether the record leaves the training range, for which nothing is promised.
    """
    if share >= nominal - COVERAGE_TOLERANCE:
        return None
    start = (
        f"The {100 * nominal:.4g} % bands of {output} contain only {100 * share:.0f} % of the measurements: errors are "
        "larger here than out of fold"
    )
    if extrapolates:
        return f"{start}, because the record leaves the training range. Train on records that cover this range."
    return f"{start}, so this record differs from the training records. Train on more of them."


def about_divergence(kind: str, step: int, history: Mapping[str, Any], simulates: bool = False) -> str:
    """Warns of a prediction that diverged."""
    return f"The prediction {kind!r} diverged at step {step}. {_remedy_of_free_run(history, simulates)}"


def about_stability(found: Stability) -> str | None:
    """Warns of a closed loop in which disturbances grow."""
    if found.growth != "grows" or not np.isfinite(found.exponent):
        return None
    growth = np.expm1(min(found.exponent, LARGEST_EXPONENT))
    by = f"{100 * growth:.1f} %" if growth < 1 else f"a factor of {digits(1 + growth)}"
    return (
        f"The closed loop is unstable along the record: a disturbance grows by {by} per step (Lyapunov exponent "
        f"{found.exponent:.3g}), so small errors of a free run do not stay small."
    )


def about_persistence(
    model: Score, persistence: Score, extrapolates: bool = False, ahead: str = ONE_STEP, output: str = ""
) -> str | None:
    """Warns of a model that is no better than persistence.

    Args:
        model: Score with the loop open.
        persistence: Score of the last measurement.
        extrapolates: Whether the record leaves the training range, which explains a bad score.
        ahead: Kind of the predictions with the loop open.
        output: Name of the output, if there are several.
    """
    if model.rmse < persistence.rmse or persistence.rmse == 0:
        return None
    start = (
        f"{ahead.capitalize()} the network{output and f' predicts {output}'} (RMSE {digits(model.rmse)}) "
        f"{'no better' if output else 'is no better'} than repeating the last measurement ({digits(persistence.rmse)})"
    )
    if extrapolates:
        return f"{start}, because it extrapolates: train on records that cover this range."
    return f"{start}: it has not learned the system. Train longer, or check the delays and the choice of inputs."


def about_linear(model: Score, linear: Score, extrapolates: bool = False, output: str = "") -> str | None:
    """Warns of a free run that is no better than that of a linear model.

    Args:
        model: Score of the free run.
        linear: Score of the free run of the linear model.
        extrapolates: Whether the record leaves the training range, which explains a bad score.
        output: Name of the output, if there are several.
    """
    if not np.isfinite(linear.rmse) or model.rmse < linear.rmse or linear.nrmse <= NEGLIGIBLE_NRMSE:
        return None
    start = (
        f"The free run{output and f' of {output}'} (RMSE {digits(model.rmse)}) is no better than that of a linear "
        f"model ({digits(linear.rmse)})"
    )
    if extrapolates:
        return f"{start}, because it extrapolates: use the linear model outside of the training range."
    return (
        f"{start}: nothing nonlinear was found in the training record. Use the linear model, or train longer from it."
    )


def about_free_run(
    score: Score, history: Mapping[str, Any], extrapolates: bool = False, output: str = "", simulates: bool = False
) -> str | None:
    """Warns of a free run with a large error.

    Args:
        score: Score of the free run.
        history: Training history, whose horizons decide on the remedy.
        extrapolates: Whether the record leaves the training range, which explains a bad score.
        output: Name of the output, if there are several.
        simulates: Whether the network has states of its own, which is trained on whole records.
    """
    if not np.isfinite(score.nrmse) or score.nrmse <= POOR_NRMSE:  # `about_divergence` warns of a diverged run
        return None
    run = f"The free run{output and f' of {output}'}"
    start = f"{run} misses {100 * score.nrmse:.0f} % of the standard deviation of the record"
    if score.nrmse >= 1:
        start = f"{run} is {WORSE_THAN_MEAN} of the record (NRMSE {digits(score.nrmse)})"
    if extrapolates:
        return f"{start}, because it extrapolates: train on records that cover this range."
    return f"{start}: the model cannot simulate yet. {_remedy_of_free_run(history, simulates)}"


def _remedy_of_free_run(history: Mapping[str, Any], simulates: bool = False) -> str:
    """What to try for a bad free run, after training with this history."""
    if simulates:
        return "Try more states or hidden neurons, longer training, or a longer record."
    horizons = np.asarray(history.get("horizon", []), float)
    if not len(history["loss"]) or (len(horizons) and np.isnan(horizons).any()):  # NaN is the whole record
        return "Try other delays, fewer hidden neurons with Bayesian regularization, or a longer record."
    return "Train over growing horizons up to the whole record, or try other delays."


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


def _explained_by_noise(found: Diagnosis, output: str, ahead: str) -> bool:
    """Whether the errors of the free run are those of the sensor: white, and not larger than those with open loop."""
    if not {ahead, FREE_RUN} <= found.scores.keys() or output not in found.free_run_whiteness:
        return False
    one, free = (found.scores[kind].by_output[output] for kind in (ahead, FREE_RUN))
    return free.rmse <= one.rmse and found.free_run_whiteness[output].p_value >= FALSE_ALARM_RATE


def _beyond_chance(correlation: Correlation) -> int | None:
    lag = correlation.strongest()
    return lag if lag in correlation.outside(1 - FALSE_ALARM_RATE / len(correlation.lags)) else None
