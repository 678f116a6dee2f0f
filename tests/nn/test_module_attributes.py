"""Attributes of modules: parameters are not lost silently, and unregistered contents are warned of."""

import copy
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

LAYERS = {
    "Linear": (lambda: nn.Linear(2, 3, rng=0), "weight"),
    "Linear.bias": (lambda: nn.Linear(2, 3, rng=0), "bias"),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 3, rng=0), "weight"),
    "BatchNorm": (lambda: nn.BatchNorm(3), "gamma"),
    "LayerNorm": (lambda: nn.LayerNorm(3), "gamma"),
    "Embedding": (lambda: nn.Embedding(4, 2, rng=0), "weight"),
    "LSTM": (lambda: nn.LSTM(2, 3, rng=0), "weight_ih_l0"),
    "PReLU": (lambda: nn.PReLU(), "weight"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_assigned_array_becomes_a_new_parameter(name):
    make, attribute = LAYERS[name]
    shape = getattr(make(), attribute).shape
    for value in (
        np.full(shape, 2),
        np.full(shape, 2.0),
        np.full(shape, 2.0, np.float32),
        mg.Tensor(np.full(shape, 2.0)),
    ):
        layer = make()
        optimizer, before = optim.SGD(layer.parameters(), lr=0.1), getattr(layer, attribute)
        setattr(layer, attribute, value)
        new = getattr(layer, attribute)
        assert new.requires_grad
        assert new.is_leaf
        assert dict(layer.named_parameters())[attribute] is new is not value
        assert new.dtype == before.dtype
        np.testing.assert_array_equal(new.numpy(), np.full(shape, 2.0))
        if isinstance(value, np.ndarray):
            value[...] = 7
            np.testing.assert_array_equal(new.numpy(), np.full(shape, 2.0))
        for p in (*layer.parameters(), before):
            p.grad = np.ones(p.shape)
        with pytest.raises(ValueError, match="was replaced after the optimizer was made"):
            optimizer.step()
        optim.SGD(layer.parameters(), lr=0.5).step()
        np.testing.assert_array_equal(new.numpy(), np.full(shape, 1.5))


@pytest.mark.parametrize("name", LAYERS)
def test_assigning_what_cannot_be_a_parameter_is_an_error(name):
    make, attribute = LAYERS[name]
    layer = make()
    present = getattr(layer, attribute)
    for value in ([0.0], 1.0, "w", {}, lambda: 0, mg.Tensor(np.zeros(present.shape, complex)), np.array(["a"])):
        with pytest.raises(TypeError, match=rf"\.{attribute} is a parameter[\s\S]*no_grad[\s\S]*requires_grad=True"):
            setattr(layer, attribute, value)
    for value in (np.zeros((7, 7)), mg.Tensor(np.zeros((7, 7))), present.detach()[None]):
        with pytest.raises(ValueError, match=r"the new value has shape"):
            setattr(layer, attribute, value)
        assert getattr(layer, attribute) is present
    new = mg.Tensor(np.zeros(present.shape), requires_grad=True)
    setattr(layer, attribute, new)
    assert dict(layer.named_parameters())[attribute] is new
    setattr(layer, attribute, None)
    assert attribute not in dict(layer.named_parameters())
    setattr(layer, attribute, [0.0])  # it is no parameter any more
    assert getattr(layer, attribute) == [0.0]


@pytest.mark.parametrize("copied", [lambda x: x, copy.deepcopy])
def test_a_frozen_parameter_is_shared_and_stays_frozen(copied):
    a, b = copied((nn.Linear(2, 2, rng=0).requires_grad_(False), nn.Linear(2, 2, rng=1)))
    b.weight = a.weight
    assert b.weight is a.weight
    assert not b.weight.requires_grad
    a.requires_grad_(True)
    assert b.weight.requires_grad


def test_a_frozen_parameter_may_be_replaced_by_a_constant():
    layer = nn.Linear(2, 2, rng=0).requires_grad_(False)
    layer.weight = mg.Tensor(np.eye(2))
    np.testing.assert_array_equal(layer(np.ones((1, 2))).numpy(), 1.0 + layer.bias.numpy()[None])
    assert layer.weight in list(layer.parameters())
    with pytest.raises(TypeError, match="cannot be one"):
        layer.weight = [1.0]


def test_a_manual_step_that_assigns_new_parameters():
    layer = nn.Linear(2, 1, rng=0)
    values = []
    for _ in range(3):
        layer(np.ones((3, 2))).sum().backward()
        with mg.no_grad():
            layer.weight = layer.weight - 0.1 * layer.weight.grad
        values.append(layer.weight.numpy().copy())
    np.testing.assert_allclose(np.diff(values, axis=0), -0.3, rtol=1e-12)


def test_a_layer_as_a_function_of_its_parameters():
    layer = nn.Linear(2, 3, rng=0)

    def function(x, weight, bias):
        layer.weight, layer.bias = weight, bias
        return layer(x)

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((4, 2), (2, 3), (3,))]
    assert mg.verify.check_gradients(function, *arrays).ok


def test_results_may_temporarily_replace_a_parameter():
    """As in MAML: the loss after a step is differentiated with respect to the parameter before it."""
    layer = nn.Linear(2, 1, rng=0)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    before = layer.weight
    layer.weight = before * 2
    layer(np.ones((3, 2))).sum().backward()
    with pytest.raises(ValueError, match="was replaced"):
        optimizer.step()
    layer.weight = before
    optimizer.step()
    assert before.grad is not None


def dense():
    return nn.Linear(2, 2, rng=0)


def weight():
    return mg.Tensor(np.ones(2), requires_grad=True)


@dataclass
class Record:
    layer: object


Pair = namedtuple("Pair", "layer size")
CONTAINERS = {
    "a list": (lambda: [dense()], r"layers is a list with 1 .*layers\[0\]: Linear[\s\S]*ModuleList"),
    "a tuple": (lambda: (dense(), dense()), r"layers is a tuple with 2"),
    "a dictionary": (lambda: {"a": dense()}, r"layers\['a'\]: Linear[\s\S]*ModuleDict"),
    "an ordered dictionary": (lambda: OrderedDict(a=dense()), r"layers\['a'\]: Linear"),
    "a set": (lambda: {dense()}, "layers is a set with 1"),
    "a deque": (lambda: deque([dense()]), "layers is a deque"),
    "a list of lists": (lambda: [[dense()], [dense()]], r"with 2 .*layers\[1\]\[0\]: Linear"),
    "a dictionary of lists": (lambda: {"a": [dense()]}, r"layers\['a'\]\[0\]: Linear"),
    "a named tuple": (lambda: Pair(dense(), 2), "Linear"),
    "a record": (lambda: Record(dense()), r"layers\.layer: Linear"),
    "a namespace": (lambda: SimpleNamespace(a=dense()), r"layers\.a: Linear"),
    "parameters": (lambda: [weight(), weight()], r"with 2 .*layers\[0\]: Tensor[\s\S]*setattr"),
    "parameters by name": (lambda: {"w": weight()}, r"layers\['w'\]: Tensor"),
    "a layer with a buffer": (lambda: [nn.BatchNorm(2).requires_grad_(False)], "BatchNorm"),
    "a layer with a mode": (lambda: [nn.Dropout(0.5)], "Dropout"),
    "a whole network": (lambda: [nn.Sequential(dense(), nn.ReLU())], "Sequential"),
}


class Net(nn.Module):
    def __init__(self, layers):
        self.layers = layers


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("inside", [False, True])
def test_contents_of_plain_containers_are_warned_of_once(name, inside):
    make, says = CONTAINERS[name]
    net = nn.Sequential(Net(make()), nn.Linear(2, 2, rng=0)) if inside else Net(make())
    with pytest.warns(UserWarning, match=rf"^Net\.[\s\S]*{says}") as caught:
        list(net.parameters())
    assert len(caught) == 1
    assert caught[0].filename == __file__
    list(net.parameters())
    list(net.named_parameters())


FINE = {
    "numbers": lambda: [1, 2.0, "three", None, np.ones(3)],
    "layers without a state": lambda: [nn.ReLU(), nn.Tanh()],
    "constants": lambda: [mg.Tensor([1.0])],
    "results": lambda: [weight() * 2],
    "a large list": lambda: list(range(10**6)),
    "a module list": lambda: nn.ModuleList([dense()]),
    "functions": lambda: [mg.exp, len],
    "classes": lambda: [nn.Linear, Record],
}


@pytest.mark.parametrize("name", FINE)
def test_other_contents_cause_no_warning(name):
    list(Net(FINE[name]()).parameters())


def test_contents_that_are_also_attributes_cause_no_warning():
    class Both(nn.Module):
        def __init__(self):
            self.first, self.scale = dense(), weight()
            self.order = [self.first, self.scale]
            self.by_name = {"first": self.first}

    assert len(list(Both().parameters())) == 3


def test_cyclic_containers():
    net = Net([])
    net.layers.append(net.layers)
    net.layers.append({"net": net})
    assert list(net.parameters()) == []


BAD_STATES = {
    "None": (lambda s: None, "got a NoneType"),
    "an array": (lambda s: np.ones(3), "got a ndarray"),
    "complex numbers": (lambda s: {**s, "weight": s["weight"] * 1j}, "weight: expected dtype float64, got complex128"),
    "texts": (lambda s: {**s, "bias": np.array(["a", "b", "c"])}, "bias: expected dtype"),
    "objects": (lambda s: {**s, "bias": [None] * 3}, "bias: expected dtype float64, got object"),
    "nothing": (lambda s: {**s, "bias": None}, r"bias: expected shape \(3,\), got \(\)"),
    "another shape": (lambda s: {**s, "bias": np.ones(2)}, r"bias: expected shape \(3,\), got \(2,\)"),
    "a name more": (lambda s: {**s, "z": 1.0}, "unexpected: z"),
    "a name less": (lambda s: {"weight": s["weight"]}, r"missing: bias \(3,\)"),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_a_wrong_state_is_an_error_and_changes_nothing(name):
    change, says = BAD_STATES[name]
    layer = nn.Linear(2, 3, rng=0)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=says):
        layer.load_state_dict(change({"weight": np.zeros((2, 3)), "bias": np.zeros(3)}))
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_errors_for_habits_of_pytorch_have_hints():
    with pytest.raises(ValueError, match=r"momentum=None.*weight of a batch"):
        nn.BatchNorm(2, momentum=None)
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        with pytest.raises(TypeError, match=r"lengths=.*Pad them at the end[\s\S]*mask"):
            kind(2, 3, rng=0)(np.zeros((2, 4, 2)), lengths=[4, 2])
    w = weight()
    assert mg.draw([w * 2, w * 3]).source == mg.draw(w * 2, w * 3).source
