"""An autoencoder on handwritten digits: 64 pixels through 8 numbers and back.

    python examples/digits_autoencoder.py

Writes digits-autoencoder.png: test images above, their reconstructions below. The mean squared error on test images
falls to about a fifth of the error of their mean image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import minigrad as mg
from minigrad import functional, nn, optim
from minigrad.data import DataLoader, train_test_split


def digits(seed: int = 0) -> Any:
    """Images `(N, 64)` in 0 ... 1, split into training and test rows."""
    images, _ = load_digits(return_X_y=True)
    return train_test_split((images / 16).astype(np.float32), test_size=0.2, rng=seed)


def network(code: int = 8, seed: int = 0) -> nn.Sequential:
    """64-64-code-64-64, with a sigmoid at the end, as pixels lie in 0 ... 1."""
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out in ((64, 64), (64, code), (code, 64)):
        layers += [nn.Linear(n_in, n_out, init="he_normal", rng=rng, dtype="float32"), nn.ReLU()]
    del layers[3]  # the code itself is linear
    return nn.Sequential(*layers, nn.Linear(64, 64, rng=rng, dtype="float32"), nn.Sigmoid())


def train(epochs: int, progress: bool = True, seed: int = 0) -> Any:
    """Train a network; return it, the history, and the test images."""
    images, images_test = digits()
    model = network(seed=seed)
    history = mg.fit(
        model,
        DataLoader(images, images, batch_size=64, shuffle=True, rng=seed),
        functional.mse_loss,
        optim.Adam(model.parameters(), lr=3e-3),
        epochs,
        validation=DataLoader(images_test, images_test, batch_size=256),
        progress=progress,
    )
    return model, history, images_test


def picture(model: nn.Module, images: NDArray[Any], path: Path) -> None:
    """Save a picture of the images above and their reconstructions below."""
    import matplotlib.pyplot as plt

    with mg.no_grad():
        rows = (images, model(images).numpy())
    figure, axes = plt.subplots(2, len(images), figsize=(len(images), 2.2))
    for images_in_row, axes_in_row in zip(rows, axes, strict=True):
        for image, axis in zip(images_in_row, axes_in_row, strict=True):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axis.set_axis_off()
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", default="digits-autoencoder.png")
    options = parser.parse_args()
    model, history, test = train(options.epochs)
    baseline = float(np.mean((test - test.mean(axis=0)) ** 2))
    print(f"test error {history['val_loss'][-1]:.4f}; that of the mean image is {baseline:.4f}")
    picture(model, test[:12], options.out)
    print(f"written: {options.out}")
