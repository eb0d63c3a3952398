"""Prediction and its evaluation: one step ahead, k steps ahead and free run, in the units of the record."""
