"""Node, one operation on the tape, and the mode that says whether operations are recorded."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import Any

next_serial = itertools.count(1).__next__

# None while nothing is recorded, else the path of the scope that new nodes belong to ("" outside of all).
# One variable for both, because every operation reads it.
mode: ContextVar[str | None] = ContextVar("minigrad_mode", default="")
# While a transform calls its function: the serial number of its first variable. Younger nodes depend on its arguments.
transformed: ContextVar[int | None] = ContextVar("minigrad_transformed", default=None)


class Node:
    """One node of the tape: which primitive made a value, from which nodes, and what its rules need.

    Serial numbers count up, and a node is made after the nodes that it uses, so they are a topological order. A node is
    made for every operation, so its slots have no defaults: `name`, `label`, `hooks`, `numbers` and `owner` are set
    only where there is one, and are read with `getattr(node, "name", None)`.
    """

    __slots__ = (
        "__weakref__",
        "dtype",  # of the value; a tuple of them for several outputs
        "hooks",  # functions called with the complete cotangent
        "label",  # how a picture or report writes the name
        "name",  # given by the user
        "numbers",  # operands that are Python numbers, for printing; None for the others
        "owner",  # of a leaf: a weak reference to its Tensor
        "params",  # parameters, in the order of the primitive's signature
        "parents",  # a Node, or None for a constant, for each operand
        "primitive",  # None for a leaf
        "residuals",  # values that the rules name; None once they are released
        "scope",
        "serial",
        "shape",  # of the value; a tuple of them for several outputs
    )

    dtype: Any
    hooks: list[Any]
    label: str
    name: str
    numbers: tuple[Any, ...]
    owner: Any
    params: tuple[Any, ...]
    parents: tuple[Node | None, ...]
    primitive: Any
    residuals: tuple[Any, ...] | None
    scope: str
    serial: int
    shape: Any

    def __repr__(self) -> str:
        name = getattr(self, "name", None)
        operation = "leaf" if self.primitive is None else self.primitive.name
        return f"<node {self.serial}: {name + ' = ' if name else ''}{operation} {self.shape} {self.dtype}>"

    @property
    def is_leaf(self) -> bool:
        """Whether no operation made it."""
        return self.primitive is None


def leaf(value: Any) -> Node:
    """The node of a Tensor that no operation made."""
    node = Node()
    node.primitive = None
    node.parents = node.residuals = node.params = ()
    node.shape = value.shape
    node.dtype = value.dtype
    node.serial = next_serial()
    node.scope = mode.get() or ""
    return node
