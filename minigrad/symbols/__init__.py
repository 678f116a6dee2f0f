"""Formulas from the rules themselves: a rule is run on arrays of symbols, and the result is its formula."""

from minigrad.symbols.expression import Call, Expression, Name, Number
from minigrad.symbols.formulas import computed, contributions, formula, local_derivatives
from minigrad.symbols.latex import latex
from minigrad.symbols.notation import text
from minigrad.symbols.symbol import Symbol, intercepting

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
