"""mg.derive: the backward pass of a function, written and proven."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.verify import Derivation, check_backward
from minigrad.verify.derivation.reference import reference_gradients
from minigrad.verify.derive.derived import derived

EXAMPLES = Path(__file__).parents[2] / "examples" / "derivations"
FILES = sorted(EXAMPLES.glob("*.py"))
WRONG = sorted((EXAMPLES / "wrong").glob("*.py"))
# A correlation with the reversed kernel would be one line less than the path through the patches.
LONGER_THAN_THE_SHORTEST = {"convolution"}


def derivations(path: Path) -> list[Derivation]:
    spec = importlib.util.spec_from_file_location(f"derive_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [value for value in vars(module).values() if isinstance(value, Derivation)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples_are_no_longer_than_by_hand(path: Path) -> None:
    by_hand = derivations(path)
    lengths = [len(d.lines) for d in by_hand]
    every_step = derived(by_hand[0].forward, all_steps=True)
    short = derived(by_hand[0].forward, all_steps=False)
    assert every_step.report.ok
    assert short.report.ok
    assert len(every_step.lines) <= max(lengths)
    assert len(short.lines) <= (max if path.stem in LONGER_THAN_THE_SHORTEST else min)(lengths)
    for result in (every_step, short):
        assert result.to_latex().count(" &= ") == len(result.lines)
        assert result.to_markdown().count("```python") == len(result.lines)
    assert all(len(text) <= 160 for line in short.lines for text in line.statement.splitlines())


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_the_functions_of_wrong_derivations_are_derived(path: Path) -> None:
    for derivation in derivations(path):
        assert derived(derivation.forward, all_steps=True).report.ok


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_source_runs_alone(path: Path) -> None:
    forward = derivations(path)[0].forward
    result = derived(forward, all_steps=False)
    arguments = forward.arguments({}, np.random.default_rng(3))
    run = forward.run(arguments)
    rng = np.random.default_rng(4)
    reference = reference_gradients(forward, arguments, {k: rng.normal(size=run.values[k].shape) for k in run.outputs})
    names = {**run.values, **{f"d{k}": c for k, c in reference.cotangents.items()}}
    namespace: dict[str, Any] = {}
    exec(result.source, namespace)
    gradients = namespace["backward"](**{p: names[p] for p in (k.partition("=")[0] for k in result.parameters)})
    for k, g in zip(run.inputs, gradients if isinstance(gradients, tuple) else (gradients,), strict=True):
        np.testing.assert_allclose(g, reference.gradients[k], rtol=1e-9, atol=1e-12)


def batch_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


def test_batch_norm_has_three_sums() -> None:
    result = mg.derive(batch_norm, x="N D", gamma="D", beta="D")
    assert [line.statement for line in result.lines] == [
        "dx = gamma * (dout - dout.mean(axis=0) - (dout * xhat).mean(axis=0) * xhat) / np.sqrt(var + eps)",
        "dgamma = (dout * xhat).sum(axis=0)",
        "dbeta = dout.sum(axis=0)",
    ]
    assert result.parameters == ["dout", "gamma", "var", "xhat", "eps=1e-05"]
    assert r"\frac{\partial L}{\partial x} &= " in result.to_latex()
    assert "product rule" in result.to_latex()
    assert "```python\ndbeta = dout.sum(axis=0)\n```" in result.to_markdown()


def test_fused() -> None:
    f = mg.derive(batch_norm, x="N D", gamma="D", beta="D").fused()
    rng = np.random.default_rng(0)
    assert mg.verify.check_gradients(f, rng.normal(size=(6, 4)), rng.normal(size=4), rng.normal(size=4)).ok


def one_hot_loss(z: Any, t: Any) -> Any:
    p = mg.name("p", mg.functional.softmax(z, axis=1))
    return -mg.log(p[np.arange(len(t)), t]).mean()


FUNCTIONS: list[tuple[Any, dict[str, Any], list[str]]] = [
    (lambda x, w: mg.tanh(x @ w), {"x": "N D", "w": "D K"},
     ["dx = dout * (1 - out**2) @ w.T", "dw = x.T @ (dout * (1 - out**2))"]),
    (lambda x: mg.exp(x), {"x": "N"}, ["dx = dout * out"]),
    (lambda x: mg.sigmoid(x), {"x": "N"}, ["dx = dout * out * (1 - out)"]),
    (lambda x: x.mean(), {"x": "N D"}, ["dx = np.full_like(x, dout / x.size)"]),
    (lambda x: mg.var(x, axis=0), {"x": "N D"}, ["dx = 2 * dout * (x - x.mean(axis=0)) / len(x)"]),
    (lambda x: mg.functional.softmax(x, axis=-1), {"x": "N D"},
     ["dx = out * (dout - (dout * out).sum(axis=1, keepdims=True))"]),
    (lambda x: mg.logsumexp(x, axis=1), {"x": "N D"}, ["dx = dout[:, None] * np.exp(x - out[:, None])"]),
    (lambda x, y: mg.einsum("ij,jk->ik", x, y), {"x": "I J", "y": "J K"},
     ['dx = np.einsum("ik,jk->ij", dout, y)', 'dy = np.einsum("ik,ij->jk", dout, x)']),
    (lambda x: mg.linalg.inv(x), {"x": "N N"}, ["dx = -out.T @ dout @ out.T"]),
    (lambda x: x[1:] - x[:-1], {"x": "N"}, ["dx = np.pad(-dout, (0, 1)) + np.pad(dout, (1, 0))"]),
    (lambda x: mg.linalg.vector_norm(x), {"x": "N"}, ["dx = dout * x / out"]),
    (one_hot_loss, {"z": "N C", "t": lambda rng: rng.integers(0, 5, 7)},
     ["dz = dout * (p - np.eye(p.shape[1])[t]) / len(p)"]),
]  # fmt: skip


@pytest.mark.parametrize(("f", "shapes", "lines"), FUNCTIONS, ids=[lines[0] for *_, lines in FUNCTIONS])
def test_lines(f: Any, shapes: dict[str, Any], lines: list[str]) -> None:
    assert [line.statement for line in mg.derive(f, **shapes).lines] == lines


def test_an_embedding_is_written_by_statements() -> None:
    def embedded(table: Any, w: Any, ids: Any) -> Any:
        return mg.tanh(table[ids] @ w)

    result = mg.derive(embedded, table="V D", w="D K", ids=lambda rng: rng.integers(0, 4, 6))
    assert result.lines[0].statement.splitlines() == [
        "dtable = np.zeros_like(table)",
        "np.add.at(dtable, ids, dout * (1 - out**2) @ w.T)",
    ]


def test_example_arrays_and_shapes_in_the_code() -> None:
    def affine(x: Any, w: Any, b: Any) -> Any:
        """x: (N, D) data, w: (D, K) weights, b: (K,) biases."""
        return x @ w + b

    lines = ["dx = dout @ w.T", "dw = x.T @ dout", "db = dout.sum(axis=0)"]
    for result in (mg.derive(affine), mg.derive(affine, np.ones((3, 4)), np.ones((4, 2)), np.ones(2))):
        assert [line.statement for line in result.lines] == lines


def bn_forward(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """x: (N, D), gamma: (D,), beta: (D,)."""
    mu = x.mean(axis=0)
    xc = x - mu
    var = (xc**2).mean(axis=0)
    std = np.sqrt(var + eps)
    xhat = xc / std
    out = gamma * xhat + beta
    return out, (x, mu, var, xhat, gamma, eps)


def test_names_of_assigned_values() -> None:
    result = mg.derive(bn_forward, assigned=True, all_steps=True)
    assert [line.statement for line in result.lines] == [
        "dxhat = dout * gamma",
        "dstd = -(dxhat * xhat).sum(axis=0) / std",
        "dvar = 0.5 * dstd / std",
        "dxc = dxhat / std + 2 * dvar * xc / len(xc)",
        "dmu = -dxc.sum(axis=0)",
        "dx = dxc + dmu / len(x)",
        "dgamma = (dout * xhat).sum(axis=0)",
        "dbeta = dout.sum(axis=0)",
    ]
    short = mg.derive(bn_forward, assigned=True)
    assert len(short.lines) == 3
    rng = np.random.default_rng(0)
    assert mg.verify.check_gradients(short.fused(), rng.normal(size=(6, 4)), rng.normal(size=4), rng.normal(size=4)).ok


def loss(x: Any, w: Any) -> Any:
    h = mg.name("h", mg.tanh(x @ w))
    return (h**2).sum()


@pytest.mark.parametrize("all_steps", [False, True])
def test_hessian_product(all_steps: bool) -> None:
    result = mg.derive(loss, x="N D", w="D K", order=2, all_steps=all_steps)
    rng = np.random.default_rng(0)
    x, w, v_x, v_w = (rng.normal(size=shape) for shape in [(6, 4), (4, 3), (6, 4), (4, 3)])
    names = {"x": x, "w": w, "v_x": v_x, "v_w": v_w, "h": np.tanh(x @ w)}
    products = result.backward(*(names[k] for k in result.parameters))
    for product, other in zip(products, mg.hvp(loss, (x, w), (v_x, v_w)), strict=True):
        np.testing.assert_allclose(product, np.asarray(other), rtol=1e-10)


UNARY = [
    mg.tanh,
    mg.sigmoid,
    mg.sin,
    mg.relu,
    mg.abs,
    mg.softplus,
    lambda x: mg.sqrt(x**2 + 1),
    lambda x: 1 / (1 + x**2),
]
REDUCED: list[Any] = [
    lambda x: x.mean(axis=0), lambda x: x.sum(axis=1, keepdims=True), lambda x: x.max(axis=1, keepdims=True),
    lambda x: mg.var(x, axis=0), lambda x: mg.std(x, axis=1, keepdims=True),
    lambda x: mg.logsumexp(x, axis=1, keepdims=True),
]  # fmt: skip
BINARY: list[Any] = [lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (1 + b**2), mg.maximum]


@pytest.mark.parametrize("seed", range(12))
def test_random_functions(seed: int) -> None:
    """A line that is not right raises ArithmeticError."""

    def composed(x: Any, w: Any, b: Any, c: float = 0.7) -> Any:
        rng = np.random.default_rng(seed)
        values = [x, x * c + b]
        for k in range(rng.integers(2, 6)):
            p, q = (values[i] for i in rng.integers(0, len(values), 2))
            kind, choice, is_named = rng.integers(0, 4), rng.integers(0, 100), rng.random() < 0.5
            if kind == 0:
                p = UNARY[choice % len(UNARY)](p)
            elif kind == 1 and min(p.shape) > 1 and p.ndim == 2:
                p = REDUCED[choice % len(REDUCED)](p)
            elif kind == 2:
                p = BINARY[choice % len(BINARY)](p, q)
            elif p.ndim == 2 and p.shape[1] == w.shape[0]:
                p = p @ w
            values.append(mg.name(f"v{k}", p + 0) if is_named else p)
        return values[-1] + values[-2].sum()

    for all_steps in (False, True):
        assert mg.derive(composed, x="N D", w="D D", b="D", all_steps=all_steps).lines


def recurrent(x: Any, w: Any, u: Any, h: Any) -> Any:
    for t in range(x.shape[1]):
        h = mg.name(f"h{t}", mg.tanh(x[:, t] @ w + h @ u))
    return h


def test_a_loop_of_unknown_length() -> None:
    with pytest.raises(ValueError, match=r"depends on the size of an axis .* as in a loop along an axis"):
        mg.derive(recurrent, x="N T D", w="D H", u="H H", h="N H")
    unrolled = mg.derive(recurrent, x="N 2 D", w="D H", u="H H", h="N H")
    assert "dh0 = dout * (1 - h1**2) @ u.T" in str(unrolled)


@pytest.mark.parametrize(
    ("f", "shapes", "message"),
    [
        (lambda x: mg.functional.gelu(x), {"x": "N"}, "NumPy has no function normal_cdf"),
        (lambda x: mg.linalg.det(x), {"x": "N N"}, "no expression of NumPy for cofactors"),
        (lambda x: x * np.random.default_rng(0).normal(size=x.shape), {"x": "N D"}, "neither an input nor computed"),
    ],
)
def test_what_cannot_be_written_is_said(f: Any, shapes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mg.derive(f, **shapes)


def test_usage_errors() -> None:
    with pytest.raises(TypeError, match="the shape of 'x' is not known"):
        mg.derive(lambda x: x * 2)
    with pytest.raises(ValueError, match="order=3"):
        mg.derive(lambda x: x * 2, x="N", order=3)
    with pytest.raises(ValueError, match="the Hessian is that of a number"):
        mg.derive(lambda x: x * x, x="N", order=2)


def test_a_wrong_line_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad.verify.derive import derived_lines

    line_text = derived_lines.line_text
    monkeypatch.setattr(derived_lines, "line_text", lambda *args: line_text(*args) + " * 2")
    with pytest.raises(ArithmeticError, match="a derived line is wrong"):
        mg.derive(lambda x: x * x, x="N")


def softmax_forward(x: Any, w: Any, t: Any) -> Any:
    z = x @ w
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(t)), t]).mean()
    return loss, (x, w, t, p)


def softmax_backward(cache: Any) -> Any:
    x, w, t, p = cache
    assert len(t)
    dz = p * 2 + x.sum()
    dx = dz @ w.T
    dw = x.T @ dz
    return dx, dw


def test_the_right_line_beside_a_wrong_one() -> None:
    rng = np.random.default_rng(0)
    report = check_backward(
        softmax_forward, softmax_backward, rng.normal(size=(6, 4)), rng.normal(size=(4, 3)), rng.integers(0, 3, 6)
    )
    (wrong,) = report.wrong
    assert wrong.right_line == "(p - np.eye(p.shape[1])[t]) / len(p)"
    assert "the right line is: dz = (p - np.eye(p.shape[1])[t]) / len(p)" in str(report)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from minigrad.app.cli import main

    file = tmp_path / "layers.py"
    file.write_text("import minigrad as mg\ndef scaled(x, w):\n    return mg.tanh(x * w)\n")
    assert main(["derive", f"{file}:scaled", "--input", "x=N,D", "--input", "w=D"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "# scaled, backward: 2 lines, proven",
        "dx = dout * w * (1 - out**2)",
        "dw = (dout * x * (1 - out**2)).sum(axis=0)",
    ]
    assert main(["derive", f"{file}:scaled", "--input", "x=N,D", "--input", "w=D", "--latex"]) == 0
    assert r"\begin{align*}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["derive", f"{file}:other"])
    assert "has no function other; it has scaled" in capsys.readouterr().err


def test_import_stays_light() -> None:
    code = "import sys, minigrad; print(any(m.startswith('minigrad.verify') for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
