"""exp, log, tanh and others for kernels: LLVM vectorizes loops over them.

The C library's functions are called for one number at a time. These are polynomials and quotients of polynomials
without branches: where there are cases, all are computed and one is selected. The reductions of the argument are those
of Cody and Waite (1980, "Software Manual for the Elementary Functions"). The coefficients are minimax fits of the
relative error, by reweighted least squares at Chebyshev nodes in 40 digits. `ERRORS` has the largest relative errors,
which the tests measure. Infinities, NaN, signed zeros, overflow and denormal numbers are handled as in NumPy.

The functions are compiled without fast-math flags: a flag belongs to an instruction, and remains when it is inlined
into a kernel with other flags. Needs numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Of the values for float32 and float64, in units of the machine epsilon. erf in float64 is the C library's.
ERRORS = {
    **{"exp": (1.0, 1.0), "expm1": (2.0, 2.0), "log": (1.0, 1.0), "log1p": (1.0, 1.0), "tanh": (3.0, 2.0)},
    **{"erf": (3.0, 1.0), "normal_cdf": (4.0, 5.0)},
}

f32, i32 = np.float32, np.int32  # numba computes with int64 unless each result is cast
# Without an explicit fastmath it is inherited from the caller. A function that is not inlined prevents vectorization.
inline: Any = njit(error_model="numpy", fastmath=False, forceinline=True)


@njit(error_model="numpy", fastmath={"reassoc", "contract"}, forceinline=True)
def added(total: Any, x: Any) -> Any:
    """total + x in a sum, in any order, so that LLVM vectorizes it. Products keep their order: they may overflow."""
    return total + x


def _intrinsic(name: str) -> Any:
    """llvm.maximum or llvm.minimum: NaN if either operand is NaN, as in NumPy."""

    @intrinsic
    def extremum(context: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
            kind = operands[0].type
            function = builder.module.declare_intrinsic(f"llvm.{name}", (kind,), ir.FunctionType(kind, (kind, kind)))
            return builder.call(function, operands)

        if isinstance(x, types.Float) and x == y:
            return x(x, y), generate
        return None

    return extremum


maximum, minimum = _intrinsic("maximum"), _intrinsic("minimum")


@intrinsic
def bits(context: Any, x: Any) -> Any:
    """The bits of a float as an integer of the same size."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.bitcast(operands[0], context.get_value_type(signature.return_type))

    integer = {types.float32: types.int32, types.float64: types.int64}
    return (integer[x](x), generate) if x in integer else None


@intrinsic
def from_bits(context: Any, x: Any) -> Any:
    """The float that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.bitcast(operands[0], context.get_value_type(signature.return_type))

    floating = {types.int32: types.float32, types.int64: types.float64}
    return (floating[x](x), generate) if x in floating else None


# exp: x = n ln 2 + r with |r| <= ln 2 / 2, and exp(x) = 2ⁿ exp(r). Adding 1.5 · 2²³ (2⁵²) rounds to an integer, which
# the last bits of the sum then contain. 2ⁿ is a product of two factors, as the result may be denormal.


@inline
def _reduced_32(x: Any) -> Any:
    """n and r, and (exp(r) - 1 - r) / r²."""
    shifted = x * f32(1.4426950408889634) + f32(12582912.0)
    n = shifted - f32(12582912.0)
    r = (x - n * f32(0.693359375)) + n * f32(2.12194440054690583e-4)
    p = f32(0.001383675773005746)
    p = p * r + f32(0.008374828429326126)
    p = p * r + f32(0.0416682248355513766)
    p = p * r + f32(0.16666419898789828)
    p = p * r + f32(0.49999992111530256)
    return i32(bits(shifted) - i32(0x4B400000)), r, p


@inline
def _power_32(k: Any) -> Any:
    """2ᵏ."""
    return from_bits(i32(i32(k + i32(127)) << i32(23)))


@inline
def _reduced_64(x: Any) -> Any:
    """n and r, and (exp(r) - 1 - r) / r²."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    p = 2.4994368470974668783e-8
    p = p * r + 2.7632293676665213005e-7
    p = p * r + 2.7557622296678842775e-6
    p = p * r + 2.4801486520199166764e-5
    p = p * r + 1.9841269432993169476e-4
    p = p * r + 1.3888888951224379804e-3
    p = p * r + 8.3333333335590758044e-3
    p = p * r + 4.1666666666492766427e-2
    p = p * r + 0.16666666666666169209
    p = p * r + 0.50000000000000176896
    return bits(shifted) - np.int64(0x4338000000000000), r, p


@inline
def _power_64(k: Any) -> Any:
    """2ᵏ."""
    return from_bits((k + np.int64(1023)) << np.int64(52))


@inline
def exp_32(x: Any) -> Any:
    """exp of a float32."""
    n, r, p = _reduced_32(minimum(maximum(x, f32(-104.0)), f32(89.0)))
    p = p * r + f32(1.00000003643935519)
    p = p * r + f32(1.0)
    half = i32(n >> i32(1))
    return p * _power_32(half) * _power_32(i32(n - half))


@inline
def exp_64(x: Any) -> Any:
    """exp of a float64."""
    n, r, p = _reduced_64(minimum(maximum(x, -746.0), 710.0))
    p = p * (r * r) + r + 1.0
    half = n >> np.int64(1)
    return p * _power_64(half) * _power_64(n - half)


# expm1: exp(x) - 1 = 2ⁿ ((exp(r) - 1) + (1 - 2⁻ⁿ)). For |x| <= ln 2 / 2 that is exp(r) - 1, without a subtraction.


@inline
def expm1_32(x: Any) -> Any:
    """exp(x) - 1 of a float32."""
    x = minimum(maximum(x, f32(-18.0)), f32(89.0))
    n, r, p = _reduced_32(x)
    p = p * (r * r) + r
    half = i32(n >> i32(1))
    rest = i32(n - half)
    inverse = _power_32(i32(-half)) * _power_32(i32(-rest))
    return x if x == f32(0.0) else (p + (f32(1.0) - inverse)) * _power_32(half) * _power_32(rest)


@inline
def expm1_64(x: Any) -> Any:
    """exp(x) - 1 of a float64."""
    x = minimum(maximum(x, -38.0), 710.0)
    n, r, p = _reduced_64(x)
    p = p * (r * r) + r
    half = n >> np.int64(1)
    rest = n - half
    inverse = _power_64(-half) * _power_64(-rest)
    return x if x == 0.0 else (p + (1.0 - inverse)) * _power_64(half) * _power_64(rest)


# log: x = 2ⁿ m with m in [√½, √2). Denormal numbers are scaled first. Cases x <= 0 are selected at the end.


@inline
def _split_32(x: Any) -> Any:
    """n and m."""
    offset = i32(bits(x) - i32(0x3F3504F3))
    return i32(offset >> i32(23)), from_bits(i32(i32(offset & i32(0x007FFFFF)) + i32(0x3F3504F3)))


@inline
def _log_32(n: Any, r: Any) -> Any:
    """n ln 2 + log(1 + r) for r in [√½ - 1, √2 - 1)."""
    p = f32(-0.07973724504918060606)
    p = p * r + f32(0.12655505703222451)
    p = p * r + f32(-0.12989432428875892)
    p = p * r + f32(0.14209929487697666)
    p = p * r + f32(-0.16641546597491483)
    p = p * r + f32(0.20001203540307644)
    p = p * r + f32(-0.25000305584212415)
    p = p * r + f32(0.33333329913859099)
    square = r * r
    y = (square * r) * p + n * f32(-2.12194440054690583e-4)
    y = y - f32(0.5) * square
    return (r + y) + n * f32(0.693359375)


@inline
def _split_64(x: Any) -> Any:
    """n and m."""
    offset = bits(x) - np.int64(0x3FE6A09E667F3BCD)
    return offset >> np.int64(52), from_bits((offset & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD))


@inline
def _log_64(n: Any, r: Any) -> Any:
    """n ln 2 + log(1 + r), through s = r/(2 + r) and log((1 + s)/(1 - s)) = 2s + s (s² P(s²))."""
    s = r / (2.0 + r)
    z = s * s
    p = 0.14616895651483683948
    p = p * z + 0.15331675005049050998
    p = p * z + 0.1818289095862714505
    p = p * z + 0.22222211101308886366
    p = p * z + 0.28571428626254960583
    p = p * z + 0.39999999999898637651
    p = p * z + 0.66666666666666697308
    half = 0.5 * r * r
    return n * 0.6931471803691238 - ((half - (s * (half + z * p) + n * 1.9082149292705877e-10)) - r)


@inline
def log_32(x: Any) -> Any:
    """log of a float32."""
    tiny = x < f32(1.17549435e-38)
    k, m = _split_32(x * f32(8388608.0) if tiny else x)
    y = _log_32(f32(k) - (f32(23.0) if tiny else f32(0.0)), m - f32(1.0))
    y = y if x < f32(np.inf) else x
    return y if x > f32(0.0) else (f32(-np.inf) if x == f32(0.0) else f32(np.nan))


@inline
def log_64(x: Any) -> Any:
    """log of a float64."""
    tiny = x < 2.2250738585072014e-308
    k, m = _split_64(x * 4503599627370496.0 if tiny else x)
    y = _log_64(np.float64(k) - (52.0 if tiny else 0.0), m - 1.0)
    y = y if x < np.inf else x
    return y if x > 0.0 else (-np.inf if x == 0.0 else np.nan)


# log1p: the same for 1 + x, whose rounding error is added to m - 1. For n = 0 the result is x itself.


@inline
def log1p_32(x: Any) -> Any:
    """log(1 + x) of a float32."""
    u = f32(1.0) + x
    rest = f32(1.0) - (u - x) if x > f32(1.0) else x - (u - f32(1.0))
    k, m = _split_32(u)
    y = _log_32(f32(k), (m - f32(1.0)) + rest * _power_32(i32(-min(k, i32(127)))))
    y = y if x < f32(np.inf) and x != f32(0.0) else x
    return y if x > f32(-1.0) else (f32(-np.inf) if x == f32(-1.0) else f32(np.nan))


@inline
def log1p_64(x: Any) -> Any:
    """log(1 + x) of a float64."""
    u = 1.0 + x
    rest = 1.0 - (u - x) if x > 1.0 else x - (u - 1.0)
    k, m = _split_64(u)
    y = _log_64(np.float64(k), (m - 1.0) + rest * _power_64(-min(k, np.int64(1023))))
    y = y if x < np.inf and x != 0.0 else x
    return y if x > -1.0 else (-np.inf if x == -1.0 else np.nan)


# logaddexp: the larger number and log1p of the quotient. For two equal infinities that is the infinity.


@inline
def logaddexp_32(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)) of float32 numbers."""
    high = maximum(x, y)
    difference = f32(0.0) if x == y else minimum(x, y) - high
    return high + log1p_32(exp_32(difference))


@inline
def logaddexp_64(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)) of float64 numbers."""
    high = maximum(x, y)
    difference = 0.0 if x == y else minimum(x, y) - high
    return high + log1p_64(exp_64(difference))


# tanh: an odd quotient of polynomials for float32. For float64 one near 0, and 1 - 2/(exp(2|x|) + 1) beyond.


@inline
def tanh_32(x: Any) -> Any:
    """tanh of a float32."""
    c = minimum(maximum(x, f32(-9.02)), f32(9.02))
    z = c * c
    p = f32(-1.2186528184920183e-11)
    p = p * z + f32(3.0562702802717897e-8)
    p = p * z + f32(2.7998355977569730e-5)
    p = p * z + f32(3.8678819436781513e-3)
    p = p * z + f32(0.1367956068549267)
    p = p * z + f32(1.0)
    q = f32(1.2867248449189313e-6)
    q = q * z + f32(3.9378412840969896e-4)
    q = q * z + f32(2.7244211793184280e-2)
    q = q * z + f32(0.47012892735571596)
    q = q * z + f32(1.0)
    return minimum(maximum(c * p / q, f32(-1.0)), f32(1.0))


@inline
def tanh_64(x: Any) -> Any:
    """tanh of a float64."""
    a = maximum(x, -x)
    z = x * x
    p = -1.7465636862992596232e-8
    p = p * z - 2.4381108157178502371e-4
    p = p * z - 2.1420540163058032125e-2
    p = p * z - 0.33333333333333333333
    q = 2.5487869280483379245e-4
    q = q * z + 2.4531319535624215563e-2
    q = q * z + 0.46426162048917409327
    q = q * z + 1.0
    near = x + x * (z * p / q + 0.0)  # +0.0 keeps the sign of x = -0.0
    far = 1.0 - 2.0 / (exp_64(a + a) + 1.0)
    far = far if x > 0.0 else -far
    return near if a < 0.625 else far


@inline
def erf_32(x: Any) -> Any:
    """erf of a float32."""
    c = minimum(maximum(x, f32(-3.95)), f32(3.95))
    z = c * c
    p = f32(2.0257309874882760e-6)
    p = p * z + f32(2.8469266319268342e-4)
    p = p * z + f32(3.8086400342500576e-3)
    p = p * z + f32(5.2876859839153826e-2)
    p = p * z + f32(0.19156212729116954)
    p = p * z + f32(1.1283791435556902)
    q = f32(3.7830248836235061e-5)
    q = q * z + f32(1.1708319903402190e-3)
    q = q * z + f32(1.5056037312194777e-2)
    q = q * z + f32(0.11456437441116511)
    q = q * z + f32(0.50310018765250243)
    q = q * z + f32(1.0)
    y = c * p / q
    y = f32(1.0) if x > f32(3.92) else y  # beyond, it is ±1 to the last digit
    return f32(-1.0) if x < f32(-3.92) else y


@inline
def erf_64(x: Any) -> Any:
    """erf of a float64, by the C library."""
    return math.erf(x)


# The normal distribution function: exp(-x²/2) R(|x|) for x < 0, as in ops/special.py. |x| is truncated after half its
# bits, so that the square of the truncated number is exact, and the exponential of the rest is a short series.


@inline
def normal_cdf_32(x: Any) -> Any:
    """The distribution function of the standard normal, of a float32."""
    s = minimum(maximum(x, -x), f32(40.0))
    near = from_bits(i32(bits(s) & i32(-4096)))
    low = (near + s) * (s - near) * f32(-0.5)
    e = exp_32(near * near * f32(-0.5))
    r = f32(0.041666668) + low * f32(0.008333334)
    r = f32(0.16666667) + low * r
    r = f32(0.5) + low * r
    e = e + e * low * (f32(1.0) + low * r)
    p = f32(4.1105437620632960251e-3)
    p = p * s + f32(4.0594429158355683884e-2)
    p = p * s + f32(0.18312011287319397159)
    p = p * s + f32(0.43813978700053699365)
    p = p * s + f32(0.5)
    q = f32(1.0303484165601023539e-2)
    q = q * s + f32(0.10176164409108188479)
    q = q * s + f32(0.46916695157200023173)
    q = q * s + f32(1.202025524068953832)
    q = q * s + f32(1.6741645514048267975)
    q = q * s + f32(1.0)
    tail = e * (p / q)
    return f32(1.0) - tail if x > f32(0.0) else tail


@inline
def normal_cdf_64(x: Any) -> Any:
    """The distribution function of the standard normal, of a float64."""
    s = minimum(maximum(x, -x), 40.0)
    near = from_bits(bits(s) & np.int64(-134217728))
    low = (near + s) * (s - near) * -0.5
    e = exp_64(near * near * -0.5)
    e = e + e * low * (1.0 + low * (0.5 + low * 0.16666666666666667))
    p = 1.3810227743921767092e-6
    p = p * s + 3.7149076645032444015e-5
    p = p * s + 4.8926019454265440446e-4
    p = p * s + 4.081310477421918221e-3
    p = p * s + 2.3584739203373212209e-2
    p = p * s + 9.7575973905593004463e-2
    p = p * s + 0.28905769986027963197
    p = p * s + 0.5936612785078461879
    p = p * s + 0.7746081619796464041
    p = p * s + 0.5
    q = 3.4617107342114894134e-6
    q = q * s + 9.3118925892666842038e-5
    q = q * s + 1.2298551482311925287e-3
    q = q * s + 1.0323447154694991839e-2
    q = q * s + 6.0337644586707824152e-2
    q = q * s + 0.2546307735936579425
    q = q * s + 0.78126045526372501442
    q = q * s + 1.7131413651188066694
    q = q * s + 2.5600381156144721391
    q = q * s + 2.3471008847621482558
    q = q * s + 1.0
    tail = e * (p / q)
    return 1.0 - tail if x > 0.0 else tail
