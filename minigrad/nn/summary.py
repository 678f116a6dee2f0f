"""The layers of a model with their output shapes, parameters and cost, as a table."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.errors import describe
from minigrad.engine.modes import enable_grad
from minigrad.engine.node import Node, next_serial
from minigrad.engine.tape import Tape
from minigrad.nn.containers import Container
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten
from minigrad.util.text import text_of_bytes

if TYPE_CHECKING:
    from minigrad.nn.module import Module

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One layer. Columns add up: what a layer holds inside itself is counted in the rows of those layers."""

    name: str  # dotted, "" for the model itself
    kind: str  # the class
    shape: Any  # of the output: a shape, a list of them unless there is one, None if the layer was not called
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; its text is the table."""

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
            table.append((name, _shown(row.shape), _number(row.parameters), _number(row.multiply_adds)))
        table.append(("Total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"))
        a, b, c, d = (max(map(len, column)) for column in zip(*table, strict=True))
        nodes = [f"{w:<{a}}  {x:<{b}}  {y:>{c}}  {z:>{d}}".rstrip() for w, x, y, z in table]
        rule = "─" * (a + b + c + d + 6)
        frozen = self.parameters - self.trainable
        note = f"{self.trainable:,} trainable, {frozen:,} frozen; {text_of_bytes(self.bytes)} of parameters"
        return "\n".join([nodes[0], rule, *nodes[1:-1], rule, nodes[-1], note])

    __repr__ = __str__


def summary(model: Module, input_shape: Shape | Sequence[Shape], dtype: Any = None) -> Summary:
    """Run a copy of the model once, in evaluation mode, and tell what its layers give, hold and cost.

    A multiply-add is one product and one sum. They are counted in products (matmul, linear, einsum, convolutions,
    attention, recurrent cells), which make up nearly all of the work of a network; elementwise work is not counted.

    Args:
        model: the model; it stays as it is, and its hooks are not called.
        input_shape: with the batch, for example (1, 28, 28, 1); a list of shapes for several inputs.
        dtype: of the input, that of the first parameter if not given; an integer dtype for embeddings (ids are 0).

    Returns:
        A Summary: print it, or read its rows.

    Raises:
        TypeError: this is no shape.
        ValueError: the shape does not fit the model; a shape is not made of positive integers.

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
            f"summary(input_shape={describe(input_shape)}): give a tuple of positive sizes, the batch among them: "
            "(1, 784)"
        )
    parameters = list(model.parameters())
    dtype = np.dtype(dtype or (parameters[0].dtype if parameters else get_default_dtype()))
    is_one = len(input_shape) == 0 or isinstance(input_shape[0], (int, np.integer))
    shapes = [input_shape] if is_one else list(input_shape)
    run = copy.deepcopy(model).eval().requires_grad_(True)
    outputs, costs = _watched(run, [_input(shape, dtype) for shape in shapes])
    rows, seen = [], set()
    for (name, module), (_, ran) in zip(model.named_modules(), run.named_modules(), strict=True):
        own = [p for p in (getattr(module, n) for n in module._parameters) if id(p) not in seen]
        seen |= {id(p) for p in own}
        size = sum(p.size for p in own)
        shape = outputs.get(ran, [] if isinstance(module, Container) else None)
        rows.append(Row(name, type(module).__name__, shape, size, costs[ran]))
    trainable = sum(p.size for p in parameters if p.requires_grad)
    return Summary(rows, trainable, sum(p.size for p in parameters), sum(p.data.nbytes for p in parameters))


def _input(shape: Any, dtype: np.dtype[Any]) -> Tensor:
    """Zeros that are tracked if they can be, so that the tape knows their shape."""
    if not isinstance(shape, tuple | list) or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(
            f"summary(input_shape={shape!r}): give a tuple of positive sizes, the batch among them: (1, 784)"
        )
    return Tensor(np.zeros(tuple(shape), dtype), requires_grad=dtype.kind == "f")


def _watched(model: Module, inputs: list[Tensor]) -> tuple[dict[Module, Any], Counter[Module]]:
    """The output shapes and costs of each module, by hooks and by the nodes between the calls of hooks."""
    shapes: dict[Module, Any] = {}
    ends: list[tuple[int, Module | None]] = []  # from this node on, the innermost open module
    open_modules: list[Module] = []

    def enter(module: Module, given: Any) -> None:
        open_modules.append(module)
        ends.append((next_serial(), module))

    def leave(module: Module, given: Any, output: Any) -> None:
        open_modules.pop()
        ends.append((next_serial(), open_modules[-1] if open_modules else None))
        found = [tuple(x.shape) for x in flatten(output)[0] if hasattr(x, "shape")]
        shapes[module] = found[0] if len(found) == 1 else found

    for module in model.modules():
        module.__dict__.pop("_hooks", None)
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    with enable_grad():
        results = [t for t in flatten(model(*inputs))[0] if isinstance(t, Tensor) and t.requires_grad]
    costs: Counter[Module] = Counter()
    if results:
        starts = np.array([serial for serial, _ in ends])
        for node in Tape(*results):
            k = int(np.searchsorted(starts, node.serial)) - 1
            if k >= 0 and (owner := ends[k][1]) is not None:
                costs[owner] += multiply_adds(node)
    return shapes, costs


def multiply_adds(node: Node) -> int:
    """The multiply-adds of a node of the tape, 0 unless it is a product."""
    count = getattr(node.primitive, "multiply_adds", None)
    return count(node) if count is not None else 0


def _shown(shape: Any) -> str:
    return "not called" if shape is None else ", ".join(map(str, shape)) if isinstance(shape, list) else str(shape)


def _number(n: int) -> str:
    return f"{n:,}" if n else ""
