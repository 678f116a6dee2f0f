"""Linear algebra. Matrices are far from singular; factors are compared up to their signs."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.case import Case, Draw, each, row, signed
from minigrad import linalg as a
from minigrad.ops.linalg import cofactors, second_of_det

N = np.linalg


def second_of_det_by_inverses(y: Any, x: Any) -> Any:
    inverse = N.inv(x)
    inner = inverse @ y
    trace = np.trace(inner, axis1=-2, axis2=-1)[..., None, None]
    return N.det(x)[..., None, None] * (trace * inverse - inner @ inverse).mT


def regular(*shape: int) -> Draw:
    """Square matrices with a large, uneven diagonal."""
    return lambda rng: rng.uniform(-0.5, 0.5, shape) + np.diag(1.5 * np.arange(1, 1 + shape[-1]))


def uneven(*shape: int) -> Draw:
    """Matrices with singular values of about 2, 1 and 0.1."""
    sizes = np.eye(*shape) * np.array([2.0, 1.0, 0.1])[: shape[-1]]
    return lambda rng: sizes + rng.uniform(-0.05, 0.05, shape)


def definite(x: Any) -> Any:
    return x @ x.mT + np.eye(x.shape[-1], dtype=x.dtype)


def symmetric(x: Any) -> Any:
    return 0.5 * (x + x.mT)


def signless(x: Any) -> Any:
    """Column vectors, without their arbitrary signs."""
    return x * np.sign(x[..., :1, :])


CASES: list[Case] = [
    row("inv", "matrix", a.inv, regular(3, 3), reference=N.inv),
    row("inv", "stack", N.inv, regular(2, 2, 2), reference=N.inv),
    row("inv", "empty stack", a.inv, regular(0, 2, 2), reference=N.inv),
    row("solve", "vector", a.solve, regular(3, 3), signed(3), reference=N.solve),
    row("solve", "matrix", N.solve, regular(3, 3), signed(3, 2), reference=N.solve),
    row("solve", "stacks that broadcast", a.solve, regular(2, 1, 2, 2), signed(3, 2, 1), reference=N.solve),
    row("solve", "constant matrix", a.solve, np.diag([2.0, 3.0]), signed(2, 1), reference=N.solve),
    row("pinv", "tall", a.pinv, signed(4, 2), reference=N.pinv),
    row("pinv", "values cut off", lambda x: a.pinv(x, rtol=0.3), uneven(4, 3), reference=lambda x: N.pinv(x, rtol=0.3)),
    row("pinv", "wide stack", N.pinv, signed(2, 2, 3), reference=N.pinv),
    row("det", "matrix", a.det, regular(3, 3), reference=N.det),
    row("det", "stack", N.det, regular(2, 2, 2), reference=N.det),
    row("cofactors", "matrix", cofactors, regular(3, 3), reference=lambda x: N.det(x) * N.inv(x).mT),
    row("second_of_det", "matrix", second_of_det, signed(3, 3), regular(3, 3), reference=second_of_det_by_inverses),
    row("second_of_det", "stack", second_of_det, signed(2, 2, 2), regular(2, 2, 2), reference=second_of_det_by_inverses),
    row("det", "singular", N.det, each([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), reference=N.det,
        third="a third derivative needs a regular matrix"),
    row("vector_norm", "p = ½", lambda x: a.vector_norm(x, ord=0.5), signed(3), reference=lambda x: N.norm(x, 0.5)),
    row("vector_norm", "p = -1", lambda x: a.vector_norm(x, ord=-1), signed(3), reference=lambda x: N.norm(x, -1)),
    row("vector_norm", "squared at 0", lambda x: N.norm(x) ** 2, each([0.0, 0.0]), reference=lambda x: (x * x).sum(),
        third="forward mode divides by the norm, which is 0"),
    row("slogdet", "matrix", lambda x: a.slogdet(x).logabsdet, regular(3, 3), reference=lambda x: N.slogdet(x)[1]),
    row("slogdet", "stack", lambda x: N.slogdet(x)[1], regular(2, 2, 2), reference=lambda x: N.slogdet(x)[1]),
    row("cholesky", "lower", lambda x: a.cholesky(definite(x)), regular(3, 3), reference=lambda x: N.cholesky(definite(x))),
    row("cholesky", "upper", lambda x: a.cholesky(definite(x), upper=True), signed(2, 2, 2),
        reference=lambda x: N.cholesky(definite(x), upper=True)),
    row("eigh", "values", lambda x: N.eigh(symmetric(x))[0], regular(3, 3), reference=lambda x: N.eigvalsh(symmetric(x))),
    row("eigh", "values and vectors", lambda x: (a.eigh(symmetric(x))[0], signless(a.eigh(symmetric(x))[1])), regular(2, 3, 3),
        reference=lambda x: (N.eigvalsh(symmetric(x)), signless(N.eigh(symmetric(x))[1]))),
    row("qr", "tall", lambda x: tuple(a.qr(x)), signed(4, 2), reference=lambda x: tuple(N.qr(x))),
    row("qr", "wide stack", lambda x: tuple(N.qr(x)), signed(2, 2, 3), reference=lambda x: tuple(N.qr(x))),
    row("qr", "Q", lambda x: a.qr(x).Q, regular(3, 3), reference=lambda x: N.qr(x)[0]),
    row("qr", "R", lambda x: a.qr(x).R, regular(3, 3), reference=lambda x: N.qr(x)[1]),
    row("svd", "values", a.svdvals, signed(2, 3, 2), reference=N.svdvals),
    row("svd", "U", lambda x: signless(a.svd(x, full_matrices=False).U), signed(4, 3), reference=lambda x: signless(N.svd(x)[0][:, :3])),
    row("svd", "V", lambda x: signless(a.svd(x, full_matrices=False).Vh.mT), signed(2, 3),
        reference=lambda x: signless(N.svd(x)[2][:2].mT)),
    row("svd", "product", lambda x: (N.svd(x)[0] * N.svd(x)[1][..., None, :]) @ N.svd(x)[2], regular(3, 3), reference=lambda x: x),
    row("cross", "broadcast", a.cross, signed(2, 3), signed(3), reference=N.cross),
    row("cross", "axis", lambda x, y: np.cross(x, y, axis=0), signed(3, 2), signed(3, 2), reference=lambda x, y: np.cross(x, y, axis=0)),
    row("vector_norm", "all", N.norm, signed(2, 3), reference=N.norm),
    row("vector_norm", "axis", lambda x: a.vector_norm(x, axis=1, keepdims=True), signed(2, 3), reference=lambda x: N.norm(x, axis=1, keepdims=True)),
    row("vector_norm", "p = 3, of nothing", lambda x: a.vector_norm(x, axis=1, ord=3), signed(2, 0),
        reference=lambda x: np.zeros(2)),
    row("vector_norm", "p = ½, of nothing", lambda x: a.vector_norm(x, ord=0.5, keepdims=True), signed(0, 2),
        reference=lambda x: np.zeros((1, 1))),
    row("vector_norm", "p = 3", lambda x: a.vector_norm(x, axis=(0, 2), ord=3), signed(2, 2, 3),
        reference=lambda x: (np.abs(x) ** 3).sum((0, 2)) ** (1 / 3)),
    row("vector_norm", "Frobenius", a.matrix_norm, signed(2, 2, 3), reference=N.matrix_norm),
]  # fmt: skip
