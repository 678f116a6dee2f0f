"""The pictures of docs/explorer.md and docs/diagnostics.md, from the programs on these pages.

pip install -e ".[browser,plot]"          # and a Chromium: the system's, or `playwright install chromium`
python examples/pages.py                  # writes docs/images/explorer.png and diagnostics.png
python examples/pages.py explorer --out /tmp
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gallery import IMAGES, program

import minigrad as mg

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def photograph(page: Any, keys: Any, path: Path, width: int = 1180, height: int = 760) -> Any:
    """Open a page, press the keys, and save a screenshot. Returns the page's description of the step."""
    from playwright.sync_api import sync_playwright

    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed)
        view = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
        view.goto(page.as_uri())
        for key in keys:
            view.keyboard.press(key)
        view.screenshot(path=path)
        step = view.locator("#where").inner_text()
        browser.close()
        return step


def explorer(path: Path) -> Any:
    """The page of a graph, stepped backwards from the last node of the tape to the one called xhat."""
    variables = program("docs/explorer.md")  # kept alive, so that the values of leaves are known
    names = [getattr(node, "name", None) for node in mg.Tape(variables["loss"])]
    back = names[::-1].index("xhat")
    with TemporaryDirectory() as folder:
        page = mg.draw(variables["loss"]).save(Path(folder) / "graph.html")
        return photograph(page, ["b", *["ArrowRight"] * back, "f"], path)


def diagnostics(path: Path) -> Any:
    """The plot of a watch, for saturated layers."""
    watched = program("docs/diagnostics.md")["w"]
    watched.plot(path)
    return f"{len(watched.report().findings)} findings"


PICTURES = {"explorer": explorer, "diagnostics": diagnostics}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; both by default")
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR")
    options = parser.parse_args()
    for name in options.names or PICTURES:
        target = options.out / f"{name}.png"
        print(f"{target}: {PICTURES[name](target)}")
