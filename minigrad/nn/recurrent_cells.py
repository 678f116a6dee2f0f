"""Recurrent cells: one step, with its parameters. Kernels are (in, gates · H)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from minigrad import functional, fused
from minigrad.nn import init
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_sizes
from minigrad.nn.parameter import new_parameter
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator

State = tuple[Any, ...]  # (h,), of an LSTM (h, c)
Parameters = tuple[Any, ...]  # both kernels and both biases
S = TypeVar("S")  # a state as users see it: h, of an LSTM (h, c)


def make_parameters(
    module: Module, gates: int, input_size: int, hidden_size: int, bias: bool, suffix: str, rng: Any, dtype: Any
) -> None:
    """Set the attributes weight_ih, weight_hh, bias_ih and bias_hh, with the suffix: U(±1/√H), as in PyTorch."""
    bound = 1 / math.sqrt(hidden_size)
    draw = partial(init.random_uniform, minval=-bound, maxval=bound)
    columns = gates * hidden_size
    for name, shape in (("weight_ih", (input_size, columns)), ("weight_hh", (hidden_size, columns))):
        setattr(module, name + suffix, new_parameter(draw, shape, rng=rng, dtype=dtype))
    for name in ("bias_ih", "bias_hh"):
        setattr(module, name + suffix, new_parameter(draw, (columns,), rng=rng, dtype=dtype) if bias else None)


def parameters_of(module: Module, suffix: str) -> Parameters:
    """(weight_ih, weight_hh, bias_ih, bias_hh) with the suffix, and the number 0 for a missing bias."""
    weight_ih, weight_hh, bias_ih, bias_hh = (
        getattr(module, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return (weight_ih, weight_hh, 0.0, 0.0) if bias_ih is None else (weight_ih, weight_hh, bias_ih, bias_hh)


def zero_state(x: Any, shape: tuple[int, ...], weight: Tensor) -> Any:
    """An initial state of zeros, of the kind of array that x is."""
    return np.zeros_like(
        x.data if isinstance(x, Tensor) else x, shape=shape, dtype=np.result_type(x.dtype, weight.dtype)
    )


class _Cell(Module, Generic[S]):
    """The parameters and checks of a cell; subclasses define `step`."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    weight_ih: Tensor
    bias_ih: Tensor | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, rng: Any = None, dtype: Any = None
    ) -> None:
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        make_parameters(self, self.gates, input_size, hidden_size, bias, "", generator(rng), dtype)

    def step(self, x: Any, state: State, parameters: Parameters) -> State:
        """The next state. Subclasses define it."""
        raise NotImplementedError

    def forward(self, x: Any, state: Any = None) -> S:
        """The state after one step.

        Args:
            x: (N, input_size)
            state: h (N, hidden_size), of an LSTM a pair (h, c); zeros if not given.
        """
        if len(x.shape) != 2 or x.shape[1] != self.input_size:
            raise self._input_error(f"expected x of shape (N, {self.input_size}), got {x.shape}")
        shape = (x.shape[0], self.hidden_size)
        parts = state_parts(self, state, self.states, shape)
        if parts is None:
            parts = (zero_state(x, shape, self.weight_ih),) * self.states
        after: Any = self.step(x, parts, parameters_of(self, ""))
        return after if self.states > 1 else after[0]

    def extra_repr(self) -> str:
        bias = "" if self.bias_ih is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


def state_parts(module: Module, state: Any, count: int, shape: tuple[int, ...]) -> State | None:
    """The parts of a state, None for no state; their shapes are checked."""
    if state is None:
        return None
    parts: State = (state,) if count == 1 else tuple(state)
    if [np.shape(part) for part in parts] != [shape] * count:
        expected = f"h {shape}" if count == 1 else f"a pair (h, c), each {shape}"
        raise module._input_error(f"expected the state {expected}, got shapes {[np.shape(part) for part in parts]}")
    return parts


class RNNCell(_Cell[Tensor]):
    """A step of a plain recurrent network: h' = f(x Wⁱ + bⁱ + h Wʰ + bʰ) (`functional.rnn_cell`).

    Args:
        input_size: the size of x's last axis.
        hidden_size: H.
        bias: whether there are biases. All parameters start as U(±1/√H).
        nonlinearity: f, "tanh" or "relu".
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; the nonlinearity is unknown; x or the state has another shape.

    Example:
        >>> RNNCell(3, 2, rng=0)(np.ones((5, 3))).shape
        (5, 2)
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, rng, dtype)
        self.nonlinearity = nonlinearity

    def step(self, x: Any, state: State, parameters: Parameters) -> State:
        return (functional.rnn_cell(x, state[0], *parameters, nonlinearity=self.nonlinearity),)


def check_nonlinearity(layer: str, nonlinearity: str) -> None:
    """Check that the name of a nonlinearity is known."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{layer}(nonlinearity={nonlinearity!r}): must be 'tanh' or 'relu'")


class LSTMCell(_Cell[tuple[Tensor, Tensor]]):
    """A step of long short-term memory (`fused.lstm_cell`): called with x and (h, c), it returns the next (h, c).

    Args:
        input_size: the size of x's last axis.
        hidden_size: H.
        bias: whether there are biases. All parameters start as U(±1/√H).
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; x or the state has another shape.

    `weight_ih` has the shape (input_size, 4H), columns in the order i, f, g, o: the transpose of PyTorch's.

    Example:
        >>> h, c = LSTMCell(3, 2, rng=0)(np.ones((5, 3)))
        >>> h.shape, c.shape
        ((5, 2), (5, 2))
    """

    gates, states = 4, 2

    def step(self, x: Any, state: State, parameters: Parameters) -> State:
        return fused.lstm_cell(x, state[0], state[1], *parameters)


class GRUCell(_Cell[Tensor]):
    """A step of a gated recurrent unit (`fused.gru_cell`).

    Args:
        input_size, hidden_size, bias, rng, dtype: as in LSTMCell.

    Raises:
        ValueError: a size is not positive; x or the state has another shape.

    `weight_ih` has the shape (input_size, 3H), columns in the order r, z, n: the transpose of PyTorch's.

    Example:
        >>> GRUCell(3, 2, rng=0)(np.ones((5, 3))).shape
        (5, 2)
    """

    gates = 3

    def step(self, x: Any, state: State, parameters: Parameters) -> State:
        return (fused.gru_cell(x, state[0], *parameters),)
