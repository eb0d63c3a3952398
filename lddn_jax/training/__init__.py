"""Training: the loop `fit`, the trainer interface, results, checkpoints and callbacks."""
