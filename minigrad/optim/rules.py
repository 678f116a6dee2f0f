"""Update rules on arrays: from a gradient and a state to the change that the optimizer subtracts.

A rule is called with p, the parameters, g, their gradient, state, its own arrays by name, and step, the number of steps
including this one. lr is an array without axes of g's dtype, step one of integers, so that a recorded step sees them
change. Nothing is in less than single precision. A rule writes only into its state and into `work`, scratch of g's
shape, and returns the change, perhaps in one of these; p and g stay as they are. All of it is elementwise: parameters
may lie in one flat array.

Here each rule is a function whose options have the defaults of its optimizer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from minigrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from minigrad.optim.adaptive import Adadelta, Adagrad, RMSprop
from minigrad.optim.averages import Array, State
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.sgd import SGD, Lion

__all__ = ["adadelta", "adagrad", "adam", "adamax", "adamw", "lion", "nadam", "radam", "rmsprop", "sgd"]


def _rule_of(method: type[Optimizer]) -> Callable[..., Array]:
    parameters = inspect.signature(method).parameters.values()
    defaults = {x.name: x.default for x in parameters if x.name != "lr" and x.default is not x.empty}

    def rule(p: Array, g: Array, state: State, step: Array, work: Array, *, lr: Array, **options: object) -> Array:
        return method.rule(p, g, state, step, work, lr=lr, **{**defaults, **options})

    rule.__name__ = rule.__qualname__ = method.__name__.lower()
    rule.__doc__ = method.__doc__
    return rule


sgd, lion = _rule_of(SGD), _rule_of(Lion)
adagrad, rmsprop, adadelta = _rule_of(Adagrad), _rule_of(RMSprop), _rule_of(Adadelta)
adam, adamw, adamax, nadam, radam = map(_rule_of, (Adam, AdamW, Adamax, NAdam, RAdam))
