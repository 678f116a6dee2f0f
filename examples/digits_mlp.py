"""A batch-norm network on handwritten digits, trained with mg.fit and by hand.

    python examples/digits_mlp.py

Test accuracy is about 98 %. `by_hand` is the loop of `mg.fit`, written out; both give the same network, bit for bit.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import minigrad as mg
from minigrad import nn, optim
from minigrad.callbacks import EarlyStopping
from minigrad.data import DataLoader, train_test_split
from minigrad.fused import softmax_cross_entropy


def digits(seed: int = 0) -> Any:
    """Images `(N, 64)` in 0 ... 1 and labels `(N,)`, split into training and test rows."""
    x, y = load_digits(return_X_y=True)
    return train_test_split((x / 16).astype(np.float32), y, test_size=0.2, rng=seed)


def network(seed: int = 0) -> nn.Sequential:
    """64-128-64-10 with batch norm and ReLU."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in ((64, 128), (128, 64)):
        layers += [nn.Linear(n_in, n_out, init="he_normal", rng=rng, dtype="float32")]
        layers += [nn.BatchNorm(n_out, dtype="float32"), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10, rng=rng, dtype="float32"))


def accuracy(logits: mg.Tensor, labels: NDArray[Any]) -> Any:
    """The fraction of rows whose largest logit is that of the label."""
    return (logits.numpy().argmax(axis=1) == labels).mean()


def with_fit(epochs: int, progress: bool = True) -> Any:
    """Train with mg.fit; return the network and the history."""
    x, x_test, y, y_test = digits()
    model = network()
    history = mg.fit(
        model,
        DataLoader(x, y, batch_size=64, shuffle=True, rng=0),
        softmax_cross_entropy,
        optim.Adam(model.parameters(), lr=3e-3),
        epochs,
        validation=DataLoader(x_test, y_test, batch_size=256),
        metrics={"accuracy": accuracy},
        callbacks=[EarlyStopping(patience=10, restore_best=False)],
        progress=progress,
    )
    return model, history


def by_hand(epochs: int) -> Any:
    """Train with a loop; return the network and its test accuracy."""
    x, x_test, y, y_test = digits()
    model = network()
    loader = DataLoader(x, y, batch_size=64, shuffle=True, rng=0)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            softmax_cross_entropy(model(images), labels).backward()
            optimizer.step()
    model.eval()
    with mg.no_grad():
        return model, accuracy(model(x_test), y_test)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    model, history = with_fit(epochs)
    print(history)
    print(f"by hand: test accuracy {by_hand(len(history))[1]:.3f}")
