"""NumPy's ufuncs on exact arrays.

- Exact: arithmetic, roots, powers with rational exponents, exp of numbers with a residue modulo Q, and functions of it.
- Decided by the shadow: comparisons, maximum, minimum, sign, rounding.
- Opaque, which is a pseudo-random function of the operand's residue: log, erf, arctan ..., and exp of an exponential.
  Equal operands have equal values, so proofs with them are valid. But identities between them are not seen, except for
  these: odd functions are odd, exp(-x) = 1 / exp(x), log 1 = 0, and sin² + cos² = 1, as sine and cosine are the parts
  of an element of norm 1 of F_P².
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigrad.exact import field
from minigrad.exact.exact_array import UNKNOWN, Exact, decide, finished, integers, residue_q
from minigrad.exact.field import P, Q
from minigrad.exact.tables import UFUNCS, implements_ufunc
from minigrad.exact.unknowns import key_of


def shadow(name: str, *operands: Exact) -> Any:
    """The result of NumPy for the floats."""
    with np.errstate(all="ignore"):
        return getattr(np, name)(*(x.real for x in operands))


def _algebraic(name: str, *inputs: Any) -> Exact:
    formula, xs = ALGEBRAIC[name], [Exact.of(x) for x in inputs]
    q = residue_q(lambda *parts: formula(*parts, Q), *(x.q for x in xs))
    return finished(shadow(name, *xs), formula(*(x.p for x in xs), P) % P, q, *xs)


ALGEBRAIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, m: a + b,
    "subtract": lambda a, b, m: a - b,
    "multiply": lambda a, b, m: a * b,
    "divide": lambda a, b, m: a * field.inverse(b, m),
    "negative": lambda a, m: -a,
    "positive": lambda a, m: a,
    "conjugate": lambda a, m: a,
    "square": lambda a, m: a * a,
    "reciprocal": field.inverse,
}
UFUNCS.update({name: partial(_algebraic, name) for name in ALGEBRAIC})
UFUNCS["true_divide"] = UFUNCS["divide"]


# Decided by the shadow


for _name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal"):
    UFUNCS[_name] = lambda x, y, name=_name: decide(Exact.of(x), Exact.of(y), getattr(np, name))
for _name in ("isfinite", "isinf", "isnan", "signbit"):
    UFUNCS[_name] = lambda x, name=_name: getattr(np, name)(x.real)
for _name in ("logical_and", "logical_or", "logical_xor", "logical_not"):
    UFUNCS[_name] = lambda *xs, name=_name: getattr(np, name)(*(is_nonzero(x) for x in xs))
for _name in ("floor", "ceil", "trunc", "rint"):
    UFUNCS[_name] = lambda x, name=_name: integers(getattr(np, name), x)


def is_nonzero(x: Any) -> Any:
    """Where x is not 0, as plain bools."""
    return x.p != 0 if isinstance(x, Exact) else np.asarray(x) != 0


def choose(condition: Any, x: Any, y: Any) -> Exact:
    """np.where."""
    condition, x, y = is_nonzero(condition), Exact.of(x), Exact.of(y)
    q = None if x.q is None or y.q is None else np.where(condition, x.q, y.q)
    return Exact(np.where(condition, x.real, y.real), np.where(condition, x.p, y.p), q)


def _extreme(is_first: Any, ignores_nan: bool) -> Any:
    def compute(x: Any, y: Any) -> Exact:
        x, y = Exact.of(x), Exact.of(y)
        takes_x = decide(x, y, is_first) | np.isnan(y.real if ignores_nan else x.real)
        return choose(takes_x, x, y)

    return compute


for _name, _is_first in {"max": np.greater_equal, "min": np.less_equal}.items():
    UFUNCS[f"{_name}imum"], UFUNCS[f"f{_name}"] = _extreme(_is_first, False), _extreme(_is_first, True)


@implements_ufunc("absolute", "fabs")
def _absolute(x: Any) -> Exact:
    return choose(decide(x, Exact.of(0.0), np.less), -x, x)


@implements_ufunc("sign")
def _sign(x: Any) -> Exact:
    zero = Exact.of(0.0)
    above, below = decide(x, zero, np.greater), decide(x, zero, np.less)
    return finished(np.sign(x.real), (above * 1 - below * 1) % P, (above * 1 - below * 1) % Q, x)


@implements_ufunc("heaviside")
def _heaviside(x: Any, y: Any) -> Exact:
    x = Exact.of(x)
    return choose(x == 0, y, (x > 0) * 1)


@implements_ufunc("copysign")
def _copysign(x: Any, y: Any) -> Exact:
    size, y = abs(Exact.of(x)), Exact.of(y)
    return choose(decide(y, Exact.of(0.0), np.less), -size, size)


@implements_ufunc("floor_divide")
def _floor_divide(x: Any, y: Any) -> Any:
    return integers(np.floor, Exact.of(x) / Exact.of(y))


@implements_ufunc("remainder", "mod")
def _remainder(x: Any, y: Any) -> Any:
    return Exact.of(x) - y * _floor_divide(x, y)


@implements_ufunc("fmod")
def _fmod(x: Any, y: Any) -> Any:
    return Exact.of(x) - y * integers(np.trunc, Exact.of(x) / Exact.of(y))


# Opaque


def opaque(name: str, real: Any, *xs: Exact) -> Exact:
    """The value of an opaque function: pseudo-random, by the operands' residues."""
    return finished(real, field.scrambled(key_of(name), *(x.p for x in xs)), None, *xs)


ODD = ("arctan", "arcsin", "arcsinh", "arctanh", "erf")


def _log(name: str, x: Any) -> Exact:
    x = Exact.of(x)
    return finished(shadow(name, x), np.where(x.p == 1, 0, field.scrambled(key_of(name), x.p)), None, x)


UFUNCS.update({name: partial(_log, name) for name in ("log", "log2", "log10")})
for _name in ("arccos", "arccosh"):
    UFUNCS[_name] = lambda x, name=_name: opaque(name, shadow(name, x), x)
for _name in ("logaddexp", "logaddexp2"):
    UFUNCS[_name] = lambda x, y, name=_name: _symmetric(name, Exact.of(x), Exact.of(y))


@implements_ufunc("arctan2")
def _arctan2(x: Any, y: Any) -> Exact:
    x, y = Exact.of(x), Exact.of(y)
    return opaque("arctan2", shadow("arctan2", x, y), x, y)


def _symmetric(name: str, x: Exact, y: Exact) -> Exact:
    low, high = np.minimum(x.p, y.p), np.maximum(x.p, y.p)
    return finished(shadow(name, x, y), field.scrambled(key_of(name), low, high), None, x, y)


def _odd(name: str, x: Any) -> Exact:
    from minigrad.ops.special import erf_values

    with np.errstate(all="ignore"):
        real = erf_values(x.real) if name == "erf" else shadow(name, x)
    return finished(real, field.odd(partial(field.scrambled, key_of(name)), x.p), None, x)


UFUNCS.update({name: partial(_odd, name) for name in ODD})
UFUNCS["log1p"] = lambda x: UFUNCS["log"](x + 1)
UFUNCS["cbrt"] = lambda x: finished(np.cbrt(x.real), field.odd_root(x.p, 3), None, x)


# Exponentials, and what follows from them


def _exponential(name: str, x: Any, factor: int = 1) -> Exact:
    """4^(factor x) modulo P, for exponents modulo Q; for x without such a residue, of a pseudo-random odd function."""
    x = Exact.of(x)
    hidden = (
        None if x.q is not None and (x.q >= 0).all() else field.odd(partial(field.scrambled, key_of("exp")), x.p, Q)
    )
    exponent: Any = hidden if x.q is None else x.q if hidden is None else np.where(x.q < 0, hidden, x.q)
    q = None if x.q is None else np.where(x.p == 0, 1, UNKNOWN)
    return finished(shadow(name, x), field.exponential(exponent * factor % Q), q, x)


UFUNCS["exp"] = lambda x: _exponential("exp", x)
UFUNCS["exp2"] = lambda x: _exponential("exp2", x, 715827859)  # stands for log 2
UFUNCS["expm1"] = lambda x: UFUNCS["exp"](x) - 1


def _by_exponential(name: str, formula: Callable[[Exact], Exact], factor: int = 1) -> None:
    def compute(x: Any) -> Exact:
        value = formula(UFUNCS["exp"](x * factor if factor > 1 else x))
        return finished(shadow(name, x), value.p, value.q, x)

    UFUNCS[name] = compute


_by_exponential("sinh", lambda e: (e - 1 / e) / 2)
_by_exponential("cosh", lambda e: (e + 1 / e) / 2)
_by_exponential("tanh", lambda e: (e - 1) / (e + 1), 2)


def _circular(x: Any, name: str) -> Exact:
    """A part of (1 + it) / (1 - it), with t instead of tan(x/2): norm 1, cosine even and sine odd, 1 at 0."""
    t = field.odd(partial(field.scrambled, key_of("sin")), x.p)
    square = t * t % P
    part = 2 * t % P if name == "sin" else (1 - square) % P
    return finished(shadow(name, x), part * field.inverse((1 + square) % P, P) % P, None, x)


UFUNCS["sin"] = lambda x: _circular(x, "sin")
UFUNCS["cos"] = lambda x: _circular(x, "cos")
UFUNCS["tan"] = lambda x: UFUNCS["sin"](x) / UFUNCS["cos"](x)


# minigrad's own functions, by their definitions


def _normal_cdf(x: Any) -> Exact:
    result: Exact = (UFUNCS["erf"](Exact.of(x) * (1 / math.sqrt(2))) + 1) / 2
    return result


UFUNCS["normal_cdf"] = UFUNCS["normal_cdf_values"] = _normal_cdf
UFUNCS["erf_values"] = UFUNCS["erf"]
UFUNCS["gaussian_values"] = lambda x: UFUNCS["exp"](-(x * x))
UFUNCS["normal_pdf_values"] = lambda x: UFUNCS["exp"](x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
