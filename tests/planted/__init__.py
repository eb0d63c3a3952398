"""Mistakes as people make them, room by room, each with the test that notices it."""
