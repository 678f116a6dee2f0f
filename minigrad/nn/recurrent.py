"""Recurrent layers. Sequences are batch first, (N, T, features); kernels are (in, gates · H)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic

import numpy as np

from minigrad import functional, fused
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_dropout, check_sizes
from minigrad.nn.recurrent_cells import (
    Parameters,
    S,
    State,
    check_nonlinearity,
    make_parameters,
    parameters_of,
    state_parts,
    zero_state,
)
from minigrad.ops.shape import concat, flip, stack
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator


class _Recurrent(Module, Generic[S]):
    """Layers that run over a sequence, in one or both directions; subclasses define `run` for one of them."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    weight_ih_l0: Tensor
    bias_ih_l0: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        check_sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_dropout(name, dropout)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.dropout, self.bidirectional = dropout, bidirectional
        self.rng = None if rng is None else generator(rng)
        directions = 2 if bidirectional else 1
        for layer in range(num_layers):
            size = hidden_size * directions if layer else input_size
            for suffix in self._suffixes(layer):
                make_parameters(self, self.gates, size, hidden_size, bias, suffix, generator(self.rng), dtype)

    def run(self, x: Any, state: State, parameters: Parameters) -> tuple[Any, State]:
        """The outputs (T, N, H) for x (T, N, features), and the last state. Subclasses define it."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...  # weight_ih_l0, bias_hh_l1_reverse, ...

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def forward(self, x: Any, state: Any = None, lengths: None = None) -> tuple[Tensor, S]:
        """The outputs of the last layer at all steps, and the state of all layers after the last step.

        Args:
            x: (N, T, input_size)
            state: h (layers · directions, N, H), of an LSTM a pair (h, c); zeros if not given.

        Returns:
            outputs (N, T, directions · H), forward direction first, and the state in the form of the argument.

        Raises:
            TypeError: lengths are given; the message says what to do instead.
            ValueError: x or the state has another shape.
        """
        if lengths is not None:
            raise TypeError(
                f"{type(self).__name__}(lengths=...): all sequences of a call have T steps. Pad them at the end; the "
                "outputs before the padding do not depend on it (in one direction), so take those at the last steps, "
                "outputs[np.arange(N), np.asarray(lengths) - 1], and mask the others in the loss; or run sequences of "
                "equal length together"
            )
        if len(x.shape) != 3 or x.shape[2] != self.input_size or not x.shape[1]:
            raise self._input_error(f"expected x of shape (N, T, {self.input_size}) with T at least 1, got {x.shape}")
        directions = 1 + self.bidirectional
        shape = (self.num_layers * directions, x.shape[0], self.hidden_size)
        initial = state_parts(self, state, self.states, shape)
        zeros = (zero_state(x, shape[1:], self.weight_ih_l0),) * self.states
        sequence = np.swapaxes(x, 0, 1)
        final: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                sequence = functional.dropout(sequence, p=self.dropout, training=self.training, rng=self.rng)
            outputs = []
            for suffix in self._suffixes(layer):
                start = zeros if initial is None else tuple(part[len(final)] for part in initial)
                backwards = suffix.endswith("_reverse")
                y, end = self.run(_flipped_if(backwards, sequence), start, parameters_of(self, suffix))
                outputs.append(_flipped_if(backwards, y))
                final.append(end)
            sequence = outputs[0] if directions == 1 else concat(outputs, axis=-1)
        after: Any = tuple(stack(parts, axis=0) for parts in zip(*final, strict=True))
        return np.swapaxes(sequence, 0, 1), after if self.states > 1 else after[0]

    def extra_repr(self) -> str:
        extra = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        extra += "" if self.bias_ih_l0 is not None else ", bias=False"
        extra += f", dropout={self.dropout}" if self.dropout else ""
        extra += ", bidirectional=True" if self.bidirectional else ""
        return f"{self.input_size}, {self.hidden_size}{extra}"


def _flipped_if(backwards: bool, sequence: Any) -> Any:
    return flip(sequence, axis=0) if backwards else sequence


class RNN(_Recurrent[Tensor]):
    """A plain recurrent network over sequences (Elman 1990; `fused.rnn`).

    Args:
        input_size: the size of x's last axis.
        hidden_size: H.
        num_layers: how many; each layer runs over the outputs of the previous one.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases. All parameters start as U(±1/√H).
        dropout: the probability of dropping an output between layers in training.
        bidirectional: whether each layer also runs from the end, with parameters of its own.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; an option is unknown; x or the state has another shape.

    Called with x (N, T, input_size) and optionally h (layers · directions, N, H), it returns the outputs
    (N, T, directions · H) and the last h. Parameters are called as in PyTorch, `weight_ih_l0` and so on; kernels are
    transposed.

    Example:
        >>> import numpy as np
        >>> outputs, h = RNN(3, 2, rng=0)(np.ones((5, 4, 3)))
        >>> outputs.shape, h.shape
        ((5, 4, 2), (1, 5, 2))
    """

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", **options: Any
    ) -> None:
        check_nonlinearity("RNN", nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.nonlinearity = nonlinearity

    def run(self, x: Any, state: State, parameters: Parameters) -> tuple[Any, State]:
        outputs, h = fused.rnn(x, *state, *parameters, nonlinearity=self.nonlinearity)
        return outputs, (h,)


class LSTM(_Recurrent[tuple[Tensor, Tensor]]):
    """Long short-term memory over sequences (Hochreiter & Schmidhuber 1997; `fused.lstm`).

    Args:
        input_size: the size of x's last axis.
        hidden_size: H.
        num_layers: how many; each layer runs over the outputs of the previous one.
        bias: whether there are biases. All parameters start as U(±1/√H).
        dropout: the probability of dropping an output between layers in training.
        bidirectional: whether each layer also runs from the end, with parameters of its own.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; x or the state has another shape.

    Called with x (N, T, input_size) and optionally (h, c), each (layers · directions, N, H), it returns the outputs
    (N, T, directions · H) and the last (h, c). Parameters are called as in PyTorch, `weight_ih_l0` and so on; kernels
    are transposed, (in, 4H) with columns in the order i, f, g, o.

    Example:
        >>> import numpy as np
        >>> outputs, (h, c) = LSTM(3, 2, num_layers=2, bidirectional=True, rng=0)(np.ones((5, 4, 3)))
        >>> outputs.shape, h.shape, c.shape
        ((5, 4, 4), (4, 5, 2), (4, 5, 2))
    """

    gates, states = 4, 2

    def run(self, x: Any, state: State, parameters: Parameters) -> tuple[Any, State]:
        return fused.lstm(x, *state, *parameters)


class GRU(_Recurrent[Tensor]):
    """Gated recurrent units over sequences (Cho et al. 2014; `fused.gru`).

    Args:
        input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng, dtype: as in LSTM.

    Raises:
        ValueError: a size is not positive; x or the state has another shape.

    Called with x (N, T, input_size) and optionally h (layers · directions, N, H), it returns the outputs
    (N, T, directions · H) and the last h. Parameters are called as in PyTorch, `weight_ih_l0` and so on; kernels are
    transposed, (in, 3H) with columns in the order r, z, n.

    Example:
        >>> import numpy as np
        >>> outputs, h = GRU(3, 2, rng=0)(np.ones((5, 4, 3)))
        >>> outputs.shape, h.shape
        ((5, 4, 2), (1, 5, 2))
    """

    gates = 3

    def run(self, x: Any, state: State, parameters: Parameters) -> tuple[Any, State]:
        outputs, h = fused.gru(x, *state, *parameters)
        return outputs, (h,)
