"""Derivation: invalid input, verdicts, and reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.engine.primitive import REGISTRY
from minigrad.ops import elementwise
from minigrad.verify import Derivation

Line = Callable[..., Any]


def scaled(x: Any, w: Any) -> Any:
    h = mg.name("h", x * w)
    return mg.tanh(h)


def dh(dout, out):  # type: ignore[no-untyped-def]
    return dout * (1 - out**2)


def dx(dh, w):  # type: ignore[no-untyped-def]
    return dh * w


def dw(dh, x):  # type: ignore[no-untyped-def]
    return (dh * x).sum(axis=0)


def derivation(forward: Callable[..., Any], *lines: Line, **shapes: Any) -> Derivation:
    d = Derivation(forward, **shapes)
    for line in lines:
        d.line(line)
    return d


def of_scaled(*lines: Line) -> Derivation:
    return derivation(scaled, *lines, x="N D", w="D")


# Invalid input


def test_line_for_an_unknown_value_raises() -> None:
    def dq(dout):  # type: ignore[no-untyped-def]
        return dout

    with pytest.raises(TypeError, match=r"line dq is for 'q', which is not an input or named value.*there are x, w, h"):
        of_scaled(dq)


def test_line_for_the_result_raises() -> None:
    def dout(x):  # type: ignore[no-untyped-def]
        return x

    with pytest.raises(TypeError, match="line dout is for 'out'"):
        of_scaled(dout)


def test_unknown_parameter_raises() -> None:
    def dx(dout, weight):  # type: ignore[no-untyped-def]
        return dout * weight

    with pytest.raises(
        TypeError, match=r"parameter 'weight', which is not the name of a value or a gradient. Values are h, out, w, x"
    ):
        of_scaled(dx)


def test_without_shapes_names_are_checked_at_the_first_check() -> None:
    def dx(dout, weight):  # type: ignore[no-untyped-def]
        return dout * weight

    d = derivation(scaled, dx)
    with pytest.raises(TypeError, match="'weight', which is not the name of a value"):
        d.check(x=np.ones((3, 2)), w=np.ones(2))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (lambda dout: dout, "a line is called d<name>"),
        (lambda d=1: d, "a line is called d<name>"),
    ],
)
def test_line_name_must_begin_with_d(line: Line, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        of_scaled(line)


def test_parameters_with_defaults_or_stars_raise() -> None:
    def dx(dh, w=1):  # type: ignore[no-untyped-def]
        return dh * w

    def dw(*dh):  # type: ignore[no-untyped-def]
        return dh

    for line, shown in ((dx, "w=1"), (dw, r"\*dh")):
        with pytest.raises(TypeError, match=f"parameter {shown}; a line takes values and gradients by name only"):
            of_scaled(line)


def test_second_line_for_the_same_value_raises() -> None:
    with pytest.raises(TypeError, match="there is a line dx already"):
        of_scaled(dx, dx)


def test_line_that_uses_its_own_result_raises() -> None:
    def dx(dh, dx):  # type: ignore[no-untyped-def]
        return dh * dx

    with pytest.raises(TypeError, match="line dx uses its own result"):
        of_scaled(dx)


def test_circular_lines_raise() -> None:
    def dh(dx, w):  # type: ignore[no-untyped-def]
        return dx / w

    d = of_scaled(dh, dx)
    with pytest.raises(ValueError, match="the lines dh, dx depend on each other in a cycle"):
        d.check()


def test_check_without_lines_raises() -> None:
    with pytest.raises(ValueError, match="no lines to check"):
        of_scaled().check()


def test_value_named_like_a_gradient_raises() -> None:
    def forward(x: Any) -> Any:
        return x * mg.name("dx", x * 2)

    with pytest.raises(TypeError, match="'dx' is a value of the forward function, and also the name of a gradient"):
        derivation(forward, dx, x="N")


def test_value_whose_name_begins_with_d_is_not_a_gradient() -> None:
    def forward(x: Any, delta: float = 0.7) -> Any:
        return x * delta

    def dx(dout, delta):  # type: ignore[no-untyped-def]
        return dout * delta

    assert derivation(forward, dx, x="N").check().ok


def test_name_used_twice_raises_and_suggests_a_scope() -> None:
    def forward(x: Any) -> Any:
        return mg.name("h", mg.name("h", x * 2) * 3)

    with pytest.raises(ValueError, match=r"the name 'h' is used twice.*scope"):
        derivation(forward, dx, x="N").check()


def test_only_integer_inputs_raise() -> None:
    def forward(x: Any) -> Any:
        return mg.Tensor(1.0) * x

    def dx(dout):  # type: ignore[no-untyped-def]
        return dout

    with pytest.raises(TypeError, match="none of the inputs x holds floating-point numbers"):
        derivation(forward, dx).check(x=np.arange(3))


def test_random_forward_function_raises() -> None:
    rng = np.random.default_rng(0)

    def forward(x: Any) -> Any:
        return x * rng.random(3)

    def dx(dout):  # type: ignore[no-untyped-def]
        return dout

    with pytest.raises(ValueError, match="gave other values when it was called again"):
        derivation(forward, dx).check(x=np.ones(3))


def test_line_that_writes_into_its_inputs_raises() -> None:
    def dx(dh, w):  # type: ignore[no-untyped-def]
        dh *= w
        return dh

    with pytest.raises(ValueError, match="line dx writes into one of its inputs"):
        of_scaled(dh, dx).check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"q": "N"}, "scaled has no parameter 'q'; it has x, w"),
        ({"cotangent": np.ones(3)}, r"the cotangent has shape \(3,\), the result out \(7, 5\)"),
        ({"cotangent": (np.ones(5), np.ones(5))}, "has 1 results, and 2 cotangents were given"),
    ],
)
def test_invalid_arguments_of_check_raise(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        of_scaled(dh, dx, dw).check(**given)


def test_input_without_value_or_shape_raises() -> None:
    with pytest.raises(TypeError, match="input 'w' has neither a value nor a shape"):
        derivation(scaled, dx, x="N D").check()


def test_shape_for_an_unknown_parameter_raises() -> None:
    with pytest.raises(TypeError, match="'q' is not a parameter; scaled has x, w"):
        Derivation(scaled, q="N")


def test_forward_function_must_return_a_tensor() -> None:
    with pytest.raises(TypeError, match="must return a Tensor"):
        derivation(lambda x: None, dx, x="N")


def test_nonfinite_forward_function_raises() -> None:
    def dx(dout, x):  # type: ignore[no-untyped-def]
        return dout / x

    with pytest.raises(ValueError, match="the result has NaN or infinite elements"):
        derivation(mg.log, dx).check(x=np.array([-1.0, 2.0]))


def test_finite_differences_detect_a_primitive_with_a_wrong_rule() -> None:
    wrong = elementwise.elementwise(np.tanh, lambda v, out: v * (1 - out), name="wrong_tanh")
    del REGISTRY["wrong_tanh"]  # it has no row in the table of cases

    def dx(dout, out):  # type: ignore[no-untyped-def]
        return dout * (1 - out)

    d = derivation(wrong, dx, x="N")
    with pytest.raises(ArithmeticError, match=r"at x the tape says .* and finite differences"):
        d.check()


# Verdicts


def test_right_derivation() -> None:
    d = of_scaled(dh, dx, dw)
    assert not d.proven
    report = d.check()
    assert report.ok
    assert d.proven
    assert [line.verdict for line in report.lines.values()] == ["right"] * 3
    assert "all 3 lines are right" in str(report)
    assert json.loads(report.to_json())["ok"] is True
    report.raise_if_wrong()


def test_derivation_without_a_line_for_an_input_is_not_proven() -> None:
    d = of_scaled(dh, dx)
    report = d.check()
    assert report.ok
    assert report.missing == ["w"]
    assert "no line for w" in str(report)
    assert not d.proven


def test_only_the_wrong_line_is_reported() -> None:
    def dh(dout, out):  # type: ignore[no-untyped-def]
        return dout * (1 - out)

    report = of_scaled(dh, dx, dw).check()
    assert report.wrong == ["h"]
    assert [line.chained_ok for line in report.lines.values()] == [False, False, False]
    with pytest.raises(AssertionError, match="1 of 3 lines is wrong: dh"):
        report.raise_if_wrong()


def test_two_wrong_lines() -> None:
    def dh(dout, out):  # type: ignore[no-untyped-def]
        return dout * (1 + out**2)

    def dx(dh, w):  # type: ignore[no-untyped-def]
        return dh + w

    report = of_scaled(dh, dx, dw).check(repair_seconds=3)
    assert report.wrong == ["h", "x"]
    assert report.lines["x"].repair == "`dh + w` should be `dh * w`"


def test_forward_function_without_named_values() -> None:
    def dx(dout, w, x):  # type: ignore[no-untyped-def]
        return dout * w * np.cos(w * x)

    assert derivation(lambda x, w: mg.sin(x * w), dx, x="N D", w="D").check().ok


def test_line_that_returns_nan_is_wrong() -> None:
    def dx(dh, w):  # type: ignore[no-untyped-def]
        return dh * np.log(-np.abs(w))

    report = of_scaled(dh, dx, dw).check()
    assert report.wrong == ["x"]
    assert report.lines["x"].reason == "it returns NaN or infinite elements"


def test_line_that_raises_an_error_is_wrong() -> None:
    def dx(dh, w):  # type: ignore[no-untyped-def]
        return dh @ w.reshape(2, -1)

    report = of_scaled(dh, dx, dw).check()
    assert report.wrong == ["x"]
    assert report.lines["x"].reason.startswith("it does not run: ValueError")
    assert report.lines["w"].chained_ok


def test_line_may_return_a_tensor() -> None:
    def dh(dout, out):  # type: ignore[no-untyped-def]
        return mg.Tensor(dout) * (1 - mg.square(out))

    assert of_scaled(dh, dx, dw).check().ok


def test_several_outputs_with_a_named_one() -> None:
    def forward(x: Any, w: Any) -> Any:
        h = mg.name("h", x * w)
        return mg.tanh(h), h

    def dh(dout0, dout1, out0):  # type: ignore[no-untyped-def]
        return dout0 * (1 - out0**2) + dout1

    assert derivation(forward, dh, dx, dw, x="N D", w="D").check().ok

    def without(dout0, out0):  # type: ignore[no-untyped-def]
        return dout0 * (1 - out0**2)

    without.__name__ = "dh"
    report = derivation(forward, without, dx, dw, x="N D", w="D").check()
    assert report.wrong == ["h"]
    assert report.lines["h"].reason == "the path through out1 is missing"


def test_integer_inputs_are_values_without_a_gradient() -> None:
    def forward(z: Any, t: Any) -> Any:
        return z[np.arange(len(t)), t]

    def dz(dout, z, t):  # type: ignore[no-untyped-def]
        return dout[:, None] * np.eye(z.shape[1])[t]

    d = derivation(forward, dz, z="N C", t=lambda rng: rng.integers(0, 5, 7))
    report = d.check()
    assert report.ok
    assert report.missing == []

    def dt(dout):  # type: ignore[no-untyped-def]
        return dout

    with pytest.raises(TypeError, match="line dt is for 't'"):
        d.line(dt)


def test_scopes_are_part_of_names() -> None:
    def forward(x: Any) -> Any:
        for layer in ("first", "second"):
            with mg.scope(layer):
                x = mg.name("h", mg.tanh(x))
        return x * 2

    def dsecond_h(dout):  # type: ignore[no-untyped-def]
        return 2 * dout

    def dfirst_h(dsecond_h, second_h):  # type: ignore[no-untyped-def]
        return dsecond_h * (1 - second_h**2)

    def dx(dfirst_h, first_h):  # type: ignore[no-untyped-def]
        return dfirst_h * (1 - first_h**2)

    assert derivation(forward, dsecond_h, dfirst_h, dx, x="N D").check().ok


def test_control_flow_in_the_forward_function() -> None:
    def forward(x: Any, steps: int = 3) -> Any:
        h = x
        for k in range(steps):
            h = h * x if k % 2 else h + x
        return mg.name("h", h) * 2

    def dh(dout):  # type: ignore[no-untyped-def]
        return 2 * dout

    def dx(dh, x, steps):  # type: ignore[no-untyped-def]
        return dh * (4 * x + 1) if steps == 3 else dh * 2

    d = derivation(forward, dh, dx, x="N")
    assert d.check().ok
    assert d.check(steps=1).ok
    assert not d.check(steps=2).ok


def test_tensor_from_before_the_naming_is_tracked() -> None:
    def forward(x: Any) -> Any:
        h = x * x
        mg.name("h", h)
        return h * 3

    def dh(dout):  # type: ignore[no-untyped-def]
        return 3 * dout

    assert derivation(forward, dh, x="N").check().ok


def test_line_right_only_for_the_given_values() -> None:
    def dx(dh, x):  # type: ignore[no-untyped-def]
        return dh

    x = np.random.default_rng(0).standard_normal((4, 3))
    report = of_scaled(dh, dx, dw).check(x=x, w=np.ones(3))
    assert report.lines["x"].verdict == "only here"
    assert report.lines["x"].reason == "right only because w = 1; with others it is wrong"
    assert report.wrong == ["x"]


def test_cotangent_of_ones_does_not_hide_an_error() -> None:
    """The gradient of the variance is then identically 0, and without a special test any line for it would pass."""

    def forward(x: Any) -> Any:
        mu = mg.name("mu", x.mean(axis=0))
        var = mg.name("var", ((x - mu) ** 2).mean(axis=0))
        return (x - mu) / mg.sqrt(var)

    def dvar(dout, x, mu, var):  # type: ignore[no-untyped-def]
        return (dout * (x - mu)).sum(axis=0) * 0.5 * var**-1.5

    report = derivation(forward, dvar, x="N D").check(cotangent=1.0)
    assert report.wrong == ["var"]
    assert report.lines["var"].reason == "the sign is wrong"
    assert "dl/dvar is identically 0 here" in " ".join(report.lines["var"].notes)


def softmax(z: Any) -> Any:
    m = mg.name("m", z.max(axis=1, keepdims=True))
    e = mg.name("e", mg.exp(z - m))
    return e / e.sum(axis=1, keepdims=True)


def de(dout, out, e):  # type: ignore[no-untyped-def]
    return (dout - (dout * out).sum(axis=1, keepdims=True)) / e.sum(axis=1, keepdims=True)


def test_lines_for_an_identically_zero_gradient() -> None:
    def dm(de, e):  # type: ignore[no-untyped-def]
        return -(de * e).sum(axis=1, keepdims=True)

    assert derivation(softmax, de, dm, z="N C").check().ok

    def wrong(de, e):  # type: ignore[no-untyped-def]
        return (de * e).sum(axis=1, keepdims=True)

    wrong.__name__ = "dm"
    report = derivation(softmax, de, wrong, z="N C").check()
    assert report.wrong == ["m"]
    assert report.lines["m"].reason == "the sign is wrong"

    def dz(de, dm, e, z, m):  # type: ignore[no-untyped-def]
        return de * e + dm * (z == m)

    assert derivation(softmax, de, wrong, dz, z="N C").check().wrong == ["m"]  # no other decomposition

    def zero(e):  # type: ignore[no-untyped-def]
        return np.zeros((len(e), 1))

    zero.__name__ = "dm"
    assert derivation(softmax, de, zero, z="N C").check().ok

    def zero_of_e(de, e):  # type: ignore[no-untyped-def]
        return 0 * e[:, :1]

    zero_of_e.__name__ = "dm"
    report = derivation(softmax, de, zero_of_e, z="N C").check()
    assert report.ok
    assert "identically 0 here, so the line is right although it says just 0" in report.lines["m"].notes[0]


def test_other_decomposition() -> None:
    def forward(x: Any) -> Any:
        mu = mg.name("mu", x.mean(axis=0))
        var = mg.name("var", (x**2).mean(axis=0) - mu**2)
        return (x - mu) / mg.sqrt(var)

    def dvar(dout, x, mu, var):  # type: ignore[no-untyped-def]
        return (dout * (x - mu)).sum(axis=0) * -0.5 * var**-1.5

    def dmu(dout, var):  # type: ignore[no-untyped-def]
        return -(dout / np.sqrt(var)).sum(axis=0)

    def dx(dout, dvar, dmu, x, mu, var):  # type: ignore[no-untyped-def]
        return dout / np.sqrt(var) + dvar * 2 * (x - mu) / len(x) + dmu / len(x)

    d = derivation(forward, dvar, dmu, dx, x="N D")
    report = d.check()
    assert report.ok
    assert report.lines["mu"].verdict == "other decomposition"
    assert report.lines["var"].verdict == "right"
    assert d.proven

    def wrong(dout, dvar, dmu, x, mu, var):  # type: ignore[no-untyped-def]
        return dout / np.sqrt(var) + dvar * (x - mu) / len(x) + dmu / len(x)

    wrong.__name__ = "dx"
    assert "x" in derivation(forward, dvar, dmu, wrong, x="N D").check().wrong


def test_shapes_constants_and_seeds() -> None:
    d = of_scaled(dh, dx, dw)
    assert d.check(x=(2, 3), w=(3,)).ok
    assert d.check(x="B 3", w="3", seed=9).ok if "B" in d.forward.axes else True
    values = [d.check(seed=seed).lines["x"].expected for seed in (0, 0, 1)]
    assert np.array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_tiny_epsilon_is_replaced_unless_given() -> None:
    def forward(x: Any, eps: float = 1e-9) -> Any:
        return mg.sqrt(x**2 + eps)

    def dx(dout, x):  # type: ignore[no-untyped-def]
        return dout * np.sign(x)

    d = derivation(forward, dx, x="N")
    assert not d.check().ok
    assert d.check(eps=1e-9, exact=False).ok
    assert d.check(eps=1e-9).lines["x"].kind == "exact"


# Reasons


def reason(body: Line, name: str = "x") -> str:
    body.__name__ = f"d{name}"
    lines = {"h": dh, "x": dx, "w": dw, name: body}
    report = of_scaled(*lines.values()).check(repair_seconds=0)
    assert report.wrong == [name]
    return report.lines[name].reason


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("x", lambda dh, w: -dh * w, "the sign is wrong"),
        ("x", lambda dh, w: 2 * dh * w, "it is 2 times the right value"),
        ("x", lambda dh, w: dh, "the factor w is missing"),
        ("x", lambda dh, w: dh * w**3, "it is w^2 times the right value"),
        ("x", lambda dh, w: dh * w / len(dh), "it is 1/N times the right value"),
        ("x", lambda dh, w: dh * w * 0.123, "it is 0.123 times the right value"),
        ("x", lambda dh, w: 0 * dh, "it is 0 everywhere"),
        ("x", lambda dh, w: (dh * w).T, "it is transposed"),
        ("w", lambda dh, x: dh * x, "the sum over axis 0 is missing"),
        ("w", lambda dh, x: dh, "the sum over axis 0 is missing"),
        ("w", lambda dh, x: (dh * x).mean(axis=0), "it is 1/N times the right value"),
        ("w", lambda dh, x: (dh * x).sum(), "it is summed over axis 0, which must be kept"),
        ("h", lambda dout, out: dout, "the factor (1 - out²) is missing"),
        ("h", lambda dout, out, h: dout * (1 - h**2), "it differs from the tape"),
    ],
)
def test_reasons(name: str, line: Line, expected: str) -> None:
    assert reason(line, name) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (lambda da, db: 2 * db, "the path through a is missing"),
        (lambda da, db: 2 * da + 2 * db, "the path through a is counted twice"),
        (lambda da, db: -da + 2 * db, "the path through a has the wrong sign"),
        (lambda da, db, x: da * len(x) + 2 * db, "the path through a comes N times"),
        (lambda da, db, w: da * w + 2 * db, "in the path through a, the contribution is w times the right value"),
    ],
)
def test_reasons_of_paths(line: Line, expected: str) -> None:
    def forward(x: Any, w: Any) -> Any:
        a, b = mg.name("a", x + w), mg.name("b", 2 * x)
        return mg.tanh(a) * mg.exp(b)

    def right(da, db):  # type: ignore[no-untyped-def]
        return da + 2 * db

    right.__name__ = line.__name__ = "dx"
    assert derivation(forward, right, x="N D", w="N D").check().ok
    report = derivation(forward, line, x="N D", w="N D").check(repair_seconds=0)
    assert report.lines["x"].reason == expected


def test_factor_with_two_possible_names_is_shown_as_a_number() -> None:
    def dw(dh, x):  # type: ignore[no-untyped-def]
        return (dh * x).sum(axis=0) * 6

    shapes = {"x": (6, 6), "w": (6,)}
    report = of_scaled(dh, dx, dw).check(**shapes, repair_seconds=0)
    assert report.lines["w"].reason == "it is 6 times the right value"


def test_repair_is_shown_instead_of_a_missing_reason() -> None:
    def dh(dout, h):  # type: ignore[no-untyped-def]
        return dout * (1 - h**2)

    report = of_scaled(dh, dx, dw).check(repair_seconds=5)
    line = report.lines["h"]
    assert line.repair == "`h` should be `out`"
    assert line.repaired == "return dout * (1 - out ** 2)"
    assert "dh: one edit makes it right: `h` should be `out`" in str(report)
    assert "it differs from the tape" not in str(report)
    assert "finite differences agree with the tape" in str(report)


def test_line_without_available_source_has_no_repair() -> None:
    scope: dict[str, Any] = {}
    exec("def dx(dh, w): return dh + w", scope)
    report = of_scaled(dh, scope["dx"], dw).check()
    assert report.wrong == ["x"]
    assert report.lines["x"].repair is None


def test_report_fits_on_a_screen() -> None:
    def wrong(dout, h):  # type: ignore[no-untyped-def]
        return dout * h

    wrong.__name__ = "dh"
    text = str(of_scaled(wrong, dx, dw).check())
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 160


def test_old_name_of_explanation_warns() -> None:
    line = of_scaled(dh, dx, dw).check().lines["x"]
    with pytest.warns(DeprecationWarning, match="explanation"):
        assert line.told() == line.explanation()


CANCELED: dict[str, Callable[..., Any]] = {
    "a number": lambda dout, w: dout * w + 5.0,
    "a column": lambda dout, w, x: dout * w + x.sum(axis=1, keepdims=True),
    "a random column": lambda dout, w, out: dout * w - 3 * np.cos(out[:, :1]),
}


@pytest.mark.parametrize("what", CANCELED)
def test_error_that_the_next_line_cancels_is_reported(what: str) -> None:
    """x - mean(x) maps constants to 0, so the gradients of all inputs are right, although the line is wrong."""

    def center(x: Any, w: Any) -> Any:
        return mg.name("xc", x - x.mean(axis=1, keepdims=True)) * w

    def dx(dxc):  # type: ignore[no-untyped-def]
        return dxc - dxc.mean(axis=1, keepdims=True)

    def dw(dout, xc):  # type: ignore[no-untyped-def]
        return (dout * xc).sum(axis=0)

    dxc = CANCELED[what]
    dxc.__name__ = "dxc"
    d = derivation(center, dxc, dx, dw, x="N D", w="D")
    report = d.check()
    assert report.wrong == ["xc"]
    assert report.lines["xc"].verdict == "wrong"
    assert not d.proven
    with pytest.raises(ValueError, match="not proven"):
        d.fused()


# A loss in textbook notation, where dL/dL = 1 is not written


def loss(x: Any, w: Any, y: Any) -> Any:
    p = mg.name("p", mg.sigmoid(x @ w))
    return ((p - y) ** 2).mean()


def dp(p, y):  # type: ignore[no-untyped-def]
    return 2 * (p - y) / len(y)


def dw_of_loss(dp, p, x):  # type: ignore[no-untyped-def]
    return x.T @ (dp * p * (1 - p))


def dx_of_loss(dp, p, w):  # type: ignore[no-untyped-def]
    return np.outer(dp * p * (1 - p), w)


def dy(p, y):  # type: ignore[no-untyped-def]
    return -2 * (p - y) / len(y)


dw_of_loss.__name__, dx_of_loss.__name__ = "dw", "dx"
SHAPES = {"x": "N D", "w": "D", "y": "N"}


@pytest.mark.parametrize("cotangent", [None, 1.0])
def test_loss_without_its_own_gradient(cotangent: Any) -> None:
    report = derivation(loss, dp, dw_of_loss, **SHAPES).check(cotangent=cotangent)
    assert report.ok
    assert "no line names dout, the gradient of the result: it is 1" in str(report)

    def wrong(p, y):  # type: ignore[no-untyped-def]
        return (p - y) / len(y)

    wrong.__name__ = "dp"
    assert derivation(loss, wrong, dw_of_loss, **SHAPES).check(cotangent=cotangent).wrong == ["p"]


def test_loss_gradient_used_in_one_line_is_needed_in_all() -> None:
    def with_dout(dout, p, y):  # type: ignore[no-untyped-def]
        return dout * 2 * (p - y) / len(y)

    with_dout.__name__ = "dp"
    assert derivation(loss, with_dout, dw_of_loss, **SHAPES).check().ok
    assert derivation(loss, with_dout, dw_of_loss, dy, **SHAPES).check().wrong == ["y"]


def test_named_loss() -> None:
    def named(x: Any, y: Any) -> Any:
        return mg.name("L", ((x - y) ** 2).sum())

    def dx(x, y):  # type: ignore[no-untyped-def]
        return 2 * (x - y)

    def through(dL, x, y):  # type: ignore[no-untyped-def]
        return dL * 2 * (x - y)

    def dL():  # type: ignore[no-untyped-def]
        return np.ones(())

    through.__name__ = "dx"
    assert derivation(named, dx, x="N", y="N").check().ok
    assert derivation(named, through, x="N", y="N").check().ok
    assert derivation(named, dL, through, x="N", y="N").check().ok


def test_fused_loss_is_multiplied_by_its_cotangent() -> None:
    f = derivation(loss, dp, dw_of_loss, dx_of_loss, dy, **SHAPES).fused()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=4)
    for k in range(3):
        gradient = mg.grad(lambda *a: 3.0 * f(*a) ** 2, k)(*values)
        np.testing.assert_allclose(gradient, mg.grad(lambda *a: 3.0 * loss(*a) ** 2, k)(*values), rtol=1e-12)
    u = np.cos(values[1])
    product = mg.hvp(lambda w: f(values[0], w, values[2]), values[1], u)
    np.testing.assert_allclose(product, mg.hvp(lambda w: loss(values[0], w, values[2]), values[1], u), rtol=1e-10)


def test_nonscalar_result_needs_its_gradient() -> None:
    def double(x: Any) -> Any:
        return x * 2

    def dx(x):  # type: ignore[no-untyped-def]
        return 2 * np.ones_like(x)

    assert derivation(double, dx, x="N").check().wrong == ["x"]


# Excuses


def _center(x: Any, w: Any) -> Any:
    xc = mg.name("xc", x - x.mean(axis=1, keepdims=True))
    return xc * w


def _dx_of_center(dxc):  # type: ignore[no-untyped-def]
    return dxc - dxc.mean(axis=1, keepdims=True)


def _dw_of_center(dout, xc):  # type: ignore[no-untyped-def]
    return (dout * xc).sum(axis=0)


def _dxc_plus_constant(dout, w):  # type: ignore[no-untyped-def]
    return dout * w + 5.0


def _dxc_plus_row(dout, w):  # type: ignore[no-untyped-def]
    return dout * w + dout.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dxc", [_dxc_plus_constant, _dxc_plus_row])
def test_an_error_that_a_right_line_annihilates_is_not_excused(dxc: Line) -> None:
    d = Derivation(_center, x="N D", w="D")
    d.line(of="xc")(dxc)
    d.line(of="x")(_dx_of_center)
    d.line(of="w")(_dw_of_center)
    report = d.check()
    assert report.wrong == ["xc"]
    assert any("nothing that follows sees it" in note for note in report.lines["xc"].notes)
    with pytest.raises(ValueError, match="not proven"):
        d.fused()


def _two_decompositions(x: Any, w: Any) -> Any:
    """A centering, and a square that reaches the result through q in another way than the lines say."""
    xc = mg.name("xc", x - x.mean(axis=1, keepdims=True))
    m = mg.name("m", xc * w)
    q = mg.name("q", m * m * xc)
    return q * w


def _dq(dout, w):  # type: ignore[no-untyped-def]
    return dout * w


def _dm_as_if_alone(dq, m, xc):  # type: ignore[no-untyped-def]
    return dq * m * xc  # for q = m * (w xc) xc, half of the tape's


def _dxc_makes_up(dm, dq, m, w):  # type: ignore[no-untyped-def]
    return 2 * dm * w + dq * m * m


def _dxc_makes_up_and_more(dm, dq, m, w):  # type: ignore[no-untyped-def]
    return 2 * dm * w + dq * m * m + dq.sum(axis=1, keepdims=True)


def _dxc_makes_up_and_constant(dm, dq, m, w):  # type: ignore[no-untyped-def]
    return 2 * dm * w + dq * m * m + 5.0


def _dw_makes_up(dm, dout, q, xc):  # type: ignore[no-untyped-def]
    return (2 * dm * xc + dout * q).sum(axis=0)


@pytest.mark.parametrize(
    ("dxc", "unseen"),
    [(_dxc_makes_up, []), (_dxc_makes_up_and_more, ["xc"]), (_dxc_makes_up_and_constant, ["xc"])],
)
def test_an_excused_line_does_not_excuse_what_nothing_sees(dxc: Line, unseen: list[str]) -> None:
    d = Derivation(_two_decompositions, x="N D", w="D")
    for name, line in (("q", _dq), ("m", _dm_as_if_alone), ("xc", dxc), ("x", _dx_of_center), ("w", _dw_makes_up)):
        d.line(of=name)(line)
    report = d.check()
    assert report.lines["m"].verdict == "other decomposition"
    assert report.wrong == unseen
    assert report.ok is not bool(unseen)


# Losses, constants, cells


def _logistic_loss(x: Any, w: Any, y: Any) -> Any:
    p = mg.name("p", mg.sigmoid(x @ w))
    return ((p - y) ** 2).mean()


def _dp(p, y):  # type: ignore[no-untyped-def]
    return 2 * (p - y) / len(y)


def _dw_of_loss(dp, p, x):  # type: ignore[no-untyped-def]
    return x.T @ (dp * p * (1 - p))


def _loss_derivation(**options: Any) -> Derivation:
    d = Derivation(_logistic_loss, x="N D", w="D", y="N", **options)
    d.line(of="p")(_dp)
    d.line(of="w")(_dw_of_loss)
    return d


def test_lines_of_a_loss_without_dout_are_right() -> None:
    report = _loss_derivation().check()
    assert report.ok
    assert report.missing == ["x"]  # nobody wants the gradient of the labels
    assert "it is 1" in str(report)


def test_inputs_that_are_constants_are_asked_no_gradient_for() -> None:
    d = _loss_derivation(constants=("x", "y"))
    report = d.check(x=np.linspace(-1, 1, 28).reshape(7, 4), y=np.arange(7.0) % 2, w=(4,))
    assert report.ok
    assert report.missing == []
    assert d.proven
    with pytest.raises(TypeError, match="'z' is not a parameter"):
        Derivation(_logistic_loss, constants=("z",))


def test_fused_form_does_not_lose_the_gradient_of_labels() -> None:
    d = _loss_derivation(constants="x")
    with pytest.raises(ValueError, match=r"no line for y, .* or say constants=\('y',\)"):
        d.fused()


def test_cotangent_that_is_given_holds_in_all_draws() -> None:
    d = Derivation(lambda x: mg.exp(x).sum(), x="N")

    @d.line
    def dx(dout, x):  # type: ignore[no-untyped-def]
        return dout**2 * np.exp(x)

    assert d.check(cotangent=1.0).ok
    assert not d.check().ok


def test_cell_that_is_run_again_replaces_its_line() -> None:
    d = Derivation(lambda x, w: x * w, x="N", w="N")
    for file, factor in (("<ipython-input-1>", 2), ("<ipython-input-2>", 1), ("<ipython-input-2>", 1)):
        scope: dict[str, Any] = {"d": d}
        exec(compile(f"@d.line\ndef dx(dout, w):\n    return {factor} * dout * w", file, "exec"), scope)
    assert d.check().ok
    with pytest.raises(TypeError, match="there is a line dx already"):
        exec(compile("\n\n@d.line\ndef dx(dout, w): return dout", "<ipython-input-2>", "exec"), scope)


@pytest.mark.filterwarnings("error")
def test_no_warning_of_numpy_reaches_the_user() -> None:
    def dx(dh, w):  # type: ignore[no-untyped-def]
        return dh * np.log(-np.abs(w)) / np.zeros_like(w)

    def dw(dh, x):  # type: ignore[no-untyped-def]
        return dh[:0].mean(axis=0)

    assert of_scaled(dh, dx, dw).check().wrong == ["x", "w"]


def test_a_repair_that_a_constant_makes_right_by_chance_is_not_told() -> None:
    def line(dout, x):  # type: ignore[no-untyped-def]
        return dout * x  # twice that is right

    d = derivation(lambda x, rate=0.5: mg.square(x), x="N")
    d.line(of="x")(line)
    report = d.check()
    assert report.lines["x"].reason == "it is ½ times the right value: the factor 2 is missing"
    assert "rate" not in str(report.lines["x"].repair)


def test_only_the_diagonal_of_softmax_although_its_steps_are_named() -> None:
    def softmax(z: Any) -> Any:
        e = mg.name("e", mg.exp(z))
        s = mg.name("s", e.sum(axis=1, keepdims=True))
        return mg.name("p", e / s) * 1.0

    def dz(dp, p):  # type: ignore[no-untyped-def]
        return dp * p * (1 - p)

    assert derivation(softmax, dz, z="N C").check().lines["z"].reason.startswith("only the diagonal of dp/dz is not 0")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (lambda dout, x: dout, "it is right except where x ≤ 0, where it must be 0"),
        (lambda dout, x: dout * np.sign(x), "it is right except where x ≤ 0"),
        (lambda dout, x: np.where(x > 0, dout, 0) * (np.arange(len(x)) > 0)[:, None], "at the first element"),
    ],
)
def test_reasons_say_where(line: Line, reason: str) -> None:
    d = derivation(lambda x: mg.relu(x), x="N D")
    d.line(of="x")(line)
    assert reason in d.check().lines["x"].reason


def test_a_triangle_is_named() -> None:
    def forward(s: Any) -> Any:
        return s * np.tril(np.ones(s.shape))

    def ds(dout, s):  # type: ignore[no-untyped-def]
        return dout

    d = Derivation(forward, s=(4, 4))
    d.line(ds)
    assert d.check().lines["s"].reason == "it is right except above the diagonal, where it must be 0"
