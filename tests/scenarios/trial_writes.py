"""Arrays written inside a step in every way that NumPy has, through views, indices, methods and functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from scenarios.parts import numbers
from scenarios.scenario import scenario


LOOKS = frozenset(  # at bytes, flags and values, or writes behind the back of the compiler
    "masked masked_values masked_scaled flat_assigned as_array contiguous_written transposed_contiguous nditer "
    "viewed_as_bytes shape_assigned imaginary resized locked_by_a_method byteswapped memory memoryview "
    "out_of_products "
    "".split()
)


def run(C: Any, see: Any, f: Callable[..., Any], make: Any, calls: int = 6) -> None:
    """Write into an array of the state, and look at it, at a view made before and at what is returned."""
    a = make()
    first, turned = a[:1], a.T
    step = C(lambda x: f(a, x))
    for k in range(calls):
        see.attempt(step, numbers(k, 4, 3))
        see(a, first, turned)


def local(C: Any, see: Any, f: Callable[..., Any], make: Any, calls: int = 6) -> None:
    """The same to an array that the step makes."""

    @C
    def step(x: Any) -> Any:
        a = np.zeros_like(x)
        a += x
        return f(a, x), a

    for k in range(calls):
        see.attempt(step, numbers(k, 4, 3))


def given(C: Any, see: Any, f: Callable[..., Any], make: Any, calls: int = 6) -> None:
    """The same to an argument, of which the layout changes."""
    step = C(f)
    for k in range(calls):
        a = np.array(make(), order="F" if k % 3 == 2 else "C")
        see.attempt(step, a, numbers(k, 4, 3))
        see(a)


def both(**functions: Callable[..., Any]) -> None:
    """Three scenarios for each function: it writes into the state, into what it made, into an argument."""
    for name, f in functions.items():
        for kind, watch in (("state", run), ("local", local), ("argument", given)):
            body = functools.partial(watch, f=f, make=lambda: numbers(99, 4, 3))
            body.__module__, body.__name__ = __name__, f"{name}_{kind}"  # type: ignore[attr-defined]
            scenario(eager=name in LOOKS)(body)


def statements(code: str) -> Callable[..., Any]:
    """A function (a, x) of some statements, which may give a value to r."""
    space: dict[str, Any] = {"np": np}
    lines = "\n    ".join(code.split("; "))
    exec(compile(f"def step(a, x):\n    r = None\n    {lines}\n    return r", f"<{code}>", "exec"), space)
    return space["step"]  # type: ignore[no-any-return]


both(
    augmented=statements("a += x; a *= 0.5; a -= 1; a /= 2; r = a.sum()"),
    augmented_others=statements("a //= 0.25; a %= 3; a **= 2; r = a * 1"),
    row=statements("a[1] += x[0]; a[-1] = 7; r = a[1] * 2"),
    column=statements("a[:, 1] *= x[:, 0]; a[:, 0] = x[0, 0]"),
    transposed=statements("a.T[0] = 5; b = a.T; b += 1; r = b[0] * 1"),
    raveled=statements("v = a.ravel(); v += 1; r = v * 2"),
    reshaped=statements("v = a.reshape(-1); v += 1; r = v * 2"),
    reshaped_in_fortran_order=statements("v = a.reshape(-1, order='F'); v += 1; r = v * 2"),
    reshaped_to_a_column=statements("v = a.reshape(-1, 1); v[0] = x[0, 0]; v[::2] += 1"),
    reversed=statements("v = a[::-1, ::-1]; v[0] = x[0]; a[:2] = a[2:]"),
    overlapping=statements("a[1:] = a[:-1]; a[:, 1:] += a[:, :-1]"),
    diagonal=statements("a[np.arange(3), np.arange(3)] = x[0]; np.einsum('ii->i', a[:3])[...] = 0"),
    einsum_view=statements("v = np.einsum('ij->ji', a); v[0] += 1"),
    fancy=statements("a[[0, 2]] += 1; a[[0, 0]] -= x[:2]; a[[1], [2]] = 9"),
    fancy_view=statements("v = a[[0, 1]]; v += 100; r = v"),
    masked=statements("a[a > 0] = 0; a[x > 0] += 1"),
    masked_values=statements("a[x > 0] = x[x > 0]"),
    masked_rows=statements("m = np.array([True, False, True, False]); a[m] = x[m]; a[~m] *= 2"),
    masked_scaled=statements("a[x > 0] *= 2"),
    added_at=statements("np.add.at(a, [0, 0, 1], x[:3]); np.subtract.at(a, [2, 2], 1)"),
    maximum_at=statements("np.maximum.at(a, [0, 0, 1], x[:3])"),
    multiplied_at=statements("np.multiply.at(a, (np.array([0, 0]), np.array([1, 1])), 2.0)"),
    filled=statements("a.fill(x[0, 0]); a[0].fill(2)"),
    flat_assigned=statements("a.flat[3] = 5; a.flat = x.ravel(); a.flat[::2] = 0"),
    sorted=statements("a.sort(); a.sort(axis=0)"),
    partitioned=statements("a.partition(1); a[0].sort()"),
    put=statements("np.put(a, [0, 5], [1.0, x[0, 0]]); a.put([1], 3)"),
    placed=statements("np.place(a, x > 0, [1, 2, 3]); np.putmask(a, x < 0, x)"),
    filled_diagonal=statements("np.fill_diagonal(a, 0)"),
    put_along=statements("np.put_along_axis(a, np.argmax(x, axis=1)[:, None], 9.0, axis=1)"),
    copied_to=statements("np.copyto(a, x); np.copyto(a, 1.0, where=x > 0); np.copyto(a, x[0])"),
    out_of_ufuncs=statements("np.add(a, x, out=a); np.multiply(a, 0.5, a); np.exp(-a, out=a[...])"),
    out_into_views=statements("np.add(a[0], x[0], out=a[1]); np.negative(a.T, out=a.T)"),
    out_where=statements("np.add(a, 1, out=a, where=x > 0); np.divide(1, a, out=a, where=a != 0)"),
    out_of_functions=statements("np.cumsum(a, axis=0, out=a); np.clip(a, -1, 1, out=a); np.round(a, 1, out=a)"),
    out_of_methods=statements("a.clip(-1, 1, out=a); x.mean(axis=0, out=a[0]); x.sum(axis=1, out=a[:, 0])"),
    out_of_concatenate=statements("np.concatenate([x[:2], x[2:]], out=a); np.stack([x[0], x[1]], out=a[:2])"),
    out_of_products=statements("np.matmul(x[:3].T, x[:3], out=a[:3]); np.dot(x, x[:3], out=np.empty((4, 3)))"),
    rolled=statements("a[:] = np.roll(a, 1, axis=0); a[0] = x[0]"),
    swapped_rows=statements("a[[0, 1]] = a[[1, 0]]; a[0], a[2] = a[2].copy(), a[0].copy()"),
    swapped_rows_by_views=statements("a[0], a[1] = a[1], a[0]"),
    broadcast_written=statements("b = np.broadcast_to(x[0], (4, 3)); a[:] = b; r = b"),
    broadcast_refused=statements("b = np.broadcast_to(a[0], (4, 3)); b += 1"),
    cast_written=statements("b = a.astype(int); b += 1; a[:] = b; r = b"),
    not_cast=statements("b = a.astype(float, copy=False); b += 1; r = b"),
    as_array=statements("b = np.asarray(a); b += 1; r = b * 1"),
    contiguous_written=statements("b = np.ascontiguousarray(a); b += 1; r = b * 1"),
    transposed_contiguous=statements("b = np.ascontiguousarray(a.T); b += 1"),
    squeezed=statements("b = a[None].squeeze(0); b[0] = 1; c = np.atleast_2d(a); c[1] = 2"),
    split_written=statements("p, q = np.split(a, 2); p += q; q *= 0"),
    unstacked=statements("p, q, r, s = a; p += 1; s[:] = p"),
    rows_in_a_loop=statements("for row in a: row /= np.abs(row).sum()"),
    elements_in_a_loop=statements("for i in range(4): a[i, i % 3] = a[i - 1, 0] + x[i, 0]"),
    nditer=statements("for v in np.nditer(a, op_flags=['readwrite']): v[...] = v * 2"),
    windows=statements(
        "w = np.lib.stride_tricks.sliding_window_view(a, 2, axis=0); r = w.sum(axis=-1); a[0] = 0; r = r + w[0, 0, 0]"
    ),
    viewed=statements("v = a.view(); v[0] = 1; w = a[:]; w[1] = 2; r = v is a"),
    viewed_as_bytes=statements("v = a.view(np.int64); v[0] = 0"),
    shape_assigned=statements("b = a[:]; b.shape = (3, 4); b[0] = x[0, 0]; r = b * 1"),
    imaginary=statements("z = a + 1j * x; z.real = 0; z.imag[0] = 5; z.imag += 1; r = z"),
    imaginary_of_a_float=statements("a.real[0] = 3; a.real += 1"),
    real_assigned=statements("a.real = x"),
    resized=statements("b = a.copy(); b.resize((2, 3)); r = b"),
    locked=statements("b = a[:]; b.flags.writeable = False; b[0] = 1"),
    locked_by_a_method=statements("b = a.copy(); b.setflags(write=False); r = b"),
    byteswapped=statements("b = a.copy(); b.byteswap(inplace=True); r = b.byteswap()"),
    memory=statements("r = np.frombuffer(a.tobytes(), float)"),
    memoryview=statements("r = memoryview(a).shape, np.asarray(memoryview(a))[0] * 1"),
    choose_out=statements("np.choose((x > 0).astype(int), [x, -x], out=a)"),
    take_out=statements("np.take(x, [0, 1, 2], axis=1, out=a); x.take([0, 1, 2], axis=1, out=a, mode='clip')"),
    nan_to_num=statements("np.nan_to_num(a, copy=False, nan=1.0); r = a[0]"),
    delayed_view=statements("v = a[1]; a += 1; r = v * 2; v *= 3; r = r + a[1]"),
    ellipsis=statements("a[...] = x; a[..., 0] = 1; a[..., None][0] = 2"),
    new_axis=statements("a[None, :, :] += 1; a[:, None][0] = x[0]"),
    by_slice_objects=statements("s = slice(0, 2); a[s, s] = 1; a[(s, 2)] = x[s, 0]"),
    shifted=statements("a[:-1] = a[1:]; a[-1] = x[0]"),
    repeated_index=statements("a[[0, 0, 1]] = x[:3]; a[np.array([[0, 1], [2, 3]]), 0] = 5"),
    negative_index=statements("a[[-1, -2]] = x[:2]; a[-1, -1] += 1"),
    argmax_index=statements("a[np.arange(4), x.argmax(axis=1)] += 1"),
    matmul_in_place=statements("a @= np.eye(3) * 2"),
    integer_target=statements("b = np.zeros_like(a, dtype=int); b[:] = a * 10; b[0] += 1; r = b"),
    integer_refused=statements("b = np.zeros_like(a, dtype=int); b += a"),
    bool_target=statements("b = np.zeros_like(a, dtype=bool); b[x > 0] = True; b |= a > 1; b &= x < 2; r = b"),
    single_target=statements("b = np.zeros_like(a, dtype=np.float32); b += x; b[0] = 1e300; r = b"),
    too_large_for_bytes=statements("b = np.zeros_like(a, dtype=np.uint8); b[0] = 300"),
    negative_to_unsigned=statements("b = np.zeros_like(a, dtype=np.uint8); b[:] = np.arange(3) - 1; r = b"),
    wrong_shape=statements("a[0] = x[:, 0]"),
    wrong_axis=statements("a += x.T"),
)
