"""Normalizations, composed of primitives, with names on their nodes. Channels are last.

`minigrad.functional` lists these functions. Batch and layer normalization are also single primitives, which
`minigrad.fused` lists.
"""
