"""The console over a registry of many categories: what a page takes to answer, and to be painted by a browser.

Fills a registry on SQLite with a made-up history (see `benchmarks.registry`), asks for pages of the console several
times, and, where Playwright finds a Chromium, has it tell when it painted first; what the console keeps for two seconds
is asked anew each time. The map is measured on made-up vectors.

    python -m benchmarks.console --domains 1000 --out benchmarks/results/console.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from hubspoke.console.app import create_app
from hubspoke.console.desk import RECENT_SECONDS
from hubspoke.console.maps import projected
from hubspoke.console.settings import ConsoleSettings
from hubspoke.registry.sqlite import sqlite_url
from hubspoke.serving.server import Server
from hubspoke.workflows.workspace import open_workspace

from benchmarks.launch_floor import machine, versions
from benchmarks.registry import History, Shape, fill

PAGES = {
    "overview": "",
    "overview, searched": "?q=17",
    "overview, those behind": "?show=behind",
    "a category": "categories/{domain}",
    "a node with its lineage": "nodes?ref={domain}:1",
    "hubs": "hubs",
}
PAINT = "performance.getEntriesByName('first-contentful-paint')"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The app on a port of this machine, in a thread; its address."""
    told: Queue[str] = Queue()
    server = Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none"), told.put)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"{told.get(timeout=60)}/console/"
    finally:
        server.should_exit = True
        thread.join()


def answered(address: str, pages: Mapping[str, str], repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds until a page is there, over loopback, those of the processor for it and its kilobytes."""
    import httpx

    found = {}
    with httpx.Client(timeout=60) as client:
        for name, path in pages.items():
            times, size, busy = [], 0, time.process_time()
            for _ in range(repeats + 1):
                time.sleep(RECENT_SECONDS)
                started = time.perf_counter()
                answer = client.get(address + path, follow_redirects=True)
                times.append(1000 * (time.perf_counter() - started))
                answer.raise_for_status()
                size = len(answer.content)
            busy = 1000 * (time.process_time() - busy) / len(times)
            found[name] = {"first_ms": times[0], "median_ms": statistics.median(times[1:]), "kb": size / 1000}
            found[name]["cpu_ms"] = busy
    return found


def painted(address: str, pages: Mapping[str, str], repeats: int) -> dict[str, float] | None:
    """Median milliseconds from the click to the first contents on the screen, in a window that has the static files."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    found = {}
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        for name, own in pages.items():
            times = []
            for _ in range(repeats):
                time.sleep(RECENT_SECONDS)
                page.goto(address + own)
                page.wait_for_function(f"() => {PAINT}.length")
                times.append(float(page.evaluate(f"() => {PAINT}[0].startTime")))
            found[name] = statistics.median(times)
        browser.close()
    return found


def mapped(items: int, dimension: int) -> float:
    """Seconds that the two dimensions of a map take."""
    vectors = np.random.default_rng(0).normal(size=(items, dimension)).astype(np.float32)
    started = time.perf_counter()
    projected(vectors)
    return time.perf_counter() - started


def measure(shape: Shape, repeats: int, map_items: int) -> dict[str, Any]:
    """Everything, on a registry of that shape."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        history = History(shape)
        fill(str(sqlite_url(place / "registry.db")), history)
        domain = str(history.rows["domains"][0]["name"])
        pages = {name: path.format(domain=domain) for name, path in PAGES.items()}
        with open_workspace(environ={}, cwd=place, workspace=place) as workspace:
            app = create_app(workspace, ConsoleSettings())
            with listening(app) as address:
                answers = answered(address, pages, repeats)
                paints = painted(address, pages, repeats)
    rows = [{"page": name, **own, "paint_ms": (paints or {}).get(name)} for name, own in answers.items()]
    seconds = mapped(map_items, 384)
    return {"shape": vars(shape), "pages": rows, "map": {"items": map_items, "dimension": 384, "seconds": seconds}}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table."""
    lines = [
        "| page | first answer | answer, median | of the processor | size | first paint |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["pages"]:
        paint = "-" if row["paint_ms"] is None else f"{row['paint_ms']:.0f} ms"
        kb = f"{row['kb']:.0f} kB"
        first, median, busy = (f"{row[name]:.0f} ms" for name in ("first_ms", "median_ms", "cpu_ms"))
        lines.append(f"| {row['page']} | {first} | {median} | {busy} | {kb} | {paint} |")
    own = report["map"]
    lines.append(f"\nThe map of {own['items']:,} products of {own['dimension']} numbers: {own['seconds']:.2f} s, once.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--map-items", type=int, default=100_000)
    parser.add_argument("--out", metavar="FILE", help="write the report as JSON too")
    options = parser.parse_args(arguments)
    shape = Shape(domains=options.domains, spokes=5, indexes=5, evaluations=12)
    report = {**measure(shape, options.repeats, options.map_items), "machine": machine("cpu"), "versions": versions()}
    print(markdown(report))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
