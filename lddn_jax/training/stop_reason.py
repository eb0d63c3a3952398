"""Stop reasons of training, and flags that note unusual events of a run."""

import enum
from collections.abc import Sequence
from typing import ClassVar

from lddn_jax.errors import LDDNError


class StopReason(str):
    """Why training stopped: a string that equals its name, `fitted.stop_reason == "goal"`.

    The built-in reasons are `StopReason.GOAL`, `StopReason.EPOCHS` and so on. Trainers and callbacks may define others;
    results, checkpoints and reports handle them in the same way.

    Args:
        name: Short name, used in `to_dict()` and file headers.
        meaning: Description, printed after "stopped after 20 epochs: ". Omit it for a built-in reason.
        success: False if training failed or was interrupted. Then the network with the smallest loss is returned, and
            `fitted.raise_for_status()` raises.

    Raises:
        LDDNError: If the name is not built in and no meaning is given, or a built-in name is given another meaning.

    Attributes:
        meaning: Description of the reason.
        success: True if training ended normally.

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
                "omit the meaning."
            )
        if meaning is None:
            raise LDDNError(
                f"stop reason {name!r} is unknown; known are {list(_KNOWN)}. To define a new one, write "
                f'lddn.StopReason({name!r}, "what it means").'
            )
        reason = str.__new__(cls, name)
        reason.meaning, reason.success = meaning, success
        return reason

    def __reduce__(self):
        return StopReason, (str(self), self.meaning, self.success)

    @property
    def cut_short(self) -> bool:
        """True if the run was interrupted or timed out; training at later horizons is then skipped."""
        return self in (StopReason.INTERRUPTED, StopReason.TIME)

    def to_json(self) -> str | list:
        """Returns the name of a built-in reason, or name, meaning and success of another, for a JSON file header."""
        return str(self) if str(self) in _KNOWN else [str(self), self.meaning, self.success]

    @classmethod
    def of(cls, given: "str | Sequence") -> "StopReason":
        """Converts a reason, the name of a built-in reason, or the result of `to_json` to a reason.

        Raises:
            LDDNError: If the name is unknown.
        """
        return given if isinstance(given, cls) else cls(given) if isinstance(given, str) else cls(*given)


_KNOWN: dict[str, StopReason] = {}
for _name, _meaning, _success in (
    ("epochs", "all epochs were run", True),
    ("goal", "the loss reached the goal", True),
    ("min_grad", "the gradient is smaller than min_grad", True),
    ("converged", "alpha, beta, gamma and the evidence have converged", True),
    ("mu_max", "the damping exceeded mu_max: no step makes the loss smaller", True),
    ("max_fail", "the validation loss did not improve for max_fail epochs", True),
    ("no_progress", "the quantity monitored by EarlyStopping stopped improving", True),
    ("time", "the time limit was reached", True),
    ("callback", "a callback stopped training", True),
    ("max_steps", "the maximum number of steps was reached", True),
    ("small_step", "the step became too short to change the parameters", True),
    ("small_gain", "the decrease of the loss was at the level of rounding errors", True),
    ("interrupted", "training was interrupted; the best network so far is returned", False),
    ("unfinished", "the run had not ended when it was saved; resume it with fit(..., resume=...)", False),
    ("diverged", "the loss diverged; the best network before that is returned", False),
    (
        "non_finite",
        "loss, gradient or evidence became NaN or infinite; the best network before that is returned",
        False,
    ),
):
    _KNOWN[_name] = StopReason(_name, _meaning, _success)
    setattr(StopReason, _name.upper(), _KNOWN[_name])


class Flag(enum.StrEnum):
    """A note on an unusual event of a run; a string that equals its name.

    Attributes:
        meaning: Description of the flag.
    """

    meaning: str

    def __new__(cls, name: str, meaning: str):  # noqa: D102
        flag = str.__new__(cls, name)
        flag._value_, flag.meaning = name, meaning
        return flag

    RESUMED = "resumed", "the run was resumed from a saved one"
    ENVIRONMENT_CHANGED = "environment_changed", "the run was resumed with other versions or on another device"
    RESTARTS_LOST = "restarts_lost", "some of the networks became NaN or infinite"
    NON_FINITE_TRIALS = "non_finite_trials", "some trial steps were not finite and were rejected"
    CONSTANT_INPUT = "constant_input", "an input does not vary in the training data"
    CONSTANT_TARGET = "constant_target", "a target does not vary in the training data"
    FEW_TARGETS = "few_targets", "the network has more weights and biases than there are measured targets"
    UNREACHABLE_TARGETS = "unreachable_targets", "targets lie outside of what an output layer can reach"
    UNEQUAL_SCALES = "unequal_scales", "signals or sequences differ widely in size"
    NOTHING_LEARNED = "nothing_learned", "the loss is not below that of predicting the mean of the targets"
    FREE_RUN_DIVERGES = "free_run_diverges", "the free run diverges on the network's own records"
    REGULARIZED_DIVERGES = (
        "regularized_diverges",
        "the regularized network diverges, so the one before regularization is returned",
    )
    FLOORS = "floors", "the last re-estimate of alpha or beta was limited by a floor"
