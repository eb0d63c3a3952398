"""Mistakes on the way from records to batches: division, scaling, delay states, padding."""

from planting import alter, caught_by

from lddn_jax.data.scaling import Standard
from lddn_jax.data.split import divide
from lddn_jax.data.stacking import joined
from lddn_jax.data.starts import WarmUp
from lddn_jax.data.windowing import _cut, _starts
from lddn_jax.identification.experiment import Experiment
from lddn_jax.prediction.scaled import Scaled

# --- scaling ----------------------------------------------------------------------------------------------------------


@caught_by("test_scaled.py::test_it_is_trained_on_the_scaled_record[jordan-MinMax]")
def inputs_scaled_twice(monkeypatch):
    """Inputs to train on are scaled once more."""
    right = "self.scaled_inputs(data.inputs)"
    alter(monkeypatch, Scaled.scale, right, f"self.scaled_inputs({right})")


@caught_by("test_experiment.py::test_scaling_is_found_on_the_training_part[state-space]")
def scaling_found_on_all_parts(monkeypatch):
    """Scalers have seen what validates and tests."""
    right = "scalers_of(pieces[0]"
    alter(monkeypatch, Experiment.of, right, "scalers_of([one for part in pieces for one in part]")


@caught_by("test_scaled.py::test_error_bars_are_scaled_with_their_outputs[MinMax]")
def error_bars_scaled_like_signals(monkeypatch):
    """A standard deviation is given the offset of its signal."""
    alter(monkeypatch, Scaled.in_units, "map(self.errors_in_units, ", "map(self.in_units, ")


@caught_by("test_scaled.py::test_a_feedback_input_shares_the_scaler_of_its_output[Standard]")
def feedback_scaled_by_itself(monkeypatch):
    """The measured past of an output has a scaler of its own."""
    alter(monkeypatch, Scaled.fit, "shared[name] if name in shared else kind.fit(signal)", "kind.fit(signal)")


@caught_by("test_scaled.py::test_a_split_simulation_is_the_whole_one[jordan-MinMax]")
def final_state_in_scaled_units(monkeypatch):
    """A simulation in the units of the record ends with a delay state in those of the network."""
    alter(monkeypatch, Scaled.simulate, "self.state_in_units(found.final_state)", "found.final_state")


@caught_by("test_scaling.py::test_standard_divides_by_one_less_than_the_count")
def deviation_divided_by_the_count(monkeypatch):
    """√(Σ(x − mean)² / N), NumPy's default."""
    alter(monkeypatch, Standard.fit, ".sum(axis=0) - 1, 1)", ".sum(axis=0), 1)")


# --- division ---------------------------------------------------------------------------------------------------------


@caught_by("test_split.py::test_no_target_leaks_across_a_border[blocks-train-whole]")
def delay_state_from_the_part_before(monkeypatch):
    """A piece begins with the last samples of the piece before, to fill its delay state with."""
    alter(monkeypatch, divide, "record.piece(start, stop)", "record.piece(max(start - shortest, 0), stop)")


# --- windows and starts -----------------------------------------------------------------------------------------------


@caught_by("test_sequences.py::test_windows_of_an_open_loop")
def delay_state_of_a_window_one_step_early(monkeypatch):
    """The last sample before a window is not in its delay state."""
    right = "_gathered(known[name], starts, held, 0)"
    alter(monkeypatch, _cut, right, "_gathered(known[name], [start - 1 for start in starts], held, 0)")


@caught_by("test_stacking.py::test_windows_of_records_are_those_of_each")
def windows_that_overlap(monkeypatch):
    """A window of a record begins with the last step of the window before."""
    alter(monkeypatch, _starts, "starts[-1] + length)", "starts[-1] + length - 1)")


@caught_by("test_starts.py::test_a_warm_up_runs_but_does_not_count[zeros]")
def warm_up_longer_by_one(monkeypatch):
    """The first step after the warm-up is not scored."""
    alter(monkeypatch, WarmUp.sequences, ">= self.steps)[:, None]", "> self.steps)[:, None]")


@caught_by("test_starts.py::test_a_warm_up_runs_but_does_not_count[zeros]")
def padding_counted(monkeypatch):
    """What fills up a shorter record has the weight of its last step."""
    alter(monkeypatch, joined, 'batch(known, mode="constant")', 'batch(known, mode="edge")')
