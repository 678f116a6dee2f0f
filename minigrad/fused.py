"""Functions as single primitives, whose derivative is written by hand: each call is one node of the tape.

Each is the same function as its composition in `minigrad.functional`, and the tests compare the two. They share a file
in `minigrad/functional/`. A function may write into arrays that it allocated itself. A rule does not write, so that it
can be recorded in turn.
"""

from minigrad.functional.activations import fused_softmax as softmax
from minigrad.functional.activations import gelu
from minigrad.functional.attention import attention
from minigrad.functional.linear_maps import fused_linear as linear
from minigrad.functional.losses.likelihood import softmax_cross_entropy
from minigrad.functional.normalization.batch import fused_batch_norm as batch_norm
from minigrad.functional.normalization.layer import fused_layer_norm as layer_norm
from minigrad.functional.recurrent.gru import fused_gru_cell as gru_cell
from minigrad.functional.recurrent.gru import gru
from minigrad.functional.recurrent.lstm import fused_lstm_cell as lstm_cell
from minigrad.functional.recurrent.lstm import lstm
from minigrad.functional.recurrent.rnn import rnn

__all__ = [
    "attention",
    "batch_norm",
    "gelu",
    "gru",
    "gru_cell",
    "layer_norm",
    "linear",
    "lstm",
    "lstm_cell",
    "rnn",
    "softmax",
    "softmax_cross_entropy",
]
