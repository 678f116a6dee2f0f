"""The suites, one file each. A file reads as: the problem, the same computation in every library, the table of rows."""

SUITES = {
    "tiny": "Tiny operations",
    "scalars": "Scalar graphs",
    "lines": "Long graphs",
    "networks": "Batch-norm networks",
    "normalization": "Normalization",
    "elementwise": "Large elementwise functions",
    "convolution": "Convolution",
    "cnn": "Convolutional network",
    "recurrent": "Recurrent network",
    "transformer": "Attention and transformer",
    "derivatives": "Higher derivatives and Jacobians",
    "startup": "Import and first step",
    "trust": "What guards, audits and recordings cost",
    "memory": "Memory",
}
