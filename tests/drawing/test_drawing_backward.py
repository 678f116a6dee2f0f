"""Pictures of the backward pass."""

import shutil

import numpy as np
import pytest

import minigrad as mg
from minigrad import fused, nn
from minigrad.drawing import draw
from minigrad.drawing.render import graphviz_program
from minigrad.drawing.render.graphviz_program import layout


def leaf(name, *shape, label=None):
    return mg.Tensor(np.linspace(0.5, 2, int(np.prod(shape))).reshape(shape), requires_grad=True).named(name, label)


def network():
    w1, w2 = leaf("w1", 3, 4, label="W₁"), leaf("w2", 4, 2, label="W₂")
    h = mg.tanh(np.ones((5, 3)) @ w1).named("h")
    return w1, w2, ((h @ w2) ** 2).mean().named("l")


def by_label(graph):
    return {v.label: v for v in graph.vertices if v.label}


def test_gradients_of_leaves_have_values():
    w1, w2, loss = network()
    graph = draw(loss, backward=True, values=True).graph
    loss.backward()
    for label, t in {"dl/dW₁": w1, "dl/dW₂": w2}.items():
        vertex = by_label(graph)[label]
        assert (vertex.kind, vertex.phase) == ("output", "backward")
        assert vertex.values.norm == pytest.approx(np.linalg.norm(t.grad.numpy()))


def test_drawing_does_not_change_the_tape():
    w1, _, loss = network()
    before = [(node.serial, node.scope, getattr(node, "name", None)) for node in mg.Tape(loss)]
    draw(loss, backward=True)
    assert [(node.serial, node.scope, getattr(node, "name", None)) for node in mg.Tape(loss)] == before
    assert w1.grad is None
    loss.backward()


def test_saved_values_are_links_between_the_passes():
    _, _, loss = network()
    graph = draw(loss, backward=True).graph
    phase = {v.key: v.phase for v in graph.vertices}
    for edge in graph.edges:
        crosses = phase[edge.source] != phase[edge.target]
        assert crosses == (edge.kind == "saved"), edge
        assert not crosses or phase[edge.source] == "forward"
    labels = {v.key: v.label for v in graph.vertices}
    assert {labels[e.source] for e in graph.edges if e.kind == "saved"} == {"h", "W₂", ""}


def test_gradients_have_the_height_and_color_of_their_values():
    _, _, loss = network()
    picture = draw(loss, backward=True)
    named = by_label(picture.graph)
    assert named["dl/dh"].gradient_of == named["h"].key
    assert named["dl/dh"].color == named["h"].color
    assert f"{{ rank=same; {named['h'].key}; {named['dl/dh'].key} }}" in picture.source


def recurrent():
    cell, head, x, h = nn.GRUCell(3, 4, rng=0), nn.Linear(4, 2, rng=0), np.ones((5, 4, 3)), None
    cell._take_name("cell")
    head._take_name("head")
    for t in range(4):
        h = cell(x[:, t]) if h is None else cell(x[:, t], h)
    return fused.softmax_cross_entropy(head(h), np.zeros(5, int)).named("loss")


def place_of(picture, key):
    return next(v.phase for v in picture.graph.vertices if v.key == key)


def batch_norm_of(x):
    mu = x.mean(axis=0).named("mu")
    var = ((x - mu) ** 2).mean(axis=0).named("var")
    return ((x - mu) / mg.sqrt(var + 0.5)).named("y")


@pytest.mark.parametrize("program", ["dot", graphviz_program.PURE])
@pytest.mark.parametrize("make", [lambda: network()[-1], recurrent, lambda: batch_norm_of(leaf("x", 8, 5))])
def test_forward_pass_is_on_the_left(make, program):
    path = shutil.which("dot") if program == "dot" else graphviz_program.pure()
    if path is None:
        pytest.skip(f"{program} is not installed")
    picture = draw(make(), backward=True, depth=1)
    upwards = [e for e in picture.graph.edges if e.kind == "operand" and place_of(picture, e.target) == "backward"]
    assert picture.source.count('dir="back"') == len(upwards)
    rows = [line.split() for line in layout(picture.source, "plain", path).decode().splitlines()]
    place = {row[1]: (float(row[2]), float(row[3])) for row in rows if row[0] == "node"}
    side = {"forward": [], "backward": []}
    for v in picture.graph.vertices:
        side[v.phase].append(place[v.key][0])
    assert max(side["forward"]) < min(side["backward"])
    pairs = [(v.key, v.gradient_of) for v in picture.graph.vertices if v.gradient_of]
    assert all(place[gradient][1] == pytest.approx(place[value][1], abs=0.2) for gradient, value in pairs)


def test_formulas_of_batch_norm():
    x, gamma, beta = leaf("x", 8, 5), leaf("gamma", 5, label="γ"), leaf("beta", 5, label="β")
    mu = x.mean(axis=0).named("mu", "μ")
    var = ((x - mu) ** 2).mean(axis=0).named("var", "σ²")
    xhat = ((x - mu) / mg.sqrt(var + 0.5)).named("xhat", "x̂")
    y = (gamma * xhat + beta).named("y")
    formulas = {label: v.formula for label, v in by_label(draw(y, backward=True).graph).items()}
    assert formulas["dl/dx̂"] == "dl/dy · γ"
    assert formulas["dl/dγ"] == "sum(dl/dy · x̂, axis=0)"
    assert formulas["dl/dβ"] == "sum(dl/dy, axis=0)"
    assert formulas["dl/dσ²"] == "sum(−dl/dx̂ · x̂ / √(σ² + ½), axis=0) / (2 · √(σ² + ½))"
    assert formulas["dl/dx"].endswith("+ spread(dl/dμ / 8)")


def test_gradient_of_several_values_has_all_their_names():
    a, b = leaf("a", 2), leaf("b", 2)
    y = (a + b).named("y")
    named = by_label(draw(y, backward=True, grads=[1.0, 2.0]).graph)
    assert "dl/dy = dl/db = dl/da" in named
    assert "dl/dout" in by_label(draw(a * b, backward=True).graph)
    assert "dl/dl = 1" in by_label(draw(network()[-1], backward=True).graph)


def test_backward_pass_has_the_scopes_of_the_forward_pass():
    x, w = leaf("x", 4, 3), leaf("weight", 3, 3)
    with mg.scope("first"):
        h = mg.tanh(x @ w)
    with mg.scope("second"):
        y = mg.exp(h)
    graph = draw(y.sum(), backward=True).graph
    assert {"forward/first", "forward/second", "backward/first", "backward/second"} <= {c.scope for c in graph.clusters}
    folded = draw(y.sum(), backward=True, depth=1).graph
    assert {v.label for v in folded.vertices if v.kind == "module"} == {"first", "second"}


def test_saved_outputs_stay_in_the_forward_pass():
    x = leaf("x", 3, 2)
    q, r = np.linalg.qr(x)
    graph = draw((q * q).sum() + r.sum(), backward=True).graph
    assert {v.phase for v in graph.vertices if v.operation == "select"} == {"forward"}


def test_released_graph_raises_with_a_hint():
    loss = network()[-1]
    loss.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        draw(loss, backward=True)


def test_source_of_the_backward_pass_is_reproducible():
    assert draw(network()[-1], backward=True).source == draw(network()[-1], backward=True).source
