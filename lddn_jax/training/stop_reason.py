"""How a run ended: why it stopped, and what else is to be known of it."""

import enum
from collections.abc import Sequence
from typing import ClassVar

from lddn_jax.errors import LDDNError


class StopReason(str):
    """Why training stopped; it equals its name as a text, `fitted.stop_reason == "goal"`.

    Those of this package are `StopReason.GOAL` and so on. A trainer or a callback may make one of its own, which
    results, checkpoints and reports then carry like any other.

    Args:
        name: A short name, as in `to_dict()` and file headers.
        meaning: The reason in words, as "stopped after 20 epochs: ..." is to continue. Left out, the name must be that
            of a known reason.
        success: Whether training came to an end, and did not break off. Where it broke off, the network of the smallest
            loss is returned, and `fitted.raise_for_status()` raises.

    Raises:
        LDDNError: If there is no known reason of that name and no meaning is given, or the name of a known reason is
            given another meaning.

    Attributes:
        meaning: The reason in words.
        success: Whether training came to an end, and did not break off.

    Example:
        >>> StopReason.GOAL == "goal", StopReason("max_fail").meaning
        (True, 'the validation loss did not improve for max_fail epochs')
        >>> StopReason("quiet", "the weights have stopped moving").success
        True
    """

    meaning: str
    success: bool

    EPOCHS: ClassVar["StopReason"]
    GOAL: ClassVar["StopReason"]
    MIN_GRAD: ClassVar["StopReason"]
    CONVERGED: ClassVar["StopReason"]
    MU_MAX: ClassVar["StopReason"]
    MAX_FAIL: ClassVar["StopReason"]
    NO_PROGRESS: ClassVar["StopReason"]
    TIME: ClassVar["StopReason"]
    CALLBACK: ClassVar["StopReason"]
    MAX_STEPS: ClassVar["StopReason"]
    SMALL_STEP: ClassVar["StopReason"]
    SMALL_GAIN: ClassVar["StopReason"]
    INTERRUPTED: ClassVar["StopReason"]
    UNFINISHED: ClassVar["StopReason"]
    DIVERGED: ClassVar["StopReason"]
    NON_FINITE: ClassVar["StopReason"]

    def __new__(cls, name: str, meaning: str | None = None, success: bool = True):  # noqa: D102
        known = _KNOWN.get(name)
        if known is not None and meaning in (None, known.meaning):
            return known
        if known is not None:
            raise LDDNError(
                f"StopReason({str(name)!r}, {meaning!r}): that name means {known.meaning!r}. Choose another name, or "
                "leave the meaning out."
            )
        if meaning is None:
            raise LDDNError(
                f"stop reason {name!r} is unknown; known are {list(_KNOWN)}. Write lddn.StopReason({name!r}, "
                '"what it means") for one of your own.'
            )
        reason = str.__new__(cls, name)
        reason.meaning, reason.success = meaning, success
        return reason

    def __reduce__(self):
        return StopReason, (str(self), self.meaning, self.success)

    @property
    def cut_short(self) -> bool:
        """Whether the run was stopped early on request: what was to follow is left out."""
        return self in (StopReason.INTERRUPTED, StopReason.TIME)

    def to_json(self) -> str | list:
        """As file headers hold it: its name, or of one that this package does not know all of it."""
        return str(self) if str(self) in _KNOWN else [str(self), self.meaning, self.success]

    @classmethod
    def of(cls, given: "str | Sequence") -> "StopReason":
        """Returns the reason that was given: itself, by its name, or as `to_json` wrote it.

        Raises:
            LDDNError: If there is none.
        """
        return given if isinstance(given, cls) else cls(given) if isinstance(given, str) else cls(*given)


_KNOWN: dict[str, StopReason] = {}
for _name, _meaning, _success in (
    ("epochs", "all epochs were run", True),
    ("goal", "the loss reached the goal", True),
    ("min_grad", "the gradient is smaller than min_grad", True),
    ("converged", "alpha, beta, gamma and the evidence have settled", True),
    ("mu_max", "the damping exceeded mu_max: no step makes the loss smaller", True),
    ("max_fail", "the validation loss did not improve for max_fail epochs", True),
    ("no_progress", "what EarlyStopping watches did not improve any more", True),
    ("time", "the time was up", True),
    ("callback", "a callback asked for it", True),
    ("max_steps", "all steps were taken", True),
    ("small_step", "the step became too short to change the parameters", True),
    ("small_gain", "the loss became smaller by rounding only", True),
    ("interrupted", "it was interrupted; what was best so far is returned", False),
    ("unfinished", "it had not ended when this was saved; resume it with fit(..., resume=...)", False),
    ("diverged", "the loss grew far beyond what it had been; what was best before is returned", False),
    ("non_finite", "the loss became NaN or infinite; what was best before is returned", False),
):
    _KNOWN[_name] = StopReason(_name, _meaning, _success)
    setattr(StopReason, _name.upper(), _KNOWN[_name])


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

    RESUMED = "resumed", "it was resumed from a saved run"
    ENVIRONMENT_CHANGED = "environment_changed", "it was resumed with other versions or on another device than it began"
    RESTARTS_LOST = "restarts_lost", "some of the networks became NaN or infinite"
    NON_FINITE_TRIALS = "non_finite_trials", "some trial steps were not finite and were rejected"
    FLOORS = "floors", "the last re-estimate of alpha or beta was held back by a floor"
