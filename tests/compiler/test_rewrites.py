"""Equations, the rewriter that applies them, and what the equations of the compiler replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad.compiler.ir.patterns import C, P, Pattern, Q, S, X, Y
from minigrad.compiler.ir.program import Buffer, Op, Program, Value
from minigrad.compiler.ir.rewriter import Rewriter, Rules
from minigrad.compiler.ir.typing import make
from minigrad.compiler.passes.pipeline import simplified

Build = Callable[..., Value]


def program_of(build: Build, *dtypes: str, shape: tuple[int, ...] = (3, 4)) -> Program:
    """A program that returns build(op, x, y, ...)."""
    buffers = [Buffer(f"x{k}", "argument", np.zeros(shape, dtype), k) for k, dtype in enumerate(dtypes)]
    ops = [make("input", buffer=b) for b in buffers]

    def op(name: str, *ins: Any, **params: Any) -> Value:
        ops.append(make(name, *ins, **params))
        return ops[-1].out

    out = build(op, *[line.out for line in ops])
    return Program(ops, buffers, {}, [out], [])


def rewritten(rules: Rules, build: Build, *dtypes: str) -> str:
    """The op that computes the result after some rules, with the numbers of inputs that are its operands."""
    rewriter = type("Tested", (Rewriter,), {"rules": rules})()
    return described(rewriter.run(program_of(build, *(dtypes or ("f8", "f8")))).outputs[0])


def described(x: Any) -> str:
    """A value as an expression of inputs."""
    if not isinstance(x, Value):
        return repr(x)
    if x.op.name == "input":
        return x.op.params["buffer"].name
    return f"{x.op.name}({', '.join(map(described, x.op.ins))})"


def rules_of(*equations: Any, **options: Any) -> Rules:
    rules = Rules()
    for equation in equations:
        rules.rewrite(*equation, **options)
    return rules


# Equations


def test_operands_of_commutative_ops_match_in_either_order() -> None:
    rules = rules_of((X + -Y, lambda x, y: x - y))
    assert rewritten(rules, lambda op, x, y: op("add", x, op("negative", y))) == "subtract(x0, x1)"
    assert rewritten(rules, lambda op, x, y: op("add", op("negative", x), y)) == "subtract(x1, x0)"


def test_operands_of_other_ops_match_in_their_order_only() -> None:
    rules = rules_of((X - -Y, lambda x, y: x + y))
    assert rewritten(rules, lambda op, x, y: op("subtract", op("negative", x), y)) == "subtract(negative(x0), x1)"


def test_a_variable_stands_for_one_value() -> None:
    rules = rules_of(((S + X) + X, lambda s, x: s + x * 2.0))
    assert rewritten(rules, lambda op, x, y: op("add", op("add", x, y), x)) == "add(x1, multiply(x0, 2.0))"
    assert rewritten(rules, lambda op, x, y: op("add", op("add", x, 1.0), y)) == "add(add(x0, 1.0), x1)"


def test_nested_commutative_ops_match_in_every_order() -> None:
    rules = rules_of(((P * Q) * -Y, lambda p, q, y: y.apply("exp")))
    for left in (lambda op, x: op("multiply", x, 2.0), lambda op, x: op("multiply", 2.0, x)):
        for pair in (lambda a, b: (a, b), lambda a, b: (b, a)):
            build = lambda op, x, y, left=left, pair=pair: op("multiply", *pair(left(op, x), op("negative", y)))
            assert rewritten(rules, build) == "exp(x1)"


def test_numbers_and_literals() -> None:
    rules = rules_of((X**2, lambda x: x * x), (X / C, lambda x, c: x * (1 / c), lambda c: c != 0))
    assert rewritten(rules, lambda op, x, y: op("power", x, 2)) == "multiply(x0, x0)"
    assert rewritten(rules, lambda op, x, y: op("power", x, 3)) == "power(x0, 3)"
    assert rewritten(rules, lambda op, x, y: op("divide", x, 4.0)) == "multiply(x0, 0.25)"
    assert rewritten(rules, lambda op, x, y: op("divide", x, 0.0)) == "divide(x0, 0.0)"
    assert rewritten(rules, lambda op, x, y: op("divide", x, y)) == "divide(x0, x1)"


def test_parameters_of_the_op_reach_the_rule() -> None:
    rules = rules_of((X.apply("sum"), lambda x, axes: x.apply("max", axes=axes), lambda axes: axes == (1,)))
    assert rewritten(rules, lambda op, x, y: op("sum", x, axes=(1,))) == "max(x0)"
    assert rewritten(rules, lambda op, x, y: op("sum", x, axes=(0,))) == "sum(x0)"


def test_equations_are_for_floats_of_one_dtype_unless_they_say_otherwise() -> None:
    equation = (X + Y, lambda x, y: y - x)
    for dtypes in (("i8", "i8"), ("f4", "f8")):
        assert rewritten(rules_of(equation), lambda op, x, y: op("add", x, y), *dtypes) == "add(x0, x1)"
        rules = rules_of(equation, any_dtype=True)
        assert rewritten(rules, lambda op, x, y: op("add", x, y), *dtypes) == "subtract(x1, x0)"


def test_a_replacement_of_another_dtype_is_not_used() -> None:
    rules = rules_of((X - Y, lambda x, y: x), any_dtype=True)
    assert rewritten(rules, lambda op, x, y: op("subtract", x, y), "f4", "f8") == "subtract(x0, x1)"


def test_a_replacement_is_broadcast_to_the_shape() -> None:
    rules = rules_of((Pattern("maximum", (X, Y)), lambda x, y: y))
    build = lambda op, x: op("maximum", x, op("sum", x, axes=(0, 1)))
    assert rewritten(rules, build, "f8") == "broadcast(sum(x0))"


def test_the_first_rule_that_applies_decides() -> None:
    rules = rules_of((X + Y, lambda x, y: x - y, lambda: False), (X + Y, lambda x, y: x * y), (X + Y, lambda x, y: x))
    assert rewritten(rules, lambda op, x, y: op("add", x, y)) == "multiply(x0, x1)"


# The rewriter


def test_functions_are_tried_only_for_their_operands() -> None:
    rules, tried = Rules(), []

    @rules.rule("add", operands=("exp",))
    def rule(b: Rewriter, x: Any, y: Any) -> None:
        tried.append((x.op.name, y.op.name))

    rewritten(rules, lambda op, x, y: op("add", op("add", x, y), op("exp", y)))
    assert tried == [("add", "exp")]


def test_equal_ops_become_one() -> None:
    def build(op: Any, x: Any, y: Any) -> Value:
        value: Value = op("subtract", op("multiply", x, y), op("multiply", y, x))
        return value

    assert len(Rewriter().run(program_of(build, "f8", "f8"))) == 2


def test_literals_of_other_types_are_other_ops() -> None:
    program = program_of(lambda op, x: op("add", op("multiply", x, 1), op("multiply", x, 1.0)), "f8")
    assert len(Rewriter().run(program)) == 3


def test_ops_without_a_rule_stay_the_same_objects() -> None:
    program = program_of(lambda op, x, y: op("add", op("exp", x), op("negative", y)), "f8", "f8")
    assert Rewriter().run(program).ops == program.ops


def test_a_rule_must_keep_shape_and_dtype() -> None:
    rules = Rules()
    rules.rule("exp")(lambda b, x: b.raw("sum", x, axes=(0,)))
    with pytest.raises(AssertionError, match="a rule replaced <exp"):
        rewritten(rules, lambda op, x, y: op("exp", x))


def test_replaced_values_keep_their_names() -> None:
    program = program_of(lambda op, x, y: op("add", x, op("negative", y)), "f8", "f8")
    program.outputs[0].name = "loss"
    (out,) = simplified(program).outputs
    assert (out.op.name, out.name) == ("subtract", "loss")


# The compiler's equations


def small(op: Any, x: Any) -> Any:
    """A value smaller than x, and never 0."""
    return op("add", op("sum", op("exp", x), axes=(0,)), 1.0)


EQUATIONS: dict[str, tuple[Any, str]] = {
    "-0.0": (lambda op, x, y: op("add", x, -0.0), "x0"),
    "0.0 changes -0.0": (lambda op, x, y: op("add", x, 0.0), "add(x0, 0.0)"),
    "minus 0": (lambda op, x, y: op("subtract", x, 0.0), "x0"),
    "times 1": (lambda op, x, y: op("multiply", 1.0, x), "x0"),
    "times 0 may be NaN": (lambda op, x, y: op("multiply", x, 0.0), "multiply(x0, 0.0)"),
    "divided by 1": (lambda op, x, y: op("divide", x, 1), "x0"),
    "two signs": (lambda op, x, y: op("negative", op("negative", x)), "x0"),
    "a sum of negatives": (
        lambda op, x, y: op("add", op("negative", x), op("negative", y)),
        "negative(add(x0, x1))",
    ),
    "a difference of negatives": (
        lambda op, x, y: op("subtract", op("negative", x), op("negative", y)),
        "subtract(x1, x0)",
    ),
    "a negative difference": (lambda op, x, y: op("negative", op("subtract", x, y)), "subtract(x1, x0)"),
    "a negative product": (lambda op, x, y: op("negative", op("multiply", x, 3.0)), "multiply(x0, -3.0)"),
    "a negative quotient": (lambda op, x, y: op("negative", op("divide", 3.0, x)), "divide(-3.0, x0)"),
    "signs of a product": (
        lambda op, x, y: op("multiply", op("negative", x), op("negative", y)),
        "multiply(x1, x0)",
    ),
    "signs of a quotient": (lambda op, x, y: op("divide", x, op("negative", y)), "negative(divide(x0, x1))"),
    "twice": (lambda op, x, y: op("add", x, x), "multiply(x0, 2.0)"),
    "a quotient by a number": (lambda op, x, y: op("divide", x, 4), "multiply(x0, 0.25)"),
    "numbers first": (lambda op, x, y: op("multiply", op("multiply", x, 3.0), 0.5), "multiply(x0, 1.5)"),
    "a cube": (lambda op, x, y: op("power", x, 3), "multiply(multiply(x0, x0), x0)"),
    "a root": (lambda op, x, y: op("power", x, 0.5), "sqrt(x0)"),
    "one over a square": (lambda op, x, y: op("power", x, -2), "divide(1.0, multiply(x0, x0))"),
    "a quotient by a small value": (
        lambda op, x, y: op("divide", x, small(op, x)),
        "multiply(x0, divide(1.0, add(sum(exp(x0)), 1.0)))",
    ),
    "a choice between equals": (lambda op, x, y: op("where", op("greater", x, y), y, y), "x1"),
    "a choice without a condition": (lambda op, x, y: op("where", True, x, y), "x0"),
    "the sum of a negative": (lambda op, x, y: op("sum", op("negative", x), axes=(0,)), "negative(sum(x0))"),
    "the sum of a product": (lambda op, x, y: op("sum", op("multiply", x, 3.0), axes=(0,)), "multiply(sum(x0), 3.0)"),
    "two reshapes": (
        lambda op, x, y: op("reshape", op("reshape", x, shape=(12,)), shape=(3, 4)),
        "x0",
    ),
    "two transposes": (
        lambda op, x, y: op("transpose", op("transpose", x, axes=(1, 0)), axes=(1, 0)),
        "x0",
    ),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_compiler_replaces(name: str) -> None:
    build, expected = EQUATIONS[name]
    assert described(simplified(program_of(build, "f8", "f8")).outputs[0]) == expected


def test_integers_keep_what_floats_lose() -> None:
    build = lambda op, x, y: op("add", x, op("negative", y))
    assert described(simplified(program_of(build, "i8", "i8")).outputs[0]) == "add(x0, negative(x1))"
    ops: list[Op] = simplified(program_of(lambda op, x, y: op("subtract", x, 0j), "c16", "c16")).ops
    assert [op.name for op in ops] == ["input", "subtract"]
