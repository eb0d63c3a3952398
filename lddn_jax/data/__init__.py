"""Records: reading, scaling and simulating them."""

from lddn_jax.data import scaling, tables
from lddn_jax.data.batches import Sequences
from lddn_jax.data.maglev import maglev, simulate_maglev
from lddn_jax.data.records import Record
from lddn_jax.data.scaling import MinMax, Standard
from lddn_jax.data.sequences import whole, windows
from lddn_jax.data.stacking import stack
from lddn_jax.data.tables import Table, read_csv, uniform_sampling

__all__ = [
    "MinMax",
    "Record",
    "Sequences",
    "Standard",
    "Table",
    "maglev",
    "read_csv",
    "scaling",
    "simulate_maglev",
    "stack",
    "tables",
    "uniform_sampling",
    "whole",
    "windows",
]
