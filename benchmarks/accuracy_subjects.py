"""What docs/accuracy.md measures: the smooth functions of single numbers, with their exact values and derivatives."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial
from typing import Any

import mpmath as mp
import numpy as np

import minigrad as mg
from benchmarks.ulp import Subject
from minigrad import functional as F
from minigrad import fused
from minigrad.functional import losses
from minigrad.ops import activation

one = mp.mpf(1)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x)) if x > 0 else mp.exp(x) / (1 + mp.exp(x))


def sigmoid_slope(x: Any) -> Any:
    return sigmoid(x) * sigmoid(-x)


def softplus(x: Any) -> Any:
    return max(x, 0) + mp.log1p(mp.exp(-abs(x)))


def cdf(x: Any) -> Any:
    if abs(x) > 1e4:
        return step(x)
    return mp.erfc(-x / mp.sqrt(2)) / 2


def pdf(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def gauss(x: Any) -> Any:
    return mp.exp(-x * x)


def sech2(x: Any) -> Any:
    return 4 * mp.exp(-2 * abs(x)) / (1 + mp.exp(-2 * abs(x))) ** 2


def tanh(x: Any) -> Any:
    return -mp.expm1(-2 * x) / (1 + mp.exp(-2 * x)) if x > 0 else mp.expm1(2 * x) / (1 + mp.exp(2 * x))


def near_erf(x: Any) -> Any:
    """√(2/π) (x + 0.044715 x³)."""
    return mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3)


def near_erf_slope(x: Any) -> Any:
    return mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf(0.044715) * x**2)


def gelu_tanh(x: Any) -> Any:
    return x * sigmoid(2 * near_erf(x))


def gelu_tanh_slope(x: Any) -> Any:
    return sigmoid(2 * near_erf(x)) + x * sigmoid_slope(2 * near_erf(x)) * 2 * near_erf_slope(x)


def mish_slope(x: Any) -> Any:
    return tanh(softplus(x)) + x * sech2(softplus(x)) * sigmoid(x)


def step(x: Any) -> Any:
    return one if x > 0 else mp.mpf(0)


S = Subject
SUBJECTS: list[Subject] = [
    S("negative", mg.negative, lambda x: -x, lambda x: -one),
    S("reciprocal", mg.reciprocal, lambda x: 1 / x, lambda x: -1 / x**2, second=lambda x: 2 / x**3),
    S("square", mg.square, lambda x: x**2, lambda x: 2 * x, second=lambda x: 2 * one),
    S("abs", mg.abs, abs, mp.sign),
    S("sqrt", mg.sqrt, mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), low=0, second=lambda x: -1 / (4 * x * mp.sqrt(x))),
    S(
        "cbrt",
        mg.cbrt,
        lambda x: mp.sign(x) * mp.cbrt(abs(x)),
        lambda x: 1 / (3 * mp.cbrt(abs(x)) ** 2),
        second=lambda x: -2 * mp.sign(x) / (9 * mp.cbrt(abs(x)) ** 5),
    ),
    S("exp", mg.exp, mp.exp, mp.exp, second=lambda x: mp.exp(x)),
    S(
        "exp2",
        mg.exp2,
        lambda x: mp.mpf(2) ** x,
        lambda x: mp.mpf(2) ** x * mp.log(2),
        second=lambda x: mp.mpf(2) ** x * mp.log(2) ** 2,
    ),
    S("expm1", mg.expm1, mp.expm1, mp.exp, second=lambda x: mp.exp(x)),
    S("log", mg.log, mp.log, lambda x: 1 / x, low=0, second=lambda x: -1 / x**2),
    S(
        "log2",
        mg.log2,
        lambda x: mp.log(x, 2),
        lambda x: 1 / (x * mp.log(2)),
        low=0,
        second=lambda x: -1 / (x**2 * mp.log(2)),
    ),
    S("log10", mg.log10, mp.log10, lambda x: 1 / (x * mp.log(10)), low=0, second=lambda x: -1 / (x**2 * mp.log(10))),
    S("log1p", mg.log1p, mp.log1p, lambda x: 1 / (1 + x), low=-1, second=lambda x: -1 / (1 + x) ** 2),
    S("sin", mg.sin, mp.sin, mp.cos, second=lambda x: -mp.sin(x)),
    S("cos", mg.cos, mp.cos, lambda x: -mp.sin(x), second=lambda x: -mp.cos(x)),
    S("tan", mg.tan, mp.tan, lambda x: 1 + mp.tan(x) ** 2, second=lambda x: 2 * mp.tan(x) * (1 + mp.tan(x) ** 2)),
    S("arcsin", mg.arcsin, mp.asin, lambda x: 1 / mp.sqrt((1 - x) * (1 + x)), low=-1, high=1),
    S("arccos", mg.arccos, mp.acos, lambda x: -1 / mp.sqrt((1 - x) * (1 + x)), low=-1, high=1),
    S("arctan", mg.arctan, mp.atan, lambda x: 1 / (1 + x * x), second=lambda x: -2 * x / (1 + x * x) ** 2),
    S("sinh", mg.sinh, mp.sinh, mp.cosh, second=lambda x: mp.sinh(x)),
    S("cosh", mg.cosh, mp.cosh, mp.sinh, second=lambda x: mp.cosh(x)),
    S("tanh", mg.tanh, tanh, sech2, second=lambda x: -2 * tanh(x) * sech2(x)),
    S("arcsinh", mg.arcsinh, mp.asinh, lambda x: 1 / mp.sqrt(1 + x * x), second=lambda x: -x / (1 + x * x) ** 1.5),
    S("arccosh", mg.arccosh, mp.acosh, lambda x: 1 / mp.sqrt((x - 1) * (x + 1)), low=1),
    S("arctanh", mg.arctanh, mp.atanh, lambda x: 1 / ((1 - x) * (1 + x)), low=-1, high=1),
    S("relu", mg.relu, lambda x: max(x, mp.mpf(0)), step),
    S("sigmoid", mg.sigmoid, sigmoid, sigmoid_slope, second=lambda x: -sigmoid_slope(x) * tanh(x / 2)),
    S("softplus", mg.softplus, softplus, sigmoid, second=lambda x: sigmoid_slope(x)),
    S(
        "erf",
        mg.erf,
        mp.erf,
        lambda x: 2 / mp.sqrt(mp.pi) * gauss(x),
        second=lambda x: -4 * x / mp.sqrt(mp.pi) * gauss(x),
    ),
    S("normal_cdf", activation.normal_cdf, cdf, pdf, second=lambda x: -x * pdf(x)),
    S("normal_pdf", activation.normal_pdf, pdf, lambda x: -x * pdf(x)),
    S("gaussian", activation.gaussian, gauss, lambda x: -2 * x * gauss(x)),
    S("sigmoid_slope", activation.sigmoid_slope, sigmoid_slope, lambda x: -sigmoid_slope(x) * tanh(x / 2)),
    S("sech_squared", activation.sech_squared, sech2, lambda x: -2 * sech2(x) * tanh(x)),
]
for form, gelu in (("functional", F.gelu), ("fused", fused.gelu)):
    SUBJECTS += [
        S(f"{form}.gelu", gelu, lambda x: x * cdf(x), lambda x: cdf(x) + x * pdf(x)),
        S(f"{form}.gelu tanh", partial(gelu, approximate="tanh"), gelu_tanh, gelu_tanh_slope),
    ]
SUBJECTS += [
    S("silu", F.silu, lambda x: x * sigmoid(x), lambda x: sigmoid(x) + x * sigmoid_slope(x)),
    S("mish", F.mish, lambda x: x * tanh(softplus(x)), mish_slope),
    S("softsign", F.softsign, lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    S("log_sigmoid", F.log_sigmoid, lambda x: -softplus(-x), lambda x: sigmoid(-x)),
    S("elu", F.elu, lambda x: x if x > 0 else mp.expm1(x), lambda x: one if x > 0 else mp.exp(x)),
    S("selu", F.selu, lambda x: mp.mpf(1.0507009873554805) * (x if x > 0 else mp.mpf(1.6732632423543772) * mp.expm1(x)),
      lambda x: mp.mpf(1.0507009873554805) * (one if x > 0 else mp.mpf(1.6732632423543772) * mp.exp(x))),
    S("hardswish", F.hardswish, lambda x: x * min(max(x + 3, 0), 6) / 6,
      lambda x: mp.mpf(0) if x < -3 else one if x > 3 else (2 * x + 3) / 6),
    S("leaky_relu", F.leaky_relu, lambda x: x if x > 0 else mp.mpf(0.01) * x, lambda x: one if x > 0 else mp.mpf(0.01),
      ),
]  # fmt: skip


def of_first(name: str, function: Any, y: float, exact: Any, slope: Any, **options: Any) -> Subject:
    """A function of two numbers, as one of the first."""
    held = mp.mpf(y)
    return S(f"{name}(x, {y:g})", lambda x: function(x, np.full_like(x, y)), lambda x: exact(x, held),
             lambda x: slope(x, held), **options)  # fmt: skip


def of_second(name: str, function: Any, x: float, exact: Any, slope: Any, **options: Any) -> Subject:
    """A function of two numbers, as one of the second."""
    held = mp.mpf(x)
    return S(f"{name}({x:g}, y)", lambda y: function(np.full_like(y, x), y), lambda y: exact(held, y),
             lambda y: slope(held, y), **options)  # fmt: skip


def rest(how: Any) -> Any:
    """The remainder of a division, in rational numbers."""

    def exact(x: Any, y: Any) -> Any:
        x, y = Fraction(float(x)), Fraction(float(y))
        whole = x / y
        found = x - y * (math.floor(whole) if how is np.remainder else math.trunc(whole))
        return mp.mpf(found.numerator) / found.denominator

    return exact


def logaddexp(x: Any, y: Any) -> Any:
    return max(x, y) + mp.log1p(mp.exp(-abs(x - y)))


def hypot(x: Any, y: Any) -> Any:
    return mp.sqrt(x * x + y * y)


for y in (3.75, -2e5, 2.0**-23):
    SUBJECTS += [
        of_first("hypot", mg.hypot, y, hypot, lambda x, y: x / hypot(x, y)),
        of_first("divide", mg.divide, y, lambda x, y: x / y, lambda x, y: 1 / y),
        of_second("divide", mg.divide, y, lambda x, y: x / y, lambda x, y: -x / y**2),
        of_first("arctan2", mg.arctan2, y, mp.atan2, lambda x, y: y / (x * x + y * y)),
        of_second("arctan2", mg.arctan2, y, mp.atan2, lambda x, y: -x / (x * x + y * y)),
        of_first("remainder", mg.remainder, y, rest(np.remainder), lambda x, y: one),
        of_first("fmod", mg.fmod, y, rest(np.fmod), lambda x, y: one),
    ]
SUBJECTS += [
    of_first("logaddexp", mg.logaddexp, 0.0, logaddexp, lambda x, y: sigmoid(x - y)),
    of_second("logaddexp", mg.logaddexp, 0.0, logaddexp, lambda x, y: sigmoid(y - x)),
    of_first("logaddexp", mg.logaddexp, 0.75, logaddexp, lambda x, y: sigmoid(x - y)),
]
for y in (2.0, 3.0, -1.0, 0.5, 1.5, -0.5, 2.25):
    low = -np.inf if y.is_integer() else 0.0
    SUBJECTS.append(S(f"x ** {y:g}", lambda x, y=y: x**y, lambda x, y=y: mp.power(x, y),
                      lambda x, y=y: y * mp.power(x, y - 1), low=low,
                      second=lambda x, y=y: y * (y - 1) * mp.power(x, y - 2)))  # fmt: skip
SUBJECTS += [
    of_first("power", mg.power, float(np.float32(0.1)), mp.power, lambda x, y: y * mp.power(x, y - 1), low=0),
    of_second("power", mg.power, 0.3125, mp.power, lambda x, y: mp.power(x, y) * mp.log(x)),
    of_second("power", mg.power, 41.0, mp.power, lambda x, y: mp.power(x, y) * mp.log(x)),
]


def loss(name: str, function: Any, target: float, exact: Any, slope: Any, **options: Any) -> Subject:
    """A loss of one prediction, by the prediction."""
    return of_first(name, partial(function, reduction="none"), target, exact, slope, **options)


def with_logits(x: Any, t: Any) -> Any:
    return t * softplus(-x) + (1 - t) * softplus(x)


def cross_entropy(form: Any, label: int) -> Any:
    """Of the logits (x, 0), by x."""

    def function(x: Any) -> Any:
        labels = np.full(x.shape, label)
        return form(np.stack([x, np.zeros_like(x)], axis=-1), labels, reduction="none")

    return function


SUBJECTS += [
    loss("mse_loss", losses.mse_loss, 1.5, lambda x, t: (x - t) ** 2, lambda x, t: 2 * (x - t)),
    loss("l1_loss", losses.l1_loss, 1.5, lambda x, t: abs(x - t), lambda x, t: mp.sign(x - t)),
    loss("huber_loss", losses.huber_loss, 0.0, lambda x, t: x * x / 2 if abs(x) <= 1 else abs(x) - 0.5,
         lambda x, t: x if abs(x) <= 1 else mp.sign(x)),
    loss("smooth_l1_loss", losses.smooth_l1_loss, 0.0, lambda x, t: x * x / 2 if abs(x) <= 1 else abs(x) - 0.5,
         lambda x, t: x if abs(x) <= 1 else mp.sign(x)),
    loss("hinge_loss", losses.hinge_loss, 1.0, lambda x, t: max(1 - x, 0), lambda x, t: -one if x < 1 else 0 * one,),
]  # fmt: skip
for t in (0.0, 1.0, 0.25):
    SUBJECTS.append(loss("binary_cross_entropy_with_logits", losses.binary_cross_entropy_with_logits, t, with_logits,
                         lambda x, t: (1 - t) * sigmoid(x) - t * sigmoid(-x)))  # fmt: skip
for t in (0.0, 1.0):
    SUBJECTS.append(
        loss("binary_cross_entropy", losses.binary_cross_entropy, t,
             lambda p, t: min(-mp.log(p) if t else -mp.log1p(-p), 100),
             lambda p, t: (-1 / p if p > mp.exp(-100) else 0 * p) if t else 1 / (1 - p), low=0, high=1)
    )  # fmt: skip
for form in (losses.cross_entropy, fused.softmax_cross_entropy):
    SUBJECTS += [
        S(f"{form.__name__}((x, 0), 0)", cross_entropy(form, 0), lambda x: softplus(-x), lambda x: -sigmoid(-x)),
        S(f"{form.__name__}((x, 0), 1)", cross_entropy(form, 1), softplus, sigmoid),
    ]
