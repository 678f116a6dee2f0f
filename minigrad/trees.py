"""Nested tuples, lists and dicts of values: taken apart, and put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves of a nested structure, and the function that puts others in their places.

    Args:
        tree: tuples, lists and dicts, nested.
        is_leaf: which of these are leaves too, and stay the same objects.
    """
    leaves: list[Any] = []
    rebuild = _flatten(tree, leaves, is_leaf)
    return leaves, lambda values: rebuild(iter(values))


def _flatten(tree: Any, leaves: list[Any], is_leaf: Callable[[Any], bool] | None) -> Callable[[Any], Any]:
    if is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return next
    if isinstance(tree, dict):
        parts = {key: _flatten(value, leaves, is_leaf) for key, value in tree.items()}
        return lambda values: {key: part(values) for key, part in parts.items()}
    if isinstance(tree, (tuple, list)):
        items = [_flatten(value, leaves, is_leaf) for value in tree]
        if hasattr(tree, "_fields"):  # a named tuple
            return lambda values: type(tree)(*(item(values) for item in items))
        return lambda values: type(tree)(item(values) for item in items)
    if tree is None:
        return lambda values: None
    leaves.append(tree)
    return next


def tree_map(function: Callable[..., Any], tree: Any) -> Any:
    """The structure with the function applied to each leaf."""
    leaves, rebuild = flatten(tree)
    return rebuild([function(leaf) for leaf in leaves])
