import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import fused, nn, optim
from minigrad.nn import init
from minigrad.util.rng import generator

rng = np.random.default_rng(5)


class Scale(nn.Module):
    def __init__(self, size):
        self.factor = mg.Tensor(np.full(size, 2.0), requires_grad=True)

    def forward(self, x):
        return x * self.factor


class Network(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4), nn.ReLU())
        self.scale = Scale(4)
        self.head = nn.Linear(4, 2, bias=False, rng=1)

    def forward(self, x):
        return self.head(self.scale(self.body(x)))


NAMES = ["body.0.weight", "body.0.bias", "body.1.gamma", "body.1.beta", "scale.factor", "head.weight"]


def test_traversal():
    net = Network()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["body.1.running_mean", "body.1.running_var"]
    assert [name for name, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "body.2", "scale", "head"]
    assert [name for name, _ in net.named_children()] == ["body", "scale", "head"]
    assert list(net.parameters()) == [p for _, p in net.named_parameters()]
    visited = []
    assert net.apply(visited.append) is net
    assert visited == list(net.modules())


def test_shared_parameters_are_listed_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert "1.weight" in net.state_dict()
    twice = nn.Sequential(net[0], net[0])
    assert [name for name, _ in twice.named_parameters()] == ["0.weight", "0.bias"]


def test_attributes_may_be_replaced():
    layer = nn.Linear(3, 2)
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer.bias = mg.Tensor(np.ones(2), requires_grad=True)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.cache = layer.weight * 2
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    del layer.bias
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_frozen_parameters_stay_parameters():
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad = False
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    layer(np.ones((4, 3))).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [4.0, 4.0]


def test_nodes_have_the_scope_of_their_module():
    net = Network()
    tape = mg.Tape(net(rng.standard_normal((5, 3))))
    scopes = [(node.primitive.name, node.scope) for node in tape if not node.is_leaf]
    assert scopes == [
        ("linear", "body/0"),
        ("batch_norm", "body/1"),
        ("select", "body/1"),
        ("relu", "body/2"),
        ("multiply", "scale"),
        ("matmul", "head"),
    ]
    text = str(tape)
    assert "linear(const5×3, body/0/weight, bias)" in text
    assert "head/weight)" in text


def test_scope_is_restored_after_an_error():
    net = Network()
    with pytest.raises(ValueError, match="layer 'body/0'"):
        net(np.ones((5, 4)))
    with mg.no_grad(), pytest.raises(ValueError, match="layer 'body/0'"):
        net(np.ones((5, 4)))
    x = mg.Tensor([1.0], requires_grad=True)
    assert (x * 2).node.scope == ""


def test_scope_of_enable_grad_inside_no_grad():
    class Inside(nn.Module):
        def forward(self, x):
            with mg.enable_grad():
                return x * 2

    with mg.no_grad():
        out = nn.Sequential(Inside())(mg.Tensor([1.0], requires_grad=True))
    assert out.node.scope == "0"


def test_train_and_eval():
    net = Network()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_zero_grad():
    net = Network()
    net(rng.standard_normal((5, 3))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_state_dict_round_trip():
    net, other = Network(), Network()
    net(rng.standard_normal((5, 3)))
    for p in net.parameters():
        p.data += rng.standard_normal(p.shape)
    state = net.state_dict()
    assert list(state) == [*NAMES[:4], "body.1.running_mean", "body.1.running_var", *NAMES[4:]]
    other.load_state_dict(state)
    x = rng.standard_normal((5, 3))
    np.testing.assert_array_equal(other.eval()(x).numpy(), net.eval()(x).numpy())
    state["head.weight"][:] = 0
    assert net.head.weight.numpy().any()


def test_optimizers_update_loaded_parameters():
    net = Network()
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    net.load_state_dict({name: value + 1 for name, value in net.state_dict().items()})
    before = net.head.weight.numpy().copy()
    net(rng.standard_normal((5, 3))).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(net.head.weight.numpy(), before - net.head.weight.grad.numpy())


def test_loading_between_forward_and_backward_is_an_error():
    net = Network()
    loss = net(rng.standard_normal((5, 3))).sum()
    net.load_state_dict({name: value + 1 for name, value in net.state_dict().items()})
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_load_state_dict_lists_all_problems_and_changes_nothing():
    net = Network()
    before = net.state_dict()
    wrong = {name: value + 1 for name, value in before.items() if name != "body.0.bias"}
    wrong["extra"] = np.zeros(7)
    wrong["head.weight"] = np.zeros((2, 4))
    with pytest.raises(ValueError, match="does not fit this Network") as error:
        net.load_state_dict(wrong)
    text = str(error.value)
    assert "head.weight: expected shape (4, 2), got (2, 4)" in text
    assert "missing: body.0.bias (4,)" in text
    assert "unexpected: extra (7,)" in text
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    del wrong["head.weight"]
    net.load_state_dict(wrong, strict=False)
    np.testing.assert_array_equal(net.scale.factor.numpy(), before["scale.factor"] + 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_are_independent(copied):
    net = Network()
    optim.SGD(net.parameters(), lr=0.1)
    twin = copied(net)
    assert [name for name, _ in twin.named_parameters()] == NAMES
    x = rng.standard_normal((5, 3))
    np.testing.assert_array_equal(twin(x).numpy(), net(x).numpy())
    twin.head.weight.data[...] = 0
    assert net.head.weight.numpy().any()
    assert (twin.body[1].gamma.node.name, twin.body[1].gamma.node.label) == ("gamma", "γ")


def test_repr():
    assert repr(Network()).splitlines() == [
        "Network(",
        "  (body): Sequential(",
        "    (0): Linear(in_features=3, out_features=4)",
        "    (1): BatchNorm(4, eps=1e-05, momentum=0.1)",
        "    (2): ReLU()",
        "  )",
        "  (scale): Scale()",
        "  (head): Linear(in_features=4, out_features=2, bias=False)",
        ")",
    ]


def test_module_without_forward():
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(1)


def test_buffer_names():
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="already has an attribute"):
        layer.register_buffer("weight", np.zeros(2))
    with pytest.raises(ValueError, match="already has an attribute"):
        layer.register_buffer("forward", np.zeros(2))


def test_sequential():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = rng.standard_normal((5, 3))
    assert len(net) == 3
    assert [type(m) for m in net] == [nn.Linear, nn.Tanh, nn.Linear]
    assert net[-1] is net[2]
    np.testing.assert_array_equal(net[1:](net[0](x)).numpy(), net(x).numpy())
    assert [name for name, _ in net[1:].named_children()] == ["1", "2"]
    with pytest.raises(TypeError, match=r"write ReLU\(\)"):
        nn.Sequential(nn.ReLU)
    with pytest.raises(IndexError):
        net[3]


def test_linear():
    layer = nn.Linear(3, 4, rng=0)
    assert layer.weight.shape == (3, 4)
    assert not layer.bias.numpy().any()
    layer.bias.data[...] = [1, 2, 3, 4]
    for shape in [(3,), (5, 3), (2, 5, 3)]:
        x = rng.standard_normal(shape)
        np.testing.assert_allclose(layer(x).numpy(), x @ layer.weight.numpy() + [1, 2, 3, 4], rtol=1e-13)
    with pytest.raises(ValueError, match="at least 1"):
        nn.Linear(0, 3)


def test_linear_initializers():
    expected = init.he_normal((3, 4), rng=7)
    np.testing.assert_array_equal(nn.Linear(3, 4, init="he_normal", rng=7).weight.numpy(), expected)
    np.testing.assert_array_equal(nn.Linear(3, 4, init=init.kaiming_normal, rng=7).weight.numpy(), expected)
    assert (nn.Linear(3, 4, init=lambda shape, **_: np.ones(shape)).weight.numpy() == 1).all()
    with pytest.raises(ValueError, match="did you mean 'glorot_normal'"):
        nn.Linear(3, 4, init="glorot_norml")
    with pytest.raises(ValueError, match=r"must return an array of shape \(3, 4\), and returned \(4, 3\)"):
        nn.Linear(3, 4, init=lambda shape, **_: np.ones(shape[::-1]))


def test_seeds():
    mg.manual_seed(3)
    first = nn.Linear(3, 4).weight.numpy()
    assert not np.array_equal(first, nn.Linear(3, 4).weight.numpy())
    mg.manual_seed(3)
    np.testing.assert_array_equal(first, nn.Linear(3, 4).weight.numpy())
    shared = generator(3)
    assert not np.array_equal(nn.Linear(3, 4, rng=shared).weight.numpy(), nn.Linear(3, 4, rng=shared).weight.numpy())


def test_batch_norm_updates_the_running_statistics():
    layer, mean, var = nn.BatchNorm(3, momentum=0.2), np.zeros(3), np.ones(3)
    for _ in range(20):
        x = rng.standard_normal((7, 3)) * 3 + 2
        y = layer(x)
        mean, var = 0.8 * mean + 0.2 * x.mean(0), 0.8 * var + 0.2 * x.var(0, ddof=1)
    np.testing.assert_allclose(y.numpy(), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-10)
    layer.eval()
    np.testing.assert_allclose(layer(x).numpy(), (x - mean) / np.sqrt(var + 1e-5), rtol=1e-9, atol=1e-12)


def test_batch_norm_in_evaluation_does_not_change_its_buffers():
    layer = nn.BatchNorm(3).eval()
    layer(rng.standard_normal((7, 3)))
    layer(rng.standard_normal((1, 3)))
    assert layer.running_mean.tolist() == [0, 0, 0]
    assert layer.running_var.tolist() == [1, 1, 1]


def test_batch_norm_statistics_are_over_all_positions():
    layer, x = nn.BatchNorm(3), rng.standard_normal((2, 4, 5, 3))
    layer(x)
    np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * x.reshape(-1, 3).var(0, ddof=1), rtol=1e-10)


def test_training_after_evaluation_does_not_change_its_gradient():
    layer, x = nn.BatchNorm(3), mg.Tensor(rng.standard_normal((4, 3)), requires_grad=True)
    layer.eval()
    out = layer(x)
    layer.train()
    layer(rng.standard_normal((50, 3)) * 100)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / np.sqrt(1 + 1e-5))
    np.testing.assert_allclose(layer.gamma.grad.numpy(), (x.numpy() / np.sqrt(1 + 1e-5)).sum(0))


def test_running_variance_of_a_constant_feature_is_not_negative():
    layer = nn.BatchNorm(2, momentum=1.0, dtype=np.float32)
    layer(np.full((8, 2), 1234.5, np.float32))
    assert layer.running_var.dtype == np.float32
    assert (layer.running_var >= 0).all()
    assert (layer.running_var < 1e-6).all()


def test_batch_norm_errors():
    layer = nn.BatchNorm(3)
    with pytest.raises(ValueError, match="a batch of 1"):
        layer(np.ones((1, 3)))
    with pytest.raises(ValueError, match="C = 3 features"):
        layer(np.ones((4, 2)))
    with pytest.raises(ValueError, match="C = 3 features"):
        layer(np.ones(3))
    with pytest.raises(ValueError, match="momentum"):
        nn.BatchNorm(3, momentum=1.5)
    with pytest.raises(ValueError, match=r"BatchNorm\(momentum=None\).*give the weight of a batch"):
        nn.BatchNorm(3, momentum=None)


def test_dropout():
    layer, x = nn.Dropout(0.5, rng=0), np.ones((100, 100))
    first = layer(x)
    assert set(np.unique(first)) == {0.0, 2.0}
    assert not np.array_equal(first, layer(x))
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match="probability"):
        nn.Dropout(-0.5)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.ReLU(), F.relu),
        (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, negative_slope=0.2)),
        (nn.ELU(0.5), lambda x: F.elu(x, alpha=0.5)),
        (nn.Sigmoid(), F.sigmoid),
        (nn.Tanh(), F.tanh),
        (nn.Softplus(), F.softplus),
        (nn.SiLU(), F.silu),
        (nn.GELU(), F.gelu),
        (nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
        (nn.Softmax(axis=0), lambda x: F.softmax(x, axis=0)),
        (nn.Flatten(), lambda x: x.reshape(4, 6)),
    ],
)
def test_modules_without_parameters(module, function):
    x = rng.standard_normal((4, 2, 3))
    np.testing.assert_allclose(module(x), function(x), rtol=1e-14)
    assert list(module.parameters()) == []
    t = module(mg.Tensor(x, requires_grad=True))
    assert t.requires_grad


def test_flatten_of_an_empty_batch():
    assert nn.Flatten()(np.zeros((0, 2, 3))).shape == (0, 6)


def test_single_precision_throughout():
    net = nn.Sequential(
        nn.Linear(3, 8, dtype=np.float32), nn.BatchNorm(8, dtype=np.float32), nn.LeakyReLU(), nn.Dropout(0.1),
        nn.Linear(8, 4, dtype=np.float32), nn.GELU(), nn.ELU(), nn.SiLU(), nn.Softplus(),
    )  # fmt: skip
    out = net(rng.standard_normal((5, 3)).astype(np.float32))
    assert {node.dtype for node in mg.Tape(out) if not isinstance(node.dtype, tuple)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_learns_two_rings(dtype):
    """The network must learn, and batch norm must work in evaluation."""
    draw = np.random.default_rng(0)
    angle, label = draw.uniform(0, 2 * np.pi, 400), draw.integers(0, 2, 400)
    radius = 1.0 + label + 0.1 * draw.standard_normal(400)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(dtype)
    net = nn.Sequential(
        nn.Linear(2, 16, rng=1, dtype=dtype), nn.BatchNorm(16, dtype=dtype), nn.ReLU(),
        nn.Linear(16, 2, rng=2, dtype=dtype),
    )  # fmt: skip
    optimizer = optim.Adam(net.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        fused.softmax_cross_entropy(net(x), label).backward()
        optimizer.step()
    net.eval()
    with mg.no_grad():
        predicted = net(x).numpy().argmax(axis=1)
    assert (predicted == label).mean() > 0.98
