"""Files: nested structures of arrays, numbers and strings in one .npz archive."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.engine.primitive import value_of
from minigrad.io.archive import TREE, Archive, write
from minigrad.io.atomic import replacing

MAX_DEPTH = 100  # of nested containers; json reads and writes them by recursion


def save(path: str | os.PathLike[str], tree: Any) -> None:
    """Write a structure to a file, atomically.

    The file is replaced in one step after all of it has reached the disk: if the process is killed, the power fails, or
    other threads and processes save to the same path, it is complete all the same. A symbolic link stays a link, and an
    existing file keeps its permissions. Concurrent readers are not disturbed.

    Args:
        path: the file; ".npz" is not added.
        tree: dicts, lists and tuples of arrays, Tensors, numbers, strings, booleans and None. Keys of dicts are strings
            or integers. A model's or optimizer's state_dict is such a structure. Named tuples are loaded as tuples, and
            all mappings as dicts.

    Raises:
        TypeError: the structure holds something else.
        ValueError: the structure contains itself, or is nested too deeply.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save(f"{folder}/state.npz", {"w": np.ones(2), "steps": 3, "betas": (0.9, 0.999)})
        >>> load(f"{folder}/state.npz")
        {'w': array([1., 1.]), 'steps': 3, 'betas': (0.9, 0.999)}
    """
    arrays: dict[str, Any] = {}
    text = json.dumps(_to_json(tree, arrays, "the structure", 0))
    with replacing(path) as file:
        write(file, {TREE: np.array(text), **arrays})


def load(path: str | os.PathLike[str]) -> Any:
    """Read a file that `save` wrote. Arrays and Tensors are loaded as NumPy arrays.

    Nothing in the file is executed, and sizes are checked before memory is allocated.

    Raises:
        ValueError: the file is damaged, truncated, larger than the memory, or was not written by `save`; the error
            names it.
        OSError: the file cannot be opened.
    """
    with Archive(path) as archive:
        tree = json.loads(archive.text())
        unread = set(archive.names) - {TREE}
        result = _from_json(tree, archive, unread, 0)
        if unread:
            raise ValueError(f"the arrays {sorted(unread)} are not part of the structure")
    return result


def _to_json(value: Any, arrays: dict[str, Any], where: str, depth: int) -> Any:
    """The structure in JSON, with a name for each array, which is added to `arrays`."""
    if depth > MAX_DEPTH:
        raise ValueError(
            f"save: the structure contains itself, or is nested more than {MAX_DEPTH} deep: {where[:80]}..."
        )
    if isinstance(value, dict):
        bad = [k for k in value if not isinstance(k, (str, int)) or isinstance(k, np.generic)]
        if bad:
            raise TypeError(f"save: {where} has the key {bad[0]!r}; keys must be strings or integers")
        return {"dict": [[k, _to_json(v, arrays, f"{where}[{k!r}]", depth + 1)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_to_json(v, arrays, f"{where}[{k}]", depth + 1) for k, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return {"value": value}
    refuse_mask(value, f"save: {where}")
    array = np.asarray(value_of(value))
    if array.dtype.kind not in "biufc":
        hint = "; write array.tolist() to save strings" if array.dtype.kind in "UT" else ""
        kind = f"an array of dtype {array.dtype}" if hasattr(value, "dtype") else type(value).__name__
        raise TypeError(
            f"save: {where} is {kind}; it must be an array of numbers or booleans, a number, a string or None{hint}"
        )
    arrays[f"a{len(arrays)}"] = array
    return {"array": f"a{len(arrays) - 1}"}


def _from_json(tree: Any, archive: Archive, unread: set[str], depth: int) -> Any:
    """The structure from JSON. Every array is removed from `unread`, so none is read twice."""
    if depth > MAX_DEPTH + 1:
        raise ValueError("the structure is nested too deeply")
    ((kind, content),) = tree.items()
    if kind == "dict":
        result = {k: _from_json(v, archive, unread, depth + 1) for k, v in content}
        if len(result) != len(content) or not all(isinstance(k, (str, int)) for k in result):
            raise ValueError("a dictionary has keys that are not distinct strings and integers")
        return result
    if kind in ("list", "tuple"):
        items = [_from_json(v, archive, unread, depth + 1) for v in content]
        return items if kind == "list" else tuple(items)
    if kind == "array":
        unread.remove(content)
        return archive.array(content)
    if kind != "value" or not (content is None or isinstance(content, (bool, int, float, str))):
        raise ValueError(f"the structure has a part that is neither a container nor a value: {kind!r}")
    return content
