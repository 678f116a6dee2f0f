"""ModuleList and ModuleDict; hooks; freezing."""

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

rng = np.random.default_rng(8)
X = rng.standard_normal((5, 3))


class Branches(nn.Module):
    def __init__(self):
        self.blocks = nn.ModuleList(nn.Linear(3, 3, rng=k) for k in range(2))
        self.heads = nn.ModuleDict({"mean": nn.Linear(3, 1, rng=2)})
        self.blocks.append(nn.Tanh())
        self.heads["scale"] = nn.Sequential(nn.Linear(3, 1, rng=3), nn.Softplus())

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.heads["mean"](x), self.heads["scale"](x)


def test_parameters_and_scopes():
    net = Branches()
    assert [name for name, _ in net.named_parameters()] == [
        *("blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"),
        *("heads.mean.weight", "heads.mean.bias", "heads.scale.0.weight", "heads.scale.0.bias"),
    ]
    scopes = [node.scope for node in mg.Tape(*net(X)) if not node.is_leaf]
    assert scopes == ["blocks/0", "blocks/1", "blocks/2", "heads/mean", "heads/scale/0", "heads/scale/1"]
    other = Branches()
    other.load_state_dict(net.state_dict())
    for copied in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(copied(X)[1].numpy(), net(X)[1].numpy())


def test_nested_containers_have_full_scopes():
    class Nested(nn.Module):
        def __init__(self):
            self.rows = nn.ModuleList([nn.ModuleList([nn.Linear(3, 3)])])

        def forward(self, x):
            return self.rows[0][0](x)

    assert [node.scope for node in mg.Tape(Nested()(X)) if not node.is_leaf] == ["rows/0/0"]


def test_list():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    modules = nn.ModuleList([a, b])
    assert modules.append(c) is modules
    assert (len(modules), list(modules), modules[-1], modules[:2]) == (3, [a, b, c], c, [a, b])
    modules[-1] = a
    assert modules[2] is a
    with pytest.raises(TypeError, match=r"ModuleList: 3 is <class .*ReLU'>, not a Module; write ReLU\(\)"):
        modules.append(nn.ReLU)
    with pytest.raises(IndexError):
        modules[3]
    with pytest.raises(NotImplementedError, match="a ModuleList cannot be called"):
        modules(X)


def test_dict():
    a, b = nn.ReLU(), nn.Tanh()
    modules = nn.ModuleDict([("a", a)])
    modules.update({"b": b})
    assert (len(modules), list(modules), modules.keys(), modules.values()) == (2, ["a", "b"], ["a", "b"], [a, b])
    assert modules.items() == [("a", a), ("b", b)]
    assert "b" in modules
    del modules["b"]
    assert "b" not in modules
    with pytest.raises(KeyError, match="no module is called 'b'; there are a"):
        modules["b"]
    for name in ("", "x.y", "forward", "training", "keys", 3):
        with pytest.raises(ValueError, match="cannot name a module"):
            modules[name] = a
    with pytest.raises(TypeError, match="not a Module"):
        modules["f"] = np.tanh


def test_hooks_receive_and_replace_inputs_and_output():
    layer, seen = nn.Linear(3, 2, rng=0), []
    plain = layer(X).numpy()
    before = layer.register_forward_pre_hook(lambda module, inputs: seen.append(("before", module, inputs)))
    after = layer.register_forward_hook(lambda module, inputs, out: seen.append(("after", module, inputs, out)))
    out = layer(X)
    assert [what for what, *_ in seen] == ["before", "after"]
    assert seen[0][1] is seen[1][1] is layer
    assert seen[0][2][0] is seen[1][2][0] is X
    assert seen[1][3] is out
    before.remove()
    before.remove()
    after.remove()
    layer(X)
    assert len(seen) == 2
    with layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,)):
        with layer.register_forward_hook(lambda module, inputs, out: out + 1):
            np.testing.assert_allclose(layer(X).numpy(), 2 * plain + 1, rtol=1e-12)
        np.testing.assert_allclose(layer(X).numpy(), 2 * plain, rtol=1e-12)
    np.testing.assert_array_equal(layer(X).numpy(), plain)


def test_hooks_run_in_order_and_in_scope():
    net, seen = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), []
    net[1].register_forward_hook(lambda module, inputs, out: out * 2)
    net[1].register_forward_hook(lambda module, inputs, out: out + 1)
    for module in net.modules():
        module.register_forward_pre_hook(lambda module, inputs: seen.append(type(module).__name__))
    out = net(X)
    assert [node.scope for node in mg.Tape(out) if not node.is_leaf] == ["0", "1", "1", "1"]
    assert seen == ["Sequential", "Linear", "ReLU"]
    np.testing.assert_allclose(out.numpy(), 2 * np.maximum(net[0](X).numpy(), 0) + 1)


def test_a_hook_may_remove_itself():
    layer, calls = nn.ReLU(), []

    def once(module, inputs, out):
        calls.append(out)
        hook.remove()

    hook = layer.register_forward_hook(once)
    layer(X)
    layer(X)
    assert len(calls) == 1


def test_a_copy_has_its_own_hooks():
    layer = nn.ReLU()
    hook = layer.register_forward_hook(lambda module, inputs, out: out + 1)
    twin = copy.deepcopy(layer)
    hook.remove()
    assert layer(np.zeros(1)).tolist() == [0.0]
    assert twin(np.zeros(1)).tolist() == [1.0]


def test_a_hook_must_be_a_function():
    with pytest.raises(TypeError, match=r"a hook must be a function .*, got 'print'"):
        nn.ReLU().register_forward_hook("print")


def test_freezing():
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Linear(4, 2, rng=1))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    net(X).sum().backward()
    optimizer.step()
    assert (net.num_parameters(), net.num_parameters(trainable=True)) == (26, 26)
    net(X).sum().backward()
    assert net[0].requires_grad_(False) is net[0]
    assert (net.num_parameters(), net.num_parameters(trainable=True)) == (26, 10)
    frozen, free = net[0].weight.numpy().copy(), net[1].weight.numpy().copy()
    optimizer.zero_grad()
    net(X).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(net[0].weight.numpy(), frozen)
    assert not np.array_equal(net[1].weight.numpy(), free)
    net.requires_grad_()
    net(X).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert len(list(net.named_parameters())) == 4


def test_freezing_sets_gradients_to_none():
    layer = nn.Linear(3, 2)
    layer(X).sum().backward()
    layer.requires_grad_(False)
    assert layer.weight.grad is None


def test_shared_parameters_count_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert net.num_parameters() == 15
