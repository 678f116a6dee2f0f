"""Formulas from the rules themselves: arrays of symbols on which a primitive's rule is run."""

from minigrad.symbols.array import Symbol, intercepting
from minigrad.symbols.expression import Call, Expression, Name, Number
from minigrad.symbols.formulas import computed, contributions, formula, local_derivatives
from minigrad.symbols.latex import latex
from minigrad.symbols.writing import text

__all__ = [
    "Call",
    "Expression",
    "Name",
    "Number",
    "Symbol",
    "computed",
    "contributions",
    "formula",
    "intercepting",
    "latex",
    "local_derivatives",
    "text",
]  # fmt: skip
