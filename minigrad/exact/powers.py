"""Roots and powers of exact arrays."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from minigrad.exact import field
from minigrad.exact.exact_array import UNKNOWN, Exact, NotASquare, finished, residue_q, roots_are_opaque
from minigrad.exact.exact_ufuncs import shadow
from minigrad.exact.field import P, Q, Residues
from minigrad.exact.float_values import simple
from minigrad.exact.tables import UFUNCS, implements_ufunc
from minigrad.exact.unknowns import ROOT, is_changed, key_of

LARGEST = 64  # numerator or denominator of an exponent that is computed by products and roots


@implements_ufunc("sqrt")
def _sqrt(x: Any) -> Exact:
    x = Exact.of(x)
    with np.errstate(all="ignore"):
        real = np.sqrt(x.real)
    p = field.square_root(x.p)
    is_root = p * p % P == x.p
    if not is_root.all():
        if not roots_are_opaque():
            raise NotASquare("the root of a number that is not a square modulo P", ~is_root)
        p = np.where(is_root, p, field.scrambled(key_of(ROOT), x.p))
    if is_changed(ROOT):
        p = np.where(field.scrambled(key_of(ROOT), x.p) & 1, p, (P - p) % P)
    return finished(real, p, None, x)


UFUNCS["hypot"] = lambda x, y: UFUNCS["sqrt"](Exact.of(x) * x + Exact.of(y) * y)


@implements_ufunc("power", "float_power")
def _power(x: Any, y: Any) -> Exact:
    """x^y by products and roots for a small rational y, otherwise an opaque function of both."""
    x, y = Exact.of(x), Exact.of(y)
    real = shadow("power", x, y)
    exponents, positions = np.unique(np.where(np.isfinite(y.real), y.real, 0.5), return_inverse=True)
    p = np.asarray(field.scrambled(key_of("power"), x.p, y.p))
    q = None if x.q is None else np.full(p.shape, UNKNOWN)
    if exponents.size > LARGEST:
        return finished(real, p, q, x, y)
    for k, exponent in enumerate(exponents):
        e = _exponent(float(exponent))
        if e is None:
            continue
        applies = np.broadcast_to((positions.reshape(y.shape) == k) & (y.p == _residue(e)), p.shape)
        if applies.all() or applies.any():
            base = Exact(np.broadcast_to(x.real, p.shape)[applies], np.broadcast_to(x.p, p.shape)[applies])
            p = p.copy()
            p[applies] = _rational_power(base, e)
            if x.q is not None and q is not None and e.denominator == 1:
                exact_q = residue_q(lambda a, n=e.numerator: field.power(a, n, Q), np.broadcast_to(x.q, p.shape))
                q = np.where(applies, exact_q, q)
    return finished(real, p, q, x, y)


def _exponent(y: float) -> Fraction | None:
    e = Fraction(0) if y == 0 else simple(y, 1e-12)
    return e if e is not None and abs(e.numerator) <= LARGEST and e.denominator <= LARGEST else None


def _residue(e: Fraction) -> int:
    return int(e.numerator * pow(e.denominator, -1, P) % P)


def _rational_power(x: Exact, e: Fraction) -> Residues:
    degree = e.denominator
    while degree % 2 == 0:
        x, degree = _sqrt(x), degree // 2
    p = x.p if degree == 1 else field.odd_root(x.p, degree)
    return field.power(p, e.numerator, P)


@implements_ufunc("ldexp")
def _ldexp(x: Any, n: Any) -> Any:
    return Exact.of(x) * _power(2.0, n)
