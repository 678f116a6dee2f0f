"""Recurrent networks over whole sequences, one primitive each: steps come first, (T, N, features).

What the input gives to the gates is one product over all steps; what is left for the loop is the product with the
state. Backwards it is the same: the loop finds what arrives at the gates, and the weights' gradients are one product
each. `cells` has single steps, composed of primitives; `minigrad.fused` lists the functions of both kinds.
"""

from minigrad.functional.recurrent.gru import gru, gru_cell
from minigrad.functional.recurrent.lstm import lstm, lstm_cell
from minigrad.functional.recurrent.rnn import rnn

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn"]
