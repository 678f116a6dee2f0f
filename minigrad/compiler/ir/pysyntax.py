"""Pieces of Python source: names for values, as the user calls them; numbers, slices and indices."""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from typing import Any

from minigrad.compiler.ir.program import ArgSlot, Op, Program, Value

HEAD = '''"""{title}"""

import numpy as np
{imports}

def memory(size):
    """Bytes that begin at a cache line."""
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
    """A title for a docstring, with its quotes and backslashes escaped."""
    return title.replace("\\", "\\\\").replace('"""', "'''")


def imports(roots: set[str]) -> str:
    """Lines that import modules."""
    return "".join(f"import {root}\n" for root in sorted(roots))


def literal(x: Any) -> str:
    """The source of a Python number."""
    if isinstance(x, float) and not math.isfinite(x):
        return "np.nan" if math.isnan(x) else "np.inf" if x > 0 else "-np.inf"
    if isinstance(x, complex):  # its repr has infj, and -0+1j is evaluated to 1j
        return f"complex({literal(x.real)}, {literal(x.imag)})"
    return repr(x)


def inside(items: tuple[int, ...]) -> str:
    """The items of a tuple, as arguments of a call."""
    return ", ".join(map(str, items)) if len(items) > 1 else f"{items[0]}" if items else "()"


def slices(bounds: Any, shape: Any) -> str:
    """Slices between brackets, without those of whole axes at the end."""
    texts = []
    for k, (start, stop, step) in enumerate(bounds):
        if shape is not None and (start, stop, step) == (0, shape[k], 1):
            texts.append(":")
        else:
            texts.append(f"{start}:{'' if stop is None else stop}" + (f":{step}" if step != 1 else ""))
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return ", ".join(texts) or "..."


def index_text(template: tuple[Any, ...], arrays: list[str], in_brackets: bool = True) -> str:
    """An index, as the text between brackets or as the items of a tuple."""
    parts = []
    for p in template:
        if isinstance(p, ArgSlot):
            parts.append(arrays[p.k])
        elif not isinstance(p, tuple):
            parts.append("..." if p is Ellipsis else str(p))
        elif in_brackets:
            parts.append(":".join("" if b is None else str(b) for b in (p if p[2] is not None else p[:2])))
        else:
            parts.append(f"slice({p[0]}, {p[1]}, {p[2]})")
    return ", ".join(parts)


# Names

GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda_ mu nu xi omicron pi rho sigma_ sigma tau"
GREEK += " upsilon phi chi psi omega"
LETTERS = {chr(0x3B1 + k): name for k, name in enumerate(GREEK.split())}
SIGNS = {"²": "2", "³": "3", "̂": "_hat", "̃": "_tilde", "̄": "_bar", "∂": "d", "∇": "grad_"}
IN_OPTIMIZERS = {"param_groups", "flats", "state", "data"}


def identifier(text: str) -> str:
    """A Python identifier like the text: sigma2 for σ², model_0_weight for model.0.weight."""
    parts = text.split(".")
    if len(parts) > 1:  # opt.param_groups.0.flats.0.state.m is opt_m
        shorter = [
            p
            for k, p in enumerate(parts)
            if p not in IN_OPTIMIZERS and not (k and parts[k - 1] in IN_OPTIMIZERS and p == "0")
        ]
        parts = shorter if len(shorter) > 1 else [*shorter, parts[-1]]
    spelled = "".join(SIGNS.get(c) or LETTERS.get(c, c) for c in unicodedata.normalize("NFD", "_".join(parts)))
    word = re.sub(r"\W+", "_", spelled).strip("_") or "value"
    return f"_{word}" if word[0].isdigit() or keyword.iskeyword(word) else word


SHORT = {
    **{"matmul": "product", "multiply": "scaled", "add": "sum", "subtract": "difference", "divide": "ratio"},
    **{"random": "draw", "set_slice": "updated", "reshape": "shaped", "transpose": "turned", "slice": "part"},
    **{"sum": "total", "max": "top", "full": "constant"},
}


def named(program: Program, taken: dict[str, Any]) -> dict[Value, str]:
    """A unique name for each value: the user's where there is one, else that of its op, with a number."""
    names: dict[Value, str] = {}
    for op in program.ops:
        for v, name in zip(op.outs, _names_of_ops(op), strict=True):
            names[v] = unique(identifier(v.name), taken) if v.name else numbered(SHORT.get(name, name), taken)
    return names


def _names_of_ops(op: Op) -> list[str]:
    """The op that computes each value; of a kernel's values, the op inside."""
    if op.name != "kernel":
        return [op.name] * len(op.outs)
    kernel = op.params["kernel"]
    return [kernel.real(v).op.name for v in kernel.outs]


def numbered(word: str, taken: dict[str, Any]) -> str:
    """The word with a number, also the first time."""
    taken.setdefault(word, 0)
    return unique(word, taken)


def unique(word: str, taken: dict[str, Any]) -> str:
    """The word, with a number if it is in use. `taken` has the words in use, and the last number of each."""
    word = f"{word}_" if keyword.iskeyword(word) else word
    if word not in taken:
        taken[word] = 1
        return word
    while True:
        taken[word] += 1
        if f"{word}_{taken[word]}" not in taken:
            taken[f"{word}_{taken[word]}"] = 1
            return f"{word}_{taken[word]}"
