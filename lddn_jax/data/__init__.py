"""Records: reading, scaling and simulating them."""

from lddn_jax.data import scaling, tables
from lddn_jax.data.maglev import maglev, simulate_maglev
from lddn_jax.data.scaling import MinMax, Standard
from lddn_jax.data.sequences import Sequences, windows
from lddn_jax.data.tables import Table, read_csv, uniform_sampling

__all__ = [
    "MinMax",
    "Sequences",
    "Standard",
    "Table",
    "maglev",
    "read_csv",
    "scaling",
    "simulate_maglev",
    "tables",
    "uniform_sampling",
    "windows",
]
