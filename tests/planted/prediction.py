"""Mistakes in running a network: from which state, how far, and through which loop."""

from planting import alter, caught_by

from lddn_jax.network.rewiring import _closed, carry_over
from lddn_jax.prediction.horizons import _Record, horizon_profile, k_step
from lddn_jax.simulation.simulate import final_state


@caught_by("test_horizons.py::test_one_step_is_the_open_loop[narx]")
def one_step_further_ahead(monkeypatch):
    """k + 1 steps ahead for k."""
    alter(monkeypatch, k_step, "min(k, record.steps)", "min(k + 1, record.steps)")


@caught_by("test_horizons.py::test_as_many_steps_as_the_record_is_a_free_run[narx-25]")
def free_run_from_zeros(monkeypatch):
    """The delay state of the data is left out."""
    alter(monkeypatch, _Record.of, "held = state.get(source, ", "held = dict().get(source, ")


@caught_by("test_horizons.py::test_persistence_is_the_last_measured_value")
def persistence_one_step_earlier(monkeypatch):
    """The last value but one is taken for all that follow."""
    alter(monkeypatch, horizon_profile, "[..., -1:, :]", "[..., -2:-1, :]")


@caught_by("test_horizons.py::test_streaming_is_predicting[fir-in-series]")
def delay_line_forgotten_by_a_short_run(monkeypatch):
    """A run shorter than a delay line leaves zeros in the rest of it, and not what was there before."""
    alter(monkeypatch, final_state, "extend(held, signals[name])", "extend(held * 0, signals[name])")


@caught_by("test_rewiring.py::test_close_loop_moves_weights_and_open_loop_moves_them_back")
def loop_closed_a_step_late(monkeypatch):
    """An output is fed back with one delay more than the input had, as if it had not been delayed before."""
    right = "replace(c, source=output)"
    alter(monkeypatch, _closed, right, "replace(c, source=output, delays=tuple(d + 1 for d in c.delays))")


@caught_by("test_editing.py::test_weights_are_carried_over_by_delay")
def weights_carried_over_by_place(monkeypatch):
    """Weights go to the delay of the same place in the list."""
    right = "old[pair][place[d]] if d in place else new[k]"
    alter(monkeypatch, carry_over, right, "old[pair][k] if k < len(place) else new[k]")
