"""The layers of a model with their output shapes, parameters and cost, as a table."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.errors import describe
from minigrad.engine.modes import enable_grad
from minigrad.engine.node import Node, next_serial
from minigrad.engine.tape import Tape
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten
from minigrad.util.text import text_of_bytes

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One layer. Columns add up: what the layers inside it have is counted in their own rows."""

    name: str  # dotted, "" for the model itself
    kind: str  # the class
    shape: Any  # of the output, a list of shapes if there are several outputs, None if the layer was not called
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """The result of `summary`; printed, it is the table."""

    rows: list[Row]
    trainable: int
    parameters: int
    bytes: int

    @property
    def multiply_adds(self) -> int:
        """Of all layers."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        table = [("Layer", "Output shape", "Parameters", "Multiply-adds")]
        for row in self.rows:
            depth = row.name.count(".") + (row.name != "")
            own = row.name.rpartition(".")[2]
            name = "  " * depth + (f"{own}: {row.kind}" if own else row.kind)
            counts = _format_count(row.parameters), _format_count(row.multiply_adds)
            table.append((name, _format_shape(row.shape), *counts))
        table.append(("Total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"))
        a, b, c, d = (max(map(len, column)) for column in zip(*table, strict=True))
        lines = [f"{w:<{a}}  {x:<{b}}  {y:>{c}}  {z:>{d}}".rstrip() for w, x, y, z in table]
        rule = "─" * (a + b + c + d + 6)
        frozen = self.parameters - self.trainable
        note = f"{self.trainable:,} trainable, {frozen:,} frozen; {text_of_bytes(self.bytes)} of parameters"
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], note])

    __repr__ = __str__


def summary(model: Any, input_shape: Shape | Sequence[Shape], dtype: Any = None) -> Summary:
    """Run a copy of the model once, in evaluation mode, and list the shapes, parameters and costs of its layers.

    A multiply-add is one product and one sum. They are counted in products (matmul, linear, einsum, convolutions,
    attention, recurrent cells), which make up nearly all of the work of a network; elementwise work is not counted.

    Args:
        model: a Module; it is not changed, and its hooks are not called.
        input_shape: including the batch, for example (1, 28, 28, 1); a list of shapes for several inputs.
        dtype: of the input, that of the first parameter if not given; an integer dtype for embeddings (ids are 0).

    Returns:
        A Summary: print it, or read its rows.

    Raises:
        TypeError: input_shape is not a shape.
        ValueError: the shape does not fit the model; a size is not a positive integer.

    Example:
        >>> from minigrad.nn import Linear, ReLU, Sequential
        >>> summary(Sequential(Linear(4, 8), ReLU(), Linear(8, 3)), (5, 4))
        Layer        Output shape  Parameters  Multiply-adds
        ────────────────────────────────────────────────────
        Sequential   (5, 3)
          0: Linear  (5, 8)                40            160
          1: ReLU    (5, 8)
          2: Linear  (5, 3)                27            120
        ────────────────────────────────────────────────────
        Total                              67            280
        67 trainable, 0 frozen; 536 B of parameters
    """
    if hasattr(input_shape, "shape") and len(input_shape.shape) != 1:
        raise TypeError(
            f"summary(input_shape={describe(input_shape)}): give the shape of the input, not the input: x.shape, "
            f"{tuple(input_shape.shape)}"
        )
    if not hasattr(input_shape, "__len__"):
        raise TypeError(
            f"summary(input_shape={describe(input_shape)}): give a tuple of positive sizes, including the batch: "
            "(1, 784)"
        )
    parameters = list(model.parameters())
    dtype = np.dtype(dtype or (parameters[0].dtype if parameters else get_default_dtype()))
    is_single = len(input_shape) == 0 or isinstance(input_shape[0], (int, np.integer))
    shapes = [input_shape] if is_single else list(input_shape)
    twin = copy.deepcopy(model).eval().requires_grad_(True)
    outputs, costs = _run(twin, [_input(shape, dtype) for shape in shapes])
    rows, seen = [], set()
    for (name, module), (_, copied) in zip(model.named_modules(), twin.named_modules(), strict=True):
        own = [p for p in (getattr(module, n) for n in module._parameters) if id(p) not in seen]
        seen |= {id(p) for p in own}
        size = sum(p.size for p in own)
        shape = outputs.get(copied, None if module._calls_forward else [])
        rows.append(Row(name, type(module).__name__, shape, size, costs[copied]))
    trainable = sum(p.size for p in parameters if p.requires_grad)
    return Summary(rows, trainable, sum(p.size for p in parameters), sum(p.data.nbytes for p in parameters))


def _input(shape: Any, dtype: np.dtype[Any]) -> Tensor:
    """Zeros that require a gradient if their dtype allows it, so that their shape is on the tape."""
    if not isinstance(shape, tuple | list) or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(
            f"summary(input_shape={shape!r}): give a tuple of positive sizes, including the batch: (1, 784)"
        )
    return Tensor(np.zeros(tuple(shape), dtype), requires_grad=dtype.kind == "f")


def _run(model: Any, inputs: list[Tensor]) -> tuple[dict[Any, Any], Counter[Any]]:
    """The output shape and the cost of each module, by hooks and by the nodes recorded between the calls of hooks."""
    shapes: dict[Any, Any] = {}
    owners: list[tuple[int, Any]] = []  # (serial of a node, the innermost module that runs from this node on, or None)
    running: list[Any] = []

    def enter(module: Any, inputs: Any) -> None:
        running.append(module)
        owners.append((next_serial(), module))

    def leave(module: Any, inputs: Any, output: Any) -> None:
        running.pop()
        owners.append((next_serial(), running[-1] if running else None))
        all_shapes = [tuple(x.shape) for x in flatten(output)[0] if hasattr(x, "shape")]
        shapes[module] = all_shapes[0] if len(all_shapes) == 1 else all_shapes

    for module in model.modules():
        module.__dict__.pop("_hooks", None)
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    with enable_grad():
        results = [t for t in flatten(model(*inputs))[0] if isinstance(t, Tensor) and t.requires_grad]
    costs: Counter[Any] = Counter()
    if results:
        starts = np.array([serial for serial, _ in owners])
        for node in Tape(*results):
            k = int(np.searchsorted(starts, node.serial)) - 1
            if k >= 0 and (owner := owners[k][1]) is not None:
                costs[owner] += multiply_adds(node)
    return shapes, costs


def multiply_adds(node: Node) -> int:
    """The multiply-adds of a node of the tape, 0 unless it is a product."""
    count = getattr(node.primitive, "multiply_adds", None)
    return count(node) if count is not None else 0


def _format_shape(shape: Any) -> str:
    return "not called" if shape is None else ", ".join(map(str, shape)) if isinstance(shape, list) else str(shape)


def _format_count(n: int) -> str:
    return f"{n:,}" if n else ""
