"""Products: matmul of every rank, einsum in every form, tensordot, vecdot."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.case import Case, row, signed
from minigrad.ops import product as p

MATMUL = [
    ((3, 4), (4, 2)), ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (4,)),
    ((4,), (2, 4, 3)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((1, 3, 4), (2, 4, 1)),
    ((1, 1), (1, 1)), ((0, 4), (4, 2)), ((3, 0), (0, 2)), ((2, 0, 4), (4, 3)), ((0,), (0,)), ((0, 3, 4), (4, 2)),
    ((2, 3, 0), (0, 2)), ((5, 2, 3, 4), (4, 2)),
]  # fmt: skip

# Subscripts and shapes. The value is compared with loops over all indices.
EINSUM: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("ij,jk->ik", ((2, 3), (3, 4))),
    ("ij,jk", ((2, 3), (3, 4))),
    ("ij,jk->ki", ((2, 3), (3, 4))),
    ("ij->ji", ((2, 3),)),
    ("ji", ((2, 3),)),
    ("ij->", ((2, 3),)),
    ("ij->j", ((2, 3),)),
    ("ii", ((3, 3),)),
    ("ii->i", ((3, 3),)),
    ("iij->ji", ((3, 3, 2),)),
    ("iii->i", ((2, 2, 2),)),
    ("iji->j", ((3, 2, 3),)),
    ("i,i", ((3,), (3,))),
    ("i,i->i", ((3,), (3,))),
    ("i,j->ij", ((3,), (2,))),
    ("i,j->", ((3,), (2,))),
    ("ij,ij->", ((2, 3), (2, 3))),
    ("bij,bjk->bik", ((2, 3, 4), (2, 4, 2))),
    ("bij,bjk->", ((2, 3, 4), (2, 4, 2))),
    ("ijk,jil->kl", ((2, 3, 4), (3, 2, 2))),
    ("...ij,...jk->...ik", ((2, 3, 4), (4, 2))),
    ("...i,i", ((2, 3), (3,))),
    ("...i,...i->...", ((2, 1, 3), (4, 3))),
    ("i...->...", ((2, 3),)),
    ("...ii->...i", ((2, 3, 3),)),
    ("i...,i->i...", ((2, 3), (2,))),
    ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 2))),
    ("i,i,i->i", ((3,), (3,), (3,))),
    ("i,ij,j->", ((2,), (2, 3), (3,))),
    ("i,j,k->kji", ((2,), (3,), (2,))),
    ("ii,ij->j", ((3, 3), (3, 2))),
    (",ij->ij", ((), (2, 3))),
    (",", ((), ())),
    ("ij,jk->ik", ((1, 3), (3, 1))),
    ("ij,ij->ij", ((2, 3), (2, 1))),
    ("ij,jk->ik", ((0, 3), (3, 2))),
    ("ij,jk->ik", ((2, 0), (0, 2))),
    ("ab,cb,db->acd", ((2, 3), (2, 3), (2, 3))),
]

# With one operand, einsum is one of these.
ALONE = {
    "ij->ji": "permute_dims", "ji": "permute_dims", "ij->": "sum", "ij->j": "sum", "i...->...": "sum",
    "ii": "einsum_diagonal", "ii->i": "einsum_diagonal", "iij->ji": "einsum_diagonal", "iii->i": "einsum_diagonal",
    "iji->j": "einsum_diagonal", "...ii->...i": "einsum_diagonal",
}  # fmt: skip


def by_numpy(subscripts: str) -> Any:
    return lambda *operands: np.einsum(subscripts, *operands, optimize=False)


CASES: list[Case] = [
    row("matmul", f"{a}{b}", p.matmul, signed(*a), signed(*b), reference=lambda x, y: np.einsum(*_matmul_spec(x, y)))
    for a, b in MATMUL
]


def _matmul_spec(x: Any, y: Any) -> list[Any]:
    """einsum's arguments for a matrix product."""
    left, right = [..., 0, 1][2 * (x.ndim == 1) :], [..., 1, 2][: 3 - (y.ndim == 1)]
    out = [..., 0, 2]
    if x.ndim == 1:
        left, out = [1], [k for k in out if k != 0]
    if y.ndim == 1:
        right, out = [1], [k for k in out if k != 2]
    return [x, left, y, right, out]


CASES += [
    row(
        "contract" if "," in subscripts else ALONE[subscripts],
        f"{subscripts} {' '.join(map(str, shapes))}",
        lambda *operands, subscripts=subscripts: p.einsum(subscripts, *operands),
        *(signed(*shape) for shape in shapes),
        reference=by_numpy(subscripts),
    )
    for subscripts, shapes in EINSUM
]  # fmt: skip
CASES += [
    row("matmul", "operator", lambda x, y: x @ y, signed(3, 4), signed(4, 2), reference=np.dot),
    row("matmul", "constant on the left", np.matmul, np.array([[1.0, -2.0], [0.5, 3.0]]), signed(2, 3), reference=np.dot, wrt=(1,)),
    row("matmul", "constant on the right", np.matmul, signed(3, 2), np.array([[1.0, -2.0], [0.5, 3.0]]), reference=np.dot, wrt=(0,)),
    row("matmul", "integers on the right", np.matmul, signed(3, 2), np.array([[1, -2], [0, 3]]), reference=np.dot, wrt=(0,)),
    row("matmul", "x @ x", lambda x: x @ x, signed(3, 3), reference=lambda x: np.dot(x, x)),
    row("matmul", "x.mT @ x", lambda x: x.mT @ x, signed(3, 2), reference=lambda x: np.dot(x.T, x)),
    row("contract", "einsum by numbers", lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [2, 0]), signed(2, 3), signed(3, 4),
        reference=lambda x, y: (x @ y).T),
    row("contract", "einsum by numbers, implicit", lambda x, y: p.einsum(x, [0, 1], y, [1, 2]), signed(2, 3), signed(3, 4),
        reference=lambda x, y: x @ y),
    row("contract", "einsum by numbers and an ellipsis", lambda x, y: np.einsum(x, [..., 1], y, [1], [...]), signed(2, 3), signed(3),
        reference=lambda x, y: x @ y),
    row("contract", "einsum of x, x, x", lambda x: np.einsum("ij,jk,ki->", x, x, x), signed(3, 3), reference=lambda x: np.trace(x @ x @ x)),
    row("contract", "tensordot", p.tensordot, signed(2, 3, 4), signed(3, 4, 2), reference=np.tensordot),
    row("contract", "tensordot 0", lambda x, y: np.tensordot(x, y, 0), signed(2), signed(3, 2), reference=lambda x, y: np.tensordot(x, y, 0)),
    row("contract", "tensordot axes", lambda x, y: p.tensordot(x, y, axes=((2, 0), (0, -1))), signed(2, 3, 4), signed(4, 3, 2),
        reference=lambda x, y: np.tensordot(x, y, ((2, 0), (0, -1)))),
    row("contract", "vecdot", p.vecdot, signed(2, 3), signed(3), reference=lambda x, y: (x * y).sum(-1)),
    row("contract", "vecdot axis", lambda x, y: p.vecdot(x, y, axis=-2), signed(2, 3, 4), signed(3, 1), reference=lambda x, y: (x * y).sum(-2)),
    row("contract", "np.dot", np.dot, signed(2, 3), signed(4, 3, 2), reference=lambda x, y: np.tensordot(x, y, ((-1,), (-2,)))),
    row("contract", "with a constant", lambda c, x: np.einsum("ij,j->i", c, x), np.ones((2, 3)), signed(3),
        reference=lambda c, x: np.full(2, x.sum()), wrt=(1,)),
    row("multiply", "outer", p.outer, signed(3), signed(2), reference=lambda x, y: x[:, None] * y),
]  # fmt: skip
