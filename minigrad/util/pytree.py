"""Nested tuples, lists and dicts of values, as lists of their leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves of a nested structure, and a function that builds the same structure from other leaves.

    Args:
        tree: nested tuples, lists and dicts.
        is_leaf: says which of these are leaves themselves.
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
    """The same structure, with the function applied to each leaf."""
    leaves, rebuild = flatten(tree)
    return rebuild([function(leaf) for leaf in leaves])


def leaves_like(tree: Any, like: Any, what: str, path: str = "") -> list[Any]:
    """The leaves of a structure, in the order of the leaves of another one with the same keys and lengths.

    Args:
        tree: the structure.
        like: the other structure. In tree there may be lists instead of tuples, and dicts in another order.
        what: the name of the structure in errors.
        path: the position of this part in the structure.

    Raises:
        TypeError: the structures differ; the message says where.

    Example:
        >>> leaves_like({"b": 2, "a": 1}, {"a": "x", "b": "y"}, "the tangents")
        [1, 2]
    """
    place = what + path
    if isinstance(like, dict):
        if not isinstance(tree, dict):
            raise TypeError(f"{place}: a {type(tree).__name__} instead of a dict with the keys {list(like)}")
        if tree.keys() != like.keys():
            raise TypeError(f"{place}: got the keys {list(tree)}, expected {list(like)}")
        parts: Any = [(tree[key], part, f"[{key!r}]") for key, part in like.items()]
    elif isinstance(like, (tuple, list)):
        is_other = not isinstance(tree, (tuple, list)) or (hasattr(tree, "_fields") and type(tree) is not type(like))
        if is_other or len(tree) != len(like):
            actual = f"a {type(tree).__name__}" if is_other else f"{len(tree)} parts"
            raise TypeError(f"{place}: {actual} instead of a {type(like).__name__} of {len(like)} parts")
        parts = [(x, part, f"[{k}]") for k, (x, part) in enumerate(zip(tree, like, strict=True))]
    elif like is None:
        if tree is not None:
            raise TypeError(f"{place}: a {type(tree).__name__} instead of None")
        return []
    elif tree is None or isinstance(tree, (dict, tuple, list)):
        raise TypeError(f"{place}: a {type(tree).__name__} instead of an array or a number")
    else:
        return [tree]
    return [leaf for x, part, at in parts for leaf in leaves_like(x, part, what, path + at)]
