"""Mistakes in the loop, in what ends it, and in what it returns."""

from planting import alter, caught_by

from lddn_jax.network.initializers import Ignoring
from lddn_jax.trainers.adaptation import _step as one_sample
from lddn_jax.trainers.closed_loop import _steady, fit_closed_loop
from lddn_jax.trainers.initial_state import _of_a_sequence
from lddn_jax.training.callbacks.early_stopping import EarlyStopping
from lddn_jax.training.callbacks.time_limit import TimeLimit
from lddn_jax.training.compiled import Program, _step, compiled_part
from lddn_jax.training.data_notes import loss_of_mean
from lddn_jax.training.fit import _advanced, _finite
from lddn_jax.training.result import best_of_each
from lddn_jax.training.shared_states import check_shared
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.trainer import AbstractTrainer, Problem


@caught_by("test_training.py::test_validation_returns_the_best_network")
def last_network_for_the_best(monkeypatch):
    """Early stopping returns the network that it stopped at."""
    alter(monkeypatch, best_of_each, "if t.best is None:", "if True:")


@caught_by("test_training.py::test_an_exploding_loss_stops_with_a_finite_network")
def network_after_the_step_kept_as_the_lowest(monkeypatch):
    """The loss of a network is noted for the next one."""
    alter(monkeypatch, _advanced, "t.lowest.where(lower, t.trained, t.epoch", "t.lowest.where(lower, new, t.epoch")


@caught_by("test_callbacks.py::test_patience_ends")
def patience_longer_by_one(monkeypatch):
    """Training ends an epoch late."""
    alter(monkeypatch, EarlyStopping.on_step, ">= self._patience", "> self._patience")


@caught_by("test_training.py::test_the_last_mini_batch_counts_only_its_own_sequences")
def filled_up_batch_counted(monkeypatch):
    """Sequences that fill the last mini-batch up are trained on again."""
    alter(monkeypatch, Problem.take, "if known is not None:", "if known is not None and len(known) == 0:")


@caught_by("test_training.py::test_every_epoch_has_an_order_of_its_own")
def same_order_in_every_epoch(monkeypatch):
    """Mini-batches are drawn once, and come in that order in all epochs."""
    alter(monkeypatch, _step.__wrapped__, "jax.random.fold_in(key, taken)", "key")


@caught_by("test_training.py::test_one_trace_in_a_whole_fit[full]")
def compiled_at_every_step(monkeypatch):
    """A function is wrapped by `jax.jit` anew for every call."""
    right = "self._compiled(self._kind, self._platform, self._arrays, *changing)"
    function = "self._compiled.__wrapped__.__wrapped__"
    wrong = f"jax.jit(lambda *more: {function}(self._kind, self._platform, *more))(self._arrays, *changing)"
    alter(monkeypatch, Program.__call__, right, wrong)


@caught_by("test_adaptation.py::test_gradients_of_all_samples_add_up_to_that_of_the_record[narx-closed]")
def derivatives_forgotten_between_samples(monkeypatch):
    """Adaptation carries the delay state from sample to sample, but not its derivatives."""
    alter(monkeypatch, one_sample, "Adapting(after, lines, optimizer)", "Adapting(after, adapting.lines, optimizer)")


@caught_by("test_stop_reasons.py::test_a_reason_that_is_no_success_returns_the_network_of_the_smallest_loss")
def last_network_of_a_run_that_broke_off(monkeypatch):
    """A run that broke off for a reason of its own returns its last network."""
    alter(monkeypatch, best_of_each, "-np.inf if reason.success else value", "-np.inf")


@caught_by("test_stop_reasons.py::test_it_survives_a_checkpoint")
def reason_saved_without_its_meaning(monkeypatch):
    """What a trainer's own reason means is not in the file, but its name once more."""
    alter(monkeypatch, StopReason.to_json, "self.meaning", "str(self)")


@caught_by("test_callbacks.py::test_each_run_has_the_whole_time")
def clock_that_runs_on_over_all_fits(monkeypatch):
    """A time limit that was used up before ends the next fit after one step."""
    alter(monkeypatch, TimeLimit.on_start, "self._end is None or not self._shared", "self._end is None")


@caught_by("test_non_finite.py::test_numbers_other_than_the_loss_that_become_nan_end_a_run[gradient_norm-2]")
def gradient_that_may_become_nan(monkeypatch):
    """A run goes on as long as its loss is finite."""
    alter(monkeypatch, _finite, "in trainer.always_finite", 'in ("loss",)')


@caught_by("test_closed_loop.py::test_divergence_on_the_training_records_counts[smallest that stays]")
def divergence_on_the_training_records_ignored(monkeypatch):
    """Networks are chosen by their validation records alone."""
    alter(monkeypatch, _steady, "if diverged is None:", "if True:")


@caught_by("test_data_notes.py::test_the_loss_of_the_mean_is_that_of_the_best_constant[False]")
def mean_of_missing_targets(monkeypatch):
    """Missing targets count as zeros in the mean of all."""
    alter(monkeypatch, loss_of_mean, "weight = known *", "weight = np.ones_like(y) *")


@caught_by("test_initializers.py::test_ignored_elements_get_weight_zero_and_change_no_other[glorot]")
def ignored_elements_drawn(monkeypatch):
    """Elements that do not vary in training get random weights."""
    alter(monkeypatch, Ignoring.__call__, "k not in ignored.get(s, ())", "True")


@caught_by("test_recompilation.py::test_settings_that_no_step_reads_compile_nothing")
def initializer_in_the_key(monkeypatch):
    """Programs are compiled anew for every function that first weights are drawn by."""
    alter(monkeypatch, compiled_part, "None if name in unread else", "None if name in () else")


@caught_by("test_trained_states.py::test_validation_of_other_sequences[inputs]")
def validation_of_other_inputs(monkeypatch):
    """First states of the training data start a validation record that they do not belong to."""
    alter(monkeypatch, check_shared, "if unequal.any():", "if False:")


@caught_by("test_trained_states.py::test_stacked_networks_train_first_states")
def values_of_another_restart(monkeypatch):
    """Every restart is told to start from the first states of the first one."""
    alter(
        monkeypatch,
        AbstractTrainer.starts,
        "name: line if line.ndim == 4",
        "name: line[:1] * jnp.ones_like(line) if line.ndim == 4",
    )


@caught_by("test_initial_state.py::test_a_record_without_targets_keeps_its_state")
def guess_ignored(monkeypatch):
    """The estimate of first states starts from zeros, not from those of the data."""
    right = "jnp.isfinite(before), guess, 0)"
    alter(monkeypatch, _of_a_sequence, right, right.replace("guess", "jnp.zeros_like(guess)"))


@caught_by("test_initial_state.py::test_what_noise_would_explain_stays_near_the_guess")
def states_far_away(monkeypatch):
    """First states are estimated by least squares alone."""
    alter(monkeypatch, _of_a_sequence, "jnp.sqrt(variance) * (x - guess) / widths", "0 * x")


@caught_by("test_closed_loop.py::test_validation_ends_a_horizon")
def horizon_without_its_validation(monkeypatch):
    """Validation records choose among the results of a horizon, and never end it."""
    alter(monkeypatch, fit_closed_loop, "None if max_fail is None else _windows_of(", "None if True else _windows_of(")
