"""The picture of docs/explorer.md: the page of a graph, opened in a browser and stepped back to x̂.

pip install "minigrad[browser]"           # and a Chromium: the system's, or `playwright install chromium`
python examples/explorer.py               # writes docs/images/explorer.png
python examples/explorer.py --out /tmp
"""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from gallery import IMAGES, program

import minigrad as mg

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def photograph(page, keys, path, width=1180, height=760):
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


def write(path):
    """Photograph the program of the page, from the last line of its tape back to the one called xhat."""
    made = program("docs/explorer.md")  # held, so that the values of leaves are known
    names = [getattr(line, "name", None) for line in mg.Tape(made["loss"])]
    back = names[::-1].index("xhat")
    with TemporaryDirectory() as folder:
        page = mg.draw(made["loss"]).save(Path(folder) / "graph.html")
        return photograph(page, ["b", *["ArrowRight"] * back, "f"], path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR")
    target = parser.parse_args().out / "explorer.png"
    print(target, write(target))
