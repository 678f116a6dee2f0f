"""Options of every optimizer: refused when they are out of range, and never without effect when they are not."""

import copy
import inspect
import itertools
import math
import pickle
import sys
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import io, nn, optim

KINDS = [getattr(optim, name) for name in optim.__all__]
KINDS = [k for k in KINDS if isinstance(k, type) and issubclass(k, optim.Optimizer) and k is not optim.Optimizer]
GROUPED = [k for k in KINDS if k is not optim.LBFGS]
FLAGS = ["amsgrad", "centered", "decoupled_weight_decay", "maximize", "nesterov"]
NOT_NUMBERS = ["0.1", None, 1j, [0.1], (0.1, 0.2), np.ones(2), True, object()]


def parameter(n=3, dtype=float):
    return mg.Tensor(np.arange(1, n + 1).astype(dtype), requires_grad=True)


def make(kind, params=None, **options):
    if kind is optim.SGD:
        options = {"lr": 0.1, **options}
    return kind([parameter()] if params is None else params, **options)


def numbers(kind):
    """The options of an optimizer that are single numbers."""
    group = make(kind).param_groups[0]
    counts = ("max_iter", "max_eval", "history_size")
    return [k for k, v in group.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and k not in counts]


def bad_values(name):
    bad = [-1.0, -1e-9, math.inf, -math.inf, math.nan, np.float32(-1), np.array(-1.0), np.float64("nan")]
    if name in ("momentum", "dampening"):
        bad += [1.5, 1.0001]
    if name in ("alpha", "rho"):
        bad += [1.0, 1.5]
    return bad


def steps(optimizer, count=3, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = rng.normal(size=p.shape).astype(p.dtype)
        optimizer.step()


CASES = [(kind, name) for kind in KINDS for name in numbers(kind)]
IDS = [f"{kind.__name__}.{name}" for kind, name in CASES]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=IDS)
def test_numbers_out_of_range_are_refused_whenever_they_are_set(kind, name):
    if name not in ("initial_lr",):
        for bad in bad_values(name):
            with pytest.raises(ValueError, match=f"{kind.__name__}.*{name}"):
                make(kind, **{name: bad})
    optimizer = make(kind)
    (group,) = optimizer.param_groups
    before = dict(group)
    for bad in bad_values(name):
        for change in (
            lambda bad: group.__setitem__(name, bad),
            lambda bad: group.update({name: bad}),
            lambda bad: group.update(**{name: bad}),
            lambda bad: group.__ior__({name: bad}),
            lambda bad: optimizer.load_state_dict(
                {**optimizer.state_dict(), "param_groups": [{**group, "params": [0], name: bad}]}
            ),
        ):
            with pytest.raises(ValueError, match=name):
                change(bad)
        if kind is not optim.LBFGS:
            with pytest.raises(ValueError, match=name):
                optimizer.add_param_group({"params": [parameter()], name: bad})
    for bad in NOT_NUMBERS:
        with pytest.raises(TypeError, match=f"{name}.*must be a number"):
            group[name] = bad
    assert dict(group) == before
    assert all(flat.lr == before["lr"] for flat in group.flats)


@pytest.mark.parametrize("kind", [k for k in KINDS if "betas" in inspect.signature(k).parameters])
def test_betas_are_two_numbers(kind):
    optimizer = make(kind)
    (group,) = optimizer.param_groups
    before = group["betas"]
    for bad in [
        (0.9,),
        (),
        (0.9, 0.99, 0.999),
        (1.0, 0.9),
        (0.9, 1.0),
        (-0.1, 0.9),
        (0.9, math.nan),
        0.9,
        None,
        (2, 3),
    ]:
        with pytest.raises(ValueError, match="betas"):
            make(kind, betas=bad)
        with pytest.raises(ValueError, match="betas"):
            group["betas"] = bad
    with pytest.raises(TypeError, match="betas"):
        group["betas"] = ("a", "b")
    assert group["betas"] == before
    group["betas"] = [0.5, np.float64(0.25)]
    assert group["betas"] == (0.5, 0.25)
    assert type(group["betas"][1]) is float


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_true_or_false(kind, name):
    optimizer = make(kind)
    (group,) = optimizer.param_groups
    if name not in group:
        with pytest.raises(TypeError, match=f"no option '{name}'"):
            group[name] = True
        return
    for bad in ("False", None, 0.5, 2, []):
        with pytest.raises(TypeError, match=f"{name}.*True or False"):
            group[name] = bad
    if name == "nesterov":
        group["momentum"] = 0.5
    if kind is optim.LBFGS:
        with pytest.raises(ValueError, match="looks for a minimum"):
            group[name] = True
        return
    group[name] = np.True_
    assert group[name] is True


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_not_attributes_of_the_optimizer(kind):
    optimizer = make(kind)
    for name in [*numbers(kind), "learning_rate", *(["betas"] if "betas" in optimizer.param_groups[0] else [])]:
        option = "lr" if name == "learning_rate" else name
        with pytest.raises(AttributeError, match=rf"for group in optimizer\.param_groups: group\['{option}'\] = 5"):
            setattr(optimizer, name, 5)
        with pytest.raises(AttributeError, match=rf"has no attribute '{name}': .*param_groups\[0\]\['{option}'\]"):
            getattr(optimizer, name)
    with pytest.raises(AttributeError, match=r"optimizer\.clipping = \{'clipnorm': 1\.0\}"):
        optimizer.clipnorm = 1.0
    optimizer.note = "anything else is the user's"
    assert optimizer.note


@pytest.mark.parametrize("kind", GROUPED)
def test_the_keys_of_a_group_are_fixed(kind):
    optimizer = make(kind)
    (group,) = optimizer.param_groups
    with pytest.raises(TypeError, match="no option 'rate'"):
        group["rate"] = 0.1
    with pytest.raises(TypeError, match="add_param_group"):
        group["params"] = [parameter()]
    for change in (lambda: group.pop("lr"), group.popitem, group.clear, lambda: group.__delitem__("lr")):
        with pytest.raises(TypeError, match="keeps all its options"):
            change()
    assert group.setdefault("lr", 5.0) == group["lr"] != 5.0


@pytest.mark.parametrize("kind", GROUPED)
def test_every_way_of_setting_lr_has_an_effect(kind):
    def moved(change):
        p = parameter()
        optimizer = make(kind, [p])
        change(optimizer.param_groups[0])
        steps(optimizer)
        return p.numpy().copy()

    expected = moved(lambda group: group.__setitem__("lr", 0.5))
    assert not np.array_equal(expected, moved(lambda group: None))
    for change in (
        lambda group: group.update(lr=0.5),
        lambda group: group.update({"lr": np.float64(0.5)}),
        lambda group: group.__ior__({"lr": np.array(0.5)}),
        lambda group: group.update(lr=mg.Tensor(0.5)),
    ):
        np.testing.assert_array_equal(moved(change), expected)


# State appears when it is needed

LATER = [
    (optim.SGD, {}, {"momentum": 0.9}),
    (optim.SGD, {}, {"momentum": 0.9, "dampening": 0.5}),
    (optim.SGD, {}, {"momentum": 0.9, "nesterov": True}),
    (optim.SGD, {"momentum": 0.9}, {"dampening": 0.5}),
    (optim.SGD, {"momentum": 0.9}, {"momentum": 0.0}),
    (optim.SGD, {"dampening": 0.5}, {"momentum": 0.9}),
    (optim.RMSprop, {}, {"momentum": 0.9}),
    (optim.RMSprop, {}, {"centered": True}),
    (optim.RMSprop, {"momentum": 0.9, "centered": True}, {"momentum": 0.0, "centered": False}),
    (optim.Adam, {}, {"amsgrad": True}),
    (optim.AdamW, {}, {"amsgrad": True, "weight_decay": 0.0}),
    (optim.AdamW, {"amsgrad": True}, {"amsgrad": False}),
    (optim.NAdam, {}, {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    (optim.RAdam, {"weight_decay": 0.1}, {"decoupled_weight_decay": True}),
    *((kind, {}, {"maximize": True}) for kind in GROUPED),
]


@pytest.mark.parametrize(("kind", "first", "then"), LATER)
def test_options_that_are_set_later(kind, first, then):
    """State begins when the option is set, and all of it is saved, copied and resumed."""
    p = parameter()
    optimizer = make(kind, [p], **first)
    steps(optimizer, 3, seed=1)
    optimizer.param_groups[0].update(then)
    steps(optimizer, 2, seed=2)
    q = mg.Tensor(p.numpy().copy(), requires_grad=True)
    resumed = make(kind, [q])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    r, copied = copy.deepcopy((p, optimizer))
    for other in (optimizer, resumed, copied):
        steps(other, 4, seed=3)
    np.testing.assert_array_equal(q.numpy(), p.numpy())
    np.testing.assert_array_equal(r.numpy(), p.numpy())
    assert np.isfinite(p.numpy()).all()


def test_momentum_that_is_set_later_begins_as_in_pytorch():
    """torch.optim.SGD: the buffer is a copy of the first gradient that it sees, whatever the dampening."""
    p = parameter()
    optimizer = optim.SGD([p], lr=1.0)
    g = [np.array([1.0, 2.0, 3.0]), np.array([4.0, -5.0, 6.0]), np.array([-7.0, 8.0, 9.0])]
    values = [p.numpy().copy()]
    for k in range(3):
        if k == 1:
            optimizer.param_groups[0].update(momentum=0.5, dampening=0.25)
        p.grad = g[k]
        optimizer.step()
        values.append(p.numpy().copy())
    changes = [a - b for a, b in itertools.pairwise(values)]
    np.testing.assert_allclose(changes, [g[0], g[1], 0.5 * g[1] + 0.75 * g[2]])


def test_files_of_older_versions_have_no_flag_of_dampening():
    def state(optimizer):
        found = optimizer.state_dict()
        for values in found["state"].values():
            values["step"] = np.array(float(values["step"]))  # and count steps in floating point
            del values["begun"]
        for group in found["param_groups"]:
            del group["maximize"]
        return found

    p, q = parameter(), parameter()
    optimizer, resumed = (optim.SGD([x], lr=0.1, momentum=0.9, dampening=0.5) for x in (p, q))
    steps(optimizer)
    q.data[...] = p.data
    resumed.load_state_dict(state(optimizer))
    steps(optimizer, seed=1)
    steps(resumed, seed=1)
    np.testing.assert_array_equal(p.numpy(), q.numpy())


@pytest.mark.parametrize("kind", GROUPED)
def test_maximize_reverses_the_direction(kind):
    p, q = parameter(), parameter()
    up, down = make(kind, [p], maximize=True, global_clipnorm=1.0), make(kind, [q], global_clipnorm=1.0)
    for _ in range(4):
        p.grad, q.grad = np.array([1.0, -2.0, 3.0]), np.array([-1.0, 2.0, -3.0])
        up.step()
        down.step()
        np.testing.assert_array_equal(p.grad.numpy(), [1.0, -2.0, 3.0])
    np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_pytorch_idioms():
    model = nn.Linear(2, 1, rng=0)
    optimizer = optim.SGD(model.named_parameters(), lr=0.1)
    assert [p.shape for p in optimizer.param_groups[0]["params"]] == [(2, 1), (1,)]
    steps(optimizer, 1)
    optimizer.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in model.parameters())
    optimizer.zero_grad(set_to_none=True)
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(TypeError, match="params is a dictionary"):
        optim.SGD(dict(model.named_parameters()), lr=0.1)
    with pytest.raises(TypeError, match="a group is a dictionary with 'params'"):
        optimizer.add_param_group([parameter()])


def test_clipping_is_checked_when_it_is_set():
    optimizer = optim.SGD([parameter()], lr=0.1)
    for bad, error in (
        ({"clipnorm": -1}, ValueError),
        ({"clipnorm": math.nan}, ValueError),
        ({"norm": 1.0}, TypeError),
    ):
        with pytest.raises(error):
            optimizer.clipping = bad
    for change in (
        lambda bad: optimizer.clipping.__setitem__("clipnorm", bad),
        lambda bad: optimizer.clipping.update(clipnorm=bad),
        lambda bad: optimizer.clipping.setdefault("clipnorm", bad),
        lambda bad: optimizer.clipping.__ior__({"clipnorm": bad}),
    ):
        with pytest.raises(ValueError, match="must be positive"):
            change(-1.0)
        with pytest.raises(TypeError, match="must be a number"):
            change("1")
    assert optimizer.clipping == {}
    optimizer.clipping["clipnorm"] = 1.0
    with pytest.raises(ValueError, match="one way only"):
        optimizer.clipping["clipvalue"] = 1.0
    optimizer.clipping["clipnorm"] = None
    with pytest.raises(TypeError, match="must be a number"):
        optim.SGD([parameter()], lr=0.1, clipvalue="1")
    optimizer.clipping = {"clipvalue": 0.5}
    (p,) = optimizer.param_groups[0]["params"]
    before = p.numpy().copy()
    p.grad = np.full(3, 10.0)
    optimizer.step()
    np.testing.assert_allclose(before - p.numpy(), 0.05)


# Half precision


@pytest.mark.parametrize("kind", GROUPED)
def test_half_precision_has_state_in_single_precision(kind):
    options = {"weight_decay": 1e-3}
    if kind in (optim.SGD, optim.RMSprop):
        options |= {"momentum": 0.9}
    p = mg.Tensor(np.float16([1.0, 2.0, 3.0]), requires_grad=True)
    q = mg.Tensor(np.float32([1.0, 2.0, 3.0]), requires_grad=True)
    half, single = make(kind, [p], **options), make(kind, [q], **options)
    rng = np.random.default_rng(0)
    for _ in range(20):
        g = rng.normal(size=3).astype(np.float16)
        p.grad, q.grad = g, g.astype(np.float32)
        q.data[...] = p.data
        half.step()
        single.step()
        np.testing.assert_array_equal(p.numpy(), q.numpy().astype(np.float16))
    values = half.state_dict()["state"][0]
    assert values.pop("step").dtype == np.int64
    assert {x.dtype for x in values.values()} <= {np.dtype(np.float32)}
    assert p.dtype == np.float16


@pytest.mark.parametrize("kind", GROUPED)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_zero_gradient_changes_nothing(kind, dtype):
    w = mg.Tensor(np.ones(2, dtype), requires_grad=True)
    optimizer = make(kind, [w], **({} if kind is optim.Adadelta else {"lr": 1e-3}))
    optimizer.param_groups[0]["weight_decay"] = 0.0
    w.grad = np.zeros(2, dtype)
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), np.ones(2, dtype))


@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize("kind", GROUPED)
def test_steps_are_counted_in_integers(kind):
    w = mg.Tensor(np.ones(1, np.float16), requires_grad=True)
    optimizer = make(kind, [w], lr=1e-3)
    for flat in optimizer.param_groups[0].flats:
        flat.steps += 2**24  # where single precision stops to count
        flat.breaks = set()
    for _ in range(3):
        w.grad = np.ones(1, np.float16)
        optimizer.step()
    step = optimizer.state_dict()["state"][0]["step"]
    assert step == 2**24 + 3
    assert step.dtype == np.int64


# Files, copies and damage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_model_and_optimizer_are_copied_together(kind, copied):
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1))
    optimizer = make(kind, model.parameters(), **({} if kind is optim.LBFGS else {"clipnorm": 1.0}))
    schedule = optim.StepLR(optimizer, 2)
    x, y = np.random.default_rng(0).normal(size=(2, 8, 3))[:, :, :3]

    def train(model, optimizer, schedule, count):
        for _ in range(count):

            def closure():
                optimizer.zero_grad()
                loss = ((model(x) - y[:, :1]) ** 2).mean()
                loss.backward()
                return loss

            optimizer.step(closure)
            schedule.step()

    train(model, optimizer, schedule, 3)
    twin = copied((model, optimizer, schedule))
    twin_parameters = list(twin[0].parameters())
    assert all(a is b for a, b in zip(twin[1].param_groups[0]["params"], twin_parameters, strict=True))
    train(model, optimizer, schedule, 5)
    before = [p.numpy().copy() for p in model.parameters()]
    train(*twin, 5)
    for a, b in zip(before, twin_parameters, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    for a, b in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    assert twin[1].param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    assert dict(twin[1].clipping) == dict(optimizer.clipping)
    twin[1].param_groups[0]["lr"] = 0.25
    with pytest.raises(ValueError, match="lr"):
        twin[1].param_groups[0]["lr"] = -1


DAMAGE = {
    "nothing": (lambda s: {}, "not the state of an optimizer"),
    "a list": (lambda s: [s], "not the state of an optimizer"),
    "a model": (lambda s: {"weight": np.ones(3)}, "not the state of an optimizer"),
    "another kind": (lambda s: optim.SGD([parameter()], lr=0.1).state_dict(), "another kind of optimizer"),
    "an option more": (lambda s: s["param_groups"][0].update(rate=1.0), "another kind of optimizer"),
    "an option less": (lambda s: s["param_groups"][0].pop("eps"), "another kind of optimizer"),
    "a text": (lambda s: s["param_groups"][0].update(lr="0.1"), "must be a number"),
    "no state": (lambda s: s["state"].clear(), "parameter 0 of shape"),
    "an array less": (lambda s: s["state"][0].pop("m"), "parameter 0 of shape"),
    "an array more": (lambda s: s["state"][0].update(z=np.ones(3)), "parameter 0 of shape"),
    "another shape": (lambda s: s["state"][0].update(m=np.ones(4)), "parameter 0 of shape"),
    "complex numbers": (lambda s: s["state"][0].update(m=np.ones(3, complex)), "parameter 0 of shape"),
    "half a step": (lambda s: s["state"][0].update(step=np.array(1.5)), "must be an integer"),
    "a negative step": (lambda s: s["state"][0].update(step=np.array(-1)), "must be an integer"),
    "no number of steps": (lambda s: s["state"][0].update(step=np.array(math.nan)), "must be an integer"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_states_that_do_not_fit_change_nothing(name):
    damage, says = DAMAGE[name]
    optimizer = optim.Adam([parameter()], lr=0.1)
    steps(optimizer)
    before = optimizer.state_dict()
    state = copy.deepcopy(before)
    replaced = damage(state)
    state = replaced if name in ("nothing", "a list", "a model", "another kind") else state
    with pytest.raises(ValueError, match=says):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for k, value in before["state"][0].items():
        np.testing.assert_array_equal(after["state"][0][k], value)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_saved_and_loaded(kind, tmp_path):
    p, q = parameter(), parameter()
    optimizer, resumed = make(kind, [p]), make(kind, [q])
    if kind is not optim.LBFGS:
        steps(optimizer)
    io.save(tmp_path / "x", optimizer.state_dict())
    resumed.load_state_dict(io.load(tmp_path / "x"))
    for k, value in optimizer.state_dict()["state"][0].items():
        np.testing.assert_array_equal(resumed.state_dict()["state"][0][k], value)


# Parameters that are replaced


def test_a_replaced_parameter_is_an_error_at_the_next_step():
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=0))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    first = model[0]
    old, first.weight = first.weight, mg.Tensor(np.zeros((2, 2)), requires_grad=True)
    for p in (*model.parameters(), old):
        p.grad = np.ones(p.shape)
    for _ in range(2):  # it does not get used to it
        with pytest.raises(ValueError, match=r"Linear\.weight was replaced .* shape \(2, 2\)[\s\S]*add_param_group"):
            optimizer.step()
    first.weight = old
    optimizer.step()
    np.testing.assert_array_equal(first.weight.numpy(), old.numpy())
    first.weight = mg.Tensor(np.zeros((2, 2)), requires_grad=True)
    optimizer.add_param_group({"params": [first.weight], "lr": 0.5})
    first.weight.grad = np.ones((2, 2))
    optimizer.step()
    np.testing.assert_array_equal(first.weight.numpy(), np.full((2, 2), -0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_a_replaced_layer_is_an_error(kind):
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=0))
    optimizer = make(kind, model.parameters())
    setattr(model, "1", nn.Linear(2, 3, rng=0))

    def closure():
        optimizer.zero_grad()
        loss = (model(np.ones((4, 2))) ** 2).sum()
        loss.backward()
        return loss

    with pytest.raises(ValueError, match=r"Sequential\.1\.\w+ was replaced"):
        optimizer.step(closure)


def test_wrapping_and_tying_are_not_replacements():
    class Tied(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)

        def forward(self, x):
            return self.b(self.a(x))

    model = Tied()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.b.weight = model.a.weight
    model.a = nn.Sequential(model.a, nn.Tanh())
    model(np.ones((3, 2))).sum().backward()
    optimizer.step()
    assert model.b.weight is model.a[0].weight


def test_data_of_another_shape_are_refused():
    p = parameter()
    optimizer = optim.Adam([p])
    p.grad = np.ones(3)
    p.data = np.ones(4)
    p.grad = np.ones(4)
    with pytest.raises(ValueError, match=r"shape \(3,\) and dtype float64 has become one of shape \(4,\)"):
        optimizer.step()


@pytest.mark.parametrize("kind", GROUPED)
def test_no_step_of_any_thread_is_lost(kind):
    p, q = parameter(50), parameter(50)
    shared, alone = make(kind, [p], weight_decay=0.0), make(kind, [q], weight_decay=0.0)
    p.grad = q.grad = np.linspace(-1, 1, 50)
    errors = []

    def work():
        try:
            for _ in range(40):
                shared.step()
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    for _ in range(320):
        alone.step()
    assert not errors
    assert shared.state_dict()["state"][0]["step"] == 320
    np.testing.assert_array_equal(p.numpy(), q.numpy())
