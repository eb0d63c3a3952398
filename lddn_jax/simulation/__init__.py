"""Simulation: delay lines, the recursion over blocks, trajectories, and streaming one sample at a time."""
