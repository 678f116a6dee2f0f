"""Fan-in and fan-out, counted on the network itself.

The fan-in of a layer is the number of inputs of a unit, the fan-out the number of units that an input reaches. For a
dense kernel (in, out) these are its two sizes. For a convolution kernel (*window, in, out) both are multiplied by the
size of the window: (5, 5, 3, 6) has the fans 75 and 150, (4, 1, 20) has 4 and 80. Initializers divide the variance by
them.

They can be counted: the fan-in of a unit is the number of inputs on which its derivative is not zero, the fan-out of an
input the number of units whose derivative with respect to it is not zero. Their purpose can be measured: with
independent inputs of variance 1, a unit has the variance fan_in · Var(w).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad.app.notes import COLORS, Claim, Experiment, subplots
from minigrad.nn.init import compute_fans, he_normal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KERNELS = {  # shape of the kernel: the fans of the notes
    (4, 20): (4, 20),
    (4, 1, 20): (4, 80),
    (5, 5, 3, 6): (75, 150),
    (3, 3, 16, 32): (144, 288),
    (3, 3, 3, 4, 8): (108, 216),
}


def layer(kernel: Any, x: Any) -> Any:
    """The output of a dense layer, or of a convolution that keeps the size of the image, without bias."""
    field = kernel.shape[:-2]
    if not field:
        return x @ kernel
    convolve = {1: mg.conv1d, 2: mg.conv2d, 3: mg.conv3d}[len(field)]
    return convolve(x, kernel, padding="same")


def reach(kernel: NDArray[Any]) -> Any:
    """Two masks: the inputs of the unit in the middle, and the units that the input in the middle reaches."""
    inputs = kernel.shape[-2]
    size = tuple(2 * n + 1 for n in kernel.shape[:-2])
    middle = tuple(n // 2 for n in size)
    x = mg.Tensor(np.zeros((1, *size, inputs)), requires_grad=True)
    layer(kernel, x)[(0, *middle, 0)].backward()
    impulse = np.zeros((1, *size, inputs))
    impulse[(0, *middle, 0)] = 1
    return x.grad.numpy()[0] != 0, layer(kernel, impulse)[0] != 0


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{shape: (inputs of one unit, units that one input reaches, variance of the units for inputs of variance 1)}"""
    results = {}
    for shape in KERNELS:
        size = tuple(2 * n + 1 for n in shape[:-2])
        middle = tuple(n // 2 for n in size)
        variances = []
        for _ in range(10 if quick else 40):
            x = rng.normal(size=(50, *size, shape[-2]))
            variances.append(layer(he_normal(shape, rng=rng), x)[(slice(None), *middle)].var())
        results[shape] = *reach(he_normal(shape, rng=rng)), np.mean(variances)
    return results


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The fans as counted, as computed, and as in the notes."""
    for shape, fans in KERNELS.items():
        *field, inputs, outputs = shape
        products = [" · ".join(map(str, (*field, n))) for n in (inputs, outputs)]
        yield Claim(f"{shape}: a unit has {fans[0]} inputs, an input reaches {fans[1]} units; counted minus claimed",
            [[mask.sum() - fan for mask, fan in zip(run[shape], fans, strict=False)] for run in runs], 0, 0,
            because=f"{products[0]} = {fans[0]}, {products[1]} = {fans[1]}")  # fmt: skip
    yield Claim("nn.init.compute_fans returns the same; computed minus claimed",
        [np.subtract(compute_fans(shape), fans) for shape, fans in KERNELS.items()], 0, 0,
        because="it multiplies the same numbers")  # fmt: skip
    yield Claim("He's Var(w) = 2 / fan_in gives units the variance 2, whatever the kernel",
        [[run[shape][2] for shape in KERNELS] for run in runs], 1.7, 2.3,
        because="a unit is a sum of fan_in independent products, each of variance Var(w) · 1")  # fmt: skip


def mosaic(mask: NDArray[Any]) -> Any:
    """The channels of a mask (*size, channels) as one picture: in a column, or in rows of three."""
    if mask.ndim < 3:
        return np.atleast_2d(mask.T).astype(float)
    planes = [np.pad(plane, 1, constant_values=np.nan) for plane in np.moveaxis(mask.astype(float), -1, 0)]
    return np.block([planes[k : k + 3] for k in range(0, len(planes), 3)])


def picture(runs: list[Any]) -> Figure:
    """Above, the inputs of one unit; below, the units that one input reaches."""
    from matplotlib.colors import ListedColormap

    shown = {(4, 20): "dense (4, 20)", (4, 1, 20): "convolution (4, 1, 20)", (5, 5, 3, 6): "convolution (5, 5, 3, 6)"}
    title = "Fans are counts: how many inputs a unit has, how many units an input reaches"
    figure, axes = subplots(2, len(shown), title=title, size=(14, 6.8), height_ratios=(13, 26))
    for column, (shape, name) in zip(axes.T, shown.items(), strict=True):
        for axis, mask, color in zip(column, runs[0][shape], ("blue", "vermilion"), strict=False):
            colors = ListedColormap(["#e4e4e4", COLORS[color]])
            cells = mosaic(mask)
            axis.pcolormesh(cells, cmap=colors, vmin=0, vmax=1, edgecolors="white", linewidth=1)
            row, middle = np.array(cells.shape) / 2
            half = 6.5 if axis is column[0] else 13
            axis.set(aspect="equal", xlim=(middle - 20, middle + 20), ylim=(row + half, row - half))
            axis.set_axis_off()
        column[0].set_title(f"{name}\nfan-in {runs[0][shape][0].sum()}: inputs of one unit")
        column[1].set_title(f"fan-out {runs[0][shape][1].sum()}: units reached by one input")
    return figure


experiment = Experiment(
    "fans", __doc__, measure, claims, picture,
    caption="Blue: the inputs on which one unit depends. Red: the units that depend on one input. Rows of the middle "
    "pictures and squares of the right ones are channels.",
    seeds=(3, 2),
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
