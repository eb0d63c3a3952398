"""Matrix products, array layouts and target platforms, used by all computations of the package."""
