"""Networks: a topology's weights and biases as a pytree, initialization, transfer functions and rewiring."""
