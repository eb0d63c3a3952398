"""Ways to differentiate a network, and the calls that use them."""
