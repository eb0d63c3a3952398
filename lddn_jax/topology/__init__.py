"""Declaration of a network's topology, its validation, and the plan for running it; no arrays."""
