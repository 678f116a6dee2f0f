"""Convolution, pooling, sliding windows and resizing, channels last.

Public functions: conv_nd (conv1d ... conv_transpose3d), pool_nd, sliding_windows, interpolate. Primitives and their
rules: conv_primitives, pool_primitives, sliding_windows. What they share: windows (the geometry), im2col (how
convolutions are computed), window_arguments (the checks of the public functions).
"""
