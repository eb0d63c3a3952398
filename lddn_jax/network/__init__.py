"""The weights and biases of a topology as a pytree, and all that is done with them before a network is run."""
