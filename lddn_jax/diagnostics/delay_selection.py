"""Delay selection: input and feedback delays suggested by the data, before any network is trained.

Every source s (an input u, or an output's own past y) at every delay d is a candidate regressor in a linear model of y,

    y(t) = Σ_s Σ_d θ_s(d) s(t−d) + c + e(t)

and the *partial correlation* of a candidate is its correlation with y after the effect of all other candidates in the
model is removed: ρ = τ / √(τ² + ν), with τ = θ / std(θ) and ν the degrees of freedom. A slowly varying input, which is
correlated with its own past, therefore does not suggest delays that the system does not have, as it would by the plain
correlation.

Backward elimination removes the weakest candidate until all that remain are significant at level / candidates
(Bonferroni). If no source influences y, the probability that any delay is suggested is about `level` at most.

Only linear dependence is detected: y = u² with a symmetric u has no correlation with u. The noise e is assumed to enter
the system (equation error); if it is added to the measurement of y instead, further past values of y help the
prediction and more delays are suggested than the system has.

Draper & Smith, *Applied Regression Analysis*, 3rd ed., ch. 15; Billings, *Nonlinear System Identification*, 2013,
ch. 3.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from lddn_jax.data.records import Records, holds_records
from lddn_jax.data.stacking import stack
from lddn_jax.diagnostics.lagged import channel, channels, past, standardized
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.losses import counted
from lddn_jax.network.signals import ArrayOrList, Signals
from lddn_jax.numerics.text_table import aligned


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate regressor, one source at one delay, with its statistics.

    Attributes:
        target: The output that is predicted.
        source: An input, or an output whose past values are the regressor.
        delay: In samples.
        correlation: Plain correlation with the target.
        partial: Partial correlation, given the candidates that were kept.
        p_value: Probability of a partial correlation at least this large by chance.
        suggested: True if the candidate was kept.
    """

    target: str
    source: str
    delay: int
    correlation: float
    partial: float
    p_value: float
    suggested: bool


@dataclass(frozen=True)
class SuggestedDelays:
    """Suggested delays, returned by `suggest_delays`; `print` shows a table.

    Attributes:
        candidates: All candidates that were tested.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        samples: Number of time steps used.
        level: Significance level.
    """

    candidates: tuple[Candidate, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    samples: int
    level: float

    def of(self, source: str) -> tuple[int, ...]:
        """Returns the suggested delays of an input or of an output's past, over all targets."""
        if source not in (*self.inputs, *self.outputs):
            raise DataError(f"there is no source {source!r}; sources are {[*self.inputs, *self.outputs]}.")
        return tuple(sorted({c.delay for c in self.candidates if c.suggested and c.source == source}))

    @property
    def input_delays(self) -> tuple[int, ...]:
        """Suggested delays over all inputs, for `lddn_jax.models.narx(input_delays=...)`."""
        return tuple(sorted({d for name in self.inputs for d in self.of(name)}))

    @property
    def feedback_delays(self) -> tuple[int, ...]:
        """Suggested delays over all outputs, for `lddn_jax.models.narx(feedback_delays=...)`."""
        return tuple(sorted({d for name in self.outputs for d in self.of(name)}))

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`."""
        return {
            "input_delays": list(self.input_delays),
            "feedback_delays": list(self.feedback_delays),
            "samples": self.samples,
            "level": self.level,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }

    def __str__(self):
        lines = [f"input delays {list(self.input_delays)}, feedback delays {list(self.feedback_delays)}"]
        rows = [("target", "source", "delay", "correlation", "partial", "p", "")]
        for c in self.candidates:
            numbers = f"{c.correlation:.3f}", f"{c.partial:.3f}", f"{c.p_value:.2g}"
            rows.append((c.target, c.source, str(c.delay), *numbers, "<- suggested" if c.suggested else ""))
        return "\n".join([*lines, *aligned(rows, "<<>>>><")])


# `(time,)` or `(*batch, time, 1)` by name, or one bare array.
SourcesLike: TypeAlias = Mapping[str, ArrayOrList] | ArrayOrList | None


def suggest_delays(
    inputs: SourcesLike | Records,
    outputs: SourcesLike = None,
    *,
    longest: int = 10,
    shortest: int = 0,
    level: float = 0.01,
) -> SuggestedDelays:
    """Suggests input and feedback delays from data, by partial correlation and backward elimination.

    Args:
        inputs: `lddn_jax.data.Record`s, which contain inputs and targets; or signals `(*batch, time, 1)` or `(time,)`
            by name; or one array, named "u"; None or `{}` for no input. NaN marks missing values: time steps whose
            regressors contain one are dropped.
        outputs: Signals `(*batch, time, 1)` or `(time,)` by name, or one array, named "y". Omit if records are given.
        longest: Longest delay to test, in samples.
        shortest: Shortest input delay to test: 1 if an input cannot act within the same sample.
        level: Significance level: the probability that any delay is suggested although no source influences the output.

    Returns:
        `SuggestedDelays` with `input_delays`, `feedback_delays` and the statistics of each candidate.

    Raises:
        DataError: If there are too few time steps without missing values, or no outputs.
        ShapeError: If shapes differ.

    Example:
        >>> import numpy as np
        >>> u, e = np.random.default_rng(0).normal(size=(2, 500))
        >>> y = np.zeros(500)
        >>> for t in range(3, 500):
        ...     y[t] = 0.6 * y[t - 1] + u[t - 3] + 0.1 * e[t]
        >>> found = suggest_delays(u, y, longest=5)
        >>> found.input_delays, found.feedback_delays
        ((3,), (1,))
    """
    if not (0 <= shortest <= longest and longest >= 1 and 0 < level < 1):
        raise DataError(
            f"suggest_delays: shortest={shortest}, longest={longest}, level={level}; needed: 0 ≤ shortest ≤ longest, "
            "longest ≥ 1 and a level between 0 and 1."
        )
    if holds_records(inputs) and outputs is None:
        together = stack(inputs)
        inputs = channels(cast(Signals, together.inputs))
        outputs = channels(counted(cast(Signals, together.targets), together.weights))
    elif outputs is None or holds_records(inputs):
        raise DataError(
            "suggest_delays takes records alone, or inputs and outputs: suggest_delays({'u': u}, {'y': y})."
        )
    inputs = cast(SourcesLike, inputs)
    given_inputs: Mapping[str, Any] = {} if inputs is None else inputs if isinstance(inputs, Mapping) else {"u": inputs}
    given_outputs: Mapping[str, Any] = outputs if isinstance(outputs, Mapping) else {"y": outputs}
    signals = {
        name: channel(f"signal {name!r}", signal) for name, signal in (*given_inputs.items(), *given_outputs.items())
    }
    shapes = {name: signal.shape for name, signal in signals.items()}
    if len(shapes) < len(given_inputs) + len(given_outputs) or len(set(shapes.values())) > 1:
        raise ShapeError(f"signals need different names and one shape; (records, time) are {shapes}.")
    names = [(name, d) for name in given_inputs for d in range(shortest, longest + 1)]
    names += [(name, d) for name in given_outputs for d in range(1, longest + 1)]
    lines = {name: past(standardized(signal), longest) for name, signal in signals.items()}
    X = np.stack([lines[name][..., d].ravel() for name, d in names], axis=1)
    Y = np.stack([lines[name][..., 0].ravel() for name in given_outputs], axis=1)
    known = ~np.isnan(X).any(axis=1) & ~np.isnan(Y).any(axis=1)
    X, Y = X[known], Y[known]
    if len(X) < 2 * X.shape[1] + 10:
        raise DataError(
            f"suggest_delays: {len(X)} steps without missing values are too few to test {X.shape[1]} candidates; "
            f"needed are {2 * X.shape[1] + 10}. Pass longest < {longest}, or a longer record."
        )
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    candidates = []
    for k, target in enumerate(given_outputs):
        kept, partial, p_value = _eliminate(X, Y[:, k], level)
        with np.errstate(invalid="ignore", divide="ignore"):
            plain = np.nan_to_num(X.T @ Y[:, k] / np.sqrt(np.sum(X**2, axis=0) * np.sum(Y[:, k] ** 2)))
        candidates += [
            Candidate(
                target=target,
                source=name,
                delay=d,
                correlation=float(plain[c]),
                partial=float(partial[c]),
                p_value=float(p_value[c]),
                suggested=bool(kept[c]),
            )
            for c, (name, d) in enumerate(names)
        ]
    return SuggestedDelays(tuple(candidates), tuple(given_inputs), tuple(given_outputs), len(X), level)


def _eliminate(
    X: Float[np.ndarray, "steps candidates"], y: Float[np.ndarray, " steps"], level: float
) -> tuple[Bool[np.ndarray, " candidates"], Float[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
    """Backward elimination: the columns kept, and partial correlations and p-values when last in the model."""
    steps, count = X.shape
    kept = np.full(count, True)
    partial, p_value = np.zeros(count), np.ones(count)
    while kept.any():
        degrees = steps - 1 - int(kept.sum())
        Q, R = np.linalg.qr(X[:, kept])
        scale = np.abs(np.diag(R))
        if (scale <= 1e-10 * np.sqrt(steps)).any():  # linearly dependent on earlier columns
            kept[np.flatnonzero(kept)[np.argmin(scale)]] = False
            continue
        inverse = np.linalg.inv(R)
        theta = inverse @ (Q.T @ y)
        error = np.sum((y - X[:, kept] @ theta) ** 2)
        tiny = np.finfo(float).tiny
        tau = theta / np.sqrt(np.maximum(np.sum(inverse**2, axis=1) * error / degrees, tiny))
        partial[kept], p_value[kept] = tau / np.sqrt(tau**2 + degrees), 2 * stats.t.sf(np.abs(tau), degrees)
        weakest = np.flatnonzero(kept)[np.argmin(np.abs(tau))]
        if p_value[weakest] <= level / count:
            break
        kept[weakest] = False
    return kept, partial, p_value
