"""Topologies in JSON whose bytes are damaged at random: read, or rejected in one line, in no time."""

import json
import warnings

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.storage.strict_json import parsed

DECLARATION = lddn.models.narx({"u": 2}, {"y": 1}, hidden=3, input_delays=(0, 2)).to_dict()
TEXT = json.dumps(DECLARATION).encode()
LETTERS = [bytes([number]) for number in range(256)] + [
    b"9" * 30,
    b"NaN",
    b"true",
    b"[[[[",
    b'"y"',
    b"1e400",
    b"\\ud800",
]


def damaged(number):
    """The text with bytes replaced, removed or inserted, or cut off."""
    draw, text = np.random.default_rng(number), TEXT
    for _ in range(draw.integers(1, 4)):
        place, letters = draw.integers(len(text)), LETTERS[draw.integers(len(LETTERS))]
        text = text[:place] + letters + text[place + draw.integers(0, 3) :]
    return text[: draw.integers(len(text))] if draw.random() < 0.2 else text


def tried(number):
    """Builds a topology from damaged JSON: it works, or is rejected; returns whether it was."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lddn.TopologyWarning)
            topology = lddn.Topology.from_dict(parsed(damaged(number)))
        lddn.plan(topology)
        topology.to_mermaid()
    except ValueError as error:  # TopologyError is one
        assert "\n" not in str(error)  # noqa: PT017
        assert len(str(error)) < 1000  # noqa: PT017
        return True
    assert topology == lddn.Topology.from_dict(json.loads(json.dumps(topology.to_dict())))
    return False


@pytest.mark.parametrize("part", range(4))
def test_damage_is_harmless_or_told(part):
    assert sum(tried(number) for number in range(50 * part, 50 * (part + 1))) > 10


@pytest.mark.deep
@pytest.mark.parametrize("part", range(10))
def test_much_damage_is_harmless_or_told(part):
    assert sum(tried(number) for number in range(200 * part, 200 * (part + 1))) > 40
