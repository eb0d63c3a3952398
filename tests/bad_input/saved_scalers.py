"""Scalers restored from a dict that somebody edited: what is not a finite range is rejected, not computed with."""

from lddn_jax import DataError
from lddn_jax.data import scaling

SCALER = {"kind": "MinMax", "dtype": "float64", "lowest": [0.0], "highest": [2.0], "low": -1.0, "high": 1.0}
STANDARD = {"kind": "Standard", "dtype": "float64", "mean": [0.0], "deviation": [1.0]}


def changed(scaler=SCALER, **entries):
    return lambda k: scaling.from_dict({**scaler, **entries})


CHANGED = {
    "no number": (changed(lowest=[None]), r"lowest is \[None\]"),
    "not a number": (changed(highest=[float("nan")]), r"highest is \[nan\]"),
    "infinite": (changed(highest=[float("inf")]), r"highest is \[inf\]"),
    "beyond all numbers": (changed(lowest=[10**400]), r"lowest is \[1000.*it must be a list of numbers"),
    "beyond the largest float32": (changed(dtype="float32", highest=[1e300]), r"highest is \[1e\+300\]"),
    "ends exchanged": (changed(lowest=[3.0]), r"a range that is empty or infinite"),
    "infinite width": (changed(lowest=[-1.7e308], highest=[1.7e308]), r"a range that is empty or infinite"),
    "an end of 401 digits": (changed(low=-(10**400)), r"low=a whole number of 401 digits"),
    "unknown key": (changed(extra=1), r"'extra'.*it needs kind 'MinMax' with"),
    "dtype that is none": (changed(dtype=None), r"of dtype None"),
    "dtype of objects": (changed(dtype="object"), r"of dtype 'object'"),
    "negative deviation": (changed(STANDARD, deviation=[-1.0]), r"a range that is empty or infinite"),
    "no deviation": (changed(STANDARD, deviation=[0.0]), r"a range that is empty or infinite"),
    "list of lists": (changed(lowest=[[0.0]]), r"lowest is \[\[0\.0\]\]"),
}


def rows():
    yield from ((f"saved scaler: {name}", (call, DataError, words)) for name, (call, words) in CHANGED.items())
