"""Safe reading of MATLAB and HDF5 files: their contents as a flat list of named arrays.

Files are read in a process of their own, because the C code of SciPy and of HDF5 can crash on damaged files. Modules of
this folder import neither JAX nor modules that do, so that this process starts quickly.
"""
