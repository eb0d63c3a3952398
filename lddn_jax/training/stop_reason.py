"""How a run ended: why it stopped, and what else is to be known of it."""

import enum

from lddn_jax.errors import LDDNError


class AbstractOutcome(enum.StrEnum):
    """A name that comes with its meaning in words."""

    meaning: str

    def __new__(cls, name: str, meaning: str):  # noqa: D102
        outcome = str.__new__(cls, name)
        outcome._value_, outcome.meaning = name, meaning
        return outcome


class StopReason(AbstractOutcome):
    """Why training stopped; each equals its name as a text, `fitted.stop_reason == "goal"`.

    Attributes:
        meaning: The reason in words.

    Example:
        >>> StopReason.GOAL == "goal", StopReason("max_fail").meaning
        (True, 'the validation loss did not improve for max_fail epochs')
    """

    EPOCHS = "epochs", "all epochs were run"
    GOAL = "goal", "the loss reached the goal"
    MIN_GRAD = "min_grad", "the gradient is smaller than min_grad"
    CONVERGED = "converged", "alpha, beta, gamma and the evidence have settled"
    MU_MAX = "mu_max", "the damping exceeded mu_max: no step makes the loss smaller"
    MAX_FAIL = "max_fail", "the validation loss did not improve for max_fail epochs"
    NO_PROGRESS = "no_progress", "what EarlyStopping watches did not improve any more"
    TIME = "time", "the time was up"
    CALLBACK = "callback", "a callback asked for it"
    MAX_STEPS = "max_steps", "all steps were taken"
    SMALL_STEP = "small_step", "the step became too short to change the parameters"
    SMALL_GAIN = "small_gain", "the loss became smaller by rounding only"
    INTERRUPTED = "interrupted", "it was interrupted; what was best so far is returned"
    UNFINISHED = "unfinished", "it had not ended when this was saved; go on with fit(..., resume=...)"
    DIVERGED = "diverged", "the loss grew far beyond what it had been; what was best before is returned"
    NON_FINITE = "non_finite", "the loss left the finite numbers; what was best before is returned"

    @property
    def success(self) -> bool:
        """Whether training came to an end, and did not break off."""
        broke_off = (StopReason.INTERRUPTED, StopReason.UNFINISHED, StopReason.DIVERGED, StopReason.NON_FINITE)
        return self not in broke_off

    @property
    def cut_short(self) -> bool:
        """Whether somebody wants an end: what was to follow is left out."""
        return self in (StopReason.INTERRUPTED, StopReason.TIME)

    @classmethod
    def of(cls, name: str) -> "StopReason":
        """Returns the reason of that name.

        Raises:
            LDDNError: If there is none.
        """
        try:
            return cls(name)
        except ValueError:
            raise LDDNError(f"stop reason {name!r} is unknown; known are {[str(reason) for reason in cls]}.") from None


class Flag(AbstractOutcome):
    """What a reader of a result should know besides; each equals its name as a text.

    Attributes:
        meaning: The flag in words.
    """

    RESUMED = "resumed", "it went on from a saved run"
    ENVIRONMENT_CHANGED = "environment_changed", "it went on with other versions or on another device than it began"
    RESTARTS_LOST = "restarts_lost", "some of the networks left the finite numbers"
    NON_FINITE_TRIALS = "non_finite_trials", "some trial steps were not finite and were rejected"
    FLOORS = "floors", "the last re-estimate of alpha or beta was held back by a floor"
