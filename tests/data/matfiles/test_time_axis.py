"""Which axis of a matrix is time."""

import pytest

from lddn_jax.data.matfiles.time_axis import time_axes
from lddn_jax.errors import ShapeError

# Shapes of the variables of a record, those of others, the option, and the axis of each matrix.
DECIDED = {
    "a vector": ({"u": (500,), "y": (2, 500)}, [], None, {"y": 1}),
    "a vector and a long matrix": ({"u": (5,), "y": (8, 5)}, [], None, {"y": 1}),
    "the longer axis": ({"y": (500, 2)}, [], None, {"y": 0}),
    "what two matrices share": ({"u": (3, 500), "y": (2, 500)}, [], None, {"u": 1, "y": 1}),
    "what matrices of both kinds share": ({"u": (500, 2), "y": (2, 500)}, [], None, {"u": 0, "y": 1}),
    "another variable": ({"y": (2, 500)}, [(500,), (3,)], None, {"y": 1}),
    "another variable against the longer axis": ({"y": (500, 2)}, [(2,)], None, {"y": 1}),
    "the option": ({"y": (2, 500)}, [], True, {"y": 1}),
    "the option for a square": ({"u": (3,), "y": (3, 3)}, [], False, {"y": 0}),
    "lengths before the option": ({"u": (500,), "y": (500, 2)}, [], True, {"y": 0}),
    "the option before the longer axis": ({"y": (500, 2)}, [], True, {"y": 1}),
    "not a scalar": ({"k": (1,), "y": (500, 2)}, [], None, {"y": 0}),
    "no matrix": ({"u": (500,)}, [(2, 3)], None, {}),
}
AMBIGUOUS = {
    "a wide matrix": ({"y": (2, 500)}, []),
    "two wide matrices": ({"u": (2, 500), "y": (2, 500)}, []),
    "others that disagree": ({"y": (2, 500)}, [(2,), (500,)]),
    "a square": ({"u": (4,), "y": (4, 4)}, []),
}


@pytest.mark.parametrize(("shapes", "others", "transpose", "axes"), DECIDED.values(), ids=DECIDED)
def test_decided_by(shapes, others, transpose, axes):
    assert time_axes(shapes, others, transpose, "record.mat") == axes


@pytest.mark.parametrize(("shapes", "others"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous(shapes, others):
    with pytest.raises(ShapeError, match=r"record\.mat: variable '[uy]' is \d+-by-\d+: .*transpose=True"):
        time_axes(shapes, others, None, "record.mat")
