"""From the tape to DOT."""

from __future__ import annotations

import html
import textwrap
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from itertools import takewhile
from operator import attrgetter
from typing import Any

import graphviz  # type: ignore[import-untyped]

from minigrad.drawing.formulas import formulas
from minigrad.drawing.picture import Picture
from minigrad.node import Node
from minigrad.tape import Tape
from minigrad.wengert import expression, kept, names

# Okabe & Ito (2008), told apart with every kind of color vision; ordered so that neighbors differ in lightness too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, GRAY = "#222222", "#8A8A8A"
SPACE = '<font point-size="3"> <br/></font>'  # between a formula's descenders and the shape below
STRANDS = 4  # an edge that leads to more named values than this is drawn as one gray line

GRAPH = {"fontname": "Arial", "fontsize": "11", "fontcolor": "#555555", "nodesep": "0.3", "ranksep": "0.4"}
NODE = {
    "fontname": "Arial",
    "fontsize": "12",
    "fontcolor": INK,
    "shape": "box",
    "style": "rounded,filled",
    "fillcolor": "white",
    "color": GRAY,
    "margin": "0.12,0.06",
    "height": "0.3",
}
EDGE = {"color": GRAY, "penwidth": "1.6", "arrowsize": "0.7", "fontname": "Arial", "fontsize": "10"}
LEAF_STYLE = {"shape": "ellipse", "style": "filled", "color": INK, "fillcolor": "#FAF7C6", "margin": "0.04,0.02"}
OUTPUT_STYLE = {"color": INK, "peripheries": "2", "penwidth": "1.4", "fillcolor": "#EEEEEE"}
CONSTANT_STYLE = {"style": "dashed"}
CLUSTER = {"style": "rounded,filled", "fillcolor": "#F7F7F7", "color": "#BBBBBB", "labeljust": "l"}


def picture(
    tape: Tape, direction: str, legend: bool = False, verdicts: Mapping[str, tuple[bool, str]] | None = None
) -> Picture:
    """The picture of a tape. Lines are numbered by their place, so that the text says nothing of this run.

    `verdicts` says of named lines whether their gradient is right, and a few words; it takes the place of their colors.
    """
    verdicts = verdicts or {}
    lines = tape.lines
    place = {line: k for k, line in enumerate(lines, 1)}
    label = _labels(lines, place)
    arrays = _constant_arrays(lines)
    formula = formulas(lines, label, {key: name for key, (name, _) in arrays.items()})
    colors = {} if verdicts else _colors(lines, tape.outputs)
    graph = Picture(name="tape", graph_attr=GRAPH | {"rankdir": direction}, node_attr=NODE, edge_attr=EDGE)
    common = Counter(line.dtype for line in lines if not isinstance(line.dtype, tuple)).most_common(1)[0][0]
    listed = names(lines)
    nodes: dict[str, dict[str, str]] = {}
    for line in lines:
        verdict = verdicts.get(getattr(line, "name", ""))
        text = _node_label(label.get(line), formula[line], _kind(line, common), line.is_leaf, verdict)
        tooltip = f"{listed[line]} = {expression(line, listed)}   {line.shape} {line.dtype}"
        nodes[f"n{place[line]}"] = {
            "label": text,
            "tooltip": graphviz.escape(_printable(tooltip)),
            **_style(line, colors.get(line), line in tape.outputs),
            **({} if verdict is None else _named_style(_verdict_color(verdict[0]))),
        }
    for name, value in arrays.values():
        kind = f"{value.shape}" + (f" {value.dtype}" if value.dtype != common else "")
        nodes[name] = {"label": _node_label(name, "constant", kind, False), **CONSTANT_STYLE}
    homes = _homes(lines, place, arrays)
    _emit(graph, nodes, homes)
    _edges(graph, lines, place, label, colors)
    _stack(graph, lines, place, homes)
    for line in lines:
        for value in _constants(line):
            graph.edge(arrays[id(value)][0], f"n{place[line]}", style="dashed", penwidth="1")
    if legend:
        _legend(graph)
    return graph


def _labels(lines: Iterable[Node], place: Mapping[Node, int]) -> dict[Node, str]:
    """How lines are called: by the user's label or name; a leaf without one by its place, as in the printed tape."""
    label = {}
    for line in lines:
        given = getattr(line, "label", None) or getattr(line, "name", None)
        if given or line.is_leaf:
            label[line] = _printable(given or f"%{place[line]}")
    return label


def _constant_arrays(lines: Iterable[Node]) -> dict[int, tuple[str, Any]]:
    """The constant arrays that were kept for the rules, each once, with a name by the order of their use."""
    found: dict[int, tuple[str, Any]] = {}
    for line in lines:
        for value in _constants(line):
            found.setdefault(id(value), (f"c{len(found) + 1}", value))
    return found


def _constants(line: Node) -> list[Any]:
    """The constant operands of a line that are arrays, as far as they were kept."""
    if line.is_leaf or line.primitive.kind == "select":
        return []
    pairs = zip(line.parents, kept(line), strict=True)
    return [value for parent, value in pairs if parent is None and getattr(value, "shape", ()) != ()]


def _kind(line: Node, common: Any) -> str:
    """The shape, or those of several outputs, with the dtype where it is not the common one."""
    several = isinstance(line.dtype, tuple)
    pairs = zip(line.shape, line.dtype, strict=True) if several else [(line.shape, line.dtype)]
    return ", ".join(str(shape) if dtype == common else f"{shape} {dtype}" for shape, dtype in pairs)


def _node_label(
    name: str | None, formula: str, kind: str, is_leaf: bool, verdict: tuple[bool, str] | None = None
) -> str:
    rows = [SPACE + f'<font point-size="9" color="#666666">{_escaped(kind)}</font>']
    if not is_leaf:
        rows.insert(0, _escaped(formula))
    if verdict is not None:
        ok, told = verdict
        words = "<br/>".join(_escaped(part) for part in textwrap.wrap(told, 36))
        rows.append(f'<font color="{_verdict_color(ok)}"><b>{words}</b></font>')
    if name is not None:
        rows.insert(0, f'<b><font point-size="17">{_escaped(name)}</font></b>')
    return f"<{'<br/>'.join(rows)}>"


def _escaped(text: str) -> str:
    """For labels, which are written in HTML: no character of a user's name is taken for markup."""
    return html.escape(_printable(text))


def _printable(text: str) -> str:
    """Without the control characters that XML, and so SVG, cannot contain."""
    return "".join(" " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" if c < " " or c == "\x7f" else c for c in text)


def _colors(lines: Iterable[Node], outputs: Iterable[Node]) -> dict[Node, str]:
    """The colors of named results, the same for the same name in every layer; outputs are dark."""
    dark, by_name, colors = frozenset(outputs), dict[str, str](), dict[Node, str]()
    for line in lines:
        name = getattr(line, "name", None)
        if line in dark:
            colors[line] = INK
        elif name is not None and not line.is_leaf:
            spare = COLORS[len(by_name)] if len(by_name) < len(COLORS) else GRAY
            colors[line] = by_name.setdefault(name, spare)
    return colors


def _style(line: Node, color: str | None, is_output: bool) -> dict[str, str]:
    if is_output:
        return OUTPUT_STYLE
    if line.is_leaf:
        return LEAF_STYLE
    return {} if color is None else _named_style(color)


def _named_style(color: str) -> dict[str, str]:
    return {"color": color, "penwidth": "2.2", "fillcolor": _tint(color)}


def _verdict_color(ok: bool) -> str:
    return "#009E73" if ok else "#D55E00"


def _tint(color: str) -> str:
    """The color, thinned with white."""
    parts = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.14 * (255 - part)):02X}" for part in parts)


def _strands(lines: list[Node], named: Container[Node]) -> dict[Node, tuple[Node, ...]]:
    """For each line, the named values of its scope that an edge into it leads to; itself if it is one.

    Walked backwards, as gradients flow: what is named stops the walk there, and so does the border of its scope, so
    that every batch norm of a network shows its own paths. Nothing if they are too many.
    """
    ahead: dict[Node, dict[Node, None] | None] = {}  # the named values reached from a line, as an ordered set
    into: dict[Node, tuple[Node, ...]] = {}
    for line in reversed(lines):
        reached = {line: None} if line in named else ahead.get(line, {})
        if reached:
            reached = {target: None for target in reached if target.scope == line.scope}
        into[line] = tuple(sorted(reached or (), key=attrgetter("serial")))
        for parent in line.parents:
            if parent is None:
                continue
            so_far = ahead.get(parent, {})
            together = None if reached is None or so_far is None else so_far | reached
            ahead[parent] = None if together is None or len(together) > STRANDS else together
    return into


def _homes(
    lines: Iterable[Node], place: Mapping[Node, int], arrays: Mapping[int, tuple[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """The scope that each node is drawn in. Leaves and constants are drawn where they are used."""
    scope = {line: tuple(line.scope.split("/")) if line.scope else () for line in lines}
    users: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for line in lines:
        for parent in line.parents:
            if parent is not None and parent.is_leaf:
                users[f"n{place[parent]}"].append(scope[line])
        for value in _constants(line):
            users[arrays[id(value)][0]].append(scope[line])
    homes = {f"n{k}": scope[line] for line, k in place.items()}
    for name, where in users.items():
        if not homes.get(name):
            homes[name] = _shared(where)
    return homes


def _shared(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The innermost scope that contains all of these."""
    levels = zip(*paths, strict=False)
    return tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels))


def _emit(graph: Any, nodes: Mapping[str, dict[str, str]], homes: Mapping[str, tuple[str, ...]]) -> None:
    """The nodes, each within the clusters of its scope."""
    inside: dict[tuple[str, ...], list[str]] = {(): []}
    for name in nodes:
        home = homes.get(name, ())
        for depth in range(len(home) + 1):
            inside.setdefault(home[:depth], [])
        inside[home].append(name)
    graphs: dict[tuple[str, ...], Any] = {(): graph}
    for path in inside:
        if path:
            name, title = graphviz.escape(_printable(f"cluster_{'/'.join(path)}")), f"<{_escaped(path[-1])}>"
            graphs[path] = graphviz.Digraph(name=name, graph_attr=CLUSTER | {"label": title})
    for path, members in inside.items():
        for name in members:
            graphs[path].node(name, **nodes[name])
    for path in sorted(graphs, key=len, reverse=True):
        if path:
            graphs[path[:-1]].subgraph(graphs[path])


def _edges(
    graph: Any, lines: list[Node], place: Mapping[Node, int], label: Mapping[Node, str], colors: Mapping[Node, str]
) -> None:
    """An edge for each operand, of one strand for each named value that it leads to."""
    strands = _strands(lines, colors)
    for line in lines:
        targets = strands[line]
        color = {"color": ":".join(colors[target] for target in targets)} if targets else {}
        terms = _terms(targets, label, colors)
        for parent in line.parents:
            if parent is not None:
                text = {"label": terms} if terms and (parent in label) else {}
                graph.edge(f"n{place[parent]}", f"n{place[line]}", **color, **text)


def _terms(targets: Iterable[Node], label: Mapping[Node, str], colors: Mapping[Node, str]) -> str:
    """What arrives through these strands on the way back: "dl/dσ² dl/dx̂". The output of a loss is not worth a word."""
    texts = [
        f'<font color="{colors[target]}">&#160;dl/d{_escaped(label[target])}&#160;</font>'
        for target in targets
        if target in label and target.shape != ()
    ]
    return f"<{''.join(texts)}>" if texts else ""


def _stack(graph: Any, lines: list[Node], place: Mapping[Node, int], homes: Mapping[str, tuple[str, ...]]) -> None:
    """Invisible edges that put parameters below what enters their scope, so that scopes come one after another."""
    for line in lines:
        ids = [f"n{place[parent]}" for parent in line.parents if parent is not None]
        leaves = {f"n{place[parent]}" for parent in line.parents if parent is not None and parent.is_leaf}
        home = homes[f"n{place[line]}"]
        for entering in ids:
            for name in sorted(leaves) if homes[entering] != home else ():
                if homes[name] == home:
                    graph.edge(entering, name, style="invis")


def _legend(graph: Any) -> None:
    """Samples of the shapes, apart from the graph, and one sentence on the strands below it."""
    samples = {
        "leaf": LEAF_STYLE,
        "constant": CONSTANT_STYLE,
        "operation": {},
        "named value": _named_style(COLORS[0]),
        "output": OUTPUT_STYLE,
    }
    with graph.subgraph(name="cluster legend", graph_attr=CLUSTER | {"label": "legend"}) as inside:
        for k, (text, style) in enumerate(samples.items(), 1):
            inside.node(f"legend{k}", label=text, fontsize="10", **style)
        for k in range(1, len(samples)):
            inside.edge(f"legend{k}", f"legend{k + 1}", style="invis")
    graph.attr(label="Gradients flow against the arrows. A strand leads to the named value of its color.")
