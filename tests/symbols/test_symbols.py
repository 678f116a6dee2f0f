"""Formulas: text and LaTeX from the rules themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.fused
import minigrad.linalg
from minigrad import Tensor, mean
from minigrad.engine import tape_text
from minigrad.engine.primitive import REGISTRY, Elementwise, Primitive
from minigrad.engine.tape import Tape
from minigrad.ops import elementwise, indexing, piecewise_constant, reduction
from minigrad.symbols import Call, Name, Number, Symbol, computed, formula, intercepting, latex, local_derivatives, text
from minigrad.symbols.expression import constant

RULES = [
    (name, operand)
    for name, p in REGISTRY.items()
    for k, operand in enumerate(p.operands)
    if p.joint or p.rules[k] is not None
]

GOLDEN = {
    ("add", "y"): "v",
    ("subtract", "y"): "−v",
    ("multiply", "x"): "v · y",
    ("divide", "x"): "v / y",
    ("divide", "y"): "−v · out / y",
    ("reciprocal", "x"): "−v · out²",
    ("square", "x"): "v · 2 · x",
    ("abs", "x"): "v · sign(x)",
    ("hypot", "x"): "v · x / out",
    ("remainder", "y"): "−v · ⌊x / y⌋",
    ("power", "x"): "v · y · x^(y − 1)",
    ("power", "y"): "v · out · log(x)",
    ("sqrt", "x"): "v / (2 · out)",
    ("exp", "x"): "v · out",
    ("log2", "x"): "v / (log(2) · x)",
    ("cos", "x"): "−v · sin(x)",
    ("arcsin", "x"): "v / √((1 − x) · (1 + x))",
    ("tanh", "x"): "v · (1 − tanh(x)²)",
    ("where", "y"): "where(condition, 0, v)",
    ("maximum", "x"): "where(x = y, ½ · v, v · (x > y))",
    ("clip", "x"): "v · (x ≥ min ∧ x ≤ max)",
    ("relu", "x"): "v · (out > 0)",
    ("sigmoid", "x"): "v · sigmoid(x) · (1 − sigmoid(x))",
    ("softplus", "x"): "v · sigmoid(x)",
    ("erf", "x"): "v · 2 · exp(−x²) / √π",
    ("sum", "x"): "spread(v)",
    ("mean", "x"): "spread(v / N)",
    ("var", "x"): "v · 2 · (x − mean(x)) / N",
    ("std", "x"): "v · (x − mean(x)) / (N · out)",
    ("max", "x"): "where(x = out, v / sum(x = out), 0)",
    ("logsumexp", "x"): "v · exp(x − out) / sum(exp(x − out))",
    ("cumulative_sum", "x"): "flip(cumsum(flip(v)))",
    ("matmul", "x"): "v @ yᵀ",
    ("matmul", "y"): "xᵀ @ v",
    ("contract", "x"): 'einsum("ik,jk->ij", v, y)',
    ("convolve", "x"): "convolve_input(v, w)",
    ("convolve", "w"): "convolve_kernel(x, v)",
    ("max_pool", "x"): "window_scatter(v, first_maximum(x, out))",
    ("getitem", "x"): "scatter_add(v, index)",
    ("scatter_add", "values"): "v[index]",
    ("reshape", "x"): "reshape(v)",
    ("broadcast_to", "x"): "sum(v, axis=0)",
    ("inv", "x"): "−outᵀ @ v @ outᵀ",
    ("solve", "x"): "−solve(xᵀ, v) @ outᵀ",
    ("det", "x"): "v[..., None, None] · cofactors(x)",
    ("gelu", "x"): "v · (Φ(x) + x · φ(x))",
    ("softmax", "x"): "out · (v − sum(v · out, axis=-1))",
    ("batch_norm", "beta"): "sum(v_y, axis=0)",
}  # fmt: skip


@pytest.mark.parametrize(("name", "operand"), RULES)
def test_every_rule_has_a_formula(name: str, operand: str) -> None:
    for as_latex in (False, True):
        assert formula(name, operand, as_latex=as_latex)
    assert ".pull_" not in formula(name, operand), "the rule does not run on symbols"


@pytest.mark.parametrize(("name", "operand"), GOLDEN)
def test_golden_formulas(name: str, operand: str) -> None:
    assert formula(name, operand) == GOLDEN[name, operand]


def test_formula_shows_the_rule_itself() -> None:
    changed = Elementwise(np.tanh, lambda v, out: v * (2 - out * out))
    assert formula(changed) == "v · (2 − out²)"
    assert formula(changed, v="dout") == "dout · (2 − out²)"


def test_rule_that_fails_on_symbols_is_shown_as_a_call() -> None:
    asks = Primitive(lambda x, /: np.exp(x), lambda v, x: v if x > 0 else -v, name="asks")
    assert formula(asks) == "asks.pull_x(v, x)"


def test_operand_without_derivative_raises() -> None:
    with pytest.raises(ValueError, match="no derivative flows through condition"):
        formula(elementwise.where, "condition")
    with pytest.raises(ValueError, match="has no operand 'z'"):
        formula(elementwise.exp, "z")
    with pytest.raises(ValueError, match="no derivative"):
        formula(piecewise_constant.sign)


# Notation

x, y, z = Name("x"), Name("y"), Name("z")


def call(op: str, *operands: Any) -> Call:
    return Call(op, operands)


WRITTEN = [
    (call("add", x, call("subtract", y, z)), "x + y − z"),
    (call("subtract", x, call("subtract", y, z)), "x − y + z"),
    (call("subtract", x, call("add", y, z)), "x − y − z"),
    (call("add", x, call("negative", y)), "x − y"),
    (call("negative", call("add", x, y)), "−(x + y)"),
    (call("multiply", call("add", x, y), z), "(x + y) · z"),
    (call("multiply", x, call("negative", y)), "−x · y"),
    (call("divide", x, call("multiply", y, z)), "x / (y · z)"),
    (call("divide", x, call("divide", y, z)), "x · z / y"),
    (call("divide", call("add", x, y), call("add", y, z)), "(x + y) / (y + z)"),
    (call("multiply", x, call("multiply", y, x)), "x² · y"),
    (call("square", call("negative", x)), "(−x)²"),
    (call("power", x, call("negative", y)), "x^(−y)"),
    (call("power", x, Number(-2)), "x⁻²"),
    (call("power", call("power", x, y), z), "(x^y)^z"),
    (call("sqrt", call("multiply", x, y)), "√(x · y)"),
    (call("matmul", call("add", x, y), call("multiply", y, z)), "(x + y) @ (y · z)"),
    (call("multiply", call("matmul", x, y), z), "(x @ y) · z"),
    (call("matmul", x, call("multiply", y, call("matmul", y, z))), "x @ (y · (y @ z))"),
    (call("matrix_transpose", call("matmul", x, y)), "(x @ y)ᵀ"),
    (call("multiply", x, call("less", y, z)), "x · (y < z)"),
    (call("absolute", call("subtract", x, y)), "|x − y|"),
    (call("add", x, call("equal", x, Number(0))), "x"),
    (call("exp", call("negative", call("multiply", x, x))), "exp(−x²)"),
    (call("multiply", constant(0.5), x), "½ · x"),
    (call("multiply", constant(2 / 49), x), "2 · x / 49"),
    (constant(-0.125), "−0.125"),
    (constant(float("inf")), "∞"),
]


@pytest.mark.parametrize(("expression", "expected"), WRITTEN, ids=[expected for _, expected in WRITTEN])
def test_notation(expression: Any, expected: str) -> None:
    assert text(expression) == expected


@pytest.mark.parametrize(("expression", "_"), [row for row in WRITTEN if "@" not in row[1] and "ᵀ" not in row[1]])
def test_text_has_the_value_of_the_expression(expression: Any, _: str) -> None:
    """The text, evaluated as Python, has the value of the expression."""
    values = {"x": 1.7, "y": 2.3, "z": -0.6}
    if "^z" in text(expression):
        values["z"] = 0.6

    def value(e: Any) -> Any:
        if isinstance(e, Name):
            return values[e.text]
        return e.value if isinstance(e, Number) else getattr(np, e.op)(*map(value, e.operands))

    superscripts = {"²": "**2", "⁻**2": "**-2", "½": "0.5", "^": "**", "−": "-", "·": "*", "√": "sqrt", "∞": "inf"}
    source = text(expression)
    for sign, python in superscripts.items():
        source = source.replace(sign, python)
    if source.startswith("|"):
        source = f"abs({source[1:-1]})"
    assert eval(source, {"sqrt": np.sqrt, "exp": np.exp, "inf": np.inf}, values) == pytest.approx(
        float(value(expression))
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", "x"),
        ("μ", r"\mu"),
        ("σ²", r"\sigma^{2}"),
        ("x̂", r"\hat{x}"),
        ("W1", "W_{1}"),
        ("v_out", r"v_{\mathrm{out}}"),
        ("dl/dx", r"\mathrm{dl/dx}"),
        ("a_b%", r"a_{\mathrm{b\%}}"),
        ("%3", r"\mathrm{\%3}"),
    ],
)
def test_names_in_latex(name: str, expected: str) -> None:
    assert latex(Name(name)) == expected


def test_latex() -> None:
    assert formula("divide", "y", as_latex=True) == r"-\frac{v \cdot \mathrm{out}}{y}"
    assert formula("matmul", "y", as_latex=True) == r"x^{\top} \, v"
    assert formula("arcsin", as_latex=True) == r"\frac{v}{\sqrt{(1 - x) \cdot (1 + x)}}"
    assert formula("sum", as_latex=True) == r"\operatorname{spread}(v)"


@pytest.mark.parametrize(("name", "operand"), RULES)
def test_latex_braces_balance(name: str, operand: str) -> None:
    depth = 0
    written = formula(name, operand, as_latex=True).replace(r"\{", "").replace(r"\}", "")
    for letter in written:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert written.count(r"\left") == written.count(r"\right")


def test_repeated_parts_are_written_once() -> None:
    part = call("exp", call("add", x, call("tanh", y)))
    nested: Any = part
    for _ in range(40):  # without sharing, the text would have 2⁴⁰ parts
        nested = call("add", call("sin", nested), call("cos", nested))
    assert len(text(nested)) < 2000
    assert text(call("add", x, y)) == "x + y"


# Nodes of a tape


@pytest.fixture
def batch_norm() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(4, 3)), requires_grad=True).named("x")
    gamma = Tensor(rng.normal(size=3), requires_grad=True).named("gamma")
    mu = mean(x, axis=0).named("mu")
    xhat = ((x - mu).named("centered") / np.sqrt(((x - mu) ** 2).mean(axis=0) + 1e-5).named("std")).named("xhat")
    return {"mu": mu, "xhat": xhat, "y": (gamma * xhat).named("y")}


def test_local_derivatives_with_names_of_the_user(batch_norm: dict[str, Any]) -> None:
    assert local_derivatives(batch_norm["mu"].node) == {"x": "spread(v / 4)"}
    assert local_derivatives(batch_norm["y"].node) == {"x": "sum(v · xhat, axis=0)", "y": "v · gamma"}
    assert local_derivatives(batch_norm["xhat"].node, v="dxhat") == {
        "x": "dxhat / std",
        "y": "sum(−dxhat · xhat / std, axis=0)",
    }
    assert local_derivatives(batch_norm["mu"].node.parents[0]) == {}


def test_local_derivatives_with_names_of_the_caller(batch_norm: dict[str, Any]) -> None:
    nodes = list(Tape(batch_norm["y"]))
    node = next(node for node in nodes if node.primitive and node.primitive.name == "sqrt")
    shown = tape_text.names(nodes)
    assert local_derivatives(node, shown) == {"x": "v / (2 · std)"}
    assert local_derivatives(node, {node: "σ"}, as_latex=True) == {"x": r"\frac{v}{2 \cdot \sigma}"}


def test_constants_of_a_node_are_shown() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True).named("w")
    assert local_derivatives(np.power(w, 3.0).node) == {"x": "v · 3 · w²"}
    assert local_derivatives((w * np.array([2.0, 5.0])).node) == {"x": "v · const"}
    assert local_derivatives((w[None, :] @ np.ones((2, 3))).node) == {"x": "v @ constᵀ"}
    assert local_derivatives(w[1:].node) == {"x": "scatter_add(v, 1:)"}


def test_several_outputs_and_operands() -> None:
    w = Tensor(np.eye(3) + 0.1, requires_grad=True).named("w")
    values, _ = minigrad.linalg.eigh(w)
    assert local_derivatives(values.node) == {"w": "v"}
    assert "v_w" in local_derivatives(values.node.parents[0])["x"]
    assert local_derivatives(np.concatenate([w, np.ones((1, 3)), w]).node) == {
        "arrays[0]": "v[0:3]",
        "arrays[2]": "v[4:7]",
    }


def test_released_node_has_its_formulas(batch_norm: dict[str, Any]) -> None:
    loss = (batch_norm["y"] @ np.ones((3, 2))).sum()
    before = {node: local_derivatives(node) for node in Tape(loss)}
    loss.backward()
    assert {node: local_derivatives(node) for node in Tape(loss)} == before


def test_value_of_a_node_as_formula() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    operands = [x, y]
    assert text(computed((w / w).node, operands)) == "x / y"
    assert text(computed(w.sum(axis=(0,)).node, [x])) == "sum(x, axis=0)"
    assert text(computed(w[1:].node, [x])) == "x[1:]"


# The symbol itself


@pytest.mark.parametrize("ask", [float, int, bool, list, np.asarray, lambda s: np.exp(s, out=np.zeros(2))])
def test_symbol_has_no_value(ask: Any) -> None:
    with pytest.raises(TypeError, match=r"symbol (has no value|cannot be written)"):
        ask(Symbol(x, (2,)))


def test_symbol_has_shape_and_dtype_of_the_result() -> None:
    s = Symbol(x, (4, 1, 3), np.float32)
    for f in (
        lambda a: a.mT @ np.ones((4, 1, 2), np.float32),
        lambda a: np.add.reduce(a, axis=(0, 1), keepdims=True) * a,
        lambda a: np.where(a > 0, a, 0)[..., None, 1:],
        lambda a: np.transpose(np.reshape(a, (2, 6)), (1, 0)).astype(np.float64),
        lambda a: np.flip(np.cumsum(a, axis=0), 0) / np.sqrt(a),
    ):
        expected = f(np.ones(s.shape, s.dtype))
        result = f(s)
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


def test_intercepting_does_not_change_primitives_on_arrays() -> None:
    before = reduction.mean_over(np.arange(4.0))
    with intercepting():
        assert text(reduction.mean_over(Symbol(x, (4,))).expression) == "mean(x)"
        assert reduction.mean_over(np.arange(4.0)) == before
    with pytest.raises(TypeError, match="has no formula"):
        indexing.scatter_add(Symbol(x, (2,)), index=[0, 0], shape=(2,))


def test_formulas_in_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        formulas = pool.map(lambda _: [formula(*rule) for rule in GOLDEN], range(4))
    assert [*formulas] == [[*GOLDEN.values()]] * 4


@pytest.mark.floating(all="ignore")
@pytest.mark.parametrize("wrap", [mg.checkpoint, lambda f: mg.compile(f, backend="numpy")])
def test_checkpoints_and_compiled_calls_have_no_formula_and_can_be_drawn(wrap):
    w, x = mg.Tensor(np.ones(3), requires_grad=True).named("w"), mg.Tensor(np.ones(3), requires_grad=True).named("x")
    f = wrap(lambda x: mg.tanh(x * w))
    for _ in range(4):
        y = f(x).sum()
    assert "pull" in mg.to_latex(y)
    assert "spread" in mg.draw(y, formulas=True).source
