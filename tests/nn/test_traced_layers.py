"""Layers on an array that refuses conversion to NumPy and hidden writes, forward and backward."""

import numpy as np
import pytest
from standin import StandIn, bare

from minigrad import Tensor, nn
from minigrad import functional as F

LAYERS = [
    nn.LayerNorm(6),
    nn.LayerNorm(6, bias=False),
    nn.RMSNorm(6),
    nn.GroupNorm(2, 6),
    nn.InstanceNorm(6),
    nn.Conv2d(6, 4, 3, padding="same", groups=2, rng=0),
    nn.ConvTranspose2d(6, 4, 3, stride=2, rng=0),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.AvgPool2d(2),
    nn.AdaptiveAvgPool(3),
    nn.AdaptiveMaxPool(3),
    nn.Upsample((8, 3)),
    nn.Upsample((8, 3), mode="bilinear"),
    *(kind() for kind in (nn.PReLU, nn.SELU, nn.Mish, nn.Hardtanh, nn.ReLU6, nn.Hardsigmoid, nn.Hardswish)),
    *(kind() for kind in (nn.Softsign, nn.LogSigmoid, nn.LogSoftmax)),
]
FUNCTIONS = {
    **{repr(layer): layer for layer in LAYERS},
    "dropout": lambda t: F.dropout(t, rng=0),
    "spatial_dropout": lambda t: F.spatial_dropout(t, rng=0),
    "alpha_dropout": lambda t: F.alpha_dropout(t, rng=0),
    "bilinear": lambda t: F.bilinear(t, t, np.ones((6, 6, 2))),
    "embedding": lambda t: F.embedding(np.array([0, 1]), t[0, 0], padding_idx=1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_layers_on_tracer_arrays(name):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 6))
    traced, plain = (Tensor(array, requires_grad=True) for array in (StandIn(x), x))
    outputs = [FUNCTIONS[name](t) for t in (traced, plain)]
    for out in outputs:
        (out * out).sum().backward()
    assert isinstance(outputs[0].data, StandIn)
    # Plain arrays are computed in faster ways: the last digits may differ.
    np.testing.assert_allclose(bare(outputs[0].data), outputs[1].data, rtol=4e-15)
    np.testing.assert_allclose(bare(traced.grad.data), plain.grad.data, rtol=1e-14, atol=1e-14)
