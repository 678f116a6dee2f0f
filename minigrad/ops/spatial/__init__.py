"""Convolution, pooling and sliding windows, channels last. The primitives; conv and pool hold what a user calls."""
