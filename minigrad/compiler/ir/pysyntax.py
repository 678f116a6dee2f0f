"""Pieces of source: shapes, slices, indices and numbers as they stand in Python."""

from __future__ import annotations

import math
from typing import Any

from minigrad.compiler.ir.program import ArgSlot

HEAD = '''"""{title}"""

import numpy as np
{imports}

def memory(size):
    """Bytes that begin at a cache op."""
    raw = np.empty(size + {alignment}, np.uint8)
    start = -raw.__array_interface__["data"][0] % {alignment}
    return raw[start : start + size]


def array(block, shape, dtype):
    """The first bytes of a block as an array. A block is used again when its value is no longer needed."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    return block[:size].view(dtype).reshape(shape)

'''


def title_of(title: str) -> str:
    """A title that can stand in a docstring."""
    return title.replace("\\", "\\\\").replace('"""', "'''")


def imports(roots: set[str]) -> str:
    """The modules that the functions come from."""
    return "".join(f"import {root}\n" for root in sorted(roots))


def literal(x: Any) -> str:
    """A Python number as it stands in source."""
    if isinstance(x, float) and not math.isfinite(x):
        return "np.nan" if math.isnan(x) else "np.inf" if x > 0 else "-np.inf"
    return repr(x)


def inside(items: tuple[int, ...]) -> str:
    """The items of a tuple, as arguments."""
    return ", ".join(map(str, items)) if len(items) > 1 else f"{items[0]}" if items else "()"


def slices(bounds: Any, shape: Any) -> str:
    """Slices between brackets; trailing whole axes are left out."""
    texts = []
    for k, (start, stop, step) in enumerate(bounds):
        whole = shape is not None and (start, stop, step) == (0, shape[k], 1)
        if whole:
            texts.append(":")
        else:
            texts.append(f"{start}:{'' if stop is None else stop}" + (f":{step}" if step != 1 else ""))
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return ", ".join(texts) or "..."


def index_text(template: tuple[Any, ...], arrays: list[str]) -> str:
    """An index between brackets."""
    parts = []
    for p in template:
        if isinstance(p, ArgSlot):
            parts.append(arrays[p.k])
        elif isinstance(p, tuple):
            parts.append(":".join("" if b is None else str(b) for b in (p if p[2] is not None else p[:2])))
        else:
            parts.append("..." if p is Ellipsis else str(p))
    return ", ".join(parts)


def tuple_text(template: tuple[Any, ...], arrays: list[str]) -> str:
    """An index as the items of a tuple."""
    parts = []
    for p in template:
        if isinstance(p, tuple):
            parts.append(f"slice({p[0]}, {p[1]}, {p[2]})")
        else:
            parts.append(arrays[p.k] if isinstance(p, ArgSlot) else "..." if p is Ellipsis else str(p))
    return ", ".join(parts)
