"""How long reading takes and what memory it needs: made-up events and products as CSV, JSON Lines and Parquet.

Each reading runs in a process of its own, whose peak memory is read at the end (on Linux). Prints a Markdown table and
writes the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hubspoke.catalog.readers import read_events, read_items

from benchmarks.launch_floor import machine, versions, write

FORMATS = ("parquet", "csv", "jsonl")
START = datetime(2024, 1, 1, tzinfo=UTC)


def events(rows: int) -> pl.DataFrame:
    """Events of shoppers on 20,000 products over a year, three columns of which no canonical name reads."""
    rng = np.random.default_rng(0)
    seconds = rng.integers(0, 365 * 86_400, rows)
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in rng.integers(0, rows // 20 + 1, rows)],
            "item_id": [f"sku-{n:06}" for n in rng.integers(0, 20_000, rows)],
            "timestamp": pl.Series(seconds).cast(pl.Duration("ms")) * 1000 + pl.Series([START]).first(),
            "event_type": rng.choice(["view", "cart", "purchase"], rows, p=[0.8, 0.12, 0.08]),
            "value": rng.uniform(1, 200, rows).round(2),
            "device": rng.choice(["phone", "desktop"], rows),
            "page": [f"/p/{n}" for n in rng.integers(0, 20_000, rows)],
        }
    )


def items(rows: int) -> pl.DataFrame:
    """Products with descriptions of a hundred words."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(5000)])
    return pl.DataFrame(
        {
            "item_id": [f"sku-{n:08}" for n in range(rows)],
            "title": [" ".join(words[rng.integers(0, 5000, 6)]) for _ in range(rows)],
            "description": [" ".join(words[rng.integers(0, 5000, 100)]) for _ in range(rows)],
            "category_path": rng.choice(["Garden > Hoses", "Garden > Tools", "Kitchen > Pots"], rows),
            "price": rng.uniform(1, 200, rows).round(2),
            "colour": rng.choice(["red", "green", "blue"], rows),
        }
    )


def read(kind: str, path: str) -> None:
    """Read one file and say what it took, on stdout; the work of a child process."""
    began = time.perf_counter()
    found = (read_events if kind == "events" else read_items)(path)
    seconds = time.perf_counter() - began
    # Not what getrusage says, which counts what the parent held when it forked.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    sys.stdout.write(json.dumps({"rows": found.frame.height, "seconds": round(seconds, 1), "peak_mib": round(peak)}))


def measure(kind: str, rows: int) -> list[dict[str, Any]]:
    """Every format of one table."""
    found = []
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        table = events(rows) if kind == "events" else items(rows)
        for name in FORMATS:
            path = Path(folder) / f"table.{name}"
            if name == "jsonl":
                table.write_ndjson(path)
            else:
                (table.write_csv if name == "csv" else table.write_parquet)(path)
            command = [sys.executable, "-m", "benchmarks.reading", "--read", kind, str(path)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found.append({"kind": kind, "format": name, "mb": round(path.stat().st_size / 1e6), **json.loads(answer)})
            path.unlink()
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_460_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--out")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(*arguments.read)
        return
    sizes = {"events": arguments.events, "items": arguments.items}
    rows = [row for kind, size in sizes.items() if size for row in measure(kind, size)]
    report = {"date": datetime.now(UTC).date().isoformat(), "rows": rows}
    report |= {"machine": machine("cpu"), "versions": versions()}
    if arguments.out:
        write(arguments.out, report)
    lines = ["| table | format | MB | rows | seconds | peak MiB |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['kind']} | {r['format']} | {r['mb']:,} | {r['rows']:,} | {r['seconds']} | {r['peak_mib']:,} |"
        for r in rows
    ]
    sys.stdout.write("\n".join(lines) + f"\n\n{report['machine']['cpu']}, {report['machine']['cores']} cores\n")


if __name__ == "__main__":
    main()
