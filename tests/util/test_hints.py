"""Names and keywords of PyTorch, Keras and NumPy that are others here: errors that say where it is."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, functional, nn, optim
from minigrad.nn import init
from minigrad.util import hints


def schedule() -> Any:
    return optim.StepLR(optim.SGD([Tensor([1.0], requires_grad=True)], lr=0.1), 1)


OBJECTS: dict[str, tuple[Callable[[], Any], Mapping[str, str]]] = {
    "Tensor": (lambda: Tensor([1.0]), hints.TENSOR),
    "Module": (lambda: nn.Linear(1, 1), hints.MODULE),
    "Sequential": (nn.Sequential, hints.SEQUENTIAL),
    "Schedule": (schedule, hints.SCHEDULE),
}
ATTRIBUTES = [(kind, name) for kind, (_, table) in OBJECTS.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), ATTRIBUTES)
def test_hints_for_attributes(kind: str, name: str) -> None:
    make, table = OBJECTS[kind]
    x = make()
    with pytest.raises(AttributeError) as caught:
        getattr(x, name)
    assert str(caught.value) == f"{type(x).__name__!r} object has no attribute {name!r}. {table[name]}"
    assert not hasattr(x, name)
    assert not hasattr(type(x), name)
    assert name not in dir(x)


MODULES = [
    (module, name)
    for module, table in ((mg, hints.NAMESPACE), (nn, hints.NN), (optim, hints.OPTIM), (init, hints.INIT))
    for name in table
]


@pytest.mark.parametrize(("module", "name"), MODULES, ids=lambda x: getattr(x, "__name__", x))
def test_hints_for_names_of_modules(module: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"module '{module.__name__}' has no attribute '{name}'\. \w"):
        getattr(module, name)
    assert not hasattr(module, name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from minigrad import randn", "rng = np.random.default_rng(0)"),
        ("from minigrad import cat", "It is mg.concat"),
        ("from minigrad.nn import Parameter", "requires_grad=True"),
        ("from minigrad.optim import lr_scheduler", "optim.StepLR"),
        ("from minigrad.nn import Linear, BatchNorm2d", "nn.BatchNorm(channels)"),
    ],
)
def test_hints_for_imports(line: str, words: str) -> None:
    with pytest.raises(ImportError) as caught:
        exec(line, {})
    assert words in str(caught.value)
    assert "cannot import name" in str(caught.value)


def test_names_without_a_hint_give_the_usual_error() -> None:
    for x in (mg, nn, optim, init, Tensor([1.0]), nn.ReLU()):
        with pytest.raises(AttributeError, match=r"has no attribute 'nothing_of_the_kind'$"):
            x.nothing_of_the_kind  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing_of_the_kind'"):
        exec("from minigrad.nn import nothing_of_the_kind", {})


def test_names_in_hints_exist() -> None:
    """A hint that does not help would be worse than silence."""
    t, model = Tensor(np.ones((2, 3))), nn.Sequential(nn.Linear(3, 2))
    for name in ("expand_dims", "transpose", "reshape", "flatten", "broadcast_to", "astype", "clip", "detach", "item"):
        assert callable(getattr(t, name))
    for name in ("bitwise_or", "copy", "split", "where", "permute_dims", "scatter", "round", "jvp", "vjp", "hessian"):
        assert callable(getattr(mg, name))
    assert mg.copy(t).tolist() == t.tolist()
    assert isinstance(nn.Sequential(*model, nn.ReLU())[-1], nn.ReLU)
    assert dict(model.named_parameters())["0.weight"] is model[0].weight
    for name in hints.INIT:
        assert name == "calculate_gain" or callable(init.get(name.replace("trunc_", "truncated_")))
        if name != "calculate_gain":
            assert callable(getattr(init, hints.INIT[name].partition("init.")[2].partition("(")[0]))


def test_users_may_use_the_names() -> None:
    """Attributes of one's own come first, also children, buffers and methods of subclasses."""

    class Mine(nn.Module):
        def __init__(self) -> None:
            self.to = nn.Linear(2, 2)
            self.register_buffer("cpu", np.ones(3))

        def fit(self) -> str:
            return "fitted"

        def forward(self, x: Any) -> Any:
            return self.to(x)

    model = Mine()
    assert model.fit() == "fitted"
    assert [name for name, _ in model.named_parameters()] == ["to.weight", "to.bias"]
    assert [name for name, _ in model.named_buffers()] == ["cpu"]
    assert "to" in dir(model)
    assert copy.deepcopy(model)(np.ones((1, 2))).shape == (1, 2)
    assert list(nn.ModuleDict({"to": nn.ReLU()})) == ["to"]


def test_tensors_and_modules_with_hints_can_be_copied() -> None:
    for x in (Tensor([1.0], requires_grad=True), nn.Sequential(nn.Linear(2, 2), nn.ReLU())):
        for other in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
            assert repr(other) == repr(x)


# Modules and keywords


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mg.tensor([1.0]), "minigrad.tensor is a module, not a function. It is mg.Tensor(values)"),  # type: ignore[operator]
        (lambda: nn.ReLU(inplace=True), "ReLU() got an unexpected keyword argument 'inplace' | always new Tensors"),  # type: ignore[call-arg]
        (lambda: nn.Dropout(0.5, inplace=True), "Dropout() got | 'inplace' | always new Tensors"),  # type: ignore[call-arg]
        (lambda: nn.Softmax(dim=1), "Softmax() got | 'dim' | called axis"),  # type: ignore[call-arg]
        (lambda: nn.Linear(2, 2, device="cpu"), "Linear() got | 'device' | only the CPU"),  # type: ignore[call-arg]
        (lambda: nn.Conv2d(2, 2, 3, padding_mode="reflect"), "Conv2d() got | 'padding_mode' | mg.pad"),  # type: ignore[call-arg]
        (lambda: nn.BatchNorm(2, affine=False), "BatchNorm() got | 'affine' | requires_grad = False"),  # type: ignore[call-arg]
        (lambda: nn.MultiheadAttention(4, 2, batch_first=True), "'batch_first' | always batch first"),  # type: ignore[call-arg]
        (lambda: nn.ReLU(1), "ReLU() takes no arguments"),  # type: ignore[call-arg]
        (lambda: optim.SGD([], learning_rate=1), "optim.SGD() got | 'learning_rate' | It is called lr"),  # type: ignore[call-arg]
        (lambda: nn.Linear(2, 2, unheard_of=1), "unexpected keyword argument 'unheard_of'"),  # type: ignore[call-arg]
    ],
)
def test_hints_for_calls_of_modules(call: Callable[[], Any], words: str) -> None:
    assert callable(functional.dropout)  # and its module is loaded
    with pytest.raises(TypeError) as caught:
        call()
    for word in words.split(" | "):
        assert word in str(caught.value)


def test_keywords_that_a_layer_has_get_no_hint() -> None:
    class Mine(nn.Module):
        def __init__(self, dim: int, **others: Any) -> None:
            self.dim, self.others = dim, others

    assert (Mine(dim=3, inplace=True).dim, Mine(3, device="x").others) == (3, {"device": "x"})
    assert nn.LayerNorm(3, elementwise_affine=False).gamma is None


def test_an_optimizer_may_have_an_argument_called_learning_rate() -> None:
    class Mine(optim.SGD):
        def __init__(self, params: Any, learning_rate: float, **others: Any) -> None:
            super().__init__(params, lr=learning_rate, **others)

    w = Tensor([1.0], requires_grad=True)
    assert Mine([w], learning_rate=0.25, momentum=0.5).param_groups[0]["lr"] == 0.25
    assert list(inspect.signature(optim.Optimizer).parameters)[:3] == ["params", "defaults", "maximize"]


def test_a_gradient_is_deleted_as_in_pytorch() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    assert w.grad is not None
    del w.grad
    assert w.grad is None
