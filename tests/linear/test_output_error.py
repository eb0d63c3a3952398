"""Output error: exact without noise, better than its start with noise, never unstable."""

import dataclasses
import sys

import numpy as np
import pytest
from linear_systems import distance, records_of, system

from lddn_jax import LDDNError
from lddn_jax.data import Record
from lddn_jax.linear import output_error, subspace


@pytest.fixture(scope="module")
def noisy():
    return records_of(*system(2, 1, 1), (300, 200), noise=0.5)


@pytest.fixture(scope="module")
def refined(noisy):
    return output_error(noisy, start=subspace(noisy, 2, horizon=4, feedthrough=True), epochs=20)


def test_smaller_error_than_the_start(noisy, refined):
    start = subspace(noisy, 2, horizon=4, feedthrough=True)
    assert refined.stable
    assert refined.scores(noisy).all.rmse < start.scores(noisy).all.rmse
    truth = records_of(*system(2, 1, 1), (300,), seed=7)
    assert refined.scores(truth).all.nrmse < start.scores(truth).all.nrmse


def test_a_minimum_of_the_simulation_error(noisy, refined):
    """No small change of a matrix makes the error smaller, with the first states estimated anew."""
    least = refined.scores(noisy).all.rmse
    for name in ("A", "B", "C", "D", "output_offset"):
        for place in np.ndindex(getattr(refined, name).shape):
            for step in (1e-3, -1e-3):
                changed = getattr(refined, name).copy()
                changed[place] += step * (1 + abs(changed[place]))
                assert dataclasses.replace(refined, **{name: changed}).scores(noisy).all.rmse >= least * (1 - 1e-9)


def test_offsets_of_the_start_do_not_matter(noisy, refined):
    """A start around another operating point: the same model, with u0 moved and y0 by the gain at frequency 0."""
    start = subspace(noisy, 2, horizon=4, feedthrough=True)
    gain = start.frequency_response(np.zeros(1))[0].real
    moved = dataclasses.replace(
        start, input_offset=start.input_offset + 3, output_offset=start.output_offset + gain @ np.full(1, 3.0)
    )
    found = output_error(noisy, start=moved, epochs=20)
    np.testing.assert_allclose(found.poles, refined.poles, atol=1e-4)


def test_without_noise_the_system_remains():
    A, B, C, D = system(2, 1, 1)
    records = records_of(A, B, C, D, (300, 200))
    found = output_error(records, 2, feedthrough=True, epochs=5)
    assert distance(found.poles, np.linalg.eigvals(A)) < 1e-6


def test_an_unstable_start_is_pulled_in(noisy):
    start = subspace(noisy, 2, horizon=4, feedthrough=True)
    unstable = dataclasses.replace(start, A=start.A / np.abs(start.poles).max() * 1.1)
    found = output_error(noisy, start=unstable, epochs=20)
    assert found.stable
    assert found.scores(noisy).all.rmse < unstable.stabilized().scores(noisy).all.rmse


def test_long_pieces_are_cut(monkeypatch, noisy, refined):
    module = sys.modules["lddn_jax.linear.output_error"]  # the room shows the function of that name
    monkeypatch.setattr(module, "SHORTEST_PART", 50)
    monkeypatch.setattr(module, "TIME_CONSTANTS_OF_A_PART", 1)
    start = subspace(noisy, 2, horizon=4, feedthrough=True)
    found = output_error(noisy, start=start, epochs=20)
    # Each part has a first state of its own, so the estimate is another one, but not by much.
    assert found.scores(noisy).all.rmse < 1.01 * refined.scores(noisy).all.rmse


def test_states_other_than_those_of_the_start(noisy):
    with pytest.raises(LDDNError, match="states=3, but start has 2 states"):
        output_error(noisy, 3, start=subspace(noisy, 2))


@pytest.mark.usefixtures("unchecked")
def test_a_start_that_is_none(noisy):
    with pytest.raises(LDDNError, match=r"start is 2.*subspace"):
        output_error(noisy, start=2)
    with pytest.raises(LDDNError, match="epochs=0"):
        output_error(Record({"u": np.ones((9, 1))}, {"y": np.ones((9, 1))}), 1, epochs=0)
