"""Bad input: a clear error that repeats the call and gives a hint."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn, optim
from minigrad import functional as F
from minigrad.compiler import CompileError
from minigrad.engine.primitive import Primitive, elementwise
from minigrad.ops import cumulative, indexing, product, reduction, searching, shape


def x() -> Tensor:
    return Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)


def complex_loss() -> None:
    w = x()
    (w + 1j).sum().backward()


def integers() -> Tensor:
    return Tensor([[1, 2, 3], [4, 5, 6]])


# what: (a call, the error, words that must all be in it)
CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # Shapes
    "add": (lambda: x() + np.ones((4, 3)), ValueError, "add | (2, 3) float64 | (4, 3) float64 | x[:, None]"),
    "add a tuple": (lambda: x() + (1, 2), ValueError, "(2, 3) and (2,)"),
    "matmul": (lambda: x() @ x(), ValueError, "matmul((2, 3) float64, (2, 3) float64) | y.mT"),
    "matmul, 1-D": (lambda: x() @ np.ones(2), ValueError, "matmul | (2,) | must agree"),
    "matmul of a number": (lambda: x() @ 3, ValueError, "matmul((2, 3) float64, 3) | x * y"),
    "matmul on the left": (lambda: 3 @ x(), ValueError, "matmul(3, (2, 3) float64)"),
    "reshape": (lambda: x().reshape(5), ValueError, "reshape((2, 3) float64, shape=(5,))"),
    "concat": (lambda: np.concatenate([x(), np.ones((3, 4))]), ValueError, "concat((2, 3) float64, (3, 4) float64"),
    "concat of nothing": (lambda: shape.concat([]), ValueError, "concat | at least one"),
    "concat of numbers": (lambda: shape.concat([Tensor(1.0)]), ValueError, "concat | stack"),
    "stack": (lambda: np.stack([x(), x()[0]]), ValueError, "stack((2, 3) float64, (3,) float64"),
    "stack of nothing": (lambda: shape.stack([]), ValueError, "stack | at least one"),
    "broadcast_to": (lambda: np.broadcast_to(x(), (3, 3)), ValueError, "broadcast_to((2, 3) float64, shape=(3, 3))"),
    "squeeze": (lambda: x().squeeze(0), ValueError, "squeeze: axis 0 of shape (2, 3)"),
    "permute_dims": (lambda: x().transpose(0, 0), ValueError, "permute_dims | (0, 0) | (2, 3)"),
    "moveaxis": (lambda: shape.moveaxis(x(), (0, 1), 0), ValueError, "moveaxis | 2 source axes"),
    "expand_dims": (lambda: shape.expand_dims(x(), (0, 0)), ValueError, "expand_dims | twice"),
    "split": (lambda: np.split(x(), 2, axis=1), ValueError, "split | size 3 | 2 equal"),
    "einsum sizes": (lambda: np.einsum("ij,jk", x(), x()), ValueError, "einsum | 'ij,jk' | (2, 3)"),
    "einsum terms": (lambda: np.einsum("ij,j", x()), ValueError, "einsum: 2 terms | 1 operand"),
    "einsum subscripts": (lambda: np.einsum("i", x()), ValueError, "einsum: 1 subscripts | (2, 3) | ..."),
    "einsum letters": (lambda: np.einsum("i?", x()), ValueError, "einsum: '?'"),
    "einsum output": (lambda: np.einsum("ij->ik", x()), ValueError, "einsum | output | 'ij->ik'"),
    "einsum output twice": (lambda: np.einsum("ij->ii", x()), ValueError, "einsum | output | once"),
    "tensordot": (lambda: np.tensordot(x(), x(), 1), ValueError, "tensordot((2, 3) float64, (2, 3) float64, axes=1)"),
    "outer": (lambda: product.outer(x(), x()), ValueError, "outer((2, 3) float64 | x[..., None] * y"),
    "T": (lambda: x()[0].T, ValueError, "T of a Tensor of shape (3,) | .mT"),
    "mT": (lambda: x()[0].mT, ValueError, "mT of a Tensor of shape (3,)"),
    "T of a stack": (lambda: Tensor(np.ones((2, 2, 2))).T, ValueError, "(2, 2, 2) | .mT"),
    "item": (lambda: x().item(), ValueError, "item | (2, 3) | .numpy()"),
    "float": (lambda: float(x()), ValueError, "(2, 3) | single number"),
    "bool": (lambda: bool(x()), ValueError, "(2, 3) | mg.all(t) | mg.any(t) | mg.where"),
    "if": (lambda: 1 if x() > 0 else 0, ValueError, "truth value | mg.where"),
    "bool of nothing": (lambda: bool(Tensor([])), ValueError, "(0,)"),
    "len": (lambda: len(Tensor(1.0)), TypeError, "0-d"),
    "iteration": (lambda: list(Tensor(1.0)), TypeError, "0-d"),
    "cumsum of a matrix": (lambda: cumulative.cumulative_sum(x()), ValueError, "cumulative_sum | (2, 3) | axis="),
    "var without freedom": (lambda: reduction.var(Tensor([1.0]), correction=1), ValueError, "var | correction=1"),
    "take_along_axis": (lambda: np.take_along_axis(x(), np.array([0]), 1), ValueError, "(1,) | (2, 3) | indices[:, None]"),
    "max of nothing": (lambda: Tensor(np.ones((0, 2))).max(axis=0), ValueError, "max((0, 2) float64"),
    # Axes and indices
    "mean": (lambda: np.mean(x(), axis=5), IndexError, "mean((2, 3) float64, axis=5 | out of bounds"),
    "sort": (lambda: np.sort(x(), axis=7), IndexError, "axis=7"),
    "sort of a number": (lambda: mg.sort(Tensor(1.0)), IndexError, "no axis to sort along"),
    "sort of a plain number": (lambda: mg.sort(np.float64(1.0)), IndexError, "no axis to sort along"),
    "sum of an axis twice": (lambda: x().sum(axis=(0, 0)), ValueError, "sum((2, 3) float64, axis=(0, 0)"),
    "an axis with a name": (lambda: x().sum(axis="rows"), TypeError, "sum((2, 3) float64, axis='rows'"),
    "take": (lambda: np.take(x(), [0], axis=4), IndexError, "4"),
    "index": (lambda: x()[5], IndexError, "getitem((2, 3) float64, index=5) | out of bounds"),
    "index of strings": (lambda: x()["a"], IndexError, "index='a'"),
    "index of numbers": (lambda: x()[1.5], IndexError, "index=1.5"),
    "index of floats": (lambda: x()[x()], IndexError, "getitem | integer"),
    "too many indices": (lambda: x()[0, 0, 0], IndexError, "too many indices"),
    "mask": (lambda: x()[np.ones((3, 3), bool)], IndexError, "getitem | (3, 3) bool"),
    "take of floats": (lambda: np.take(x(), [0.5]), TypeError, "take | float64 | x.astype(int)"),
    # dtypes
    "requires_grad of integers": (lambda: Tensor([1, 2], requires_grad=True), TypeError, "(2,) int64 | dtype=float"),
    "requires_grad of complex": (lambda: Tensor([1j], requires_grad=True), TypeError, "complex128 | real"),
    "requires_grad later": (lambda: setattr(integers(), "requires_grad", True), TypeError, "int64 | dtype=float"),
    "bitwise": (lambda: x() & x(), TypeError, "bitwise_and((2, 3) float64 | x.astype(int)"),
    "invert": (lambda: ~x(), TypeError, "bitwise_invert((2, 3) float64) | x.astype(bool)"),
    "shift": (lambda: x() << 2, TypeError, "bitwise_left_shift | x.astype(int)"),
    "subtract booleans": (lambda: Tensor([True]) - Tensor([True]), TypeError, "subtract((1,) bool, (1,) bool)"),
    "astype to strings": (lambda: x().astype("U5"), TypeError, "astype | numbers | t.numpy()"),
    "gradient of complex": (complex_loss, TypeError, "complex128 | real"),
    # Not numbers
    "a string": (lambda: x() + "a", TypeError, "add | 'a' (str) | a number, an array or a Tensor"),
    "a string on the left": (lambda: "a" * x(), TypeError, "multiply | 'a' (str)"),
    "None": (lambda: x() * None, TypeError, "multiply | None"),
    "an object": (lambda: x() / object(), TypeError, "divide | object"),
    "an array of objects": (lambda: x() + np.array([None] * 3), TypeError, "add | dtype object | x.astype(float)"),
    "an array of strings": (lambda: np.array(["a"]) + x(), TypeError, "add | <U1 | x.astype(float)"),
    "a list of strings": (lambda: x() + ["a", "b", "c"], TypeError, "add | <U1"),
    "dates": (lambda: x() + np.datetime64("2020"), TypeError, "add | datetime64"),
    "a masked array": (lambda: x() + np.ma.masked_array([1.0, 2.0, 3.0], [0, 0, 1]), TypeError, "MaskedArray | filled"),
    "data of strings": (lambda: Tensor("abc"), TypeError, "Tensor | <U3 | must be numbers"),
    "data of None": (lambda: Tensor([None]), TypeError, "Tensor | object | must be numbers"),
    "data masked": (lambda: Tensor(np.ma.masked_array([1.0], [1])), TypeError, "masked | filled(0)"),
    "comparison with None": (lambda: x() == None, TypeError, "equal | None"),  # noqa: E711
    # What would lose the gradient
    "np.array of Tensors": (lambda: np.array([x(), x()]), TypeError, "mg.stack | t.numpy() | t.detach()"),
    "np.array of a Tensor": (lambda: np.array(x()), TypeError, "(2, 3) | gradient would be lost | t.detach()"),
    "np.asarray": (lambda: np.asarray(x()), TypeError, "gradient would be lost"),
    "Tensor of Tensors": (lambda: Tensor([x(), x()]), TypeError, "mg.stack"),
    "ndarray[Tensor]": (lambda: np.ones(7)[x()], TypeError, "gradient would be lost"),
    "ndarray[...] = Tensor": (lambda: np.ones((2, 3)).__setitem__(..., x()), TypeError, "gradient would be lost"),
    "out=": (lambda: np.exp(x(), out=np.ones((2, 3))), TypeError, "np.exp((2, 3) float64) | out= | t = ..."),
    "out=tensor": (lambda: np.exp(np.ones((2, 3)), out=x()), TypeError, "np.exp | out= | new Tensor"),
    "array += Tensor": (lambda: np.ones((2, 3)).__iadd__(x()), TypeError, "np.add | out= | new Tensor"),
    "sum out=": (lambda: np.sum(x(), out=np.ones(())), TypeError, "np.sum((2, 3) float64) | out="),
    "unknown function": (lambda: np.median(x()), TypeError, "np.median | gradient would be lost | t.numpy()"),
    "unknown ufunc": (lambda: np.frexp(x()), TypeError, "np.frexp | t.numpy()"),
    "ufunc.at": (lambda: np.add.at(x(), [0], 1), TypeError, "np.add.at | t.numpy()"),
    "reduceat": (lambda: np.add.reduceat(x(), [0]), TypeError, "np.add.reduceat"),
    "ufunc where=": (lambda: np.add(x(), 1, where=np.array([True, False, True])), TypeError, "np.add(where=...) | mg.where"),
    "ufunc dtype=": (lambda: np.add(x(), 1, dtype="float32"), TypeError, "np.add(dtype=...) | t.astype"),
    "np.sum where=": (lambda: np.sum(x(), where=np.array(True)), TypeError, "np.sum((2, 3) float64, where= | it takes x, axis"),
    "np.max initial=": (lambda: np.max(x(), initial=0.0), TypeError, "np.max((2, 3) float64, initial=0.0) | it takes"),
    "np.copyto": (lambda: np.copyto(np.ones((2, 3)), x()), TypeError, "np.copyto"),
    "np.ravel order": (lambda: np.ravel(x(), order="F"), TypeError, "np.ravel(order='F')"),
    # backward
    "backward of many": (lambda: x().backward(), ValueError, "(2, 3) | loss.mean().backward()"),
    "backward of a constant": (lambda: Tensor(1.0).backward(), RuntimeError, "requires_grad=True | no_grad | detached"),
    "gradient of another shape": (lambda: x().sum().backward(np.ones(3)), ValueError, "gradient of shape (3,) | shape ()"),
    "gradient that would broadcast": (lambda: (x() * 2).backward(np.ones((1, 3))), ValueError, "(1, 3) | (2, 3)"),
    "gradient of strings": (lambda: x().sum().backward("a"), TypeError, "must be numbers"),
    "complex gradient": (lambda: x().sum().backward(1j), TypeError, "backward | complex128 | real"),
    "hook of a constant": (lambda: Tensor(1.0).register_hook(print), RuntimeError, "register_hook | requires_grad=True"),
    "hook that is none": (lambda: x().register_hook(3), TypeError, "register_hook(3)"),
    "requires_grad of a result": (lambda: setattr(x() * 2, "requires_grad", False), RuntimeError, "t.detach()"),
    # Writing
    "w -= while recording": (lambda: x().__isub__(1.0), RuntimeError, "t -= value | (2, 3) | mg.no_grad()"),
    "w **= while recording": (lambda: x().__ipow__(2), RuntimeError, "t **= value | mg.no_grad()"),
    "w @= while recording": (lambda: x().__imatmul__(np.eye(3)), RuntimeError, "t @= value"),
    "w[0] = while recording": (lambda: x().__setitem__(0, 1.0), RuntimeError, "t[index] = value | mg.no_grad() | w = w - ..."),
    "setitem of another shape": (lambda: (x() * 1).__setitem__(0, np.ones(2)), ValueError, "set_index((2, 3) float64, (2,) float64, index=0)"),
    "setitem out of bounds": (lambda: (x() * 1).__setitem__(9, 1.0), IndexError, "set_index | index=9"),
    "setitem of a string": (lambda: (x() * 1).__setitem__(0, "a"), TypeError, "set_index | 'a' (str)"),
    # Plain numbers
    "round of many": (lambda: round(x(), 1), TypeError, "round() | (2, 3) | mg.round(t, decimals=1)"),
    "round that loses the gradient": (lambda: round(x()[0, 0]), TypeError, "by round | gradient would be lost"),
    "trunc of many": (lambda: math.trunc(x()), TypeError, "math.trunc | (2, 3) | mg.trunc(t)"),
    "trunc that loses the gradient": (lambda: math.trunc(x()[0, 0]), TypeError, "math.trunc | gradient would be lost"),
    # Functions of functions
    "grad of a loss": (lambda: mg.grad(x().sum(), x()), TypeError, "grad takes a function, not () float64 (Tensor) | loss.backward()"),
    "value_and_grad of a loss": (lambda: mg.value_and_grad(x().sum()), TypeError, "value_and_grad takes a function | loss.backward()"),
    "jacobian of a Tensor": (lambda: mg.jacobian(x(), x()), TypeError, "jacobian takes a function, not (2, 3) float64"),
    "hessian of a Tensor": (lambda: mg.hessian(x().sum(), x()), TypeError, "hessian takes a function"),
    "vjp of a Tensor": (lambda: mg.vjp(x(), x()), TypeError, "vjp takes a function | t.backward(cotangent)"),
    "jvp of a Tensor": (lambda: mg.jvp(x(), x(), x()), TypeError, "jvp takes a function"),
    "hvp of a Tensor": (lambda: mg.hvp(x().sum(), x(), x()), TypeError, "hvp takes a function"),
    "checkpoint of a Tensor": (lambda: mg.checkpoint(x()), TypeError, "checkpoint takes a function"),
    "compile of a Tensor": (lambda: mg.compile(x()), CompileError, "cannot be called | pass a function"),
    "grad of nothing callable": (lambda: mg.grad("loss"), TypeError, "grad takes a function, not 'loss' (str)"),
    "grad(f, x)": (lambda: mg.grad(mg.sin, x()), TypeError, "grad(f, (2, 3) float64) | argnums | mg.grad(f)(x), not mg.grad(f, x)"),
    "grad(f, 1.5)": (lambda: mg.grad(mg.sin, 1.5), TypeError, "grad(f, 1.5) | argnums | mg.grad(f)(x)"),
    "grad(f, array)": (lambda: mg.grad(mg.sin, np.ones(2)), TypeError, "grad(f, (2,) float64) | argnums"),
    "value_and_grad(f, x)": (lambda: mg.value_and_grad(mg.sin, x()), TypeError, "mg.value_and_grad(f)(x)"),
    "jacobian(f, x)": (lambda: mg.jacobian(mg.sin, x()), TypeError, "mg.jacobian(f)(x)"),
    "hessian(f, x)": (lambda: mg.hessian(mg.sin, x()), TypeError, "mg.hessian(f)(x)"),
    "checkpoint(f, x)": (lambda: mg.checkpoint(mg.sin, x()), TypeError, "mg.checkpoint(f)(x), not mg.checkpoint(f, x)"),
    "checkpoint(f, use_reentrant=)": (lambda: mg.checkpoint(mg.sin, use_reentrant=False), TypeError, "mg.checkpoint(f)(x)"),
    "compile(f, x)": (lambda: mg.compile(mg.sin, x()), TypeError, "mg.compile(f)(x), not mg.compile(f, x)"),
    "jvp of a tuple along an array": (lambda: mg.jvp(mg.sin, (x(),), x()), TypeError, "jvp | one tangent for each primal"),
    # Modules
    "Linear of a list": (lambda: nn.Linear(2, 2)([[1.0, 2.0]]), TypeError, "Linear: expected Tensors or arrays, got [[1.0, 2.0]] (list) | np.array(x)"),
    "a network of a list": (lambda: nn.Sequential(nn.Flatten())([1.0]), TypeError, "Flatten: expected Tensors or arrays, got | np.array(x)"),
    "Linear of None": (lambda: nn.Linear(2, 2)(None), TypeError, "Linear: expected Tensors or arrays, got None (NoneType)"),
    "Linear of a number": (lambda: nn.Linear(2, 2)(1.0), TypeError, "Linear: expected Tensors or arrays, got 1.0 (float)"),
    "Linear of a list by name": (lambda: nn.Linear(2, 2)(x=[1.0]), TypeError, "Linear: expected Tensors or arrays, got [1.0] (list)"),
    "a convolution of a list": (lambda: nn.Conv2d(1, 1, 1)([[1.0]]), TypeError, "Conv2d: expected Tensors or arrays, got"),
    "a recurrent network of a list": (lambda: nn.LSTM(2, 2)([[[1.0, 2.0]]]), TypeError, "LSTM: expected Tensors or arrays, got"),
    "Sequential of a list": (lambda: nn.Sequential([nn.ReLU()]), TypeError, "Sequential | Sequential(*modules)"),
    "Sequential of a generator": (lambda: nn.Sequential(nn.ReLU() for _ in "ab"), TypeError, "Sequential(*modules)"),
    "Sequential of a dictionary": (lambda: nn.Sequential({"a": nn.ReLU()}), TypeError, "Sequential(*modules.values())"),
    "Sequential of a class": (lambda: nn.Sequential(nn.ReLU), TypeError, "write ReLU(), not ReLU"),
    "ModuleList of several": (lambda: nn.ModuleList(nn.ReLU(), nn.ReLU()), TypeError, "ModuleList([...]), got 2 arguments"),
    "ModuleList of a module": (lambda: nn.ModuleList(nn.ReLU()), TypeError, "a list of modules | ReLU()"),
    "ModuleList of a dictionary": (lambda: nn.ModuleList({"a": nn.ReLU()}), TypeError, "got a dictionary; use ModuleDict"),
    "ModuleDict of a module": (lambda: nn.ModuleDict(nn.ReLU()), TypeError, "a dictionary of modules | ReLU()"),
    # Optimizers
    "an optimizer of a model": (lambda: optim.Adam(nn.Linear(1, 1)), TypeError, "optim.Adam: params is a Linear | model.parameters()"),
    "an optimizer of a Sequential": (lambda: optim.Adam(nn.Sequential(nn.ReLU())), TypeError, "params is a Sequential | model.parameters()"),
    "an optimizer of a method": (lambda: optim.SGD(nn.Linear(1, 1).parameters, lr=1.0), TypeError, "a function; call it: model.parameters()"),
    "an optimizer of an array": (lambda: optim.Adam(np.ones(3)), TypeError, "an array, (3,) float64 | mg.Tensor(array, requires_grad=True)"),
    "an optimizer of a number": (lambda: optim.Adam(5), TypeError, "optim.Adam: params is 5 (int)"),
    "a group of a model": (lambda: optim.Adam([{"params": nn.Linear(1, 1)}]), TypeError, "params is a Linear | model.parameters()"),
    "clipping of a model": (lambda: optim.clip_grad_norm_(nn.Linear(1, 1), 1.0), TypeError, "clip_grad_norm_ | model.parameters()"),
    "clipping by value of a model": (lambda: optim.clip_grad_value_(nn.Linear(1, 1), 1.0), TypeError, "clip_grad_value_ | model.parameters()"),
    # Others
    "subclass": (lambda: type("Mine", (Tensor,), {}), TypeError, "cannot be subclassed"),
    "device": (lambda: x().to_device("cuda"), ValueError, "'cuda' | 'cpu'"),
    "scope": (lambda: mg.scope(""), ValueError, "scope | non-empty"),
    "named": (lambda: x().named("x y"), ValueError, "named('x y') | label="),
    "searchsorted": (lambda: searching.searchsorted(x(), 1.0), ValueError, "searchsorted((2, 3) float64, 1.0"),
    "scatter of floats": (lambda: indexing.scatter(x(), np.ones((2, 3)), axis=0, size=2), TypeError, "scatter | float64"),
}  # fmt: skip


@pytest.mark.parametrize("what", CALLS)
def test_bad_input(what: str) -> None:
    call, kind, words = CALLS[what]
    with pytest.raises(kind) as caught:
        call()
    for word in words.split(" | "):
        assert word in str(caught.value)


def test_writing_a_wrong_shape_under_no_grad() -> None:
    w = x()
    with (
        mg.no_grad(),
        pytest.raises(ValueError, match=re.escape("t[index] = value((2, 3) float64, (2,) float64, index=0)")),
    ):
        w[0] = np.ones(2)


def test_a_failed_operation_records_nothing_and_breaks_nothing() -> None:
    w = x()
    with pytest.raises(ValueError, match="add"):
        w + np.ones(7)
    (w * w).sum().backward()
    assert w.grad.shape == (2, 3)


def test_floating_point_errors_pass_through() -> None:
    """What np.seterr asks for is the user's to see, as NumPy raises it."""
    with pytest.raises(FloatingPointError, match="divide by zero encountered in log"):
        np.log(Tensor([0.0], requires_grad=True))


def test_an_error_keeps_its_cause() -> None:
    with pytest.raises(ValueError, match="add") as caught:
        x() + np.ones(7)
    assert isinstance(caught.value.__cause__, ValueError)


# Declaring a primitive


def test_a_rule_that_names_an_unknown_value_is_refused() -> None:
    with pytest.raises(TypeError, match=r"doubled\(x, /\) names 'y'"):
        elementwise(lambda x, /: 2 * x, lambda v, y: v, name="doubled")


def test_too_few_rules_are_refused() -> None:
    with pytest.raises(TypeError, match=r"multiply\(x, y, /\) has 2 operands.*1 rules were given"):
        elementwise(np.multiply, lambda v, y: v * y)


def test_rules_and_a_joint_rule_are_refused() -> None:
    with pytest.raises(TypeError, match="a joint one"):
        Primitive(np.exp, lambda v, out: v * out, joint=lambda v, out: (v * out,))


MASKED = np.ma.masked_array([0, 1, 1], [False, False, True])
MASKED_ROWS = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0], [2.0, 1e6]], [[0, 0], [0, 0], [0, 1]])
LOGITS = np.zeros((3, 2))


def _assigned() -> None:
    t = Tensor([1.0, 2.0, 3.0])
    t[...] = MASKED


MASKS = {
    "a Tensor": lambda: Tensor(MASKED),
    "asarray": lambda: mg.asarray(MASKED),
    "an item": _assigned,
    "an index": lambda: Tensor([1.0, 2.0, 3.0])[MASKED],
    "an index in a tuple": lambda: Tensor(LOGITS)[:, MASKED],
    "take": lambda: mg.take(Tensor([1.0, 2.0]), MASKED),
    "labels": lambda: F.cross_entropy(LOGITS, MASKED),
    "labels with a class to ignore": lambda: F.cross_entropy(LOGITS, MASKED, ignore_index=0),
    "labels of a negative log-likelihood": lambda: F.nll_loss(LOGITS, MASKED),
    "a target": lambda: F.mse_loss(LOGITS[:, 0], MASKED * 1.0),
    "ids": lambda: nn.Embedding(2, 3, rng=0)(MASKED),
    "classes": lambda: F.one_hot(MASKED, 2),
    "a buffer": lambda: nn.ReLU().register_buffer("kept", MASKED),
    "a state": lambda: nn.Linear(2, 1, rng=0).load_state_dict({"weight": MASKED_ROWS[:2, :1], "bias": np.zeros(1)}),
    "rows": lambda: mg.data.DataLoader(MASKED_ROWS, MASKED, batch_size=2),
    "what is standardized": lambda: mg.preprocessing.Standardize().fit(MASKED_ROWS),
    "what is transformed": lambda: mg.preprocessing.MinMax().fit(np.eye(2)).transform(MASKED_ROWS),
}


@pytest.mark.parametrize("name", MASKS)
def test_masked_arrays_are_refused_everywhere(name: str) -> None:
    with pytest.raises(TypeError, match="mask"):
        MASKS[name]()
