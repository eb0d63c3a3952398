"""Mistakes in folds, in the training on everything, and in frames of several structures."""

from planting import alter, caught_by

from lddn_jax.data.fold_blocks import Folds
from lddn_jax.identification.frames import masked
from lddn_jax.identification.measured_states import measured_states
from lddn_jax.identification.one_step_starts import OneStepStarts
from lddn_jax.trainers.cross_validated import best_restarts
from lddn_jax.trainers.refitting import _passed, trained_on_everything


@caught_by("test_fold_blocks.py::test_training_sequences_have_no_weight_in_blocks[1-None-state space-trained]")
def held_out_blocks_trained_on(monkeypatch):
    """Weights of training are not zero in held-out blocks."""
    alter(monkeypatch, Folds.data, "for m in (~held, held)", "for m in (held | True, held)")


@caught_by("test_fold_training.py::test_first_states_on_everything_are_those_that_the_networks_pass[two of them]")
def states_of_another_row(monkeypatch):
    """The training on everything starts from the states one row later."""
    alter(monkeypatch, _passed, "j, step]", "j, step + 1]")


@caught_by("test_frames.py::test_what_a_structure_does_not_have_stays_exactly_zero[fewer neurons]")
def frame_without_a_mask(monkeypatch):
    """Neurons that a structure does not have start with weights."""
    alter(monkeypatch, masked, "np.arange(size) < sizes.get(name, size)", "np.arange(size) < size")


@caught_by("test_fold_blocks.py::test_no_piece_is_longer_than_it_may_be_and_none_is_empty[1-unequal records-13]")
def stretches_not_divided(monkeypatch):
    """Long stretches of training samples are one sequence."""
    alter(monkeypatch, Folds._cut, "if self.piece is None", "if True")


@caught_by("test_fold_training.py::test_some_members_are_trained_as_among_all[three]")
def states_of_other_members(monkeypatch):
    """If some members are trained, they start from the first states of the first ones."""
    alter(
        monkeypatch, trained_on_everything, "_states_on_folds(found, members,", "_states_on_folds(found, range(count),"
    )


@caught_by("test_fold_training.py::test_networks_that_explode_under_stress_are_not_kept[the best explodes]")
def networks_that_explode_kept(monkeypatch):
    """The best networks of a fold are kept, whether they stay bounded under stress or not."""
    alter(monkeypatch, best_restarts, "bounded[close].any()", "False")


@caught_by(
    "test_one_step_starts.py::test_a_state_space_computes_in_free_run_what_the_static_network_does_one_step_ahead[smallest]"
)
def past_outputs_in_wrong_order(monkeypatch):
    """The oldest output takes the place of the newest."""
    alter(monkeypatch, OneStepStarts._weights, "A[row, row - size] = 1", "A[row, row] = 1")


@caught_by("test_measured_states.py::test_states_are_the_measured_values_before")
def inputs_of_the_same_row(monkeypatch):
    """Measured states begin with the input of their own row, and not with the one before."""
    alter(monkeypatch, measured_states, "for k in range(1, q)", "for k in range(q - 1)")
