"""Gradient methods (BPTT, RTRL, automatic differentiation, finite differences) and the functions that use them."""
