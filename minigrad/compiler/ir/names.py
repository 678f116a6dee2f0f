"""Names for values: the user's where there are some, as Python identifiers."""

from __future__ import annotations

import keyword
import re
import unicodedata
from typing import Any

from minigrad.compiler.ir.program import Op, Program, Value

GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda_ mu nu xi omicron pi rho sigma_ sigma tau"
GREEK += " upsilon phi chi psi omega"
LETTERS = {chr(0x3B1 + k): name for k, name in enumerate(GREEK.split())}
SIGNS = {"²": "2", "³": "3", "̂": "_hat", "̃": "_tilde", "̄": "_bar", "∂": "d", "∇": "grad_"}
UNTOLD = {"param_groups", "flats", "state", "data"}


def identifier(text: str) -> str:
    """A Python identifier that resembles the text: σ² gives sigma2, model.0.weight gives model_0_weight."""
    parts = text.split(".")
    if len(parts) > 1:  # opt.param_groups.0.flats.0.state.m is opt_m: the places inside an optimizer say nothing
        kept = [p for k, p in enumerate(parts) if p not in UNTOLD and not (k and parts[k - 1] in UNTOLD and p == "0")]
        parts = kept if len(kept) > 1 else [*kept, parts[-1]]
    spelled = "".join(SIGNS.get(c) or LETTERS.get(c, c) for c in unicodedata.normalize("NFD", "_".join(parts)))
    word = re.sub(r"\W+", "_", spelled).strip("_") or "value"
    return f"_{word}" if word[0].isdigit() or keyword.iskeyword(word) else word


SHORT = {"matmul": "product", "multiply": "scaled", "add": "sum", "subtract": "difference", "divide": "ratio"}
SHORT |= {
    "random": "draw",
    "set_slice": "updated",
    "reshape": "shaped",
    "transpose": "turned",
    "slice": "part",
    "sum": "total",
    "max": "top",
    "full": "constant",
}


def named(program: Program, taken: dict[str, Any]) -> dict[Value, str]:
    """A name of its own for each value: the user's where there is one, else what it is, with a number."""
    names: dict[Value, str] = {}
    for op in program.ops:
        for v, name in zip(op.outs, _operations(op), strict=True):
            names[v] = unique(identifier(v.name), taken) if v.name else numbered(SHORT.get(name, name), taken)
    return names


def _operations(op: Op) -> list[str]:
    """The operation that makes each value; for a kernel's the one inside."""
    if op.name != "kernel":
        return [op.name] * len(op.outs)
    kernel = op.params["kernel"]
    return [kernel.real(v).op.name for v in kernel.outs]


def numbered(word: str, taken: dict[str, Any]) -> str:
    """The word with a number, also the first time."""
    taken.setdefault(word, 0)
    return unique(word, taken)


def unique(word: str, taken: dict[str, Any]) -> str:
    """The word, with a number if it is taken."""
    word = f"{word}_" if keyword.iskeyword(word) else word
    if word not in taken:
        taken[word] = 1
        return word
    while True:
        taken[word] += 1
        if f"{word}_{taken[word]}" not in taken:
            taken[f"{word}_{taken[word]}"] = 1
            return f"{word}_{taken[word]}"
