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
    """Open a page, press the keys, and save what is then to be seen. Returns what the page says of the step."""
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
    """The page of a graph, stepped from the last line of the tape back to the one called xhat."""
    made = program("docs/explorer.md")  # held, so that the values of leaves are known
    names = [getattr(line, "name", None) for line in mg.Tape(made["loss"])]
    back = names[::-1].index("xhat")
    with TemporaryDirectory() as folder:
        page = mg.draw(made["loss"]).save(Path(folder) / "graph.html")
        return photograph(page, ["b", *["ArrowRight"] * back, "f"], path)


def diagnostics(path: Path) -> Any:
    """What watch plots of saturated layers."""
    watched = program("docs/diagnostics.md")["w"]
    watched.plot(path)
    return f"{len(watched.report().findings)} findings"


PICTURES = {"explorer": explorer, "diagnostics": diagnostics}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; both by default")
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR")
    given = parser.parse_args()
    for name in given.names or PICTURES:
        target = given.out / f"{name}.png"
        print(f"{target}: {PICTURES[name](target)}")
