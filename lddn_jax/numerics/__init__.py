"""Products, array layouts and platforms: what every computation of the package goes through."""
