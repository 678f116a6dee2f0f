"""A graph as one HTML page: pan, zoom, fold, search, and walk along the tape forwards and then backwards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SCRIPTS = ("graph", "layers", "layout", "view", "marks", "steps", "words", "cards", "controls", "main")
USUAL = {"phase": "forward", "nodes": 1, "count": 1, "finite": True, "bad": 0}  # what the script takes for granted


def page(graph: Mapping[str, Any]) -> str:
    """The page of a graph in plain values, as `Graph.to_dict` gives them. It needs no network and no other file.

    Names given by users may hold anything. The data are JSON in ASCII and without "<", so nothing in them ends the
    element that they stand in; and the script writes them as text, never as markup.
    """
    here = files(__name__)
    parts = {
        "STYLE": here.joinpath("explorer.css").read_text("utf-8"),
        "DATA": json.dumps(_brief(graph), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "SCRIPT": "\n".join(here.joinpath(f"{name}.js").read_text("utf-8") for name in SCRIPTS),
    }
    return re.sub(r"/\*([A-Z]+)\*/", lambda mark: parts[mark[1]], here.joinpath("explorer.html").read_text("utf-8"))


def _brief(value: Any) -> Any:
    """Without what goes without saying, and with six digits of each number: tapes are long."""
    if isinstance(value, Mapping):
        return {key: _brief(part) for key, part in value.items() if not _is_usual(key, part)}
    if isinstance(value, (list, tuple)):
        return [_brief(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _is_usual(key: str, value: Any) -> bool:
    return value is None or value in ("", [], ()) or (key in USUAL and value == USUAL[key])
