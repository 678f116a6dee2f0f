"""Which operations take long, and the dtypes that kernels compute with."""

from __future__ import annotations

import numpy as np

EXPENSIVE = frozenset({
    "exp", "log", "tanh", "erf", "normal_cdf", "power", "float_power", "logaddexp", "log1p", "expm1",
    "exp2", "log2", "log10", "sin", "cos", "tan", "arctan", "arctan2", "sinh",
    "cosh", "arcsin", "arccos", "hypot", "remainder", "fmod", "cbrt",
})  # fmt: skip
NUMBERS = {
    np.dtype(name) for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
FLOATS = {np.dtype("float32"): "32", np.dtype("float64"): "64"}
