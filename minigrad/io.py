"""Files: nested structures of arrays, numbers and texts, in one .npz archive."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.primitive import value_of

TREE = "__tree__"  # the archive's entry that says how its arrays are nested


def save(path: str | os.PathLike[str], tree: Any) -> None:
    """Write a structure to a file, which appears whole or not at all.

    Args:
        path: where to; ".npz" is not added.
        tree: dicts, lists and tuples of arrays, Tensors, numbers, texts, booleans and None. Keys of dicts are texts or
            numbers. A model's or optimizer's state_dict is such a structure.

    Raises:
        TypeError: something else is among them.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save(f"{folder}/state.npz", {"w": np.ones(2), "steps": 3, "betas": (0.9, 0.999)})
        >>> load(f"{folder}/state.npz")
        {'w': array([1., 1.]), 'steps': 3, 'betas': (0.9, 0.999)}
    """
    arrays: dict[str, Any] = {}
    text = json.dumps(_described(tree, arrays, "the structure"))
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **{TREE: np.array(text)}, **arrays)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote. Arrays come back as NumPy arrays.

    Raises:
        ValueError: the file was not written by `save`.
    """
    with np.load(path, allow_pickle=False) as archive:
        if TREE not in archive:
            raise ValueError(f"load({str(path)!r}): this archive was not written by minigrad.io.save")
        return _restored(json.loads(str(archive[TREE])), archive)


def _described(value: Any, arrays: dict[str, Any], where: str) -> Any:
    """The structure in JSON, with a number for each array."""
    if isinstance(value, dict):
        keys = [[k, _described(v, arrays, f"{where}[{k!r}]")] for k, v in value.items()]
        wrong = [k for k in value if not isinstance(k, (str, int))]
        if wrong:
            raise TypeError(f"save: {where} has the key {wrong[0]!r}; keys must be texts or whole numbers")
        return {"dict": keys}
    if isinstance(value, (list, tuple)):
        items = [_described(v, arrays, f"{where}[{k}]") for k, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return {"value": value}
    array = np.asarray(value_of(value))
    if array.dtype.kind not in "biufc":
        raise TypeError(f"save: {where} is {type(value).__name__}; it must be an array, a number, a text or None")
    arrays[f"a{len(arrays)}"] = array
    return {"array": f"a{len(arrays) - 1}"}


def _restored(tree: Any, archive: Any) -> Any:
    ((kind, content),) = tree.items()
    if kind == "dict":
        return {k: _restored(v, archive) for k, v in content}
    if kind == "list":
        return [_restored(v, archive) for v in content]
    if kind == "tuple":
        return tuple(_restored(v, archive) for v in content)
    return archive[content] if kind == "array" else content
