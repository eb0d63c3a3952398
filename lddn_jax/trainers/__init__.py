"""Trainers: Levenberg-Marquardt, any optax transformation, closed loops by growing horizons, adaptation."""
