"""Docstrings of the elementwise functions, from a table: what the function is, and its derivative."""

from __future__ import annotations

from typing import Any

# name: (the value, the derivative), or only the value where nothing flows
TABLE: dict[str, tuple[str, ...]] = {
    "add": ("x + y", "∂/∂x = ∂/∂y = 1"),
    "subtract": ("x - y", "∂/∂x = 1, ∂/∂y = -1"),
    "multiply": ("x y", "∂/∂x = y, ∂/∂y = x"),
    "divide": ("x / y", "∂/∂x = 1/y, ∂/∂y = -x/y²"),
    "negative": ("-x", "-1"),
    "positive": ("+x", "1"),
    "reciprocal": ("1 / x", "-1/x²"),
    "square": ("x²", "2x"),
    "abs": ("|x|", "sign x, 0 at 0"),
    "hypot": ("√(x² + y²), without overflow", "∂/∂x = x/√(x² + y²), likewise for y; 0 at the origin"),
    "quotient": ("x / y, but 0 where x and y are 0", "as of x / y: at y = 0 they are infinite or NaN"),
    "remainder": ("x - y ⌊x/y⌋, with the sign of y", "∂/∂x = 1, ∂/∂y = -⌊x/y⌋"),
    "fmod": ("x - y trunc(x/y), with the sign of x", "∂/∂x = 1, ∂/∂y = -trunc(x/y)"),
    "power": ("x to the power y", "∂/∂x = y xʸ⁻¹, ∂/∂y = xʸ log x, 0 at x = 0"),
    "sqrt": ("the square root of x", "1/(2√x), inf at 0"),
    "cbrt": ("the cube root of x", "1/(3 x^(2/3))"),
    "exp": ("e to the power x", "exp x"),
    "exp2": ("2 to the power x", "2ˣ log 2"),
    "expm1": ("exp(x) - 1, accurate for small x", "exp x"),
    "log": ("the natural logarithm of x", "1/x"),
    "log2": ("the logarithm of x to base 2", "1/(x log 2)"),
    "log10": ("the logarithm of x to base 10", "1/(x log 10)"),
    "log1p": ("log(1 + x), accurate for small x", "1/(1 + x)"),
    "logaddexp": ("log(exp x + exp y), without overflow", "∂/∂x = exp x/(exp x + exp y), likewise for y"),
    "sin": ("the sine of x in radians", "cos x"),
    "cos": ("the cosine of x in radians", "-sin x"),
    "tan": ("the tangent of x in radians", "1 + tan² x"),
    "arcsin": ("the angle in [-π/2, π/2] whose sine is x", "1/√(1 - x²)"),
    "arccos": ("the angle in [0, π] whose cosine is x", "-1/√(1 - x²)"),
    "arctan": ("the angle in [-π/2, π/2] whose tangent is x", "1/(1 + x²)"),
    "arctan2": (
        "the angle of the point (y, x), x its height",
        "∂/∂x = y/(x² + y²), ∂/∂y = -x/(x² + y²); 0 at the origin",
    ),
    "sinh": ("the hyperbolic sine of x", "cosh x"),
    "cosh": ("the hyperbolic cosine of x", "sinh x"),
    "tanh": ("the hyperbolic tangent of x", "1 - tanh² x"),
    "arcsinh": ("the number whose hyperbolic sine is x", "1/√(1 + x²)"),
    "arccosh": ("the number >= 0 whose hyperbolic cosine is x", "1/√(x² - 1)"),
    "arctanh": ("the number whose hyperbolic tangent is x", "1/(1 - x²)"),
    "where": ("x where the condition is true, else y", "1 for the one chosen, 0 for the other"),
    "maximum": ("the larger of x and y", "1 for the larger, 0 for the smaller, ½ for each at a tie"),
    "minimum": ("the smaller of x and y", "1 for the smaller, 0 for the larger, ½ for each at a tie"),
    "copysign": ("|x| with the sign of y", "∂/∂x = sign(x) sign(y), 0 at 0"),
    "relu": ("max(x, 0)", "1 for x > 0, else 0"),
    "sigmoid": ("1/(1 + exp(-x)), without overflow", "σ(x) (1 - σ(x))"),
    "softplus": ("log(1 + exp x), without overflow", "1/(1 + exp(-x))"),
    "erf": ("the error function 2/√π ∫₀ˣ exp(-t²) dt (Cody 1969)", "2/√π exp(-x²)"),
    "normal_cdf": ("the distribution function Φ of the standard normal", "exp(-x²/2)/√(2π)"),
    "sigmoid_slope": ("σ(x) (1 - σ(x)), the derivative of the sigmoid", "-tanh(x/2) times the value"),
    "sech_squared": ("1 - tanh² x, the derivative of the hyperbolic tangent", "-2 tanh(x) times the value"),
    "gaussian": ("exp(-x²), without the error of a rounded square", "-2x exp(-x²)"),
    "normal_pdf": ("exp(-x²/2)/√(2π), the density of the standard normal", "-x times the value"),
    "sign": ("-1, 0 or 1, as x is negative, zero or positive",),
    "floor": ("the largest whole number <= x",),
    "ceil": ("the smallest whole number >= x",),
    "trunc": ("x without its fractional part",),
    "rint": ("the whole number nearest to x, the even one at a tie",),
    "round": ("the whole number nearest to x (the multiple of 10^-decimals), the even one at a tie",),
    "floor_divide": ("⌊x / y⌋",),
    "nextafter": ("the next floating-point number after x in the direction of y", "∂/∂x = 1"),
    "signbit": ("whether the sign of x is negative, also for -0.0",),
    "isfinite": ("whether x is neither infinite nor NaN",),
    "isinf": ("whether x is inf or -inf",),
    "isnan": ("whether x is NaN",),
    "isclose": ("whether |x - y| <= atol + rtol |y|; with equal_nan also where both are NaN",),
    "equal": ("whether x == y",),
    "not_equal": ("whether x != y",),
    "less": ("whether x < y",),
    "less_equal": ("whether x <= y",),
    "greater": ("whether x > y",),
    "greater_equal": ("whether x >= y",),
    "logical_and": ("whether x and y are both not 0",),
    "logical_or": ("whether x or y is not 0",),
    "logical_xor": ("whether exactly one of x and y is not 0",),
    "logical_not": ("whether x is 0",),
    "bitwise_and": ("the bits that are set in x and in y",),
    "bitwise_or": ("the bits that are set in x or in y",),
    "bitwise_xor": ("the bits that are set in exactly one of x and y",),
    "bitwise_invert": ("the bits that are not set in x",),
    "bitwise_left_shift": ("x with its bits moved by y places to the left",),
    "bitwise_right_shift": ("x with its bits moved by y places to the right",),
}


def document(functions: dict[str, Any]) -> None:
    """Give each function of the table its docstring."""
    for name, (value, *derivative) in TABLE.items():
        function = functions[name]
        operands = function.primitive.operands
        shapes = "of any shape" if len(operands) == 1 else "whose shapes broadcast"
        moves = "The derivative is" if len(operands) == 1 else "Derivatives:"
        function.__doc__ = (
            f"{value[0].upper() if value[:2].isalpha() else value[0]}{value[1:]}, element by element.\n\n"
            f"Args:\n    {', '.join(operands)}: numbers, arrays or Tensors {shapes}.\n\n"
            f"{f'{moves} {derivative[0]}.' if derivative else 'No gradient flows through it.'}\n"
        )
