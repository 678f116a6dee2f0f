"""A convolutional network on handwritten digits.

    python examples/digits_cnn.py

Images are 8 × 8 with one channel, which is the last axis. Test accuracy is about 99 %.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import DataLoader, train_test_split
from minigrad.fused import softmax_cross_entropy


def digits(seed: int = 0) -> Any:
    """Images `(N, 8, 8, 1)` in 0 ... 1 and labels `(N,)`, split into training and test rows."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split((images / 16).reshape(-1, 8, 8, 1).astype(np.float32), labels, test_size=0.2, rng=seed)


def network(seed: int = 0) -> nn.Sequential:
    """Two convolutions, pooling, two more convolutions, pooling, and a linear layer."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for c_in, c_out, pool in ((1, 16, False), (16, 32, True), (32, 32, False), (32, 64, True)):
        layers += [nn.Conv2d(c_in, c_out, 3, padding="same", bias=False, init="he_normal", rng=rng, dtype="float32")]
        layers += [nn.BatchNorm(c_out, dtype="float32"), nn.ReLU(), *([nn.MaxPool2d(2)] if pool else [])]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(2 * 2 * 64, 10, rng=rng, dtype="float32"))


def accuracy(logits: mg.Tensor, labels: NDArray[Any]) -> Any:
    """The fraction of rows whose largest logit is that of the label."""
    return (logits.numpy().argmax(axis=1) == labels).mean()


def train(epochs: int, progress: bool = True, seed: int = 0) -> Any:
    """Train a network; return it and the history."""
    mg.manual_seed(seed)
    images, images_test, labels, labels_test = digits()
    model = network(seed)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = mg.fit(
        model,
        DataLoader(images, labels, batch_size=32, shuffle=True, rng=seed),
        softmax_cross_entropy,
        optimizer,
        epochs,
        validation=DataLoader(images_test, labels_test, batch_size=256),
        metrics={"accuracy": accuracy},
        callbacks=[optim.CosineAnnealingLR(optimizer, epochs)],
        progress=progress,
    )
    return model, history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    model, history = train(parser.parse_args().epochs)
    print(history)
