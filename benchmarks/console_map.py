"""The map of a console that runs, with made-up products in the place of its own: what a frame takes in a browser.

Opens the map of a live category with many made-up points in the place of its own, then points, circles, moves and
colours anew, and reads how long each frame stood (17 ms is the pace of the screen).

    python -m benchmarks.console_map http://localhost:8090/console/ mugs --items 100000
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from benchmarks.console import BROWSERS

MOVES = 40
FRAMES = """() => { window.frames_ = []; let last = performance.now();
const tell = (at) => { window.frames_.push(at - last); last = at; requestAnimationFrame(tell); };
requestAnimationFrame(tell); }"""
RECOLOUR = """() => { const begun = performance.now(), ways = document.querySelectorAll("input[name=colour]");
for (let n = 0; n < 9; n++) ways[(n + 1) % ways.length].click(); return (performance.now() - begun) / 9; }"""


def points(items: int) -> bytes:
    """Made-up products as the console sends them: places, then categories, prices and coldness."""
    rng = np.random.default_rng(0)
    places = (rng.normal(size=(items, 2)) * 9000).clip(-32_000, 32_000).astype("<i2")
    return places.tobytes() + b"".join(rng.integers(0, most, items).astype("u1").tobytes() for most in (8, 255, 2))


def replace_products(page: Any, items: int) -> None:
    """Let the map of the page be of made-up products."""

    def legend(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub(r'data-count="\d+"', f'data-count="{items}"', answer.text()))

    content = points(items)
    page.route("**/map/legend", legend)
    page.route("**/map/points", lambda route: route.fulfill(body=content, content_type="application/octet-stream"))
    page.route("**/map/products*", lambda route: route.fulfill(body="", content_type="text/html"))


def acts(page: Any, x: float, y: float) -> Iterator[tuple[str, Callable[[], None]]]:
    """What people do with a map, around a point of it."""

    def move(across: float, down: float) -> None:
        for n in range(MOVES):
            page.mouse.move(x + across * n, y + down * n)

    def drag() -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        move(4, 3)
        page.mouse.move(x - 150, y + 150)
        page.mouse.up()

    def shift() -> None:
        page.keyboard.down("Shift")
        drag()
        page.keyboard.up("Shift")

    return iter((("point", lambda: move(8, 3)), ("circle", drag), ("move", shift)))


def measure(address: str, domain: str, items: int) -> list[str]:
    """The lines of the report."""
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        replace_products(page, items)
        page.goto(f"{address}categories/{domain}/map")
        page.wait_for_selector("#map[data-ready=drawn]")
        box = page.locator("#map").bounding_box()
        assert box is not None
        page.evaluate(FRAMES)
        lines = [f"A map of {items:,} products:", "", "| what | frames | median ms | p95 ms |", "|---|---|---|---|"]
        for name, act in acts(page, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2):
            page.evaluate("window.frames_.length = 0")
            act()
            frames = sorted(page.evaluate("window.frames_"))
            p95 = frames[int(0.95 * (len(frames) - 1))]
            lines.append(f"| {name} | {len(frames)} | {statistics.median(frames):.0f} | {p95:.0f} |")
        lines += ["", f"Coloured anew and drawn in {page.evaluate(RECOLOUR):.0f} ms."]
        browser.close()
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("domain", help="a live category")
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args(arguments)
    print("\n".join(measure(options.address, options.domain, options.items)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
