"""Files: nested structures of arrays, numbers and texts, in one .npz archive."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.engine.primitive import value_of
from minigrad.io.archive import TREE, Archive, write
from minigrad.io.atomic import replacing

DEEPEST = 100  # containers inside each other; json reads and writes them by recursion


def save(path: str | os.PathLike[str], tree: Any) -> None:
    """Write a structure to a file, which appears whole or not at all.

    The file is replaced in one step after all of it has reached the disk, so a process that is killed, a power cut or
    other threads and processes that save to the same path leave one whole file. A symbolic link stays a link, and a
    file that exists keeps its permissions. Reading goes on undisturbed meanwhile.

    Args:
        path: where to; ".npz" is not added.
        tree: dicts, lists and tuples of arrays, Tensors, numbers, texts, booleans and None. Keys of dicts are texts or
            numbers. A model's or optimizer's state_dict is such a structure. Named tuples come back as tuples, and
            all mappings as dicts.

    Raises:
        TypeError: something else is among them.
        ValueError: the structure contains itself, or nests too deep.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save(f"{folder}/state.npz", {"w": np.ones(2), "steps": 3, "betas": (0.9, 0.999)})
        >>> load(f"{folder}/state.npz")
        {'w': array([1., 1.]), 'steps': 3, 'betas': (0.9, 0.999)}
    """
    arrays: dict[str, Any] = {}
    text = json.dumps(_described(tree, arrays, "the structure", 0))
    with replacing(path) as file:
        write(file, {TREE: np.array(text), **arrays})


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote. Arrays come back as NumPy arrays.

    Nothing in the file is executed, and its sizes are checked before memory is taken for them.

    Raises:
        ValueError: the file is damaged, truncated, larger than the memory, or was not written by `save`; the error
            names it.
        OSError: the file cannot be opened.
    """
    with Archive(path) as archive:
        tree = json.loads(archive.text())
        left = set(archive.names) - {TREE}
        found = _restored(tree, archive, left, 0)
        if left:
            raise ValueError(f"the arrays {sorted(left)} belong to no part of the structure")
    return found


def _described(value: Any, arrays: dict[str, Any], where: str, depth: int) -> Any:
    """The structure in JSON, with a number for each array."""
    if depth > DEEPEST:
        raise ValueError(f"save: the structure contains itself, or nests more than {DEEPEST} deep: {where[:80]}...")
    if isinstance(value, dict):
        wrong = [k for k in value if not isinstance(k, (str, int)) or isinstance(k, np.generic)]
        if wrong:
            raise TypeError(f"save: {where} has the key {wrong[0]!r}; keys must be texts or whole numbers")
        return {"dict": [[k, _described(v, arrays, f"{where}[{k!r}]", depth + 1)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_described(v, arrays, f"{where}[{k}]", depth + 1) for k, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return {"value": value}
    refuse_mask(value, f"save: {where}")
    array = np.asarray(value_of(value))
    if array.dtype.kind not in "biufc":
        texts = "; write array.tolist() to save texts" if array.dtype.kind in "UT" else ""
        kind = f"an array of dtype {array.dtype}" if hasattr(value, "dtype") else type(value).__name__
        raise TypeError(
            f"save: {where} is {kind}; it must be an array of numbers or booleans, a number, a text or None{texts}"
        )
    arrays[f"a{len(arrays)}"] = array
    return {"array": f"a{len(arrays) - 1}"}


def _restored(tree: Any, archive: Archive, left: set[str], depth: int) -> Any:
    """The structure again. Every array is taken out of `left`: none is read twice."""
    if depth > DEEPEST + 1:
        raise ValueError("the structure nests too deep")
    ((kind, content),) = tree.items()
    if kind == "dict":
        found = {k: _restored(v, archive, left, depth + 1) for k, v in content}
        if len(found) != len(content) or not all(isinstance(k, (str, int)) for k in found):
            raise ValueError("a dictionary has keys that are not distinct texts and numbers")
        return found
    if kind in ("list", "tuple"):
        items = [_restored(v, archive, left, depth + 1) for v in content]
        return items if kind == "list" else tuple(items)
    if kind == "array":
        left.remove(content)
        return archive.array(content)
    if kind != "value" or not (content is None or isinstance(content, (bool, int, float, str))):
        raise ValueError(f"the structure has a part that is neither a container nor a value: {kind!r}")
    return content
