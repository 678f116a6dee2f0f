"""The arguments of convolutions and pooling: checked, and converted to what the primitives take.

Every error is a ValueError that repeats the call and says what to do.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.ops.spatial.windows import Pairs, Sizes, extent, output_size

Numbers = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]

LAYOUT = {1: "(N, L, C)", 2: "(N, H, W, C)", 3: "(N, D, H, W, C)"}


class Call:
    """The user's call, to be repeated in an error: Call("conv2d", x=x.shape, w=w.shape)."""

    def __init__(self, name: str, **arguments: Any) -> None:
        """Keep the name of the function and the arguments that errors show."""
        self.name, self.arguments = name, arguments

    def error(self, reason: str) -> ValueError:
        """The error to raise: the call, and the reason."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return ValueError(f"{self.name}({arguments}): {reason}")

    def integers(self, argument: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
        """One integer for each spatial axis, from one for all of them or a sequence."""
        try:
            integers = (operator.index(value),) * rank
        except TypeError:
            try:
                integers = tuple(map(operator.index, value))
            except TypeError:
                integers = ()
        if len(integers) != rank or min(integers) < least:
            raise self.error(f"{argument}={value!r} must be an integer >= {least}, or a tuple of {rank} of them")
        return integers

    def padding(self, value: Any, size: Sizes, window: Sizes, stride: Sizes, dilation: Sizes) -> Pairs:
        """A pair (before, after) for each spatial axis, from "valid", "same", integers or pairs."""
        rank = len(size)
        if isinstance(value, str):
            if value == "valid":
                return ((0, 0),) * rank
            if value != "same":
                raise self.error(f'padding={value!r} must be "valid", "same", an integer, or pairs (before, after)')
            return same_padding(size, window, stride, dilation)
        try:
            pairs = tuple(tuple(map(operator.index, pair)) for pair in value)
        except TypeError:
            return tuple((n, n) for n in self.integers("padding", value, rank, least=0))
        if len(pairs) != rank or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
            raise self.error(f"padding={value!r} must have a pair (before, after), both >= 0, for each of {rank} axes")
        return tuple((before, after) for before, after in pairs)

    def check_rank(self, shape: Sizes, rank: int) -> None:
        """Refuse an x that does not have a batch axis, `rank` spatial axes and a channel axis."""
        if len(shape) != rank + 2:
            hint = "; for a single sample, write x[None]" if len(shape) == rank + 1 else ""
            raise self.error(f"expected x with {rank + 2} axes {LAYOUT[rank]}, got {len(shape)} axes{hint}")

    def check_window(self, size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> None:
        """Refuse a window larger than the padded input."""
        if 0 in output_size(size, window, stride, padding, dilation):
            padded = tuple(n + sum(pair) for n, pair in zip(size, padding, strict=True))
            raise self.error(
                f"a window that covers {extent(window, dilation)} does not fit into the spatial axes {tuple(size)} "
                f"of x, {padded} with padding; minigrad is channels last {LAYOUT[len(size)]}. "
                'Make the window smaller, or pad more (padding="same")'
            )

    def check_kernel(self, w_shape: Sizes, rank: int, layout: str) -> None:
        """Refuse a kernel that does not have the axes of the layout."""
        if len(w_shape) != rank + 2 or 0 in w_shape[:-2]:
            raise self.error(f"w must have {rank + 2} axes {layout} and a window of at least one tap")

    def check_bias(self, bias: Any, out: int) -> None:
        """Refuse a bias that does not have one number for each of the `out` channels."""
        shape = np.shape(bias)
        if bias is not None and shape != (out,):
            raise self.error(f"bias must have the shape ({out},), one number for each output channel, not {shape}")


def same_padding(size: Sizes, window: Sizes, stride: Sizes, dilation: Sizes) -> Pairs:
    """The padding for ceil(size / stride) outputs, as in TensorFlow and Keras: an odd total has one more after.

    >>> same_padding((5, 6), (3, 3), (1, 2), (1, 1))
    ((1, 1), (0, 1))
    """
    axes = zip(size, stride, extent(window, dilation), strict=True)
    totals = [max(0, (-(-n // s) - 1) * s + e - n) for n, s, e in axes]
    return tuple((total // 2, total - total // 2) for total in totals)


def channels_first_hint(shape: Sizes, channels: int) -> str:
    """What to write instead if x has the expected number of channels on axis 1; empty otherwise."""
    rank = len(shape) - 2
    if shape[1] != channels:
        return ""
    axes = (0, *range(2, rank + 2), 1)
    return (
        f"; x has {channels} channels on axis 1, and minigrad is channels last {LAYOUT[rank]}: "
        f"x = mg.permute_dims(x, {axes})"
    )


def torch_kernel_hint(w_shape: Sizes, second: int) -> str:
    """What to write instead if axis 1 of the kernel has the size that it has in PyTorch; empty otherwise."""
    rank = len(w_shape) - 2
    if w_shape[1] != second:
        return ""
    axes = (*range(2, rank + 2), 1, 0)
    return f"; w has PyTorch's layout, with the window last: w = mg.permute_dims(w, {axes})"
