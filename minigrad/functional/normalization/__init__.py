"""Normalizations, composed of primitives, with names on their nodes. Channels are last.

`minigrad.functional` lists these functions. Batch and layer normalization are also single primitives, which
`minigrad.fused` lists.
"""

from minigrad.functional.normalization.batch import batch_norm, batch_norm_inference, fused_batch_norm
from minigrad.functional.normalization.layer import (
    fused_layer_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)

__all__ = [
    "batch_norm",
    "batch_norm_inference",
    "fused_batch_norm",
    "fused_layer_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
]
