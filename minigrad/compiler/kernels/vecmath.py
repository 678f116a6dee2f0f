"""What kernels import: exp, log, tanh and others, over which LLVM vectorizes loops, and an option for numba.

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
from numba.core.compiler import Compiler
from numba.extending import intrinsic

# Of the values for float32 and float64, in units of the machine epsilon. erf in float64 is the C library's.
ERRORS = {
    **{"exp": (1.0, 1.0), "expm1": (2.0, 2.0), "log": (1.0, 1.0), "log1p": (1.0, 1.0), "tanh": (3.0, 2.0)},
    **{"erf": (3.0, 1.0), "normal_cdf": (4.0, 5.0)},
}

f32 = np.float32
# Without an explicit fastmath it is inherited from the caller. A function that is not inlined prevents vectorization.
inline: Any = njit(error_model="numpy", fastmath=False, forceinline=True)


class NoAlias(Compiler):  # type: ignore[misc]  # numba has no types
    """numba's compiler, with LLVM's `noalias` on every argument, for `njit(pipeline_class=NoAlias)`.

    The arrays of a kernel do not overlap; numba_backend.py passes shared memory as one argument. Without the option,
    machine code compares the addresses of all arrays before each loop and contains every loop twice, with and without
    vector instructions. With more than a few arrays it always takes the latter.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.state.flags.noalias = True


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

        return (x(x, y), generate) if isinstance(x, types.Float) and x == y else None

    return extremum


maximum, minimum = _intrinsic("maximum"), _intrinsic("minimum")


def _bitcast(results: dict[Any, Any]) -> Any:
    """The number of another type that has the same bits. `results` has the type by that of the operand."""

    @intrinsic
    def reinterpreted(context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
            return builder.bitcast(operands[0], context.get_value_type(signature.return_type))

        return (results[x](x), generate) if x in results else None

    return reinterpreted


bits = _bitcast({types.float32: types.int32, types.float64: types.int64})
from_bits = _bitcast({types.int32: types.float32, types.int64: types.float64})


def _polynomial(*coefficients: float) -> Any:
    """A polynomial by Horner's scheme, in the dtype of its argument; first the coefficient of the highest power."""

    @intrinsic
    def polynomial(context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
            (x,) = operands
            total, *others = [ir.Constant(x.type, c) for c in coefficients]
            for c in others:
                total = builder.fadd(builder.fmul(total, x), c)
            return total

        return x(x), generate

    return polynomial


# The polynomials, and numerators P and denominators Q of quotients. What they approximate is said where they are used.
# fmt: off
EXPM1 = 0.001383675773005746, 0.008374828429326126, 0.0416682248355513766, 0.16666419898789828, 0.49999992111530256
EXPM1_32, EXP_32 = _polynomial(*EXPM1), _polynomial(*EXPM1, 1.00000003643935519, 1.0)
EXPM1_64 = _polynomial(
    2.4994368470974668783e-8, 2.7632293676665213005e-7, 2.7557622296678842775e-6, 2.4801486520199166764e-5,
    1.9841269432993169476e-4, 1.3888888951224379804e-3, 8.3333333335590758044e-3, 4.1666666666492766427e-2,
    0.16666666666666169209, 0.50000000000000176896,
)
LOG_32 = _polynomial(
    -0.07973724504918060606, 0.12655505703222451, -0.12989432428875892, 0.14209929487697666, -0.16641546597491483,
    0.20001203540307644, -0.25000305584212415, 0.33333329913859099,
)
LOG_64 = _polynomial(
    0.14616895651483683948, 0.15331675005049050998, 0.1818289095862714505, 0.22222211101308886366,
    0.28571428626254960583, 0.39999999999898637651, 0.66666666666666697308,
)
TANH_32_P = _polynomial(
    -1.2186528184920183e-11, 3.0562702802717897e-8, 2.7998355977569730e-5, 3.8678819436781513e-3, 0.1367956068549267,
    1.0,
)
TANH_32_Q = _polynomial(1.2867248449189313e-6, 3.9378412840969896e-4, 2.7244211793184280e-2, 0.47012892735571596, 1.0)
TANH_64_P = _polynomial(
    -1.7465636862992596232e-8, -2.4381108157178502371e-4, -2.1420540163058032125e-2, -0.33333333333333333333,
)
TANH_64_Q = _polynomial(2.5487869280483379245e-4, 2.4531319535624215563e-2, 0.46426162048917409327, 1.0)
ERF_32_P = _polynomial(
    2.0257309874882760e-6, 2.8469266319268342e-4, 3.8086400342500576e-3, 5.2876859839153826e-2, 0.19156212729116954,
    1.1283791435556902,
)
ERF_32_Q = _polynomial(
    3.7830248836235061e-5, 1.1708319903402190e-3, 1.5056037312194777e-2, 0.11456437441116511, 0.50310018765250243,
    1.0,
)
CDF_32_P = _polynomial(
    4.1105437620632960251e-3, 4.0594429158355683884e-2, 0.18312011287319397159, 0.43813978700053699365, 0.5,
)
CDF_32_Q = _polynomial(
    1.0303484165601023539e-2, 0.10176164409108188479, 0.46916695157200023173, 1.202025524068953832,
    1.6741645514048267975, 1.0,
)
CDF_64_P = _polynomial(
    1.3810227743921767092e-6, 3.7149076645032444015e-5, 4.8926019454265440446e-4, 4.081310477421918221e-3,
    2.3584739203373212209e-2, 9.7575973905593004463e-2, 0.28905769986027963197, 0.5936612785078461879,
    0.7746081619796464041, 0.5,
)
CDF_64_Q = _polynomial(
    3.4617107342114894134e-6, 9.3118925892666842038e-5, 1.2298551482311925287e-3, 1.0323447154694991839e-2,
    6.0337644586707824152e-2, 0.2546307735936579425, 0.78126045526372501442, 1.7131413651188066694,
    2.5600381156144721391, 2.3471008847621482558, 1.0,
)
SERIES_32 = _polynomial(0.008333334, 0.041666668, 0.16666667, 0.5, 1.0)  # (exp(r) - 1) / r for tiny r
SERIES_64 = _polynomial(0.16666666666666667, 0.5, 1.0)
# fmt: on


@inline
def _exp_reduced_64(r: Any) -> Any:
    """exp(r) for |r| <= ln 2 / 2."""
    return EXPM1_64(r) * (r * r) + r + 1.0


@inline
def _log_32(n: Any, r: Any) -> Any:
    """n ln 2 + log(1 + r) for r in [√½ - 1, √2 - 1), as r - r²/2 + r³ P(r)."""
    square = r * r
    y = (square * r) * LOG_32(r) + n * f32(-2.12194440054690583e-4)
    y = y - f32(0.5) * square
    return (r + y) + n * f32(0.693359375)


@inline
def _log_64(n: Any, r: Any) -> Any:
    """n ln 2 + log(1 + r), through s = r/(2 + r) and log((1 + s)/(1 - s)) = 2s + s (s² P(s²))."""
    s = r / (2.0 + r)
    z = s * s
    half = 0.5 * r * r
    return n * 0.6931471803691238 - ((half - (s * (half + z * LOG_64(z)) + n * 1.9082149292705877e-10)) - r)


def _exponentials(
    real: Any, ln2: tuple[float, float], limits: tuple[float, float, float], exp_reduced: Any, series: Any, log_of: Any
) -> tuple[Any, ...]:
    """exp, expm1, log, log1p and logaddexp of one dtype.

    Args:
        real: the dtype.
        ln2: ln 2 as a number of few bits and the rest.
        limits: below the first exp is 0, above the second infinite, and below the third expm1 is -1.
        exp_reduced: exp(r) for |r| <= ln 2 / 2.
        series: (exp(r) - 1 - r) / r² for these.
        log_of: n ln 2 + log(1 + r) as a function of n and r in [√½ - 1, √2 - 1).
    """
    # numba computes with int64 unless each result is cast
    integer: Any = {np.float32: np.int32, np.float64: np.int64}[real]
    info = np.finfo(real)
    digits, bias, smallest = integer(info.nmant), integer(info.maxexp - 1), info.tiny
    scale, to_integer, root_half = real(2.0**digits), real(1.5 * 2.0**digits), np.sqrt(real(0.5))
    offset, root_bits, mask = to_integer.view(integer), root_half.view(integer), integer(2 ** int(digits) - 1)
    high, low = real(ln2[0]), real(ln2[1])
    lowest, highest, lowest_expm1 = map(real, limits)

    @inline
    def power(k: Any) -> Any:
        """2ᵏ."""
        return from_bits(integer(integer(k + bias) << digits))

    @inline
    def halves(n: Any) -> Any:
        """Two numbers with the sum n: 2ⁿ is a product of two factors, as it may be denormal."""
        half = integer(n >> integer(1))
        return half, integer(n - half)

    @inline
    def reduced(x: Any) -> Any:
        """n and r with x = n ln 2 + r and |r| <= ln 2 / 2.

        Adding 1.5 · 2²³ (2⁵²) rounds to an integer, which the last bits of the sum then contain.
        """
        shifted = x * real(1.4426950408889634) + to_integer
        n = shifted - to_integer
        return integer(bits(shifted) - offset), (x - n * high) - n * low

    @inline
    def exp(x: Any) -> Any:
        """exp(x) = 2ⁿ exp(r)."""
        n, r = reduced(minimum(maximum(x, lowest), highest))
        half, rest = halves(n)
        return exp_reduced(r) * power(half) * power(rest)

    @inline
    def expm1(x: Any) -> Any:
        """exp(x) - 1 = 2ⁿ ((exp(r) - 1) + (1 - 2⁻ⁿ)). For n = 0 that is exp(r) - 1, without a subtraction."""
        x = minimum(maximum(x, lowest_expm1), highest)
        n, r = reduced(x)
        half, rest = halves(n)
        inverse = power(integer(-half)) * power(integer(-rest))
        y = (series(r) * (r * r) + r) + (real(1.0) - inverse)
        return x if x == real(0.0) else y * power(half) * power(rest)

    @inline
    def split(x: Any) -> Any:
        """n and m in [√½, √2) with x = 2ⁿ m."""
        distance = integer(bits(x) - root_bits)
        return integer(distance >> digits), from_bits(integer(integer(distance & mask) + root_bits))

    @inline
    def log(x: Any) -> Any:
        """log(x) = n ln 2 + log(m). Denormal numbers are scaled first. Cases x <= 0 are selected at the end."""
        tiny = x < smallest
        k, m = split(x * scale if tiny else x)
        y = log_of(real(k) - (real(digits) if tiny else real(0.0)), m - real(1.0))
        y = y if x < real(np.inf) else x
        return y if x > real(0.0) else (real(-np.inf) if x == real(0.0) else real(np.nan))

    @inline
    def log1p(x: Any) -> Any:
        """The same for 1 + x, whose rounding error is added to m - 1. For n = 0 the result is x itself."""
        u = real(1.0) + x
        rest = real(1.0) - (u - x) if x > real(1.0) else x - (u - real(1.0))
        k, m = split(u)
        y = log_of(real(k), (m - real(1.0)) + rest * power(integer(-min(k, bias))))
        y = y if x < real(np.inf) and x != real(0.0) else x
        return y if x > real(-1.0) else (real(-np.inf) if x == real(-1.0) else real(np.nan))

    @inline
    def logaddexp(x: Any, y: Any) -> Any:
        """The larger number and log1p of the quotient. For two equal infinities that is the infinity."""
        high = maximum(x, y)
        difference = real(0.0) if x == y else minimum(x, y) - high
        return high + log1p(exp(difference))

    return exp, expm1, log, log1p, logaddexp


exp_32, expm1_32, log_32, log1p_32, logaddexp_32 = _exponentials(
    np.float32, (0.693359375, -2.12194440054690583e-4), (-104.0, 89.0, -18.0), EXP_32, EXPM1_32, _log_32
)
exp_64, expm1_64, log_64, log1p_64, logaddexp_64 = _exponentials(
    np.float64, (0.6931471803691238, 1.9082149292705877e-10), (-746.0, 710.0, -38.0), _exp_reduced_64, EXPM1_64, _log_64
)


# tanh: an odd quotient of polynomials for float32. For float64 one near 0, and 1 - 2/(exp(2|x|) + 1) beyond.


@inline
def tanh_32(x: Any) -> Any:
    """tanh of a float32."""
    c = minimum(maximum(x, f32(-9.02)), f32(9.02))
    z = c * c
    return minimum(maximum(c * TANH_32_P(z) / TANH_32_Q(z), f32(-1.0)), f32(1.0))


@inline
def tanh_64(x: Any) -> Any:
    """tanh of a float64."""
    a = maximum(x, -x)
    z = x * x
    near = x + x * (z * TANH_64_P(z) / TANH_64_Q(z) + 0.0)  # +0.0 keeps the sign of x = -0.0
    far = 1.0 - 2.0 / (exp_64(a + a) + 1.0)
    far = far if x > 0.0 else -far
    return near if a < 0.625 else far


@inline
def erf_32(x: Any) -> Any:
    """erf of a float32."""
    c = minimum(maximum(x, f32(-3.95)), f32(3.95))
    z = c * c
    y = c * ERF_32_P(z) / ERF_32_Q(z)
    y = f32(1.0) if x > f32(3.92) else y  # beyond, it is ±1 to the last digit
    return f32(-1.0) if x < f32(-3.92) else y


@inline
def erf_64(x: Any) -> Any:
    """erf of a float64, by the C library."""
    return math.erf(x)


def _normal_cdf(real: Any, mask: Any, exp: Any, series: Any, p: Any, q: Any) -> Any:
    """The normal distribution function: exp(-x²/2) R(|x|) for x < 0, as in ops/special.py.

    |x| is truncated after half its bits, so that the square of the truncated number is exact, and the exponential of
    the rest is a short series.
    """
    integer = type(mask)

    @inline
    def normal_cdf(x: Any) -> Any:
        s = minimum(maximum(x, -x), real(40.0))
        near = from_bits(integer(bits(s) & mask))
        low = (near + s) * (s - near) * real(-0.5)
        e = exp(near * near * real(-0.5))
        tail = (e + e * low * series(low)) * (p(s) / q(s))
        return real(1.0) - tail if x > real(0.0) else tail

    return normal_cdf


normal_cdf_32 = _normal_cdf(np.float32, np.int32(-4096), exp_32, SERIES_32, CDF_32_P, CDF_32_Q)
normal_cdf_64 = _normal_cdf(np.float64, np.int64(-134217728), exp_64, SERIES_64, CDF_64_P, CDF_64_Q)
