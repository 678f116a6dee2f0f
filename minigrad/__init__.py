"""minigrad: see and prove your gradients.

The functions are those of the Python array API standard 2024.12, for real dtypes, and some more. On arrays alone they
return arrays; with a Tensor among their operands they return Tensors and record a node of the tape.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from numpy import e, inf, nan, newaxis, pi

from minigrad.util import hints as _hints
from minigrad.util import old_paths as _old_paths
from minigrad.recompute.checkpoint import checkpoint
from minigrad.tensor.creation import (
    arange, asarray, empty, empty_like, eye, from_dlpack, full, full_like, linspace, meshgrid, ones, ones_like, zeros,
    zeros_like,
)  # fmt: skip
from minigrad.tensor.custom import custom
from minigrad.tensor.dtypes import (
    __array_namespace_info__, bool, can_cast, finfo, float32, float64, iinfo, int8, int16, int32, int64, isdtype,
    result_type, uint8, uint16, uint32, uint64,
)  # fmt: skip
from minigrad.engine.modes import enable_grad, is_grad_enabled, no_grad, scope
from minigrad.tensor.naming import name
from minigrad.ops.einsum import einsum
from minigrad.ops.activation import erf, relu, sigmoid, softplus
from minigrad.ops.cumulative import cumulative_prod, cumulative_sum
from minigrad.ops.elementwise import (
    abs, add, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, cbrt, clip, copysign, cos, cosh, divide,
    exp, exp2, expm1, fmod, hypot, log, log1p, log2, log10, logaddexp, maximum, minimum, multiply, negative, nextafter,
    positive, power, reciprocal, remainder, sin, sinh, sqrt, square, subtract, tan, tanh, where,
)  # fmt: skip
from minigrad.ops.piecewise_constant import (
    allclose, bitwise_and, bitwise_invert, bitwise_left_shift, bitwise_or, bitwise_right_shift, bitwise_xor, ceil,
    equal, floor, floor_divide, greater, greater_equal, isclose, isfinite, isinf, isnan, less, less_equal, logical_and,
    logical_not, logical_or, logical_xor, not_equal, round, sign, signbit, trunc,
)  # fmt: skip
from minigrad.ops.indexing import gather, scatter, take, take_along_axis
from minigrad.ops.product import diagonal, matmul, outer, tensordot, trace, vecdot
from minigrad.ops.reduction import (
    all, any, argmax, argmin, count_nonzero, logsumexp, max, mean, min, prod, std, sum, var,
)  # fmt: skip
from minigrad.ops.searching import (
    argsort, isin, nonzero, searchsorted, sort, unique_all, unique_counts, unique_inverse, unique_values,
)  # fmt: skip
from minigrad.ops.padding import pad
from minigrad.ops.shape import (
    astype, broadcast_arrays, broadcast_to, concat, copy, diff, expand_dims, flip, matrix_transpose, moveaxis,
    permute_dims, repeat, reshape, roll, split, squeeze, stack, swapaxes, tile, tril, triu, unstack,
)  # fmt: skip
from minigrad.ops.spatial.conv_nd import (
    conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d,
)  # fmt: skip
from minigrad.ops.spatial.pool_nd import (
    adaptive_avg_pool, adaptive_max_pool, avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d,
)  # fmt: skip
from minigrad.ops.spatial.sliding_windows import sliding_windows
from minigrad.util.rng import get_rng_state, manual_seed, set_rng_state
from minigrad.engine.tape import Tape
from minigrad.tensor.tensor import Tensor
from minigrad.tensor.transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from minigrad.tensor.convert import get_default_dtype, set_default_dtype

if TYPE_CHECKING:
    from minigrad import (  # noqa: F401
        callbacks, data, diagnostics, drawing, functional, fused, io, linalg, nn, optim, preprocessing, training,
        verify,
    )  # fmt: skip
    from minigrad.compiler import compile
    from minigrad.diagnostics import detect_anomaly
    from minigrad.drawing import draw
    from minigrad.drawing.chain_rule import to_latex
    from minigrad.drawing.table import tape_table
    from minigrad.training import fit
    from minigrad.util.memory_tuning import tune_gc, tune_malloc
    from minigrad.verify.derive.deriving import derive

__version__ = "0.1.0"

_old_paths.install()

# The standard's names for what NumPy used to call otherwise
acos, asin, atan, atan2 = arccos, arcsin, arctan, arctan2
acosh, asinh, atanh = arccosh, arcsinh, arctanh
pow = power

# Imported at first use
_SUBMODULES = (
    "callbacks", "data", "diagnostics", "drawing", "functional", "fused", "io", "linalg", "nn", "optim",
    "preprocessing", "training", "verify",
)  # fmt: skip
_FUNCTIONS = {
    "compile": "compiler",
    "derive": "verify.derive.deriving",
    "detect_anomaly": "diagnostics",
    "draw": "drawing",
    "fit": "training",
    "tape_table": "drawing.table",
    "to_latex": "drawing.chain_rule",
    "tune_gc": "util.memory_tuning",
    "tune_malloc": "util.memory_tuning",
}

# Names of PyTorch and NumPy, for hints
_ELSEWHERE = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "array": "asarray",
    "as_tensor": "asarray",
    "batch_norm": "functional.batch_norm",
    "bmm": "matmul",
    "cat": "concat",
    "clamp": "clip",
    "clone": "copy",
    "concatenate": "concat",
    "cross_entropy": "functional.cross_entropy",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "det": "linalg.det",
    "div": "divide",
    "dropout": "functional.dropout",
    "eq": "equal",
    "flatten": "reshape",
    "from_numpy": "asarray",
    "ge": "greater_equal",
    "gelu": "functional.gelu",
    "gt": "greater",
    "index_select": "take",
    "inverse": "linalg.inv",
    "invert": "bitwise_invert",
    "layer_norm": "functional.layer_norm",
    "le": "less_equal",
    "left_shift": "bitwise_left_shift",
    "log_softmax": "functional.log_softmax",
    "lt": "less",
    "mm": "matmul",
    "movedim": "moveaxis",
    "mse_loss": "functional.mse_loss",
    "mul": "multiply",
    "ne": "not_equal",
    "neg": "negative",
    "one_hot": "functional.one_hot",
    "permute": "permute_dims",
    "pinverse": "linalg.pinv",
    "ravel": "reshape",
    "right_shift": "bitwise_right_shift",
    "slogdet": "linalg.slogdet",
    "softmax": "functional.softmax",
    "sub": "subtract",
    "svd": "linalg.svd",
    "transpose": "swapaxes",
    "true_divide": "divide",
    "unbind": "unstack",
    "unique": "unique_values",
    "unsqueeze": "expand_dims",
    "view": "reshape",
}

__all__ = [
    "Tape", "Tensor", "__array_namespace_info__", "abs", "acos", "acosh", "adaptive_avg_pool", "adaptive_max_pool",
    "add", "all", "allclose", "any", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "argmax", "argmin", "argsort", "asarray", "asin", "asinh", "astype", "atan", "atan2", "atanh",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "bool", "broadcast_arrays", "broadcast_to", "can_cast", "cbrt", "ceil",
    "checkpoint", "clip", "compile", "concat", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "copy", "copysign", "cos", "cosh", "count_nonzero", "cumulative_prod", "cumulative_sum",
    "custom", "derive", "detect_anomaly", "diagonal", "diff", "divide", "draw", "e", "einsum", "empty", "empty_like",
    "enable_grad", "equal", "erf", "exp", "exp2", "expand_dims", "expm1", "eye", "finfo", "fit", "flip", "float32",
    "float64", "floor", "floor_divide", "fmod", "from_dlpack", "full", "full_like", "gather", "get_default_dtype",
    "get_rng_state", "grad", "greater", "greater_equal", "hessian", "hvp", "hypot", "iinfo", "inf", "int8", "int16",
    "int32", "int64", "is_grad_enabled", "isclose", "isdtype", "isfinite", "isin", "isinf", "isnan", "jacobian",
    "jvp", "less", "less_equal", "linalg", "linspace", "log", "log1p", "log2", "log10", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logsumexp", "manual_seed", "matmul", "matrix_transpose", "max",
    "max_pool1d", "max_pool2d", "max_pool3d", "maximum", "mean", "meshgrid", "min", "minimum", "moveaxis",
    "multiply", "name", "nan", "negative", "newaxis", "nextafter", "no_grad", "nonzero", "not_equal", "ones",
    "ones_like", "outer", "pad", "permute_dims", "pi", "positive", "pow", "power", "prod", "reciprocal", "relu",
    "remainder", "repeat", "reshape", "result_type", "roll", "round", "scatter", "scope", "searchsorted",
    "set_default_dtype", "set_rng_state", "sigmoid", "sign", "signbit", "sin", "sinh", "sliding_windows",
    "softplus", "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take",
    "take_along_axis", "tan", "tanh", "tape_table", "tensordot", "tile", "to_latex", "trace", "tril", "triu",
    "trunc", "tune_gc", "tune_malloc", "uint8", "uint16", "uint32", "uint64", "unique_all", "unique_counts",
    "unique_inverse", "unique_values", "unstack", "value_and_grad", "var", "vecdot", "vjp", "where", "zeros",
    "zeros_like",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return _import_module(f"minigrad.{name}")
    if name in _FUNCTIONS:
        return getattr(_import_module(f"minigrad.{_FUNCTIONS[name]}"), name)
    there = {k: f"It is mg.{where}" for k, where in _ELSEWHERE.items()}
    raise _hints.missing(__name__, name, _hints.NAMESPACE | there)


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
