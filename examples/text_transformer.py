"""A small transformer that learns to write like Alice in Wonderland, character by character, with mg.fit.

    python examples/text_transformer.py

It takes about three minutes. The loss on the last chapters, which are held out, falls to about 1.5 nats, far below
the entropies of single characters (3.2) and pairs (2.3); then it writes a sample.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from characters import ALPHABET, decode, draw, encode, report, split, wrapped
from numpy.typing import NDArray

import minigrad as mg
from minigrad import nn, optim
from minigrad.callbacks import EachStep
from minigrad.data import DataLoader
from minigrad.fused import softmax_cross_entropy

LENGTH = 64  # characters that the model sees


class Network(nn.Module):
    """Logits of the next characters `(N, T, C)` from characters `(N, T)`."""

    def __init__(self, features: int = 96, layers: int = 3, dropout: float = 0.0, seed: int = 0) -> None:
        options: dict[str, Any] = {"rng": np.random.default_rng(seed), "dtype": "float32"}
        layer = nn.TransformerEncoderLayer(features, 4, 4 * features, dropout=dropout, norm_first=True, **options)
        self.embed = nn.Embedding(len(ALPHABET), features, **options)
        self.position = nn.PositionalEncoding(features)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(features, dtype="float32"))
        self.head = nn.Linear(features, len(ALPHABET), **options)

    def forward(self, ids: NDArray[Any]) -> mg.Tensor:
        """The logits; none of them depends on later characters."""
        return self.head(self.encoder(self.position(self.embed(ids)), is_causal=True))


def windows(ids: NDArray[Any], step: int | None, **options: Any) -> Any:
    """Batches of pieces of the text that start at every step-th character, and of the pieces one character later."""
    pieces = np.lib.stride_tricks.sliding_window_view(ids, LENGTH + 1)[::step]
    return DataLoader(pieces[:, :-1], pieces[:, 1:], batch_size=32, **options)


def train(epochs: int, step: int = 16, lr: float = 3e-3, progress: bool = True, **sizes: Any) -> Any:
    """Train a network; return it and the history."""
    ids, held_out = split()
    loader = windows(ids, step, shuffle=True, rng=0)
    model = Network(**sizes)
    optimizer = optim.AdamW(model.parameters(), lr=lr, global_clipnorm=1.0)
    schedule = optim.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * len(loader))
    history = mg.fit(
        model,
        loader,
        softmax_cross_entropy,
        optimizer,
        epochs,
        validation=windows(held_out, LENGTH),
        callbacks=[EachStep(schedule)],
        progress=progress,
    )
    return model, history


def sample(model: nn.Module, start: str = "Alice ", length: int = 400, temperature: float = 0.6, seed: int = 0) -> Any:
    """A text that the network continues from `start`."""
    rng, ids = np.random.default_rng(seed), encode(start)
    model.eval()
    with mg.no_grad():
        for _ in range(length):
            logits = model(ids[None, -LENGTH:]).numpy()[0, -1]
            ids = np.append(ids, draw(logits, temperature, rng))
    return decode(ids)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    model, history = train(parser.parse_args().epochs)
    print(history, report(history["val_loss"][-1], split()[1]), wrapped(sample(model)), sep="\n\n")
