"""How a trace records minigrad's own functions on arrays: each as one operation, or from operations of programs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.compiler.trace.numpy_functions import FUNCTIONS, Handler, handles
from minigrad.compiler.trace.opaque import bare
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import real_of
from minigrad.ops.indexing import read
from minigrad.ops.random import drawn_dtype, normal_like, uniform_like
from minigrad.ops.spatial.conv_primitives import convolution, convolution_input, convolution_kernel
from minigrad.ops.special import WHOLE, exp_of_square, gaussian_values, normal_pdf_values

MANY_PRODUCTS = 1 << 23  # convolutions with fewer are recorded in parts: calls and copies take as long as the products


@handles(read)
def _read(trace: Any, x: Any, index: Any) -> Any:
    return trace.getitem(x if isinstance(x, TracerArray) else trace.constant(x), index)


def _elementwise(name: str) -> Handler:
    """The handler of an elementwise function of minigrad's, as one operation."""

    def recorded(trace: Any, x: Any) -> Any:
        x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
        return trace.fresh(WHOLE[name](x.mg_array), trace.emit(name, x.mg_value))

    return recorded


FUNCTIONS |= {function: _elementwise(name) for name, function in WHOLE.items()}


@handles(gaussian_values)
def _gaussian(trace: Any, x: Any) -> Any:
    return exp_of_square(x if x.dtype.kind == "f" else x * 1.0, 1.0)


@handles(normal_pdf_values)
def _normal_pdf(trace: Any, x: Any) -> Any:
    return exp_of_square(x if x.dtype.kind == "f" else x * 1.0, 0.5, 1 / math.sqrt(2 * math.pi))


def _convolution(function: Any) -> Handler:
    def recorded(trace: Any, x: Any, y: Any, **settings: Any) -> Any:
        array = function(bare(x), bare(y), **settings)
        y_like, w = {convolution: (array, y), convolution_input: (x, y), convolution_kernel: (y, array)}[function]
        if math.prod(y_like.shape) * math.prod(w.shape[:-1]) < MANY_PRODUCTS:
            return function(x, y, **settings)
        params = {"function": function, "settings": tuple(settings.items()), "shape": array.shape}
        return trace.fresh(array, trace.emit("convolution", trace.operand(x), trace.operand(y), **params))

    return recorded


FUNCTIONS |= {f: _convolution(f) for f in (convolution, convolution_input, convolution_kernel)}


@handles(uniform_like)
def _uniform_like(trace: Any, x: Any, rng: Any) -> Any:
    return _draw(trace, x, rng, "random")


@handles(normal_like)
def _normal_like(trace: Any, x: Any, rng: Any) -> Any:
    return _draw(trace, x, rng, "standard_normal")


def _draw(trace: Any, x: Any, rng: Any, method: str) -> Any:
    rng = real_of(rng)
    dtype = drawn_dtype(x)
    if dtype in (np.float32, np.float64):
        return trace.draw(rng, method, (x.shape,), {"dtype": dtype})
    return trace.draw(rng, method, (x.shape,), {}).astype(dtype)
