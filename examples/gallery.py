"""The pictures of README.md and docs/drawing.md: mg.draw on well-known models.

python examples/gallery.py                  # writes docs/images/*.svg
python examples/gallery.py lstm --out /tmp --format png
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad import functional, fused, nn
from minigrad.typing import Array
from minigrad.verify import Derivation

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"


def program(page: str) -> Any:
    """The variables of the first program of a page, by name. Blocks that begin with >>> are not programs."""
    names: dict[str, Any] = {}
    programs = re.findall(r"```python\n(?!>>>)(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    exec(programs[0], names)
    return names


def leaf(rng: np.random.Generator, name: str, *shape: int, label: str | None = None, scale: float = 1.0) -> mg.Tensor:
    """A Tensor of normal numbers that requires gradients."""
    return mg.Tensor(scale * rng.normal(size=shape), requires_grad=True).named(name, label=label)


def readme(rng: np.random.Generator) -> Any:
    """The graph of batch norm in the README."""
    return mg.draw(program("README.md")["y"])


def normalized(rng: np.random.Generator) -> Any:
    """Composed batch norm on a batch of 8 with 5 features, and its leaves."""
    x, gamma, beta = leaf(rng, "x", 8, 5), leaf(rng, "gamma", 5, label="γ"), leaf(rng, "beta", 5, label="β")
    return functional.batch_norm(x, gamma, beta), (x, gamma, beta)


def batch_norm(rng: np.random.Generator) -> Any:
    """Three paths lead from x to the output, and lines in three colors leave it: the terms of dl/dx."""
    y, _ = normalized(rng)
    return mg.draw(y, legend=True)


def batch_norm_formulas(rng: np.random.Generator) -> Any:
    """The contribution to each operand, for a gradient v of the result."""
    y, _ = normalized(rng)
    return mg.draw(y, formulas=True)


def batch_norm_gradients(rng: np.random.Generator) -> Any:
    """Values, and the norms of the gradient at each node and of each contribution."""
    y, _ = normalized(rng)
    return mg.draw(y, values=True, grads=rng.normal(size=(8, 5)))


def batch_norm_backward(rng: np.random.Generator) -> Any:
    """The backward pass as a graph of its own: dl/dσ², dl/dμ and dl/dx as they are derived by hand."""
    y, _ = normalized(rng)
    return mg.draw(y, backward=True)


def batch_norm_checked(rng: np.random.Generator) -> Any:
    """A derivation with a missing term, and the verdict on each line."""

    def batch_norm(x: Array, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        mu = mg.name("mu", x.mean(axis=0), label="μ")
        var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
        xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
        return mg.name("y", gamma * xhat + beta)

    derivation = Derivation(batch_norm, x="N D", gamma="D", beta="D")

    @derivation.line
    def dxhat(dout: Any, gamma: Any) -> Any:
        return dout * gamma

    @derivation.line
    def dvar(dxhat: Any, x: Array, mu: Any, var: Any, eps: float) -> Any:
        return (dxhat * (x - mu)).sum(axis=0) * -0.5 * (var + eps) ** -1.5

    @derivation.line
    def dmu(dxhat: Any, var: Any, eps: float) -> Any:
        return (dxhat * -1 / np.sqrt(var + eps)).sum(axis=0)

    @derivation.line
    def dx(dxhat: Any, dvar: Any, dmu: Any, x: Array, mu: Any, var: Any, eps: float) -> Any:
        return dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / x.shape[0]

    return derivation.check().draw()


def two_layers(rng: np.random.Generator) -> Any:
    """A network of two layers and its gradient: dotted links lead from saved values to their uses."""
    x, w1, w2 = leaf(rng, "x", 16, 8), leaf(rng, "W1", 8, 12, label="W₁"), leaf(rng, "W2", 12, 3, label="W₂")
    h = mg.tanh(x @ w1).named("h")
    y = (h @ w2).named("y")
    return mg.draw((y * y).mean().named("loss", label="l"), backward=True)


def lstm(rng: np.random.Generator) -> Any:
    """One step of an LSTM: the cell state passes through, multiplied by the forget gate alone."""
    x, h, c = leaf(rng, "x", 4, 3), leaf(rng, "h0", 4, 5, label="h₀"), leaf(rng, "c0", 4, 5, label="c₀")
    w, u, b = leaf(rng, "W", 3, 20), leaf(rng, "U", 5, 20), leaf(rng, "b", 20)
    return mg.draw(*functional.lstm_cell(x, h, c, w, u, b), collapse="elementwise")


def attention(rng: np.random.Generator) -> Any:
    """Scaled dot-product attention, composed of primitives."""
    q, k, v = (leaf(rng, name, 6, 4) for name in "qkv")
    return mg.draw(functional.scaled_dot_product_attention(q, k, v))


class Residual(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, c_in: int, c_out: int, stride: int, rng: np.random.Generator) -> None:
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False, rng=rng)
        self.norm1 = nn.BatchNorm(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False, rng=rng)
        self.norm2 = nn.BatchNorm(c_out)
        same = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False, rng=rng)

    def forward(self, x: Array) -> mg.Tensor:
        """Images of shape (N, H, W, C)."""
        h = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(h)) + self.shortcut(x))


class ResNet(nn.Module):
    """A small residual network for images."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False, rng=rng), nn.BatchNorm(16), nn.ReLU())
        self.stage1 = nn.Sequential(Residual(16, 16, 1, rng), Residual(16, 16, 1, rng))
        self.stage2 = nn.Sequential(Residual(16, 32, 2, rng), Residual(32, 32, 1, rng))
        self.stage3 = nn.Sequential(Residual(32, 64, 2, rng), Residual(64, 64, 1, rng))
        self.head = nn.Linear(64, 10, rng=rng)

    def forward(self, x: Array) -> mg.Tensor:
        """Images of shape (N, H, W, 3); logits of shape (N, 10)."""
        return self.head(self.stage3(self.stage2(self.stage1(self.stem(x)))).mean(axis=(1, 2)))


def resnet_loss(rng: np.random.Generator) -> Any:
    """The loss of a batch of two images."""
    logits = ResNet(rng)(rng.normal(size=(2, 16, 16, 3)))
    return fused.softmax_cross_entropy(logits, np.array([3, 7])).named("loss")


def resnet(rng: np.random.Generator) -> Any:
    """At depth 1: each stage is one node, with the norm of its gradient."""
    return mg.draw(resnet_loss(rng), depth=1, grads=True)


def resnet_unfolded(rng: np.random.Generator) -> Any:
    """One residual block unfolded by name, the rest folded."""
    return mg.draw(resnet_loss(rng), depth=1, unfold=["stage2.0"])


class Transformer(nn.Module):
    """A small text encoder."""

    def __init__(self, rng: np.random.Generator, layers: int = 3) -> None:
        self.embedding = nn.Embedding(50, 32, rng=rng)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 50, rng=rng)

    def forward(self, ids: NDArray[Any]) -> mg.Tensor:
        """Word ids of shape (N, T); logits of shape (N, T, 50)."""
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def transformer(rng: np.random.Generator) -> Any:
    """At depth 2, the first layer unfolded one level further."""
    mg.manual_seed(0)
    ids = rng.integers(0, 50, (2, 7))
    loss = fused.softmax_cross_entropy(Transformer(rng)(ids), ids).named("loss")
    return mg.draw(loss, depth=2, unfold=["layers.0"])


def vanishing(rng: np.random.Generator) -> Any:
    """Eight layers of tanh with too small initial weights: the gradient vanishes on its way up."""
    x = mg.Tensor(rng.normal(size=(32, 16)))
    for k in range(8):
        with mg.scope(f"layer{k + 1}"):
            w = leaf(rng, "W", 16, 16, scale=0.06)
            x = mg.tanh(x @ w)
    return mg.draw((x * x).sum().named("loss"), depth=1, grads=True, legend=True)


def not_finite(rng: np.random.Generator) -> Any:
    """A distance of 0: the slope of the square root is infinite, and a red path leads from it to every leaf."""
    a, b = leaf(rng, "a", 3, 2), leaf(rng, "b", 3, 2)
    with mg.no_grad():
        b[0] = a[0]
    d = mg.sqrt(((a - b) ** 2).sum(axis=1)).named("d")
    return mg.draw((mg.exp(-d) * 2.0).sum().named("loss"), values=True, grads=True, formulas=True)


PICTURES = {
    "readme": readme,
    "batch-norm": batch_norm,
    "batch-norm-formulas": batch_norm_formulas,
    "batch-norm-gradients": batch_norm_gradients,
    "batch-norm-backward": batch_norm_backward,
    "batch-norm-checked": batch_norm_checked,
    "two-layers": two_layers,
    "lstm": lstm,
    "attention": attention,
    "resnet": resnet,
    "resnet-unfolded": resnet_unfolded,
    "transformer": transformer,
    "vanishing": vanishing,
    "not-finite": not_finite,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all by default")
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR")
    parser.add_argument("--format", default="svg")
    options = parser.parse_args()
    for name in options.names or PICTURES:
        print(PICTURES[name](np.random.default_rng(0)).save(options.out / f"{name}.{options.format}"))
