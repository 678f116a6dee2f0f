"""The table of a model: shapes, parameters and multiply-adds counted by hand."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import fused, nn
from minigrad.engine.primitive import REGISTRY


class Convolution(nn.Module):
    def __init__(self, *shape, transpose=False, **options):
        self.kernel = mg.Tensor(np.ones(shape), requires_grad=True)
        self.options, self.function = options, mg.conv_transpose2d if transpose else mg.conv2d

    def forward(self, x):
        return self.function(x, self.kernel, **self.options)


class Attention(nn.Module):
    """Two inputs, products without parameters, and a layer that is used twice."""

    def __init__(self):
        self.project = nn.Linear(4, 4)
        self.unused = nn.Linear(2, 2)

    def forward(self, x, y):
        weights = np.einsum("nid,njd->nij", self.project(x), self.project(y))
        return weights @ y, weights


def test_network():
    net = nn.Sequential(nn.Linear(10, 6), nn.BatchNorm(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 2, bias=False))
    table = net.summary((7, 10))
    assert [(row.name, row.kind, row.shape, row.parameters, row.multiply_adds) for row in table.rows] == [
        ("", "Sequential", (7, 2), 0, 0),
        ("0", "Linear", (7, 6), 66, 7 * 10 * 6),
        ("1", "BatchNorm", (7, 6), 12, 0),
        ("2", "ReLU", (7, 6), 0, 0),
        ("3", "Dropout", (7, 6), 0, 0),
        ("4", "Linear", (7, 2), 12, 7 * 6 * 2),
    ]
    assert (table.parameters, table.trainable, table.bytes) == (90, 90, 720)
    assert table.multiply_adds == sum(row.multiply_adds for row in table.rows) == 504


@pytest.mark.parametrize(
    ("layer", "shape", "out", "cost"),
    [
        (Convolution(3, 3, 2, 5), (2, 8, 8, 2), (2, 6, 6, 5), 2 * 36 * 5 * 9 * 2),
        (Convolution(3, 3, 2, 6, groups=2, padding=1), (1, 4, 4, 4), (1, 4, 4, 6), 16 * 6 * 9 * 2),
        (Convolution(3, 3, 1, 4, groups=4, stride=2), (1, 7, 7, 4), (1, 3, 3, 4), 9 * 4 * 9),
    ],
)
def test_convolutions(layer, shape, out, cost):
    (row,) = layer.summary(shape).rows
    assert (row.shape, row.multiply_adds) == (out, cost)


def test_transposed_convolution_costs_as_much_as_its_transpose():
    layer = Convolution(3, 3, 5, 2, transpose=True, stride=2)
    (row,) = layer.summary((1, 4, 4, 2 if layer.kernel.shape[-1] == 2 else 5)).rows
    back = Convolution(3, 3, 5, 2, stride=2)
    (other,) = back.summary((1, *row.shape[1:])).rows
    assert other.shape == (1, 4, 4, 2)
    assert row.multiply_adds == other.multiply_adds


def test_several_inputs_and_products_without_parameters():
    table = Attention().summary([(2, 3, 4), (2, 5, 4)])
    own, project, unused = table.rows
    assert own.shape == [(2, 3, 4), (2, 3, 5)]
    assert own.multiply_adds == 2 * 3 * 5 * 4 + 2 * 3 * 4 * 5
    assert project.multiply_adds == 2 * (3 + 5) * 4 * 4
    assert (unused.shape, unused.parameters, unused.multiply_adds) == (None, 6, 0)
    assert "(2, 3, 4), (2, 3, 5)" in str(table)
    assert "not called" in str(table)


def test_attention():
    table = nn.MultiheadAttention(16, 4).summary([(2, 5, 16)] * 3)
    project, heads = 2 * 5 * 16 * 16, 2 * 4 * 5 * 5 * (4 + 4)
    assert table.multiply_adds == 4 * project + heads


@pytest.mark.parametrize(("cell", "gates"), [(fused.lstm_cell, 4), (fused.gru_cell, 3)])
def test_recurrent_cells(cell, gates):
    class Step(nn.Module):
        def __init__(self):
            self.weight_ih = mg.Tensor(np.ones((3, gates * 5)), requires_grad=True)
            self.weight_hh = mg.Tensor(np.ones((5, gates * 5)), requires_grad=True)

        def forward(self, x, *state):
            return cell(x, *state, self.weight_ih, self.weight_hh)

    shapes = [(2, 3), (2, 5), (2, 5)] if gates == 4 else [(2, 3), (2, 5)]
    assert Step().summary(shapes).multiply_adds == 2 * (3 + 5) * gates * 5


@pytest.mark.parametrize(("layer", "gates"), [(nn.RNN, 1), (nn.LSTM, 4), (nn.GRU, 3)])
def test_recurrent_layers(layer, gates):
    assert layer(3, 5, bidirectional=True).summary((2, 7, 3)).multiply_adds == 2 * 7 * 2 * (3 + 5) * gates * 5


def test_shared_and_frozen_parameters():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    net[0].bias.requires_grad = False
    table = net.summary((1, 3))
    assert [row.parameters for row in table.rows] == [0, 12, 3]
    assert (table.parameters, table.trainable) == (15, 12)
    assert "12 trainable, 3 frozen; 120 B" in str(table)
    assert table.multiply_adds == 18


def test_frozen_layers_have_the_same_cost():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    cost = net.summary((1, 3)).multiply_adds
    net.requires_grad_(False)
    with mg.no_grad():
        assert net.summary((1, 3)).multiply_adds == cost == 20
    assert not any(p.requires_grad for p in net.parameters())


def test_the_model_is_not_changed():
    net = nn.Sequential(nn.Linear(3, 2, dtype="float32"), nn.BatchNorm(2, dtype="float32"), nn.Dropout(rng=0))
    calls = []
    net[0].register_forward_hook(lambda module, inputs, out: calls.append(out))
    state = {name: value.copy() for name, value in net.state_dict().items()}
    nn.summary(net, (4, 3))
    assert net.training
    assert not calls
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    assert all(p.grad is None for p in net.parameters())
    net(np.ones((4, 3), np.float32))
    assert len(calls) == 1


def test_integer_inputs():
    class Lookup(nn.Module):
        def __init__(self):
            self.table = mg.Tensor(np.ones((9, 4)), requires_grad=True)

        def forward(self, ids):
            return mg.take(self.table, ids, axis=0)

    (row,) = Lookup().summary((2, 5), dtype=int).rows
    assert (row.shape, row.parameters, row.multiply_adds) == ((2, 5, 4), 36, 0)


def test_containers_have_no_shape():
    class Chain(nn.Module):
        def __init__(self):
            self.steps = nn.ModuleList([nn.Linear(2, 2)])

        def forward(self, x):
            return self.steps[0](self.steps[0](x))

    table = Chain().summary((1, 2))
    assert [(row.name, row.shape) for row in table.rows] == [("", (1, 2)), ("steps", []), ("steps.0", (1, 2))]
    assert table.multiply_adds == 8
    assert str(table).splitlines()[3] == "  steps: ModuleList"


def test_text():
    text = str(nn.Sequential(nn.Sequential(nn.Linear(1000, 50)), nn.ReLU()).summary((3, 1000)))
    lines = text.splitlines()
    assert max(map(len, lines[:-1])) == len(lines[0]) == len(lines[1])
    assert [line.split()[-1] for line in lines[-2:]] == ["150,000", "parameters"]
    assert lines[3].startswith("  0: Sequential")
    assert lines[4].startswith("    0: Linear")
    assert "50,050" in lines[4]
    assert "150,000" in lines[4]


def test_which_primitives_are_counted():
    assert {name for name, p in REGISTRY.items() if p.multiply_adds is not None} == {
        "attention", "rnn", "lstm", "gru", "matmul", "linear", "contract", "convolve", "convolve_input",
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(0, 3), [(2, 3), "x"], (2.0, 3)])
def test_invalid_shapes(shape):
    with pytest.raises(ValueError, match=r"summary\(input_shape=.*positive sizes"):
        nn.Linear(3, 2).summary(shape)


@pytest.mark.parametrize("argument", [np.ones((2, 3)), mg.Tensor(np.ones((2, 3))), 3, None])
def test_input_shape_must_be_a_shape(argument):
    for summarized in (lambda: nn.summary(nn.Linear(3, 2), argument), lambda: nn.Linear(3, 2).summary(argument)):
        with pytest.raises(TypeError, match=r"summary\(input_shape=.*give (the shape|a tuple)") as caught:
            summarized()
        assert ("x.shape, (2, 3)" in str(caught.value)) is hasattr(argument, "shape")


def test_a_shape_that_does_not_fit():
    with pytest.raises(ValueError, match=r"layer '0', Linear.*expected x with 3 features"):
        nn.Sequential(nn.Linear(3, 2)).summary((1, 4))
