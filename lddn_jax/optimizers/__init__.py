"""Optax-style transformations that optax lacks."""
