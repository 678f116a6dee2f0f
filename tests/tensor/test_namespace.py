"""minigrad as a namespace of the Python array API standard 2024.12, real dtypes: names, signatures, promotion."""

from __future__ import annotations

import ast
import inspect
import operator
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad as mg

# https://data-apis.org/array-api/2024.12, without conj, real and imag
STANDARD = """
abs(x, /) acos(x, /) acosh(x, /) add(x1, x2, /) asin(x, /) asinh(x, /) atan(x, /) atan2(x1, x2, /) atanh(x, /)
bitwise_and(x1, x2, /) bitwise_left_shift(x1, x2, /) bitwise_invert(x, /) bitwise_or(x1, x2, /)
bitwise_right_shift(x1, x2, /) bitwise_xor(x1, x2, /) ceil(x, /) clip(x, /, min=None, max=None) copysign(x1, x2, /)
cos(x, /) cosh(x, /) divide(x1, x2, /) equal(x1, x2, /) exp(x, /) expm1(x, /) floor(x, /) floor_divide(x1, x2, /)
greater(x1, x2, /) greater_equal(x1, x2, /) hypot(x1, x2, /) isfinite(x, /) isinf(x, /) isnan(x, /) less(x1, x2, /)
less_equal(x1, x2, /) log(x, /) log1p(x, /) log2(x, /) log10(x, /) logaddexp(x1, x2, /) logical_and(x1, x2, /)
logical_not(x, /) logical_or(x1, x2, /) logical_xor(x1, x2, /) maximum(x1, x2, /) minimum(x1, x2, /)
multiply(x1, x2, /) negative(x, /) nextafter(x1, x2, /) not_equal(x1, x2, /) positive(x, /) pow(x1, x2, /)
reciprocal(x, /) remainder(x1, x2, /) round(x, /) sign(x, /) signbit(x, /) sin(x, /) sinh(x, /) square(x, /)
sqrt(x, /) subtract(x1, x2, /) tan(x, /) tanh(x, /) trunc(x, /)

arange(start, /, stop=None, step=1, *, dtype=None, device=None) asarray(obj, /, *, dtype=None, device=None, copy=None)
empty(shape, *, dtype=None, device=None) empty_like(x, /, *, dtype=None, device=None)
eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None) from_dlpack(x, /, *, device=None, copy=None)
full(shape, fill_value, *, dtype=None, device=None) full_like(x, /, fill_value, *, dtype=None, device=None)
linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True) meshgrid(*arrays, indexing='xy')
ones(shape, *, dtype=None, device=None) ones_like(x, /, *, dtype=None, device=None) tril(x, /, *, k=0)
triu(x, /, *, k=0) zeros(shape, *, dtype=None, device=None) zeros_like(x, /, *, dtype=None, device=None)

astype(x, dtype, /, *, copy=True, device=None) can_cast(from_, to, /) finfo(type, /) iinfo(type, /)
isdtype(dtype, kind) result_type(*arrays_and_dtypes)

take(x, indices, /, *, axis=None) take_along_axis(x, indices, /, *, axis=-1) matmul(x1, x2, /) matrix_transpose(x, /)
tensordot(x1, x2, /, *, axes=2) vecdot(x1, x2, /, *, axis=-1)

broadcast_arrays(*arrays) broadcast_to(x, /, shape) concat(arrays, /, *, axis=0) expand_dims(x, /, *, axis=0)
flip(x, /, *, axis=None) moveaxis(x, source, destination, /) permute_dims(x, /, axes)
repeat(x, repeats, /, *, axis=None) reshape(x, /, shape, *, copy=None) roll(x, /, shift, *, axis=None)
squeeze(x, /, axis) stack(arrays, /, *, axis=0) tile(x, repetitions, /) unstack(x, /, *, axis=0)

argmax(x, /, *, axis=None, keepdims=False) argmin(x, /, *, axis=None, keepdims=False)
count_nonzero(x, /, *, axis=None, keepdims=False) nonzero(x, /) searchsorted(x1, x2, /, *, side='left', sorter=None)
where(condition, x1, x2, /) unique_all(x, /) unique_counts(x, /) unique_inverse(x, /) unique_values(x, /)
argsort(x, /, *, axis=-1, descending=False, stable=True) sort(x, /, *, axis=-1, descending=False, stable=True)

cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)
cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False) max(x, /, *, axis=None, keepdims=False)
mean(x, /, *, axis=None, keepdims=False) min(x, /, *, axis=None, keepdims=False)
prod(x, /, *, axis=None, dtype=None, keepdims=False) std(x, /, *, axis=None, correction=0.0, keepdims=False)
sum(x, /, *, axis=None, dtype=None, keepdims=False) var(x, /, *, axis=None, correction=0.0, keepdims=False)

all(x, /, *, axis=None, keepdims=False) any(x, /, *, axis=None, keepdims=False)
diff(x, /, *, axis=-1, n=1, prepend=None, append=None) __array_namespace_info__()

linalg.cholesky(x, /, *, upper=False) linalg.cross(x1, x2, /, *, axis=-1) linalg.det(x, /)
linalg.diagonal(x, /, *, offset=0) linalg.eigh(x, /) linalg.eigvalsh(x, /) linalg.inv(x, /) linalg.matmul(x1, x2, /)
linalg.matrix_norm(x, /, *, keepdims=False, ord='fro') linalg.matrix_power(x, n, /)
linalg.matrix_rank(x, /, *, rtol=None) linalg.matrix_transpose(x, /) linalg.outer(x1, x2, /)
linalg.pinv(x, /, *, rtol=None) linalg.qr(x, /, *, mode='reduced') linalg.slogdet(x, /) linalg.solve(x1, x2, /)
linalg.svd(x, /, *, full_matrices=True) linalg.svdvals(x, /) linalg.tensordot(x1, x2, /, *, axes=2)
linalg.trace(x, /, *, offset=0, dtype=None) linalg.vecdot(x1, x2, /, *, axis=-1)
linalg.vector_norm(x, /, *, axis=None, keepdims=False, ord=2)
"""
FUNCTIONS = [f"{line})" for line in " ".join(STANDARD.split()).split(")") if line.strip()]
CONSTANTS = {"e": np.e, "pi": np.pi, "inf": np.inf, "nan": np.nan, "newaxis": None}
DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]


def signature(text: str) -> tuple[str, inspect.Signature]:
    """The name and parameters of a function written as in the standard."""
    name, _, parameters = text.strip().partition("(")
    call = ast.parse(f"lambda {parameters[:-1]}: None", mode="eval")
    return name, inspect.signature(eval(compile(call, name, "eval")))


def found(name: str) -> Any:
    part: Any = mg
    for piece in name.split("."):
        part = getattr(part, piece)
    return part


@pytest.mark.parametrize("text", FUNCTIONS, ids=lambda text: text.strip().partition("(")[0])
def test_functions_of_the_standard(text: str) -> None:
    """Every call that the standard allows is one that ours takes, with the same defaults."""
    name, wanted = signature(text)
    ours = inspect.signature(found(name)).parameters
    places = [p for p in ours.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for k, p in enumerate(wanted.parameters.values()):
        if p.kind is p.VAR_POSITIONAL:
            assert any(q.kind is q.VAR_POSITIONAL for q in ours.values())
            continue
        mine = ours[p.name] if p.kind is p.KEYWORD_ONLY or p.kind is p.POSITIONAL_OR_KEYWORD else places[k]
        if p.kind is p.POSITIONAL_OR_KEYWORD:
            assert places[k] is mine
            assert mine.kind is mine.POSITIONAL_OR_KEYWORD
        if p.kind is p.KEYWORD_ONLY:
            assert mine.kind is not mine.POSITIONAL_ONLY
        if p.default is not p.empty:
            assert mine.default == p.default
    extra = [p for p in ours.values() if p.name not in wanted.parameters and p.default is p.empty]
    required = [p for p in wanted.parameters.values() if p.default is p.empty]
    assert len(extra) <= len(required)


def test_constants_and_dtypes() -> None:
    for name, value in CONSTANTS.items():
        assert getattr(mg, name) is value or getattr(mg, name) == value or name == "nan"
    for name in DTYPES:
        assert mg.zeros(2, dtype=getattr(mg, name)).dtype == getattr(mg, name)
        assert np.dtype(getattr(mg, name)).name == name


def test_tensors_name_their_namespace() -> None:
    t = mg.Tensor([1.0])
    assert t.__array_namespace__() is mg
    assert t.__array_namespace__(api_version="2024.12") is mg
    with pytest.raises(ValueError, match=r"'1999.01'.*2024\.12"):
        t.__array_namespace__(api_version="1999.01")


def test_info() -> None:
    info = mg.__array_namespace_info__()
    assert set(info.dtypes()) == set(DTYPES)
    assert set(info.dtypes(kind=("bool", "unsigned integer"))) == {"bool", "uint8", "uint16", "uint32", "uint64"}
    assert info.default_dtypes()["real floating"] == np.float64
    assert info.devices() == [info.default_device()]
    assert mg.zeros(1).device == info.default_device()


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
def test_promotion(first: str, second: str) -> None:
    x, y = mg.ones(2, dtype=first), mg.ones(2, dtype=second)
    expected = np.result_type(np.dtype(first), np.dtype(second))
    assert mg.result_type(x, y) == mg.result_type(x.dtype, y.dtype) == expected
    assert mg.add(x, y).dtype == (x + y).dtype == mg.concat([x, y]).dtype == expected
    assert mg.where(mg.asarray([True, False]), x, y).dtype == expected
    assert mg.can_cast(x, second) == np.can_cast(first, second)


def test_python_numbers_do_not_promote() -> None:
    x = mg.ones(2, dtype="float32")
    assert (x + 1.0).dtype == (2 * x).dtype == mg.pow(x, 2).dtype == mg.float32
    assert mg.result_type(x, 1.0) == mg.float32


def test_finfo_and_iinfo() -> None:
    assert mg.finfo(mg.float32).eps == mg.finfo(mg.ones(1, dtype="float32")).eps == np.finfo(np.float32).eps
    assert mg.iinfo(mg.ones(1, dtype="int8")).max == mg.iinfo("int8").max == 127
    assert mg.isdtype(np.dtype("float32"), "real floating")
    assert not mg.isdtype(mg.float32, ("bool", "integral"))


MAKERS = {
    "zeros": lambda **o: mg.zeros((2, 3), **o),
    "ones": lambda **o: mg.ones((2, 3), **o),
    "full": lambda **o: mg.full((2, 3), 0.5, **o),
    "empty": lambda **o: mg.empty((2, 3), **o),
    "eye": lambda **o: mg.eye(2, 3, **o),
    "arange": lambda **o: mg.arange(0.0, 3.0, **o),
    "linspace": lambda **o: mg.linspace(0, 1, 3, **o),
    "asarray": lambda **o: mg.asarray([1.0, 2.0], **o),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_creation(make: Any) -> None:
    assert isinstance(make(), mg.Tensor)
    assert make().dtype == np.float64
    assert make(dtype="float32").dtype == np.float32
    assert make(requires_grad=True).requires_grad
    assert not make().requires_grad
    assert make(device="cpu").device == "cpu"
    with pytest.raises(ValueError, match=r"'cuda'.*'cpu'"):
        make(device="cuda")
    mg.set_default_dtype("float32")
    try:
        assert make().dtype == np.float32
        assert make(dtype="float64").dtype == np.float64
    finally:
        mg.set_default_dtype("float64")


@pytest.mark.parametrize("name", ["zeros", "ones", "full", "empty"])
def test_creation_like(name: str) -> None:
    like = getattr(mg, f"{name}_like")
    values = (7.0,) if name == "full" else ()
    for x in (np.ones((2, 3), np.float32), mg.ones((2, 3), dtype="float32", requires_grad=True)):
        made = like(x, *values)
        assert isinstance(made, mg.Tensor)
        assert (made.shape, made.dtype, made.requires_grad) == ((2, 3), np.float32, False)
        assert like(x, *values, dtype="int64").dtype == np.int64
        if name != "empty":
            np.testing.assert_array_equal(made.numpy(), getattr(np, f"{name}_like")(np.ones((2, 3)), *values))


def test_the_numbers_decide_the_dtype() -> None:
    assert mg.arange(3).dtype == mg.full(2, 3).dtype == np.int64
    assert mg.full(2, True).dtype == np.bool
    assert mg.arange(1, 2, 0.5).tolist() == [1, 1.5]
    assert mg.full((), np.float32(1)).dtype == np.float32


def test_asarray_shares_memory_by_default() -> None:
    x = np.arange(3.0)
    assert np.shares_memory(mg.asarray(x).numpy(), x)
    assert not np.shares_memory(mg.asarray(x, copy=True).numpy(), x)
    t = mg.Tensor(x)
    assert mg.asarray(t) is t
    assert mg.asarray(t, copy=True) is not t
    for wrong in (lambda: mg.asarray(x, dtype="float32", copy=False), lambda: mg.asarray([1.0], copy=False)):
        with pytest.raises(ValueError, match=r"asarray\(.*leave copy out"):
            wrong()


def test_reshape_copy() -> None:
    x = mg.Tensor(np.arange(6.0).reshape(2, 3))
    assert not np.shares_memory(mg.reshape(x, (3, 2), copy=True).numpy(), x.numpy())
    assert np.shares_memory(mg.reshape(x, (3, 2), copy=False).numpy(), x.numpy())
    with pytest.raises(ValueError, match="copy"):
        mg.reshape(mg.matrix_transpose(x), (6,), copy=False)


def test_dlpack() -> None:
    x = mg.from_dlpack(np.arange(3.0))
    assert isinstance(x, mg.Tensor)
    np.testing.assert_array_equal(np.from_dlpack(x), [0, 1, 2])


def test_meshgrid_is_differentiable() -> None:
    x, y = (mg.Tensor(np.arange(n, dtype=float), requires_grad=True) for n in (2, 3))
    for indexing in ("xy", "ij"):
        for ours, theirs in zip(
            mg.meshgrid(x, y, indexing=indexing), np.meshgrid(x.numpy(), y.numpy(), indexing=indexing), strict=True
        ):
            np.testing.assert_array_equal(ours.numpy(), theirs)
    np.meshgrid(x, y)[0].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 3]


def test_results_are_tensors_where_operands_are() -> None:
    x = mg.Tensor([3.0, 1.0, 3.0], requires_grad=True)
    for found_in in (*mg.unique_all(x), *mg.nonzero(x), mg.argsort(x), mg.isin(x, [1.0]), mg.searchsorted(x, x)):
        assert isinstance(found_in, mg.Tensor)
    for found_in in (*mg.unique_all(x.numpy()), *mg.nonzero(x.numpy()), mg.isin(x.numpy(), [1.0])):
        assert isinstance(found_in, np.ndarray)


def test_round() -> None:
    x = mg.Tensor([0.5, 1.5, -2.567])
    assert mg.round(x).tolist() == [0, 2, -3]
    assert np.round(x, 1).tolist() == [0.5, 1.5, -2.6]
    assert mg.round(mg.arange(3)).dtype == np.int64


PUBLIC = [name for name in mg.__all__ if callable(getattr(mg, name)) and not isinstance(getattr(mg, name), type)]


@pytest.mark.parametrize("name", [*PUBLIC, *(f"linalg.{n}" for n in mg.linalg.__all__ if "Result" not in n)])
def test_every_function_has_a_docstring_of_its_own(name: str) -> None:
    text = inspect.getdoc(found(name))
    assert text
    assert ">>> np." not in text.split("import numpy as np")[0]
    assert "numpy.ndarray" not in text
    assert len(text.splitlines()[0]) <= 120


def test_names() -> None:
    for name in mg.__all__:
        assert hasattr(mg, name)
    assert set(mg.__all__) <= set(dir(mg))
    assert "nn" in dir(mg)
    with pytest.raises(AttributeError, match="no attribute 'tensors'"):
        mg.tensors  # type: ignore[attr-defined]  # noqa: B018


def test_heavy_parts_are_imported_when_used() -> None:
    code = (
        "import sys, minigrad as mg\n"
        "heavy = {'minigrad.nn', 'minigrad.optim', 'minigrad.verify', 'minigrad.fused', 'minigrad.data'}\n"
        "assert not heavy & set(sys.modules)\n"
        "mg.nn\n"
        "assert 'minigrad.nn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert isinstance(mg.nn, ModuleType)


def test_hints_for_names_of_the_namespace() -> None:
    for name, there in mg._ELSEWHERE.items():
        with pytest.raises(AttributeError, match=rf"no attribute '{name}'\. It is mg\.{there}$"):
            getattr(mg, name)
        assert callable(operator.attrgetter(there)(mg))
