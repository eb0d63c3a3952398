"""Trainers: Levenberg-Marquardt, optax transformations, closed-loop training over growing horizons, adaptation."""
