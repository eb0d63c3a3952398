"""Validation while first states are trained: on the same pieces of the record, from the same trained states.

A first state that is trained belongs to one piece of a record. Validation data with other pieces have no trained state;
run from a first guess, their loss would mostly measure that guess. So training and validation data are the same
sequences, and differ in what is scored: a block of the record is left out by error weights 0 in the training data, and
is the only one with weights in the validation data. The network is simulated through both.

    data       = Sequences(u, y, state, weights=w,     train_state=True)
    validation = Sequences(u, y, state, weights=1 - w, train_state=True)
"""

import numpy as np

from lddn_jax.errors import DataError, LDDNError
from lddn_jax.training.trainer import Problem

_FIX = (
    "Pass the sequences of data with other error weights: train on lddn.Sequences(u, y, state, w, train_state=True), "
    "and validate on lddn.Sequences(u, y, state, 1 - w, train_state=True). For other records, train without "
    "validation, and then start them from lddn.estimate_state(fitted.net, records)."
)


def check_shared(problem: Problem, validation: Problem) -> None:
    """Checks that validation data start from the states that are trained.

    Args:
        problem: The training data.
        validation: The validation data.

    Raises:
        LDDNError: If first states are trained in one of them only.
        DataError: If the sequences or the delay lines of inputs differ; targets and error weights may.
    """
    if not problem.trains_state and not validation.trains_state:
        return
    if not validation.trains_state:
        raise LDDNError(
            "fit: data has train_state=True and validation has not, so the validation would run from a first guess "
            f"that no step improves. {_FIX}"
        )
    if not problem.trains_state:
        raise LDDNError(
            "fit: validation has train_state=True and data has not, so no first state is trained. Pass "
            "train_state=True in both, or in neither."
        )
    if problem.sequences != validation.sequences:
        raise DataError(
            f"fit: first states are trained, one for each of the {problem.sequences} sequences of data, but validation "
            f"has {validation.sequences}. {_FIX}"
        )
    steps = min(problem.steps, validation.steps)  # one may be longer, since both begin with the same state
    for kind, ours, theirs in (
        ("input", problem.inputs, validation.inputs),
        ("delay line of input", problem.state, validation.state),
    ):
        for name in sorted(problem.inputs.keys() & ours.keys()):
            count = steps if kind == "input" else ours[name].shape[1]
            unequal = np.asarray(ours[name])[:, :count] != np.asarray(theirs[name])[:, :count]
            if unequal.any():
                sequence, time, _ = (int(index) for index in np.argwhere(unequal)[0])
                raise DataError(
                    f"fit: sequence {sequence} of validation is not sequence {sequence} of data: {kind} {name!r} "
                    f"differs at time index {time}, so the first state that is trained for one does not belong to the "
                    f"other. {_FIX}"
                )
