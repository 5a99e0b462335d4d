"""What one question from the shell costs: processor seconds, seconds and memory of a whole command, start and all.

    python -m benchmarks.shell --workspace DIR --domain garden --out shell.json

The workspace holds a category that something is live in. Every command runs in a process of its own, several times;
told is the median.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import hubspoke
from hubspoke.workflows.recommendations import Recommender

from benchmarks.launch_floor import machine, publish, versions


def commands(domain: str, items: Sequence[str], title: str) -> dict[str, list[str]]:
    """The commands that are asked, by what they are called."""
    session = ["--session", ",".join(items[:3])]
    return {
        "domain list": ["domain", "list"],
        "recommend": ["recommend", domain, *session],
        "recommend, filtered": ["recommend", domain, *session, "--filter", f"item_id != '{items[3]}'"],
        "recommend, no session": ["recommend", domain],
        "similar": ["similar", domain, items[0]],
        "search": ["search", domain, title],
        "explain": ["explain", domain, *session],
    }


# A process counts as its own the memory of the one that it was forked from, so that a small one stands between.
WATCHER = """
import resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, seconds, used.ru_maxrss / 1000)
"""


def cost(arguments: Sequence[str]) -> tuple[float, float, float]:
    """Processor seconds, seconds and megabytes of one command."""
    asked = [sys.executable, "-m", "hubspoke.cli", *arguments]
    told = subprocess.run([sys.executable, "-S", "-c", WATCHER, *asked], capture_output=True, text=True, check=True)
    code, cpu, seconds, megabytes = told.stdout.split()
    if code != "0":
        raise SystemExit(f"`hubspoke {' '.join(arguments)}` ended with {code}: {told.stderr}")
    return float(cpu), float(seconds), float(megabytes)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The medians of every command."""
    with hubspoke.open(workspace=arguments.workspace) as ws:
        recommender = Recommender(ws, arguments.domain)
        items, first = recommender.item_ids[:4], recommender.catalog.describe([0])[0]
    rows = []
    for name, asked in commands(arguments.domain, items, first["title"]).items():
        runs = [cost([*asked, "--workspace", arguments.workspace]) for _ in range(arguments.repeats)]
        cpu, seconds, megabytes = (statistics.median(own) for own in zip(*runs, strict=True))
        rows.append({"command": name, "cpu_seconds": cpu, "seconds": seconds, "megabytes": megabytes})
    catalog = {"domain": arguments.domain, "items": len(recommender.item_ids), "columns": recommender.vectors.shape[1]}
    about = {"repeats": arguments.repeats, "machine": machine("cpu"), "versions": versions()}
    return {"catalog": catalog, "rows": rows, **about}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table."""
    catalog, computer = report["catalog"], report["machine"]
    asked = f"{catalog['domain']} ({catalog['items']:,} items, {catalog['columns']} columns)"
    lines = [
        f"One question from the shell to {asked}; "
        f"medians of {report['repeats']} processes, {computer['cores']} cores of {computer['cpu']}.",
        "",
        "| command | CPU s | s | MB |",
        "|---|---|---|---|",
    ]
    for row in report["rows"]:
        lines.append(f"| {row['command']} | {row['cpu_seconds']:.2f} | {row['seconds']:.2f} | {row['megabytes']:.0f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", required=True, metavar="DIR")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", metavar="FILE")
    arguments = parser.parse_args(argv)
    measured: Callable[[], dict[str, Any]] = partial(measure, arguments)
    publish(measured, markdown, arguments.out)


if __name__ == "__main__":
    main()
