"""The DOT text of pictures, and drawing it with both engines."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import graphviz
import numpy as np
import pytest

import minigrad as mg
from minigrad import fused
from minigrad.drawing import EngineNotFound, draw
from minigrad.drawing.render import graphviz_program
from minigrad.drawing.render.graphviz_program import layout
from minigrad.drawing.render.style import COLORS, INK

BLUE, VERMILION, GREEN = COLORS[:3]
SVG = "{http://www.w3.org/2000/svg}"
ODD_NAMES = ['say "hi"', "<b>σ²<b>", "a & b &amp; c", "back\\slash\\n", "\\", "<>", "שלום", "😀 x̂", "{a|b}", "a\nb"]

both_engines = pytest.mark.parametrize("program", ["dot", graphviz_program.PURE])


def leaf(name, *shape, label=None):
    return mg.Tensor(np.full(shape, 0.5), requires_grad=True).named(name, label=label)


def batch_norm(x, gamma, beta):
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + 1e-5), label="x̂")
    return mg.name("y", gamma * xhat + beta)


def small_batch_norm():
    return batch_norm(leaf("x", 6, 3), leaf("gamma", 3, label="γ"), leaf("beta", 3, label="β"))


def require(program):
    path = shutil.which("dot") if program == "dot" else graphviz_program.pure()
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def times_itself(x):
    return x * x


def needs_an_engine():
    if graphviz_program.find() is None:
        pytest.skip("neither Graphviz nor graphviz-pure is installed")


def nodes(source):
    """The attributes of each node, as written."""
    return dict(re.findall(r"^\s*(n\d+|c\d+) \[(.*)\]$", source, re.MULTILINE))


def edges(source):
    found = re.findall(r"^\s*([nc]\d+) -> (n\d+)(.*)$", source, re.MULTILINE)
    return [edge for edge in found if 'style="invis"' not in edge[2]]


def rows_of(attributes):
    """The visible text of a node, row by row."""
    label = re.search(r"label=<(.*?)>(?: \w+=|$)", attributes).group(1)
    return [row for row in re.sub(r"<font[^>]*>|</font>|</?b>", "", label).split("<br/>") if row.strip()]


def test_source_is_the_same_in_every_run():
    first = draw(small_batch_norm()).source
    leaf("unrelated", 2)
    assert draw(small_batch_norm()).source == first


def test_source_is_the_same_in_another_process():
    program = (
        "import numpy as np, minigrad as mg; from minigrad.drawing import draw\n"
        "x = mg.Tensor(np.ones((4, 2)), requires_grad=True); w = np.ones((2, 3))\n"
        "print(draw((x @ w).sum()).source)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONUTF8": "1", "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert b"n2 [" in runs[0]


def test_each_node_is_a_vertex_and_each_operand_an_edge():
    y = small_batch_norm()
    tape, source = mg.Tape(y), draw(y).source
    place = {node: f"n{k}" for k, node in enumerate(tape, 1)}
    assert list(nodes(source)) == list(place.values())
    expected = [(place[parent], place[node]) for node in tape for parent in node.parents if parent is not None]
    assert [(a, b) for a, b, _ in edges(source)] == expected


def test_nodes_show_names_formulas_and_shapes():
    rows = [rows_of(attributes) for attributes in nodes(draw(small_batch_norm()).source).values()]
    assert ["x", "(6, 3)"] in rows
    assert ["μ", "mean(x, axis=0)", "(3,)"] in rows
    assert ["σ²", "mean((x − μ)², axis=0)", "(3,)"] in rows
    assert ["x̂", "(x − μ) / √(σ² + 10⁻⁵)", "(6, 3)"] in rows
    assert ["y", "γ · x̂ + β", "(6, 3)"] in rows


def test_edge_colors_are_the_terms_of_the_chain_rule():
    """dl/dx has three terms, dl/dμ two, dl/dσ² one: the colors that leave x, μ and σ², and the texts on these edges."""
    source = draw(small_batch_norm()).source
    named = {rows_of(attributes)[0]: node for node, attributes in nodes(source).items()}

    def leaving(name):
        rests = [rest for a, _, rest in edges(source) if a == named[name]]
        return {
            re.search(r"dl/d([^&]*)&", rest).group(1): re.search(r' color="(.*?)"', rest).group(1) for rest in rests
        }

    assert leaving("x") == {"μ": BLUE, "σ²": VERMILION, "x̂": GREEN}
    assert leaving("μ") == {"σ²": VERMILION, "x̂": GREEN}
    assert leaving("σ²") == {"x̂": GREEN}
    assert leaving("γ") == leaving("β") == leaving("x̂") == {"y": INK}


def test_shared_edge_has_several_colors():
    x = leaf("x", 6, 3)
    centered = x - mg.name("mu", x.mean(axis=0))
    var = mg.name("var", (centered**2).mean(axis=0))
    y = mg.name("xhat", centered / mg.sqrt(var + 1)).sum()
    assert f'"{VERMILION}:{GREEN}"' in draw(y).source


def test_edge_colors_stay_within_their_scope():
    x = leaf("x", 6, 3)
    with mg.scope("first"):
        y = mg.exp(x) * 2
    with mg.scope("second"):
        z = mg.name("z", mg.exp(y))
    colored = [(a, b) for a, b, rest in edges(draw(z.sum()).source) if BLUE in rest]
    assert colored == [("n3", "n4")]


def test_scopes_are_nested_clusters_with_their_parameters():
    w, b = leaf("weight", 3, 2), leaf("bias", 2)
    with mg.scope("net"):
        with mg.scope("0"):
            y = np.ones((4, 3)) @ w + b
        with mg.scope("1"):
            z = mg.exp(y)
    opened, inside = [], {}
    for text in map(str.strip, draw(z.sum()).source.splitlines()):
        if text.startswith("subgraph"):
            opened = [*opened, text.split()[1].strip('"')]
        elif text == "}":
            opened = opened[:-1]
        elif node := re.match(r"([nc]\d+) \[", text):
            inside[node.group(1)] = opened
    first, second = ["cluster_net", "cluster_net/0"], ["cluster_net", "cluster_net/1"]
    assert inside == {"n1": first, "n2": first, "c1": first, "n3": first, "n4": first, "n5": second, "n6": []}


def test_parameters_are_drawn_below_the_inputs_of_their_scope():
    x, w = leaf("x", 4, 3), leaf("w", 3, 2)
    with mg.scope("layer"):
        y = mg.exp(x) @ w
    assert "n1 -> n3 [style=invis]" not in draw(y).source
    with mg.scope("next"):
        z = y @ leaf("v", 2, 2)
    assert 'n4 -> n5 [style="invis"]' in draw(z).source


def test_node_with_several_outputs_shows_all_shapes():
    y, mu, *_ = fused.batch_norm(leaf("x", 4, 3), leaf("gamma", 3), leaf("beta", 3))
    rows = [rows_of(a) for a in nodes(draw(y.sum() + mu.sum()).source).values()]
    assert ["batch_norm(x, gamma, beta)", "(4, 3), (3,), (3,), (3,)"] in rows
    assert ["batch_norm.y", "(4, 3)"] in rows


def test_constant_array_is_drawn_once():
    x, w = np.ones((4, 3)), leaf("w", 3, 2)
    source = draw(((x @ w) + (x @ w)).sum()).source
    assert [n for n in nodes(source) if n.startswith("c")] == ["c1"]
    assert sum(a == "c1" for a, _, _ in edges(source)) == 2


def test_scalar_constants_are_part_of_the_formula():
    source = draw((leaf("x", 3) * 2.5) ** 3).source
    assert rows_of(nodes(source)["n2"])[0] == "x · 2.5"
    assert rows_of(nodes(source)["n3"])[0] == "(x · 2.5)³"
    assert len(nodes(source)) == 3


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        (lambda a, b: a - (b - a), "a − b + a"),
        (lambda a, b: (a + b) * a, "(a + b) · a"),
        (lambda a, b: a / (b * a), "a / (b · a)"),
        (lambda a, b: -(a + b), "−(a + b)"),
        (lambda a, b: mg.sqrt(a) / b, "√a / b"),
        (lambda a, b: mg.exp(a * b), "exp(a · b)"),
        (lambda a, b: times_itself(a - b), "(a − b)²"),
        (lambda a, b: mg.exp(a)[np.arange(3), None, None, None], "…[…]"),
        (lambda a, b: (a * b).sum(axis=(0,)), "sum(a · b, axis=0)"),
        (lambda a, b: a[0], "a[0]"),
        (lambda a, b: a * -2.0, "−a · 2"),
        (lambda a, b: abs(a) + b, "|a| + b"),
        (lambda a, b: mg.logaddexp(mg.exp(mg.exp(a * b) * b) * b, a), "logaddexp(…, a)"),
    ],
)
def test_formulas(function, formula):
    source = draw(function(leaf("a", 3), leaf("b", 3))).source
    assert rows_of(list(nodes(source).values())[-1])[0] == formula


def test_uncommon_dtype_is_shown():
    x = mg.Tensor(np.ones(3, np.float32), requires_grad=True).named("x")
    rows = [rows_of(a)[-1] for a in nodes(draw((x * np.ones(3)).sum()).source).values() if "ellipse" in a]
    assert rows == ["(3,) float32"]


def test_unnamed_leaf_is_labeled_as_on_the_printed_tape():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    assert rows_of(nodes(draw((x**2).sum()).source)["n2"])[0] == "%1²"


def test_several_outputs_and_tapes():
    x = leaf("x", 3)
    y, z = x * x, mg.exp(x)
    source = draw(y, z).source
    assert source.count('peripheries="2"') == 2
    assert draw(mg.Tape(y, z)).source == source


def test_released_graph_is_drawn():
    y = small_batch_norm()
    loss = (y * y).sum()
    before = nodes(draw(loss).source)
    loss.backward()
    assert list(nodes(draw(loss).source)) == list(before)


def test_long_chain():
    x = leaf("x", 2)
    y = x
    for _ in range(1000):
        y = y + x
    assert len(nodes(draw(y, limit=None).source)) == 1001


@both_engines
@pytest.mark.parametrize("odd", ODD_NAMES)
def test_odd_names(odd, program):
    x = leaf("x", 2, label=odd)
    with mg.scope(odd):
        y = mg.name("y", x * x, label=odd)
        z = mg.exp(y)
    drawn = layout(draw(z.sum(), legend=True).source, "svg", require(program)).decode()
    texts = [(t.text or "").strip() for t in ET.fromstring(drawn).iter(f"{SVG}text")]
    assert texts.count(odd.replace("\n", " ")) == 3  # the leaf, the result and the scope


@both_engines
def test_engines_draw_every_node(program):
    y = small_batch_norm()
    svg = ET.fromstring(layout(draw(y).source, "svg", require(program)))
    titles = [g.find(f"{SVG}title").text for g in svg.iter(f"{SVG}g") if g.get("class") == "node"]
    assert sorted(titles) == sorted(f"n{k}" for k in range(1, len(mg.Tape(y)) + 1))
    assert layout(draw(y).source, "png", require(program)).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("gv", b"digraph")]
)
def test_save_writes_by_suffix(tmp_path, suffix, start):
    needs_an_engine()
    path = tmp_path / "new" / f"graph.{suffix}"
    assert draw(small_batch_norm()).save(path) == path
    assert path.read_bytes().startswith(start)


def test_render_takes_a_format(tmp_path):
    path = draw(small_batch_norm()).render(tmp_path / "graph", format="dot")
    assert path.read_text(encoding="utf-8").startswith("digraph")


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="'docx' is unknown"):
        draw(small_batch_norm()).save(tmp_path / "graph.docx")


def test_without_an_engine_the_dot_text_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(graphviz_program, "find", lambda: None)
    picture = draw(small_batch_norm())
    with pytest.raises(EngineNotFound, match=re.escape('pip install "minigrad[dot]"')) as error:
        picture.save(tmp_path / "graph.svg")
    assert str(tmp_path / "graph.dot") in str(error.value)
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == picture.source
    assert picture.source in picture._repr_mimebundle_()["text/plain"]


def test_pdf_needs_the_system_graphviz(tmp_path, monkeypatch):
    pure = require(graphviz_program.PURE)
    monkeypatch.setattr(graphviz_program, "find", lambda: pure)
    with pytest.raises(EngineNotFound, match="PDF needs a system Graphviz"):
        draw(small_batch_norm()).save(tmp_path / "graph.pdf")


def test_the_system_graphviz_writes_pdf(tmp_path):
    require("dot")
    assert draw(small_batch_norm()).save(tmp_path / "graph.pdf").read_bytes().startswith(b"%PDF")


@both_engines
def test_invalid_dot_raises(program):
    with pytest.raises(RuntimeError, match="failed with exit status"):
        layout("digraph {", "svg", require(program))


def test_notebooks_show_svg():
    needs_an_engine()
    assert "<svg" in draw(small_batch_norm())._repr_mimebundle_()["image/svg+xml"]


def test_bad_calls():
    with pytest.raises(ValueError, match="nothing to show"):
        draw()
    with pytest.raises(ValueError, match="requires_grad"):
        draw(mg.Tensor([1.0]))
    with pytest.raises(ValueError, match="direction='RL'"):
        draw(small_batch_norm(), direction="RL")


def test_importing_minigrad_does_not_import_graphviz():
    program = "import sys, minigrad, minigrad.drawing; print('graphviz' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_unwritable_path(tmp_path):
    picture = draw(small_batch_norm())
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "graph.dot", tmp_path / "file" / "new" / "graph.mmd"):
        with pytest.raises(OSError, match="save: the picture cannot be written") as error:
            picture.save(path)
        assert error.value.filename == str(path)
    (tmp_path / "folder.dot").mkdir()
    with pytest.raises(IsADirectoryError, match="cannot be written"):
        picture.save(tmp_path / "folder.dot")


def test_names_of_version_0_1_still_work_with_a_warning(monkeypatch):
    monkeypatch.delitem(sys.modules, "minigrad.drawing.engine", raising=False)
    with pytest.warns(DeprecationWarning, match="is minigrad.drawing.EngineNotFound now"):
        from minigrad.drawing.engine import EngineNotFound as old
    assert old is EngineNotFound
    vertex = draw(small_batch_norm()).graph.vertices[0]
    with pytest.warns(DeprecationWarning, match="Vertex.hue is .color now"):
        assert vertex.hue == vertex.color


def test_mermaid_is_written_by_suffix(tmp_path):
    path = draw(small_batch_norm()).save(tmp_path / "graph.mmd")
    assert path.read_text(encoding="utf-8").startswith("flowchart TB")


def test_picture_is_a_digraph():
    picture = draw(small_batch_norm())
    assert isinstance(picture, graphviz.Digraph)
    picture.node("note", "added by hand")
    assert "added by hand" in picture.source
    assert picture.copy().source == picture.source


def test_view_opens_the_written_picture(tmp_path, monkeypatch):
    needs_an_engine()
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = draw(small_batch_norm()).view(tmp_path / "graph.svg")
    assert opened == [path.resolve().as_uri()]


def test_leaves_and_parameters_look_different():
    x, w = leaf("x", 2, 3), leaf("w", 3, 2)
    w.node.scope = "dense"
    with mg.scope("dense"):
        y = x @ w
    kinds = {v.label: v.kind for v in draw(y * np.ones(2)).graph.vertices if v.label}
    assert kinds == {"x": "input", "w": "parameter", "c1": "constant"}
    assert 'shape="ellipse"' in nodes(draw(y).source)["n1"]
    assert 'shape="box"' in nodes(draw(y).source)["n2"]


def test_legend_explains_shapes_or_colors():
    assert "folded scope" in draw(small_batch_norm(), legend=True).source
    source = draw(small_batch_norm(), legend=True, grads=True).source
    assert "not finite" in source
    assert "Colors show norms" in source.replace("\\l", " ")


@both_engines
@pytest.mark.parametrize("odd", ODD_NAMES)
def test_odd_names_in_folded_scopes_and_the_backward_pass(odd, program):
    x = leaf("x", 2, label=odd)
    with mg.scope(odd.replace("/", "")):
        y = mg.exp(x * x)
    for options in ({"depth": 1}, {"backward": True, "values": True}):
        ET.fromstring(layout(draw(y.sum(), **options).source, "svg", require(program)))
