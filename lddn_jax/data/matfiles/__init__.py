"""MATLAB and HDF5 files: their variables by name, cells as records, and the axis of time."""
