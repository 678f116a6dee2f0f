"""The tape as Mermaid, as a table and as LaTeX."""

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import fused
from minigrad.drawing.render.mermaid import mermaid

ODD_NAMES = [
    'say "hi"',
    "<b>σ²<b>",
    "a & b &amp; c",
    "back\\slash",
    "שלום",
    "😀 x̂",
    "{a|b}",
    "a\nb",
    "`code`",
    "#1; end",
]


def leaf(name, *shape, label=None):
    return mg.Tensor(np.linspace(-1, 2, int(np.prod(shape))).reshape(shape), requires_grad=True).named(name, label)


def network():
    x, w = leaf("x", 4, 3), leaf("w", 3, 2, label="W₁")
    with mg.scope("dense"):
        h = mg.tanh(x @ w).named("h")
    return h, ((h * 2.0) ** 2).sum().named("l")


# Mermaid


def test_mermaid_has_every_node_edge_and_scope():
    text = mermaid(mg.draw(network()[1]).graph)
    assert text.startswith("flowchart TB\n")
    assert set(re.findall(r"^\s*(n\d+)[(\[]", text, re.M)) == {f"n{k}" for k in range(1, 8)}
    assert re.findall(r"(n\d+) --> (n\d+)", text) == [
        ("n1", "n3"), ("n2", "n3"), ("n3", "n4"), ("n4", "n5"), ("n5", "n6"), ("n6", "n7")
    ]  # fmt: skip
    inside = re.search(r'subgraph s1\["dense"\]\n(.*?)\n    end', text, re.S).group(1)
    assert re.findall(r"(n\d+)[(\[]", inside) == ["n1", "n2", "n3", "n4"]
    assert 'n4("<b>h</b><br/>tanh(x @ W₁)<br/>(4, 2)")' in text


def test_mermaid_shows_contributions_and_links():
    _, loss = network()
    text = mermaid(mg.draw(loss, grads=True, formulas=True).graph)
    assert '-->|"2 · v<br/>' in text or '-->|"v · 2<br/>' in text
    assert "linkStyle" in text
    assert "-.->" in mermaid(mg.draw(loss, backward=True).graph)


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_odd_names_are_escaped(odd):
    x = leaf("x", 2, label=odd)
    with mg.scope(odd):
        y = mg.exp(x)
    text = mermaid(mg.draw(y).graph)
    quoted = re.findall(r'[(\[]"(.*)"[)\]]', text)
    assert len(quoted) == 3
    for label in quoted:
        bare = re.sub(r"<b>|</b>|<br/>|#\d+;", "", label)
        assert not set(bare) & set('"<>{}|`\n\\')
    back = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), "\n".join(quoted))
    assert back.count(odd.replace("\n", " ")) >= 3


# Tables


def test_table_has_a_row_for_each_node():
    h, loss = network()
    table = mg.tape_table(loss, values=True, grads=True).splitlines()
    tape = mg.Tape(loss)
    assert len(table) == len(tape)
    assert [row.split()[:2] for row in table[:3]] == [["1", "x"], ["2", "w"], ["3", "%3"]]
    grad = float(np.linalg.norm(8 * h.numpy()))
    assert f"‖grad‖ {grad:.2g}" in next(row for row in table if " h " in row[:8])
    assert "%6:" not in table[5]
    assert "%6" in table[6]


def test_table_without_numbers_is_the_wengert_list():
    _, loss = network()
    columns = [re.split(r"\s{2,}", row.strip()) for row in str(mg.Tape(loss)).splitlines()]
    assert [re.split(r"\s{2,}", row.strip()) for row in mg.tape_table(loss).splitlines()] == [c[:-1] for c in columns]


def test_table_shows_where_infinities_arise():
    x = mg.Tensor([0.0, 1.0], requires_grad=True).named("x")
    text = mg.tape_table(mg.sqrt(x).sum(), grads=True)
    assert "x: ∞ arises here" in text
    assert text.splitlines()[-1].startswith("∞ arises in the backward pass of sqrt")


def test_nothing_to_show():
    for function in (mg.tape_table, mg.to_latex):
        with pytest.raises(ValueError, match="nothing to"):
            function()
        with pytest.raises(ValueError, match="requires_grad=True"):
            function(mg.Tensor([1.0]))


# LaTeX


def rows(latex):
    body = latex.removeprefix("\\begin{align*}\n").removesuffix("\n\\end{align*}")
    return [tuple(row.split(" &= ")) for row in re.split(r" \\\\(?:\[1ex\])?\n", body)]


def partial(name):
    return rf"\frac{{\partial l}}{{\partial {name}}}"


def test_latex_writes_out_the_chain_rule():
    x = leaf("x", 4, label="x")
    var = ((x * x).mean(axis=0)).named("var", label="σ²")
    y = (x * var + x).named("y")
    equations = dict(rows(mg.to_latex(y)))
    assert equations[r"\sigma^{2}"] == r"\operatorname{mean}(z_{2}, \mathrm{axis=0})"
    assert equations[partial(r"\sigma^{2}")] == (
        r"\operatorname{sum}\left(" + partial("z_{4}") + r" \cdot x, \mathrm{axis=0}\right)"
    )
    # x is used by the square (twice), the product and the sum
    assert equations[partial("x")].count(r"\partial l") == 4


def test_latex_of_several_outputs():
    x = leaf("x", 3, 4)
    equations = dict(rows(mg.to_latex(fused.softmax_cross_entropy(x, np.array([0, 1, 2])))))
    assert equations[partial("z_{3}")] == "1"
    assert partial("z_{3}") in equations[partial("x")]
    assert "sum(0" not in equations[partial("x")]


def test_repeated_names_are_replaced_by_places():
    x = leaf("x", 2)
    y = mg.exp(mg.exp(x).named("h")).named("h")
    assert [left for left, _ in rows(mg.to_latex(y))][:2] == ["z_{2}", "z_{3}"]


def test_latex_of_a_long_tape_raises_with_a_hint():
    y = leaf("x", 2)
    for _ in range(70):
        y = mg.sin(y)
    with pytest.raises(ValueError, match=r"71 nodes are too many.*depth=1"):
        mg.to_latex(y)


def test_latex_is_well_formed():
    mathtext = pytest.importorskip("matplotlib.mathtext", reason="pip install 'minigrad[plot]'")
    parser = mathtext.MathTextParser("path")
    for left, right in rows(mg.to_latex(network()[1])):
        parser.parse(f"${left} = {right}$".replace(r"\top", "T"))
