"""Where in which memory a view lies."""

from __future__ import annotations

from typing import Any

import interpreted
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.compiler.capture.assembly import overlaps_itself
from minigrad.compiler.ir.view_memory import elements_in, owner, viewed_through, where_in

windows = np.lib.stride_tricks.sliding_window_view
BACKENDS = ["numpy", "numba"]


@pytest.fixture(autouse=True)
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted.use(monkeypatch)


@given(st.randoms(use_true_random=False))
def test_views_are_found_by_their_strides(random: Any) -> None:
    shape = [random.randint(1, 4) for _ in range(random.randint(0, 3))]
    root: Any = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    if random.random() < 0.5:
        root = np.copy(root.transpose(random.sample(range(root.ndim), root.ndim)), order="K")
    view = root
    for _ in range(random.randint(1, 4)):
        kind = random.randrange(4)
        if kind == 0:
            view = view.transpose(random.sample(range(view.ndim), view.ndim))
        elif kind == 1 and view.size:
            view = view[tuple(slice(random.randrange(n), None, random.choice([1, 1, 2, -1, -2])) for n in view.shape)]
        elif kind == 2:
            view = view[..., None]
        elif view.size and view.flags.c_contiguous:
            rows = random.choice([n for n in range(1, view.size + 1) if view.size % n == 0])
            view = view.reshape(rows, -1)
    steps = where_in(view, root)
    if steps is not None:
        found = viewed_through(root, steps)
        np.testing.assert_array_equal(found, view)
        assert not view.size or np.shares_memory(found, root)
    flat, places = elements_in(view, root)  # type: ignore[misc]  # it is there for each view of the same dtype
    np.testing.assert_array_equal(viewed_through(root, flat)[places], view)


A = np.arange(24.0).reshape(2, 3, 4)
F = np.asfortranarray(A)


@pytest.mark.parametrize(
    ("view", "root"),
    [
        (A[0], A),
        (A[:, 0], A),
        (A[..., ::2], A),
        (A[::-1, :, ::-1], A),
        (A.transpose(2, 0, 1), A),
        (A.reshape(6, 4)[:, 1:3], A),
        (A.reshape(-1)[3:15].reshape(3, 4)[:, ::2], A),
        (A.reshape(-1)[::5], A),
        (A[:, :, None, 1], A),
        (A[1:1], A),
        (F[1:, ::2], F),
        (F.T[1], F),
        (F.ravel("F")[1:7], F),
        (A[0, :3, :3].T, A),
        (np.einsum("ii->i", A[0, :3, :3]), A),
        (A[:, 1:].transpose(1, 0, 2)[..., ::-2], A[:, ::-1]),
    ],
)
def test_common_views_need_no_element_lists(view: Any, root: Any) -> None:
    steps = where_in(view, root)
    assert steps is not None
    found = viewed_through(root, steps)
    np.testing.assert_array_equal(found, view)
    wide = [k for k, n in enumerate(view.shape) if n > 1]
    assert [found.strides[k] for k in wide] == [view.strides[k] for k in wide] or not view.size
    assert not view.size or found.__array_interface__["data"] == view.__array_interface__["data"]


def test_arrays_that_are_not_views_are_recognized() -> None:
    assert where_in(A.view(np.int64), A) is None
    assert elements_in(A.view(np.int64), A) is None
    assert where_in(windows(A, 2, axis=-1), A) is None
    assert where_in(np.ones(3), A) is None
    assert elements_in(np.ones(3), A) is None
    assert elements_in(A[:, ::2], A[:, :, 1:]) is None  # the root has gaps


def test_owner_through_all_holders() -> None:
    a = np.arange(6.0)
    for view in (
        a[1:],
        windows(a, 2)[1:],
        np.asarray(memoryview(a))[1:],
        np.broadcast_to(a, (2, 6)),
        a.T.reshape(2, 3),
    ):
        assert owner(view) is a
    assert owner(a) is a
    alone = np.frombuffer(bytearray(16))
    assert owner(alone) is alone


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (A, False),
        (A[:, ::-2], False),
        (np.broadcast_to(A, (2, 2, 3, 4)), True),
        (windows(A, 2, axis=-1), True),
        (np.ndarray((4, 3), "u1", A, strides=(2, 3)), True),  # no stride is 0, and 3 * 2 = 2 * 3
        (np.ndarray((2, 2), "u1", A, strides=(3, 2)), False),
        (np.ndarray((3,), "f8", A, strides=(4,)), True),  # halves of elements
        (np.zeros((0, 3)), False),
    ],
)
def test_overlaps_itself(array: Any, expected: bool) -> None:
    assert overlaps_itself(array) is expected
