"""Update rules on arrays: from a gradient and a state to the change that the optimizer subtracts.

A rule is called with p, the parameters, g, their gradient, state, its own arrays by name, and step, how many steps
there were, this one included. lr is an array without axes of g's dtype, step one of integers, so that a recorded step
sees them change. Nothing is in less than single precision. A rule writes only into its state and into `work`, scratch
of g's shape, and returns the change, perhaps in one of these; p and g stay as they are. All of it is elementwise:
parameters may lie in one flat array.
"""

from minigrad.optim.rules.adam import adam, adamax, adamw, nadam, radam
from minigrad.optim.rules.descent import adadelta, adagrad, lion, rmsprop, sgd

__all__ = ["adadelta", "adagrad", "adam", "adamax", "adamw", "lion", "nadam", "radam", "rmsprop", "sgd"]
