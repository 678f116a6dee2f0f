"""The page that save("graph.html") writes, used in a real browser with mouse and keys."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.drawing import draw

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
IMAGE = '<img src=x onerror="alert(1)">'
ODD = [
    IMAGE,
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "/*DATA*/",
    "שלום <b>x</b>",
    "😀 x̂ & \"q\" 'z' \\",
    "a\nb\u2028c",
    "\ud800",
    "__proto__",
]


def leaf(name: str, *shape: int, label: str | None = None) -> Any:
    rng = np.random.default_rng([len(name), *shape])
    return mg.Tensor(rng.normal(size=shape), requires_grad=True).named(name, label=label)


def batch_norm() -> tuple[Any, dict[str, Any]]:
    """A loss of small batch norm, and the leaves; y is weighted, as all gradients into x vanish for a plain sum."""
    x, gamma, beta = leaf("x", 6, 3), leaf("gamma", 3, label="γ"), leaf("beta", 3, label="β")
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + 0.1), label="x̂")
    y = mg.name("y", gamma * xhat + beta)
    return mg.name("l", (y * np.random.default_rng(0).normal(size=(6, 3))).sum()), {"x": x, "γ": gamma, "β": beta}


class Network(nn.Module):
    """Two blocks of scopes within scopes."""

    def __init__(self) -> None:
        self.encoder = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        self.head = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.head(np.tanh(self.encoder(x)))


def network() -> Any:
    mg.manual_seed(0)
    return mg.name("loss", (Network()(leaf("x", 6, 4)) ** 2).mean())


def odd_names() -> Any:
    leaves = [leaf(f"x{k}", 2, label=text) for k, text in enumerate(ODD)]
    return mg.name("l", sum(x * x for x in leaves).sum(), label="</title><h1>l")


def chain(nodes: int) -> Any:
    y = leaf("x", 3)
    for _ in range(nodes):
        y = np.sin(y)
    return mg.name("l", y.sum())


def written(path: Path, output: Any, **options: Any) -> Path:
    """The page of an output, drawn with these options, or of a picture."""
    picture = draw(output, **options) if isinstance(output, mg.Tensor) else output
    return picture.save(path / "graph.html")  # type: ignore[no-any-return]


# Without a browser


def data_of(page: str) -> Any:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_page_requests_no_other_file(tmp_path: Path) -> None:
    page = written(tmp_path, batch_norm()[0]).read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.html"]
    assert "default-src 'none'" in page
    assert not re.search(r"<(link|img|iframe|object)|\b(src|href)=|@import|url\(|\bimport\b|fetch\(", page)
    assert set(re.findall(r"https?://[^\s\"'<>)]*", page)) == {"http://www.w3.org/2000/svg"}
    assert len(page) < 110_000


def test_names_cannot_end_the_elements_around_them(tmp_path: Path) -> None:
    page = written(tmp_path, odd_names()).read_text("utf-8")
    assert page.count("</script>") == page.count("<script") == 2
    assert page.count("</title>") == 1
    labels = {vertex.get("label") for vertex in data_of(page)["vertices"]}
    assert {*ODD, "</title><h1>l"} <= labels


def test_page_is_the_same_in_every_run(tmp_path: Path) -> None:
    first = written(tmp_path, network()).read_bytes()
    leaf("unrelated", 2)
    assert written(tmp_path, network()).read_bytes() == first


@pytest.mark.floating(divide="ignore", invalid="ignore", over="ignore")
def test_nonfinite_numbers_are_strings_in_the_data(tmp_path: Path) -> None:
    x = mg.Tensor([0.0, 1.0], requires_grad=True).named("x")
    vertices = {v.get("label"): v for v in data_of(written(tmp_path, mg.sqrt(x).sum()).read_text("utf-8"))["vertices"]}
    assert vertices["x"]["gradient"]["norm"] == "inf"
    assert vertices["x"]["gradient"]["nonfinite"] == 1


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason='needs Playwright: pip install "minigrad[browser]"')
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("needs Chromium: the package chromium of the system, or `playwright install chromium`")
        try:
            chromium = playwright.chromium.launch(executable_path=path)
        except sync_api.Error as error:
            pytest.skip(f"Chromium does not start here: {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page of an output or a picture. It must not fail, ask for another file or open a dialog."""
    contexts, problems = [], []

    def opened(output: Any, options: Any = None, width: int = 1280, height: int = 800, **context: Any) -> Any:
        url = written(tmp_path, output, **(options or {})).as_uri()
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **context))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: request.url == url or problems.append(f"request: {request.url}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def current(page: Any) -> tuple[list[str], list[str]]:
    """The keys of the boxes and rows that are highlighted."""
    boxes, rows = page.evaluate(
        "() => [[...document.querySelectorAll('.node.current')].map(box => box.dataset.key),"
        "[...document.querySelectorAll('[role=option][aria-selected=true]')].map(row => row.id.slice(4))]"
    )
    return boxes, rows


def contributions(page: Any) -> dict[str, tuple[str, float, str]]:
    """For each contribution in the panel: the gradient, the derivative, the norm, and its number."""
    rows = page.evaluate(
        "() => [...document.querySelectorAll('.contribution')].map(contribution =>"
        "['.to', '.derivative', '.norm', '.progress'].map(part => contribution.querySelector(part).innerText))"
    )
    return {
        to.rstrip("+= "): (derivative, float(norm.removeprefix("‖·‖ = ").replace("−", "-")), progress)
        for to, derivative, norm, progress in rows
    }


def boxes(page: Any) -> dict[str, dict[str, float]]:
    return page.evaluate(  # type: ignore[no-any-return]
        "() => Object.fromEntries([...document.querySelectorAll('.node, .group')].map(box => {"
        "const { left, right, top, bottom } = box.getBoundingClientRect();"
        "return [(box.dataset.key ?? 'open ' + box.firstChild.dataset.key), { left, right, top, bottom }]; }))"
    )


def test_small_graph_fits_on_the_screen_at_first(show: Any) -> None:
    loss, _ = batch_norm()
    page = show(loss, width=1180, height=760)
    page.wait_for_function("document.querySelector('.node').getBoundingClientRect().width > 0")
    top = page.locator("#legend").bounding_box()["y"]
    assert all(box["bottom"] < top for box in boxes(page).values())


def test_each_step_forwards_is_a_node(show: Any) -> None:
    loss, _ = batch_norm()
    page = show(loss)
    assert current(page) == ([], [])
    for k in range(1, len(mg.Tape(loss)) + 1):
        press(page, "ArrowRight")
        assert current(page) == ([f"n{k}"], [f"n{k}"])
        assert page.inner_text("#rule h3") == f"forward node {k}"
        arrows = page.locator(".edge.flow").count()
        parents = [parent for parent in mg.Tape(loss)[k - 1].parents if parent is not None]
        assert arrows == len(parents) + (k == 14)  # y is multiplied by a constant


def test_steps_backwards_are_the_chain_rule(show: Any) -> None:
    """Against the formulas of batch norm, derived by hand (Ioffe & Szegedy 2015, section 3)."""
    loss, leaves = batch_norm()
    x, gamma = leaves["x"].numpy(), leaves["γ"].numpy()
    mu, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + 0.1)
    dy = np.random.default_rng(0).normal(size=(6, 3))
    dxhat = dy * gamma
    dvar = (dxhat * (x - mu)).sum(axis=0) * -0.5 * std**-3
    dmu = -dxhat.sum(axis=0) / std
    page = show(loss)
    count = len(mg.Tape(loss))
    shown = {}
    press(page, "b")
    for k in range(count, 0, -1):
        assert current(page) == ([f"n{k}"], [f"n{k}"])
        shown[k] = contributions(page)
        assert page.locator(".edge.flow").count() == len(shown[k])
        press(page, "ArrowRight")

    def contribution(k: int, to: str) -> tuple[str, float, str]:
        return shown[k][f"dl/d{to}"]

    def norm(v: Any) -> Any:
        return pytest.approx(float(np.linalg.norm(v)), rel=6e-3)  # three digits are shown

    assert contribution(12, "x̂") == ("v · γ", norm(dxhat), "the only contribution")
    assert contribution(12, "γ") == (
        "sum(v · x̂, axis=0)",
        norm((dy * (x - mu) / std).sum(axis=0)),
        "the only contribution",
    )
    assert contribution(13, "β") == ("sum(v, axis=0)", norm(dy.sum(axis=0)), "the only contribution")
    assert contribution(9, "σ²") == ("v", norm(dvar), "the only contribution")
    assert contribution(8, "x")[1:] == (norm(dxhat / std), "contribution 1 of 3")
    assert contribution(8, "μ")[1:] == (norm(dmu), "contribution 1 of 2")
    assert contribution(5, "x")[1:] == (norm(dvar * 2 * (x - mu) / 6), "contribution 2 of 3")
    assert contribution(5, "μ")[2] == "contribution 2 of 2"
    assert contribution(5, "μ")[1] < 1e-12  # identically zero
    assert contribution(4, "x")[1:] == (norm(np.broadcast_to(dmu / 6, (6, 3))), "contribution 3 of 3")
    loss.backward()
    press(page, "End")
    assert page.inner_text(".adjoint").startswith("dl/dx is complete: the sum of 3 contributions")
    assert f"norm {np.linalg.norm(leaves['x'].grad.numpy()):.3g}" in page.inner_text(".statistics")


def test_all_ways_to_step(show: Any) -> None:
    page = show(batch_norm()[0])
    ends = {
        "Home": "whole graph",
        "b": "backward, node 15 of 15",
        "ArrowLeft": "forward, node 15 of 15",
        "ArrowRight": "backward, node 15 of 15",
        "ArrowDown": "backward, node 14 of 15",
        "End": "backward, node 1 of 15",
    }
    for key, where in ends.items():
        press(page, key)
        assert page.inner_text("#where") == where
    press(page, "ArrowRight")
    assert page.inner_text("#where") == "backward, node 1 of 15"
    page.click("#row-n7")
    assert current(page) == (["n7"], ["n7"])
    assert page.inner_text("#where") == "backward, node 7 of 15"
    page.focus("#tape")
    press(page, "ArrowDown")
    assert page.inner_text("#where") == "backward, node 8 of 15"
    page.click('[data-key="n4"]')
    assert page.inner_text("#where") == "backward, node 4 of 15"
    for button, where in [
        ("first", "whole graph"),
        ("next", "forward, node 1 of 15"),
        ("turn", "backward, node 15 of 15"),
        ("previous", "forward, node 15 of 15"),
        ("last", "backward, node 1 of 15"),
    ]:
        page.click(f"#{button}")
        assert page.inner_text("#where") == where
    page.fill("#step", "11")
    assert page.inner_text("#where") == "forward, node 11 of 15"
    assert page.get_attribute("#step", "aria-valuetext") == "forward, node 11 of 15: x̂"
    assert "value: norm" in page.inner_text("#rule")


def test_playing_pauses_and_stops_at_the_end(show: Any) -> None:
    x = leaf("x", 2)
    page = show(mg.name("l", (x * x).sum()))
    page.clock.install()
    press(page, " ")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.clock.run_for(2500)
    assert page.inner_text("#where") == "forward, node 2 of 3"
    press(page, " ")
    page.clock.run_for(5000)
    assert page.inner_text("#where") == "forward, node 2 of 3"
    page.click("#play")
    page.clock.run_for(9000)
    assert page.inner_text("#where") == "backward, node 1 of 3"
    assert page.get_attribute("#play", "aria-label") == "Play"


def test_scopes_fold_and_unfold(show: Any) -> None:
    loss = network()
    page = show(loss)
    assert {"open g:encoder", "open g:encoder/0", "open g:head"} <= boxes(page).keys()
    before = boxes(page).keys()
    page.click('.title[data-key="g:encoder"]')
    folded = page.locator('.node[data-key="g:encoder"]')
    assert folded.get_attribute("aria-expanded") == "false"
    assert "43 parameters" in folded.inner_text()
    inside = {f"n{k}" for k, node in enumerate(mg.Tape(loss), 1) if node.scope.startswith("encoder")}
    assert f"{len(inside) + 1} nodes" in folded.inner_text()  # and x, which is used there only
    assert "linear ×2, tanh" in folded.inner_text()
    assert not (inside | {"open g:encoder", "open g:encoder/0"}) & boxes(page).keys()
    folded.focus()
    press(page, "Enter")
    assert boxes(page).keys() == before
    assert page.evaluate("document.activeElement.dataset.key") == "g:encoder"
    press(page, "o")
    assert "g:encoder/0" in boxes(page)
    press(page, "o")
    assert {"g:encoder", "g:head"} <= boxes(page).keys()
    press(page, "u", "u")
    assert boxes(page).keys() == before


def test_step_inside_a_folded_scope(show: Any) -> None:
    loss = network()
    inside = next(k for k, node in enumerate(mg.Tape(loss), 1) if node.scope == "encoder/0" and not node.is_leaf)
    page = show(loss, options={"fold": ["encoder"]})
    assert "g:encoder" in boxes(page)
    page.fill("#step", str(inside))
    assert current(page) == (["g:encoder"], [f"n{inside}"])
    page.click(".inside button")
    assert current(page) == ([f"n{inside}"], [f"n{inside}"])


def test_depth_sets_what_is_folded_at_first(show: Any) -> None:
    page = show(network(), options={"depth": 1})
    assert {"g:encoder", "g:head"} <= boxes(page).keys()
    assert not {"g:encoder/0", "open g:encoder"} & boxes(page).keys()


def test_search_finds_and_unfolds(show: Any) -> None:
    loss = network()
    page = show(loss, options={"depth": 1})
    press(page, "/")
    page.keyboard.type("TANH")
    assert page.inner_text("#found") == "2 found"
    assert page.locator(".node.found").count() == 2  # a folded box and a node
    press(page, "Enter")
    assert page.inner_text("#found") == "1 of 2"
    first = next(k for k, node in enumerate(mg.Tape(loss), 1) if not node.is_leaf and node.primitive.name == "tanh")
    assert current(page)[0] == [f"n{first}"]
    press(page, "Escape")
    assert page.locator(".node.found, .node.dimmed").count() == 0
    assert page.input_value("#search") == ""
    press(page, "ArrowRight")
    assert current(page)[0] != [f"n{first}"]
    press(page, "/")
    page.keyboard.type("no such thing")
    assert page.inner_text("#found") == "nothing found"


def test_keys_for_zoom_colors_derivatives_and_help(show: Any) -> None:
    page = show(network())
    before = page.get_attribute("#world", "style")
    press(page, "+", "+", "Shift+ArrowLeft")
    assert page.get_attribute("#world", "style") != before
    press(page, "f")
    canvas = page.locator("#canvas").bounding_box()
    for box in boxes(page).values():
        assert canvas["x"] <= box["left"] < box["right"] <= canvas["x"] + canvas["width"]
        assert canvas["y"] <= box["top"] < box["bottom"] <= canvas["y"] + canvas["height"]
    painted = page.locator(".node.painted").count()
    assert painted > 10
    press(page, "c")
    assert page.locator(".node.painted").count() == 0
    assert page.inner_text("#legend") == ""
    press(page, "c", "d")
    assert page.locator(".node.painted").count() == painted
    assert "norm of the gradient" in page.inner_text("#legend")
    assert "v @ weightᵀ" in page.locator(".label").all_inner_texts()
    press(page, "?")
    assert page.locator("#guide").is_visible()
    press(page, "Escape")
    assert not page.locator("#guide").is_visible()


def test_tab_reaches_every_box_and_shows_its_card(show: Any) -> None:
    page = show(batch_norm()[0])
    page.focus("#tape")
    reached = []
    for _ in range(40):
        press(page, "Tab")
        reached.append(page.evaluate("document.activeElement.dataset.key ?? ''"))
        if reached[-1] == "n11":
            card = page.inner_text("#tip")
            assert "(x − μ) / √(σ² + 0.1)" in card
            assert "shape (6, 3), float64" in card
            assert card.count("norm") == 4  # of the value, the gradient and two contributions
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert {f"n{k}" for k in range(1, 16)} <= set(reached)


def test_every_control_has_a_name(show: Any) -> None:
    page = show(network())
    for control in page.query_selector_all("button, input, [role=button], [role=listbox]"):
        name = control.get_attribute("aria-label") or control.inner_text()
        assert name or control.get_attribute("aria-labelledby")
    press(page, "ArrowRight")
    row = page.get_attribute("#tape", "aria-activedescendant")
    assert page.locator(f"#{row}").get_attribute("aria-selected") == "true"


def test_names_are_written_as_text(show: Any) -> None:
    page = show(odd_names())
    texts = page.locator(".node .name").all_text_contents()
    assert {*ODD[:7], "__proto__", "</title><h1>l"} <= set(texts)
    assert page.locator("#canvas img, #canvas script, h1 h1, aside img").count() == 0
    press(page, *["ArrowRight"] * 5, "End", *["ArrowLeft"] * 5)
    press(page, "/")
    page.keyboard.type("<img")
    press(page, "Enter")
    assert page.inner_text("#found").startswith("1 of ")
    page.hover('[data-key="n1"]')
    assert IMAGE in page.inner_text("#tip")


@pytest.mark.parametrize("make", [lambda: batch_norm()[0], network, lambda: chain(150)], ids=["norm", "net", "chain"])
def test_boxes_do_not_overlap_and_arrows_lead_down(show: Any, make: Callable[[], Any]) -> None:
    page = show(make())
    found = boxes(page)
    nodes = {key: box for key, box in found.items() if not key.startswith("open ")}
    assert len(nodes) > 3
    for (a, one), (b, other) in combinations(nodes.items(), 2):
        apart = (
            one["right"] <= other["left"] or other["right"] <= one["left"]
            or one["bottom"] <= other["top"] or other["bottom"] <= one["top"]
        )  # fmt: skip
        assert apart, (a, b)
    groups = [box for key, box in found.items() if key.startswith("open ")]
    for (a, one), box in [(pair, box) for pair in nodes.items() for box in groups]:
        inside = box["left"] <= one["left"] and one["right"] <= box["right"]
        inside = inside and box["top"] <= one["top"] and one["bottom"] <= box["bottom"]
        outside = one["right"] <= box["left"] or box["right"] <= one["left"] or one["bottom"] <= box["top"]
        assert inside or outside or box["bottom"] <= one["top"], a
    for path in page.eval_on_selector_all(".edge .line", "all => all.map(line => line.getAttribute('d'))"):
        heights = [float(part.split()[-1]) for part in re.split("[MLC]", path)[1:]]
        assert all(above <= below for above, below in pairwise(heights)), path


def test_mouse_wheel_and_touch(show: Any) -> None:
    page = show(network(), has_touch=True)
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + 8, box["y"] + 8
    before = boxes(page)["n1"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 20, steps=6)
    page.mouse.up()
    after = boxes(page)["n1"]
    assert (after["left"] - before["left"], after["top"] - before["top"]) == pytest.approx((30, 20))
    page.mouse.wheel(0, -100)
    wider = boxes(page)["n1"]
    assert wider["right"] - wider["left"] > 1.1 * (after["right"] - after["left"])
    cdp = page.context.new_cdp_session(page)
    for kind, gap in [("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchMove", 100), ("touchEnd", None)]:
        points = [{"x": x + 200 - gap, "y": y, "id": 0}, {"x": x + 200 + gap, "y": y, "id": 1}] if gap else []
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    pinched = boxes(page)["n1"]
    assert pinched["right"] - pinched["left"] > 1.5 * (wider["right"] - wider["left"])


def test_long_tape_is_folded_with_a_note(show: Any) -> None:
    page = show(chain(2500))
    assert re.search(r"2,50\d nodes are folded into \d+ boxes", page.inner_text("#notes"))
    assert 2 < page.locator(".node").count() <= 60
    assert page.locator("[role=option]").count() < 100
    press(page, "End")
    assert page.inner_text("#where") == "backward, node 1 of 2502"
    assert current(page)[1] == ["n1"]
    assert page.get_attribute("[aria-selected=true]", "aria-setsize") == "2502"
    page.click(".inside button")
    assert current(page) == (["n1"], ["n1"])
    press(page, "Home")
    for _ in range(6):
        press(page, "u")
    assert page.locator(".node").count() <= 600
    assert "unfold single scopes" in page.inner_text("#found")


def test_after_backward_only_the_gradients_of_leaves_are_shown(show: Any) -> None:
    loss, leaves = batch_norm()
    loss.backward()
    page = show(loss)
    assert "released" in page.inner_text("#notes")
    assert page.locator(".node.painted").count() == len(leaves)
    press(page, "b")
    assert "v" in page.inner_text(".contribution .derivative")
    press(page, "End")
    assert f"norm {np.linalg.norm(leaves['x'].grad.numpy()):.3g}" in page.inner_text(".statistics")


@pytest.mark.floating(divide="ignore", invalid="ignore", over="ignore")
def test_what_is_not_finite_is_red(show: Any) -> None:
    x, w = mg.Tensor([0.0, 1.0], requires_grad=True).named("x"), leaf("w", 2)
    page = show(mg.name("l", (mg.sqrt(x) * w).sum()))
    red = page.eval_on_selector_all(".node.bad", "all => all.map(box => box.dataset.key)")
    assert red == ["n1"]
    assert "not finite" in page.inner_text("#legend")
    assert "arises" in page.inner_text("#notes")
    press(page, "b", "ArrowRight", "ArrowRight")
    assert page.inner_text(".contribution .broken").endswith("∞ arises")  # v / (2 √x) at x = 0


def test_color_schemes_small_screens_and_printing(show: Any) -> None:
    loss, _ = batch_norm()
    backgrounds = set()
    for scheme in ("light", "dark"):
        page = show(loss, width=390, height=844, color_scheme=scheme)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("#play").bounding_box()["y"] < 844
    assert len(backgrounds) == 2
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 3


def test_steps_go_forwards_through_a_recorded_backward_pass(show: Any) -> None:
    loss, _ = batch_norm()
    page = show(loss, options={"backward": True})
    assert page.inner_text("#title") == "l"
    press(page, "b")
    assert page.inner_text("#where").startswith("recorded, node 16 of ")
    assert current(page)[0] == ["n16"]
    press(page, "End")
    last = int(page.get_attribute("#step", "max") or 0)
    assert page.inner_text("#where") == f"recorded, node {last} of {last}"
    press(page, "o")
    assert {"g:forward", "g:backward", "c1"} == boxes(page).keys()


def test_boxes_show_verdicts(show: Any) -> None:
    def squares(x: Any, w: Any) -> Any:
        h = mg.name("h", x * w)
        return h * h

    derivation = mg.verify.Derivation(squares, x="N", w="N")

    @derivation.line
    def dh(dout: Any, h: Any) -> Any:
        return dout * h

    @derivation.line
    def dx(dh: Any, w: Any) -> Any:
        return dh * w

    page = show(derivation.check().draw())
    assert "dl/dh wrong" in page.inner_text(".node.wrong .verdict")
    assert page.inner_text(".node.right .verdict") == "dl/dx right"
    assert page.locator(".node.painted").count() == 0  # verdicts first; gradients on request
