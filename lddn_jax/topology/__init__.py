"""The declaration of a network, its validation, and the plan by which it is run. No arrays."""
