"""Arithmetic modulo a prime, on int64 arrays of residues.

Residues are reduced: 0 <= a < m. Both primes are below 2^31, so that a product of two residues fits in int64.

P = 2Q + 1 is a safe prime. The squares modulo P are a cyclic group of prime order Q, which 4 generates: x -> 4^x maps
exponents modulo Q to it, and sums to products, as exp does. P = 3 mod 4, so of a and -a exactly one is a square, and
the root a^((P+1)/4) of a square is a square itself: roots of products are products of roots. P - 1 has no odd factor
but Q, so every element has exactly one root of each small odd degree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Residues = NDArray[np.int64]

P = 2147483579
Q = 1073741789
GENERATOR = 4
LIMB = 16  # bits
TERMS = 1 << 20  # the most terms with which a sum of products of limbs is exact in float64


def power(a: Any, n: int, m: int) -> Residues:
    """a^n for a Python integer n, which may be negative.

    Example:
        >>> power(np.array([2, 3]), 3, P).tolist()
        [8, 27]
    """
    if n < 0:
        return power(inverse(a, m), -n, m)
    base, out = np.asarray(a, np.int64), np.ones_like(a, dtype=np.int64)
    while n:
        if n & 1:
            out = out * base % m
        n >>= 1
        if n:
            base = base * base % m
    return out


def inverse(a: Any, m: int) -> Residues:
    """1 / a, and 0 where a is 0. One inversion for all elements (Montgomery's trick), and three products for each.

    Example:
        >>> a = np.array([1, 2, 0, 7, 5])
        >>> (a * inverse(a, P) % P).tolist()
        [1, 1, 0, 1, 1]
    """
    flat = np.asarray(a, np.int64).ravel()
    is_zero = flat == 0
    inverses = np.where(is_zero, 0, _inverses(np.where(is_zero, 1, flat), m))
    return inverses.reshape(np.shape(a))


def _inverses(a: Residues, m: int) -> Residues:
    if a.size <= 8:
        return np.array([pow(x, -1, m) for x in a.tolist()], np.int64)
    half = a.size // 2
    low, high, rest = a[:half], a[half : 2 * half], a[2 * half :]
    both = _inverses(np.concatenate([low * high % m, rest]), m)
    pairs = both[:half]
    return np.concatenate([high * pairs % m, low * pairs % m, both[half:]])


def is_square(a: Any) -> NDArray[np.bool_]:
    """Whether a has a square root modulo P, by Euler's criterion. 0 is a square."""
    result: NDArray[np.bool_] = power(a, Q, P) <= 1
    return result


def square_root(a: Any) -> Residues:
    """The root modulo P that is itself a square; for an element that is not a square, the root of its negative."""
    return power(a, (P + 1) // 4, P)


def odd_root(a: Any, degree: int) -> Residues:
    """The root modulo P of an odd degree below Q, which is unique."""
    return power(a, pow(degree, -1, P - 1), P)


@cache
def _powers_of_generator() -> tuple[Residues, ...]:
    """Tables of 4^j, 4^(2^10 j) and 4^(2^20 j) for j below 2^10."""
    tables, base = [], GENERATOR
    for _ in range(3):
        table = np.ones(1 << 10, np.int64)
        for j in range(1, 1 << 10):
            table[j] = table[j - 1] * base % P
        tables.append(table)
        base = int(table[-1]) * base % P
    return tuple(tables)


def exponential(x: Any) -> Residues:
    """4^x modulo P, for exponents modulo Q.

    Example:
        >>> x, y = np.array(Q - 5), np.array(12)
        >>> bool(exponential(x) * exponential(y) % P == exponential((x + y) % Q))
        True
    """
    low, middle, high = _powers_of_generator()
    x = np.asarray(x, np.int64)
    result: Residues = low[x & 1023] * middle[(x >> 10) & 1023] % P * high[x >> 20] % P
    return result


def bilinear(function: Callable[..., Any], a: Any, b: Any, m: int, terms: int) -> Residues:
    """A function that is linear in both operands, such as matmul, applied to residues.

    It is computed in float64 on the upper and lower halves of the operands, which is exact, and fast with BLAS.

    Args:
        function: of two float64 arrays.
        a: residues.
        b: residues.
        m: the modulus.
        terms: the largest number of products that are added up in an element of the result.

    Raises:
        ValueError: there are too many terms for an exact sum.
    """
    if terms > TERMS:
        raise ValueError(f"a sum of {terms} products cannot be computed exactly; at most {TERMS} products can")
    halves = [(part >> LIMB, part & ((1 << LIMB) - 1)) for part in (np.asarray(a), np.asarray(b))]
    (a1, a0), (b1, b0) = [tuple(half.astype(np.float64) for half in pair) for pair in halves]

    def product(x: Any, y: Any) -> Residues:
        return np.asarray(function(x, y)).astype(np.int64) % m

    high, low = product(a1, b1), product(a0, b0)
    middle = (product(a1, b0) + product(a0, b1)) % m
    result: Residues = (((high << LIMB) % m + middle) % m * (1 << LIMB) % m + low) % m
    return result


def product_along(a: Residues, axis: int, m: int) -> Residues:
    """The product along an axis, which is kept with size 1."""
    a = np.moveaxis(a, axis, 0)
    if not len(a):
        a = np.ones((1, *a.shape[1:]), np.int64)
    while len(a) > 1:
        half = len(a) // 2
        a = np.concatenate([a[:half] * a[half : 2 * half] % m, a[2 * half :]])
    return np.moveaxis(a, 0, axis)


def accumulated(step: Callable[[Any, Any], Any], a: Residues, axis: int) -> Residues:
    """All of a_0, step(a_0, a_1), step(step(a_0, a_1), a_2), ... along an axis."""
    out = np.moveaxis(a.copy(), axis, 0)
    for k in range(1, len(out)):
        out[k] = step(out[k - 1], out[k])
    return np.moveaxis(out, 0, axis)


def scrambled(key: int, *operands: Any) -> Residues:
    """A pseudo-random function of residues modulo P: equal operands give equal values (SplitMix64, Steele et al. 2014).

    Example:
        >>> a = scrambled(1, np.array([5, 5, 6]))
        >>> bool(a[0] == a[1]), bool(a[1] == a[2])
        (True, False)
    """
    mixed = np.asarray(key & 0xFFFFFFFFFFFFFFFF, np.uint64)
    with np.errstate(over="ignore"):
        for x in operands:
            mixed = _mixed(mixed ^ np.asarray(x).astype(np.uint64))
    return (mixed % np.uint64(P)).astype(np.int64)


def _mixed(z: Any) -> Any:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def odd(function: Callable[[Any], Residues], a: Any, m: int = P) -> Residues:
    """The odd function, f(-a) = -f(a), that is equal to a function for a <= P/2; from residues modulo P to modulo m."""
    is_low = a <= P // 2
    value = function(np.where(is_low, a, P - a)) % m
    result: Residues = np.where(a == 0, 0, np.where(is_low, value, (m - value) % m))
    return result
