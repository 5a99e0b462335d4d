"""The pictures of docs/console.md: pages of a console that runs, at 1280 pixels, small enough for a page.

hubspoke demo && hubspoke console --port 8090 &
python -m benchmarks.console_pictures http://localhost:8090/console/ nutrition mugs --out docs/console
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = {
    "overview": "",
    "launch-curve": "categories/{domain}",
    "lineage": "nodes?ref=release:{domain}/2",
    "try": "categories/{pictured}/try",
    "map": "categories/{domain}/map",
    "quality": "categories/{domain}/quality",
    "data": "categories/{domain}/data",
}
EXPERIMENT = "categories/{domain}/experiments/{version}"
CLICKED = {"try": 2}  # products of a session
BEGINS = {"launch-curve": "section:has(#curve)"}  # what a picture begins with, where that is not the top of the page
WIDTH = 1280
HEIGHTS = {"try": 1500, "launch-curve": 880}
HEIGHT = 900
SHOWN_WIDTH = 960
MAX_BYTES = 80_000


def small(content: bytes) -> bytes:
    """A screenshot as a PNG under the limit, with as many colours as that allows."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture = picture.resize(
        (SHOWN_WIDTH, round(picture.height * SHOWN_WIDTH / picture.width)), Image.Resampling.LANCZOS
    )
    for colours in (256, 128, 64, 32, 16):
        written = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
        if written.tell() < MAX_BYTES:
            break
    return written.getvalue()


def settle(page: Any) -> None:
    """Wait until every part of a page is there."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function("() => !document.querySelector('[aria-busy=true], .waiting')")
    page.wait_for_load_state("networkidle")


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at the pages and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("domain", help="with spokes of several weeks")
    parser.add_argument("pictured", help="category whose products have pictures that may be shown")
    parser.add_argument("--experiment", metavar="N", help="number of an experiment of the first, to be pictured too")
    parser.add_argument("--out", default="docs/console", metavar="FOLDER")
    options = parser.parse_args(arguments)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        known = {"domain": options.domain, "pictured": options.pictured, "version": options.experiment}
        for name, own in (PAGES | ({"experiment": EXPERIMENT} if options.experiment else {})).items():
            page.set_viewport_size({"width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)})
            page.goto(options.address + own.format(**known))
            settle(page)
            for n in range(CLICKED.get(name, 0)):
                page.locator("#found li a").nth(3 * n + 1).click()
                settle(page)
            if name in BEGINS:
                page.locator(BEGINS[name]).evaluate("(own) => scrollTo(0, own.offsetTop - 12)")
            (folder / f"{name}.png").write_bytes(small(page.screenshot()))
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
