"""A graph as one HTML page: pan, zoom, fold, search, and step along the tape, forwards and then backwards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SCRIPTS = ("graph", "layers", "layout", "view", "highlights", "steps", "panel", "cards", "controls", "main")
DEFAULTS = {"phase": "forward", "nodes": 1, "count": 1, "finite": True, "nonfinite": 0}  # those of the script


def page(graph: Mapping[str, Any]) -> str:
    """The page of a graph in plain values, as returned by `Graph.to_dict`. It needs no network and no other file.

    Users' names may contain anything. The data are JSON in ASCII without "<", so nothing in them can end their element,
    and the script writes them as text, never as markup.
    """
    here = files(__name__)
    parts = {
        "STYLE": here.joinpath("explorer.css").read_text("utf-8"),
        "DATA": json.dumps(_compact(graph), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "SCRIPT": "\n".join(here.joinpath(f"{name}.js").read_text("utf-8") for name in SCRIPTS),
    }
    return re.sub(r"/\*([A-Z]+)\*/", lambda mark: parts[mark[1]], here.joinpath("explorer.html").read_text("utf-8"))


def _compact(value: Any) -> Any:
    """The data without empty and default values, and numbers in six digits, as tapes are long."""
    if isinstance(value, Mapping):
        return {key: _compact(part) for key, part in value.items() if not _is_default(key, part)}
    if isinstance(value, (list, tuple)):
        return [_compact(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _is_default(key: str, value: Any) -> bool:
    return value is None or value in ("", [], ()) or (key in DEFAULTS and value == DEFAULTS[key])
