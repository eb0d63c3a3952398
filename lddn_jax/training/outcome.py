"""How a run ended: why it stopped, and what else is to be known of it."""

import enum

from lddn_jax.errors import LDDNError


class StopReason(enum.StrEnum):
    """Why training stopped; each equals its name as a text, `fitted.stop_reason == "goal"`.

    Attributes:
        meaning: The reason in words.
        success: Whether the network is what was asked for: False where training broke off.

    Example:
        >>> StopReason.GOAL == "goal", StopReason("max_fail").meaning
        (True, 'the validation loss did not improve for max_fail epochs')
    """

    meaning: str
    success: bool

    def __new__(cls, name: str, meaning: str, success: bool = True):  # noqa: D102
        reason = str.__new__(cls, name)
        reason._value_, reason.meaning, reason.success = name, meaning, success
        return reason

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
    INTERRUPTED = "interrupted", "it was interrupted; what was best so far is returned", False
    UNFINISHED = "unfinished", "it had not ended when this was saved; go on with fit(..., resume=...)", False
    DIVERGED = "diverged", "the loss grew far beyond what it had been; what was best before is returned", False
    NON_FINITE = "non_finite", "the loss left the finite numbers; what was best before is returned", False

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


class Flag(enum.StrEnum):
    """What a reader of a result should know besides; each equals its name as a text.

    Attributes:
        meaning: The flag in words.
    """

    meaning: str

    def __new__(cls, name: str, meaning: str):  # noqa: D102
        flag = str.__new__(cls, name)
        flag._value_, flag.meaning = name, meaning
        return flag

    RESUMED = "resumed", "it went on from a saved run"
    ENVIRONMENT_CHANGED = "environment_changed", "it went on with other versions or on another device than it began"
    RESTARTS_LOST = "restarts_lost", "some of the networks left the finite numbers"
    NON_FINITE_TRIALS = "non_finite_trials", "some trial steps were not finite and were rejected"
    FLOORS = "floors", "the last re-estimate of alpha or beta was held back by a floor"
