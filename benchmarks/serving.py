"""The service under load: recommendations a second and their latency, seconds from start to ready, memory, and a soak.

A category of files (or one that a kept workspace holds already) is served by `hubspoke serve` in a process of its own,
and asked over loopback by a client in another, on as many connections as `--clients`. Sessions are the last one to ten
items of shoppers. `--soak MINUTES` asks on while aliases are promoted and rolled back, items are taken out of the index
and come back, and clients go away in the midst of requests: no request may fail, no answer mix releases, and memory is
to stay where it was.

    python -m benchmarks.serving amazon_beauty=FOLDER --keep-workspace DIR --out serving.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hubspoke.registry.records import ReleaseRecord
from hubspoke.workflows.workspace import Workspace

from benchmarks.categories import parser_of, run, workspace
from benchmarks.launch_floor import machine, versions

HUB = {"image": None, "contrastive": {"steps": 0}}
SESSIONS = 2000
WITHOUT_SESSION = ("newcomer-popularity", "newest")
PROMOTE_SECONDS = 20.0
MEMORY_SECONDS = 2.0


@dataclass(frozen=True)
class Served:
    """A service that runs."""

    process: subprocess.Popen[str]
    port: int
    ready_seconds: float

    def memory_mb(self) -> float:
        """Resident memory of its process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    def cpu_seconds(self) -> float:
        """Processor time that its process has taken."""
        user, system = (
            Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
        )
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def load(self, requests: list[Any], clients: int, seconds: float, look: bool = False, kill: float = 0.0) -> Any:
        """What a client in a process of its own finds."""
        how = {"port": self.port, "requests": requests, "clients": clients, "seconds": seconds}
        client = [sys.executable, str(Path(__file__).with_name("serving_client.py"))]
        asked = json.dumps({**how, "look": look, "kill": kill})
        before = self.cpu_seconds()
        found = json.loads(subprocess.run(client, input=asked, capture_output=True, text=True, check=True).stdout)
        found["cpu_ms"] = round(1000 * (self.cpu_seconds() - before) / max(1, found["requests"]), 2)
        return found


def prepare(ws: Workspace, domain: str, epochs: int) -> None:
    """A spoke that is live and another that is the candidate, where the category has none yet."""
    aliases = {own.alias for own in ws.registry.aliases.list(domain)}
    if "live" not in aliases and not ws.hub.list():
        ws.hub.train(domains=[], config=HUB)
    for alias, seed in (("live", 0), ("candidate", 1)):
        if alias not in aliases:
            config = {"seed": seed, "training": {"max_epochs": epochs}}
            ws.promote(str(ws.spoke.train(domain, config=config).ref), alias)


def sessions_of(ws: Workspace, domain: str) -> list[list[str]]:
    """The last one to ten items of some shoppers."""
    from hubspoke.workflows.datasets import load_dataset

    dataset, rng = load_dataset(ws, domain), random.Random(0)
    ids, sequences = dataset.items["item_id"].to_list(), dataset.sequences
    found = []
    for nth in rng.sample(range(len(sequences)), min(SESSIONS, len(sequences))):
        rows = sequences[nth].tolist()
        found.append([ids[row] for row in rows[-rng.randint(1, 10) :]])
    return found


def filters_of(ws: Workspace, domain: str) -> list[dict[str, Any]]:
    """Filters as a shop's pages have them: each of the larger categories, and prices where there are some."""
    from hubspoke.workflows.datasets import load_dataset

    items, found = load_dataset(ws, domain, with_events=False).items, []
    paths = items["category_path"].drop_nulls().list.head(2).list.join(" > ").value_counts(sort=True).head(16)
    found += [{"must": [{"field": "category", "any": [path]}]} for path in paths.to_series(0).to_list() if path]
    if (prices := items["price"].drop_nulls()).len():
        found += [{"must": [{"field": "price", "range": {"lte": prices.quantile(q)}}]} for q in (0.1, 0.25, 0.5, 0.75)]
    return found or [{"must": [{"field": "available", "is": True}]}]


def cases_of(ws: Workspace, domain: str, aliases: list[str]) -> dict[str, list[Any]]:
    """The requests of every case by its name."""
    path, rng = f"/v1/domains/{domain}", random.Random(1)
    sessions, filters = sessions_of(ws, domain), filters_of(ws, domain)
    found: dict[str, list[Any]] = {}
    for alias in aliases:
        asked = [{"session": own, "alias": alias} for own in sessions]
        filtered = [{**own, "filter": rng.choice(filters)} for own in asked]
        found[f"recommend @{alias}"] = [(f"{path}/recommend", own) for own in asked]
        found[f"recommend @{alias}, filtered"] = [(f"{path}/recommend", own) for own in filtered]
    plain = [{"session": own} for own in sessions]
    found["recommend, fields=[]"] = [(f"{path}/recommend", {**own, "fields": []}) for own in plain]
    found["recommend:batch of 20"] = [
        (f"{path}/recommend:batch", {"requests": rng.sample(plain, min(20, len(plain)))}) for _ in range(100)
    ]
    return found


@contextmanager
def serving(ws: Workspace, domain: str, *options: str) -> Iterator[Served]:
    """The service over a workspace, from its start to its end."""
    command = [sys.executable, "-m", "hubspoke.cli", "serve", "--domains", domain, "--port", "0", "--json"]
    command += ["--workspace", str(ws.settings.workspace), "--no-access-log", *options]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stdout.readline, "}\n")  # type: ignore[union-attr]
            port = int(json.loads("".join(lines) + "}")["address"].rpartition(":")[2])
            while not _is_ready(port):
                time.sleep(0.02)
            yield Served(process, port, round(time.perf_counter() - began, 2))
        finally:
            process.terminate()
            process.wait(60)


def _is_ready(port: int) -> bool:
    with suppress(urllib.error.URLError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready") as answer:
        return bool(answer.status == 200)
    return False


def soak(ws: Workspace, served: Served, domain: str, requests: list[Any], arguments: argparse.Namespace) -> Any:
    """Ask on while everything moves."""
    seconds, done, moves, memory = 60 * arguments.soak, threading.Event(), [], list[float]()

    def watch() -> None:
        while not done.wait(MEMORY_SECONDS):
            memory.append(served.memory_mb())

    def move() -> None:
        spokes = [ws.registry.releases.get(f"{domain}@{alias}").index for alias in ("live", "candidate")]
        while not done.wait(PROMOTE_SECONDS):
            moves.append(_next_move(ws, domain, spokes, len(moves)))

    threads = [threading.Thread(target=work) for work in (watch, move)]
    for thread in threads:
        thread.start()
    try:
        found = served.load(requests, arguments.clients, seconds, look=True, kill=0.01)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    known = {own.ref: own for own in ws.registry.releases.list(domain)}
    wrong = {made: count for made, count in found["made_of"].items() if not _is_whole(known, made)}
    quarter = max(1, len(memory) // 4)
    failed = sum(count for status, count in found["statuses"].items() if status not in ("200", "202"))
    return {
        **{name: found[name] for name in found if name != "made_of"},
        "minutes": arguments.soak,
        "failed": failed,
        "mixed": sum(wrong.values()),
        "moves": len(moves),
        "releases": len({made.split()[0] for made in found["made_of"]}),
        "memory_mb": {
            "first quarter": round(statistics.median(memory[:quarter]), 1),
            "last quarter": round(statistics.median(memory[-quarter:]), 1),
            "most": round(max(memory), 1),
        },
    }


def _next_move(ws: Workspace, domain: str, indexes: list[str], nth: int) -> str:
    """A promotion, a rollback, an index without three items, and the promotion of the other one."""
    if nth % 4 == 1:
        return str(ws.rollback(domain).after)
    if nth % 4 == 2:
        gone = random.Random(nth).sample(list(ws.recommend(indexes[0], k=50).items), 3)
        removed = ws.index.remove(indexes[0], [own["item_id"] for own in gone])
        return str(ws.promote(str(removed.ref)).after)
    return str(ws.promote(indexes[1 if nth % 4 == 0 else 0]).after)


def _is_whole(known: Mapping[str, ReleaseRecord], made_of: str) -> bool:
    """Whether an answer names the parts of one release."""
    ref, index, by = made_of.split(" ")
    release = known[ref]
    return release.index == index and by in (release.spoke, release.hub, *WITHOUT_SESSION)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, of the first category."""
    domain = next(iter(arguments.category))
    report: dict[str, Any] = {"domain": domain, "clients": arguments.clients, "cases": {}}
    os.environ["OMP_NUM_THREADS"] = "1"
    with workspace(arguments) as ws:
        prepare(ws, domain, arguments.epochs)
        aliases = [own.alias for own in ws.registry.aliases.list(domain)]
        wanted = [alias for alias in arguments.alias or ["live"] if alias in aliases]
        cases = cases_of(ws, domain, wanted)
        with serving(ws, domain) as served:
            report |= {"ready_seconds": served.ready_seconds, "memory_mb": {"ready": served.memory_mb()}}
            for name, requests in cases.items():
                served.load(requests, arguments.clients, 2.0)
                report["cases"][name] = served.load(requests, arguments.clients, arguments.seconds, look=False)
            report["memory_mb"]["after"] = served.memory_mb()
            if arguments.soak:
                report["soak"] = soak(ws, served, domain, [own for name in cases for own in cases[name]], arguments)
        report["items"] = ws.registry.snapshots.list(domain, "items")[-1].rows
        report["index"] = ws.registry.indexes.get(ws.registry.releases.get(f"{domain}@live").index).factory
    return report | {"machine": machine("cpu"), "versions": versions(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def markdown(report: Mapping[str, Any]) -> str:
    """One row per case, then what stands beside it."""
    headers = ("asked", "requests/s", "p50 ms", "p95 ms", "p99 ms", "most ms", "CPU ms", "failed")
    lines = [f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
    for name, own in report["cases"].items():
        failed = sum(count for status, count in own["statuses"].items() if status != "200")
        numbers = (*(own[key] for key in ("per_second", "p50", "p95", "p99", "max", "cpu_ms")), failed)
        lines.append(f"| {name} | {' | '.join(f'{number:g}' for number in numbers)} |")
    place, memory = report["machine"], report["memory_mb"]
    facts = [
        f"{report['domain']}: {report['items']} items, index {report['index']}; {report['clients']} clients on the "
        "same machine, one request at a time each; CPU is the service's own time per request.",
        f"Start to ready: {report['ready_seconds']:g} s; memory {memory['ready']:.0f} MB, afterwards "
        f"{memory['after']:.0f} MB.",
        *([_soaked(report["soak"])] if "soak" in report else []),
        f"Machine: {place['cpu']}, {place['cores']} cores, {place['memory_gib']:g} GiB.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.",
        f"Date: {report['date']}.",
    ]
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {fact}" for fact in facts)


def _soaked(found: Mapping[str, Any]) -> str:
    memory = found["memory_mb"]
    return (
        f"Soak of {found['minutes']:g} minutes: {found['requests']} requests ({found['per_second']:g}/s, p99 "
        f"{found['p99']:g} ms), {found['moves']} moves of the alias over {found['releases']} releases, "
        f"{found['killed']} clients killed: {found['failed']} failed, {found['mixed']} mixed; "
        f"memory {memory['first quarter']:.0f} MB in the first quarter, {memory['last quarter']:.0f} MB in the last, "
        f"{memory['most']:.0f} MB at most."
    )


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="of load per case")
    parser.add_argument("--alias", action="append", help="whose release is asked (default live); repeatable")
    parser.add_argument("--epochs", type=int, default=4, help="of the spokes, where there are none yet")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main()
