"""Values, gradients and contributions on pictures."""

import json

import numpy as np
import pytest
import walks
from cases import CASES

import minigrad as mg
from minigrad.drawing import draw
from minigrad.drawing.graph.backward_pass import seeds
from minigrad.drawing.graph.model import Graph
from minigrad.drawing.graph.node_numbers import statistics
from minigrad.drawing.render import style
from minigrad.drawing.render.style import short_number, value_caption
from minigrad.engine.tape import pull


def leaf(name, value):
    return mg.Tensor(np.array(value, dtype=float), requires_grad=True).named(name)


def vertex(graph, label):
    found = [v for v in graph.vertices if label in (v.label, v.formula)]
    assert len(found) == 1, f"{label}: {[v.label or v.formula for v in graph.vertices]}"
    return found[0]


def contributions(graph, source):
    """The contributions to a vertex, by the formula or label of the vertex they come from."""
    names = {v.key: v.label or v.formula for v in graph.vertices}
    return {names[e.target]: e.contribution for e in graph.edges if e.source == vertex(graph, source).key}


def layer(x, w, name):
    with mg.scope(name):
        w.node.scope = name
        return mg.tanh(x @ w)


def test_values_are_those_of_the_arrays():
    x, w = leaf("x", [[1.0, -2.0], [3.0, 0.5]]), leaf("w", [2.0, 4.0])
    y = (x * w + w).named("y")  # the sum is kept by no rule
    z = mg.exp(y - 3.0)
    graph = draw(z.sum(), values=True).graph
    for label, value in {"x": x, "y": y, "y − 3": y - 3.0, "exp(y − 3)": z}.items():
        s, a = vertex(graph, label).values, value.numpy()
        assert (s.mean, s.std, s.low, s.high) == pytest.approx((a.mean(), a.std(), a.min(), a.max()))
        assert s.norm == pytest.approx(np.linalg.norm(a))
    assert not graph.notes
    assert "[−2, 3]" in draw(z.sum(), values=True).source


def test_values_of_several_outputs_and_constants():
    x, c = leaf("x", [[1.0, 2.0], [5.0, 3.0]]), np.array([[2.0, 0.0], [0.0, 2.0]])
    q, r = np.linalg.qr(x)
    graph = draw((q @ (r * c)).sum(), values=True).graph
    assert vertex(graph, "qr.r").values.high == pytest.approx(r.numpy().max())
    assert vertex(graph, "c1").values.mean == 1


def test_note_on_unknown_values():
    y = leaf("x", [1.0, 2.0]) + np.array([3.0, 4.0])  # the leaf is gone at once, the constant was never kept
    graph = draw(mg.Tape(y.sum()), values=True).graph
    assert vertex(graph, "x").values is None
    assert "No values of x" in graph.notes[0]


def test_gradients_equal_those_of_backward():
    x, w = leaf("x", [[1.0, -2.0], [3.0, 0.5]]), leaf("w", [2.0, 4.0])
    mu = x.mean(axis=0).named("mu")
    loss = (((x - mu) * w) ** 2).sum()
    graph = draw(loss, grads=True).graph
    assert vertex(graph, "x").gradient is not None
    loss.backward()
    for t in (x, w):
        assert vertex(graph, t.node.name).gradient.norm == pytest.approx(np.linalg.norm(t.grad.numpy()))
    direct = 2 * ((x - mu) * w * w).numpy()
    assert contributions(graph, "x") == pytest.approx({"x − mu": np.linalg.norm(direct), "mu": 0}, abs=1e-12)


def test_each_operand_has_its_own_contribution():
    x = leaf("x", [3.0])
    graph = draw((x * x).sum(), grads=True).graph
    assert [e.contribution for e in graph.edges if e.source == "n1"] == [3.0, 3.0]
    y, z = leaf("y", [2.0, 2.0]), leaf("z", [1.0, 1.0])
    graph = draw((mg.concat([z, y, z]) * np.array([1.0, 1, 2, 2, 3, 3])).sum(), grads=True).graph
    assert [e.contribution for e in graph.edges if e.source == vertex(graph, "z").key] == pytest.approx(
        [2**0.5, 18**0.5]
    )


def test_walk_starts_from_given_gradients():
    x = leaf("x", [1.0, 2.0])
    assert vertex(draw(x * 2.0, grads=[3.0, 4.0]).graph, "x").gradient.norm == 10
    assert vertex(draw(x * 2.0, x * 3.0, grads=([1.0, 0.0], [0.0, 1.0])).graph, "x").gradient.norm == pytest.approx(
        13**0.5
    )
    assert "±1 at random" in draw(x * 2.0, grads=True).graph.notes[0]
    with pytest.raises(ValueError, match=r"shape \(3,\) for an output of shape \(2,\)"):
        draw(x * 2.0, grads=np.ones(3))
    with pytest.raises(ValueError, match="for 2 outputs must be a list of as many"):
        draw(x * 2.0, x * 3.0, grads=[[1.0, 1.0]])


def test_contributions_between_folded_scopes_are_summed():
    x = leaf("x", [[1.0, 2.0]])
    with mg.scope("a"):
        h = mg.tanh(x)
    with mg.scope("b"):
        y = mg.exp(h) - h * 2.0
    graph = draw(y.sum(), depth=1, grads=True).graph
    edge = next(e for e in graph.edges if e.source == "m2")
    assert edge.count == 2
    assert edge.contribution == pytest.approx(np.linalg.norm(np.exp(h.numpy()) - 2))
    assert vertex(graph, "b").gradient.norm == pytest.approx(2**0.5)


def test_contributions_of_two_values_of_a_scope_combine_as_a_norm():
    x = leaf("x", [[1.0, 2.0]])
    with mg.scope("a"):
        h, g = mg.tanh(x), mg.exp(x)
    with mg.scope("b"):
        y = h * 3.0 + g * 4.0
    graph = draw(y.sum(), depth=1, grads=True).graph
    assert next(e.contribution for e in graph.edges if e.source != "n1" and e.count == 2) == pytest.approx(5 * 2**0.5)


def test_rounding_errors_are_written_as_0():
    s = statistics(np.array([1.0, -1.0, 1e-16]))
    assert value_caption(s).startswith("0 ± 0.82")
    assert short_number(-0.0) == "0"
    assert short_number(-1.5e-7) == "−1.5e−7"
    assert value_caption(statistics(np.array([2.0, 2.0]))) == "2"
    assert value_caption(statistics(np.array([1.0, np.nan]))).endswith(", 1 not finite")


def test_values_of_leaves_without_residuals():
    x = leaf("x", [1.0, 2.0])
    assert vertex(draw((x + 1.0).sum(), values=True).graph, "x").values.mean == 1.5


def test_infinite_gradient_is_traced_to_its_contribution():
    x, w = leaf("x", [0.0, 4.0]), leaf("w", [1.0, 1.0])
    picture = draw((mg.sqrt(x * w) * 3.0).sum(), grads=True)
    graph = picture.graph
    origins = {(e.source, e.target): e.arises for e in graph.edges if e.arises}
    assert origins == {(vertex(graph, "x · w").key, vertex(graph, "√(x · w)").key): "∞"}
    assert np.isinf(vertex(graph, "x").gradient.norm)
    assert graph.notes[0].startswith(
        "∞ arises in the backward pass of sqrt (node 4): v / (2 · √(x · w)) for a finite v; "
        "a root of 0, whose slope is infinite. Hint: clamp below"
    )
    red = [line for line in picture.source.splitlines() if style.NONFINITE in line and "->" in line]
    assert len(red) == 3  # the contribution itself, and those to x and w


def test_infinite_value_is_traced_to_its_node():
    x = leaf("x", [1.0, 0.0])
    with np.errstate(divide="ignore"):
        y = mg.log(x) * 2.0
    graph = draw(y.sum(), grads=True, values=True).graph
    assert [v.formula for v in graph.vertices if v.arises] == ["log(x)"]
    assert "−∞ arises in the value of log (node 2): log of 0. Hint:" in "".join(graph.notes)
    assert vertex(graph, "log(x)").values.nonfinite == 1
    assert not vertex(graph, "log(x) · 2").finite


def test_infinity_inside_a_folded_scope_is_shown_on_it():
    x = leaf("x", [0.0, 1.0])
    with mg.scope("norm"):
        y = mg.sqrt(mg.abs(x)) * 2.0
    graph = draw(y.sum(), depth=1, grads=True).graph
    assert vertex(graph, "norm").arises == "∞ in sqrt"


def test_released_graph_shows_gradients_of_leaves():
    x = leaf("x", [1.0, 2.0])
    loss = (mg.exp(x) * 2.0).sum()
    loss.backward()
    graph = draw(loss, grads=True, values=True, formulas=True).graph
    assert vertex(graph, "x").gradient.norm == pytest.approx(np.linalg.norm(2 * np.exp([1.0, 2.0])))
    assert [v.label for v in graph.vertices if v.gradient is not None] == ["x"]
    assert "backward(retain_graph=True)" in graph.notes[0]
    assert draw(loss).graph.notes == graph.notes[:1]


def test_note_on_a_leaf_changed_in_place():
    x = leaf("x", [1.0, 2.0])
    loss = (x * x).sum()
    with mg.no_grad():
        x -= 1.0
    graph = draw(loss, grads=True).graph
    assert "changed in place" in graph.notes[0]


def test_edge_formulas_use_the_users_names():
    x, w = leaf("x", [[1.0, 2.0]]), leaf("w", [3.0, 4.0])
    y = mg.tanh(x * w).named("y")
    graph = draw((y * 2.0).sum(), formulas=True).graph
    assert {(e.source, e.target): e.formula for e in graph.edges} == {
        ("n1", "n3"): "v · w",
        ("n2", "n3"): "sum(v · x, axis=0)",
        ("n3", "n4"): "v · (1 − tanh(x · w)²)",
        ("n4", "n5"): "v · 2",
        ("n5", "n6"): "spread(v)",
    }


def test_edge_formula_refers_to_a_long_operand_by_place():
    x = leaf("x", [1.0, 2.0])
    y = mg.exp(mg.sin(mg.cos(x) * mg.tan(x) + mg.sinh(x)) * mg.cosh(x))
    graph = draw((y * mg.sqrt(x)).sum(), formulas=True).graph
    place = next(v.place for v in graph.vertices if v.operation == "exp")
    assert f"v · %{place}" in {e.formula for e in graph.edges}
    assert next(v for v in graph.vertices if v.operation == "exp").formula.startswith(f"%{place} = ")


@pytest.mark.parametrize(
    ("norm", "color"), [(1.0, "#FFFFFF"), (0.0, "#FFFFFF"), (np.inf, style.NONFINITE), (np.nan, style.NONFINITE)]
)
def test_colors_of_norms(norm, color):
    assert style.norm_color(norm) == color


def test_smaller_norms_are_bluer_and_larger_ones_more_orange():
    red, blue = (lambda norm: int(style.norm_color(norm)[1:3], 16)), (lambda norm: int(style.norm_color(norm)[5:7], 16))
    assert blue(1e-6) > red(1e-6)
    assert red(1e6) > blue(1e6)
    assert red(1e-6) < red(1e-3) < 255
    assert blue(1e6) < blue(1e3) < 255


def test_graph_is_plain_data():
    x = leaf("x", [0.0, 1.0])
    graph = draw(layer(mg.sqrt(x)[None], leaf("w", [[1.0], [2.0]]), "dense"), grads=True, values=True).graph
    assert isinstance(graph, Graph)
    plain = json.loads(json.dumps(graph.to_dict(), allow_nan=False))
    assert [v["key"] for v in plain["vertices"]] == [v.key for v in graph.vertices]
    assert plain["vertices"][0]["gradient"]["norm"] == "inf"
    assert plain["shown"] == ["grads", "values"]


ROWS = {case.primitive: case for case in reversed(CASES) if not any(k in str(case) for k in ("(0,", ", 0"))}


@pytest.mark.parametrize("case", ROWS.values(), ids=str)
@pytest.mark.floating(all="ignore")
def test_every_primitive_is_drawn_with_its_values_gradients_and_formulas(case):
    arguments, _ = walks.arguments_of(case, case.operands())
    value = case.function(*arguments)
    outputs = [t for t in (value if isinstance(value, (tuple, list)) else [value]) if t.requires_grad]
    tape = mg.Tape(*outputs)
    graph = draw(tape, values=True, grads=True, formulas=True).graph
    drawn = {v.place: v for v in graph.vertices if v.place}
    place = {node: k for k, node in enumerate(tape, 1)}
    for t in outputs:
        if (found := drawn[place[t.node]].values) is not None:
            assert found.norm == pytest.approx(np.linalg.norm(np.ravel(t.numpy())))
    gradients = pull(tape.nodes, seeds(tape.outputs, True)[0])
    for node in tape.leaves:
        if node in gradients:
            assert drawn[place[node]].gradient.norm == pytest.approx(np.linalg.norm(np.ravel(gradients[node])))
    assert draw(tape, backward=True, values=True).source
