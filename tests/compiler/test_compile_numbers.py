"""Numbers out of arrays: which steps are compiled, and the warnings of the others."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import time
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scenarios  # noqa: F401  (registers them)
from scenarios.scenario import SCENARIOS, execute

import minigrad as mg

pytestmark = pytest.mark.floating(all="ignore")

FOLLOWED = [name for name, one in SCENARIOS.items() if one.group == "following"]


@pytest.mark.parametrize("name", FOLLOWED)
def test_ordinary_steps_are_compiled(name: str) -> None:
    assert execute(SCENARIOS[name], "numpy").warnings == []


X, Y, W = np.random.default_rng(0).normal(size=(6, 3)), np.arange(6) % 3, mg.Tensor(np.eye(3), requires_grad=True)
LOG: dict[str, list[float]] = {"loss": []}


def put_into(x: Any, y: Any) -> Any:
    t = np.zeros((6, 3))
    t[np.arange(6), y] = 1
    return t * x


def copied_into(x: Any, y: Any) -> Any:
    out = np.zeros((6, 3))
    out[:, 0] = x[:, 1]
    return out


def before_json(x: Any, y: Any) -> Any:
    return json.dumps(x.sum().item())


def through_a_writer(x: Any, y: Any) -> Any:
    loss = x.sum().item()
    time.sleep(loss * 0)
    return loss


def in_a_helper(x: Any, y: Any) -> Any:
    return before_json(x, y)


def as_a_text(x: Any, y: Any) -> Any:
    return f"{x.sum().item():.3f}"


def in_a_block(x: Any, y: Any) -> Any:
    with contextlib.nullcontext():
        return x.sum().item()


def of_a_list(x: Any, y: Any) -> Any:
    LOG["loss"].append(x.sum().item())
    return np.mean([x.sum().item(), *LOG["loss"][-1:]])


ADVICE = {
    "np.eye": (lambda x, y: np.eye(3)[y] * x, r"F\.one_hot\(y, 3\).*EYE\[y\]"),
    "np.zeros": (put_into, r"np\.zeros_like\(x, shape=...\).*F\.one_hot"),
    "a column": (copied_into, r"np\.zeros_like\(x, shape=...\)"),
    "np.take": (lambda x, y: np.take(np.eye(3), y, axis=0), r"by np\.take.*F\.one_hot"),
    "np.asarray": (lambda x, y: np.asarray(x) * 2, r"is read in Python by np\.asarray.*already.*x\.astype\(dtype\)"),
    "np.float32": (lambda x, y: np.float32(x), r"x\.astype\(np\.float32\)"),
    "np.array": (lambda x, y: np.array([x.mean(), x.max()]), r"np\.stack\(arrays\)"),
    "np.mean": (lambda x, y: np.mean([x[0], x[1]]), r"np\.mean\(np\.stack\(arrays\)\)"),
    "json": (before_json, r"`json\.dumps` is called, which is code that cannot be followed \(line \d+\)"),
    "time": (through_a_writer, r"`time\.sleep` gets `loss \* 0`, which may be such a number"),
    "helper": (in_a_helper, r"`json\.dumps` is called, .* in `before_json`"),
    "text": (as_a_text, r"is converted to text"),
    "block": (in_a_block, r"the block `with contextlib\.nullcontext\(\)`, which is not minigrad's"),
    "list": (of_a_list, r"is put into an array"),
}


def called(step: Any) -> None:
    """Some calls with other values."""
    for k in range(4):
        step(X + k, (Y + k) % 3)


@pytest.mark.parametrize("what", ADVICE)
def test_warnings_of_eager_steps_give_a_hint(what: str) -> None:
    function, expected = ADVICE[what]
    step = mg.compile(function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        called(step)
    (text,) = [str(w.message) for w in caught]
    assert re.search(expected, text, re.DOTALL), text
    assert re.search(r"at .*test_compile_numbers\.py:\d+\n.*\nHint: ", text), text


def logged(x: Any, y: Any) -> Any:
    LOGGER.info("a step")
    return x * 2


def drawn(x: Any, y: Any) -> Any:
    return x + np.random.normal(size=3)  # noqa: NPY002


def frozen(x: Any, y: Any) -> Any:
    W.requires_grad = not W.requires_grad
    return x @ W


LOGGER = logging.getLogger("minigrad tests")


@pytest.mark.parametrize(("function", "line"), [(logged, "LOGGER.info"), (drawn, "np.random"), (frozen, "W.requires")])
def test_reasons_found_after_the_step_name_a_line(function: Any, line: str) -> None:
    step = mg.compile(function)
    with pytest.warns(mg.compiler.CompileWarning) as caught:
        called(step)
    assert re.search(rf"at .*test_compile_numbers\.py:\d+\n.*{re.escape(line)}", str(caught[0].message))


def verbose_argument(x: Any, k: int, verbose: bool) -> Any:
    if verbose:
        print("loss", x.sum().item())
    return x * 2


def counted(x: Any, k: int, verbose: bool) -> Any:
    STATE.k += 1
    loss = (x * x).sum()
    if STATE.k % 5 == 0:
        print(f"loss {loss.item():.3f}")
    return loss


def counter_argument(x: Any, k: int, verbose: bool) -> Any:
    if k % 5 == 0:
        print("step")
    return x * k


STATE = SimpleNamespace(k=0)


@pytest.mark.parametrize("function", [verbose_argument, counted, counter_argument])
@pytest.mark.parametrize("first", [0, 1])
def test_only_the_branch_that_prints_runs_eagerly(function: Any, first: int) -> None:
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in (function, compiled := mg.compile(function)):
            STATE.k = first - 1
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                results = [step(X[0] * k, k, k % 5 == 0) for k in range(first, 40)]
            found.append((printed.getvalue(), np.array(results).tolist()))
    assert found[0] == found[1]
    (text,) = [str(w.message) for w in caught]
    assert "runs eagerly when it takes this branch" in text
    assert not compiled.eager
    assert compiled.recordings <= 7
    assert compiled.runs >= 20


@pytest.mark.parametrize("z", [complex("nan+1j"), complex("1+infj"), complex(-0.0, 2), complex(0, -0.0), 1j])
def test_complex_constants(z: complex) -> None:
    x = np.array([True, False])
    step = mg.compile(lambda x: x * z)
    for _ in range(4):
        found, expected = step(x), x * z
        for now, part in ((found.real, expected.real), (found.imag, expected.imag)):
            assert np.array_equal(now, part, equal_nan=True)
            assert np.array_equal(np.signbit(now), np.signbit(part)) or np.isnan(part).any()
