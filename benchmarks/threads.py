"""What the number of arithmetic threads costs: two trainings and an encoding, alone and beside a busy process.

The demo's nutrition spoke as it is, the same four times as wide in fewer and larger steps, and titles through the text
encoder; each on one thread, on two, and on what is chosen, in a process of its own. Prints a Markdown table and writes
the same as JSON; `others` are the cores that other processes kept busy meanwhile, on average.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import hubspoke

from benchmarks.launch_floor import machine, versions, write

DOMAIN = "nutrition"
LARGE = {"transformer": {"dimension": 256}, "training": {"tokens_per_batch": 4096}}
WORKS = ("small spoke", "large spoke", "encoding")
CHOICES = ("1", "2", "auto")


def prepare(folder: str) -> None:
    """A workspace with the demo's category, its titles embedded."""
    from hubspoke.demo.complete_journey import department_events, department_items

    with hubspoke.open(create=True, workspace=folder) as ws:
        ws.domain.add(DOMAIN, department_items(DOMAIN.upper()), department_events(DOMAIN.upper()))
        ws.hub.train(domains=[], config={"image": None})
        ws.hub.embed(DOMAIN)


def run(folder: str, work: str, threads: str, epochs: int, texts: int) -> dict[str, Any]:
    """One piece of work in this process."""
    from hubspoke.hub.threads import busy_seconds, limit_threads

    asked = None if threads == "auto" else int(threads)
    with hubspoke.open(workspace=folder, threads=asked) as ws:
        limit_threads(asked)
        do = _encoding(folder, texts) if work == "encoding" else _training(ws, work, epochs)
        busy, own, began = busy_seconds(), time.process_time(), time.perf_counter()
        chosen = do()
        wall, cpu = time.perf_counter() - began, time.process_time() - own
        return {"threads": chosen, "wall": wall, "cpu": cpu, "others": (busy_seconds() - busy - cpu) / wall}


def _training(ws: Any, work: str, epochs: int) -> Callable[[], int]:
    config: dict[str, Any] = LARGE if work == "large spoke" else {"training": {}}
    limit = max(1, epochs // 10) if work == "large spoke" else epochs
    config = {**config, "training": {**config["training"], "max_epochs": limit}}

    def train() -> int:
        trained = ws.spoke.train(DOMAIN, config=config, split="all", refit=True, force=True)
        return int(trained.summary["threads"])

    return train


def _encoding(folder: str, texts: int) -> Callable[[], int]:
    import torch
    from hubspoke.demo.complete_journey import department_items
    from hubspoke.hub.config import HubConfig
    from hubspoke.hub.model import Hub

    encoder = Hub(HubConfig(image=None), device="cpu").text
    assert encoder is not None
    titles = department_items("DRUG GM")["title"].head(texts).to_list()
    encoder.encode(titles[:2])  # loads the weights

    def encode() -> int:
        encoder.encode(titles)
        return torch.get_num_threads()

    return encode


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """A process that computes without end, or none."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if spinning:
            spinning.kill()
            spinning.wait()


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every work on every choice, alone and beside a busy process."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        prepare(folder)
        sizes = ["--epochs", str(arguments.epochs), "--texts", str(arguments.texts)]
        free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        for busy in (False, True):
            for work in WORKS:
                for threads in CHOICES:
                    command = [sys.executable, "-m", "benchmarks.threads", *sizes, "--run", folder, work, threads]
                    with neighbour(busy):
                        found = subprocess.run(command, capture_output=True, text=True, check=True, env=free).stdout
                    rows.append({"beside": "a busy process" if busy else "nothing", "work": work, "asked": threads})
                    rows[-1] |= json.loads(found)
    return rows


def markdown(report: dict[str, Any]) -> str:
    """The rows as a table, with what they were measured on."""
    lines = ["| beside | work | threads | wall, s | CPU, s | others, cores |", "|---" * 6 + "|"]
    for row in report["rows"]:
        threads = row["asked"] if row["asked"] != "auto" else f"auto: {row['threads']}"
        cells = f"{row['wall']:.1f} | {row['cpu']:.1f} | {row['others']:.1f}"
        lines.append(f"| {row['beside']} | {row['work']} | {threads} | {cells} |")
    load = ", ".join(f"{own:.1f}" for own in report["load"])
    where = f"{report['machine']['cpu']}, {report['machine']['cores']} cores, load before the run {load}"
    return f"{where}; {report['date']}\n\n" + "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40, help="of the small spoke; a tenth for the large")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--out")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        sys.stdout.write(json.dumps(run(*arguments.run, arguments.epochs, arguments.texts)))
        return
    load = os.getloadavg()
    report = {"date": datetime.now(UTC).date().isoformat(), "load": load, "rows": measure(arguments)}
    report |= {"machine": machine("cpu"), "versions": versions()}
    if arguments.out:
        write(arguments.out, report)
    sys.stdout.write(markdown(report) + "\n")


if __name__ == "__main__":
    main()
