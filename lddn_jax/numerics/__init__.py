"""Matrix products, array layouts, precision and target platforms, used by all computations of the package."""
