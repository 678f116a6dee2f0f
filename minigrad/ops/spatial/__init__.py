"""Convolution, pooling and sliding windows, channels last: the primitives, and what a user calls.

The latter is in conv, conv_transpose, pool, slide and resize.
"""
