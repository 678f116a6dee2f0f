"""NumPy's functions inside a step: each with its options, on arrays that differ from call to call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from scenarios.parts import numbers
from scenarios.scenario import scenario

LOOKS = frozenset(  # at values, at bytes, at objects: what no program can do
    [
        "of_a_matrix_vectorized",
        "of_a_matrix_from_pyfunc",
        "of_a_matrix_unique",
        "of_a_matrix_unique_counts",
        "of_a_matrix_counted",
        "of_a_matrix_compared",
        "of_a_matrix_kinds",
        "of_a_matrix_strided",
        "of_a_matrix_enumerated",
        "of_a_matrix_flat_iterator",
        "of_a_matrix_nditer",
        "of_a_matrix_made_of",
        "of_a_matrix_contiguous",
        "of_a_matrix_masks",
        "of_a_matrix_strings",
        "of_a_matrix_member",
        "of_a_matrix_as_python",
        "of_a_matrix_rounded_by_python",
        "of_a_matrix_hashed",
        "of_a_matrix_bytes_read",
        "of_a_matrix_viewed",
        "of_a_matrix_masked",
        "of_a_matrix_masked_mean",
        "of_a_matrix_records",
        "of_a_matrix_objects",
        "of_a_matrix_strings_made",
        "of_a_matrix_dates",
        "of_integers_as_indices",
        "of_integers_sets",
        "of_bytes_cast",
        "of_complex_numbers_written",
        "of_truths_counted",
        "of_a_point_functions",
        "of_nothing_functions",
        "of_two_out",
    ]
)


def matrix(k: int) -> tuple[Any, ...]:
    return (numbers(k, 4, 3),)


def pair(k: int) -> tuple[Any, ...]:
    return numbers(k, 4, 3), numbers(k + 50, 4, 3)


def square(k: int) -> tuple[Any, ...]:
    a = numbers(k, 3, 3)
    return (a @ a.T + np.eye(3),)


def vector(k: int) -> tuple[Any, ...]:
    return (numbers(k, 8),)


def integers(k: int) -> tuple[Any, ...]:
    return (np.random.default_rng([3, k]).integers(-5, 6, (4, 3)),)


def small(k: int) -> tuple[Any, ...]:
    return (np.random.default_rng([4, k]).integers(0, 256, (4, 3)).astype(np.uint8),)


def single(k: int) -> tuple[Any, ...]:
    return (numbers(k, 4, 3).astype(np.float32),)


def half(k: int) -> tuple[Any, ...]:
    return ((100 * numbers(k, 40, 30)).astype(np.float16),)


def large_half(k: int) -> tuple[Any, ...]:
    return ((3000 + 100 * numbers(k, 40, 3)).astype(np.float16),)


def special(k: int) -> tuple[Any, ...]:
    x = numbers(k, 4, 3)
    x[0, k % 3] = [np.nan, np.inf, -np.inf, -0.0, 5e-324, 1e308][k % 6]
    x[1] = [0.0, -0.0, 1e-310]
    return (x,)


def complex_(k: int) -> tuple[Any, ...]:
    return (numbers(k, 3, 3) + 1j * numbers(k + 9, 3, 3),)


def truth(k: int) -> tuple[Any, ...]:
    return (numbers(k, 4, 3) > 0,)


def point(k: int) -> tuple[Any, ...]:
    return (np.array(numbers(k, 1)[0]),)


def nothing(k: int) -> tuple[Any, ...]:
    return (np.zeros((0, 3)),)


def run(C: Any, see: Any, f: Callable[..., Any], make: Callable[[int], tuple[Any, ...]], calls: int = 6) -> None:
    step = C(f)
    for k in range(calls):
        see.attempt(step, *make(k))


def table(kind: str, make: Callable[[int], tuple[Any, ...]], **functions: Callable[..., Any]) -> None:
    """A scenario for each function, looked at with the arrays that `make` makes for a call."""
    for name, f in functions.items():
        body = functools.partial(run, f=f, make=make)
        body.__module__, body.__name__ = __name__, f"{kind}_{name}"  # type: ignore[attr-defined]
        scenario(eager=body.__name__ in LOOKS)(body)


table(
    "of_a_matrix",
    matrix,
    sorted=lambda x: (np.sort(x), np.sort(x, axis=0), np.sort(x, axis=None), np.argsort(-x, kind="stable")),
    method_argsort=lambda x: (x.argsort(axis=0), x.argmax(axis=1), x.argmin()),
    partitioned=lambda x: (np.partition(x, 1, axis=1), np.argpartition(x, 2, axis=0)),
    cumulated=lambda x: (np.cumsum(x), np.cumsum(x, axis=1), np.cumprod(x, axis=0), x.cumsum(0)),
    differences=lambda x: (np.diff(x), np.diff(x, n=2, axis=0), np.ediff1d(x), np.gradient(x, axis=0)),
    quantiles=lambda x: (np.percentile(x, 30), np.median(x, axis=1), np.quantile(x, [0.1, 0.5], axis=0)),
    moments=lambda x: (x.var(ddof=1), np.std(x, axis=0), x.mean(axis=1, keepdims=True), np.average(x, axis=0)),
    weighted_average=lambda x: np.average(x, axis=1, weights=np.array([1.0, 2.0, 3.0])),
    peak=lambda x: (np.ptp(x), np.ptp(x, axis=0), np.cov(x), np.corrcoef(x)),
    stacked=lambda x: (np.vstack([x, x]), np.hstack([x, -x]), np.dstack([x, x]), np.column_stack([x, x[:, 0]])),
    blocks=lambda x: (np.block([[x, x], [-x, x]]), np.concatenate([x, x], axis=None), np.append(x, x, axis=0)),
    inserted=lambda x: (np.insert(x, 1, 0.5, axis=0), np.delete(x, [0, 2], axis=1), np.resize(x, (2, 9))),
    split=lambda x: (np.split(x, 2), np.array_split(x, 3), np.hsplit(x, 3), np.vsplit(x, 2)),
    turned=lambda x: (np.rot90(x), np.flip(x, 0), np.fliplr(x), np.flipud(x), np.roll(x, 1), np.roll(x, -1, axis=0)),
    tiled=lambda x: (np.tile(x, 2), np.tile(x, (2, 1, 1)), np.repeat(x, 2, axis=0), x.repeat([1, 2, 3], axis=1)),
    padded=lambda x: [np.pad(x, 1, mode=m) for m in ("edge", "reflect", "wrap", "symmetric", "mean", "linear_ramp")],
    padded_with=lambda x: (np.pad(x, ((1, 0), (0, 2))), np.pad(x, 1, constant_values=3)),
    taken=lambda x: (np.take(x, [0, 2]), x.take([[0], [1]], axis=1), np.take(x, [5, -7, 99], mode="wrap")),
    taken_along=lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
    compressed=lambda x: np.compress([True, False, True, False], x, axis=0),
    chosen=lambda x: np.choose((x > 0).astype(int), [x, -x]),
    selected=lambda x: np.select([x > 0.5, x < -0.5], [x, x**2], default=7),
    piecewise=lambda x: np.piecewise(x, [x < 0, x >= 0], [lambda v: -v, lambda v: v * 2]),
    where_forms=lambda x: (np.where(x > 0, x, 0), np.where(x > 0, 1, 2), np.where(x, x, np.float32(3))),
    clipped=lambda x: (np.clip(x, -1, 1), x.clip(0), x.clip(max=0.5), np.clip(x, None, 0.2), np.clip(x, x * 0, 1)),
    rounded=lambda x: (np.round(x, 1), x.round(), np.around(x, -1), np.fix(x), np.rint(x), np.trunc(x)),
    split_numbers=lambda x: (np.modf(x), np.frexp(x), np.divmod(x, 0.3), np.ldexp(x, 2)),
    signs=lambda x: (np.sign(x), np.signbit(x), np.copysign(1.0, x), np.heaviside(x, 0.5), np.nextafter(x, 0)),
    trigonometry=lambda x: (np.arctan2(x, 1 + x), np.hypot(x, 2), np.sinc(x), np.unwrap(x), np.deg2rad(x), np.i0(x)),
    trapezoids=lambda x: (np.trapezoid(x), np.interp(x, [-1.0, 0.0, 1.0], [0.0, 2.0, 5.0])),
    polynomial=lambda x: (np.polyval([1.0, 2.0, 3.0], x), np.vander(x[0], 3)),
    polynomial_fitted=lambda x: np.polyfit(np.arange(4.0), x[:, 0], 2),
    triangles=lambda x: (np.tril(x), np.triu(x, 1), np.diag(x), np.diagonal(x, 1), np.trace(x), np.diagflat(x[0])),
    grids=lambda x: (np.meshgrid(x[0], x[1]), np.ix_([0, 1], [1]), np.indices((2, 2)) * x[0, 0]),
    by_ix=lambda x: x[np.ix_([0, 2], [1, 2])],
    along_an_axis=lambda x: np.apply_along_axis(lambda v: v.sum() + v[0], 1, x),
    over_axes=lambda x: np.apply_over_axes(np.sum, x, [0, 1]),
    vectorized=lambda x: np.vectorize(lambda v: v * 2 if v > 0 else 0.0)(x),
    from_pyfunc=lambda x: np.frompyfunc(lambda v: v + 1, 1, 1)(x).astype(float),
    histogram=lambda x: (np.histogram(x, bins=4, range=(-2, 2)), np.digitize(x, [-1.0, 0.0, 1.0])),
    histogram_of_two=lambda x: np.histogram2d(x[0], x[1], bins=2, range=[[-3, 3], [-3, 3]])[0],
    unique=lambda x: np.unique(np.sign(x)),
    unique_counts=lambda x: np.unique(np.sign(x), return_counts=True),
    searched=lambda x: (np.searchsorted([-1.0, 0.0, 1.0], x[0]), np.sort(x[:, 0]).searchsorted(0.0)),
    lexsorted=lambda x: np.lexsort((x[:, 0], x[:, 1])),
    counted=lambda x: (np.count_nonzero(x > 0), np.count_nonzero(x > 0, axis=0), np.bincount((x[0] > 0).astype(int))),
    truths=lambda x: (np.all(x > -9), np.any(x > 1, axis=0), (x > 0).all(axis=1, keepdims=True), np.isin(x, [0.0])),
    compared=lambda x: (np.isclose(x, x + 1e-9), np.allclose(x, x), np.array_equal(x, x)),
    kinds=lambda x: (np.isfinite(x), np.iscomplex(x), np.isreal(x), np.isposinf(x), np.real_if_close(x)),
    einsums=lambda x: (
        np.einsum("ij->ji", x),
        np.einsum("ij,kj->ik", x, x),
        np.einsum("ij->", x),
        np.einsum("ii", x[:3]),
    ),
    einsum_into=lambda x: np.einsum("ij,ij->i", x, x, optimize=True, dtype=np.float32, casting="same_kind"),
    products=lambda x: (np.dot(x.T, x), np.inner(x, x), np.outer(x[0], x[1]), np.vdot(x, x), np.tensordot(x, x, 2)),
    more_products=lambda x: (
        np.kron(x[:2, :2], x[:2, :2]),
        np.cross(x[0], x[1]),
        np.matmul(x, x.T),
        np.dot(x[0], x[1]),
    ),
    multi_dot=lambda x: np.linalg.multi_dot([x, x.T, x]),
    convolved=lambda x: (
        np.convolve(x[0], x[1]),
        np.convolve(x[:, 0], [1, 2], "same"),
        np.correlate(x[0], x[1], "full"),
    ),
    spectrum=lambda x: (np.fft.fft(x), np.fft.rfft(x, axis=0), np.fft.fft2(x), np.fft.fftshift(x), np.fft.ifft(x).real),
    filtered=lambda x: np.fft.irfft(np.fft.rfft(x, axis=0) * np.array([[1.0], [0.5], [0.0]]), n=4, axis=0),
    decomposed=lambda x: (np.linalg.svd(x, compute_uv=False), np.linalg.norm(x), np.linalg.norm(x, 1, axis=0)),
    pseudo=lambda x: (np.linalg.pinv(x), np.linalg.matrix_rank(x), np.linalg.cond(x), np.linalg.lstsq(x, x[:, 0])[0]),
    orthogonal=lambda x: np.linalg.qr(x)[0] @ np.linalg.qr(x)[1],
    windows=lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2)).sum(axis=(2, 3)),
    strided=lambda x: np.lib.stride_tricks.as_strided(x, (3, 3), (24, 8)) * 2,
    nan_functions=lambda x: (np.nansum(x), np.nanmean(x, axis=0), np.nanmax(x), np.nanstd(x), np.nan_to_num(x)),
    axes=lambda x: (
        np.moveaxis(x, 0, 1),
        np.swapaxes(x, 0, 1),
        np.expand_dims(x, 1),
        np.rollaxis(x, 1),
        x[None].squeeze(),
    ),
    atleast=lambda x: (np.atleast_1d(x[0, 0]), np.atleast_2d(x[0]), np.atleast_3d(x), np.broadcast_arrays(x, x[0])),
    flat_parts=lambda x: (x.ravel(), x.flatten(), np.ravel(x, "F"), x.reshape(-1, order="F"), x.flatten("F")),
    iterated=lambda x: [row.sum() for row in x] + [v * 2 for v in x[0]],
    unpacked=lambda x: (lambda a, b, *rest: a + b + len(rest))(*x),  # noqa: PLC3002
    zipped=lambda x: sum(a * b for a, b in zip(x, x[::-1], strict=True)),
    enumerated=lambda x: [(i, v) for i, v in np.ndenumerate(x[:1])],
    flat_iterator=lambda x: (x.flat[3], list(x[0].flat), np.fromiter(x.flat, float)),
    nditer=lambda x: sum(float(v) for v in np.nditer(x)),
    packed=lambda x: (np.packbits(x > 0), np.unpackbits(np.packbits(x > 0))),
    made=lambda x: (np.zeros_like(x), np.full_like(x, 3, dtype=int), np.empty_like(x).shape, np.ones_like(x[0])),
    made_of=lambda x: (
        np.array(x),
        np.asarray(x),
        np.array([x[0, 0], 1.0]),
        np.array([x, x]),
        np.asarray(x, np.float32),
    ),
    contiguous=lambda x: (np.ascontiguousarray(x.T), np.asfortranarray(x), np.require(x, float, "C")),
    copies=lambda x: (x.copy(), np.copy(x), x.astype(float), x.astype(float, copy=False), x[:].copy("F")),
    casts=lambda x: (x.astype(int), x.astype(bool), x.astype(np.float32), x.astype(complex), x.astype("f2")),
    operators=lambda x: (x // 0.3, x % 0.3, -x, +x, abs(x), x**2, x**-1, 2**x, x @ x.T, divmod(x, 2), 1 - x),
    comparisons=lambda x: (x > 0, x == x, x != 0, (x > 0) & (x < 1), ~(x > 0), (x > 0) ^ (x < 1), (x > 0) | False),  # noqa: PLR0124
    extremes=lambda x: (
        np.maximum(x, 0),
        np.fmin(x, 0.1),
        np.max(x, axis=0),
        x.min(),
        np.amax(x, axis=1, keepdims=True),
    ),
    options_of_reductions=lambda x: (
        np.sum(x, where=x > 0),
        np.max(x, initial=2.0),
        np.sum(x, dtype=np.float32),
        np.prod(x),
    ),
    negative_axes=lambda x: (np.sum(x, axis=-1), np.mean(x, axis=(-1, 0)), np.sum(x, axis=()), np.min(x, (0, 1))),
    reduce=lambda x: (np.add.reduce(x), np.multiply.reduce(x, axis=None), np.maximum.reduce(x, axis=1)),
    reduce_of_others=lambda x: (np.hypot.reduce(x, axis=1), np.logaddexp.reduce(x, axis=0), np.subtract.reduce(x)),
    accumulate=lambda x: (np.add.accumulate(x, 1), np.maximum.accumulate(x), np.multiply.accumulate(x, axis=1)),
    reduceat=lambda x: (np.add.reduceat(x, [0, 2]), np.maximum.reduceat(x, [0, 1], axis=1)),
    outer=lambda x: (np.multiply.outer(x[0], x[1]), np.subtract.outer(x[:, 0], x[:, 0])),
    dtypes_of_ufuncs=lambda x: (
        np.add(x, 1, dtype=np.float32),
        np.multiply(x, x, dtype=complex),
        np.sqrt(x, dtype="f4"),
    ),
    casting_refused=lambda x: np.add(x, 1, dtype=int),
    casting_unsafe=lambda x: np.add(x, 1, dtype=int, casting="unsafe"),
    ufunc_where=lambda x: np.sqrt(x, out=np.zeros_like(x), where=x > 0),
    ufunc_divide_where=lambda x: np.divide(1.0, x, out=np.full_like(x, 7.0), where=np.abs(x) > 0.5),
    gathered=lambda x: (x[[0, 2]], x[[0, 1], [1, 2]], x[:, [2, 0]], x[np.arange(4), x.argmax(axis=1)], x[..., -1]),
    basic=lambda x: (x[0], x[-1, 1], x[1:3, ::-1], x[..., None], x[:, None, 1], x[1:1], x[()], x[2][1]),
    masks=lambda x: (x[x > 0].sum(), x[np.array([True, False, True, True])], x[:, np.array([True, False, True])]),
    methods=lambda x: (
        x.sum(0),
        x.prod(),
        x.ptp() if hasattr(x, "ptp") else 0,
        x.trace(),
        x.dot(x.T),
        x.conj(),
        x.T.mT,
    ),
    properties=lambda x: (x.shape, x.ndim, x.size, x.dtype, x.itemsize, x.nbytes, x.strides, x.flags.c_contiguous),
    real_and_imaginary=lambda x: (x.real * 1, x.imag * 1, np.angle(x), np.conj(x)),
    strings=lambda x: (str(x.shape), f"{x.dtype}", repr(x)[:5]),
    member=lambda x: (x[0, 0] in x, 99.0 in x),
    as_python=lambda x: (float(x[0, 0]), int(x[0, 1] * 10), bool(x[0, 0] > 0), x[0].tolist(), x[0, 0].item()),
    rounded_by_python=lambda x: (round(x[0, 0], 2), round(x[0, 1])),
    hashed=lambda x: x[0, 0] in {1.0, 2.0},
    bytes_read=lambda x: (x.tobytes()[:8], memoryview(x).nbytes, np.frombuffer(x, count=2)),
    viewed=lambda x: (x.view(np.int64), x.view(np.uint8).shape, x.byteswap().byteswap(), x.getfield(np.float64)),
    by_hand=lambda x: [[x[i, j] * (i + j) for j in range(x.shape[1])] for i in range(len(x))],
    masked=lambda x: np.ma.masked_less(x, 0).sum(),
    masked_mean=lambda x: np.ma.array(x, mask=np.eye(4, 3, dtype=bool)).mean(axis=0),
    records=lambda x: np.array([tuple(r) for r in x], dtype=[("a", float), ("b", "f4"), ("c", int)])["b"],
    objects=lambda x: x.astype(object).sum(),
    strings_made=lambda x: x.astype(str)[0, 0],
    dates=lambda x: (np.datetime64("2020-01-01") + (x * 10).astype("timedelta64[D]"))[0, 0],
)

table(
    "of_two",
    pair,
    broadcast=lambda x, y: (x[:, None] * y, x + y[0], x - y[:, :1], np.matmul(x, y.T), x @ y[0]),
    minimum=lambda x, y: (np.minimum(x, y), np.where(x < y, x, y), np.fmax(x, y), x < y),
    out=lambda x, y: np.add(x, y, out=np.empty((4, 3))),
    out_positional=lambda x, y: np.add(x, y, np.empty_like(x)),
    out_of_other_dtype=lambda x, y: np.add(x, y, out=np.empty_like(x, dtype=np.float32), casting="same_kind"),
    out_refused=lambda x, y: np.add(x, y, out=np.empty_like(x, dtype=int)),
    out_of_reduction=lambda x, y: np.sum(x * y, axis=0, out=np.empty_like(x[0])),
    out_of_matmul=lambda x, y: np.matmul(x, y.T, out=np.empty_like(x, shape=(4, 4))),
    out_of_two=lambda x, y: np.modf(x + y, out=(np.empty_like(x), np.empty_like(x))),
    lexsort=lambda x, y: (np.lexsort((x[:, 0], y[:, 0])), np.cov(x, y), np.vecdot(x, y)),
    power=lambda x, y: (np.power(np.abs(x), y), np.float_power(np.abs(x), y), np.logaddexp(x, y), np.fmod(x, y)),
)

table(
    "of_a_square",
    square,
    solved=lambda a: (np.linalg.solve(a, np.ones(3)), np.linalg.inv(a), np.linalg.det(a), np.linalg.slogdet(a)),
    factors=lambda a: (np.linalg.cholesky(a), np.linalg.eigvalsh(a), np.linalg.matrix_power(a, 3)),
    eigen=lambda a: (lambda w, v: (w, v @ np.diag(w) @ v.T))(*np.linalg.eigh(a)),  # noqa: PLC3002
    eigenvalues=lambda a: np.sort(np.linalg.eigvals(a)),
    svd=lambda a: (lambda r: (r.S, r.U @ np.diag(r.S) @ r.Vh))(np.linalg.svd(a)),  # noqa: PLC3002
    singular=lambda a: np.linalg.inv(a * 0),
)

table(
    "of_integers",
    integers,
    arithmetic=lambda x: (x + 1, x // 2, x % 3, x / 2, x**2, -x, abs(x), x << 1, x >> 1, x & 3, x | 8, x ^ 5, ~x),
    by_zero=lambda x: (x // 0, x % 0, x / 0, 1 // x, np.divide(1, x)),
    powers=lambda x: (x**3, np.power(x, 2), 2.0**x, np.power(2.0, x)),
    negative_powers=lambda x: np.power(2, x),
    means=lambda x: (x.mean(), np.var(x), np.median(x), np.sum(x), np.prod(x), x.std(axis=0), np.cumsum(x)),
    functions=lambda x: (np.sqrt(abs(x)), np.exp(x), np.gcd(x, 6), np.lcm(x, 4), np.log(abs(x) + 1), np.invert(x)),
    clipped=lambda x: (np.clip(x, -1, 1), np.clip(x, 0.5, 2.5), np.maximum(x, 0), np.where(x > 0, x, 0.5)),
    as_indices=lambda x: (
        np.arange(11)[x],
        np.eye(11)[x % 11],
        np.take(np.arange(20.0), x),
        np.bincount(abs(x).ravel()),
    ),
    sets=lambda x: (np.union1d(x, [1]), np.intersect1d(x, [1, 2]), np.setdiff1d(x, [1])),
    one_hot=lambda x: (x[..., None] == np.arange(-5, 6)).astype(np.float32),
    mixed=lambda x: (x * 1.5, x + np.float32(1), x + np.int8(1), x * True, x + 1j),
)

table(
    "of_bytes",
    small,
    wrapped=lambda x: (x + np.uint8(200), x * x, -x, x - np.uint8(1), x << 1, ~x, np.sum(x), x.mean(), abs(x)),
    with_numbers=lambda x: (x + 1, x * 2, x / 2, x // 7, x % 7, x**2, 255 - x, x + 1.5),
    too_large=lambda x: x + 256,
    negative=lambda x: x + -1,
    cast=lambda x: (x.astype(np.int8), x.astype(np.float16) / 255, x.astype(bool), x.view(np.int8)),
    extremes=lambda x: (x.max(), x.min(axis=0), np.maximum(x, 9), np.cumsum(x), np.add.reduce(x, dtype=np.uint8)),
    divmod=lambda x: (np.divmod(x, 16), x // 0, np.left_shift(x, 9), np.right_shift(x, 3)),
)

table(
    "of_floats",
    single,
    stays=lambda x: (x * 2, x + 1.5, x.mean(), x.sum(), x.var(), np.exp(x), x**2, x @ x.T, np.linalg.norm(x)),
    promoted=lambda x: (x * np.float64(2), x + np.ones(3), x * np.int64(3), x + np.arange(3), x * np.array(2.0)),
    large=lambda x: (x * 1e38 * 1e3, np.exp(x * 100), x * 1e-45, x / 1e30 / 1e30),
    cumulated=lambda x: (np.cumsum(x), np.median(x), np.std(x, axis=1), np.linalg.inv(x.T @ x + np.eye(3, dtype="f4"))),
    where=lambda x: (np.where(x > 0, x, 0), np.where(x > 0, x, 0.0), np.where(x > 0, x, np.zeros(3)), np.maximum(x, 0)),
    to_integers=lambda x: ((x * 1e6).astype(int), (x * 100).astype(np.int8), x.astype(np.uint8)),
)

table(
    "of_halves",
    half,
    reduced=lambda x: (
        x.sum(),
        x.mean(),
        x.mean(axis=0),
        x.var(),
        x.std(axis=1),
        np.sum(x, axis=1),
        np.linalg.norm(x[0]),
    ),
    arithmetic=lambda x: (x * 2, x + x, x * x, np.exp(x), x / 3, x.astype(np.float32) * 2, np.sqrt(abs(x)), x @ x.T),
)
table("of_large_halves", large_half, mean=lambda x: (x.mean(), x.mean(axis=0), np.mean(x, axis=1), x.sum(axis=0)))

table(
    "of_special_numbers",
    special,
    functions=lambda x: (np.log(x), np.sqrt(x), 1 / x, x / x, np.exp(x), np.exp(-x), np.tanh(x), np.log1p(x), x**0.5),
    compared=lambda x: (x > 0, x == 0, np.sign(x), np.isnan(x), np.maximum(x, 0), np.fmax(x, 0), np.signbit(x), x != x),  # noqa: PLR0124
    reduced=lambda x: (x.max(), x.min(), x.sum(), np.nanmax(x), x.argmax(), np.sort(x), x.mean(axis=0), np.nansum(x)),
    cast=lambda x: (x.astype(bool), x.astype(np.float32), np.where(np.isfinite(x), x, 0), np.nan_to_num(x)),
    signs=lambda x: (-x, 0 - x, x * 0, x * -1, abs(x), np.negative(x), x + 0.0, x - 0.0, np.copysign(1, x * 0)),
    signs_of_sums=lambda x: [np.signbit(v) for v in (x * 0.0, 0.0 - x, x * 1, x / 1, x / -1.0, x - 0.0, -x, x * x)],
    divisions=lambda x: (x // 1, x % 1, x % -1, np.fmod(x, 1), np.floor_divide(1, x), np.remainder(x, 0.0), x // 0.0),
    powers=lambda x: (x**2, x**3, x**-1, x**0, x**1, 0**x, 1**x, x**x, np.abs(x) ** 0.5, (-x) ** 3),
    softmax=lambda x: (
        np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x - x.max(axis=1, keepdims=True)).sum(1)[:, None]
    ),
    hidden=lambda x: (x * 0 + 1, (x - x) + 1, x / x, np.where(x > 0, np.log(x), 0), (x + 1e308) - 1e308),
    overflow=lambda x: (x * 1e200 * 1e200 * 1e-200, np.hypot(x, 1e300), np.logaddexp(x, 1000), np.expm1(x), np.cbrt(x)),
)

table(
    "of_complex_numbers",
    complex_,
    arithmetic=lambda z: (z * 2, z + 1j, z.real * 1, z.imag * 1, np.conj(z), abs(z), np.angle(z), z @ z, z**2, 1 / z),
    reduced=lambda z: (z.sum(), z.mean(axis=0), np.prod(z), np.linalg.norm(z), np.linalg.det(z), z.var(), np.sort(z)),
    functions=lambda z: (
        np.exp(z),
        np.log(z),
        np.sqrt(z),
        np.sin(z),
        np.abs(z),
        z.conj().T,
        np.vdot(z, z),
        np.fft.fft(z),
    ),
    compared=lambda z: (z == z, z != 0, np.isfinite(z), np.maximum(z, 0), np.where(z.real > 0, z, 0), np.sign(z)),  # noqa: PLR0124
    written=lambda z: (lambda a: (np.copyto(a, z), a.real.fill(0), a)[2])(np.empty_like(z)),  # noqa: PLC3002
)

table(
    "of_truths",
    truth,
    arithmetic=lambda m: (
        m + m,
        m * 2,
        m & ~m,
        m | True,
        m ^ m,
        m.sum(),
        m.mean(),
        m.sum(axis=0),
        np.logical_not(m),
        m * 1.5,
    ),
    refused=lambda m: m - m,
    negated=lambda m: -m,
    used=lambda m: (
        np.where(m, 1, 0),
        m.astype(int),
        m.argmax(),
        m.any(axis=1),
        m.all(),
        np.cumsum(m),
        m.max(),
        m.std(),
    ),
    counted=lambda m: (np.count_nonzero(m), m.nonzero(), np.flatnonzero(m), np.argwhere(m)),
    products=lambda m: (m @ m.T, np.dot(m, m.T), np.multiply(m, m), np.add(m, m), m**2, m / 2, m // True, m < False),
)

table(
    "of_a_point",
    point,
    arithmetic=lambda x: (
        x + 1,
        x * x,
        -x,
        x[()],
        x[None],
        x.sum(),
        x.mean(),
        np.exp(x),
        x.reshape(1),
        np.sort(x[None]),
    ),
    types=lambda x: (
        type(x + 1).__name__,
        type(x[()]).__name__,
        isinstance(x[()], float),
        np.isscalar(x[()]),
        np.ndim(x),
    ),
    functions=lambda x: (
        np.maximum(x, 0),
        np.where(x > 0, x, 0),
        np.clip(x, 0, 1),
        abs(x),
        x**2,
        x.copy(),
        x.T,
        np.full(3, x),
    ),
    written=lambda x: (lambda a: (a.fill(3), a.__setitem__((), x), a.__iadd__(1), a)[-1])(np.zeros_like(x)),  # noqa: PLC3002
    mixed=lambda x: (
        x.astype(np.float32) * 2,
        x.astype("f4") * np.ones(3, "f4"),
        np.float32(2) * x,
        x * np.ones(3, "f4"),
    ),
)

table(
    "of_nothing",
    nothing,
    reduced=lambda x: (x.sum(), x.sum(axis=0), x.prod(axis=1), x.mean(), x.mean(axis=0), np.median(x), x.std()),
    refused=lambda x: x.max(),
    refused_along=lambda x: (x.max(axis=1), x.argmax(axis=0)),
    shaped=lambda x: (
        x.T,
        x[:, 1],
        np.concatenate([x, np.ones((1, 3))]),
        x @ x.T,
        x.T @ x,
        np.sort(x, 0),
        x.reshape(3, -1),
    ),
    functions=lambda x: (np.exp(x), x + 1, x > 0, np.where(x > 0, x, 0), np.cumsum(x), np.linalg.norm(x), np.unique(x)),
)


@scenario
def infinite_factors(C: Any, see: Any) -> None:
    inf = float("inf")
    steps = [
        lambda x: (x * inf).sum(),
        lambda x: (x * inf).mean() + (x / 0.0).sum(),
        lambda x: (x * 1e308 * 1e308).sum() * 1e-308,
        lambda x: (x * 1e-300).sum() * 1e300 + (x * 0.0).sum(),
        lambda x: ((x * inf) * 0.0).sum(),
    ]
    for f in steps:
        step = C(f)
        for values in ([1.0, -2.0, 3.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, -2.0, 0.0], [1e308, 1e308, -1.0]):
            see(step(np.array(values)), step(np.array(values)))
