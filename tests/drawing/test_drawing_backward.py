"""The gradient's own graph."""

import shutil

import numpy as np
import pytest

import minigrad as mg
from minigrad import fused, nn
from minigrad.drawing import draw, engine
from minigrad.drawing.engine import layout


def leaf(name, *shape, label=None):
    return mg.Tensor(np.linspace(0.5, 2, int(np.prod(shape))).reshape(shape), requires_grad=True).named(name, label)


def network():
    w1, w2 = leaf("w1", 3, 4, label="W₁"), leaf("w2", 4, 2, label="W₂")
    h = mg.tanh(np.ones((5, 3)) @ w1).named("h")
    return w1, w2, ((h @ w2) ** 2).mean().named("l")


def by_label(graph):
    return {v.label: v for v in graph.vertices if v.label}


def test_the_gradients_of_leaves_are_computed_in_the_picture():
    w1, w2, loss = network()
    graph = draw(loss, backward=True, values=True).graph
    loss.backward()
    for label, t in {"dl/dW₁": w1, "dl/dW₂": w2}.items():
        vertex = by_label(graph)[label]
        assert (vertex.kind, vertex.phase) == ("output", "backward")
        assert vertex.values.norm == pytest.approx(np.linalg.norm(t.grad.numpy()))


def test_drawing_leaves_the_tape_and_the_gradients_alone():
    w1, _, loss = network()
    before = [(line.serial, line.scope, getattr(line, "name", None)) for line in mg.Tape(loss)]
    draw(loss, backward=True)
    assert [(line.serial, line.scope, getattr(line, "name", None)) for line in mg.Tape(loss)] == before
    assert w1.grad is None
    loss.backward()


def test_saved_values_are_links_from_the_forward_to_the_backward_pass():
    _, _, loss = network()
    graph = draw(loss, backward=True).graph
    phase = {v.key: v.phase for v in graph.vertices}
    for edge in graph.edges:
        crosses = phase[edge.source] != phase[edge.target]
        assert crosses == (edge.kind == "saved"), edge
        assert not crosses or phase[edge.source] == "forward"
    labels = {v.key: v.label for v in graph.vertices}
    assert {labels[e.source] for e in graph.edges if e.kind == "saved"} == {"h", "W₂", ""}


def test_gradients_stand_beside_their_values_in_their_colors():
    _, _, loss = network()
    picture = draw(loss, backward=True)
    named = by_label(picture.graph)
    assert named["dl/dh"].gradient_of == named["h"].key
    assert named["dl/dh"].hue == named["h"].hue
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


@pytest.mark.parametrize("program", ["dot", engine.PURE])
@pytest.mark.parametrize("make", [lambda: network()[-1], recurrent, lambda: batch_norm_of(leaf("x", 8, 5))])
def test_the_forward_pass_stands_on_the_left(make, program):
    path = shutil.which("dot") if program == "dot" else engine.pure()
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


def test_the_formulas_are_those_of_the_notes():
    x, gamma, beta = leaf("x", 8, 5), leaf("gamma", 5, label="γ"), leaf("beta", 5, label="β")
    mu = x.mean(axis=0).named("mu", "μ")
    var = ((x - mu) ** 2).mean(axis=0).named("var", "σ²")
    xhat = ((x - mu) / mg.sqrt(var + 0.5)).named("xhat", "x̂")
    y = (gamma * xhat + beta).named("y")
    told = {label: v.formula for label, v in by_label(draw(y, backward=True).graph).items()}
    assert told["dl/dx̂"] == "dl/dy · γ"
    assert told["dl/dγ"] == "sum(dl/dy · x̂, axis=0)"
    assert told["dl/dβ"] == "sum(dl/dy, axis=0)"
    assert told["dl/dσ²"] == "sum(−dl/dx̂ · x̂ / √(σ² + ½), axis=0) / (2 · √(σ² + ½))"
    assert told["dl/dx"].endswith("+ spread(dl/dμ / 8)")


def test_a_gradient_of_several_values_bears_all_their_names():
    a, b = leaf("a", 2), leaf("b", 2)
    y = (a + b).named("y")
    named = by_label(draw(y, backward=True, grads=[1.0, 2.0]).graph)
    assert "dl/dy = dl/db = dl/da" in named
    assert "dl/dout" in by_label(draw(a * b, backward=True).graph)
    assert "dl/dl = 1" in by_label(draw(network()[-1], backward=True).graph)


def test_the_backward_pass_has_the_scopes_of_the_lines_that_it_comes_from():
    x, w = leaf("x", 4, 3), leaf("weight", 3, 3)
    with mg.scope("first"):
        h = mg.tanh(x @ w)
    with mg.scope("second"):
        y = mg.exp(h)
    graph = draw(y.sum(), backward=True).graph
    assert {"forward/first", "forward/second", "backward/first", "backward/second"} <= {c.scope for c in graph.clusters}
    folded = draw(y.sum(), backward=True, depth=1).graph
    assert {v.label for v in folded.vertices if v.kind == "module"} == {"first", "second"}


def test_several_outputs_that_a_rule_kept_stay_in_the_forward_pass():
    x = leaf("x", 3, 2)
    q, r = np.linalg.qr(x)
    graph = draw((q * q).sum() + r.sum(), backward=True).graph
    assert {v.phase for v in graph.vertices if v.operation == "select"} == {"forward"}


def test_a_released_graph_is_refused_with_the_way_out():
    loss = network()[-1]
    loss.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        draw(loss, backward=True)


def test_the_same_model_gives_the_same_text():
    assert draw(network()[-1], backward=True).source == draw(network()[-1], backward=True).source
