"""A compiled step refuses what eager code refuses by looking at values, before it changes anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import fused, nn, optim
from minigrad.compiler.driver import Compiled
from minigrad.compiler.ir.checks import barrier, checks_first, errors_raise
from minigrad.compiler.ir.predicates import range_of
from minigrad.compiler.ir.program import Buffer, Op, Program
from minigrad.compiler.ir.typing import Malformed, check, make
from minigrad.compiler.kernels import files as kernel_files
from minigrad.compiler.numpy.plan import Plan
from minigrad.compiler.passes.pipeline import optimized, without_dead_code
from minigrad.compiler.refusal import CheckFailed
from minigrad.ops.checking import require, require_range

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

Arrays = tuple[Any, ...]
needs_numba = pytest.mark.skipif(not kernel_files.is_available(), reason="needs numba")
BACKENDS = ["numpy", pytest.param("numba", marks=needs_numba)]

rng = np.random.default_rng(0)
W = rng.normal(size=(4, 3))
X = rng.normal(size=(2, 3))
IDS = np.array([0, 1])
ones, half = np.ones(2), np.array([0.5, 0.5])
LOGP = np.log(np.full((2, 4, 3), 1 / 3))


def set_at(x: Any, k: Any) -> Any:
    y = np.copy(x)
    y[k] = 0.0
    return y


def add_at(x: Any, k: Any) -> Any:
    y = np.copy(x)
    np.add.at(y, k, 1.0)
    return y


def clipped(x: Any) -> Any:
    w = mg.Tensor(np.ones(2), requires_grad=True)
    (w * x).sum().backward()
    return optim.clip_grad_norm_([w], max_norm=0.5, error_if_nonfinite=True)


def ctc(p: Any, y: Any, n: Any, m: Any) -> Any:
    return F.ctc_loss(p, y, n, m)


def eye(x: float) -> Any:
    return np.diag([1.0, x])


def i(*values: int) -> Any:
    return np.array(values)


# name -> function, valid arguments, invalid arguments
CASES: dict[str, tuple[Callable[..., Any], Arrays, Arrays]] = {
    "cross_entropy": (F.cross_entropy, (X, IDS), (X, i(0, 7))),
    "cross_entropy, negative": (F.cross_entropy, (X, IDS), (X, i(0, -1))),
    "cross_entropy, int8": (F.cross_entropy, (X, IDS.astype(np.int8)), (X, i(0, -1).astype(np.int8))),
    "cross_entropy, uint8": (F.cross_entropy, (X, IDS.astype(np.uint8)), (X, i(0, 255).astype(np.uint8))),
    "cross_entropy, one label": (F.cross_entropy, (X[0], np.array(2)), (X[0], np.array(-1))),
    "cross_entropy, ignored": (lambda x, y: F.cross_entropy(x, y, ignore_index=-1), (X, i(0, -1)), (X, i(0, -2))),
    "cross_entropy, all ignored": (lambda x, y: F.cross_entropy(x, y, ignore_index=-1), (X, i(0, -1)), (X, i(-1, -1))),
    "fused cross_entropy": (fused.softmax_cross_entropy, (X, IDS), (X, i(0, 3))),
    "fused cross_entropy, negative": (fused.softmax_cross_entropy, (X, IDS), (X, i(0, -1))),
    "add.at": (add_at, (X, i(0, -2)), (X, i(0, -3))),
    "clipped": (clipped, (ones,), (ones * np.inf,)),
    "nll_loss": (F.nll_loss, (X, IDS), (X, i(3, 0))),
    "multi_margin_loss": (F.multi_margin_loss, (X, IDS), (X, i(-1, 0))),
    "embedding": (lambda k: F.embedding(k, W) * 2, (IDS,), (i(0, 9),)),
    "embedding, negative": (lambda k: F.embedding(k, W) * 2, (IDS,), (i(0, -1),)),
    "one_hot": (lambda k: F.one_hot(k, 3) * 2.0, (IDS,), (i(0, 9),)),
    "binary_cross_entropy": (F.binary_cross_entropy, (half, ones), (np.array([0.5, 1.5]), ones)),
    "binary_cross_entropy, negative": (F.binary_cross_entropy, (half, ones), (np.array([0.5, -0.5]), ones)),
    "binary_cross_entropy, target": (F.binary_cross_entropy, (half, ones), (half, -ones)),
    "bce with logits": (F.binary_cross_entropy_with_logits, (half, ones), (half, 2 * ones)),
    "computed probability": (lambda x, t: F.binary_cross_entropy(x * x, t), (half, ones), (3 * half, ones)),
    "hinge_loss": (F.hinge_loss, (half, ones), (half, np.array([1.0, 0.0]))),
    "cosine_embedding_loss": (F.cosine_embedding_loss, (X, X, ones), (X, X, half)),
    "ctc_loss, blank": (ctc, (LOGP, i([1], [2]), i(4, 4), i(1, 1)), (LOGP, i([1], [0]), i(4, 4), i(1, 1))),
    "ctc_loss, label": (ctc, (LOGP, i([1], [2]), i(4, 4), i(1, 1)), (LOGP, i([1], [3]), i(4, 4), i(1, 1))),
    "ctc_loss, input length": (ctc, (LOGP, i([1], [2]), i(4, 4), i(1, 1)), (LOGP, i([1], [2]), i(4, 0), i(1, 1))),
    "ctc_loss, label length": (ctc, (LOGP, i([1], [2]), i(4, 4), i(1, 1)), (LOGP, i([1], [2]), i(4, 4), i(1, 2))),
    "x[k]": (lambda x, k: mg.asarray(x)[k] * 2, (np.arange(4.0), i(0, -4)), (np.arange(4.0), i(0, 4))),
    "x[k], below": (lambda x, k: mg.asarray(x)[k] * 2, (np.arange(4.0), i(0, 1)), (np.arange(4.0), i(0, -5))),
    "x[:, k]": (lambda x, k: mg.asarray(x)[:, k] * 2, (X, i(0, -3)), (X, i(0, 3))),
    "x[..., k]": (lambda x, k: mg.asarray(x)[..., k] * 2, (X, i(0, 2)), (X, i(0, 3))),
    "x[k, None, j]": (lambda x, k, j: mg.asarray(x)[k, None, j], (X, i(0, -2), i(2, -3)), (X, i(0, -2), i(2, -4))),
    "x[k, j], first": (lambda x, k, j: mg.asarray(x)[k, j], (X, i(0, -2), i(2, -3)), (X, i(0, 2), i(2, 0))),
    "x[k] of one number": (lambda x, k: mg.asarray(x)[k], (X, np.array(1)), (X, np.array(2))),
    "np.take": (lambda x, k: np.take(x, k, axis=1), (X, i(0, -1)), (X, i(0, 3))),
    "mg.take": (lambda x, k: mg.take(mg.asarray(x), k, axis=1), (X, i(0, -1)), (X, i(0, 3))),
    "take_along_axis": (lambda x, k: mg.take_along_axis(mg.asarray(x), k, axis=0), (ones, i(0, -1)), (ones, i(0, 9))),
    "scatter": (lambda x, k: mg.scatter(mg.asarray(x), k, axis=0, size=3), (ones, i(0, -1)), (ones, i(0, 9))),
    "x[k] = 0": (set_at, (X, i(0, -1)), (X, i(0, 2))),
    "integer power": (lambda x, k: x**k, (i(2, 3), i(0, 4)), (i(2, 3), i(0, -1))),
    "inv": (lambda x: np.linalg.inv(x), (eye(2.0),), (eye(0.0),)),
    "cholesky": (lambda x: np.linalg.cholesky(x), (eye(2.0),), (eye(-1.0),)),
    "solve": (lambda x: mg.linalg.solve(mg.asarray(x), ones), (eye(2.0),), (eye(0.0),)),
    "digitize": (lambda x: np.digitize(x, np.sort(x)), (i(1, 2),), (i(1, 2),)),
}


def outcome(f: Callable[..., Any], args: Arrays) -> Any:
    """The result of a function, or type and message of its exception."""
    try:
        result = f(*args)
    except Exception as error:
        return type(error), str(error)
    return np.asarray(result.numpy() if isinstance(result, mg.Tensor) else result)


def same(result: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert result == expected
    else:
        assert not isinstance(result, tuple), result
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
        assert result.dtype == expected.dtype


def program_ran(step: Compiled, args: Arrays) -> bool:
    """Whether a call runs the program to its end, without calling the function."""
    assert step.latest is not None
    inputs = step.latest.matches(args)
    assert inputs is not None
    try:
        step.latest.call(list(args), inputs)
    except CheckFailed:
        return False
    return True


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_a_compiled_function_refuses_what_eager_refuses(name: str, backend: str) -> None:
    f, good, bad = CASES[name]
    if bad is not good:  # the function may read arrays of this module
        good, bad = (tuple(map(np.copy, args)) for args in (good, bad))
    step = mg.compile(f, backend=backend)
    for args in (good, good, good, bad, good, bad):
        same(outcome(step, args), outcome(f, args))
    assert program_ran(step, good)
    if bad is not good and not all(np.array_equal(x, y) for x, y in zip(good, bad, strict=True)):
        assert isinstance(outcome(f, bad), tuple), "the case is not bad"
        assert not program_ran(step, bad)


@pytest.mark.parametrize("name", CASES)
def test_the_first_call_refuses_too(name: str) -> None:
    f, _, bad = CASES[name]
    result, expected = outcome(mg.compile(f, backend="numpy"), bad), outcome(f, bad)
    if isinstance(expected, tuple):  # the operands may be described differently: a tracer array shows no elements
        result, expected = ((kind, text.rpartition("): ")[2]) for kind, text in (result, expected))
    same(result, expected)


# Nothing is changed


class Problem:
    """A network with everything that a step can change: parameters, gradients, statistics, optimizer, generator."""

    def __init__(self, kind: str) -> None:
        mg.manual_seed(0)
        self.kind = kind
        self.noise = np.random.default_rng(5)
        layers = [nn.Linear(3, 4), nn.BatchNorm(4), nn.ReLU(), nn.Dropout(0.25, rng=3), nn.Linear(4, 3)]
        self.model = nn.Sequential(*layers)
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)
        self.calls = mg.Tensor(np.zeros(()))

    def step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        self.calls.data[...] += 1
        if self.kind == "random":
            x = x + self.noise.normal(size=x.shape)
        out = self.model(mg.asarray(x))
        if self.kind == "probability":  # for some random numbers 1.1, which is not a probability
            loss = F.binary_cross_entropy(mg.sigmoid(out) * 1.001 ** y[:, None], np.full((len(y), 3), 0.5))
        elif self.kind == "singular":
            loss = F.cross_entropy(out, y % 3) + np.linalg.inv(y[0] * np.eye(2)).sum()
        else:
            loss = F.cross_entropy(out, y)
        loss.backward()
        self.optimizer.step()
        if self.kind == "twice":
            again = F.cross_entropy(self.model(mg.asarray(x)), y * 1)
            again.backward()
            self.optimizer.step()
        return loss

    def state(self) -> dict[str, Any]:
        """A copy of everything that a step can change."""
        result = {f"model.{k}": np.copy(v) for k, v in self.model.state_dict().items()}
        result |= {f"grad.{k}": np.copy(p.grad.data) for k, p in self.model.named_parameters() if p.grad is not None}
        for k, flat in enumerate(self.optimizer.param_groups[0].flats):
            result |= {f"optimizer.{k}.{key}": np.copy(v) for key, v in flat.state.items()}
        drop = next(m for m in self.model.modules() if isinstance(m, nn.Dropout))
        return result | {
            "dropout": drop.rng.bit_generator.state,
            "noise": self.noise.bit_generator.state,
            "calls": np.copy(self.calls),
        }


def same_state(result: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    assert result.keys() == expected.keys()
    for key, x in expected.items():
        if isinstance(x, dict):
            assert result[key] == x, key
        else:
            np.testing.assert_allclose(result[key], x, rtol=tolerance, atol=tolerance, err_msg=key)


def data(kind: str) -> tuple[Any, Any, Any]:
    """The inputs of a step, valid labels, and invalid labels."""
    x = np.random.default_rng(1).normal(size=(5, 3))
    good = i(1, 1, 2, 0, 1)
    wrong = {"probability": (4, 5000), "singular": (0, 0)}.get(kind, (4, 3))
    bad = good.copy()
    bad[wrong[0]] = wrong[1]
    return x, good, bad


KINDS = ["label", "random", "probability", "singular", "twice"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_step_changes_what_the_eager_step_changes(kind: str, backend: str) -> None:
    compiled, eager = Problem(kind), Problem(kind)
    step = mg.compile(compiled.step, state=[compiled.calls], backend=backend)
    x, good, bad = data(kind)
    for y in (good, good, good, bad, good, bad, bad, good, good):
        same(outcome(step, (x, y)), outcome(eager.step, (x, y)))
        same_state(compiled.state(), eager.state(), 1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_program_that_fails_has_changed_nothing(kind: str, backend: str) -> None:
    problem = Problem(kind)
    step = mg.compile(problem.step, state=[problem.calls], backend=backend)
    x, good, bad = data(kind)
    for _ in range(4):
        step(x, good)
    assert step.latest is not None
    before = problem.state()
    inputs = step.latest.matches([x, bad])
    assert inputs is not None
    with pytest.raises(CheckFailed):
        step.latest.call([x, bad], inputs)
    same_state(problem.state(), before, 0.0)
    assert program_ran(step, (x, good))
    assert problem.calls.data == before["calls"] + 1


def test_the_second_of_two_updates_may_fail() -> None:
    """The second update is refused, so the program does not do the first one either; then the eager step does."""
    w = {False: mg.Tensor(np.ones(3)), True: mg.Tensor(np.ones(3))}

    def step_of(w: Any) -> Any:
        def step(p: Any) -> Any:
            w.data[...] *= 2
            loss = F.binary_cross_entropy(p * w.data, np.ones(3))
            w.data[...] += 1
            return loss

        return step

    eager, step = step_of(w[False]), mg.compile(step_of(w[True]), backend="numpy")
    for p in (0.1, 0.1, 0.01, 0.5, 0.001):
        same(outcome(step, (np.full(3, p),)), outcome(eager, (np.full(3, p),)))
        np.testing.assert_allclose(w[True].data, w[False].data)


def test_a_function_that_returns_another_shape_is_called_eagerly() -> None:
    def f(x: Any) -> Any:
        return np.roots(x) * 2

    step = mg.compile(f, backend="numpy")
    for x in (
        [1.0, -3.0, 2.0],
        [1.0, -3.0, 2.0],
        [1.0, -5.0, 6.0],
        [0.0, 1.0, -2.0],
        [1.0, 0.0, 1.0],
        [1.0, -3.0, 2.0],
    ):
        same(outcome(step, (np.array(x),)), outcome(f, (np.array(x),)))


# Which checks there are, and when they run


def program_of(f: Callable[..., Any], *args: Any) -> Program:
    step = mg.compile(f, backend="numpy")
    step(*args)
    assert step.latest is not None
    step.latest.prepare("numpy")
    return step.latest.program


def checks_of(program: Program) -> list[tuple[Any, Any]]:
    return [(op.params["low"], op.params["high"]) for op in program.ops if op.name == "check"]


@pytest.mark.parametrize(
    ("f", "args", "expected"),
    [
        (F.cross_entropy, (X, IDS), [(0, 2)]),
        (lambda k: F.embedding(k, W), (IDS,), [(0, 3)]),
        (lambda x, k: mg.asarray(x)[k] + mg.asarray(x)[k[::-1]], (ones, IDS), [(-2, 1), (-2, 1)]),
        (lambda x, k, j: mg.asarray(x)[k, j], (X, IDS, IDS + 1), [(-2, 1), (-3, 2)]),
        (lambda x, k, j: mg.asarray(x)[k, j], (X, IDS, IDS), [(-2, 1)]),
        (lambda x, k, j: mg.asarray(x)[k % 2, np.clip(j, 0, 2)], (X, IDS, IDS), []),
        (lambda x: mg.sort(mg.asarray(x), axis=1, descending=True), (X,), []),
        (lambda x: mg.asarray(x)[np.argmax(x)], (ones,), []),
        (lambda x: mg.asarray(x)[np.array([1, 0])], (ones,), []),
        (lambda x, k: mg.asarray(x)[k.astype(np.int64)] * x[k[:, None]], (ones, IDS.astype(np.int8)), [(-2, 1)]),
    ],
)
def test_one_check_for_each_value(f: Any, args: Arrays, expected: Any) -> None:
    assert checks_of(program_of(f, *args)) == expected


def test_random_indices_need_no_check() -> None:
    source = np.random.default_rng(0)
    program = program_of(lambda x: mg.asarray(x)[source.permutation(4)], np.arange(4.0))
    assert not checks_of(program)


def test_the_range_of_integers_that_may_overflow_is_unknown() -> None:
    x = make("input", buffer=Buffer("x", "argument", np.zeros(3, np.uint8), 0))
    assert range_of(x.out) == (0, np.inf)
    small = make("remainder", x.out, 200)
    assert range_of(small.out) == (0, 199)
    assert range_of(make("add", small.out, 50).out) == (50, 249)
    assert range_of(make("add", small.out, 100).out) == (0, np.inf)
    assert range_of(make("cast", small.out, dtype=np.dtype(np.int8)).out) == (-np.inf, np.inf)


def test_checks_come_first_and_stay() -> None:
    x, k = (make("input", buffer=Buffer(n, "argument", a, j)) for j, (n, a) in enumerate([("x", ones), ("k", IDS)]))
    y = make("exp", x.out)
    last = Op("check", (k.out,), {"low": 0, "high": 5}, ())
    tighter = Op("check", (make("reshape", k.out, shape=(2, 1)).out,), {"low": -9, "high": 3}, ())
    ops = [x, k, y, last, tighter.operands[0].op, tighter]
    program = check(Program(ops, [x.params["buffer"], k.params["buffer"]], {}, [y.out], []))
    assert checks_of(without_dead_code(program)) == [(0, 5), (-9, 3)]
    assert checks_of(checks_first(program)) == [(0, 3)]
    assert [op.name for op in optimized(program)[0].ops] == ["input", "input", "check", "exp"]


def test_no_buffer_is_written_before_the_last_check() -> None:
    w = Buffer("w", "state", np.ones(2))
    p, k = make("input", buffer=w), make("input", buffer=Buffer("k", "argument", IDS, 0))
    new = make("add", p.out, 1.0)
    bad = Op("check", (k.out,), {"low": 0, "high": 1}, ())
    for ops, place in (([p, k, bad, new], "state"), ([p, k, new, bad], "planned")):
        program = check(Program(ops, [w, k.params["buffer"]], {w: new.out}, [], []))
        assert barrier(program) == ops.index(bad)
        assert Plan(program).kind[new.out] == place


@pytest.mark.parametrize(
    ("ins", "params", "results"),
    [((1,), {"low": 0, "high": 1}, ()), (None, {"low": 2, "high": 1}, ()), (None, {"low": 0, "high": 1}, [((), bool)])],
)
def test_the_checker_of_programs_knows_checks(ins: Any, params: Any, results: Any) -> None:
    k = make("input", buffer=Buffer("k", "argument", IDS, 0))
    op = Op("check", (k.out,) if ins is None else ins, params, results)
    with pytest.raises(Malformed):
        check(Program([k, op], [k.params["buffer"]], {}, [], []))


# Functions that need checks


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float32])
@pytest.mark.parametrize(("low", "high"), [(0, 2), (-3, 2), (1, 3), (-2, 0)])
def test_ranges_hold_at_their_ends_on_both_back_ends(low: int, high: int, dtype: Any) -> None:
    inside = np.arange(low, high + 1)
    for backend in ("numpy", "numba") if kernel_files.is_available() else ("numpy",):

        def f(x: Any) -> Any:
            require_range(x, low, high, lambda x: ValueError("out of range"))
            return x * 2

        step = mg.compile(f, backend=backend)
        values = np.where(inside < 0, high, inside) if np.dtype(dtype).kind == "u" else inside
        for _ in range(3):
            step(values.astype(dtype))
        for k in range(values.size):
            for wrong in (low - 1, high + 1):
                bad = values.copy()
                bad[k] = wrong
                x = bad.astype(dtype)
                refused = ((x < low) | (x > high)).any()
                assert program_ran(step, (x,)) == (not refused)
                assert isinstance(outcome(step, (x,)), tuple) == refused


def test_nan_and_symbols_pass() -> None:
    require_range(np.array([np.nan, np.nan]), 0, 1, ValueError)
    require_range(object(), 0, 1, ValueError)
    require(np.all, ValueError, object())
    require_range(np.zeros(0), 1, 2, ValueError)
    require(lambda x: x > 0, ValueError, np.zeros(0))
    with pytest.raises(ValueError, match="5"):
        require_range(np.int64(5), 0, 1, ValueError)


def test_a_scalar_label_is_checked_in_eager_mode() -> None:
    with pytest.raises(ValueError, match="label -1 for 3 classes"):
        F.cross_entropy(X[0], np.int64(-1))


@pytest.mark.floating(all="warn")
def test_whether_floating_point_errors_raise() -> None:
    assert not errors_raise()
    for kind in ("divide", "over", "under", "invalid"):
        with np.errstate(**{kind: "raise"}):
            assert errors_raise()
            with np.errstate(all="ignore"):
                assert not errors_raise()
            assert errors_raise()
        assert not errors_raise()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.median(x, overwrite_input=True),
        lambda x: np.real_if_close(x * 1j),
    ],
)
def test_functions_whose_effect_or_dtype_depends_on_values_are_refused(f: Callable[..., Any]) -> None:
    x = np.array([3.0, np.nan, 1.0, 2.0])
    with pytest.raises(mg.compiler.CompileError):
        mg.compile(f, backend="numpy", fallback="raise")(x)
    np.testing.assert_array_equal(x, [3.0, np.nan, 1.0, 2.0])
    step, same_x = mg.compile(f, backend="numpy"), x.copy()
    with pytest.warns(mg.compiler.CompileWarning) as caught:
        got = [step(x) for _ in range(3)]
    assert len(caught) == 1
    np.testing.assert_array_equal(got, [f(same_x) for _ in range(3)])
    np.testing.assert_array_equal(x, same_x)


def test_the_real_part_is_not_a_view_in_the_dtype_of_the_array() -> None:
    f = mg.compile(lambda x: np.real(x) * 2, backend="numpy")
    for x in (np.array([1 + 2j, 3j]), np.array([5 - 1j, 2.0])):
        same(outcome(f, (x,)), np.real(x) * 2)
