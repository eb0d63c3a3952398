"""The plan of a search: restarts and steps by the size of the records, by what was asked for, and by the clock."""

import time

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.identification.effort import COMPILE_SECONDS, SCREENING, Effort, Plan, nominal_seconds
from lddn_jax.identification.structures import Structure

RECORD = lddn.data.Record({"u": np.zeros((10, 1))}, {"y": np.zeros((10, 1))})
SMALL, LARGE, LINEAR = Structure(2, 0, 4), Structure(4, 10, 8), Structure(3, 0, 0)


def plan(samples=1000, *, seconds=45.0, deadline=None, long=False, asked=(None, None)):
    return Plan(RECORD, samples, 4, seconds, deadline, long, asked)


@pytest.mark.parametrize("samples", [100, 300, 1000, 3000, 8000])
@pytest.mark.parametrize("structure", [SMALL, LARGE], ids=str)
def test_a_structure_that_is_tried_takes_its_share_of_the_time(samples, structure):
    effort = plan(samples).screening(structure)
    seconds = plan(samples).seconds_of(structure, effort) - COMPILE_SECONDS
    least = 4 * 4 * plan(samples).step(structure)  # a step of the fewest restarts
    assert seconds <= max(0.06 * 45.0, least)
    assert effort.restarts in (4, 8, 16, 32)
    assert 1 <= effort.epochs <= SCREENING.epochs


def test_more_samples_get_no_more_restarts_or_steps():
    found = [plan(samples).screening(LARGE) for samples in (30, 300, 1000, 3000, 9000)]
    products = [effort.restarts * effort.epochs for effort in found]
    assert products == sorted(products, reverse=True)
    assert found[0] == Effort(SCREENING.restarts, SCREENING.epochs)


@pytest.mark.parametrize("asked", [(5, None), (None, 7), (5, 7)])
def test_what_was_asked_for_is_taken(asked):
    effort = plan(asked=asked).screening(SMALL)
    for given, planned in zip(asked, (effort.restarts, effort.epochs), strict=True):
        assert given is None or planned == given
    assert plan(asked=asked).continued(SMALL, 4).epochs <= (asked[1] or 300)
    assert plan(asked=asked).on_everything(SMALL, 4, 12, many=True)[1] <= (asked[1] or 400)


def test_a_linear_structure_has_one_start():
    assert plan().screening(LINEAR).restarts == 1
    assert plan(asked=(8, 20)).screening(LINEAR) == Effort(1, 20)


def test_all_members_take_few_steps_on_everything_and_as_many_as_there_is_time_for_take_more():
    assert plan(200).on_everything(SMALL, 4, 12, many=False) == (12, 30)
    count, epochs = plan(200).on_everything(SMALL, 4, 12, many=True)
    assert (count, epochs) == (12, 400)
    count, epochs = plan(5000).on_everything(LARGE, 4, 12, many=True)
    assert count == 4
    assert 30 <= epochs < 400


def test_seconds_grow_with_the_samples_up_to_those_of_long_records():
    found = [nominal_seconds(samples, False) for samples in (10, 1000, 1500, 2000, 7000)]
    assert found[0] == found[1] == 45.0
    assert found == sorted(found)
    assert found[-1] == nominal_seconds(10**6, True)


# --- the clock -------------------------------------------------------------------------------------------------------


def test_without_a_deadline_there_is_time_for_everything():
    assert not plan().late
    assert plan().is_time_for(1e9)
    assert plan().in_time([LARGE] * 5, [Effort(1000, 1000)] * 5, 1) == 5


@pytest.mark.parametrize(("left", "expected"), [(-1, 1), (10, 1), (14, 2), (16, 3), (30, 4), (45, 5)])
def test_structures_that_take_too_long_are_left_out(left, expected):
    """Each is trained for 1 s. Compilation takes 6 s, once for each frame; 60 % of the time is for it."""
    timed = plan(deadline=time.monotonic() + left)
    frames = [Structure(2, 0, size) for size in (4, 4, 4, 5, 6)]
    efforts = [Effort(1, round(1 / (4 * timed.step(frame)))) for frame in frames]
    assert timed.in_time(frames, efforts, 1) == expected
    assert timed.late == (left < 0)
    assert timed.is_time_for(left / 2) == (left > 0)
