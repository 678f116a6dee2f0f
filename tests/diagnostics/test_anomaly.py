"""detect_anomaly names the operation, the line of the user's code, the chain and a hint."""

import gc
import inspect
import threading
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.diagnostics import AnomalyError
from minigrad.diagnostics.anomaly.anomaly import user_location
from minigrad.engine import primitive

pytestmark = pytest.mark.floating(all="ignore")


def leaf(*values):
    return mg.Tensor(np.array(values), requires_grad=True).named("x")


def anomaly_of(function, *arguments):
    with pytest.raises(AnomalyError) as caught, mg.detect_anomaly():
        function(*arguments)
    return caught.value.anomaly


def line_of(function, text):
    """The number of the line of a function that contains this text."""
    lines, first = inspect.getsourcelines(function)
    return next(first + k for k, line in enumerate(lines) if text in line)


def divides(x):
    y = mg.where(x.data > 0, 1 / x, 0.0)
    loss = (y * 2).sum()
    loss.backward()


def roots(x):
    y = np.where(x.data > 0, np.sqrt(x * x), 0.0)
    y.sum().backward()


def negative_roots(x):
    y = np.where(x.data > 0, np.sqrt(x), 0.0)
    y.sum().backward()


def logs(x):
    p = (x * 0.5).named("p")
    entropy = mg.sum(p * mg.log(p))
    entropy.backward()


def naive_sigmoid(x):
    y = 1 / (1 + mg.exp(-1000 * x))
    y.sum().backward()


def naive_softmax(x):
    e = mg.exp(1000 * x)
    return e / e.sum()


def overflows(x):
    mg.exp(1000 * x).sum().backward()


def length(x):
    mg.sqrt((x * x).sum()).backward()


@pytest.mark.parametrize(
    ("function", "values", "text", "operation", "direction", "kind", "cause"),
    [
        (divides, [1.0, 0.0], "1 / x", "divide", "backward", "NaN", "discarded by where"),
        (roots, [1.0, 0.0], "np.sqrt(x * x)", "sqrt", "backward", "NaN", "discarded by where"),
        (negative_roots, [1.0, -1.0], "np.sqrt(x)", "sqrt", "forward", "NaN", "root of a negative number"),
        (logs, [1.0, 0.0], "p * mg.log(p)", "multiply", "forward", "NaN", "log of zero"),
        (logs, [1.0, -1.0], "mg.log(p)", "log", "forward", "NaN", "log of a negative number"),
        (naive_sigmoid, [1.0, -1.0], "mg.exp(-1000 * x)", "exp", "backward", "NaN", "exp overflows"),
        (naive_softmax, [1.0, -1.0], "e / e.sum()", "divide", "forward", "NaN", "exp overflows"),
        (overflows, [1.0, -1.0], "mg.exp(1000 * x)", "exp", "forward", "inf", "exp overflows"),
        (length, [0.0, 0.0], "mg.sqrt((x * x).sum())", "sqrt", "backward", "inf", "infinite slope"),
    ],
)
def test_location_and_cause(function, values, text, operation, direction, kind, cause):
    anomaly = anomaly_of(function, leaf(*values))
    assert (anomaly.operation, anomaly.direction, anomaly.kind, anomaly.cause) == (operation, direction, kind, cause)
    assert (anomaly.place.file, anomaly.place.line) == (__file__, line_of(function, text))
    assert anomaly.place.expression == text
    assert anomaly.place.function == function.__name__
    report = str(anomaly)
    assert anomaly.place.source in report
    marks = next(line for line in report.splitlines() if set(line.strip()) == {"^"})
    assert marks.strip() == "^" * len(text)
    assert "hint: " in report


def test_branch_discarded_by_where():
    anomaly = anomaly_of(divides, leaf(1.0, 0.0, 2.0))
    assert "np.where does not protect the gradient" in anomaly.remedy
    assert "divides by zero" in anomaly.remedy
    assert anomaly.elements == "1 of 3 elements, the first at [1]"
    assert [step.operation for step in anomaly.chain] == [
        "sum(multiply(…))", "multiply(where(…), 2)", "where(·, divide(…), 0)", "divide(1, x)"
    ]  # fmt: skip
    assert anomaly.chain[2].note.startswith("discards this branch")
    assert [step.place.line for step in anomaly.chain] == [
        line_of(divides, t) for t in ("sum()", "sum()", "1 / x", "1 / x")
    ]


def test_remedy_for_where_works():
    x = leaf(1.0, 0.0, 2.0)
    with mg.detect_anomaly():
        chosen = x.data > 0
        mg.where(chosen, 1 / mg.where(chosen, x, 1.0), 0.0).sum().backward()
    assert x.grad.tolist() == [-1.0, 0.0, -0.25]


def test_chain_starts_where_the_infinity_arises():
    anomaly = anomaly_of(naive_softmax, leaf(1.0, -1.0))
    assert [step.note for step in anomaly.chain] == ["", "inf arises here", "NaN arises here"]
    assert anomaly.reason.sentence == "inf / inf is NaN, and the inf is exp of a number that is too large"
    assert anomaly_of(logs, leaf(1.0, 0.0)).chain[-1].operation == "multiply(p, log(…))"


def test_operands_at_the_first_bad_element():
    anomaly = anomaly_of(lambda x: mg.log(x), leaf(1.0, -2.5))
    assert anomaly.elements == "1 of 2 elements, the first at [1], where x = -2.5"


def test_nan_from_outside():
    data = mg.Tensor([1.0, np.nan])
    assert anomaly_of(lambda: data * leaf(1.0, 2.0)).cause == "NaN from outside"
    weight = leaf(np.nan, 1.0)
    anomaly = anomaly_of(lambda: weight * 2)
    assert "operand x (x) had NaN" in anomaly.reason.sentence
    assert "earlier update" in anomaly.remedy
    assert anomaly_of(lambda: leaf(1.0).sum().backward(gradient=np.nan)).cause == "gradient from outside"


def test_infinity_from_outside_that_becomes_nan():
    anomaly = anomaly_of(lambda: leaf(np.inf, 1.0) - np.inf)
    assert anomaly.cause == "infinity from outside"
    assert anomaly.reason.sentence == "operand x (x) had inf before it came to subtract"


def test_partly_used_outputs():
    x = mg.Tensor(np.array([[1e200, -1e200, 3e200]]), requires_grad=True)
    anomaly = anomaly_of(lambda: (1e200 * nn.LayerNorm(3)(x)).sum().backward())
    assert (anomaly.operation, anomaly.direction) == ("layer_norm", "backward")
    assert "up to 1e+200" in anomaly.reason.sentence


def test_long_chain_is_shortened():
    def long(x):
        y = mg.log(x)
        for _ in range(20):
            y = y + 1
        y.sum().backward()

    anomaly = anomaly_of(long, leaf(0.0, 1.0))
    assert len(anomaly.chain) == 22
    rows = str(anomaly).partition("the path of the value:\n")[2].partition("\nhint")[0].splitlines()
    assert [row.split()[0] for row in rows] == ["log(x)", "...", "add(add(…),", "add(add(…),", "sum(add(…))"]
    assert rows[0].endswith("-inf arises here")
    assert "18 more" in rows[1]


def test_intended_infinities_are_not_reported():
    x = leaf(1.0, -1.0)
    with mg.detect_anomaly():
        masked = mg.where(np.array([True, False]), x, -np.inf)
        F.softmax(masked)[0].backward()
        mg.where(x.data > 5, mg.log(mg.abs(x) - 1), 0.0)  # discarded, and nothing is differentiated
    assert x.grad.tolist() == [0.0, 0.0]


def test_unused_infinity_is_reported_at_the_end():
    assert anomaly_of(lambda: mg.exp(leaf(1000.0))).cause == "exp overflows"
    with mg.no_grad():
        assert anomaly_of(lambda: mg.exp(mg.Tensor([1000.0]))).place.source.startswith(
            "assert anomaly_of(lambda: mg.exp(mg.T"
        )


def test_other_exceptions_get_a_note():
    @mg.detect_anomaly()
    def program():
        mg.exp(leaf(1000.0))
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        program()
    assert "exp of a number that is too large" in caught.value.__notes__[0]


def test_anomaly_names_the_layer():
    class Entropy(nn.Module):
        def forward(self, p):
            return p * mg.log(p)

    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), Entropy())
    with mg.no_grad():
        model[0].weight[...] = 0
    anomaly = anomaly_of(lambda: model(np.ones((3, 2))))
    assert anomaly.scope == "2"
    assert "layer 2" in anomaly.headline()
    assert anomaly.place.source == "return p * mg.log(p)"


def test_locations_skip_library_code():
    anomaly = anomaly_of(lambda: F.binary_cross_entropy_with_logits(mg.Tensor([np.nan]), np.array([1.0])))
    assert anomaly.place.file == __file__
    assert user_location(inspect.currentframe()).source.startswith("assert user_location(")


def test_second_derivatives():
    def twice(x):
        y = mg.where(x.data > 0, x**1.5, 0.0).sum()
        (g,) = (mg.grad(lambda t: mg.where(t.data > 0, t**1.5, 0.0).sum()),)
        return mg.grad(lambda t: g(t).sum())(x), y

    anomaly = anomaly_of(twice, leaf(1.0, 0.0))
    assert anomaly.place.line == line_of(twice, "(g,)")


def test_multiple_outputs_and_checkpoints():
    x = mg.Tensor(np.ones((2, 2)), requires_grad=True)
    anomaly = anomaly_of(lambda: (2 * mg.linalg.slogdet(x)[1]).backward())
    assert (anomaly.operation, anomaly.direction, anomaly.kind) == ("slogdet", "forward", "-inf")
    inside = anomaly_of(lambda: mg.checkpoint(lambda t: mg.log(t - 1))(leaf(0.5)).sum().backward())
    assert inside.place.expression == "mg.log(t - 1)"


def test_forward_mode():
    def push():
        return mg.jvp(lambda x: 2 * mg.sqrt(x), (np.zeros(2),), (np.ones(2),))

    anomaly = anomaly_of(push)
    assert (anomaly.operation, anomaly.direction, anomaly.cause) == ("sqrt", "forward mode", "infinite slope")
    assert anomaly.place.expression == "mg.sqrt(x)"
    assert "the tangent of sqrt" in str(anomaly)
    discarded = anomaly_of(
        lambda: mg.jvp(lambda x: mg.where(x.data > 0, mg.sqrt(x), 0.0), (np.zeros(2),), (np.ones(2),))
    )
    assert discarded.operation == "sqrt"


def test_custom_primitives_are_observed():
    before = mg.custom(lambda x: np.log(x), lambda v, x: v / x, name="before")
    assert anomaly_of(lambda: before(leaf(-1.0))).operation == "before"

    def inside():
        mg.custom(lambda x: np.log(x), lambda v, x: v / x, name="inside")(leaf(-1.0))

    assert anomaly_of(inside).operation == "inside"


def test_decorator_and_nested_blocks():
    @mg.detect_anomaly()
    def step(value):
        with mg.detect_anomaly():
            pass
        return mg.log(leaf(value))

    assert step(1.0).tolist() == [0.0]
    for _ in range(2):
        with pytest.raises(AnomalyError):
            step(-1.0)


def test_gradients_do_not_change_inside_the_block():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4), nn.Tanh(), nn.Linear(4, 1, rng=1))
    x = np.random.default_rng(0).normal(size=(5, 3))
    plain = mg.grad(lambda w: (model(x) * w).sum())(np.ones((5, 1)))
    with mg.detect_anomaly():
        assert np.array_equal(mg.grad(lambda w: (model(x) * w).sum())(np.ones((5, 1))), plain)


def test_block_restores_the_engine():
    def state():
        return {
            p: (p.record.__globals__["function"], p.record.__globals__["Node"], p.__dict__.get("pull"))
            for p in primitive.FUNCTIONS
        }

    (leaf(1.0) * 2).sum().backward()
    before = state()
    with mg.detect_anomaly():
        assert mg.log.primitive.record.__globals__["function"] is not np.log
    anomaly_of(mg.log, leaf(-1.0))
    after = state()
    assert all(after[p][:2] == before[p][:2] for p in before)
    assert all(after[p][2] == before[p][2] or before[p][2] is None for p in before)
    assert not primitive.on_new
    assert np.isnan(mg.log(leaf(-1.0)).item())


def test_block_does_not_keep_the_tape_alive():
    with mg.detect_anomaly():
        x = leaf(1.0, 2.0)
        y = mg.exp(x)
        line = weakref.ref(y.node)
        y.sum().backward()
        del y
        gc.collect()
        assert line() is None


def test_other_threads_are_not_observed():
    results = []

    def work():
        with np.errstate(all="ignore"):
            results.append(mg.log(leaf(-1.0)).tolist())

    with mg.detect_anomaly():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert np.isnan(results[0]).all()


def test_to_dict():
    content = anomaly_of(divides, leaf(1.0, 0.0)).to_dict()
    assert content["cause"] == "discarded by where"
    assert content["line"] == line_of(divides, "1 / x")
    assert content["file"] == __file__


# Causes are true, and the hints help


def total(x):
    return sum(part.sum() for part in x) if isinstance(x, tuple) else x.sum()


LA = mg.linalg
DIAGONAL = np.diag([0.0, 1e-3])
# What is done with x, its values, the cause that is named, and what the hint makes of it.
CAUSES = {
    "even power": (lambda x: x**4, [-1e100], "overflow", lambda x: (x / 1e100) ** 4),
    "odd power": (lambda x: x**3, [-1e200], "overflow", lambda x: (x / 1e200) ** 3),
    "power of an array": (lambda x: x ** np.array([2.0]), [-1e200], "overflow",
        lambda x: (x / 1e200) ** np.array([2.0])),
    "large exponent": (lambda x: 10.0**x, [400.0], "overflow", lambda x: 10.0 ** (x / 400)),
    "exponent of a negative base": (lambda x: np.array([-2.0]) ** (x * 1), [2.0], "log of a negative number",
        lambda x: np.clip(np.array([-2.0]), 1e-12, None) ** (x * 1)),
    "fractional power": (lambda x: x**0.3, [-2.0], "root of a negative number", lambda x: mg.clip(x, 1e-12) ** 0.3),
    "square root by power": (lambda x: x**0.5, [-2.0], "root of a negative number", lambda x: mg.clip(x, 1e-12) ** 0.5),
    "root of 0": (mg.sqrt, [0.0], "infinite slope", lambda x: mg.sqrt(mg.clip(x, 1e-12))),
    "fractional power of 0": (lambda x: x**0.3, [0.0], "infinite slope", lambda x: mg.clip(x, 1e-12) ** 0.3),
    "negative power of 0": (lambda x: x**-1.5, [0.0], "division by zero",
        lambda x: mg.where(x.data == 0, 1, x) ** -1.5),
    "cube root of 0": (mg.cbrt, [0.0], "infinite slope", lambda x: mg.cbrt(mg.where(x.data == 0, 1e-12, x))),
    "a root times a lot": (lambda x: mg.sqrt(x) * 1e200, [1e-320], "exploding gradient", lambda x: mg.sqrt(x) * 1e-50),
    "log of 0": (mg.log, [0.0], "log of zero", lambda x: mg.log(mg.clip(x, 1e-12))),
    "log of -1": (mg.log2, [-1.0], "log of a negative number", lambda x: mg.log2(mg.clip(x, 1e-12))),
    "log of almost 0": (mg.log, [1e-320], "log of almost zero", lambda x: mg.log(mg.clip(x, 1e-12))),
    "log1p of -1": (mg.log1p, [-1.0], "log of zero", lambda x: mg.log1p(mg.clip(x, -1 + 1e-6))),
    "log1p of -2": (mg.log1p, [-2.0], "log of a negative number", lambda x: mg.log1p(mg.clip(x, -1 + 1e-6))),
    "1 / 0": (lambda x: 1 / x, [0.0], "division by zero", lambda x: 1 / mg.where(x.data == 0, 1, x)),
    "1 % 0": (lambda x: np.array([1.0]) % x, [0.0], "division by zero", lambda x: 1 % mg.where(x.data == 0, 1, x)),
    "x % 0": (lambda x: x % 0.0, [1.0], "division by zero", lambda x: x % 1.0),
    "fmod(x, 0)": (lambda x: np.fmod(x, 0.0), [1.0], "division by zero", lambda x: np.fmod(x, 1.0)),
    "slope of 1 / x": (lambda x: 1 / x, [1e-200], "division by almost zero", lambda x: 1 / mg.clip(x, 1e-6)),
    "1 / denormal": (lambda x: 1 / x, [1e-320], "division by almost zero", lambda x: 1 / mg.clip(x, 1e-6)),
    "large / small": (lambda x: x / 1e-200, [1e200], "division by almost zero",
        lambda x: x / np.clip(1e-200, 1e-6, None)),
    "large / large": (lambda x: x / 1e-3, [1e308], "overflow", lambda x: (x / 1e308) / 1e-3),
    "exp": (mg.exp, [1000.0], "exp overflows", lambda x: mg.exp(mg.clip(x, max=80))),
    "exp2": (mg.exp2, [2000.0], "exp overflows", lambda x: mg.exp2(mg.clip(x, max=80))),
    "exp in float16": (mg.exp, np.array([12.0], np.float16), "exp overflows", lambda x: mg.exp(mg.clip(x, max=10))),
    "sinh": (mg.sinh, [-800.0], "exp overflows", lambda x: mg.sinh(mg.clip(x, -80, 80))),
    "arcsin of 2": (mg.arcsin, [2.0], "outside the domain", lambda x: mg.arcsin(mg.clip(x, -1 + 1e-7, 1 - 1e-7))),
    "arccos of 1": (mg.arccos, [1.0], "infinite slope", lambda x: mg.arccos(mg.clip(x, -1 + 1e-7, 1 - 1e-7))),
    "arctanh of 1": (mg.arctanh, [1.0], "infinite value", lambda x: mg.arctanh(mg.clip(x, -1 + 1e-7, 1 - 1e-7))),
    "arccosh of ½": (mg.arccosh, [0.5], "outside the domain", lambda x: mg.arccosh(mg.clip(x, 1 + 1e-6))),
    "arccosh of 1": (mg.arccosh, [1.0], "infinite slope", lambda x: mg.arccosh(mg.clip(x, 1 + 1e-6))),
    "batch norm of a constant": (lambda x: nn.BatchNorm(2, eps=0)(x), np.ones((3, 2)), "division by zero",
        lambda x: nn.BatchNorm(2, eps=1e-5)(x)),
    "layer norm of a constant": (lambda x: nn.LayerNorm(2, eps=0)(x), np.ones((3, 2)), "division by zero",
        lambda x: nn.LayerNorm(2, eps=1e-5)(x)),
    "layer norm, functional": (lambda x: F.layer_norm(x, eps=0), np.ones((3, 2)), "division by zero",
        lambda x: F.layer_norm(x, eps=1e-5)),
    "eigenvectors": (lambda x: LA.eigh(x)[1], np.eye(2), "equal eigenvalues", lambda x: LA.eigh(x + DIAGONAL)[1]),
    "singular vectors": (lambda x: LA.svd(x)[0], np.eye(2), "equal singular values",
        lambda x: LA.svd(x + 1e-3 * np.diag([1.0, 2.0]))[0]),
    "singular vectors of 0": (lambda x: LA.svd(x)[0], np.zeros((2, 2)), "equal singular values",
        lambda x: LA.svd(x + 1e-3 * np.diag([1.0, 2.0]))[0]),
    "singular values alone": (lambda x: LA.svd(x)[2], np.eye(2), "equal singular values", lambda x: LA.svdvals(x)),
    "almost singular": (LA.inv, np.eye(2) * 1e-200, "singular matrix", lambda x: LA.inv(x + 1e-6 * mg.eye(2))),
    "solve, almost singular": (lambda x: LA.solve(x, np.full(2, 1e200)), np.eye(2) * 1e-200, "singular matrix",
        lambda x: LA.solve(x + 1e-6 * mg.eye(2), np.full(2, 1e100))),
    "slogdet": (lambda x: LA.slogdet(x)[1] * 1, np.zeros((2, 2)), "singular matrix",
        lambda x: LA.slogdet(x + 1e-6 * mg.eye(2))[1]),
    "large determinant": (LA.det, np.eye(2) * 1e200, "overflow", lambda x: LA.det(x / 1e200)),
    "large product": (lambda x: x @ x, np.full((2, 2), 1e200), "overflow", lambda x: (x / 1e200) @ (x / 1e200)),
    "mean of nothing": (mg.mean, np.zeros(0), "empty reduction", lambda x: x.sum()),
    "logsumexp of nothing": (lambda x: mg.logsumexp(x, axis=0), np.zeros((0, 2)), "empty reduction", lambda x: x.sum()),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
def test_cause_is_right_and_hint_works(name):
    function, values, cause, hint = CAUSES[name]
    x = mg.Tensor(np.array(values), requires_grad=True)
    anomaly = anomaly_of(lambda: total(function(x)).backward())
    assert anomaly.cause == cause, anomaly.reason.sentence
    assert anomaly.remedy
    with mg.detect_anomaly():
        total(hint(x)).backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_overlapping_blocks_restore_numpy_errors():
    before = np.geterr()
    first, second = mg.detect_anomaly(), mg.detect_anomaly()
    with np.errstate(all="warn"):
        warns = np.geterr()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(np.geterr().values()) == {"ignore"}
        second.__exit__(None, None, None)
        assert np.geterr() == warns
    assert np.geterr() == before


def test_caught_error_is_not_raised_again():
    with mg.detect_anomaly():
        for _ in range(2):
            with pytest.raises(AnomalyError, match="NaN arises in log"):
                mg.log(leaf(-1.0))
        w = leaf(0.0)
        with pytest.raises(AnomalyError):
            mg.sqrt(w * 0).sum().backward()
