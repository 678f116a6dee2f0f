"""An LSTM that learns to write like Alice in Wonderland, character by character. The training loop is written out.

    python examples/text_lstm.py

It takes about two minutes. The loss on the last chapters, which are held out, falls to about 1.4 nats, far below
the entropies of single characters (3.2) and pairs (2.3); then it writes a sample.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from characters import ALPHABET, decode, draw, encode, report, split, wrapped
from numpy.typing import NDArray
from rich.progress import Progress

import minigrad as mg
from minigrad import nn, optim
from minigrad.fused import softmax_cross_entropy

LENGTH = 64  # characters over which gradients flow back


class Network(nn.Module):
    """Logits of the next characters `(N, T, C)` from characters `(N, T)` and the state before them."""

    def __init__(self, hidden: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.embed = nn.Embedding(len(ALPHABET), 32, rng=rng, dtype="float32")
        self.lstm = nn.LSTM(32, hidden, rng=rng, dtype="float32")
        self.dropout = nn.Dropout(0.3, rng=rng)
        self.head = nn.Linear(hidden, len(ALPHABET), rng=rng, dtype="float32")

    def forward(self, ids: NDArray[Any], state: Any = None) -> tuple[mg.Tensor, Any]:
        """The logits, and the state after the characters."""
        outputs, state = self.lstm(self.embed(ids), state)
        return self.head(self.dropout(outputs)), state


def rows(ids: NDArray[Any], count: int) -> Any:
    """The text cut into rows `(count, T)`, and the next characters of each row."""
    end = (len(ids) - 1) // count * count
    return ids[:end].reshape(count, -1), ids[1 : end + 1].reshape(count, -1)


def evaluate(model: nn.Module, ids: NDArray[Any]) -> Any:
    """The mean loss per character, in nats."""
    x, y = rows(ids, 8)
    model.eval()
    with mg.no_grad():
        return float(softmax_cross_entropy(model(x)[0], y))


def train(epochs: int, hidden: int = 256, progress: bool = True) -> Any:
    """Train a network; return it, and its validation loss after each epoch.

    Each piece starts from the final state of the piece before it, and gradients stop at its start: truncated
    backpropagation through time (Williams & Peng 1990).
    """
    ids, held_out = split()
    x, y = rows(ids, 32)
    pieces = [slice(start, start + LENGTH) for start in range(0, x.shape[1] - LENGTH + 1, LENGTH)]
    model = Network(hidden)
    optimizer = optim.Adam(model.parameters(), lr=5e-3, global_clipnorm=1.0)
    schedule = optim.CosineAnnealingLR(optimizer, epochs)
    losses, validation = [], ""
    with Progress(disable=not progress) as bar:
        task = bar.add_task("", total=epochs * len(pieces))
        for epoch in range(epochs):
            state = None
            model.train()
            for piece in pieces:
                logits, state = model(x[:, piece], state)
                loss = softmax_cross_entropy(logits, y[:, piece])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                state = tuple(part.detach() for part in state)
                bar.update(
                    task, advance=1, description=f"epoch {epoch + 1}/{epochs}  loss {float(loss):.2f}{validation}"
                )
            schedule.step()
            losses.append(evaluate(model, held_out))
            validation = f"  validation {losses[-1]:.3f}"
    return model, losses


def sample(model: nn.Module, start: str = "Alice ", length: int = 400, temperature: float = 0.6, seed: int = 0) -> Any:
    """A text that the network continues from `start`."""
    rng, text, ids, state = np.random.default_rng(seed), start, encode(start)[None], None
    model.eval()
    with mg.no_grad():
        for _ in range(length):
            logits, state = model(ids, state)
            ids = np.array([[draw(logits.numpy()[0, -1], temperature, rng)]])
            text += decode(ids[0])
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    model, losses = train(parser.parse_args().epochs)
    print(report(losses[-1], split()[1]), wrapped(sample(model)), sep="\n\n")
