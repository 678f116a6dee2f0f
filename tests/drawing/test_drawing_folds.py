"""Levels of pictures: folded scopes, chains and blocks."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional, fused, nn
from minigrad.drawing import draw
from minigrad.drawing.graph.folding import LIMIT


def leaf(name, *shape):
    return mg.Tensor(np.full(shape, 0.5), requires_grad=True).named(name)


class Block(nn.Module):
    def __init__(self, width, rng):
        self.inner, self.outer = nn.Linear(width, width, rng=rng), nn.Linear(width, width, rng=rng)

    def forward(self, x):
        return x + self.outer(functional.relu(self.inner(x)))


class Network(nn.Module):
    def __init__(self, blocks=3, width=4):
        rng = np.random.default_rng(0)
        self.stem = nn.Linear(3, width, rng=rng)
        self.blocks = nn.Sequential(*(Block(width, rng) for _ in range(blocks)))
        self.head = nn.Linear(width, 2, rng=rng)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def loss(**sizes):
    return (Network(**sizes)(np.ones((5, 3))) ** 2).sum().named("loss")


def modules(graph):
    return {v.scope: v for v in graph.vertices if v.kind == "module"}


def is_acyclic(graph):
    into = {v.key: {e.source for e in graph.edges if e.target == v.key} for v in graph.vertices}
    done: set[str] = set()
    while ready := [key for key, before in into.items() if key not in done and before <= done]:
        done |= set(ready)
    return len(done) == len(into)


def test_depth_folds_scopes_into_one_node_each():
    graph = draw(loss(), depth=1).graph
    assert list(modules(graph)) == ["stem", "blocks", "head"]
    assert [(e.source, e.target) for e in graph.edges if e.kind == "operand"][:2] == [
        (modules(graph)["stem"].key, modules(graph)["blocks"].key),
        (modules(graph)["blocks"].key, modules(graph)["head"].key),
    ]
    assert list(modules(draw(loss(), depth=2).graph)) == ["blocks/0", "blocks/1", "blocks/2"]
    assert is_acyclic(graph)


def test_folded_scope_lists_its_parameters():
    network = Network()
    stem = modules(draw(network(np.ones((5, 3))), depth=1).graph)["stem"]
    assert "16 parameters" in "".join(stem.details)
    assert "weight (3, 4), bias (4,)" in stem.details
    assert stem.shape == "(5, 4)"
    graph = draw(network(np.ones((5, 3)))).graph
    counted = {c.scope: c.parameters for c in graph.clusters}
    assert counted["blocks"] == sum(p.size for p in network.blocks.parameters())
    assert counted["blocks/1"] == sum(p.size for p in network.blocks[1].parameters())


def test_scopes_are_folded_and_unfolded_by_name():
    assert set(modules(draw(loss(), depth=1, unfold=["blocks.1"]).graph)) == {
        "stem", "blocks/0", "blocks/1/inner", "blocks/1/outer", "blocks/2", "head",
    }  # fmt: skip
    assert set(modules(draw(loss(), fold=["inner", "head"]).graph)) == {
        "blocks/0/inner", "blocks/1/inner", "blocks/2/inner", "head",
    }  # fmt: skip
    assert set(modules(draw(loss(), fold="blocks/2").graph)) == {"blocks/2"}


def test_unknown_scope_suggests_similar_ones():
    with pytest.raises(ValueError, match=r"no scope is called 'block\.1'; there are 'blocks\.1'"):
        draw(loss(), unfold=["block.1"])
    with pytest.raises(ValueError, match="this graph has no scopes"):
        draw(leaf("x", 2) * 2.0, fold=["layer"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"depth": 0}, "depth=0"), ({"depth": "all"}, "depth='all'"), ({"collapse": "all"}, "collapse='all'")],
)
def test_invalid_options(wrong, said):
    with pytest.raises(ValueError, match=said):
        draw(loss(), **wrong)


def test_data_stay_outside_the_scope_that_they_enter():
    graph = draw(loss(), depth=1).graph
    constant = next(v for v in graph.vertices if v.kind == "constant")
    assert constant.cluster is None
    assert [e.target for e in graph.edges if e.source == constant.key] == [modules(graph)["stem"].key]


def test_other_constants_are_part_of_a_folded_scope():
    with mg.scope("dense"):
        y = mg.tanh((np.ones((5, 3)) @ leaf("w", 3, 4)) * np.ones((5, 4)))
    graph = draw(y.sum(), depth=1).graph
    assert [v.shape for v in graph.vertices if v.kind == "constant"] == ["(5, 3)"]


def test_folded_scope_shows_its_output():
    x = leaf("x", 5, 3)
    with mg.scope("norm"):
        y = fused.layer_norm(x, leaf("gamma", 3), leaf("beta", 3))[0]
    graph = draw((y * y).sum(), depth=1, backward=True).graph
    assert next(v.shape for v in graph.vertices if v.kind == "module") == "(5, 3)"


def test_each_run_of_a_scope_is_drawn_separately():
    cell, x = Block(4, np.random.default_rng(0)), leaf("x", 2, 4)
    cell._take_name("cell")
    y = cell(cell(x) * 2.0)
    graph = draw(y, depth=1).graph
    assert [v.label for v in graph.vertices if v.kind == "module"] == ["cell", "cell"]
    assert [c.key for c in graph.clusters if c.depth == 1] == ["cell", "cell#2"]
    assert is_acyclic(graph)
    shared = [v.name for v in graph.vertices if v.kind == "parameter"]
    assert sorted(shared) == ["bias", "bias", "weight", "weight"]  # used by both runs, so in neither


def test_chains_of_elementwise_operations_are_merged():
    x, w = leaf("x", 3), leaf("w", 3)
    h = mg.tanh(mg.exp(x) * w).named("h")
    y = (mg.sin(h) + h * h).sum()
    graph = draw(y, collapse="elementwise").graph
    # exp, multiply and tanh are one; sin and h · h flow into the sum once each; h is used twice
    assert [(v.formula, v.nodes) for v in graph.vertices if v.operation] == [
        ("tanh(exp(x) · w)", 3), ("sin(h) + h²", 3), ("sum(sin(h) + h²)", 1)
    ]  # fmt: skip
    assert is_acyclic(graph)


def test_chains_keep_names_outputs_and_scopes():
    x = leaf("x", 3)
    with mg.scope("a"):
        h = mg.exp(x)
    y = mg.sin(h)
    z = mg.cos(y).named("z")
    graph = draw(mg.tan(z), y, collapse="elementwise").graph
    assert [v.operation for v in graph.vertices if v.operation] == ["exp", "sin", "cos", "tan"]


def test_large_graphs_are_folded_with_a_note():
    graph = draw(loss(blocks=20)).graph
    assert len(graph.vertices) <= LIMIT
    assert "scopes at depth 3 were folded" in graph.notes[0]
    assert len(draw(loss(blocks=20), limit=None).graph.vertices) > LIMIT
    assert not draw(loss()).graph.notes


def test_without_scopes_blocks_follow_the_tape():
    x, y = leaf("x", 2), leaf("y", 2)
    z = x
    for k in range(1000):
        z = mg.sin(z) if k % 7 else z * y
    picture = draw(z.sum(), grads=True)
    graph = picture.graph
    assert len(graph.vertices) <= LIMIT
    assert is_acyclic(graph)
    assert sum(v.nodes for v in graph.vertices) == len(mg.Tape(z.sum()))
    assert [v.label for v in graph.vertices if v.kind == "input"] == []
    assert "too many for one page" in graph.notes[0]
    assert "too many for one page" in picture.source.replace("\\l", " ")


def test_many_leaves_are_folded_too():
    parts = [leaf(f"x{k}", 2) for k in range(500)]
    graph = draw(sum(parts[1:], parts[0]), limit=20).graph
    assert len(graph.vertices) <= 25
    assert is_acyclic(graph)


def test_blocks_of_folded_scopes_have_no_cycles():
    graph = draw(loss(blocks=20), depth=2, limit=8).graph
    assert len(graph.vertices) <= 10
    assert is_acyclic(graph)


def test_pages_contain_every_node():
    picture = draw(loss(), depth=1)
    whole = picture.whole()
    assert len([v for v in whole.vertices if v.place]) == len(mg.Tape(loss()))
    assert {c.scope for c in whole.clusters if c.folded} >= {"stem", "blocks", "head"}
    assert not any(v.kind == "module" for v in whole.vertices)


def test_single_used_output_is_merged_with_its_node():
    x = leaf("x", 2, 3)
    graph = draw(fused.softmax_cross_entropy(x, np.array([0, 1])).named("loss")).graph
    assert [(v.label, v.formula) for v in graph.vertices if v.operation] == [
        ("loss", "softmax_cross_entropy(x, c1).loss")
    ]


def test_folded_source_is_reproducible():
    assert draw(loss(), depth=1).source == draw(loss(), depth=1).source
