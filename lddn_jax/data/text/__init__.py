"""Text files, from bytes to columns of numbers; the rules are in the docstring of `lddn_jax.data.read_csv`."""
