"""The pictures of docs/console.md: pages of a console that runs, at 1280 pixels, small enough for a page.

hubspoke console --port 8090 &
python -m benchmarks.console_pictures http://localhost:8090/console/ sport --out docs/console
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = {"releases": "categories/{domain}", "lineage": "nodes?ref=release:{domain}/1"}
WIDTH, HEIGHT = 1280, 900
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at the pages and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("domain")
    parser.add_argument("--out", default="docs/console", metavar="FOLDER")
    options = parser.parse_args(arguments)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for name, own in PAGES.items():
            page.goto(options.address + own.format(domain=options.domain))
            page.wait_for_load_state("networkidle")
            page.wait_for_function("() => !document.querySelector('[aria-busy=true], .waiting')")
            (folder / f"{name}.png").write_bytes(small(page.screenshot()))
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
