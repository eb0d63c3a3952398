"""Bayesian regularization by the evidence framework, and its results: posterior, relevance, pruning, comparison."""
