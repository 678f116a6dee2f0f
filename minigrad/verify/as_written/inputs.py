"""Inputs for a forward function, drawn from what its code and its docstring say about their shapes."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.verify.derivation.structure import away_from_0_and_1
from minigrad.verify.pairs.instrument import Written

Array = Any
# Sizes of named axes, different from each other, and others for a second look: a factor may be a size by chance.
SIZES = ((5, 4, 3, 7, 2, 6, 8, 9), (7, 3, 5, 4, 6, 2, 9, 8))
SIZES_OF_MANY_AXES = ((2, 3, 4, 6, 5, 8, 7, 9), (3, 2, 6, 4, 7, 5, 9, 8))  # if an input has four axes, as an image
EVEN_SIZES = ((2, 4, 8, 6, 10, 12, 14, 16), (4, 2, 6, 8, 12, 10, 16, 14))
# Options of the dictionaries that courses pass to layers, by key.
OPTIONS = {
    "mode": "train", "stride": 1, "pad": 1, "padding": 1, "p": 0.6, "keep_prob": 0.6, "eps": 1e-5, "epsilon": 1e-5,
    "momentum": 0.9, "seed": 3, "pool_height": 2, "pool_width": 2, "size": 2, "f": 2, "axis": 0, "reg": 0.1,
}  # fmt: skip


@dataclass
class Shape:
    """What is known of an input: its axes, as names and numbers, and whether it holds integers below a bound."""

    axes: tuple[str, ...]
    below: str | None = None  # for integers, the name or number of the bound
    is_integer: bool = False
    source: str = ""


@dataclass
class Assumed:
    """Arguments that were drawn, and what was assumed for them, as sentences."""

    arguments: dict[str, Any] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


class Unknown(ValueError):
    """The shape of an input could not be found."""


def shapes_of(written: Written, given: Mapping[str, str] | None = None) -> tuple[dict[str, Shape], dict[str, int]]:
    """The shapes of a function's parameters, and the sizes of axes that are given.

    Args:
        written: the function.
        given: by parameter, "N,D": it takes precedence.
    """
    sizes: dict[str, int] = {}
    found: dict[str, Shape] = {}
    definition = written.definition
    parameters = [*definition.args.posonlyargs, *definition.args.args, *definition.args.kwonlyargs]
    doc = ast.get_docstring(definition) or ""
    for size in re.finditer(r"\b([A-Za-z_]\w*)\s*=\s*(\d+)\b", doc):
        sizes.setdefault(size.group(1), int(size.group(2)))
    for parameter in parameters:
        name = parameter.arg
        for source, shape in (
            ("--input", _of_text((given or {}).get(name))),
            ("its annotation", _of_annotation(parameter.annotation)),
            ("the docstring", _of_docstring(name, doc)),
            ("the code", _of_code(name, definition)),
        ):
            if shape is not None:
                shape.source = source
                found[name] = shape
                break
    return found, sizes


def _of_text(text: str | None) -> Shape | None:
    if text is None:
        return None
    below = None
    match = re.search(r"(?:<|below)\s*(\w+)\s*$", text)
    if match:
        below, text = match.group(1), text[: match.start()]
    axes = tuple(re.findall(r"\w+", text))
    return Shape(axes, below, below is not None)


def _of_annotation(annotation: ast.expr | None) -> Shape | None:
    """The shape in `x: "N D"`, `x: Float[Array, "N D"]` or `x: Annotated[np.ndarray, "N D"]`."""
    if annotation is None:
        return None
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            axes = tuple(re.findall(r"[A-Za-z_]\w*|\d+", node.value))
            if axes and not any(word in node.value for word in ("ndarray", "Array", "Tensor", "[")):
                return Shape(axes, None, "Int" in ast.unparse(annotation))
    return None


def _of_docstring(name: str, doc: str) -> Shape | None:
    """The shape in "x: data of shape (N, D)", "x has shape (N, D)", "x -- (N, D) array"."""
    pattern = rf"(?<![\w.]){re.escape(name)}(?![\w(\[])([^()]{{0,120}}?)\(([^()]*)\)([^(),;.\n]*)"
    for match in re.finditer(pattern, doc):
        before, inside, after = match.groups()
        if re.search(r"[;.]\s|\n\s*\n", before) or not (after_text := True):
            continue
        if re.search(r"(?:^|[\s,])[A-Za-z_]\w*\s*(?::|--|has shape)", before.partition(":")[2]):
            continue  # the shape of the next parameter
        axes = tuple(part.strip() for part in inside.split(",") if part.strip())
        if not all(re.fullmatch(r"[A-Za-z_]\w*|\d+", axis) for axis in axes):
            axes = _with_dots(axes)
            if not axes:
                continue
        is_integer = bool(
            re.search(r"\b(?:int|integers?|labels?|indices|index|classes)\b", before + after, re.IGNORECASE)
        )
        below = re.search(r"(?:below|<)\s*(\w+)", after) if is_integer else None
        del after_text
        return Shape(axes, below.group(1) if below else None, is_integer)
    return None


def _with_dots(axes: tuple[str, ...]) -> tuple[str, ...]:
    """(N, d_1, ..., d_k) as two axes between; nothing if it is no list of axes."""
    if "..." not in axes:
        return ()
    kept = tuple(axis for axis in axes if axis != "...")
    return kept if all(re.fullmatch(r"[A-Za-z_]\w*|\d+", axis) for axis in kept) else ()


def _of_code(name: str, definition: ast.FunctionDef) -> Shape | None:
    """The shape in `N, D = x.shape`, `assert x.shape == (N, D)`, `x.shape[1]`, `x @ w`, `len(x)`."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Assign) and _is_shape(node.value, name) and isinstance(node.targets[0], ast.Tuple):
            parts = node.targets[0].elts
            return Shape(tuple(_axis(part, name, k) for k, part in enumerate(parts)))
        if isinstance(node, ast.Compare) and _is_shape(node.left, name) and isinstance(node.comparators[0], ast.Tuple):
            return Shape(tuple(_axis(part, name, k) for k, part in enumerate(node.comparators[0].elts)))
    return None


def _axis(part: ast.expr, name: str, k: int) -> str:
    if isinstance(part, ast.Name) and part.id != "_":
        return part.id
    if isinstance(part, ast.Constant) and isinstance(part.value, int):
        return str(part.value)
    return f"{name}_{k}"


def _is_shape(node: ast.expr, name: str) -> bool:
    return (
        isinstance(node, ast.Attribute) and node.attr == "shape" and isinstance(node.value, ast.Name)
        and node.value.id == name
    )  # fmt: skip


def drawn(
    written: Written, parameters: list[inspect.Parameter], rng: np.random.Generator,
    given: Mapping[str, str] | None = None, pool: Sequence[int] = SIZES[0],
) -> Assumed:  # fmt: skip
    """Arguments for a function, drawn from the shapes that are known.

    Raises:
        Unknown: nothing says what an argument is.
    """
    shapes, sizes = shapes_of(written, given)
    axes = [axis for shape in shapes.values() for axis in (*shape.axes, *([shape.below] if shape.below else []))]
    left = [n for n in pool if n not in sizes.values()]
    for axis in dict.fromkeys(axes):
        if not axis.isdigit() and axis not in sizes:
            sizes[axis] = left.pop(0) if left else 3
    out = Assumed()
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        shape = shapes.get(p.name)
        if shape is not None and (p.default is p.empty or p.name in (given or {})):
            out.arguments[p.name] = _value(shape, sizes, rng)
        elif p.default is not p.empty:
            out.arguments[p.name] = p.default
        elif options := _options(p.name, written.definition):
            out.arguments[p.name] = options
            out.assumptions.append(f"assumed {p.name} = {options}")
        else:
            raise Unknown(
                f"{written.name}: the shape of {p.name!r} is not known. Give it in the docstring, {p.name}: (N, D), in "
                f'an annotation, {p.name}: "N D", or on the command line, --input {p.name}=N,D'
            )
    shown = [f"{name} ({', '.join(shape.axes)})" for name, shape in shapes.items() if name in out.arguments]
    if shown:
        used = ", ".join(f"{axis} = {sizes[axis]}" for axis in dict.fromkeys(axes) if axis in sizes)
        out.assumptions.insert(0, f"inputs drawn with {'; '.join(shown)}" + (f", where {used}" if used else ""))
    return out


def _value(shape: Shape, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    dims = tuple(int(axis) if axis.isdigit() else sizes[axis] for axis in shape.axes)
    if shape.is_integer:
        bound = 3 if shape.below is None else int(shape.below) if shape.below.isdigit() else sizes[shape.below]
        return rng.integers(0, bound, dims)
    return away_from_0_and_1(rng, dims)


def _options(name: str, definition: ast.FunctionDef) -> dict[str, Any]:
    """The dictionary that a function reads options from, with usual values."""
    keys = []
    for node in ast.walk(definition):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == name:
            if isinstance(node.slice, ast.Constant) and isinstance(node.ctx, ast.Load):
                keys.append(node.slice.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.get" and len(node.args) == 1:
            keys.append(ast.literal_eval(node.args[0]))
    if not keys and not re.search(r"param|config|options", name):
        return {}
    return {key: OPTIONS[key] for key in dict.fromkeys([*keys, "mode"]) if key in OPTIONS}
