"""How a network is run: delay lines, the recursion over blocks, trajectories, and one sample at a time."""
