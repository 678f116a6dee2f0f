"""A text as a sequence of characters, for text_lstm.py and text_transformer.py.

The text is Alice's Adventures in Wonderland by Lewis Carroll; texts/README.md has the source.
"""

from __future__ import annotations

import re
from math import log
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT = (Path(__file__).parent / "texts" / "alice.txt").read_text(encoding="ascii")
TEXT = re.sub(r"(?<=-)\n(?=\S)", "", TEXT)  # paragraphs become lines; verse is indented and keeps its lines
TEXT = re.sub(r"(?<=\S)\n(?=\S)", " ", TEXT)
ALPHABET = "".join(sorted(set(TEXT)))


def encode(text: str) -> NDArray[Any]:
    """The index of each character in the alphabet, `(T,)`."""
    return np.array([ALPHABET.index(character) for character in text])


def decode(ids: NDArray[Any]) -> str:
    """The text of these indices."""
    return "".join(ALPHABET[k] for k in ids)


def split(held_out: float = 0.1) -> Any:
    """The characters for training, and those at the end of the text, for validation."""
    ids = encode(TEXT)
    end = round(len(ids) * (1 - held_out))
    return ids[:end], ids[end:]


def entropies(ids: NDArray[Any]) -> Any:
    """The entropy of a character, and the entropy given the character before it, in nats.

    H(X) = - Σ p(x) log p(x) and H(X | Y) = H(Y, X) - H(Y) (Shannon 1951), with the frequencies of these characters
    themselves. A model that sees at most one character back cannot have a smaller loss on them.
    """
    pairs = np.zeros((len(ALPHABET), len(ALPHABET)))
    np.add.at(pairs, (ids[:-1], ids[1:]), 1 / (len(ids) - 1))
    single, pair = (-sum(p * log(p) for p in table[table > 0]) for table in (pairs.sum(axis=0), pairs))
    return single, pair - single


def report(loss: float, ids: NDArray[Any]) -> Any:
    """A table of a validation loss and the entropies of the same characters."""
    unigram, bigram = entropies(ids)
    rows = {"validation loss": loss, "bigram entropy": bigram, "unigram entropy": unigram}
    table = [f"{name:15}  {nats:.2f} nats = {nats / log(2):.2f} bits" for name, nats in rows.items()]
    return "\n".join(["Per character:", *table])


def wrapped(text: str) -> str:
    """The text in lines of 80 characters."""
    return "\n".join(fill(line, 80) for line in text.split("\n"))


def draw(logits: NDArray[Any], temperature: float, rng: np.random.Generator) -> Any:
    """A random character with probability softmax(logits / temperature); a low temperature prefers likely ones."""
    p = np.exp((logits - logits.max()) / temperature)
    return rng.choice(len(p), p=p / p.sum())
