"""The arguments of convolutions and pooling: what a user may write, turned into what the primitives take.

Every refusal is a ValueError that repeats the call and gives a hint.
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

    def __init__(self, name: str, **shown: Any) -> None:
        """Keep the name of the function and what to show of its arguments."""
        self.name, self.shown = name, shown

    def error(self, reason: str) -> ValueError:
        """The error to raise: the call, and the reason."""
        shown = ", ".join(f"{key}={value!r}" for key, value in self.shown.items())
        return ValueError(f"{self.name}({shown}): {reason}")

    def numbers(self, argument: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
        """One whole number for each spatial axis, from one for all of them or a sequence."""
        try:
            numbers = (operator.index(value),) * rank
        except TypeError:
            try:
                numbers = tuple(map(operator.index, value))
            except TypeError:
                numbers = ()
        if len(numbers) != rank or min(numbers) < least:
            raise self.error(f"{argument}={value!r} must be a whole number >= {least}, or a tuple of {rank} of them")
        return numbers

    def padding(self, value: Any, size: Sizes, window: Sizes, stride: Sizes, dilation: Sizes) -> Pairs:
        """A pair (before, after) for each spatial axis, from "valid", "same", numbers or pairs."""
        rank = len(size)
        if isinstance(value, str):
            if value == "valid":
                return ((0, 0),) * rank
            if value != "same":
                raise self.error(f'padding={value!r} must be "valid", "same", a whole number, or pairs (before, after)')
            return same_padding(size, window, stride, dilation)
        try:
            pairs = tuple(tuple(map(operator.index, pair)) for pair in value)
        except TypeError:
            return tuple((n, n) for n in self.numbers("padding", value, rank, least=0))
        if len(pairs) != rank or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
            raise self.error(f"padding={value!r} must have a pair (before, after), both >= 0, for each of {rank} axes")
        return tuple((before, after) for before, after in pairs)

    def spatial(self, shape: Sizes, rank: int) -> None:
        """Refuses an x that does not have a batch axis, `rank` spatial axes and a channel axis."""
        if len(shape) != rank + 2:
            remedy = "; for a single sample, write x[None]" if len(shape) == rank + 1 else ""
            raise self.error(f"x has {len(shape)} axes, {rank + 2} are needed, {LAYOUT[rank]}{remedy}")

    def fits(self, size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> None:
        """Refuses a window larger than the padded input."""
        if 0 in output_size(size, window, stride, padding, dilation):
            padded = tuple(n + sum(pair) for n, pair in zip(size, padding, strict=True))
            raise self.error(
                f"a window that covers {extent(window, dilation)} does not fit into the spatial axes {tuple(size)} "
                f"of x, {padded} with padding; minigrad is channels last {LAYOUT[len(size)]}. "
                'Make the window smaller, or pad more (padding="same")'
            )

    def kernel(self, x_shape: Sizes, w_shape: Sizes, rank: int, groups: int, layout: str) -> int:
        """The number of groups; refuses an x or a kernel with other axes than a convolution's."""
        self.spatial(x_shape, rank)
        if len(w_shape) != rank + 2 or 0 in w_shape[:-2]:
            raise self.error(f"w must have {rank + 2} axes {layout} and a window of at least one tap")
        return self.numbers("groups", groups, 1)[0]

    def bias(self, bias: Any, out: int) -> None:
        """Refuses a bias that does not have one number for each of the `out` channels."""
        shape = np.shape(bias)
        if bias is not None and shape != (out,):
            raise self.error(f"bias must have the shape ({out},), one number for each output channel, not {shape}")


def same_padding(size: Sizes, window: Sizes, stride: Sizes, dilation: Sizes) -> Pairs:
    """What makes ceil(size / stride) outputs, as in TensorFlow and Keras: an odd rest goes after.

    >>> same_padding((5, 6), (3, 3), (1, 2), (1, 1))
    ((1, 1), (0, 1))
    """
    axes = zip(size, stride, extent(window, dilation), strict=True)
    totals = [max(0, (-(-n // s) - 1) * s + e - n) for n, s, e in axes]
    return tuple((total // 2, total - total // 2) for total in totals)


def channels_first(shape: Sizes, channels: int) -> str:
    """The remedy, where the channels that were expected last are on axis 1; else nothing."""
    rank = len(shape) - 2
    if shape[1] != channels:
        return ""
    axes = (0, *range(2, rank + 2), 1)
    return (
        f"; x has {channels} channels on axis 1, and minigrad is channels last {LAYOUT[rank]}: "
        f"x = mg.permute_dims(x, {axes})"
    )


def torch_kernel(w_shape: Sizes, second: int) -> str:
    """The remedy, where axis 1 of the kernel is what PyTorch has there; else nothing."""
    rank = len(w_shape) - 2
    if w_shape[1] != second:
        return ""
    axes = (*range(2, rank + 2), 1, 0)
    return f"; w reads as PyTorch's, with the window last: w = mg.permute_dims(w, {axes})"
