"""Data: records from files and arrays, splitting, scaling, windows and batches, initial states, simulated plants."""

from lddn_jax.data import scaling, tables
from lddn_jax.data.extremes import suspicious_values
from lddn_jax.data.fold_blocks import FoldData, Folds, folds
from lddn_jax.data.matlab import read_mat
from lddn_jax.data.plants.maglev import maglev, simulate_maglev
from lddn_jax.data.plants.tanks import simulate_tanks, tank_records, tanks
from lddn_jax.data.reading import Reading
from lddn_jax.data.records import Record
from lddn_jax.data.sampling import uniform_sampling
from lddn_jax.data.scaling import MinMax, Standard, scaled, scalers_of
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.split import AbstractDividing, Blocks, ByRecord, Division, Interleaved, RandomWindows, divide
from lddn_jax.data.stacking import stack
from lddn_jax.data.starts import AbstractStart, FromRecord, Given, Trained, WarmUp, Zeros, begin
from lddn_jax.data.tables import Table, read_csv
from lddn_jax.data.windowing import whole, windows

__all__ = [
    "AbstractDividing",
    "AbstractStart",
    "Blocks",
    "ByRecord",
    "Division",
    "FoldData",
    "Folds",
    "FromRecord",
    "Given",
    "Interleaved",
    "MinMax",
    "RandomWindows",
    "Reading",
    "Record",
    "Sequences",
    "Standard",
    "Table",
    "Trained",
    "WarmUp",
    "Zeros",
    "begin",
    "divide",
    "folds",
    "maglev",
    "read_csv",
    "read_mat",
    "scaled",
    "scalers_of",
    "scaling",
    "simulate_maglev",
    "simulate_tanks",
    "stack",
    "suspicious_values",
    "tables",
    "tank_records",
    "tanks",
    "uniform_sampling",
    "whole",
    "windows",
]
